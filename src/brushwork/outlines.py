"""Shapes and pixels: which pixels an outline encloses, and the outlines of a set of pixels. Arrays in, arrays out.

Points are (x, y) in pixels. Pixel (row, column) is the square from (column, row) to (column + 1, row + 1). It is inside a shape
when its centre is, so the outlines of any pixels give back exactly these pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brushwork.errors import InputError

MOST_PIXELS = 1 << 26  # of one shape: 1 GB of coordinates
PIECE = 1 << 20  # lines between pixels, crossed by segments that are looked at together: 100 MB

EAST, SOUTH, WEST, NORTH = range(4)
STEPS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])  # (row, column), by direction
# Of each edge of a pixel: the corner where it begins. Edges run clockwise around their pixel.
CORNERS = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])


# ---------------------------------------------------------------- from shapes to pixels


def enclosed(rings: Sequence[NDArray[np.float64]], shape: Sequence[int]) -> NDArray[np.int64]:
    """(n, 2): rows and columns of the pixels that closed rings enclose (even-odd rule, so rings inside others are holes).

    rings : each (n, 2) x and y of its corners. shape : (rows, columns); what lies outside is cut off.
    """
    rows, left, right = _runs(rings, shape)
    _check_count(int((right - left).sum()))
    return np.stack([np.repeat(rows, right - left), _counted(left, right - left)], axis=1)


def n_enclosed(rings: Sequence[NDArray[np.float64]], shape: Sequence[int]) -> int:
    """How many pixels `enclosed` gives, also where they are too many for it."""
    _, left, right = _runs(rings, shape)
    return int((right - left).sum())


def _runs(rings: Sequence[NDArray[np.float64]], shape: Sequence[int]) -> tuple[NDArray[np.int64], ...]:
    """(rows, first columns, columns after the last) of runs of enclosed pixels.

    Strategy: every edge of a ring crosses the middles of some rows. All crossings at once, sorted by row and x, are in pairs the
    borders of runs.
    """
    begin = np.concatenate([ring for ring in rings])
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    (x0, y0), (x1, y1) = begin.T, end.T
    first = _first_middle(np.minimum(y0, y1), shape[0])
    n_rows = _first_middle(np.maximum(y0, y1), shape[0]) - first
    _check_count(int(n_rows.sum()))
    edge = np.repeat(np.arange(len(n_rows)), n_rows)
    rows = _counted(first, n_rows)
    share = (rows + 0.5 - y0[edge]) / (y1 - y0)[edge]
    columns = _first_middle(x0[edge] + share * (x1 - x0)[edge], shape[1])
    order = np.lexsort((columns, rows))
    return rows[order][::2], columns[order][::2], columns[order][1::2]


def _first_middle(at: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """The first of `n` pixels whose middle is not before `at`."""
    return np.ceil(at - 0.5).clip(0, n).astype(np.int64)


def _counted(first: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """first, first + 1, ... for every run, one run after the other."""
    before = np.cumsum(length) - length
    return np.arange(length.sum()) - np.repeat(before - first, length)


def _check_count(n: int) -> None:
    if n > MOST_PIXELS:
        raise InputError(f"a shape covers {n:,} pixels; at most {MOST_PIXELS:,} can be labels: leave its class out")


def crossed(points: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.int64]:
    """(n, 2): rows and columns of the pixels that a line from point to point runs through; of one point the pixel it lies in."""
    if len(points) == 1:
        return containing(points, shape)
    segments = _Segments.of(points[:-1], points[1:], shape)
    return places(np.concatenate([_numbers(part.pixels(), shape) for part in segments.in_parts()]), shape)


def containing(points: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.int64]:
    """(n, 2): rows and columns of the pixels that points lie in, each once."""
    return places(_numbers(points[:, ::-1], shape), shape)


def places(numbers: NDArray[np.int64], shape: Sequence[int]) -> NDArray[np.int64]:
    """(n, 2): rows and columns of pixels that are numbered row by row, each once."""
    return np.stack(np.divmod(_each_once(numbers), shape[1]), axis=1)


def _numbers(found: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.int64]:
    """The numbers, row by row and each once, of the pixels that places (n, 2), y and x, lie in."""
    inside = ((found >= 0) & (found < np.array(shape))).all(1)
    return _each_once(found[inside].astype(np.int64) @ np.array([shape[1], 1]))


def _each_once(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sorted. Ten times faster than numpy.unique, which hashes."""
    in_order = np.sort(numbers)
    return in_order[np.diff(in_order, prepend=-1) > 0]


