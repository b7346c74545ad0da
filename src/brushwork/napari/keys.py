"""Keys, bound while the dock is there. None of them is napari's own: digits and letters of its tools stay as they are."""

from collections.abc import Callable, Generator
from typing import Any

from brushwork.napari.dock import Dock

MOST_CLASSES = 9


def bindings(dock: Dock) -> dict[str, tuple[str, Callable[[Any], Any]]]:
    """Key: (what it does in words, function of the viewer)."""

    def choose(row: int) -> Callable[[Any], None]:
        return lambda viewer: dock.choose_class(row)

    def peek(viewer: Any) -> Generator[None, None, None]:
        """While the key is down the image is seen alone."""
        layers = [layer for layer in dock.scene.over() if layer.visible]
        for layer in layers:
            layer.visible = False
        yield
        for layer in layers:
            layer.visible = True

    keys: dict[str, tuple[str, Callable[[Any], Any]]] = {
        f"Control-{row + 1}": (f"paint with class {row + 1}", choose(row)) for row in range(MOST_CLASSES)
    }
    return keys | {
        "D": ("swap with the class before", lambda viewer: dock.class_list.choose_before()),
        "K": ("live on or off", lambda viewer: dock.live.toggle()),
        "G": ("the next way to see the prediction", lambda viewer: dock.next_view()),
        "U": ("where the prediction is unsure, and back", lambda viewer: dock.toggle_unsure()),
        "N": ("a new place to paint at", lambda viewer: dock.quality.find_place()),
        "Shift-N": ("back to the place suggested before", lambda viewer: dock.quality.show_place_before()),
        "W": ("why the pixel below the cursor is predicted as it is", lambda viewer: dock.explain()),
        "T": ("the next image", lambda viewer: dock.images.step(1)),
        "`": ("see the image alone while the key is down", peek),
        "Control-Z": ("take the last stroke back", lambda viewer: dock.undo()),
        "Control-Shift-Z": ("paint it again", lambda viewer: dock.redo()),
    }


def bind(viewer: Any, dock: Dock) -> None:
    """Bind them on the viewer; undo on the strokes too, where napari's own history would come first."""
    for key, (_, function) in bindings(dock).items():
        viewer.bind_key(key, function, overwrite=True)


def bind_undo(dock: Dock) -> None:
    """Undo and redo of the strokes' layer are the project's: they survive a restart."""
    if dock.scene.strokes is None:
        return
    layer = dock.scene.strokes.layer
    layer.bind_key("Control-Z", lambda layer: dock.undo(), overwrite=True)
    layer.bind_key("Control-Shift-Z", lambda layer: dock.redo(), overwrite=True)


def unbind(viewer: Any, dock: Dock) -> None:
    for key in bindings(dock):
        viewer.bind_key(key, None)
