"""The layer that is painted on: the strokes of one image, of a large plane those around the view."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.errors import InputError
from brushwork.napari import inside, texts
from brushwork.napari.arrays import StrokeArray, StrokeWindow, Window, display_scale, display_shape, window_of

STROKES = "strokes"
MOST_FILLED = 250_000  # pixels; a bucket that ran over more, or over a quarter of the plane, hit the background
BRUSH = 5  # pixels
ORIGINS = {"erase": "eraser", "fill": "fill"}


@dataclass(frozen=True)
class Painted:
    """A stroke by hand. coords : (n, [1 +] ndim) pixels of the image. class_id : 0 erases. origin : as of a Stroke."""

    coords: NDArray[np.int64]
    class_id: int
    origin: str


class StrokesLayer:
    """Owns napari's layer for the strokes of one image, `layer`, and which window of them it holds; that follows the view."""

    def __init__(
        self,
        viewer: Any,
        image_id: str,
        image: Any,
        *,
        brush: float = BRUSH,
        told: Callable[[str], None],
        ended: Callable[["StrokesLayer", Any], None],
    ) -> None:
        """brush : pixels. told : gets what the user should know. ended : called with this and napari's event after each stroke."""
        self.image_id = image_id
        self._viewer, self._told, self._ended = viewer, told, partial(ended, self)
        self._scale = np.array(display_scale(image))
        self._array = StrokeArray(display_shape(image))
        self._window = window_of(self._array.shape, self._whole_plane())
        self._is_stale = False  # the layer shows what was not painted
        self.layer = viewer.add_labels(
            self._held(), name=STROKES, opacity=0.9, multiscale=False, **self._place_of_window()
        )
        self.layer.n_edit_dimensions = 2
        self.layer.brush_size = brush
        self.layer.events.paint.connect(self._ended)

    # ---- which strokes are held ----

    def replace(self, coords: NDArray[np.int64], classes: NDArray[np.uint8]) -> None:
        """Show these pixels as painted, and no others. coords : (n, [1 +] ndim) pixels of the image."""
        self._array.replace(coords, classes)
        self.layer.refresh(extent=False)

    def follow(self, view: Region | None) -> None:
        """Hold what is in view; not yet under a stroke, which goes on where it has begun. view : None where y or x is not seen."""
        in_plane = self._whole_plane() if view is None else (view.start[-2:], view.stop[-2:])
        window = window_of(self._array.shape, in_plane, self._window)
        if window != self._window and inside.is_painting(self.layer):
            self._told(texts.END_STROKE)
        elif window != self._window:
            if window.step == 1 < self._window.step:
                self._told("")
            self._window, self._is_stale = window, False
            with inside.undrawn(self.layer):
                self.layer.data = self._held()  # first: at any other change napari reads what there is
                place = self._place_of_window()
                self.layer.scale, self.layer.translate = place["scale"], place["translate"]
            self.layer.brush_size = self.layer.brush_size  # the cursor is drawn anew: the layer's pixels are others
            self.layer.refresh()
        elif self._is_stale:
            self._is_stale = False
            self.layer.refresh(extent=False)

    def _whole_plane(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """A view of all y and x; None in 3D."""
        return None if self._viewer.dims.ndisplay == 3 else ((0, 0), self._array.shape[-2:])

    def _held(self) -> StrokeArray | StrokeWindow:
        whole = self._window == Window((0,) * len(self._array.shape), self._array.shape)
        return self._array if whole else StrokeWindow(self._array, self._window)

    def _place_of_window(self) -> dict[str, NDArray[np.float64]]:
        """scale and translate, so that a pixel of the window lies on those that it shows."""
        steps = np.array(self._window.steps)
        return {
            "scale": self._scale * steps,
            "translate": (np.array(self._window.start) + (steps - 1) / 2) * self._scale,
        }

    # ---- what is painted ----

    def take_brush(self, class_id: int) -> None:
        self.layer.selected_label = class_id
        self._viewer.layers.selection.active = self.layer
        if self.layer.mode not in ("paint", "fill", "polygon"):
            self.layer.mode = "paint"

    def painted(self, event: Any) -> Painted:
        """What a stroke that has ended has painted; raises InputError where that is not to be kept."""
        if self._window.step > 1:
            self._is_stale = True
            raise InputError(texts.ZOOM_IN)
        atoms = list(event.value)
        coords = np.concatenate([_positions(atom) for atom in atoms]) + np.array(self._window.start)
        class_id = int(np.max(_new_value(atoms[-1])))
        origin = ORIGINS.get(str(self.layer.mode), "brush") if class_id else "eraser"
        if origin == "fill":
            self._check_filled(coords)
        return Painted(coords, class_id, origin)

    def _check_filled(self, coords: NDArray[np.int64]) -> None:
        """Raise InputError where a bucket ran over the background, or to where it could not go on."""
        shape = self._array.shape
        dims = self._viewer.dims
        extra = dims.ndim - len(shape)  # layers of others may have more axes; napari aligns them at the last
        plane = int(np.prod([shape[i - extra] for i in dims.displayed if i >= extra]))
        if len(coords) > min(MOST_FILLED, plane // 4):
            raise InputError(texts.FLOODED.format(pixels=len(coords)))
        start, stop = np.array(self._window.start), np.array(self._window.stop)
        low, high = coords.min(0), coords.max(0) + 1
        if ((low == start) & (start > 0)).any() or ((high == stop) & (stop < shape)).any():
            raise InputError(texts.FILLED_TO_END)

    def end_stroke(self) -> None:
        """A stroke that is being painted ends here: its pixels are kept before anything else changes."""
        with self.layer.block_history():  # at its end what was held back is told
            pass

    def let_go(self) -> None:
        """Nothing that is painted is heard of any more."""
        self.layer.events.paint.disconnect(self._ended)


def _positions(atom: Any) -> NDArray[np.int64]:
    """(n, ndim) pixels that a step of painting changed: napari tells a box and a mask, or one array per axis."""
    if not hasattr(atom, "slice_key"):
        return np.stack([np.asarray(a).ravel() for a in atom[0]], -1).astype(np.int64)
    start = np.array([s.start for s in atom.slice_key])
    shape = [s.stop - s.start for s in atom.slice_key]
    mask = np.ones(shape, bool) if atom.mask is None else atom.mask
    return np.argwhere(mask) + start


def _new_value(atom: Any) -> Any:
    return atom.new_value if hasattr(atom, "slice_key") else atom[2]
