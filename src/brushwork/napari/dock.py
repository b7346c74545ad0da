"""The dock: what is painted, predicted and saved, in one column. Everything it does is a call to the workbench or the scene."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from brushwork.errors import InputError, RunError
from brushwork.napari import texts
from brushwork.napari.calm import Calm, Pace
from brushwork.napari.class_list import ClassList
from brushwork.napari.exporting import ExportDialog
from brushwork.napari.images_panel import ImagesPanel
from brushwork.napari.parts import button, line, row, timer, words
from brushwork.napari.project_panel import ProjectPanel
from brushwork.napari.quality_panel import QualityPanel
from brushwork.napari.scales import ScaleWords
from brushwork.napari.scene import CLASS, FILL, UNSURE, VIEWS, Scene
from brushwork.napari.strokes_panel import StrokesPanel
from brushwork.napari.tour import Tour
from brushwork.project import ImageMissing, ImageReplaced
from brushwork.workbench import Changed, Workbench

LOOK_AFTER = 40  # milliseconds without a change of the view
FIT_AFTER = 200  # milliseconds; the canvas is narrower once the dock is there
# Milliseconds between drawings of new tiles: without a graphics card drawing takes 60 to 120 of the processors that predict. The
# first tile and the last are drawn at once.
DRAW_EVERY = 150
TELL_AFTER = 200  # milliseconds; texts are drawn with the whole window, which takes processors that the answer needs


class _Bridge(QObject):
    """Carries what the workbench tells from its thread to the window's."""

    changed = Signal(object)
    failed = Signal(object)


