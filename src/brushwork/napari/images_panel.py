"""The images of the project: which is in front, further ones, and the way back to those that are not where they were."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QSizePolicy, QToolButton, QWidget

from brushwork.errors import InputError, RunError
from brushwork.io import is_image_folder
from brushwork.napari import texts
from brushwork.napari.parts import button
from brushwork.workbench import Workbench

Do = Callable[[Callable[[], Any]], Any]


class ImagesPanel(QWidget):
    """A box with the images, and `find_button`, which lies where errors are told. Owns which lost image that one asks for."""

    def __init__(self, bench: Workbench, *, do: Do, leave: Callable[[], None], tell: Callable[[str], None]) -> None:
        """do : does something, and returns None where it told an error. leave : called before another image is in front."""
        super().__init__()
        self._bench, self._do, self._leave, self._tell = bench, do, leave, tell
        self._lost = ""  # the id of the image that `find_button` asks for
        self.box = QComboBox()
        self.box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.box.activated.connect(self._chosen)
        before = self._arrow(Qt.ArrowType.LeftArrow, -1, texts.TIPS["before"])
        after = self._arrow(Qt.ArrowType.RightArrow, 1, texts.TIPS["next"])
        self.find_button = button("Find the image ...", self._ask_where, texts.TIPS["find"])
        self.find_button.hide()
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        for widget in (self.box, before, after, button("Add ...", self._ask_what)):
            line.addWidget(widget)

    def _arrow(self, kind: Qt.ArrowType, by: int, tip: str) -> QToolButton:
        made = QToolButton()
        made.setArrowType(kind)
        made.setToolTip(tip)
        made.clicked.connect(lambda: self.step(by))
        return made

    def show_images(self) -> None:
        painted = self._bench.painted_images()
        self.box.blockSignals(True)
        self.box.clear()
        for entry in self._bench.project.document.images:
            mark = "✓ " if entry.id in painted else ""
            self.box.addItem(mark + entry.title, entry.id)
        self.box.setCurrentIndex(self.box.findData(self._bench.image_id))
        self.box.blockSignals(False)

    def step(self, by: int) -> None:
        """The next image, or the one before."""
        self._leave()
        self._do(lambda: self._bench.step_image(by))

    def show_image(self, image_id: str) -> None:
        self._leave()
        self._do(lambda: self._bench.show_image(image_id))

    def _chosen(self, row: int) -> None:
        self.show_image(self.box.itemData(row))

    def _ask_what(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Add images to the project")
        if paths:
            self.add(paths)

    def add(self, paths: list[str]) -> None:
        """Put further images into the project; what is wrong with any of them is told."""
        wrong = []
        for path in paths:
            try:
                self._bench.add_image(path)
            except (InputError, RunError) as error:
                wrong.append(texts.by_name(str(error), path))
        self.show_images()
        self.offer_while_lost()
        self._tell("\n".join(wrong))

    # ---- images that are not where they were ----

    def offer_to_find(self, image_id: str) -> None:
        """An image is not where it was; the box names the one that is seen."""
        self._lost = image_id
        self.find_button.show()
        self.show_images()

    def offer_while_lost(self) -> None:
        """Offer it while no image is in front because all are lost."""
        lost = self._bench.lost
        self.find_button.setVisible(not self._bench.image_id and bool(lost))
        if not self._bench.image_id and self._lost not in lost:
            self._lost = next(iter(lost), "")

    def _ask_where(self) -> None:
        entry, title = self._bench.project.document.image(self._lost), "Where is the image now?"
        if is_image_folder(Path(entry.path)):
            path = QFileDialog.getExistingDirectory(self, title)
        else:
            path, _ = QFileDialog.getOpenFileName(self, title)
        if path:
            self.relink(path)

    def relink(self, path: str) -> None:
        """Say where the image is that was not found; others that moved with it are found too, and told."""
        found = self._do(lambda: self._bench.relink(self._lost, path))
        if found is not None:
            self.show_images()
            lost = self._bench.lost
            self._tell(texts.FOUND.format(n=len(found)) + (f"; {texts.lost(lost.values())}" if lost else ""))
            if lost:
                self.offer_to_find(next(iter(lost)))
