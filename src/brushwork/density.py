"""How many objects lie where: their number in the blocks of a coarse grid over an image, per area or volume."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brushwork.errors import InputError
from brushwork.image import SPATIAL
from brushwork.table import Table

PER_BLOCK = 2  # objects in a block on average, where nothing else is asked for
MOST_ALONG = {2: 256, 3: 128}  # blocks along an axis, where nothing else is asked for
MOST_BLOCKS = 1 << 26
UM_PER_MM, MEGA = 1000.0, 1e6


@dataclass(frozen=True, eq=False)
class Density:
    """counts : (n_frames, *grid) int64, objects whose centroid lies in each block.

    block : pixels per axis; the last block of an axis may be smaller. shape : pixels of the image. pixel_size : micrometres.
    """

    counts: NDArray[np.int64]
    block: tuple[int, ...]
    shape: tuple[int, ...]
    pixel_size: tuple[float, ...] | None

    @property
    def unit(self) -> str:
        """What `values` count; without a pixel size in a million pixels."""
        return unit_of_density(len(self.shape), self.pixel_size is not None)

    @property
    def values(self) -> NDArray[np.float32]:
        """(n_frames, *grid) objects per unit."""
        return (self.counts / self._sizes(range(len(self.shape)))).astype(np.float32)

    def seen_from_above(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of a volume, the mean over frames along z: (its maximum per mm3, all objects per mm2), both (y, x).

        Of a plane both are the same. Without a pixel size they are per million voxels and pixels.
        """
        mean = self.counts.mean(0)
        if len(self.shape) == 2:
            flat = mean / self._sizes((0, 1))
            return flat, flat
        return (mean / self._sizes((0, 1, 2))).max(0), mean.sum(0) / self._sizes((1, 2))

    def _sizes(self, axes: Sequence[int]) -> NDArray[np.float64]:
        """The size of every block along some axes, in mm to their number, or in millions of pixels."""
        size = np.ones(())
        for axis in axes:
            starts = np.arange(self.counts.shape[axis + 1]) * self.block[axis]
            length = np.minimum(self.block[axis], self.shape[axis] - starts).astype(float)
            size = size[..., np.newaxis] * (length * self.pixel_size[axis] / UM_PER_MM if self.pixel_size else length)
        return size if self.pixel_size else size / MEGA


def unit_of_density(ndim: int, in_mm: bool) -> str:
    """
    >>> unit_of_density(3, True)
    'mm³'
    """
    return {2: "mm²", 3: "mm³"}[ndim] if in_mm else f"million { ({2: 'pixels', 3: 'voxels'}[ndim]) }"


def density_of(
    table: Table,
    shape: Sequence[int],
    *,
    n_frames: int = 1,
    pixel_size: Sequence[float] | None = None,
    edge: float | None = None,
    spacing: Sequence[float] | None = None,
) -> Density:
    """Count objects on a grid.

    table : has the columns centroid-0, ... in pixels, and frame where there are several. shape : pixels of the image.
    edge : of a block, in the unit of `spacing` (how far pixels are apart on each axis; None counts pixels), rounded to whole
    pixels; None for blocks of PER_BLOCK objects on average. Raises InputError where they would be too many, or where objects
    lie outside.
    """
    ndim = len(shape)
    if edge is not None and not 0 < edge < math.inf:
        raise InputError(f"blocks of {edge:g} were asked for; give more than 0")
    if edge is None:
        spacing = pixel_size or (1.0,) * ndim
        volume = n_frames * math.prod(n * s for n, s in zip(shape, spacing))
        edge = (volume * PER_BLOCK / max(len(table), 1)) ** (1 / ndim)
        block = tuple(_even(n, edge / s, MOST_ALONG[ndim]) for n, s in zip(shape, spacing))
    else:
        block = tuple(min(max(round(edge / s), 1), n) for n, s in zip(shape, spacing or (1.0,) * ndim))
    grid = tuple(-(-n // b) for n, b in zip(shape, block))
    if n_frames * math.prod(grid) > MOST_BLOCKS:
        raise InputError(
            f"blocks of {edge:g} were asked for, of which there would be {math.prod(grid):,}; give larger ones"
        )
    counts = np.zeros((n_frames, *grid), np.int64)
    at = [table["frame"]] if n_frames > 1 else [np.zeros(len(table), np.int64)]
    for axis, b in enumerate(block):
        at.append(np.floor((table[f"centroid-{axis}"] + 0.5) / b).astype(np.int64))
    if any(len(a) and not (a.min() >= 0 and a.max() < n) for a, n in zip(at, counts.shape)):
        raise InputError(f"some objects of the table lie outside an image of {tuple(shape)} ({SPATIAL[-ndim:]})")
    np.add.at(counts, tuple(at), 1)
    return Density(counts, block, tuple(shape), tuple(pixel_size) if pixel_size else None)


def _even(length: int, wanted: float, most: int) -> int:
    """Pixels of a block, so that `length` falls into nearly equal blocks of about `wanted` pixels.

    >>> _even(100, 30, 256), _even(10, 0.2, 256), _even(10, 900, 256)
    (34, 1, 10)
    """
    n = min(max(round(length / max(wanted, 1.0)), 1), most)
    return -(-length // n)
