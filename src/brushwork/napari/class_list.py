"""The list of classes: colour, name, what is painted, and whether it is seen."""

from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHeaderView,
    QMenu,
    QMessageBox,
    QTreeWidget,
    QTreeWidgetItem,
)

from brushwork.errors import InputError, RunError
from brushwork.napari import texts
from brushwork.project import PaintClass
from brushwork.workbench import Workbench

NAME, PIXELS, STROKES = range(3)
SWATCH = 14  # pixels
ROWS_SHOWN = 6


class ClassList(QTreeWidget):
    """Shows the workbench's classes and changes them. `chosen` is emitted with the id of the class to paint with."""

    chosen = Signal(int)
    failed = Signal(str)

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self._now = self._before = 0
        self.setHeaderLabels(["class", "pixels", "strokes"])
        self.setRootIsDecorated(False)
        self.setToolTip(texts.TIPS["class"])
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked)
        self.setIconSize(QSize(SWATCH, SWATCH))
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column in (PIXELS, STROKES):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._show_menu)
        self.currentItemChanged.connect(self._chosen)
        self.itemChanged.connect(self._edited)
        self.show_classes()
        self._now = self.class_id

    def show_classes(self) -> None:
        """Draw the classes again, keeping the chosen one."""
        chosen, counts = self.class_id, self._bench.counts()
        self.blockSignals(True)
        self.clear()
        for c in self._bench.classes:
            pixels, strokes = counts[c.id]
            item = QTreeWidgetItem([c.name, f"{pixels:,}", str(strokes)])
            item.setData(NAME, Qt.ItemDataRole.UserRole, c.id)
            item.setIcon(NAME, swatch(c.color))
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(NAME, Qt.CheckState.Checked if c.visible else Qt.CheckState.Unchecked)
            for column in (PIXELS, STROKES):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.addTopLevelItem(item)
        ids = [c.id for c in self._bench.classes]
        self.choose(chosen if chosen in ids else ids[0] if ids else 0)
        self.blockSignals(False)
        if self.class_id != chosen:  # the one that was chosen is gone
            self.chosen.emit(self.class_id)
        rows = min(max(self.topLevelItemCount(), 2), ROWS_SHOWN)
        self.setFixedHeight(self.header().sizeHint().height() + rows * (self.sizeHintForRow(0) + 2) + 6)

    @property
    def class_id(self) -> int:
        """The chosen class; 0 where there is none."""
        item = self.currentItem()
        return item.data(NAME, Qt.ItemDataRole.UserRole) if item is not None else 0

    def choose(self, class_id: int) -> None:
        for i in range(self.topLevelItemCount()):
            if self.topLevelItem(i).data(NAME, Qt.ItemDataRole.UserRole) == class_id:
                self.setCurrentItem(self.topLevelItem(i))

    def choose_row(self, row: int) -> None:
        """The class in that row from 0, where there is one."""
        if row < self.topLevelItemCount():
            self.setCurrentItem(self.topLevelItem(row))

    def _class_of(self, item: Any) -> PaintClass:
        class_id = item.data(NAME, Qt.ItemDataRole.UserRole)
        return next(c for c in self._bench.classes if c.id == class_id)

    def _chosen(self, item: Any, before: Any) -> None:
        if item is None:
            return
        if self.class_id != self._now:
            self._before, self._now = self._now, self.class_id
        self.chosen.emit(self.class_id)

    def choose_before(self) -> None:
        """The class that was chosen before, however it was."""
        if self._before:
            self.choose(self._before)

    def _edited(self, item: Any, column: int) -> None:
        if column != NAME:
            return
        c = self._class_of(item)
        name, visible = item.text(NAME).strip(), item.checkState(NAME) == Qt.CheckState.Checked
        self._try(lambda: self._bench.change_class(c.id, name=name or c.name, visible=visible))

    def _show_menu(self, at: Any) -> None:
        item = self.itemAt(at)
        if item is None:
            return
        c = self._class_of(item)
        menu = QMenu(self)
        menu.addAction("Rename", lambda: self.editItem(item, NAME))
        menu.addAction("Colour ...", lambda: self._recolor(c))
        row = self.indexOfTopLevelItem(item)
        for words, by in (("Move up", -1), ("Move down", 1)):
            action = menu.addAction(words, lambda by=by: self.move_class(c.id, by))
            action.setEnabled(0 <= row + by < self.topLevelItemCount())
        merge = menu.addMenu("Merge into")
        for other in self._bench.classes:
            if other.id != c.id:
                merge.addAction(
                    swatch(other.color),
                    other.name,
                    lambda other=other: self._try(lambda: self._bench.merge_classes(c.id, other.id)),
                )
        menu.addAction("Delete ...", lambda: self._delete(c))
        menu.exec(self.viewport().mapToGlobal(at))

    def move_class(self, class_id: int, by: int) -> None:
        ids = [c.id for c in self._bench.classes]
        row = ids.index(class_id)
        ids[row], ids[row + by] = ids[row + by], ids[row]
        self._try(lambda: self._bench.reorder_classes(ids))

    def _recolor(self, c: PaintClass) -> None:
        color = QColorDialog.getColor(QColor(c.color), self, f"Colour of {c.name}")
        if color.isValid():
            self._try(lambda: self._bench.change_class(c.id, color=color.name(), prediction_color=color.name()))

    def _delete(self, c: PaintClass) -> None:
        _, strokes = self._bench.counts()[c.id]
        question = f"Delete {c.name} and its {strokes} strokes?"
        if not strokes or QMessageBox.question(self, "Delete a class", question) == QMessageBox.StandardButton.Yes:
            self._try(lambda: self._bench.delete_class(c.id))

    def _try(self, change: Any) -> None:
        try:
            change()
        except (InputError, RunError) as error:
            self.failed.emit(str(error))
            self.show_classes()


def swatch(color: str) -> QIcon:
    pixels = QPixmap(SWATCH, SWATCH)
    pixels.fill(QColor(color))
    return QIcon(pixels)
