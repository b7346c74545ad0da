"""Painted pixels: where, of which class, in which stroke."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.errors import InputError

MAX_CLASSES = 255


@dataclass(frozen=True, eq=False)
class Labels:
    """The painted pixels of one image; unpainted ones are not stored.

    shape : pixels along the image's spatial axes.
    coords : (n, ndim) int64, or (n, 1 + ndim) with the frame first where the image has time.
    classes : (n,) uint8, from 1.
    strokes : (n,) int32, the stroke each pixel belongs to, from 0.
    """

    shape: tuple[int, ...]
    coords: NDArray[np.int64] = field(repr=False)
    classes: NDArray[np.uint8] = field(repr=False)
    strokes: NDArray[np.int32] = field(repr=False)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def has_time(self) -> bool:
        return self.coords.shape[1] > len(self.shape)

    @property
    def positions(self) -> NDArray[np.int64]:
        """(n, ndim): coords without the frame."""
        return self.coords[:, -len(self.shape) :]

    @property
    def frames(self) -> NDArray[np.int64]:
        """(n,): the frame of each pixel."""
        return self.coords[:, 0] if self.has_time else np.zeros(len(self), np.int64)

    def chosen(self, which: NDArray) -> "Labels":
        """The pixels for which `which` (mask or positions, over n) says so."""
        return Labels(self.shape, self.coords[which], self.classes[which], self.strokes[which])

    def by_stroke(self) -> list[NDArray[np.intp]]:
        """Where the pixels of each stroke are, over n."""
        order = np.argsort(self.strokes, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.strokes[order])) + 1) if len(self) else []

    def inside(self, region: Region) -> "Labels":
        at = self.positions
        within = ((at >= region.start) & (at < region.stop)).all(1) & (self.frames == region.t)
        return self.chosen(within)

    def merged(self, other: "Labels") -> "Labels":
        """Both; where both painted a pixel, `other` lies on top. Strokes of `other` are numbered on."""
        if self.shape != other.shape or self.coords.shape[1] != other.coords.shape[1]:
            raise InputError(f"labels of an image of {other.shape} cannot join those of an image of {self.shape}")
        on_top = len(self) and self.strokes.max() + 1
        coords = np.concatenate([self.coords, other.coords])
        _, last = np.unique(coords[::-1], axis=0, return_index=True)
        keep = np.sort(len(coords) - 1 - last)
        classes = np.concatenate([self.classes, other.classes])
        strokes = np.concatenate([self.strokes, other.strokes + np.int32(on_top)])
        return Labels(self.shape, coords[keep], classes[keep], strokes[keep])


def from_coords(coords: NDArray, classes: NDArray, shape: tuple[int, ...]) -> Labels:
    """Labels whose strokes are the connected components of each class (full connectivity).

    coords : (n, ndim) or (n, 1 + ndim) integers; classes : (n,) integers from 1; shape : of the image's spatial axes.
    """
    coords = np.asarray(coords, np.int64)
    classes = np.asarray(classes)
    if len(classes) and (classes.min() < 1 or classes.max() > MAX_CLASSES):
        worst = classes.min() if classes.min() < 1 else classes.max()
        raise InputError(f"labels hold class {int(worst)}; classes are whole numbers from 1 to {MAX_CLASSES}")
    return Labels(shape, coords, classes.astype(np.uint8), _strokes(coords, classes))


def _strokes(coords: NDArray[np.int64], classes: NDArray) -> NDArray[np.int32]:
    """Components without a dense array: neighbours are looked up among the sorted linear positions of painted pixels."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, ndim = coords.shape
    if n == 0:
        return np.zeros(0, np.int32)
    low = coords.min(0) - 1
    extent = coords.max(0) - low + 2
    step = np.concatenate([np.cumprod(extent[:0:-1])[::-1], [1]]).astype(np.int64)
    at = (coords - low) @ step
    order = np.argsort(at, kind="stable")
    at, kind = at[order], classes[order]
    pairs: list[tuple[NDArray, NDArray]] = []
    for offset in product((-1, 0, 1), repeat=ndim):
        if offset <= (0,) * ndim:
            continue  # each pair of neighbours once
        found = np.searchsorted(at, at + np.dot(offset, step)).clip(max=n - 1)
        is_pair = (at[found] == at + np.dot(offset, step)) & (kind[found] == kind)
        pairs.append((np.flatnonzero(is_pair), found[is_pair]))
    rows, columns = (np.concatenate(side) for side in zip(*pairs))
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    strokes = np.empty(n, np.int32)
    strokes[order] = component
    return _numbered_by_first_pixel(strokes)


def _numbered_by_first_pixel(strokes: NDArray[np.int32]) -> NDArray[np.int32]:
    _, first, inverse = np.unique(strokes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[inverse]


def from_array(array: NDArray, *, has_time: bool = False, mapping: Mapping[int, int] | None = None) -> Labels:
    """Labels from a label image: 0 is unpainted, other values are classes.

    array : (*spatial) or, with `has_time`, (t, *spatial) integers.
    mapping : value in the array -> class; values it does not name are an error.
    """
    coords = np.argwhere(array)
    values = array[tuple(coords.T)]
    shape = array.shape[1:] if has_time else array.shape
    return from_coords(coords, mapped(values, mapping), shape)


def mapped(values: NDArray, mapping: Mapping[int, int] | None) -> NDArray:
    """The classes that label values stand for; whole numbers, checked."""
    if not (np.isfinite(values) & (values == np.round(values)) & (values >= 0)).all():
        raise InputError(
            "the label image holds fractions or negative numbers; classes are whole numbers from 1, 0 is unpainted"
        )
    values = values.astype(np.int64)
    if mapping is None:
        return values
    present = np.unique(values)
    absent = sorted(set(present.tolist()) - set(mapping))
    if absent:
        raise InputError(f"the label image holds the values {absent} that the mapping {dict(mapping)} does not name")
    return np.array([mapping[v] for v in present.tolist()], np.int64)[np.searchsorted(present, values)]


def painted_classes(many: Iterable[Labels]) -> NDArray[np.int64]:
    """(255,): painted pixels per class (class k at k - 1) over several images."""
    counts = np.zeros(MAX_CLASSES, np.int64)
    for labels in many:
        counts += np.bincount(labels.classes, minlength=MAX_CLASSES + 1)[1:]
    return counts