@dataclass(frozen=True, eq=False)
class _Segments:
    """Straight lines, as far as they lie in the image or one pixel around it.

    begin, end : (n, 2) x and y. first, last : (n,) shares of the way between them where the part in the image begins and ends.
    low, number : (n, 2) the first of the lines between pixels that each crosses along x and y, and how many it crosses.
    """

    begin: NDArray[np.float64]
    end: NDArray[np.float64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    low: NDArray[np.int64]
    number: NDArray[np.int64]

    @staticmethod
    def of(begin: NDArray[np.float64], end: NDArray[np.float64], shape: Sequence[int]) -> "_Segments":
        edge = np.array(shape[::-1]) + 1
        lower, upper = np.minimum(begin, end), np.maximum(begin, end)
        slanted = begin != end
        way = np.where(slanted, end - begin, 1)
        enter, leave = (-1 - begin) / way, (edge - begin) / way
        first = np.where(slanted, np.minimum(enter, leave), 0).max(1).clip(min=0)
        last = np.where(slanted, np.maximum(enter, leave), 1).min(1).clip(max=1)
        low = np.maximum(np.ceil(lower), -1).astype(np.int64)
        number = np.minimum(np.floor(upper), edge).astype(np.int64) + 1 - low
        there = (upper >= -1).all(1) & (lower <= edge).all(1) & (first <= last)
        _check_count(int(number[there].max(initial=0)))
        return _Segments(begin, end, first, last, low, np.where(slanted, number, 0))._chosen(there)

    def _chosen(self, which: NDArray) -> "_Segments":
        low, number = self.low[which], self.number[which]
        return _Segments(self.begin[which], self.end[which], self.first[which], self.last[which], low, number)

    def in_parts(self) -> "Iterator[_Segments]":
        """Groups that cross about `PIECE` lines between pixels; at least one."""
        group = np.cumsum(self.number.sum(1)) // PIECE
        for which in np.split(np.arange(len(group)), np.flatnonzero(np.diff(group)) + 1):
            yield self._chosen(which)

    def pixels(self) -> NDArray[np.float64]:
        """(n, 2): rows and columns of the pixels that they run through, some of them several times.

        Strategy: between successive crossings of the lines between pixels a segment is in one pixel, that of their middle.
        """
        everyone = np.arange(len(self.begin))
        which, along = [everyone, everyone], [self.first, self.last]
        for axis in (0, 1):
            segment = np.repeat(everyone, self.number[:, axis])
            lines = _counted(self.low[:, axis], self.number[:, axis])
            start, stop = self.begin[segment, axis], self.end[segment, axis]
            which.append(segment)
            along.append(((lines - start) / (stop - start)).clip(self.first[segment], self.last[segment]))
        segment, share = np.concatenate(which), np.concatenate(along)
        order = np.lexsort((share, segment))
        segment, share = segment[order], share[order]
        are_neighbours = (segment[1:] == segment[:-1]) & (share[1:] > share[:-1])
        segment, middle = segment[1:][are_neighbours], ((share[1:] + share[:-1]) / 2)[are_neighbours]
        begin = self.begin[segment]
        return np.floor(begin + middle[:, np.newaxis] * (self.end[segment] - begin))[:, ::-1]


# ---------------------------------------------------------------- from pixels to shapes


def polygons(pixels: NDArray[np.int64]) -> list[list[NDArray[np.int64]]]:
    """Outlines of some pixels: of each group whose pixels share edges, its outer ring, then its holes.

    pixels : (n, 2) rows and columns, each once. Rings are (n, 2) x and y of their corners, the first not repeated; no ring touches
    itself, so each polygon is valid by the rules of OGC simple features.
    """
    found: dict[int, list[NDArray[np.int64]]] = {}
    for ring, pixel in _rings(pixels):
        found.setdefault(pixel, []).append(ring)
    # Rings run clockwise around what they enclose when they are outer ones; there is one of these per group.
    return [sorted(group, key=_area, reverse=True) for group in found.values()]


def _area(ring: NDArray[np.int64]) -> int:
    """Twice the area that a ring encloses; negative of holes."""
    x, y = (ring - ring[0]).T
    return int(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def _rings(pixels: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], int]]:
    """(ring, group of pixels) of all simple rings.

    Strategy: a pixel has an edge where its neighbour is absent. Each edge is followed by that which turns right where it ends, else
    straight on, else left: so it stays with pixels that share edges, and all edges fall into loops. Where two pixels touch in a
    corner only, a loop can pass twice; it is cut in two there.
    """
    pixels = pixels[np.lexsort(pixels.T[::-1])]
    width = int(pixels[:, 1].max()) + 3  # a column of nothing left and right of all
    positions = (pixels + 1) @ np.array([width, 1])
    group = _groups(positions, width)
    edges = []
    for direction in (EAST, SOUTH, WEST, NORTH):
        outwards = STEPS[(direction - 1) % 4] @ np.array([width, 1])
        bare = ~_are_in(positions + outwards, positions)
        corner = (pixels[bare] + 1 + CORNERS[direction]) @ np.array([width, 1])
        edges.append((corner * 4 + direction, group[bare]))
    keys, groups = (np.concatenate(part) for part in zip(*edges))
    order = np.argsort(keys)
    keys, groups = keys[order], groups[order]
    following = _following(keys, width).tolist()
    corners = keys // 4
    shared = set(corners[1:][corners[1:] == corners[:-1]].tolist())
    corner_of, seen = corners.tolist(), bytearray(len(keys))
    for start in range(len(keys)):
        if seen[start]:
            continue
        loop, edge = [], start
        while not seen[edge]:
            seen[edge] = True
            loop.append(corner_of[edge])
            edge = following[edge]
        for ring in _simple(loop, shared):
            at = np.array(ring)
            yield _without_straight(np.stack([at % width - 1, at // width - 1], axis=1)), int(groups[start])


def _groups(positions: NDArray[np.int64], width: int) -> NDArray[np.int32]:
    """The number of each pixel's group; the pixels of a group hang together by edges."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, pairs = len(positions), []
    for step in (1, width):
        there = np.flatnonzero(_are_in(positions + step, positions))
        pairs.append((there, np.searchsorted(positions, positions[there] + step)))
    rows, columns = (np.concatenate(side) for side in zip(*pairs))
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(n, n))
    return connected_components(graph, directed=False)[1]


def _are_in(wanted: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of `wanted` are in `known`, which is sorted."""
    return known[np.searchsorted(known, wanted).clip(max=len(known) - 1)] == wanted


def _following(keys: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """For each edge the one after it. keys : sorted; 4 x the corner where an edge begins + its direction."""
    direction = keys % 4
    end = keys // 4 + STEPS[direction] @ np.array([width, 1])
    after = np.full(len(keys), -1)
    for turn in (1, 0, -1):
        wanted = end * 4 + (direction + turn) % 4
        fits = (after < 0) & _are_in(wanted, keys)
        after[fits] = np.searchsorted(keys, wanted[fits])
    return after


def _simple(loop: list[int], shared: set[int]) -> Iterator[list[int]]:
    """A loop of corners, cut where it passes one of them again."""
    path: list[int] = []
    place: dict[int, int] = {}
    for corner in loop:
        if corner in place:
            at = place[corner]
            yield path[at:]
            for gone in path[at:]:
                place.pop(gone, None)
            del path[at:]
        if corner in shared:
            place[corner] = len(path)
        path.append(corner)
    yield path


def _without_straight(ring: NDArray[np.int64]) -> NDArray[np.int64]:
    """Only the corners at which a ring turns."""
    ahead, behind = np.roll(ring, -1, axis=0) - ring, ring - np.roll(ring, 1, axis=0)
    return ring[(ahead != behind).any(1)]
