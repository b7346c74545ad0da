"""Connected pixels of a volume that is never held whole: labelled block by block and joined, the same however it was cut.

Strategy: every block is labelled together with one more layer of pixels behind it on each axis. A pixel of that layer is labelled
again by the block that owns it; the two labels are of one component. Any two neighbours, also diagonal ones, lie together in
the grown block that owns the first of them on every axis, so these pairs are all that has to be joined.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import InitVar, dataclass, field, fields

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import generate_binary_structure, label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from brushwork.blocks import Region
from brushwork.errors import InputError, unknown
from brushwork.kernels.parts import boxes

CONNECTIVITY = {
    2: {4: 1, 8: 2},
    3: {6: 1, 18: 2, 26: 3},
}  # by number of axes: neighbours, and on how many axes they may differ
LARGEST = 2**31 - 1  # pixels of a block or of a group's box: labels lie in them at places of 32 bits
COMPLEMENT = {4: 8, 8: 4, 6: 26, 18: 6, 26: 6}  # how the background is connected where objects are so


def structure(connectivity: int, ndim: int) -> NDArray[np.bool_]:
    """The neighbours that count as connected, (3,) * ndim; raises InputError where there is no such connectivity."""
    if connectivity not in CONNECTIVITY[ndim]:
        raise unknown(f"connectivity of {ndim}D pixels", connectivity, CONNECTIVITY[ndim])
    return generate_binary_structure(ndim, CONNECTIVITY[ndim][connectivity])


def check_edge(edge: int, shape: Sequence[int]) -> None:
    """Raise InputError where a volume of `shape` cannot be cut into blocks of this edge."""
    if edge < 1 or math.prod(min(edge + 1, n) for n in shape) > LARGEST:
        most = math.floor((LARGEST + 1) ** (1 / len(shape)))
        raise InputError(f"blocks with an edge of {edge} pixels were asked for; give at least 1, and less than {most}")


@dataclass(frozen=True, eq=False)
class Boxes:
    """Where labels lie, one row each.

    count : pixels. first : their first pixel, in the order of the volume, frames one after the other. low, high : (n, ndim),
    the box
    is low <= p < high.
    """

    count: NDArray[np.int64]
    first: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.count)

    def chosen(self, rows: NDArray) -> "Boxes":
        return Boxes(self.count[rows], self.first[rows], self.low[rows], self.high[rows])

    @staticmethod
    def joined(several: Sequence["Boxes"], ndim: int) -> "Boxes":
        """All rows, one after the other."""
        if not several:
            return Boxes(*(np.zeros(s, np.int64) for s in (0, 0, (0, ndim), (0, ndim))))
        return Boxes(*(np.concatenate([getattr(b, f.name) for b in several]) for f in fields(Boxes)))

    def added(self, groups: "Groups") -> "Boxes":
        """One row per group."""
        return Boxes(
            groups.reduced(np.add, self.count),
            groups.reduced(np.minimum, self.first),
            groups.reduced(np.minimum, self.low),
            groups.reduced(np.maximum, self.high),
        )


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows that belong together. order : rows, sorted by group. starts : where each group begins in `order`."""

    order: NDArray[np.int64]
    starts: NDArray[np.int64]

    @staticmethod
    def of(keys: NDArray[np.int64]) -> tuple["Groups", NDArray[np.int64]]:
        """(groups of equal keys, the key of each) in ascending order."""
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(keys) else order
        return Groups(order, starts), ordered[starts]

    def reduced(self, how: np.ufunc, values: NDArray) -> NDArray:
        """`how` over the values (n, ...) of each group."""
        return how.reduceat(values[self.order], self.starts, axis=0) if len(self.starts) else values[:0]


def boxes_of(labels: NDArray[np.int32], n: int, region: Region, shape: Sequence[int]) -> Boxes:
    """Boxes of the labels 1 .. n in the array of a region, in the coordinates of a volume of `shape`."""
    ndim = labels.ndim
    count, first = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    low, high = np.zeros((n + 1, 3), np.int64), np.zeros((n + 1, 3), np.int64)
    boxes(labels.reshape((1,) * (3 - ndim) + labels.shape), count, first, low, high)
    start = np.array(region.start, np.int64)
    inside = np.stack(np.unravel_index(first[1:], labels.shape), axis=1) if labels.size else low[1:, -ndim:]
    return Boxes(
        count[1:], positions(inside + start, region.t, shape), low[1:, -ndim:] + start, high[1:, -ndim:] + start
    )


