"""What napari keeps to itself and the window needs: no other file reaches there, so a new napari can break only this one.

A plugin's viewer and its layers come in a wrapper that warns of such access, and will refuse it; it is taken off here.
"""

from contextlib import AbstractContextManager
from typing import Any


def is_painting(labels: Any) -> bool:
    """Whether a layer remembers where a stroke or an outline has begun, in pixels of its data."""
    layer = _bare(labels)
    return bool(layer._block_history or layer._staged_history or layer._overlays["polygon"].points)


def undrawn(layer: Any) -> AbstractContextManager[None]:
    """While several attributes of a layer change, none of them draws it."""
    return _bare(layer)._block_refresh()


def layer_list(viewer: Any) -> Any:
    """The widget that lists a viewer's layers; None where there is none."""
    return getattr(_bare(viewer.window)._qt_viewer, "layers", None)


def _bare(thing: Any) -> Any:
    return getattr(thing, "__wrapped__", thing)
