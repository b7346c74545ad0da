"""What a model may claim: recall, confusion and reliability on strokes it did not see.

Pixels of one stroke are nearly copies of each other, so a stroke is never on both sides of a split (cross-validation over pixels
promises too much).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.classifier import Classifier
from brushwork.errors import InputError
from brushwork.estimators import Estimator
from brushwork.estimators import estimator as estimator_named
from brushwork.features import FeatureSet
from brushwork.image import Image
from brushwork.labels import Labels
from brushwork.priors import reweigh
from brushwork.training import Prepared, TrainingRows, fit, prepare

FOLDS = 5
RELIABILITY_BINS = 5
UNTESTED = "one stroke only: paint a second one to test this class"


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Held-out accuracy.

    classes : names. confusion : (n_classes, n_classes) pixels, rows are what was painted, columns what was predicted.
    strokes : (n_classes,) held-out strokes per class; 0 where a class has a single stroke and cannot be tested.
    confidence, correct, counts : (RELIABILITY_BINS,) per bin of the winning probability from 1 / n_classes to 1: its mean, the
        share of pixels that were right, and their number.
    """

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    strokes: NDArray[np.int64]
    confidence: NDArray[np.float64]
    correct: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def recall(self) -> NDArray[np.float64]:
        """(n_classes,): the share of a class's held-out pixels that were found; NaN where untested."""
        painted = self.confusion.sum(1)
        return np.divide(self.confusion.diagonal(), painted, out=np.full(len(painted), np.nan), where=painted > 0)

    @property
    def balanced(self) -> float:
        """The mean recall of the classes that could be tested; NaN if none could."""
        recall = self.recall[~np.isnan(self.recall)]
        return float(recall.mean()) if len(recall) else float("nan")

    @property
    def calibration_error(self) -> float:
        """How far confidence and correctness are apart, on average over pixels."""
        total = self.counts.sum()
        return float(np.abs(self.confidence - self.correct) @ self.counts / total) if total else float("nan")

    def confused(self) -> list[tuple[str, str, float]]:
        """(painted, predicted instead, share of the painted class), the worst first."""
        share = self.confusion / np.maximum(self.confusion.sum(1, keepdims=True), 1)
        np.fill_diagonal(share, 0)
        order = np.argsort(-share, axis=None, kind="stable")
        pairs = [divmod(int(i), len(self.classes)) for i in order if share.flat[i] > 0]
        return [(self.classes[a], self.classes[b], float(share[a, b])) for a, b in pairs]

    def to_json(self) -> dict[str, Any]:
        return {
            "method": f"whole strokes left out, {FOLDS} folds at most",
            "balanced_accuracy": _or_none(self.balanced),
            "recall": {c: _or_none(r) for c, r in zip(self.classes, self.recall)},
            "held_out_strokes": dict(zip(self.classes, self.strokes.tolist())),
            "confusion": self.confusion.tolist(),
            "reliability": {
                "confidence": self.confidence.tolist(),
                "correct": self.correct.tolist(),
                "pixels": self.counts.tolist(),
                "calibration_error": _or_none(self.calibration_error),
            },
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Accuracy":
        reliability = data["reliability"]
        return cls(
            tuple(data["recall"]),
            np.array(data["confusion"], np.int64),
            np.array(list(data["held_out_strokes"].values()), np.int64),
            np.array(reliability["confidence"], float),
            np.array(reliability["correct"], float),
            np.array(reliability["pixels"], np.int64),
        )


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def folds_of(table: TrainingRows, n_classes: int, n_folds: int = FOLDS) -> NDArray[np.int64]:
    """(n,) the fold in which each pixel is held out; -1 for classes with a single stroke, which are always trained on.

    The strokes of every class are dealt to the folds in order of size, so folds are alike.
    """
    fold = np.full(len(table.y), -1, np.int64)
    for c in range(n_classes):
        mine = table.y == c
        strokes, size = np.unique(table.strokes[mine], return_counts=True)
        if len(strokes) < 2:
            continue
        k = min(n_folds, len(strokes))
        dealt = np.empty(len(strokes), np.int64)
        dealt[np.argsort(-size, kind="stable")] = (np.arange(len(strokes)) + c) % k
        fold[mine] = dealt[np.searchsorted(strokes, table.strokes[mine])]
    return fold


def held_out_probabilities(
    prepared: Prepared, recipe: Estimator, fold: NDArray[np.int64], *, seed: int = 0, maps: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """(n_classes, n) probabilities of every pixel by an estimator that did not see its stroke; NaN where fold is -1.

    maps : use these maps only; all by default.
    """
    table = prepared.table
    rows = table.rows if maps is None else np.ascontiguousarray(table.rows[:, list(maps)])
    out = np.full((prepared.n_classes, len(rows)), np.nan, np.float32)
    for k in range(fold.max() + 1):
        test = fold == k
        fitted = recipe.fit(
            rows[~test],
            table.y[~test],
            n_classes=prepared.n_classes,
            strokes=table.strokes[~test],
            seed=seed,
            threads=prepared.threads,
        )
        out[:, test] = fitted.predict(np.ascontiguousarray(rows[test].T))
    return out


def held_out(
    prepared: Prepared,
    estimator: str | Estimator = "symmetric-forest",
    *,
    seed: int = 0,
    class_weights: Sequence[float] = (),
) -> Accuracy:
    """Accuracy on whole strokes that were left out of training.

    class_weights : of the classifier whose accuracy this is (Classifier.class_weights).
    """
    fold = folds_of(prepared.table, prepared.n_classes)
    probabilities = held_out_probabilities(prepared, estimator_named(estimator), fold, seed=seed)
    if class_weights:
        reweigh(probabilities, class_weights)
    return measured(prepared.table, probabilities, prepared.classes, class_weights)


def measured(
    table: TrainingRows,
    probabilities: NDArray[np.float32],
    classes: tuple[str, ...],
    class_weights: Sequence[float] = (),
) -> Accuracy:
    """Accuracy from probabilities (n_classes, n) of the pixels of a table; NaN columns are left out.

    class_weights : where classes are more or less common than in the strokes, pixels count so for the reliability.
    """
    n = len(classes)
    tested = ~np.isnan(probabilities[0])
    p, y = probabilities[:, tested], table.y[tested]
    guess = p.argmax(0) if len(y) else y
    confusion = np.bincount(y * n + guess, minlength=n * n).reshape(n, n)
    strokes = np.array([len(np.unique(table.strokes[tested][y == c])) for c in range(n)])
    top = p.max(0).astype(np.float64) if len(y) else np.zeros(0)
    bins = ((top - 1 / n) / (1 - 1 / n) * RELIABILITY_BINS).astype(int).clip(0, RELIABILITY_BINS - 1)
    counts = np.bincount(bins, minlength=RELIABILITY_BINS)
    weight = np.asarray(class_weights or [1.0] * n)[y]
    per_bin = np.bincount(bins, weight, RELIABILITY_BINS)
    per_bin[counts == 0] = 1
    confidence = np.bincount(bins, weight * top, RELIABILITY_BINS) / per_bin
    correct = np.bincount(bins, weight * (guess == y), RELIABILITY_BINS) / per_bin
    return Accuracy(classes, confusion, strokes, confidence, correct, counts)


def assess(
    examples: Iterable[tuple[Image, Labels]],
    features: FeatureSet | str = "all",
    *,
    classes: Sequence[str] | None = None,
    estimator: str | Estimator = "symmetric-forest",
    priors: str = "image",
    seed: int = 0,
    threads: int | None = None,
) -> Accuracy:
    """Held-out accuracy of a training with these arguments (training.train's)."""
    prepared = prepare(examples, features, classes=classes, priors=priors, threads=threads)
    model = fit(prepared, estimator, seed=seed)
    return held_out(prepared, estimator, seed=seed, class_weights=model.class_weights)


def with_accuracy(classifier: Classifier, accuracy: Accuracy) -> Classifier:
    """The classifier with its accuracy in its provenance."""
    return classifier.with_provenance(accuracy=accuracy.to_json())


def accuracy_of(classifier: Classifier) -> Accuracy | None:
    """The accuracy stored in a classifier, if any."""
    stored = classifier.provenance.get("accuracy")
    try:
        return Accuracy.from_json(stored) if stored else None
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"the model's accuracy cannot be read ({error}); the model is damaged, train it again"
        ) from None
