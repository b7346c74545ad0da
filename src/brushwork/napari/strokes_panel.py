"""Strokes one by one: a list to jump through, labels from a file, and the prediction taken over as strokes."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QDialog,
    QFileDialog,
    QFormLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
)

from brushwork.errors import InputError
from brushwork.napari import texts
from brushwork.napari.class_list import swatch
from brushwork.napari.parts import Fold, button, row
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
        paths = {e.id: e.path.rpartition("/")[2] for e in self._bench.project.document.images}
        self.list.clear()
        strokes = [s for s in self._bench.task.strokes if not s.undone and s.class_id in classes]
        for s in reversed(strokes[-MOST_SHOWN:]):
            c = classes[s.class_id]
            when = time.strftime("%H:%M", time.localtime(s.when))
            origin = "" if s.origin == "brush" else f" ({s.origin})"
            item = QListWidgetItem(swatch(c.color), f"{c.name}: {len(s)} px, {paths[s.image]}, {when}{origin}")
            item.setData(Qt.ItemDataRole.UserRole, (s.image, s.coords[len(s) // 2].tolist()))
            self.list.addItem(item)

    def _clicked(self, item: QListWidgetItem) -> None:
        self.jump.emit(*item.data(Qt.ItemDataRole.UserRole))

    def _import(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "A label image")
        if path:
            ImportDialog(self._bench, path, self).exec()


class ImportDialog(QDialog):
    """Which class each value is, and where a smaller label image lies."""

    def __init__(self, bench: Workbench, path: str, parent: Any = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Import labels")
        self._bench, self._path = bench, path
        self.mapping, self.offset = QLineEdit(), QLineEdit()
        names = ", ".join(f"{c.id} = {c.name}" for c in bench.classes)
        self.mapping.setPlaceholderText("values are classes; or e.g. 1=2, 255=1, 7=0 (0 leaves out)")
        self.offset.setPlaceholderText("as large as the image; or e.g. 100, 250")
        form = QFormLayout()
        form.addRow("Value = class", self.mapping)
        form.addRow("Offset", self.offset)
        self.words = QLabel(f"Classes: {names}")
        self.words.setWordWrap(True)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(self.words)
        column.addLayout(row(button("Import", self.take), button("Cancel", self.close)))

    def take(self) -> None:
        try:
            mapping = parsed_mapping(self.mapping.text())
            offset = _numbers(self.offset.text()) if self.offset.text().strip() else None
            self._bench.import_labels(self._path, mapping=mapping, offset=offset)
        except InputError as error:
            self.words.setText(str(error))
            return
        self.close()


def parsed_mapping(text: str) -> dict[int, int] | None:
    """ "1=2, 255=1" -> {1: 2, 255: 1}; None of nothing."""
    if not text.strip():
        return None
    pairs = [_numbers(part, "=") for part in text.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(f"{text!r} is not a list of VALUE=CLASS, e.g. 1=2, 255=1")
    return {value: class_id for value, class_id in pairs}


def _numbers(text: str, between: str = ",") -> Sequence[int]:
    try:
        return [int(part) for part in text.split(between)]
    except ValueError:
        raise InputError(f"{text!r} is not a list of whole numbers") from None
