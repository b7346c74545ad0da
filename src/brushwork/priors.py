"""How often classes are: in the strokes, and in the image around them.

People paint about as much of a rare class as of a common one, so a classifier takes all for equally common, and gives too many
doubtful pixels to the rare ones. Here probabilities are moved half of the way (in log odds) from the frequencies of the strokes
to those of the image, which the classifier itself estimates on a sample of pixels around the strokes. The whole way would need
frequencies that are known: where a class is hard to recognise, the estimate is off, and half of the way is the better bet.

Source: Saerens, Latinne & Decaestecker 2002, Adjusting the outputs of a classifier to new a priori probabilities.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from brushwork.errors import InputError
from brushwork.labels import Labels

PRIORS = ("image", "strokes")
HALF_WAY = 0.5
LEAST_WEIGHT = 0.25  # of the largest: a class in doubt is never further away than this
CELL_EDGE = {2: 128, 3: 48}  # pixels: around a stroke means in the same cell
MOST_CELLS = {2: 32, 3: 8}  # of all images together
STEP = 8  # pixels between samples


def check(priors: str) -> None:
    """Raise InputError for anything but "image" and "strokes"."""
    if priors not in PRIORS:
        raise InputError(f"priors={priors!r} is not known; give 'image' or 'strokes'")


def around(examples: Sequence[Labels]) -> list[Labels]:
    """Pixels around the strokes of every image: a lattice in each cell that holds a stroke, in at most MOST_CELLS cells.

    Which cells stay where there are more depends on nothing but their place, so a further stroke changes at most one.
    Classes and strokes of the result say nothing.
    """
    cells = [(i, *cell) for i, labels in enumerate(examples) for cell in _cells(labels)]
    ndim = len(examples[0].shape)
    chosen = sorted(sorted(cells, key=_shuffled)[: MOST_CELLS[ndim]])
    return [_lattice(labels, [cell[1:] for cell in chosen if cell[0] == i]) for i, labels in enumerate(examples)]


def cells_of(labels: Labels) -> NDArray[np.int64]:
    """(n,) number of the cell that each pixel lies in: rising with the frame, then with the cell's place in C order."""
    edge, number = CELL_EDGE[len(labels.shape)], labels.frames
    for at, n in zip(labels.positions.T, labels.shape):
        number = number * -(-n // edge) + at // edge
    return number


def _cells(labels: Labels) -> list[tuple[int, ...]]:
    """(frame, *cell) of every cell with a stroke."""
    edge = CELL_EDGE[len(labels.shape)]
    _, first = np.unique(cells_of(labels), return_index=True)
    cells = np.column_stack([labels.frames[first], labels.positions[first] // edge])
    return [tuple(cell) for cell in cells.tolist()]


def _shuffled(cell: tuple[int, ...]) -> bytes:
    return hashlib.sha256(repr(cell).encode()).digest()


def _lattice(labels: Labels, cells: Sequence[tuple[int, ...]]) -> Labels:
    parts = [np.zeros((0, 1 + len(labels.shape)), np.int64), *(_lattice_in(cell, labels.shape) for cell in cells)]
    coords = np.concatenate(parts)
    nothing = np.zeros(len(coords))
    return Labels(
        labels.shape, coords if labels.has_time else coords[:, 1:], nothing.astype(np.uint8), nothing.astype(np.int32)
    )


@lru_cache(maxsize=256)
def _lattice_in(frame_and_cell: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """(n, 1 + ndim) frame and position of the samples in a cell of an image of `shape`."""
    frame, *cell = frame_and_cell
    edge = CELL_EDGE[len(shape)]
    lines = []
    for c, n in zip(cell, shape):
        start, stop = c * edge, min((c + 1) * edge, n)
        lines.append(np.arange(start + min(STEP, stop - start) // 2, stop, STEP))
    lattice = np.stack(np.meshgrid([frame], *lines, indexing="ij"), -1).reshape(-1, 1 + len(shape))
    lattice.setflags(write=False)
    return lattice


def weights(painted: NDArray[np.floating], in_image: NDArray[np.floating]) -> tuple[float, ...]:
    """What to multiply probabilities with, per class; the largest is 1.

    painted, in_image : (n_classes,) shares of the classes, positive.
    """
    moved = (np.asarray(in_image, float) / painted) ** HALF_WAY
    return tuple(np.maximum(moved / moved.max(), LEAST_WEIGHT).round(6).tolist())


def reweigh(probabilities: NDArray[np.float32], weights: Sequence[float]) -> None:
    """Multiply each class (first axis) by its weight, in place, and let the sum be 1 again.

    Written as a loop over classes, as NumPy's sums depend on the length of the other axes.
    """
    total = np.zeros(probabilities.shape[1:], np.float32)
    for p, weight in zip(probabilities, weights):
        p *= np.float32(weight)
        total += p
    probabilities /= total
