"""A segmentation without specks: regions that are too small become part of what surrounds them, the same however the volume is cut.

    region      connected pixels of one class; 0 is no class, never changes and fills nothing
    small       fewer than `min_region` pixels, unless its class is kept or it touches an edge that is kept
    fills       every other region, unless nothing may turn into its class

A round looks at all small regions at once. Each takes the class of those that fill with which it shares the longest border,
counted in pairs of touching pixels, of equally long ones the lower class; so it becomes part of a region that is there. Small
regions that touch none wait. When all that are left wait, those that are larger than all small ones they touch (of equal ones
the first) fill for one round. What touches nothing that fills even then stays, and is counted.

Strategy: pixels are looked at twice, once to find the regions, once to draw them. Rounds need only a table: the class and size of
every region, and how long the borders of small ones are. Every round but the last joins a region to another, so there is a last.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from brushwork.blocks import Region, grid, run_over, whole
from brushwork.components import CONNECTIVITY, Boxes, Groups, Seams, boxes_of, check_edge, grown_behind, structure
from brushwork.errors import InputError
from brushwork.image import ArrayImage, Image
from brushwork.kernels.equal import contacts, label_regions

EDGES = {2: 1024, 3: 128}  # pixels, of blocks where nothing else is asked for

Progress = Callable[[str, int, int], None]  # what is done, pixels done, and in all
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Smoothing:
    """Which regions are replaced, and by what.

    min_region : pixels; smaller regions are replaced. connectivity : 4 or 8 in 2D, 6, 18 or 26 in 3D; None for the smallest.
    keep : classes whose small regions stay. not_into : classes that no region is turned into. keep_edge : small regions at the
    edge of the image, of which the rest may lie outside, stay.
    """

    min_region: int
    connectivity: int | None = None
    keep: tuple[int, ...] = ()
    not_into: tuple[int, ...] = ()
    keep_edge: bool = False

    def __post_init__(self) -> None:
        if self.min_region < 1:
            raise InputError(f"regions of at least {self.min_region} pixels were asked for; give 1 or more")
        for name in ("keep", "not_into"):
            if wrong := [c for c in getattr(self, name) if c < 1]:
                raise InputError(f"{name} names class {wrong[0]}; classes are numbered from 1, and 0 never changes")

    def neighbours(self, ndim: int) -> NDArray[np.int64]:
        """Those of a pixel that come before it, (k, 3), the one along x first."""
        near = structure(self.connectivity or min(CONNECTIVITY[ndim]), ndim)
        steps = np.argwhere(near) - 1
        steps = steps[: len(steps) // 2][::-1]
        return np.ascontiguousarray(np.pad(steps, ((0, 0), (3 - ndim, 0))))


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions in the order of their first pixels, and the borders between them.

    size : pixels. classes : from 1. stays : whether a region stays however small it is. borders : (2, n) the two
    regions, the lower one first; those without a small region may be missing. length : of borders, in pairs of touching pixels.
    """

    size: Ints
    classes: Ints
    stays: NDArray[np.bool_]
    borders: Ints
    length: Ints

    def __len__(self) -> int:
        return len(self.size)

    def small(self, rule: Smoothing) -> NDArray[np.bool_]:
        return (self.size < rule.min_region) & ~self.stays


@dataclass(frozen=True, eq=False)
class Smoothed:
    """A segmentation that is smooth wherever it is drawn.

    n_regions, n_left : regions before and after. n_small : those left that are too small but touch nothing that they could join.
    n_pixels : that changed their class. n_rounds : until nothing changed. n_classes : the highest class there is.
    """

    image: Image
    rule: Smoothing
    edge: int
    n_regions: int
    n_left: int
    n_small: int
    n_pixels: int
    n_rounds: int
    n_classes: int
    _names: dict[Region, NDArray] = field(repr=False)  # by block: the classes of its labels; none where nothing changed

    def draw(self, region: Region) -> NDArray:
        """The classes in a region, (*spatial) of the image's type."""
        out = np.empty(region.shape, self.image.dtype)
        for part in grid(region, (self.edge,) * len(region.start)):
            block = _block_of(part, self.edge, self.image.shape)
            if block not in self._names:
                out[part.slices_in(region)] = _stored(self.image, part)
                continue
            grown = grown_behind(block, self.image.shape)
            labels, _ = _labelled(_classes(self.image, grown), self.rule)
            out[part.slices_in(region)] = self._names[block][labels[part.slices_in(grown)]]
        return out