def positions(points: NDArray[np.int64], t: int, shape: Sequence[int]) -> NDArray[np.int64]:
    """The place of points (n, ndim) in the order of a volume of `shape`, frames one after the other."""
    place = np.full(len(points), t, np.int64)
    for column, length in zip(points.T, shape):
        place = place * length + column
    return place


@dataclass
class Seams:
    """Which labels of different blocks are of one component. Changes as blocks are added.

    shape : of the volume, along the spatial axes. blocks : all that will be added, in any order. Pixels are only known until
    all blocks that labelled them are in.
    """

    shape: tuple[int, ...]
    blocks: InitVar[Iterable[Region]]
    _left: Counter[tuple[int, int]] = field(init=False)  # blocks of each row that are not in yet
    _claims: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)
    _pairs: list[NDArray[np.int64]] = field(default_factory=list)

    def __post_init__(self, blocks: Iterable[Region]) -> None:
        self._left = Counter((block.t, block.start[0]) for block in blocks)

    def add(self, region: Region, labels: NDArray[np.int32], before: int) -> None:
        """Note a block.

        labels : of the region and one more pixel behind it on each axis. before : labels of all blocks until now.
        """
        for axis, (start, length) in enumerate(zip(region.start, region.shape)):
            here = [0] * (start > 0) + [length] * (labels.shape[axis] > length)
            for index in here:
                plane = np.asarray(labels.take(index, axis))
                at: tuple[NDArray[np.int64], ...] = np.nonzero(plane)
                if len(at[0]):
                    inside = [*at[:axis], np.full(len(at[0]), index), *at[axis:]]
                    place = positions(np.stack(inside, 1) + np.array(region.start), region.t, self.shape)
                    self._claims.append((place, plane[at].astype(np.int64) + (before - 1)))
        row = region.t, region.start[0]
        self._left[row] -= 1
        if not self._left[row]:
            del self._left[row]
            self._settle(min(self._left, default=None))

    def _settle(self, row: tuple[int, int] | None) -> None:
        """Join what was noted of pixels before `row` of a frame, (t, z or y), of which no more will be noted; None: of all."""
        if not self._claims:
            return
        place, node = (np.concatenate(arrays) for arrays in zip(*self._claims))
        later = np.zeros(len(place), bool)
        if row is not None:
            t, first = row
            later = place >= (t * self.shape[0] + first) * math.prod(self.shape[1:])
        self._claims = [(place[later], node[later])]
        place, node = place[~later], node[~later]
        order = np.argsort(place, kind="stable")
        place, node = place[order], node[order]
        same = (place[1:] == place[:-1]) & (node[1:] != node[:-1])
        pairs = np.stack([node[:-1][same], node[1:][same]], axis=1)
        self._pairs.append(np.unique(pairs, axis=0))

    def joined(self, n: int) -> NDArray[np.int64]:
        """For labels 0 .. n - 1 of all blocks: the first label that is of the same component."""
        found = np.arange(n, dtype=np.int64)
        pairs = np.concatenate(self._pairs) if self._pairs else np.zeros((0, 2), np.int64)
        if len(pairs):
            nodes, ends = np.unique(pairs, return_inverse=True)
            ends = ends.reshape(-1, 2)
            links = coo_array((np.ones(len(ends), np.uint8), (ends[:, 0], ends[:, 1])), shape=(len(nodes),) * 2)
            _, group = connected_components(links, directed=False)
            smallest = np.full(group.max() + 1, n, np.int64)
            np.minimum.at(smallest, group, nodes)
            found[nodes] = smallest[group]
        return found


def labelled(mask: NDArray[np.bool_], near: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """(labels 1 .. n in the order of their first pixels, n). near : the neighbours that count as connected."""
    labels, n = label(mask, near)
    return labels.astype(np.int32, copy=False), int(n)


def grown_behind(region: Region, shape: Sequence[int]) -> Region:
    """A block with one more layer of pixels behind it on each axis, where there is one."""
    return Region(region.start, tuple(min(b + 1, n) for b, n in zip(region.stop, shape)), region.t)
