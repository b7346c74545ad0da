"""Strokes one by one: a list to jump through, labels from a file, and the prediction taken over as strokes."""

import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QListWidget, QListWidgetItem

from brushwork.errors import InputError, RunError
from brushwork.napari import texts
from brushwork.napari.class_list import swatch
from brushwork.napari.importing import ImportDialog
from brushwork.napari.parts import Fold, button
from brushwork.workbench import Workbench

MOST_SHOWN = 300
LIST_HEIGHT = 140  # pixels


class StrokesPanel(Fold):
    """`jump` is emitted with (image id, position)."""

    jump = Signal(str, object)
    failed = Signal(str)

    def __init__(self, bench: Workbench, accept: Callable[[], Any]) -> None:
        """accept : takes the prediction in view over."""
        self._bench = bench
        self.list = QListWidget()
        self.list.setFixedHeight(LIST_HEIGHT)
        self.accept = button("Take over the prediction", accept, texts.TIPS["accept"])
        self.from_file = button("Import labels ...", self._import, texts.TIPS["import"])
        super().__init__("Strokes", self.list, self.accept, self.from_file)
        self.list.itemClicked.connect(self._clicked)
        self.title.toggled.connect(lambda is_open: self.show_strokes())

    def show_strokes(self) -> None:
        """The newest first; nothing is done while the panel is folded."""
        if not self.title.isChecked():
            return
        classes = {c.id: c for c in self._bench.classes}
        titles = {e.id: e.title for e in self._bench.project.document.images}
        self.list.clear()
        strokes = [s for s in self._bench.task.strokes if not s.undone and s.class_id in classes]
        for s in reversed(strokes[-MOST_SHOWN:]):
            c = classes[s.class_id]
            when = time.strftime("%H:%M", time.localtime(s.when))
            origin = "" if s.origin == "brush" else f" ({s.origin})"
            item = QListWidgetItem(swatch(c.color), f"{c.name}: {len(s)} px, {titles[s.image]}, {when}{origin}")
            item.setData(Qt.ItemDataRole.UserRole, (s.image, s.coords[len(s) // 2].tolist()))
            self.list.addItem(item)

    def _clicked(self, item: QListWidgetItem) -> None:
        self.jump.emit(*item.data(Qt.ItemDataRole.UserRole))

    def _import(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "A label image, or annotations (.geojson)")
        if not path:
            return
        try:
            dialog = ImportDialog(self._bench, path, self)
        except (InputError, RunError) as error:
            self.failed.emit(texts.by_name(str(error), path))
            return
        dialog.exec()
