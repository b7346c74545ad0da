"""Why a pixel is predicted as it is: the probabilities of all classes, and the painted pixels that look most like it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brushwork.classifier import Classifier
from brushwork.image import Image
from brushwork.priors import cells_of
from brushwork.training import Examples, TrainingRows, rows_at

MOST_PAINTED = 10_000  # pixels that one is compared with
MOST_COMPARED = 500  # painted pixels that tell how far strokes are apart
USUAL = 0.95  # of the painted pixels lie as close to another stroke as what is called usual
N_ALIKE = 3


@dataclass(frozen=True)
class Alike:
    """A painted pixel. example : which of the images. at : ([t,] *spatial). class_name : what it was painted as."""

    example: int
    at: tuple[int, ...]
    class_name: str


@dataclass(frozen=True)
class Explanation:
    """probabilities : (class, probability), the most probable first. alike : of different strokes, the likest first.

    is_unlike : further from every stroke than almost all painted pixels are from other strokes.
    """

    probabilities: tuple[tuple[str, float], ...]
    alike: tuple[Alike, ...]
    is_unlike: bool


def explain(
    model: Classifier, image: Image, at: Sequence[int], examples: Examples, painted: TrainingRows
) -> Explanation:
    """What speaks for the prediction of one pixel.

    at : ([t,] *spatial). examples : what the model was trained on. painted : their rows (training.training_rows).
    """
    ndim = len(image.shape)
    t = int(at[0]) if image.n_frames > 1 else 0
    row = rows_at(image, model.features, t, np.array([at[-ndim:]], np.int64))
    probabilities = model.probabilities(np.ascontiguousarray(row.T))[:, 0]
    order = np.argsort(-probabilities, kind="stable")
    drawn = np.random.default_rng(0).permutation(len(painted.y))[:MOST_PAINTED]
    theirs = painted.rows[drawn]
    spread = theirs.std(0)  # so that no map's unit matters
    spread[spread == 0] = 1
    theirs, mine = theirs / spread, row / spread
    strokes = painted.strokes[drawn]
    distances = ((theirs - mine[0]) ** 2).sum(1)
    nearest = np.argsort(distances, kind="stable")
    first_of_each = np.sort(np.unique(strokes[nearest], return_index=True)[1])
    return Explanation(
        tuple((model.classes[c], float(probabilities[c])) for c in order),
        tuple(_alike(model, examples, painted, int(drawn[i])) for i in nearest[first_of_each[:N_ALIKE]]),
        bool(distances.min() > _usual(theirs, strokes)),
    )


def _usual(rows: NDArray[np.float32], strokes: NDArray[np.int64]) -> float:
    """The squared distance to another stroke that only few painted pixels exceed; they are in random order."""
    some, theirs = rows[:MOST_COMPARED], strokes[:MOST_COMPARED, None]
    lengths = (rows**2).sum(1)
    squared = lengths[:MOST_COMPARED, None] + lengths - 2 * some @ rows.T
    found = np.where(theirs != strokes, squared, np.inf).min(1)
    found = found[np.isfinite(found)].clip(min=0)
    return float(np.quantile(found, USUAL)) if len(found) else 0.0


def _alike(model: Classifier, examples: Examples, painted: TrainingRows, i: int) -> Alike:
    """Row `i` of the table, as a pixel of its image."""
    example = int(painted.images[i])
    labels = examples[example][1]
    of_image = i - int(np.searchsorted(painted.images, example))
    at = labels.coords[np.argsort(cells_of(labels), kind="stable")[of_image]]
    return Alike(example, tuple(at.tolist()), model.classes[painted.y[i]])
