"""One group of touching objects into single ones: heights, peaks, and a flood from the peaks. Arrays in, arrays out.

Nothing outside the group changes its parts, so a group gives the same parts wherever its box was cut out of a volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, maximum_filter

from brushwork.components import LARGEST, labelled
from brushwork.errors import InputError, MissingPart, unknown

METHODS = ("none", "watershed", "peaks")
DEPTHS = {
    "distance": 1.0,
    "probability": 0.1,
    "image": 0.0,
}  # by kind of heights; with less, rough outlines fall into pieces


@dataclass(frozen=True)
class Splitting:
    """How touching objects are told apart.

    method : "watershed" floods every group from its peaks. "peaks" is the rule of ecc: only groups larger than `larger_than`
    are split,
    from the pixels of the raw image that are the largest in a cube of as many pixels. "none" leaves groups whole.
    heights : what is flooded: "distance" to the nearest pixel outside, "probability", or "image" (the first raw one).
    min_distance : pixels; of two peaks of a group that are nearer, the lower one does not count. Along coarser axes a pixel
    counts
    for more, by the pixel size.
    depth : a peak counts if the way to a higher one leads at least this far down; in the unit of heights, None for DEPTHS.
    larger_than : pixels; smaller groups are left whole.
    most : pixels of the box of a group; larger ones are left whole.
    """

    method: str = "none"
    heights: str = "distance"
    min_distance: float = 4.0
    depth: float | None = None
    larger_than: int = 0
    most: int = 1 << 24

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("way to split", self.method, METHODS)
        if self.heights not in DEPTHS:
            raise unknown("kind of heights", self.heights, DEPTHS)
        if self.depth is None:
            object.__setattr__(self, "depth", DEPTHS[self.heights])
        for name in ("min_distance", "depth", "larger_than"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name.replace('_', ' ')} {getattr(self, name)} was given; it has to be 0 or more")
        if not 1 <= self.most <= LARGEST:
            raise InputError(f"at most {self.most} pixels were to be split at once; give 1 to {LARGEST}")
        if self.method == "peaks" and not self.larger_than:
            raise InputError("the split at peaks is for objects that are too large; say which are, with a maximum size")

    def concerns(
        self, count: NDArray[np.int64], sides: NDArray[np.int64], spacing: Sequence[float]
    ) -> NDArray[np.bool_]:
        """Which groups could have more than one part, by their pixels and the sides of their boxes (n, ndim)."""
        if self.method == "none":
            return np.zeros(len(count), bool)
        far = (((sides - 1) * np.array(spacing)) ** 2).sum(1)
        apart = self.min_distance if self.method == "watershed" else 0.0
        return (count > max(self.larger_than, 1)) & (far >= (apart * (1 - 1e-12)) ** 2)


def parts_of(
    mine: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    values: NDArray[np.float32] | None,
    splitting: Splitting,
    structure: NDArray[np.bool_],
    spacing: Sequence[float],
) -> tuple[NDArray[np.int32], int]:
    """Split a group.

    Parameters
    ----------
    mine : (*spatial) the pixels of the group, in its box with one more pixel on each side that lies in the image.
    mask : (*spatial) the pixels of all groups there.
    values : (*spatial) probabilities or intensities, None where heights are distances.
    structure : the neighbours that count as connected. spacing : of pixels, per axis, 1 for the finest.

    Returns
    -------
    labels, n : labels 1 .. n of the parts, in the order of their first pixels.

    Raises InputError where a value of the group is no finite number.
    """
    if values is not None and not np.isfinite(values[mine]).all():
        raise InputError(
            "objects are to be split by an image that holds values that are no finite numbers; replace them, or leave such "
            "pixels out with a mask (--ignore)"
        )
    if splitting.method == "peaks":
        assert values is not None
        found = _local_maxima(mine, values, splitting.larger_than)
        heights = np.where(mine, values, 0).astype(np.float64)
    else:
        heights = _depths(mask, spacing) if values is None else values.astype(np.float64)
        found = peaks(mine, heights, splitting.min_distance, splitting.depth or 0.0, structure, spacing)
    n = int(found.max())
    if n < 2:
        return mine.astype(np.int32), 1
    return _in_order(flooded(mine, heights, found, structure), n), n


def _depths(mask: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float64]:
    """The distance to the nearest pixel outside; 0 where there is none."""
    return np.zeros(mask.shape) if mask.all() else distance_transform_edt(mask, sampling=spacing)


def peaks(
    mine: NDArray[np.bool_],
    heights: NDArray[np.float64],
    min_distance: float,
    depth: float,
    structure: NDArray[np.bool_],
    spacing: Sequence[float],
) -> NDArray[np.int32]:
    """Plateaus of `mine` that no neighbour exceeds, numbered from 1; see Splitting for min_distance and depth.

    Of those too near to each other the highest stays, of equally high ones the first.
    """
    morphology = _skimage("morphology")
    lowest = heights[mine].min() - depth - 1

    def plateaus(surface: NDArray[np.float64]) -> tuple[NDArray[np.int32], int]:
        return labelled(mine & morphology.local_maxima(surface, footprint=structure), structure)

    surface = np.where(mine, heights, lowest)
    tops, n = plateaus(surface)
    if n > 1 and depth > 0:
        tops, n = plateaus(
            morphology.reconstruction(np.where(mine, heights - depth, lowest), surface, footprint=structure)
        )
    if n < 2:
        return tops
    points, level = _middles(tops, heights, n, spacing)
    kept = _apart(points, level, min_distance)
    names = np.zeros(n + 1, np.int32)
    names[kept + 1] = np.arange(1, len(kept) + 1)
    return names[tops]


def _middles(
    tops: NDArray[np.int32], heights: NDArray[np.float64], n: int, spacing: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(middle of each plateau (n, ndim) in units of the finest pixels, its height)."""
    at = np.nonzero(tops)
    which = tops[at] - 1
    count = np.bincount(which, minlength=n)
    points = np.stack([np.bincount(which, a, minlength=n) / count * s for a, s in zip(at, spacing)], axis=1)
    level = np.full(n, -np.inf)
    np.maximum.at(level, which, heights[at])
    return points, level


