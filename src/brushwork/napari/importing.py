"""Labels of other programs, painted from the window: which values a file holds, and which class each is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QHeaderView,
    QInputDialog,
    QLabel,
    QLineEdit,
    QProgressBar,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
)

from brushwork.errors import InputError, RunError
from brushwork.exchange import LabelValue, Meanings, is_annotations, label_file
from brushwork.napari import texts
from brushwork.napari.class_list import swatch
from brushwork.napari.parts import button, row, words
from brushwork.workbench import Workbench

VALUE, PIXELS, CLASS = range(3)  # columns
MOST_VALUES = 255  # that can be told apart one by one
FULL = 1000  # of a bar
CHOOSE, LEAVE_OUT, NEW = "choose ...", "leave out", "new class ..."
UNDECIDED, MAKE = object(), object()  # what a box of classes holds beside names, and None for what is left out


class ImportDialog(QDialog):
    """A line per value of a file, with its pixels as a histogram; nothing is painted before each has a class or is left out."""

    def __init__(self, bench: Workbench, path: str, parent: Any = None) -> None:
        """Raises InputError, RunError where the file cannot be read or holds no labels."""
        super().__init__(parent)
        self.setWindowTitle(f"Import {Path(path).name}")
        self._bench, self._path = bench, path
        with _waiting():
            self._file = label_file(path, image=bench.image)
        if not self._file.values:
            raise InputError("; ".join((f"{path} holds nothing that is painted", *self._file.notes)))
        if len(self._file.values) > MOST_VALUES:
            raise InputError(
                f"{path} holds {len(self._file.values):,} values; at most {MOST_VALUES} can be given classes "
                "(is it an image, or numbered objects?)"
            )
        self.boxes = {value.value: self._box(value) for value in self._file.values}
        self.offset = QLineEdit()
        self.offset.setPlaceholderText("the whole image; or where the file's first pixel lies, e.g. 100, 250")
        self.offset.setToolTip("(z,) y, x in pixels: for a file of a part of the image")
        self.words = words()
        self.take = button("Import", self._take)
        column = QVBoxLayout(self)
        column.addWidget(QLabel("Which class is each value of the file?"))
        column.addWidget(self._table())
        column.addLayout(row(QLabel("Offset"), self.offset))
        column.addWidget(self.words)
        column.addLayout(row(self.take, button("Cancel", self.reject)))
        self.resize(560, 380)
        self._decided()

    def _table(self) -> QTableWidget:
        values = self._file.values
        table = QTableWidget(len(values), 3)
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        table.setHorizontalHeaderLabels(["value", "pixels", "class"])
        table.verticalHeader().hide()
        most = max(value.pixels for value in values)
        for line, value in enumerate(values):
            number = "" if is_annotations(self._path) else value.value
            item = QTableWidgetItem(f"{number}  {value.name}".strip())
            if value.color:
                item.setIcon(swatch(value.color))
            table.setItem(line, VALUE, item)
            table.setCellWidget(line, PIXELS, _bar(value.pixels, most))
            table.setCellWidget(line, CLASS, self.boxes[value.value])
        for column in (VALUE, PIXELS, CLASS):
            table.horizontalHeader().setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        return table

    def _box(self, value: LabelValue) -> QComboBox:
        """The classes there are, a new one of the value's name, any other new one, or none; a class of its name is chosen."""
        box = QComboBox()
        box.addItem(CHOOSE, UNDECIDED)
        for c in self._bench.classes:
            box.addItem(swatch(c.color), c.name, c.name)
        known = box.findData(value.name) if value.name else 0
        if known < 0:
            box.addItem(f"new: {value.name}", value.name)
        box.addItem(NEW, MAKE)
        box.addItem(LEAVE_OUT, None)
        box.setCurrentIndex(max(known, 0))
        box.activated.connect(lambda i: self._chosen(box))
        return box

    def _chosen(self, box: QComboBox) -> None:
        if box.currentData() is MAKE:
            name, given = QInputDialog.getText(self, "A new class", "Its name")
            self.make(box, name.strip() if given else "")
        self._decided()

    def make(self, box: QComboBox, name: str) -> None:
        """Offer a new class of this name to every value, and choose it in `box`; without a name, nothing is chosen."""
        for each in self.boxes.values():
            if name and each.findData(name) < 0:
                each.insertItem(each.count() - 2, f"new: {name}", name)
        box.setCurrentIndex(box.findData(name) if name else 0)

    def _decided(self) -> None:
        """Let it be imported once every value is decided, and at least one is not left out; say what is missing."""
        chosen = [box.currentData() for box in self.boxes.values()]
        open_ = sum(found is UNDECIDED for found in chosen)
        self.take.setEnabled(not open_ and any(found is not None for found in chosen))
        missing = (
            f"{open_} of {len(chosen)} values have no class yet: choose one, or leave the value out." if open_ else ""
        )
        self.words.setText("\n".join(filter(None, (missing, *self._file.notes))))

    def _take(self) -> None:
        try:
            offset = _numbers(self.offset.text()) if self.offset.text().strip() else None
            mapping: Meanings = {value: box.currentData() for value, box in self.boxes.items()}
            with _waiting():
                self._bench.import_labels(self._path, mapping, offset=offset)
        except (InputError, RunError) as error:
            self.words.setText(texts.by_name(str(error), self._path))
            return
        self.accept()


def _bar(pixels: int, most: int) -> QProgressBar:
    made = QProgressBar()
    made.setRange(0, FULL)
    made.setValue(FULL * pixels // max(most, 1))
    made.setFormat(f"{pixels:,}")
    return made


def _numbers(text: str) -> Sequence[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"the offset {text!r} is not a list of whole numbers; give (z,) y, x, e.g. 100, 250") from None


@contextmanager
def _waiting() -> Iterator[None]:
    """A cursor that says so."""
    QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
    try:
        yield
    finally:
        QApplication.restoreOverrideCursor()
