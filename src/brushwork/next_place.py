"""Where to paint next: the place in the images from which a classifier would learn most, with the reason in words.

A stroke teaches about all pixels that look like it. So the best place is the one that most unsure pixels look like, which nothing
painted looks like yet. A bounded number of small boxes, spread over all images, is looked at on a lattice; no image is read whole.

Source: a facility-location gain (Wei, Iyer & Bilmes 2015, Submodularity in data subset selection and active learning) with pixels
weighted by their uncertainty, as information density does (Settles & Craven 2008).
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from brushwork.blocks import Region, run_over, whole
from brushwork.classifier import Classifier
from brushwork.errors import InputError
from brushwork.estimators.symmetric_forest import encode_columns, fit_knots
from brushwork.features import FeatureSet
from brushwork.image import Image
from brushwork.priors import CELL_EDGE
from brushwork.training import TrainingRows, rows_at

MOST_BOXES = {2: 64, 3: 8}  # of all images together
MOST_BYTES = 1 << 27  # of all rows: fewer boxes where images have many channels
STEP = 4  # pixels between the lattice points of a box
WINDOW = 3  # lattice points: uncertainty is averaged around a place, so that a thin border is none
PLACE_EDGE = 32  # pixels: the box that is shown, and how far places are apart
SECTIONS_APART = 8  # of a stack
# Of the lattice points, so many are compared, each with so many others: 0.1 s for 49 maps.
MOST_PLACES, MOST_OTHERS, MOST_PAINTED = 2000, 800, 1000
DOUBT = 0.1  # uncertainty added everywhere: a classifier may be sure of what it has never seen
FEW_STROKES = 4
UNLIKE = 0.25  # similarity to what is painted, below which a place is called unlike it
NEARLY_EQUAL = 0.5  # uncertainty, 1 - (p1 - p2), from which on two classes are called nearly equal


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
    stop: Callable[[], bool] = lambda: False,
) -> list[Sample]:
    """What a place is chosen from: at most MOST_BOXES boxes, dealt to the images in turn; the same for the same images.

    images : by id. features : resolved. within : look nowhere else (what is in view; of one image).
    stop : asked before every box; what is there is returned.
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

    boxes = _boxes(images, features, within)
    done = {box: sample for box, sample in run_over(sampled, boxes, threads=threads) if sample is not None}
    if failures and not done:
        raise failures[0]
    return [done[box] for box in boxes if box in done]


