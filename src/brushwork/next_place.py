"""Where to paint next: the place in the images from which the classifier would learn most, with the reason in words.

A bounded number of small boxes, spread over all images, is looked at on a lattice; no image is read whole.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region, run_over, whole
from brushwork.errors import InputError
from brushwork.features import FeatureSet
from brushwork.image import Image
from brushwork.priors import CELL_EDGE
from brushwork.training import RowsAt, rows_at

STEP = 4  # pixels between the lattice points of a box
MOST_BOXES = {2: 64, 3: 8}  # of all images together
PLACE_EDGE = 32  # pixels; the box that is shown
MOST_PAINTED = 1000  # rows that distances are measured to
WINDOW = 3  # lattice points: what is averaged around a place, so that a thin border is none


@dataclass(frozen=True)
class Place:
    """Where to paint.

    image : its id. region : a small box around `centre`, pixels. reason : in words. score : the higher, the more is learnt; only
    comparable within one answer.
    """

    image: str
    region: Region
    centre: tuple[int, ...]
    reason: str
    score: float


@dataclass(frozen=True, eq=False)
class Sample:
    """The feature rows of a lattice of pixels in one box of an image.

    image : its id. shape : the image's. region : the box. lattice : points along each axis. at : (n, ndim) positions in C order.
    rows : (n, n_maps).
    """

    image: str
    shape: tuple[int, ...]
    region: Region
    lattice: tuple[int, ...]
    at: NDArray[np.int64] = field(repr=False)
    rows: NDArray[np.float32] = field(repr=False)


def candidates(
    images: Mapping[str, Image],
    features: FeatureSet,
    *,
    within: Region | None = None,
    threads: int | None = None,
    rows_at: RowsAt = rows_at,
    stop: Callable[[], bool] = lambda: False,
) -> list[Sample]:
    """What a place is chosen from: at most MOST_BOXES boxes, dealt to the images in turn; the same for the same images.

    images : by id. features : resolved. within : look nowhere else (what is in view; of one image).
    rows_at : where the rows of a box come from; who paints keeps them. stop : asked before every box; what is there is returned.
    Boxes with NaN or infinite pixels are left out; raises InputError where no other is left.
    """
    failures: list[InputError] = []

    def sampled(box: tuple[str, Region]) -> Sample | None:
        if stop():
            return None
        image, region = images[box[0]], box[1]
        lattice, at = _lattice(region, features)
        try:
            rows = rows_at(image, features, region.t, at)
        except InputError as error:
            failures.append(error)
            return None
        return Sample(box[0], image.shape, region, lattice, at, rows)

    boxes = _boxes(images, within)
    done = {box: sample for box, sample in run_over(sampled, boxes, threads=threads) if sample is not None}
    if failures and not done:
        raise failures[0]
    return [done[box] for box in boxes if box in done]


def _boxes(images: Mapping[str, Image], within: Region | None) -> list[tuple[str, Region]]:
    """Cells of the images, shuffled, one of every image in turn."""
    if not images:
        return []
    most = MOST_BOXES[len(next(iter(images.values())).shape)]
    ids = sorted(images, key=lambda i: _shuffled(i))[:most]
    share = -(-most // len(ids))
    dealt = [_boxes_of(image_id, images[image_id], within, share) for image_id in ids]
    rounds = [(i, boxes[k]) for k in range(share) for i, boxes in zip(ids, dealt) if k < len(boxes)]
    return rounds[:most]


def _boxes_of(image_id: str, image: Image, within: Region | None, most: int) -> list[Region]:
    """At most `most` cells; of a large image they are drawn, as a list of all would not fit."""
    edge = CELL_EDGE[len(image.shape)]
    area = within.clipped(image.shape) if within else whole(image.shape)
    low = [a // edge for a in area.start]
    counts = [-(-b // edge) - a for a, b in zip(low, area.stop)]
    frames = [within.t] if within else range(image.n_frames)
    n = len(frames) * math.prod(counts)
    seed = int.from_bytes(_shuffled(image_id)[:8], "little")
    drawn = np.random.default_rng(seed).permutation(n) if n < 1 << 16 else _distinct(seed, n, most)
    boxes = []
    for number in drawn[:most].tolist():
        frame, *cell = np.unravel_index(number, (len(frames), *counts))
        start = tuple((int(c) + a) * edge for c, a in zip(cell, low))
        box = Region(start, tuple(s + edge for s in start), int(frames[int(frame)]))
        start = tuple(max(a, b) for a, b in zip(box.start, area.start))
        boxes.append(Region(start, tuple(min(a, b) for a, b in zip(box.stop, area.stop)), box.t))
    return boxes


def _distinct(seed: int, n: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.random.default_rng(seed).integers(n, size=most))


def _shuffled(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _lattice(region: Region, features: FeatureSet) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """(points along each axis, their positions); one section only where features know no others."""
    in_2d = all(f.in_2d for f in features.features)
    lines = []
    for axis, (a, b) in enumerate(zip(region.start, region.stop)):
        one = in_2d and axis < len(region.start) - 2
        lines.append(np.array([(a + b) // 2]) if one else np.arange(a + min(STEP, b - a) // 2, b, STEP))
    at = np.array(list(product(*lines)), np.int64).reshape(-1, len(lines))
    return tuple(len(line) for line in lines), at