def _apart(points: NDArray[np.float64], level: NDArray[np.float64], distance: float) -> NDArray[np.int64]:
    """The peaks that stay, in the order of their numbers: from the highest on, each at least `distance` from those before."""
    kept: list[int] = []
    limit = (distance * (1 - 1e-12)) ** 2
    for i in np.lexsort((np.arange(len(level)), -level)):
        if not kept or (((points[kept] - points[i]) ** 2).sum(1) >= limit).all():
            kept.append(int(i))
    return np.sort(np.array(kept, np.int64))


def _local_maxima(mine: NDArray[np.bool_], values: NDArray[np.float32], size: int) -> NDArray[np.int32]:
    """Pixels of the group that are the largest of all in a cube of `size` pixels around them; of touching ones, one for all."""
    edge = max(round(size ** (1 / values.ndim)), 1)
    inside = np.where(mine, values, -np.inf)
    highest = mine & (inside == maximum_filter(inside, edge, mode="constant", cval=-np.inf))
    return labelled(highest, np.ones((3,) * mine.ndim, bool))[0]


def flooded(
    mine: NDArray[np.bool_], heights: NDArray[np.float64], markers: NDArray[np.int32], structure: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Watershed from the markers (numbers from 1) downwards, within `mine`.

    Markers of one height would be flooded in an order that depends on what else is in the array, so each pixel of a marker is
    put a little higher than the next one; the others keep their order.
    """
    watershed = _skimage("segmentation").watershed
    level = np.zeros(heights.shape)
    level[mine] = np.unique(-heights[mine], return_inverse=True)[1]
    seeds = np.flatnonzero(markers)
    level.reshape(-1)[seeds] -= 0.5 * (1 - np.arange(len(seeds)) / len(seeds))
    return watershed(level, markers, mask=mine, connectivity=structure).astype(np.int32)


def _in_order(labels: NDArray[np.int32], n: int) -> NDArray[np.int32]:
    """Labels numbered in the order of their first pixels."""
    found, first = np.unique(labels, return_index=True)
    names = np.zeros(n + 1, np.int32)
    inside = found > 0
    names[found[inside][np.argsort(first[inside], kind="stable")]] = np.arange(1, n + 1)
    return names[labels]


def _skimage(module: str):  # type: ignore[no-untyped-def]
    from importlib import import_module

    try:
        return import_module(f"skimage.{module}")
    except ImportError:
        raise MissingPart("splitting touching objects", "tables") from None
