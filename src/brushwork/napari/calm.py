"""What is drawn later, so that a stroke's answer has the processors for itself.

napari draws its list of layers anew for each event of a layer, and with it the whole window: without a graphics card
that takes both processors for 20 milliseconds, several times a stroke.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QObject

from brushwork.napari.inside import layer_list
from brushwork.napari.parts import timer


class Pace(QObject):
    """Owns when many small changes are drawn: the first at once, those that follow together, the last one always."""

    def __init__(self, every: int, draw: Callable[[], None]) -> None:
        """every : milliseconds between drawings, at least."""
        super().__init__()
        self._draw = draw
        self._timer = timer(self, every, self.finish)
        self.is_done = True  # all changes are drawn

    def changed(self) -> None:
        """There is more to draw."""
        self.is_done = False
        if not self._timer.isActive():
            self.finish()

    def finish(self) -> None:
        """Draw now what is not drawn yet."""
        if not self.is_done:
            self.is_done = True
            self._draw()
            self._timer.start()

    def close(self) -> None:
        self._timer.stop()


class Calm(QObject):
    """Owns whether the list of layers of a viewer is drawn: not while someone paints."""

    def __init__(
        self, viewer: Any, wait: int, *, paints: Callable[[], bool], begin: Callable[[], None], end: Callable[[], None]
    ) -> None:
        """wait : milliseconds after a release of the mouse until the list is drawn again.

        paints : whether a press of the mouse begins a stroke. begin, end : called at such a press, and at the release.
        """
        super().__init__()
        self._viewer, self._paints, self._begin, self._end = viewer, paints, begin, end
        self._list = layer_list(viewer)
        self._timer = timer(self, wait, self._wake)
        viewer.mouse_drag_callbacks.append(self._drag)

    def _drag(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        if not self._paints():
            return
        self._timer.stop()
        self._draw_list(False)
        self._begin()
        yield
        while event.type == "mouse_move":
            yield
        self._end()
        self._timer.start()

    def _wake(self) -> None:
        self._draw_list(True)

    def _draw_list(self, wanted: bool) -> None:
        if self._list is not None:
            with suppress(RuntimeError):  # the window may be gone
                self._list.setUpdatesEnabled(wanted)

    def close(self) -> None:
        self._timer.stop()
        self._wake()
        with suppress(ValueError):
            self._viewer.mouse_drag_callbacks.remove(self._drag)
