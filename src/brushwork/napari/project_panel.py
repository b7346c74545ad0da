"""What else a project holds: tasks over the same images, channels, models, and states to go back to."""

import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QInputDialog, QLabel, QListWidget, QListWidgetItem

from brushwork.errors import InputError, RunError
from brushwork.napari import texts
from brushwork.napari.parts import Fold, button, row
from brushwork.workbench import Workbench

LIST_HEIGHT = 90  # pixels


class ProjectPanel(Fold):
    """`failed` is emitted with words."""

    failed = Signal(str)

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self.tasks = QComboBox()
        self.tasks.setToolTip(texts.TIPS["task"])
        self.channels = QListWidget()
        self.channels.setToolTip(texts.TIPS["channels"])
        self.history = QListWidget()
        self.history.setToolTip(texts.TIPS["history"])
        for box in (self.channels, self.history):
            box.setFixedHeight(LIST_HEIGHT)
        self.channel_words = QLabel("Channels to look at")
        super().__init__(
            "Project",
            row(QLabel("Task"), self.tasks, button("+", self._add_task, texts.TIPS["task"])),
            self.channel_words,
            self.channels,
            QLabel("States to go back to"),
            self.history,
            row(button("Keep this state", self.keep), button("Go back to it", self.restore)),
        )
        self.tasks.activated.connect(lambda i: self._try(lambda: bench.choose_task(self.tasks.itemText(i))))
        self.channels.itemChanged.connect(lambda item: self._choose_channels())
        self.title.toggled.connect(lambda is_open: self.show_project())

    def show_project(self) -> None:
        """Nothing is done while the panel is folded."""
        if not self.title.isChecked():
            return
        task, project = self._bench.task, self._bench.project
        self.tasks.clear()
        self.tasks.addItems([t.name for t in project.document.tasks])
        self.tasks.setCurrentText(task.name)
        names = self._bench.channel_names
        for box in (self.channel_words, self.channels):
            box.setVisible(len(names) > 1)
        self.channels.blockSignals(True)
        self.channels.clear()
        for name in names:
            item = QListWidgetItem(name)
            used = task.channels is None or name in task.channels
            item.setCheckState(Qt.CheckState.Checked if used else Qt.CheckState.Unchecked)
            self.channels.addItem(item)
        self.channels.blockSignals(False)
        self.history.clear()
        for point in project.history():
            item = QListWidgetItem(
                f"{time.strftime('%d %b %H:%M:%S', time.localtime(point.when))}, {point.n_strokes} strokes"
            )
            item.setData(Qt.ItemDataRole.UserRole, point)
            self.history.addItem(item)

    def keep(self) -> None:
        self._try(self._bench.project.snapshot)
        self.show_project()

    def restore(self) -> None:
        """Go back to the chosen state; the present one is kept as a state too."""
        item = self.history.currentItem()
        if item is not None:
            self._try(lambda: self._bench.restore(item.data(Qt.ItemDataRole.UserRole)))
            self.show_project()

    def _add_task(self) -> None:
        name, chosen = QInputDialog.getText(self, "A further task", "Its name, e.g. of a stain")
        if chosen and name.strip():
            self._try(lambda: self._bench.add_task(name.strip()))
            self.show_project()

    def _choose_channels(self) -> None:
        items = [self.channels.item(i) for i in range(self.channels.count())]
        chosen = [item.text() for item in items if item.checkState() == Qt.CheckState.Checked]
        if not chosen:
            self.failed.emit("at least one channel is needed")
            self.show_project()
            return
        self._try(lambda: self._bench.change_recipe(channels="all" if len(chosen) == len(items) else chosen))

    def _try(self, change: Callable[[], Any]) -> None:
        try:
            change()
        except (InputError, RunError) as error:
            self.failed.emit(str(error))
