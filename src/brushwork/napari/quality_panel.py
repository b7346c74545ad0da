"""How good it is, on strokes it has not seen; which strokes it disagrees with; and where to paint next."""

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from brushwork.advice import Measured
from brushwork.errors import InputError, RunError
from brushwork.explain import Explanation
from brushwork.napari import texts
from brushwork.napari.parts import Fold, button, row, timer, words
from brushwork.next_place import Place
from brushwork.quality import Quality
from brushwork.workbench import Workbench

IDLE = 1500  # milliseconds without a stroke before the agreement is measured
LIST_HEIGHT = 110  # pixels
MOST_SHOWN = 50
MOST_PLACES = 50  # to go back to


class _Bridge(QObject):
    measured = Signal(object)
    found = Signal(object)
    explained = Signal(object, object)


class QualityPanel(QWidget):
    """`jump` is emitted with (image id, position); `told` with words."""

    jump = Signal(str, object)
    told = Signal(str)
    marked = Signal(object)  # a region of the image in front

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self.quality: Quality | None = None
        self._places: list[Place] = []  # that were suggested, the newest last
        self._alike: list[tuple[str, tuple[int, ...]]] = []  # (image id, position) of the links in `why`
        self._behind = 0  # how many of them were suggested after the one that is shown
        self._bridge = _Bridge()
        self._bridge.measured.connect(self._on_measured)
        self._bridge.found.connect(self._on_found)
        self._bridge.explained.connect(self._on_explained)
        self._idle = timer(self, IDLE, self.measure)
        self.next = button("Where to paint next (N)", self.find_place, texts.TIPS["next_place"])
        self.everywhere = QCheckBox("in all images")
        self.everywhere.setChecked(True)
        self.words = words()
        self.words.setToolTip(texts.TIPS["quality"])
        self.why = words()
        self.why.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.why.linkActivated.connect(lambda link: self.jump.emit(*self._alike[int(link)]))
        self.why.hide()
        self.list = QListWidget()
        self.list.setFixedHeight(LIST_HEIGHT)
        self.list.setWordWrap(True)
        self.list.itemClicked.connect(self._clicked)
        self.details = Fold("What it mistakes", self.list)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row(self.next, self.everywhere))
        column.addWidget(self.words)
        column.addWidget(self.details)
        column.addWidget(self.why)

    def rest(self) -> None:
        """Stop measuring, until `strokes_changed`."""
        self._idle.stop()
        self._bench.stop_measuring()

    def strokes_changed(self) -> None:
        """Measure again, once nobody paints for a moment."""
        self._idle.start()

    def measure(self) -> None:
        """Leave strokes out one after the other, aside."""
        self._try(lambda: self._bench.measure(self._bridge.measured.emit))

    def find_place(self) -> None:
        """Look for a new place, and go there."""
        self.told.emit(texts.LOOKING)
        self._try(lambda: self._bench.find_place(self._bridge.found.emit, everywhere=self.everywhere.isChecked()))

    def show_place_before(self) -> None:
        """Go back to the place that was suggested before the one that is shown."""
        if self._behind + 1 >= len(self._places):
            self.told.emit(texts.NO_PLACE_BEFORE)
            return
        self._behind += 1
        self._show(self._places[-1 - self._behind])

    def explain(self, at: tuple[int, ...] | None) -> None:
        """Say why a pixel of the image in front, ([t,] *spatial), is predicted as it is; None is beside it."""
        if at is None:
            self.told.emit(texts.BESIDE)
            return
        self._try(lambda: self._bench.explain(at, self._bridge.explained.emit))

    def _on_explained(self, found: Explanation, images: tuple[str, ...]) -> None:
        self._alike = [(images[alike.example], alike.at) for alike in found.alike]
        self.why.setText(texts.explanation(found))
        self.why.show()

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (InputError, RunError) as error:
            self.told.emit(str(error))

    def close_panel(self) -> None:
        self._idle.stop()

    def _on_measured(self, measured: Measured) -> None:
        quality = self.quality = measured.unseen
        lines = [texts.agreement(quality)] if quality else []
        lines += [texts.checks(measured.checks)] if measured.checks else []
        self.words.setText("<br>".join(lines))
        self.list.clear()
        if quality is None:
            return
        for painted, called, share in quality.confused()[:MOST_SHOWN]:
            if share >= 0.005:
                self.list.addItem(f"{share:.0%} of {painted} is taken for {called}")
        for d in quality.disagreements[:MOST_SHOWN]:
            item = QListWidgetItem(f"a stroke of {d.painted} looks like {d.called} ({d.share:.0%}): click to see it")
            item.setData(Qt.ItemDataRole.UserRole, (d.image, d.position))
            self.list.addItem(item)

    def _clicked(self, item: QListWidgetItem) -> None:
        where: Any = item.data(Qt.ItemDataRole.UserRole)
        if where is not None:
            self.jump.emit(*where)

    def _on_found(self, place: Place | None) -> None:
        if place is None:
            self.told.emit(texts.NO_PLACE)
            return
        self._places, self._behind = [*self._places, place][-MOST_PLACES:], 0
        self._show(place)

    def _show(self, place: Place) -> None:
        if place.image not in [e.id for e in self._bench.project.document.images]:
            return  # an earlier state of the project was gone back to
        frames = (place.region.t,) if self._bench.project.document.image(place.image).n_frames > 1 else ()
        self.jump.emit(place.image, (*frames, *place.centre))
        self.marked.emit(place.region)
        self.told.emit(texts.PAINT_HERE.format(reason=place.reason))
