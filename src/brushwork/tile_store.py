"""Answers for tiles of images, kept for display: which tiles a view needs, and pictures put together from those that are there.

Pictures of coarser levels are every second, fourth, ... pixel of the finest: nothing is ever predicted on downsampled pixels.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region, grid
from brushwork.kernels.display import draw

EDGE = 512  # pixels; of a tile whose features are filtered in 2D
UNIT = 64  # pixels; of what is predicted beyond the view there. Whole tiles are twice the work for a megapixel
EDGE_3D = 256  # of a plane that needs the planes around it
MOST_TILES = 64  # in view at once; beyond, the user has to zoom in
SEGMENTATION, UNCERTAINTY = "segmentation", "uncertainty"


@dataclass(frozen=True)
class Wanted:
    """The tiles of a view, the centre's first, and which share of the view they cover."""

    tiles: tuple[Region, ...]
    share: float


def tiles_of_view(
    shape: Sequence[int], view: Region, *, edge: int = EDGE, unit: int | None = None, most: int = MOST_TILES
) -> Wanted:
    """The tiles that cover a view, aligned to the image's origin.

    shape : of the image. view : what is seen, one pixel thick along the axis that is not; it may leave the image.
    unit : pixels; the outer tiles end at the next multiple of it beyond the view. Without it they are whole: what was computed
    for them is of use when the view moves.
    """
    view = view.clipped(shape)
    if not view.size:
        return Wanted((), 1.0)
    edges = [edge if n > 1 or total == 1 else 1 for n, total in zip(view.shape, shape)]
    units = [e if unit is None else min(unit, e) for e in edges]
    box = Region(
        tuple(a // u * u for a, u in zip(view.start, units)),
        tuple(min(-(-b // u) * u, n) for b, u, n in zip(view.stop, units, shape)),
        view.t,
    )
    centre = [(a + b) / 2 for a, b in zip(view.start, view.stop)]

    def distance(tile: Region) -> float:
        return math.dist(centre, [(a + b) / 2 for a, b in zip(tile.start, tile.stop)])

    tiles = sorted(grid(box, edges), key=distance)
    seen = sum(_overlap(tile, view) for tile in tiles[:most])
    return Wanted(tuple(tiles[:most]), seen / view.size)


def _overlap(a: Region, b: Region) -> int:
    return math.prod(max(min(q, s) - max(p, r), 0) for p, q, r, s in zip(a.start, a.stop, b.start, b.stop))


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known of a tile.

    segmentation : (*spatial) uint8 class ids. uncertainty : (*spatial) uint8. probabilities : (n, *spatial) uint8; 255 is 1.
    classes : the ids that the n maps of probability belong to. generation : of the model.
    """

    region: Region
    generation: int
    classes: tuple[int, ...]
    segmentation: NDArray[np.uint8]
    uncertainty: NDArray[np.uint8]
    probabilities: NDArray[np.uint8]

    @staticmethod
    def of(region: Region, generation: int, classes: Sequence[int], probabilities: NDArray[np.float32]) -> "Answer":
        """From (n_classes, *spatial) probabilities; ties go to the first class, as everywhere."""
        n_classes, shape = len(probabilities), probabilities.shape[1:]
        segmentation, uncertainty = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
        scaled = np.empty(probabilities.shape, np.uint8)
        flat = np.ascontiguousarray(probabilities).reshape(n_classes, -1)
        draw(
            flat,
            np.asarray(classes, np.uint8),
            segmentation.ravel(),
            uncertainty.ravel(),
            scaled.reshape(n_classes, -1),
        )
        return Answer(region, generation, tuple(classes), segmentation, uncertainty, scaled)

    @property
    def n_bytes(self) -> int:
        return self.segmentation.nbytes + self.uncertainty.nbytes + self.probabilities.nbytes

    def picture(self, kind: str | int) -> NDArray[np.uint8] | None:
        """SEGMENTATION, UNCERTAINTY or the probability of a class (its id); None of a class that the model does not know."""
        if kind == SEGMENTATION:
            return self.segmentation
        if kind == UNCERTAINTY:
            return self.uncertainty
        return self.probabilities[self.classes.index(int(kind))] if kind in self.classes else None


class TileStore:
    """Keeps the newest answers within a number of bytes; those that were used longest ago go first. Safe between threads."""

    def __init__(self, most_bytes: int = 512 << 20) -> None:
        self.most_bytes = most_bytes
        self._answers: OrderedDict[tuple[str, Region], Answer] = OrderedDict()
        self._lock = threading.Lock()
        self._n_bytes = 0

    @property
    def n_bytes(self) -> int:
        return self._n_bytes

    def put(self, image: str, answer: Answer) -> None:
        with self._lock:
            old = self._answers.pop((image, answer.region), None)
            self._n_bytes += answer.n_bytes - (old.n_bytes if old else 0)
            self._answers[image, answer.region] = answer
            while self._n_bytes > self.most_bytes and len(self._answers) > 1:
                self._n_bytes -= self._answers.popitem(last=False)[1].n_bytes

    def clear(self) -> None:
        with self._lock:
            self._answers.clear()
            self._n_bytes = 0

    def answer(self, image: str, region: Region) -> Answer | None:
        return self._answers.get((image, region))

    def picture(
        self, image: str, kind: str | int, region: Region, step: Sequence[int] | None = None
    ) -> NDArray[np.uint8]:
        """The part of a picture that lies in a region, 0 where nothing is known yet.

        step : along each axis, every how manieth pixel from region.start on. Returns ceil(region.shape / step) pixels.
        """
        step = (1,) * len(region.shape) if step is None else step
        out = np.zeros([-(-n // s) for n, s in zip(region.shape, step)], np.uint8)
        with self._lock:
            found = [
                (key, a)
                for key, a in self._answers.items()
                if key[0] == image and a.region.t == region.t and _overlap(a.region, region)
            ]
            for key, _ in found:
                self._answers.move_to_end(key)
        for _, answer in sorted(found, key=lambda pair: pair[1].generation):
            pixels = answer.picture(kind)
            if pixels is not None:
                _draw(out, region, step, answer.region, pixels)
        return out


def _draw(out: NDArray[np.uint8], region: Region, step: Sequence[int], tile: Region, pixels: NDArray[np.uint8]) -> None:
    """Write every step-th pixel of a tile to where it lies in a picture of a region."""
    into, source = [], []
    for a, b, s, ta, tb in zip(region.start, region.stop, step, tile.start, tile.stop):
        first = -(-(max(ta, a) - a) // s)  # the first picture pixel inside the tile
        last = -(-(min(tb, b) - a) // s)
        into.append(slice(first, last))
        source.append(slice(a + first * s - ta, a + (last - 1) * s - ta + 1, s) if last > first else slice(0, 0))
    out[tuple(into)] = pixels[tuple(source)]
