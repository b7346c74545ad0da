"""Which features are used: three words for their size, and every family at every sigma for those who ask."""

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from brushwork.errors import InputError
from brushwork.features import SIGMAS, FeatureSet
from brushwork.napari import texts
from brushwork.scalespace import BUILT_IN, family
from brushwork.workbench import Workbench

WORDS = {"fine": (0.3, 0.7, 1.0), "medium": (1.6, 3.5), "coarse": (5.0, 10.0)}
SIZES = (0.3, *SIGMAS)
NAMES = {
    "gaussian": "intensity",
    "laplacian": "blobs",
    "gradient-magnitude": "edges",
    "difference-of-gaussians": "edges, sharp",
    "structure-tensor": "texture",
    "hessian": "ridges",
}


class ScaleWords(QWidget):
    """Fine, medium, coarse; and the whole table under Advanced."""

    failed = Signal(str)

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        row = QHBoxLayout()
        row.addWidget(QLabel("Look at"))
        self.boxes = {word: QCheckBox(word) for word in WORDS}
        for box in self.boxes.values():
            box.setToolTip(texts.TIPS["scale"])
            box.clicked.connect(self._words_chosen)
            row.addWidget(box)
        column.addLayout(row)
        self.more = QToolButton()
        self.more.setText("Advanced: all features")
        self.more.setCheckable(True)
        self.more.setArrowType(Qt.ArrowType.RightArrow)
        self.more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.more.toggled.connect(self._show_table)
        column.addWidget(self.more)
        self.table = QTableWidget(len(BUILT_IN), len(SIZES))
        self.table.setToolTip(texts.TIPS["features"])
        self.table.setVerticalHeaderLabels([NAMES[name] for name in BUILT_IN])
        self.table.setHorizontalHeaderLabels([f"{s:g}" for s in SIZES])
        self.table.resizeColumnsToContents()
        self.table.setVisible(False)
        self.table.itemChanged.connect(self._cell_chosen)
        column.addWidget(self.table)
        self.show_task()

    def chosen(self) -> set[tuple[str, float]]:
        """(family, sigma) of every feature of the task."""
        return {(f.family, f.sigma) for f in FeatureSet.parse(self._bench.task.features).features}

    def show_task(self) -> None:
        """Tick what the task uses."""
        chosen = self.chosen()
        sigmas = {sigma for _, sigma in chosen}
        for word, box in self.boxes.items():
            mine = sigmas & set(WORDS[word])
            box.setChecked(bool(mine))
        self.table.blockSignals(True)
        for i, name in enumerate(BUILT_IN):
            for j, sigma in enumerate(SIZES):
                item = QTableWidgetItem()
                if sigma >= family(name).smallest_sigma:
                    item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
                    ticked = (name, sigma) in chosen
                    item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
                else:
                    item.setFlags(Qt.ItemFlag.NoItemFlags)
                self.table.setItem(i, j, item)
        self.table.blockSignals(False)
        self.table.setFixedHeight(
            self.table.horizontalHeader().sizeHint().height()
            + sum(self.table.rowHeight(i) for i in range(len(BUILT_IN)))
            + 20
        )

    def _show_table(self, shown: bool) -> None:
        self.table.setVisible(shown)
        self.more.setArrowType(Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow)

    def _words_chosen(self) -> None:
        ticked = [word for word, box in self.boxes.items() if box.isChecked()]
        if len(ticked) == len(WORDS):
            self._use("all")
            return
        sigmas = [s for word in ticked for s in WORDS[word]]
        self._use(selection_of({(name, s) for name in BUILT_IN for s in sigmas if s >= family(name).smallest_sigma}))

    def _cell_chosen(self, item: QTableWidgetItem) -> None:
        cell = (BUILT_IN[item.row()], SIZES[item.column()])
        ticked = item.checkState() == Qt.CheckState.Checked
        self._use(selection_of(self.chosen() | {cell} if ticked else self.chosen() - {cell}))

    def _use(self, features: str) -> None:
        try:
            if not features:
                raise InputError("at least one feature is needed")
            self._bench.change_recipe(features=features)
        except InputError as error:
            self.failed.emit(str(error))
        self.show_task()


def selection_of(chosen: set[tuple[str, float]]) -> str:
    """(family, sigma) pairs as a selection, in the order of the families."""
    items = []
    for name in BUILT_IN:
        sigmas = sorted(s for n, s in chosen if n == name)
        if sigmas:
            items.append(f"{name}:{','.join(f'{s:g}' for s in sigmas)}")
    return " ".join(items)
