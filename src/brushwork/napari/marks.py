"""What is drawn over an image for a while: a frame around a place to paint at, the box that limits prediction, a feature map."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.errors import InputError
from brushwork.napari import texts
from brushwork.napari.arrays import display_scale

MAP, HERE, BOX = "feature", "paint here", "only here"
COLOR = "#F0E442"
TRANSPARENT = "transparent"


class Marks:
    """Owns these three layers of a viewer; each is None until it is shown."""

    def __init__(self, viewer: Any, *, moved: Callable[[], None]) -> None:
        """moved : called when the box was dragged or resized."""
        self._viewer, self._moved = viewer, moved
        self.frame: Any = None
        self.box: Any = None
        self.map: Any = None

    def show_map(self, image: Any, name: str, region: Region, pixels: NDArray[np.float32]) -> None:
        """A feature map of a region of an image. pixels : (*spatial)."""
        scale = np.array(display_scale(image))
        first = len(scale) - pixels.ndim
        corner = ((region.t,) if first else ()) + region.start
        if first:
            pixels = pixels[np.newaxis]
        limits = (float(pixels.min()), max(float(pixels.max()), float(pixels.min()) + 1e-6))
        if not self._is_there(self.map, pixels.ndim):
            self.map = self._viewer.add_image(pixels, name=MAP, scale=scale, colormap="gray", contrast_limits=limits)
        self.map.data = pixels
        self.map.translate = np.array(corner) * scale
        self.map.contrast_limits_range = self.map.contrast_limits = limits
        self.map.name = f"{MAP}: {name}"

    def hide_map(self) -> None:
        self._remove(self.map)
        self.map = None

    def show_frame(self, image: Any, region: Region) -> None:
        """A frame around a region of an image."""
        (y0, x0), (y1, x1) = region.start[-2:], region.stop[-2:]
        front = ((region.t,) if image.n_frames > 1 else ()) + region.start[:-2]
        corners = [(*front, y, x) for y, x in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))]
        if self._is_there(self.frame, len(corners[0])):
            self.frame.data = [np.array(corners, float)]
            self.frame.visible = True
        else:
            self.frame = self._viewer.add_shapes(
                [np.array(corners, float)], shape_type="polygon", name=HERE, scale=display_scale(image),
                edge_color=COLOR, face_color=TRANSPARENT, edge_width=1,
            )  # fmt: skip

    def hide_frame(self) -> None:
        if self.frame is not None:
            self.frame.visible = False

    def show_box(self, image: Any, view: Region | None) -> None:
        """A box to drag and resize, at first the middle half of the view; raises InputError where y or x is not displayed."""
        dims = self._viewer.dims
        if view is None or sorted(dims.displayed) != [dims.ndim - 2, dims.ndim - 1]:
            raise InputError(texts.BOX_IN_PLANE)
        quarters = [(b - a) / 4 for a, b in zip(view.start[-2:], view.stop[-2:])]
        y0, x0 = (a + q - 0.5 for a, q in zip(view.start[-2:], quarters))
        y1, x1 = (b - q - 0.5 for b, q in zip(view.stop[-2:], quarters))
        self.hide_box()
        self.box = self._viewer.add_shapes(  # of y and x alone: it is seen in every plane and frame
            [np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)])], shape_type="rectangle", name=BOX,
            scale=display_scale(image)[-2:], edge_color=COLOR, face_color=TRANSPARENT,
            edge_width=max(view.shape[-2:]) / 400,
        )  # fmt: skip
        self.box.mode = "select"
        self.box.selected_data = {0}
        self.box.events.data.connect(lambda event: self._moved())

    def hide_box(self) -> None:
        self._remove(self.box)
        self.box = None

    def region_in_box(self, image: Any) -> Region | None:
        """What lies in the box around all that is drawn there, in every plane; None without one."""
        if self.box is None or self.box not in self._viewer.layers or not self.box.data:
            return None
        corners = np.concatenate(self.box.data) + 0.5
        shape = image.shape
        start = (0,) * (len(shape) - 2) + tuple(np.floor(corners.min(0)).astype(int).tolist())
        stop = shape[:-2] + tuple(np.ceil(corners.max(0)).astype(int).tolist())
        region = Region(start, stop).clipped(shape)
        return region if region.size else None

    def _is_there(self, layer: Any, ndim: int) -> bool:
        """Whether a layer can show what has so many axes; the user may have deleted it."""
        return layer is not None and layer in self._viewer.layers and layer.ndim == ndim

    def _remove(self, layer: Any) -> None:
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