def smoothed(
    image: Image,
    rule: Smoothing,
    *,
    edge: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Smoothed:
    """Find out what becomes of every region of a segmentation.

    image : one channel of whole numbers, 0 for no class. edge : of blocks in pixels, never changes the result.
    Raises InputError where the image is no segmentation or has no such connectivity.
    """
    _check(image)
    rule.neighbours(len(image.shape))
    edge = edge or EDGES[len(image.shape)]
    check_edge(edge, image.shape)
    found, regions = _found(image, rule, edge, threads, progress)
    classes, left, n_rounds = rounds(regions, rule)
    changed = classes != regions.classes
    names = {}
    for block, (before, n) in found.blocks.items():
        mine = found.of[before : before + n]
        if changed[mine].any():
            names[block] = np.concatenate([[0], classes[mine]]).astype(image.dtype)
    return Smoothed(
        image,
        rule,
        edge,
        len(regions),
        len(left),
        int(left.small(rule).sum()),
        int(regions.size[changed].sum()),
        n_rounds,
        int(regions.classes.max(initial=0)),
        names,
    )


# ---------------------------------------------------------------- rounds


def rounds(regions: Regions, rule: Smoothing) -> tuple[Ints, Regions, int]:
    """(the class that each region takes in the end, the regions that are left, the number of rounds)."""
    now, of = regions, np.arange(len(regions))
    n_rounds = 0
    while True:
        classes = _next(now, rule)
        if (classes == now.classes).all():
            return now.classes[of], now, n_rounds
        now, merged = _joined(now, classes, rule)
        of, n_rounds = merged[of], n_rounds + 1


def _next(regions: Regions, rule: Smoothing) -> Ints:
    """The class of each region after a round."""
    one, other = np.concatenate([regions.borders, regions.borders[::-1]], axis=1)
    length = np.concatenate([regions.length, regions.length])
    small, may_fill = regions.small(rule), ~np.isin(regions.classes, rule.not_into)
    fills = may_fill & ~small
    if not (small[one] & fills[other]).any():
        fills = may_fill & small
        size = regions.size
        larger = (size[other] > size[one]) | ((size[other] == size[one]) & (other < one))
        fills[one[fills[one] & fills[other] & larger]] = False
        small &= ~fills
    counts = small[one] & fills[other]
    one, offered, length = one[counts], regions.classes[other[counts]], length[counts]
    order = np.lexsort((offered, one))
    one, offered, length = one[order], offered[order], length[order]
    starts = np.flatnonzero(np.diff(one, prepend=-1) | np.diff(offered, prepend=-1))
    total = np.add.reduceat(length, starts) if len(starts) else length
    order = np.lexsort((offered[starts], -total, one[starts]))
    winner, first = np.unique(one[starts][order], return_index=True)
    classes = regions.classes.copy()
    classes[winner] = offered[starts][order][first]
    return classes


def _joined(regions: Regions, classes: Ints, rule: Smoothing) -> tuple[Regions, Ints]:
    """(regions after neighbours of one class are joined, the new region of each)."""
    a, b = regions.borders
    same = classes[a] == classes[b]
    links = coo_array((np.ones(same.sum(), np.uint8), (a[same], b[same])), shape=(len(regions),) * 2)
    _, group = connected_components(links, directed=False)
    first = np.full(group.max() + 1, len(regions))
    np.minimum.at(first, group, np.arange(len(regions)))
    groups, keys = Groups.of(first[group])
    number = np.searchsorted(keys, first[group])
    size, stays = groups.reduced(np.add, regions.size), groups.reduced(np.logical_or, regions.stays)
    small = (size < rule.min_region) & ~stays
    borders = number[regions.borders]
    matters = ~same & (small[borders[0]] | small[borders[1]])
    return Regions(size, classes[keys], stays, *_added(borders[:, matters], regions.length[matters])), number


def _added(borders: Ints, length: Ints) -> tuple[Ints, Ints]:
    """Borders between the same two regions as one, the lower region first."""
    low, high = borders.min(0), borders.max(0)
    order = np.lexsort((high, low))
    low, high = low[order], high[order]
    starts = np.flatnonzero(np.diff(low, prepend=-1) | np.diff(high, prepend=-1))
    total = np.add.reduceat(length[order], starts) if len(starts) else length
    return np.stack([low[starts], high[starts]]), total


# ---------------------------------------------------------------- regions of blocks


@dataclass(frozen=True, eq=False)
class _Labels:
    """Labels of all blocks, one after the other. of : the region of each. blocks : labels before a block, and its own."""

    of: Ints
    blocks: dict[Region, tuple[int, int]]


@dataclass(frozen=True, eq=False)
class _Block:
    """What is known of the labels 1 .. n of a grown block.

    owners : those with pixels in the block itself, counted from 0; boxes and classes have a row for each. pairs, length : borders
    between labels.
    """

    n: int
    owners: Ints
    boxes: Boxes
    classes: Ints
    pairs: Ints
    length: Ints


def _found(
    image: Image, rule: Smoothing, edge: int, threads: int | None, progress: Progress | None
) -> tuple[_Labels, Regions]:
    """Label every block, join the labels over blocks, and add up sizes and borders."""
    seams, places = Seams(image.shape, _blocks(image, edge)), {}
    parts: list[tuple[int, _Block]] = []
    before, done, total = 0, 0, image.n_frames * math.prod(image.shape)
    for region, (block, labels) in run_over(
        lambda r: _looked_at(image, rule, r), _blocks(image, edge), threads=threads
    ):
        seams.add(region, labels, before)
        parts.append((before, block))
        places[region] = before, block.n
        before, done = before + block.n, done + region.size
        if progress is not None:
            progress("finding regions", done, total)
    of, regions = _regions(seams.joined(before), parts, image.shape, rule)
    return _Labels(of, places), regions


def _regions(
    roots: Ints, parts: list[tuple[int, _Block]], shape: tuple[int, ...], rule: Smoothing
) -> tuple[Ints, Regions]:
    """(the region of each label, all regions). roots : of each label, the first one of its region."""
    rows = Boxes.joined([block.boxes for _, block in parts], len(shape))
    groups, keys = Groups.of(roots[np.concatenate([block.owners + before for before, block in parts])])
    boxes = rows.added(groups)
    order = np.argsort(boxes.first, kind="stable")
    number = np.zeros(len(roots), np.int64)
    number[keys[order]] = np.arange(len(keys))
    of, boxes = number[roots], boxes.chosen(order)
    classes = groups.reduced(np.maximum, np.concatenate([block.classes for _, block in parts]))[order]
    stays = np.isin(classes, rule.keep)
    if rule.keep_edge:
        stays |= ((boxes.low == 0) | (boxes.high == shape)).any(1)
    pairs = np.concatenate([block.pairs - 1 + before for before, block in parts], axis=1)
    borders = _added(of[pairs], np.concatenate([block.length for _, block in parts]))
    return of, Regions(boxes.count, classes, stays, *borders)


def _looked_at(image: Image, rule: Smoothing, region: Region) -> tuple[_Block, NDArray[np.int32]]:
    """(what is known of a block, the labels of the grown block)."""
    grown = grown_behind(region, image.shape)
    pixels = _classes(image, grown)
    labels, first = _labelled(pixels, rule)
    n = len(first)
    boxes = boxes_of(labels[tuple(slice(0, length) for length in region.shape)], n, region, image.shape)
    settled = np.concatenate([[True], boxes.count >= rule.min_region])
    pairs = _contacts(
        _three(labels), settled, rule.neighbours(labels.ndim), np.array((1,) * (3 - labels.ndim) + region.shape)
    )
    borders = _added(pairs.astype(np.int64), np.ones(pairs.shape[1], np.int64))
    owners = np.flatnonzero(boxes.count)
    classes = pixels.reshape(-1)[first[owners]].astype(np.int64)
    return _Block(n, owners, boxes.chosen(owners), classes, *borders), labels


def _contacts(labels: NDArray, settled: NDArray, near: Ints, own: Ints) -> NDArray[np.int32]:
    """The pairs of touching pixels of two regions, (2, n), as many as there are."""
    pairs = np.empty((2, labels.size // 8), np.int32)
    n = contacts(labels, settled, near, own, pairs)
    if n > pairs.shape[1]:
        pairs = np.empty((2, n), np.int32)
        contacts(labels, settled, near, own, pairs)
    return pairs[:, :n]


def _labelled(classes: NDArray, rule: Smoothing) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(labels 1 .. n, the position of the first pixel of each)."""
    labels, first = np.empty((2, classes.size), np.int32)
    n = label_regions(_three(classes), rule.neighbours(classes.ndim), labels, first)
    return labels.reshape(classes.shape), first[:n]


def _three(array: NDArray) -> NDArray:
    return array.reshape((1,) * (3 - array.ndim) + array.shape)


def _blocks(image: Image, edge: int) -> Iterator[Region]:
    """All blocks, row by row and frame by frame."""
    for t in range(image.n_frames):
        yield from grid(whole(image.shape, t), (edge,) * len(image.shape))


def _block_of(part: Region, edge: int, shape: tuple[int, ...]) -> Region:
    """The block that a part lies in."""
    start = tuple(a // edge * edge for a in part.start)
    return Region(start, tuple(min(a + edge, n) for a, n in zip(start, shape)), part.t)


def _classes(image: Image, region: Region) -> NDArray:
    """Classes of a region, (*spatial) uint8 or int64."""
    stored = _stored(image, region)
    if stored.dtype == np.uint8 or stored.dtype == np.bool_:
        return np.ascontiguousarray(stored).view(np.uint8)
    classes = np.ascontiguousarray(stored, dtype=np.int64)
    if classes.min(initial=0) < 0:
        raise InputError(f"{image.uri} holds {classes.min()}; a segmentation holds 0 for no class and classes from 1")
    return classes


def _stored(image: Image, region: Region) -> NDArray:
    if isinstance(image, ArrayImage):
        return image.stored(region)[0]
    return image.read(region)[0].astype(image.dtype)


def _check(image: Image) -> None:
    if len(image.channel_names) != 1:
        raise InputError(f"{image.uri} has {len(image.channel_names)} channels; a segmentation has one: give that")
    if image.dtype.kind not in "bui":
        raise InputError(
            f"{image.uri} holds {image.dtype}; a segmentation holds whole numbers: 0 for no class, classes from 1"
        )