class Dock(QWidget):
    """The dock over a workbench. Owns the scene in the viewer; closing it closes the project."""

    def __init__(self, viewer: Any, open_bench: Callable[..., Workbench]) -> None:
        """open_bench : called with changed= and failed=, as Workbench takes them."""
        self._was_shown = False  # in a window
        super().__init__()
        self._bridge = _Bridge()
        self.bench = open_bench(changed=self._bridge.changed.emit, failed=self._bridge.failed.emit)
        self.viewer = viewer
        try:
            self.scene = Scene(viewer, self.bench, told=self.tell)
        except BaseException:
            self.bench.close()
            raise
        self._look = timer(self, LOOK_AFTER, self._look_now)
        self.scene.on_drawn = self._look.start
        self._tiles = Pace(DRAW_EVERY, lambda: self.scene.refresh())
        self._classes = timer(self, 0, self._show_classes)
        self._counts = timer(self, TELL_AFTER, self._show_classes)
        self._tell_status = timer(self, TELL_AFTER, self.show_status)
        self._fit = timer(self, FIT_AFTER, viewer.reset_view)
        self._is_closed = False
        self.export_dialog: ExportDialog | None = None
        self._build()
        self._bridge.changed.connect(self._on_changed)
        self._bridge.failed.connect(self._on_failed)
        self._calm = Calm(
            viewer, TELL_AFTER, paints=self.scene.is_in_front, begin=self.quality.rest, end=self.quality.strokes_changed
        )
        self._connect_viewer()
        self.show_project()
        self.images.show_images()
        self._look_now()
        if self.bench.image_id and self.bench.lost:
            self.tell(texts.lost(self.bench.lost.values()))
            self.images.offer_to_find(next(iter(self.bench.lost)))

    # ---- layout ----

    def _build(self) -> None:
        column = QVBoxLayout()
        self.tour = Tour(self.bench)
        column.addWidget(self.tour)
        for part in (self._project_part(), self._class_part(), self._live_part(), self._scale_part(), self._out_part()):
            for item in part:
                column.addLayout(item) if isinstance(item, QHBoxLayout) else column.addWidget(item)
            column.addWidget(line())
        column.addStretch(1)
        inner = QWidget()
        inner.setLayout(column)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        self.setMinimumWidth(inner.minimumSizeHint().width() + scroll.verticalScrollBar().sizeHint().width() + 12)

    def _project_part(self) -> list[Any]:
        self.project_label = words()
        self.images = ImagesPanel(self.bench, do=self._try, leave=self.scene.end_stroke, tell=self.tell)
        return [self.project_label, self.images]

    def _class_part(self) -> list[Any]:
        self.class_list = ClassList(self.bench)
        self.class_list.chosen.connect(self._class_chosen)
        self.class_list.failed.connect(self.tell)
        add = button("+ class", self.add_class, texts.TIPS["add"])
        undo = button("Undo", self.undo, texts.TIPS["undo"])
        self.check_only = QCheckBox("Check only")
        self.check_only.setToolTip(texts.TIPS["check"])
        self.check_only.toggled.connect(self._check_toggled)
        return [self.class_list, row(add, undo, button("Redo", self.redo)), self.check_only]

    def _live_part(self) -> list[Any]:
        self.live = QCheckBox("Live")
        self.live.setChecked(True)
        self.live.setToolTip(texts.TIPS["live"])
        self.live.toggled.connect(self._live_toggled)
        once = button("Update once", self.bench.update_once, texts.TIPS["once"])
        self.limit = QCheckBox("Only here")
        self.limit.setToolTip(texts.TIPS["limit"])
        self.limit.toggled.connect(self._limit_toggled)
        self.view_box = QComboBox()
        self.view_box.addItems(VIEWS)
        self.view_box.setToolTip(texts.TIPS["view"])
        self.view_box.currentTextChanged.connect(self._view_chosen)
        self.status = words()
        self.message = words()
        self.message.setStyleSheet("color: #E69F00")
        self.quality = QualityPanel(self.bench)
        self.quality.jump.connect(self.go_to)
        self.quality.marked.connect(self.scene.mark)
        self.quality.told.connect(self.tell)
        view = row(QLabel("View"), self.view_box, self.limit)
        return [row(self.live, once), view, self.status, self.message, self.images.find_button, self.quality]

    def _scale_part(self) -> list[Any]:
        self.scales = ScaleWords(self.bench)
        self.scales.failed.connect(self.tell)
        self.scales.mapped.connect(self.scene.show_map)
        self.scales.unmapped.connect(self.scene.marks.hide_map)
        self.strokes_panel = StrokesPanel(self.bench, self.accept)
        self.strokes_panel.jump.connect(self.go_to)
        self.strokes_panel.failed.connect(self.tell)
        self.project_panel = ProjectPanel(self.bench)
        self.project_panel.failed.connect(self.tell)
        return [self.scales, self.strokes_panel, self.project_panel]

    def _out_part(self) -> list[Any]:
        export = button("Export ...", self.export, texts.TIPS["export"])
        script = button("Copy as script", self._copy_script, texts.TIPS["script"])
        return [row(export, script, button("Tour", self.tour.begin, texts.TIPS["tour"]))]

    def fit_later(self) -> None:
        """Fit the image to the canvas that the dock leaves."""
        self._fit.start()

    # ---- what the viewer tells ----

    def _connect_viewer(self) -> None:
        camera, dims = self.viewer.scene.camera.events, self.viewer.dims.events
        removed = self.viewer.layers.events.removed
        self._events = [camera.zoom, camera.center, dims.current_step, dims.order, dims.ndisplay, removed]
        for event in self._events:
            event.connect(self._moved)

    def _moved(self, event: Any = None) -> None:
        if not self._is_closed:
            self._look.start()

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._moved()

    def _look_now(self) -> None:
        self.scene.follow()
        self._look_at_box()
        view = self.scene.region_in_view()
        if view is not None and view.size:
            try:
                self.bench.look(view)
            except (InputError, RunError) as error:
                self.tell(str(error))
        _start(self._tell_status)

    # ---- what the workbench tells ----

    def _on_changed(self, changed: Changed) -> None:
        if self._is_closed:
            return
        if changed.topic == "tiles":
            self._tiles.changed()
        elif changed.topic == "pixels":
            self.scene.refresh_images()
        elif changed.topic == "status":
            if self.bench.status is not None and self.bench.status.state == "ready":
                self._tiles.finish()
            _start(self._tell_status)
        elif changed.topic == "counts":
            self._counts.start()
            self._tell_status.start()
        elif changed.topic == "classes":
            self._classes.start()
        elif changed.topic == "strokes":
            self.scene.show_strokes()
        elif changed.topic == "images":
            self.scene.show_image()
            self.images.show_images()
            self.images.find_button.hide()
            self.limit.setChecked(False)
            self.scales.preview.setChecked(False)
            self._look.start()
        elif changed.topic == "task":
            self.scales.show_task()
            self.project_panel.show_project()

    def _show_classes(self) -> None:
        """Not at once: the list may be in the middle of telling what was edited, and must not lose its items then."""
        self.class_list.show_classes()
        self.scene.show_colors()
        self.strokes_panel.show_strokes()
        self.tour.look()
        self.quality.strokes_changed()
        self.show_status()

    def _on_failed(self, error: Exception) -> None:
        self.tell(str(error) or type(error).__name__)

    # ---- what is shown ----

    def tell(self, message: str) -> None:
        """One message under the status; the last one stays."""
        self.message.setText(message)

    def show_project(self) -> None:
        project = self.bench.project
        state = texts.READ_ONLY.format(who=project.why_read_only) if project.read_only else texts.SAVED
        self.project_label.setText(f"<b>{project.name}</b> · {state}")
        self.project_label.setToolTip(str(project.folder))

    def show_status(self) -> None:
        if not self.bench.image_id:
            lost = self.bench.lost
            self.status.setText(texts.lost(lost.values()) if lost else texts.NO_FIRST_IMAGE)
            self.images.offer_while_lost()
            return
        counts = self.bench.counts()
        n_painted = sum(pixels > 0 for pixels, _ in counts.values())
        advice = texts.advice([c.name for c in self.bench.classes], n_painted)
        if self.viewer.dims.ndisplay == 3:
            advice = texts.IN_3D
        elif advice and self.bench.project.read_only:
            advice = texts.NOTHING_TO_LEARN
        elif not advice and not self.bench.live:
            advice = texts.PAUSED
        self.status.setText(advice or texts.status_line(self.bench.status, self.bench.share))

    # ---- what the user does ----

    def add_class(self) -> None:
        names = {c.name for c in self.bench.classes}
        n = next(i for i in range(len(names) + 1, 300) if f"class {i}" not in names)
        added = self._try(lambda: self.bench.add_class(f"class {n}"))
        if added is not None:
            self._show_classes()
            self.class_list.choose(added.id)

    def undo(self) -> None:
        self.scene.end_stroke()
        self._try(self.bench.undo)

    def redo(self) -> None:
        self.scene.end_stroke()
        self._try(self.bench.redo)

    def choose_class(self, row: int) -> None:
        self.class_list.choose_row(row)
        self.scene.brush(self.class_list.class_id or None)

    def _class_chosen(self, class_id: int) -> None:
        self.scene.brush(class_id)
        if self.scene.view == CLASS:
            self.scene.show_view(CLASS, class_id)

    def _live_toggled(self, live: bool) -> None:
        self.bench.live = live
        self.show_status()

    def _view_chosen(self, view: str) -> None:
        self.scene.show_view(view, self.class_list.class_id)

    def next_view(self) -> None:
        self.view_box.setCurrentIndex((self.view_box.currentIndex() + 1) % len(VIEWS))

    def toggle_unsure(self) -> None:
        self.view_box.setCurrentText(UNSURE if self.scene.view != UNSURE else FILL)

    def export(self) -> None:
        """Open the page that writes predictions to files; the one that is writing, where there is one."""
        if self.export_dialog is not None and self.export_dialog.isVisible():
            self.export_dialog.raise_()
            return
        dialog = self._try(lambda: ExportDialog(self.bench, self))
        if dialog is not None:
            if self.export_dialog is not None:
                self.export_dialog.deleteLater()
            self.export_dialog = dialog
            dialog.show()

    def accept(self) -> None:
        """Take the prediction in view over as strokes."""
        view = self.scene.region_in_view()
        if view is not None:
            self._try(lambda: self.bench.accept(view))

    def explain(self) -> None:
        """Say why the pixel below the cursor is predicted as it is."""
        if self.scene.strokes is not None:
            self.quality.explain(self.scene.pixel_at_cursor())

    def go_to(self, image_id: str, position: Any) -> None:
        """Show a pixel of an image in the middle."""
        if image_id != self.bench.image_id:
            self.images.show_image(image_id)
        if image_id == self.bench.image_id:
            self.scene.go_to(position)

    def _check_toggled(self, check: bool) -> None:
        self.scene.check_only = check

    def _limit_toggled(self, limited: bool) -> None:
        if limited:
            self._try(self.scene.show_box)
        else:
            self.scene.marks.hide_box()
        self._look_at_box()

    def _look_at_box(self) -> None:
        """Predict in the box where there is one; it may have been moved or deleted."""
        region = self.scene.region_in_box()
        if self.limit.isChecked() and region is None:
            self.limit.setChecked(False)
        elif region != self.bench.limit:
            self.bench.limit_to(region)

    def script(self) -> str:
        """The commands that do without a window what the window does."""
        tasks = self.bench.project.document.tasks
        return texts.script(self.bench.project.folder, self.bench.task_name if len(tasks) > 1 else "")

    def _copy_script(self) -> None:
        QApplication.clipboard().setText(self.script())
        self.tell("copied: " + self.script().replace("\n", " ; "))

    def _try(self, action: Callable[[], Any]) -> Any:
        """Do it; what is wrong with it is told in the dock."""
        try:
            result = action()
        except (InputError, RunError) as error:
            self.tell(str(error))
            if isinstance(error, ImageMissing | ImageReplaced):
                self.images.offer_to_find(error.id)
            self.images.show_images()
            return None
        self.message.setText("")
        self.images.offer_while_lost()
        return result

    # ---- the end ----

    def close_project(self) -> None:
        """Stop computing and save; the layers stay. Raises RunError, and stays open, where strokes cannot be saved."""
        if self._is_closed:
            return
        with suppress(RuntimeError):  # Qt may have deleted the layer's controls with the window
            self.scene.end_stroke()
        self.scales.close_panel()
        if self.export_dialog is not None:
            self.export_dialog.cancel()
        self.bench.close()
        self._is_closed = True
        with suppress(RuntimeError):
            self.scene.let_go()
        for event in self._events:
            event.disconnect(self._moved)
        with suppress(RuntimeError):
            self._stop_timers()

    def _stop_timers(self) -> None:
        self.quality.close_panel()
        self._calm.close()
        self._tiles.close()
        for waiting in (self._look, self._classes, self._counts, self._tell_status, self._fit):
            waiting.stop()

    def event(self, event: Any) -> bool:
        """napari's button that closes a dock only takes it out of the window."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is None and self._was_shown:
                self._try(self.close_project)
            self._was_shown = self.parent() is not None
        return super().event(event)

    def closeEvent(self, event: Any) -> None:
        self.close_project()
        super().closeEvent(event)


def _start(timer: QTimer) -> None:
    """Unless it runs already: what happens meanwhile is told with it."""
    if not timer.isActive():
        timer.start()
