"""The tour: four steps over the dock, each of which goes on by itself once it is done."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QVBoxLayout

from brushwork.napari import texts
from brushwork.napari.parts import button, row, words
from brushwork.workbench import Workbench


class Tour(QFrame):
    """Hidden until `begin`; `look` is called when strokes have changed."""

    ended = Signal()

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self._bench = bench
        self.step = -1
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.words = words()
        column = QVBoxLayout(self)
        column.addWidget(self.words)
        column.addLayout(row(button("Skip the tour", self.end), button("Next", self.next)))
        self.hide()

    def begin(self) -> None:
        self.step = -1
        self.show()
        self.next()

    def next(self) -> None:
        self.step += 1
        if self.step >= len(texts.TOUR):
            self.end()
            return
        title, text = texts.TOUR[self.step]
        self.words.setText(f"<b>{self.step + 1} of {len(texts.TOUR)}: {title}</b><br>{text}")
        self.look()

    def look(self) -> None:
        """Go on where the user has done what the step asks."""
        if not 0 <= self.step < len(texts.TOUR):
            return
        counts = self._bench.counts().values()
        n_classes = sum(pixels > 0 for pixels, _ in counts)
        n_strokes = sum(strokes for _, strokes in counts)
        done = (n_classes >= 1, n_classes >= 2, n_strokes >= 3)
        if self.step < len(done) and done[self.step]:
            self.next()

    def end(self) -> None:
        self.step = len(texts.TOUR)
        self.hide()
        self.ended.emit()
