"""Which features are used: three words for their size, and every family at every sigma for those who ask."""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from brushwork.aside import Aside
from brushwork.blocks import Region
from brushwork.errors import InputError, RunError
from brushwork.features import SIGMAS, Feature, FeatureSet, selection
from brushwork.napari import texts
from brushwork.napari.parts import Fold, button
from brushwork.scalespace import BUILT_IN, family
from brushwork.workbench import Workbench

WORDS = {"fine": (0.3, 0.7, 1.0), "medium": (1.6, 3.5), "coarse": (5.0, 10.0)}
SIZES = (0.3, *SIGMAS)
COLUMN = 25  # pixels
NAMES = {
    "gaussian": "intensity",
    "laplacian": "blobs",
    "gradient-magnitude": "edges",
    "difference-of-gaussians": "edges, sharp",
    "structure-tensor": "texture",
    "hessian": "ridges",
}


class _Bridge(QObject):
    suggested = Signal(str, str)  # task, selection
    mapped = Signal(str, str, object, object)  # image id, feature, region, pixels
    failed = Signal(object)


class ScaleWords(QWidget):
    """Fine, medium, coarse; and the whole table under Advanced."""

    failed = Signal(str)
    mapped = Signal(str, object, object)  # a feature by name, the region of the view, pixels (*spatial)
    unmapped = Signal()  # no feature is to be seen

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
        self.table = QTableWidget(len(BUILT_IN), len(SIZES))
        self.table.setToolTip(texts.TIPS["features"])
        self.table.setVerticalHeaderLabels([NAMES[name] for name in BUILT_IN])
        self.table.setHorizontalHeaderLabels([f"{s:g}" for s in SIZES])
        for j in range(len(SIZES)):
            self.table.setColumnWidth(j, COLUMN)
        self.table.itemChanged.connect(self._cell_chosen)
        self.table.currentCellChanged.connect(lambda *cell: self._look_at())
        self.preview = QCheckBox("Show the feature that is selected")
        self.preview.setToolTip(texts.TIPS["preview"])
        self.preview.toggled.connect(self._look_at)
        suggest = button("Suggest features", self.suggest, texts.TIPS["suggest"])
        self._bridge = _Bridge()
        self._bridge.suggested.connect(self._suggested)
        self._bridge.mapped.connect(self._on_mapped)
        self._bridge.failed.connect(lambda error: self.failed.emit(str(error) or type(error).__name__))
        self._preview = Aside(self._bridge.failed.emit)
        self._is_closed = False
        self.fold = Fold("Advanced: all features", self.table, self.preview, suggest)
        column.addWidget(self.fold)
        self.show_task()

    def chosen(self) -> set[tuple[str, float]]:
        """(family, sigma in pixels) of every feature of the task, on whichever channels."""
        return {(f.family, f.sigma) for f in self._features() if f.unit == "px"}

    def _features(self) -> tuple[Feature, ...]:
        return FeatureSet.parse(self._bench.task.features).features

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

    def _look_at(self, *ignored: object) -> None:
        """Compute the selected feature of the view aside, or show none."""
        i, j = self.table.currentRow(), self.table.currentColumn()
        exists = i >= 0 and SIZES[j] >= family(BUILT_IN[i]).smallest_sigma
        if not self.preview.isChecked():
            self._preview.stop()
            self.unmapped.emit()
        elif exists:
            name, sigma, image_id = BUILT_IN[i], SIZES[j], self._bench.image_id
            self._preview.run(
                lambda stop: self._bench.map_in_view(name, sigma),
                lambda found: self._bridge.mapped.emit(image_id, f"{name} {sigma:g}", found[0], found[1][0]),
            )

    def _on_mapped(self, image_id: str, name: str, region: Region, pixels: NDArray[np.float32]) -> None:
        if not self._is_closed and self.preview.isChecked() and image_id == self._bench.image_id:
            self.mapped.emit(name, region, pixels)

    def close_panel(self) -> None:
        self._preview.close()
        self._is_closed = True

    def suggest(self) -> None:
        """Look for a smaller set, aside, and take it."""
        try:
            self._bench.suggest(self._bridge.suggested.emit)
        except (InputError, RunError) as error:
            self.failed.emit(str(error))

    def _suggested(self, task: str, selection: str) -> None:
        if task == self._bench.task_name:
            self._use(selection)

    def _words_chosen(self) -> None:
        ticked = [word for word, box in self.boxes.items() if box.isChecked()]
        if len(ticked) == len(WORDS):
            self._use("all")
            return
        sigmas = [s for word in ticked for s in WORDS[word]]
        self._use(selection_of({(name, s) for name in BUILT_IN for s in sigmas if s >= family(name).smallest_sigma}))

    def _cell_chosen(self, item: QTableWidgetItem) -> None:
        """Only this cell changes: others keep their channels, units and dimensions."""
        cell = Feature(BUILT_IN[item.row()], SIZES[item.column()])
        kept = [f for f in self._features() if (f.family, f.sigma, f.unit) != (cell.family, cell.sigma, cell.unit)]
        if item.checkState() == Qt.CheckState.Checked:
            kept.append(cell)
        self._use(_as_text(kept, self._bench.task.features, len(self._bench.channel_names)))

    def _use(self, features: str) -> None:
        try:
            if not features:
                raise InputError("at least one feature is needed")
            self._bench.change_recipe(features=features)
        except (InputError, RunError) as error:
            self.failed.emit(str(error))
        self.show_task()


def _as_text(features: Sequence[Feature], before: str, n_channels: int) -> str:
    """A selection as it was given before: JSON can say more than words, e.g. names of channels with spaces."""
    order = {name: i for i, name in enumerate(BUILT_IN)}
    ordered = tuple(sorted(features, key=lambda f: (order.get(f.family, len(order)), f.sigma)))
    if not ordered:
        return ""
    chosen = FeatureSet(ordered)
    return json.dumps(chosen.to_json()["features"]) if before.startswith(("[", "{")) else selection(chosen, n_channels)


def selection_of(chosen: set[tuple[str, float]]) -> str:
    """(family, sigma) pairs as a selection, in the order of the families."""
    items = []
    for name in BUILT_IN:
        sigmas = sorted(s for n, s in chosen if n == name)
        if sigmas:
            items.append(f"{name}:{','.join(f'{s:g}' for s in sigmas)}")
    return " ".join(items)
