"""Where a viewer looks: what is in view of an image, which pixel is below the cursor, and how one comes to the middle."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from brushwork.blocks import Region
from brushwork.napari.arrays import display_scale, display_shape


def region_in_view(viewer: Any, image: Any) -> Region | None:
    """What the canvas shows of an image, one pixel thick along the other axis; None in a 3D view."""
    dims, camera = viewer.dims, viewer.scene.camera
    if dims.ndisplay != 2:
        return None
    shape = display_shape(image)
    size = np.array(viewer.canvas.size, float)
    centre, zoom = np.array(camera.center[-2:], float), camera.zoom
    scale = np.array(display_scale(image))
    extra = dims.ndim - len(scale)  # layers of others may have more axes; napari aligns them at the last
    first = len(shape) - len(image.shape)
    shown = [axis - extra for axis in dims.displayed[-2:]]
    if any(axis < first for axis in shown):
        return None  # time is displayed, or an axis that the image does not have
    at = np.array(dims.point)[extra:] / scale
    start = np.floor(at + 0.5).astype(int)
    stop = start + 1
    low, high = centre - size / 2 / zoom, centre + size / 2 / zoom
    start[shown] = np.floor(low / scale[shown] + 0.5)
    stop[shown] = np.ceil(high / scale[shown] + 0.5)
    t = min(max(int(start[0]), 0), image.n_frames - 1) if first else 0
    region = Region(tuple(start[first:].tolist()), tuple(stop[first:].tolist()), t)
    return region.clipped(image.shape)


def pixel_at_cursor(viewer: Any, image: Any) -> tuple[int, ...] | None:
    """([t,] *spatial) below the cursor; None beside the image."""
    shape = display_shape(image)
    world = np.array(viewer.cursor.position)[-len(shape) :]
    at = np.floor(world / display_scale(image) + 0.5).astype(int)
    return tuple(at.tolist()) if (at >= 0).all() and (at < shape).all() else None


def go_to(viewer: Any, image: Any, position: Sequence[int]) -> None:
    """Bring a pixel to the middle of the canvas. position : ([t,] *spatial)."""
    world = np.asarray(position, float) * display_scale(image)
    dims = viewer.dims
    extra = dims.ndim - len(world)
    for axis in dims.not_displayed:
        if axis >= extra:
            dims.set_point(axis, world[axis - extra])
    viewer.scene.camera.center = tuple(world[[axis - extra for axis in dims.displayed]])
