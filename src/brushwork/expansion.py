"""Objects grown by a distance, without merging: a pixel between two is of the nearer, or of the one with the lower number."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from brushwork.blocks import Region
from brushwork.errors import InputError
from brushwork.kernels.grow import nearest

MOST_STEPS = 64  # pixels along an axis: the halo of a block


def expanded(
    draw: Callable[[Region], NDArray[np.int64]], shape: Sequence[int], distance: float, spacing: Sequence[float]
) -> Callable[[Region], NDArray[np.int64]]:
    """A function that draws grown labels of a region, from one that draws the labels themselves.

    distance : in the unit of `spacing`, how far the pixels of each axis are apart. shape : of the volume.
    """
    halo = steps(distance, spacing)
    if not max(halo):
        return draw
    offsets, distances = _offsets(halo, distance, spacing)

    def drawn(region: Region) -> NDArray[np.int64]:
        held = region.grown(halo).clipped(shape)
        labels = draw(held)
        if not labels.any():
            return np.zeros(region.shape, np.int64)
        lead = (1,) * (3 - labels.ndim)
        squared = distance_transform_edt(labels == 0, sampling=spacing) ** 2
        inside = [(0, 1)] * len(lead) + [(s.start, s.stop) for s in region.slices_in(held)]
        out = np.empty((*lead, *region.shape), np.int64)
        box = lead + labels.shape
        nearest(labels.reshape(box), squared.reshape(box), offsets, distances, np.array(inside, np.int64), out)
        return out.reshape(region.shape)

    return drawn


def steps(distance: float, spacing: Sequence[float]) -> list[int]:
    """Pixels per axis in a distance; raises InputError where objects cannot be grown by it."""
    if not 0 <= distance < math.inf:
        raise InputError(f"objects cannot be grown by {distance:g}; give 0 or more")
    found = [math.floor(distance / s + 1e-9) for s in spacing]
    if max(found) > MOST_STEPS:
        raise InputError(f"objects can be grown by at most {MOST_STEPS} pixels; {distance:g} would be {max(found)}")
    return found


def _offsets(
    halo: Sequence[int], distance: float, spacing: Sequence[float]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(offsets (n, 3) out to a distance, their squared lengths), nearest first."""
    axes = np.meshgrid(*(np.arange(-h, h + 1) for h in halo), indexing="ij")
    offsets = np.stack([a.ravel() for a in axes], axis=1)
    squared = ((offsets * np.array(spacing)) ** 2).sum(1)
    near = np.flatnonzero((squared > 0) & (squared <= distance**2 * (1 + 1e-9)))
    near = near[np.argsort(squared[near], kind="stable")]
    lead = np.zeros((len(near), 3 - len(halo)), np.int64)
    return np.concatenate([lead, offsets[near]], axis=1), squared[near]
