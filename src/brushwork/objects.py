"""From a probability map to single objects: found block by block, split, numbered, the same however the volume was cut.

find        groups of connected pixels, joined over blocks
split       touching objects apart, group by group
number      which objects stay, and their numbers: in the order of their first pixels
Objects     draws the labels of any region
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, product

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region, grid, run_over, whole
from brushwork.components import (
    COMPLEMENT,
    CONNECTIVITY,
    Boxes,
    Groups,
    Seams,
    boxes_of,
    check_edge,
    grown_behind,
    labelled,
    structure,
)
from brushwork.errors import InputError
from brushwork.foreground import Foreground
from brushwork.image import Image
from brushwork.pieces import Pieces
from brushwork.splitting import Splitting, parts_of

SIDE_BY_SIDE = 1 << 21  # pixels of a group's box; larger ones are split one at a time, which takes 100 bytes per pixel

Progress = Callable[[str, int, int], None]  # what is done, pixels or groups done, and in all


@dataclass(frozen=True)
class Rule:
    """What an object is.

    connectivity : 4 or 8 in 2D, 6, 18 or 26 in 3D; None for the smallest. fill_holes : what objects enclose belongs to them.
    clear_border : objects that touch the edge of the image are left out. min_size, max_size : pixels, both count as inside.
    """

    foreground: Foreground = field(default_factory=Foreground)
    connectivity: int | None = None
    fill_holes: bool = False
    clear_border: bool = False
    min_size: int = 1
    max_size: int | None = None
    splitting: Splitting = field(default_factory=Splitting)

    def __post_init__(self) -> None:
        if self.min_size < 0 or (self.max_size is not None and self.max_size < max(self.min_size, 1)):
            raise InputError(f"objects of {self.min_size} to {self.max_size} pixels were asked for; there can be none")


@dataclass(frozen=True, eq=False)
class Volume:
    """What is searched, and how it is cut.

    ignore : pixels where this is 1 or more belong to nothing. raw : intensities, for splits that look at them. edge : of a
    block, pixels.
    """

    image: Image
    ignore: Image | None = None
    raw: Image | None = None
    edge: int = 128
    threads: int | None = None

    @property
    def blocks(self) -> Iterator[Region]:
        """All blocks, row by row and frame by frame."""
        shape = self.image.shape
        for t in range(self.image.n_frames):
            yield from grid(whole(shape, t), (self.edge,) * len(shape))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Of pixels, per axis: 1 for the finest."""
        size = self.image.pixel_size or (1.0,) * len(self.image.shape)
        return tuple(s / min(size) for s in size)


@dataclass(frozen=True, eq=False)
class _Groups:
    """Groups of connected pixels, in the order of their first pixels.

    of : the group of each label, all blocks one after the other. boxes : a row per group. flags : whether one of its labels
    has it.
    """

    of: NDArray[np.int64]
    blocks: dict[Region, "_Labelled"]
    boxes: Boxes
    flags: NDArray[np.bool_]

    def names(self, block: "_Labelled", of_groups: NDArray[np.int64]) -> NDArray[np.int64]:
        """What the labels 0 .. n of a block are called, given the names of groups."""
        return np.concatenate([[0], of_groups[self.of[block.before : block.before + block.n]]])


@dataclass(frozen=True)
class _Labelled:
    """A block's labels: their number, that of the labels before them, and the piece that holds them (-1 for none)."""

    n: int
    before: int
    piece: int


