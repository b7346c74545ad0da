"""Small pieces that the dock is put together from."""

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget


def words(text: str = "") -> QLabel:
    """A label that breaks its lines and can be copied from."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def row(*widgets: QWidget) -> QHBoxLayout:
    made = QHBoxLayout()
    for widget in widgets:
        made.addWidget(widget)
    return made


def line() -> QFrame:
    made = QFrame()
    made.setFrameShape(QFrame.Shape.HLine)
    return made


def button(text: str, then: Any, tip: str = "") -> QPushButton:
    made = QPushButton(text)
    made.setToolTip(tip)
    made.clicked.connect(lambda checked=False: then())
    return made


def timer(parent: QObject, wait: int, then: Callable[[], None]) -> QTimer:
    """Calls once it has run for `wait` milliseconds; starting it again begins anew."""
    made = QTimer(parent)
    made.setSingleShot(True)
    made.setInterval(wait)
    made.timeout.connect(then)
    return made


class Fold(QWidget):
    """A title that shows and hides what is below it."""

    def __init__(self, title: str, *inside: Any) -> None:
        """inside : widgets and layouts, from top to bottom."""
        super().__init__()
        self.title = QToolButton()
        self.title.setText(title)
        self.title.setCheckable(True)
        self.title.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.title.toggled.connect(self._toggled)
        self.inside = QWidget()
        column = QVBoxLayout(self.inside)
        column.setContentsMargins(6, 0, 0, 0)
        for item in inside:
            column.addLayout(item) if isinstance(item, QHBoxLayout) else column.addWidget(item)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.title)
        outer.addWidget(self.inside)
        self._toggled(False)

    def _toggled(self, is_open: bool) -> None:
        self.inside.setVisible(is_open)
        self.title.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
