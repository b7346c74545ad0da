"""Agreement on strokes that a classifier has not seen: how good it may claim to be, and which strokes it disagrees with.

Two measurements are averaged. Strokes that are left out of training say how often they are answered as painted; but strokes avoid
borders, so they promise too much. Probabilities at a sample of all pixels around the strokes, by the same classifiers, say how
often they expect to be right there; but a forest that saw few strokes is less sure than it could be, so they promise too little.
benchmarks/quality.py measures both against the truth on images not seen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from brushwork.accuracy import FOLDS, Accuracy, folds_of, measured
from brushwork.classifier import Classifier
from brushwork.errors import InputError
from brushwork.estimators import Estimator
from brushwork.estimators import estimator as estimator_named
from brushwork.image import Image
from brushwork.labels import Labels
from brushwork.priors import cells_of, reweigh
from brushwork.training import Prepared, TrainingRows, training_rows

LEAST_STROKES = 4  # of a class, below which nothing is claimed
LEAST_IMAGES = 3  # with strokes, from which whole images are left out
NOT_ENOUGH = "not enough strokes to tell"
DRAWS = 1000
TAIL = 0.05  # of the draws beyond either end of an interval
STEPS = 2  # of estimating class frequencies: four are no nearer to the truth, none is further off
AROUND = 0.5  # the weight of what is expected around the strokes
AROUND_DRAWN = (-0.5, 1.5)  # the same in an interval: the truth may lie beyond either. Covers 45 of 50, 36 with (0, 1)


@dataclass(frozen=True)
class Estimate:
    """A share between 0 and 1 with its interval of 90 %; NaN where there are not enough strokes to tell."""

    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")

    @property
    def is_known(self) -> bool:
        return not np.isnan(self.value)

    @property
    def words(self) -> str:
        """As a person is told: "87 % (80 to 93 %)", or that there are not enough strokes.

        >>> Estimate(0.87, 0.8, 0.93).words
        '87 % (80 to 93 %)'
        >>> Estimate().words
        'not enough strokes to tell'
        """
        if not self.is_known:
            return NOT_ENOUGH
        value, low, high = (round(100 * x) for x in (self.value, self.low, self.high))
        return f"{value} % ({low} to {high} %)"


@dataclass(frozen=True)
class Disagreement:
    """A stroke most of whose pixels are called something else than what was painted by a classifier that did not see it.

    image : its id. stroke : its number in the image's labels. painted, called : names of classes. share : of the stroke's pixels
    that are `called`. position : ([t,] *spatial) of one of these pixels, near their middle.
    """

    image: str
    stroke: int
    painted: str
    called: str
    share: float
    position: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Quality:
    """How well a classifier agrees with strokes it has not seen.

    overall : the mean over classes (balanced accuracy); unknown where a class is. recall : per class.
    strokes : (n_classes,) strokes that were tested. left_out : what was left out together, "strokes" or "images"; "checks" where
    strokes are for checking only. accuracy : pixel by pixel on the strokes alone: confusion and reliability.
    disagreements : the worst first.
    """

    overall: Estimate
    recall: tuple[Estimate, ...]
    strokes: NDArray[np.int64]
    left_out: str
    accuracy: Accuracy = field(repr=False)
    disagreements: tuple[Disagreement, ...] = field(repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.accuracy.classes

    @property
    def lacking(self) -> tuple[str, ...]:
        """The classes with too few strokes to tell."""
        return tuple(name for name, recall in zip(self.classes, self.recall) if not recall.is_known)

    def confused(self) -> list[tuple[str, str, float]]:
        """(painted, called instead, share of the painted class's pixels), the worst first."""
        return self.accuracy.confused()


def agreement(
    prepared: Prepared,
    painted: Mapping[str, Labels],
    estimator: str | Estimator = "symmetric-forest",
    *,
    class_weights: Sequence[float] = (),
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> Quality | None:
    """How well classifiers of this kind agree with strokes, or whole images, that were left out of their training.

    painted : the labels that were prepared, by the image's id, in the same order. class_weights : of the classifier that was
    trained on all of them (Classifier.class_weights). stop : asked before every fold; where it says yes, the answer is None.
    Without a sample around the strokes (priors "strokes") the strokes alone count.
    """
    recipe = estimator_named(estimator)
    table = prepared.table
    by_image = image_folds(table, prepared.n_classes)
    fold = folds_of(table, prepared.n_classes) if by_image is None else by_image
    answered = _left_out(prepared, recipe, fold, seed, stop)
    if answered is None:
        return None
    probabilities, around = answered
    expected = None
    if around is not None:
        expected = expected_recall(around, _painted_shares(prepared, recipe), class_weights)
    if class_weights:
        reweigh(probabilities, class_weights)
    left_out = "strokes" if by_image is None else "images"
    return _quality(table, painted, probabilities, prepared.classes, expected, left_out, class_weights)


def checked(
    model: Classifier,
    examples: Mapping[str, tuple[Image, Labels]],
    *,
    threads: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Quality | None:
    """How well a classifier agrees with strokes that are for checking only.

    examples : (image, labels) by the image's id; labels are 1, 2, ... in the order of the model's classes, and none of them was
    trained on. stop : asked before and after rows are computed; where it says yes,
    the answer is None.
    Raises InputError where a label is none of the model's classes.
    """
    for image, labels in examples.values():
        model.check_image(image)
        if len(labels) and labels.classes.max() > model.n_classes:
            raise InputError(
                f"strokes for checking are of class {labels.classes.max()}, the model knows {model.n_classes} classes "
                f"({', '.join(model.classes)}); train it on strokes of that class first"
            )
    if stop():
        return None
    table = training_rows(list(examples.values()), model.features, threads=threads)
    if stop():
        return None
    probabilities = model.probabilities(np.ascontiguousarray(table.rows.T))
    painted = {name: labels for name, (_, labels) in examples.items()}
    return _quality(table, painted, probabilities, model.classes, None, "checks", model.class_weights)


def image_folds(table: TrainingRows, n_classes: int) -> NDArray[np.int64] | None:
    """(n,) the fold in which each pixel's image is left out; None where strokes have to be left out one by one.

    That is so with fewer than three images, and where leaving out an image would leave a class without strokes.
    """
    images, size = np.unique(table.images, return_counts=True)
    if len(images) < LEAST_IMAGES:
        return None
    dealt = np.empty(len(images), np.int64)
    dealt[np.argsort(-size, kind="stable")] = np.arange(len(images)) % FOLDS
    fold = dealt[np.searchsorted(images, table.images)]
    is_in = np.zeros((n_classes, fold.max() + 1), bool)
    is_in[table.y, fold] = True
    return fold if (is_in.sum(1) > 1).all() else None


def _left_out(
    prepared: Prepared, recipe: Estimator, fold: NDArray[np.int64], seed: int, stop: Callable[[], bool]
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None] | None:
    """(probabilities of every pixel by an estimator that did not see it, mean probabilities around); None where `stop` says so.

    Probabilities are (n_classes, n), NaN where fold is -1; around is None where nothing was sampled or left out.
    """
    table, n = prepared.table, prepared.n_classes
    sample = None if prepared.around is None or not len(prepared.around) else np.ascontiguousarray(prepared.around.T)
    out = np.full((n, len(table.y)), np.nan, np.float32)
    total = np.zeros((n, 0 if sample is None else sample.shape[1]), np.float32)
    n_folds = fold.max(initial=-1) + 1
    for k in range(n_folds):
        if stop():
            return None
        test = fold == k
        rest = ~test
        fitted = recipe.fit(
            table.rows[rest],
            table.y[rest],
            n_classes=n,
            strokes=table.strokes[rest],
            seed=seed,
            threads=prepared.threads,
        )
        out[:, test] = fitted.predict(np.ascontiguousarray(table.rows[test].T))
        if sample is not None:
            total += fitted.predict(sample)
    return out, total / np.float32(n_folds) if sample is not None and n_folds else None


def _painted_shares(prepared: Prepared, recipe: Estimator) -> NDArray[np.float64]:
    """(n_classes,) how common the estimator takes the classes to be."""
    n = prepared.n_classes
    if getattr(recipe, "balanced", False):
        return np.full(n, 1 / n)
    pixels = np.bincount(prepared.table.y, minlength=n)
    return pixels / pixels.sum()


def expected_recall(
    around: NDArray[np.float32], painted: NDArray[np.float64], class_weights: Sequence[float] = ()
) -> NDArray[np.float64]:
    """(n_classes,) the recall that a classifier itself expects on a sample of the image.

    around : (n_classes, n) its probabilities before class weights. painted : (n_classes,) shares of the classes in the strokes.
    The probability that a pixel is of a class, summed over the pixels that are called so, over the same sum over all pixels.
    What pixels are called is decided with the class weights; how probable classes are is told with frequencies estimated on the
    sample, by steps of expectation maximisation (Saerens, Latinne & Decaestecker 2002, as in brushwork.priors).
    """
    given = around.astype(np.float64)
    weights = np.asarray(class_weights or [1.0] * len(given))
    called = (given * weights[:, np.newaxis]).argmax(0)
    probable = given
    for _ in range(STEPS):
        probable = given * (probable.mean(1) / painted)[:, np.newaxis]
        probable /= probable.sum(0)
    found = np.array([p[called == c].sum() for c, p in enumerate(probable)])
    return found / np.maximum(probable.sum(1), 1e-12)


@dataclass(frozen=True, eq=False)
class _Strokes:
    """What became of the strokes that were tested.

    image, number, y : (n_strokes,) position of the image, number in its labels, class. calls : (n_strokes, n_classes) its pixels
    by what they are called.
    """

    image: NDArray[np.int64]
    number: NDArray[np.int64]
    y: NDArray[np.int64]
    calls: NDArray[np.int64]

    @property
    def recall(self) -> NDArray[np.float64]:
        """(n_strokes,) the share of a stroke's pixels that are called what was painted."""
        return self.calls[np.arange(len(self.y)), self.y] / self.calls.sum(1)


def _quality(
    table: TrainingRows,
    painted: Mapping[str, Labels],
    probabilities: NDArray[np.float32],
    classes: tuple[str, ...],
    expected: NDArray[np.float64] | None,
    left_out: str,
    class_weights: Sequence[float],
) -> Quality:
    """Everything that is told of the probabilities (n_classes, n) of a table's pixels."""
    accuracy = measured(table, probabilities, classes, class_weights)
    places = _places(table, painted)
    tested = ~np.isnan(probabilities[0])
    called = probabilities[:, tested].argmax(0)
    strokes, of_stroke = _strokes(table, places, tested, called, len(classes))
    overall, recall = _estimates(strokes, len(classes), expected, left_out)
    disagreements = _disagreements(strokes, of_stroke, places[tested], called, tuple(painted), classes)
    return Quality(overall, recall, accuracy.strokes, left_out, accuracy, disagreements)


def _places(table: TrainingRows, painted: Mapping[str, Labels]) -> NDArray[np.int64]:
    """(n, 1 + [1 +] ndim): stroke number and coords of every pixel, in the order of a table's rows (training.training_rows)."""
    parts = []
    for labels in painted.values():
        order = np.argsort(cells_of(labels), kind="stable")
        parts.append(np.column_stack([labels.strokes[order].astype(np.int64), labels.coords[order]]))
    places = np.concatenate(parts) if parts else np.zeros((0, 3), np.int64)
    if len(places) != len(table.y):
        raise InputError(
            f"{len(places)} painted pixels were given for {len(table.y)} that were prepared; give the same"
        )
    return places


def _strokes(
    table: TrainingRows,
    places: NDArray[np.int64],
    tested: NDArray[np.bool_],
    called: NDArray[np.int64],
    n_classes: int,
) -> tuple[_Strokes, NDArray[np.int64]]:
    """The tested strokes, and (n_tested,) which of them each pixel belongs to. A stroke of two classes counts as two."""
    keys = np.column_stack([table.images, places[:, 0], table.y])[tested]
    distinct, of_stroke = np.unique(keys, axis=0, return_inverse=True)
    of_stroke = of_stroke.reshape(-1)
    calls = np.bincount(of_stroke * n_classes + called, minlength=len(distinct) * n_classes)
    image, number, y = distinct.T
    return _Strokes(image, number, y, calls.reshape(-1, n_classes)), of_stroke


def _estimates(
    strokes: _Strokes, n_classes: int, expected: NDArray[np.float64] | None, left_out: str
) -> tuple[Estimate, tuple[Estimate, ...]]:
    """(balanced accuracy, recall per class) with intervals.

    Strokes, or images where whole ones were left out, are drawn with replacement, class by class (Efron 1979, the bootstrap). Where
    there is a second measurement, every draw weighs the two differently: how far they are apart is part of the doubt.
    """
    random = np.random.default_rng(0)
    share = random.uniform(*AROUND_DRAWN, DRAWS)
    values, draws = np.full(n_classes, np.nan), np.full((n_classes, DRAWS), np.nan)
    for c in range(n_classes):
        mine = strokes.y == c
        if mine.sum() < LEAST_STROKES:
            continue
        recall = strokes.recall[mine]
        unit = strokes.image[mine] if left_out == "images" else np.arange(len(recall))
        drawn = _drawn_means(recall, unit, random)
        values[c], draws[c] = recall.mean(), drawn
        if expected is not None:
            values[c] += AROUND * (expected[c] - values[c])
            draws[c] += share * (expected[c] - drawn)
    overall = _estimate(float(values.mean()), draws.mean(0))
    return overall, tuple(_estimate(float(v), d) for v, d in zip(values, draws))


def _drawn_means(
    values: NDArray[np.float64], unit: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.float64]:
    """(DRAWS,) means of values (n,), of which those of one unit are drawn together.

    Means of few units vary too little by sqrt((n_units - 1) / n_units), which is made up for.
    """
    _, index = np.unique(unit, return_inverse=True)
    count, total = np.bincount(index), np.bincount(index, values)
    n_units = len(count)
    chosen = random.integers(0, n_units, (DRAWS, n_units))
    means = total[chosen].sum(1) / count[chosen].sum(1)
    return values.mean() + (means - values.mean()) * np.sqrt(n_units / max(n_units - 1, 1))


def _estimate(value: float, draws: NDArray[np.float64]) -> Estimate:
    if np.isnan(value):
        return Estimate()
    low, high = np.quantile(draws, (TAIL, 1 - TAIL)).clip(0, 1).tolist()
    return Estimate(value, min(low, value), max(high, value))


def _disagreements(
    strokes: _Strokes,
    of_stroke: NDArray[np.int64],
    places: NDArray[np.int64],
    called: NDArray[np.int64],
    images: tuple[str, ...],
    classes: tuple[str, ...],
) -> tuple[Disagreement, ...]:
    """Strokes most of whose pixels are called another class; those with the largest share of it first, then the longest."""
    other = strokes.calls.argmax(1) if len(strokes.y) else strokes.y
    size = strokes.calls.sum(1)
    wrong = np.flatnonzero(other != strokes.y)
    share = strokes.calls[wrong, other[wrong]] / size[wrong]
    found = []
    for i in wrong[np.lexsort((-size[wrong], -share))]:
        at = places[(of_stroke == i) & (called == other[i]), 1:]
        found.append(
            Disagreement(
                image=images[strokes.image[i]],
                stroke=int(strokes.number[i]),
                painted=classes[strokes.y[i]],
                called=classes[other[i]],
                share=float(strokes.calls[i, other[i]] / size[i]),
                position=_middle(at),
            )
        )
    return tuple(found)


def _middle(at: NDArray[np.int64]) -> tuple[int, ...]:
    """The one of the pixels (n, ndim) that is nearest to their mean."""
    return tuple(at[((at - at.mean(0)) ** 2).sum(1).argmin()].tolist())