def _swept(
    volume: Volume,
    labels_in: Callable[[Region], tuple[NDArray[np.int32], int, NDArray[np.bool_]]],
    pieces: Pieces | None,
    progress: Progress | None,
    stage: str,
) -> _Groups:
    """Label every block and join the labels. labels_in : of a grown block, the labels 1 .. n, n, and a flag for each."""
    shape = volume.image.shape
    seams, blocks = Seams(shape, volume.blocks), {}
    rows: list[Boxes] = []
    owners: list[NDArray[np.int64]] = []
    flags: list[NDArray[np.bool_]] = []

    def work(region: Region) -> tuple[NDArray[np.int32], int, NDArray[np.bool_], Boxes, int]:
        labels, n, flag = labels_in(grown_behind(region, shape))
        mine = labels[tuple(slice(0, length) for length in region.shape)]
        piece = pieces.add(region, mine) if pieces is not None and n else -1
        return labels, n, flag, boxes_of(mine, n, region, shape), piece

    before, done, total = 0, 0, volume.image.n_frames * math.prod(shape)
    for region, (labels, n, flag, found, piece) in run_over(work, volume.blocks, threads=volume.threads):
        blocks[region] = _Labelled(n, before, piece)
        seams.add(region, labels, before)
        there = np.flatnonzero(found.count)
        rows.append(found.chosen(there))
        owners.append(there + before)
        flags.append(flag)
        before, done = before + n, done + region.size
        if progress is not None:
            progress(stage, done, total)
    return _joined(seams.joined(before), blocks, Boxes.joined(rows, len(shape)), owners, flags)


def _joined(
    roots: NDArray[np.int64],
    blocks: dict[Region, _Labelled],
    rows: Boxes,
    owners: list[NDArray[np.int64]],
    flags: list[NDArray[np.bool_]],
) -> _Groups:
    """Labels of blocks as groups.

    roots : of each label, the first one of its group. rows, owners : boxes, and the labels they are of.
    """
    groups, keys = Groups.of(roots[np.concatenate([*owners, np.zeros(0, np.int64)])])
    boxes = rows.added(groups)
    order = np.argsort(boxes.first, kind="stable")
    number = np.zeros(len(roots), np.int64)
    number[keys[order]] = np.arange(len(keys))
    of = number[roots]
    flagged = np.zeros(len(keys), bool)
    flagged[of[np.concatenate([*flags, np.zeros(0, bool)])]] = True
    return _Groups(of, blocks, boxes.chosen(order), flagged)


# ---------------------------------------------------------------- finding


def _find(volume: Volume, rule: Rule, pieces: Pieces, progress: Progress | None) -> _Groups:
    """Groups of pixels that count; flagged are those with a core."""
    ndim = len(volume.image.shape)
    connectivity = rule.connectivity or min(CONNECTIVITY[ndim])
    near = structure(connectivity, ndim)
    holes = _holes(volume, rule, structure(COMPLEMENT[connectivity], ndim), progress) if rule.fill_holes else None

    def labels_in(grown: Region) -> tuple[NDArray[np.int32], int, NDArray[np.bool_]]:
        mask, core = masks(volume, rule.foreground, grown)
        if holes is not None:
            mask |= holes(grown, mask)
            mask &= ~ignored(volume, grown)
        labels, n = labelled(mask, near)
        flags = np.ones(n, bool)
        if core is not None:
            flags = np.bincount(labels[core & mask], minlength=n + 1)[1:] > 0
        return labels, n, flags

    return _swept(volume, labels_in, pieces, progress, "finding objects")


def masks(volume: Volume, foreground: Foreground, region: Region) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """(pixels that count, pixels of cores) of a region, without those to ignore."""
    mask, core = foreground.masks(volume.image, region)
    return mask & ~ignored(volume, region), core


def ignored(volume: Volume, region: Region) -> NDArray[np.bool_]:
    """Which pixels of a region belong to nothing."""
    if volume.ignore is None:
        return np.zeros(region.shape, bool)
    return np.any(volume.ignore.read(region) >= 1, axis=0)