def _boxes(images: Mapping[str, Image], features: FeatureSet, within: Region | None) -> list[tuple[str, Region]]:
    """Cells of the images, drawn by their place alone, one of every image in turn."""
    if not images:
        return []
    ndim = len(next(iter(images.values())).shape)
    bytes_per_box = 4 * features.n_maps * (CELL_EDGE[ndim] // STEP) ** ndim
    most = max(min(MOST_BOXES[ndim], MOST_BYTES // bytes_per_box), 1)
    ids = sorted(images, key=_shuffled)[:most]
    dealt = [_boxes_of(image_id, images[image_id], within, most) for image_id in ids]
    rounds = [(i, boxes[k]) for k in range(most) for i, boxes in zip(ids, dealt) if k < len(boxes)]
    return rounds[:most]


def _boxes_of(image_id: str, image: Image, within: Region | None, most: int) -> list[Region]:
    """At most `most` cells of an image, or their parts inside `within`, in random order; no list of all is made."""
    edge = CELL_EDGE[len(image.shape)]
    area = within.clipped(image.shape) if within else whole(image.shape)
    first = [a // edge for a in area.start]
    counts = [-(-b // edge) - a for a, b in zip(first, area.stop)]
    frames = [area.t] if within else range(image.n_frames)
    n = len(frames) * math.prod(counts)
    rng = np.random.default_rng(int.from_bytes(_shuffled(image_id)[:8], "little"))
    boxes = []
    for number in rng.choice(n, min(n, most), replace=False).tolist():
        frame, *cell = (int(c) for c in np.unravel_index(number, (len(frames), *counts)))
        start = tuple((c + a) * edge for c, a in zip(cell, first))
        inside = tuple(max(a, b) for a, b in zip(start, area.start))
        boxes.append(Region(inside, tuple(min(a + edge, b) for a, b in zip(start, area.stop)), frames[frame]))
    return boxes


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


def places(
    model: Classifier,
    samples: Sequence[Sample],
    painted: TrainingRows,
    *,
    visited: Sequence[Place] = (),
    most: int = 5,
) -> list[Place]:
    """The best places, best first, each chosen as if the ones before it were painted.

    model : whose features the rows have. samples : see `candidates`. painted : training.training_rows, or a Prepared's table.
    visited : earlier answers; they are not proposed again, nor is what is near them. Where nothing else is left, nothing is
        returned: forget them then.
    """
    if not samples:
        return []
    points = Points.drawn(model, samples, seed=len(painted.y))  # others after every stroke: none is left out for ever
    is_free = ~near(points, samples, visited)
    like, covered, at_painted = likeness(points, painted)
    strokes = np.array([len(np.unique(painted.strokes[painted.y == c])) for c in range(model.n_classes)])
    rare = _rarity(points, strokes)
    weights = points.unsure[: like.shape[1]] + DOUBT
    found: list[Place] = []
    while len(found) < most and is_free.any():
        gains = np.where(is_free, rare * (np.maximum(like - covered, 0) @ weights), -1)
        i = int(gains.argmax())
        sample = samples[points.owner[i]]
        reason = _reason(model, points.probabilities[:, i], float(points.unsure[i]), float(at_painted[i]), strokes)
        found.append(place_at(sample, points.at[i], reason, float(gains[i]) / like.shape[1]))
        covered = np.maximum(covered, like[i])
        is_free &= ~near(points, samples, found[-1:])
    return found


@dataclass(frozen=True, eq=False)
class Points:
    """Lattice points that were drawn from the samples, in random order.

    owner : (n,) which sample. at : (n, ndim). rows : (n, n_maps). probabilities : (n_classes, n).
    unsure : (n,) 1 - (p1 - p2), averaged over a window.
    """

    owner: NDArray[np.int64]
    at: NDArray[np.int64]
    rows: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    unsure: NDArray[np.float32]

    @classmethod
    def drawn(cls, model: Classifier, samples: Sequence[Sample], most: int = MOST_PLACES, *, seed: int = 0) -> "Points":
        """At most `most` of the lattice points of all samples."""
        rows, at = (np.concatenate([getattr(s, name) for s in samples]) for name in ("rows", "at"))
        owner = np.repeat(np.arange(len(samples)), [len(s.at) for s in samples])
        probabilities = model.probabilities(np.ascontiguousarray(rows.T))
        second, first = np.sort(probabilities, 0)[-2:]
        unsure = _averaged(1 - (first - second), samples)
        drawn = np.random.default_rng(seed).permutation(len(rows))[:most]
        return cls(owner[drawn], at[drawn], rows[drawn], probabilities[:, drawn], unsure[drawn])


def _averaged(values: NDArray[np.float32], samples: Sequence[Sample]) -> NDArray[np.float32]:
    """Values (n,) of all lattice points, each averaged with its neighbours in the box."""
    parts = np.split(values, np.cumsum([len(s.at) for s in samples])[:-1])
    windows = [uniform_filter(v.reshape(s.lattice), WINDOW, mode="nearest") for v, s in zip(parts, samples)]
    return np.concatenate([window.ravel() for window in windows])


def likeness(
    points: Points, painted: TrainingRows
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """How alike points look, from 0 to 1: (n, m) every point and the first m; (m,) these and what is painted; (n,) all and that.

    exp(-d^2 / h) of features as bytes, on the grid that the forest sees them on, so that no unit matters; h is the median of d^2
    between points and what is painted next to them: the scale follows what is known already.
    """
    knots = fit_knots(points.rows)
    drawn = np.random.default_rng(0).permutation(len(painted.rows))[:MOST_PAINTED]
    mine, theirs = (encode_columns(rows, knots).T.astype(np.float32) for rows in (points.rows, painted.rows[drawn]))
    others = mine[:MOST_OTHERS]
    to_painted = _squared_distances(mine, theirs).min(1)
    h = max(float(np.median(to_painted[:MOST_OTHERS])), 1.0)
    at_painted = np.exp(-to_painted / h)
    return np.exp(-_squared_distances(mine, others) / h), at_painted[:MOST_OTHERS], at_painted


def _squared_distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, m) of a (n, k) and b (m, k): bytes, so that float32 is exact enough."""
    return np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T, 0)


def _rarity(points: Points, strokes: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n,) the mean weight of a point's likely classes, larger for those of few strokes. strokes : (n_classes,)."""
    return (1 / np.sqrt(np.maximum(strokes, 1))).astype(np.float32) @ points.probabilities


def near(points: Points, samples: Sequence[Sample], visited: Sequence[Place]) -> NDArray[np.bool_]:
    """(n,) whether a point is near one of the visited places."""
    is_near = np.zeros(len(points.at), bool)
    for place in visited:
        same = np.array([(s.image, s.region.t) == (place.image, place.region.t) for s in samples])[points.owner]
        reach = [SECTIONS_APART] * (len(place.centre) - 2) + [PLACE_EDGE] * 2
        is_near |= same & (np.abs(points.at - place.centre) < reach).all(1)
    return is_near


def _reason(
    model: Classifier, probabilities: NDArray[np.float32], unsure: float, at_painted: float, strokes: NDArray[np.int64]
) -> str:
    """What is special about a place, the most telling first.

    probabilities, strokes : (n_classes,). unsure, at_painted : see Points and likeness.
    """
    first, second = (int(c) for c in np.argsort(-probabilities, kind="stable")[:2])
    rarest = min((first, second), key=lambda c: strokes[c])
    if at_painted < UNLIKE:
        return "unlike anything painted"
    if strokes[rarest] < FEW_STROKES and strokes[rarest] < max(strokes):
        return f"{model.classes[rarest]!r} has few strokes ({strokes[rarest]}), and this may be it"
    if unsure >= NEARLY_EQUAL:
        return f"{model.classes[first]!r} and {model.classes[second]!r} are nearly equal"
    return f"probably {model.classes[first]!r}, and much looks like this that is not painted"


def place_at(sample: Sample, at: NDArray[np.int64], reason: str, score: float) -> Place:
    """The place around a lattice point: a square in y and x, in one section."""
    half = np.array([0] * (len(at) - 2) + [PLACE_EDGE // 2] * 2)
    box = Region(tuple((at - half).tolist()), tuple((at + np.maximum(half, 1)).tolist()), sample.region.t)
    return Place(sample.image, box.clipped(sample.shape), tuple(at.tolist()), reason, score)