def _holes(
    volume: Volume, rule: Rule, near: NDArray[np.bool_], progress: Progress | None
) -> Callable[[Region, NDArray[np.bool_]], NDArray[np.bool_]]:
    """Tells which pixels of a grown block lie in holes, given its mask: background from which no way leads to the edge."""
    shape = volume.image.shape

    def labels_in(grown: Region) -> tuple[NDArray[np.int32], int, NDArray[np.bool_]]:
        labels, n = labelled(~masks(volume, rule.foreground, grown)[0], near)
        flags = np.zeros(n + 1, bool)
        for axis, (a, b, length) in enumerate(zip(grown.start, grown.stop, shape)):
            for index in [0] * (a == 0) + [-1] * (b == length):
                flags[labels.take(index, axis)] = True
        return labels, n, flags[1:]

    background = _swept(volume, labels_in, None, progress, "finding holes")
    is_hole = (~background.flags).astype(np.int64)
    starting = {(*region.start, region.t): block for region, block in background.blocks.items()}

    def holes(grown: Region, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        labels, _ = labelled(~mask, near)
        return background.names(starting[*grown.start, grown.t], is_hole)[labels].astype(bool)

    return holes


# ---------------------------------------------------------------- splitting and numbering


@dataclass(frozen=True, eq=False)
class _Split:
    """The parts of one group: where their labels 1 .. n are kept, and a row for each."""

    region: Region
    piece: int
    boxes: Boxes


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects, numbered from 1 in the order of their first pixels, frames one after the other.

    boxes : a row per object. whole : of each, whether it is a group that was too large to be split.
    """

    volume: Volume
    boxes: Boxes
    whole: NDArray[np.bool_]
    _groups: _Groups = field(repr=False)
    _pieces: Pieces = field(repr=False)
    _names: NDArray[np.int64] = field(repr=False)  # of groups; 0 for those that were split or left out
    _parts: dict[Region, list[tuple[_Split, NDArray[np.int64]]]] = field(
        repr=False
    )  # by block: splits, names of their parts

    def __len__(self) -> int:
        return len(self.boxes)

    def draw(self, region: Region) -> NDArray[np.int64]:
        """The numbers of objects in a region, (*spatial) int64, 0 between them."""
        out = np.zeros(region.shape, np.int64)
        drawn = set()
        for block in _blocks_of(self.volume, region):
            _draw_block(self._groups, self._pieces, block, self._names, region, out)
            for split, names in self._parts.get(block, ()):
                if split.piece not in drawn:
                    drawn.add(split.piece)
                    self._pieces.draw(split.piece, names, region, out)
        return out


def find_objects(volume: Volume, rule: Rule, pieces: Pieces, progress: Progress | None = None) -> Objects:
    """Find, split and number the objects of a probability map.

    pieces : where labels are kept meanwhile; has to stay open as long as the objects are drawn.
    Raises InputError where image, mask, raw image and rule do not suit each other.
    """
    _check(volume, rule)
    groups = _find(volume, rule, pieces, progress)
    counts, boxes = groups.flags, groups.boxes
    counts = counts & (boxes.count >= rule.min_size)  # parts are smaller still
    wanted = counts & rule.splitting.concerns(boxes.count, boxes.high - boxes.low, volume.spacing)
    large = wanted & ((boxes.high - boxes.low + 2).prod(1) > rule.splitting.most)
    splits = _split_all(volume, rule, groups, pieces, np.flatnonzero(wanted & ~large), progress)
    counts[list(splits)] = False
    return _numbered(volume, rule, groups, pieces, np.flatnonzero(counts), large, splits)


def _split_all(
    volume: Volume, rule: Rule, groups: _Groups, pieces: Pieces, wanted: NDArray[np.int64], progress: Progress | None
) -> dict[int, _Split]:
    """The groups that fell into parts, in ascending order."""
    shape = volume.image.shape
    near = structure(rule.connectivity or min(CONNECTIVITY[len(shape)]), len(shape))
    of_frame = math.prod(shape)
    all_groups = np.arange(1, len(groups.boxes) + 1)

    def work(group: int) -> _Split | None:
        low, high = groups.boxes.low[group], groups.boxes.high[group]
        t = int(groups.boxes.first[group]) // of_frame
        region = Region(tuple(low.tolist()), tuple(high.tolist()), t).grown((1,) * len(shape)).clipped(shape)
        there = np.zeros(region.shape, np.int64)
        for block in _blocks_of(volume, region):
            _draw_block(groups, pieces, block, all_groups, region, there)
        labels, n = parts_of(
            there == group + 1, there > 0, _heights(volume, rule, region), rule.splitting, near, volume.spacing
        )
        return _Split(region, pieces.add(region, labels), boxes_of(labels, n, region, shape)) if n > 1 else None

    is_large = (groups.boxes.high - groups.boxes.low + 2).prod(1)[wanted] > SIDE_BY_SIDE
    found = {}
    side_by_side = run_over(work, wanted[~is_large].tolist(), threads=volume.threads)
    one_by_one = run_over(work, wanted[is_large].tolist(), threads=1)
    for done, (group, split) in enumerate(chain(side_by_side, one_by_one), 1):
        if split is not None:
            found[group] = split
        if progress is not None:
            progress("splitting", done, len(wanted))
    return dict(sorted(found.items()))


def _heights(volume: Volume, rule: Rule, region: Region) -> NDArray[np.float32] | None:
    splitting = rule.splitting
    if splitting.method == "peaks" or splitting.heights == "image":
        assert volume.raw is not None
        return volume.raw.read(region)[0]
    return None if splitting.heights == "distance" else rule.foreground.values(volume.image, region)


def _numbered(
    volume: Volume,
    rule: Rule,
    groups: _Groups,
    pieces: Pieces,
    single: NDArray[np.int64],
    large: NDArray[np.bool_],
    splits: dict[int, _Split],
) -> Objects:
    """Numbers for groups that stay whole (`single`) and for parts, where size and place allow.

    large : groups too large to be split.
    """
    boxes = Boxes.joined([groups.boxes.chosen(single), *(s.boxes for s in splits.values())], len(volume.image.shape))
    stays = boxes.count >= rule.min_size
    if rule.max_size is not None:
        stays &= boxes.count <= rule.max_size
    if rule.clear_border:
        stays &= ~((boxes.low == 0) | (boxes.high == volume.image.shape)).any(1)
    kept = np.flatnonzero(stays)
    kept = kept[np.argsort(boxes.first[kept], kind="stable")]
    number = np.zeros(len(boxes), np.int64)
    number[kept] = np.arange(1, len(kept) + 1)
    names = np.zeros(len(groups.boxes), np.int64)
    names[single] = number[: len(single)]
    parts: dict[Region, list[tuple[_Split, NDArray[np.int64]]]] = {}
    at = len(single)
    for split in splits.values():
        mine = np.concatenate([[0], number[at : at + len(split.boxes)]])
        at += len(split.boxes)
        for block in _blocks_of(volume, split.region):
            parts.setdefault(block, []).append((split, mine))
    was_large = np.concatenate([large[single], np.zeros(len(boxes) - len(single), bool)])
    return Objects(volume, boxes.chosen(kept), was_large[kept], groups, pieces, names, parts)


def _draw_block(
    groups: _Groups, pieces: Pieces, block: Region, names: NDArray[np.int64], region: Region, out: NDArray[np.int64]
) -> None:
    labelled_block = groups.blocks[block]
    if labelled_block.n:
        pieces.draw(labelled_block.piece, groups.names(labelled_block, names), region, out)


def _blocks_of(volume: Volume, region: Region) -> Iterator[Region]:
    """The blocks of which a part lies in a region."""
    edge, shape = volume.edge, volume.image.shape
    for index in product(*(range(a // edge, -(-b // edge)) for a, b in zip(region.start, region.stop))):
        start = tuple(i * edge for i in index)
        yield Region(start, tuple(min(a + edge, n) for a, n in zip(start, shape)), region.t)


def _check(volume: Volume, rule: Rule) -> None:
    image = volume.image
    rule.foreground.check(image)
    check_edge(volume.edge, image.shape)
    structure(rule.connectivity or min(CONNECTIVITY[len(image.shape)]), len(image.shape))
    for what, other in (("mask to ignore", volume.ignore), ("raw image", volume.raw)):
        if other is not None:
            check_same_size(what, other, image)
    splitting = rule.splitting
    if (
        splitting.method == "peaks" or (splitting.method != "none" and splitting.heights == "image")
    ) and volume.raw is None:
        raise InputError("objects are to be split by their intensities, but no raw image was given; give one (--raw)")


def check_same_size(what: str, other: Image, image: Image) -> None:
    """Raise InputError where an image has not the size of the probability map."""
    if (other.shape, other.n_frames) != (image.shape, image.n_frames):
        raise InputError(
            f"the {what} ({other.uri}) is {other.shape} with {other.n_frames} frame(s), the probability map {image.shape} with "
            f"{image.n_frames}; they have to be of one size"
        )
