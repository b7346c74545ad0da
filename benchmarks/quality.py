"""How far "agreement on strokes it has not seen" is from the truth: balanced accuracy on images not seen.

    python -m benchmarks.quality [--cases a1,b2] [--sparse] [--each]

Every case is trained on ten sets of strokes, drawn from the stored ones: 4 to 12 per class on every training image; with
--sparse, on all training images together. Beside the claim stand three others of the same classifier: whole strokes left out and
pixels counted, pixels left out at random, and pixels out of the bag of trees that drew pixels.
The truth is measured on 10,000 pixels per class of the test images. Ends with the bar, on five cases, and PASS or FAIL.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import DATA, Case, kitio
from brushwork import FeatureSet, Image, Labels
from brushwork.accuracy import held_out, held_out_probabilities, measured
from brushwork.answers import Recipe
from brushwork.classifier import Classifier
from brushwork.estimators.symmetric_forest import SymmetricForest
from brushwork.priors import reweigh
from brushwork.quality import Quality, agreement
from brushwork.training import Prepared, TrainingRows, fit, prepare, training_rows

FIVE = ("a1", "a4", "b1", "b3", "g1")  # what the bar is about; the method was chosen on these
SETS = 10
FEWEST, MOST = 4, 12  # strokes per class
TEST_PIXELS = 10_000  # per class
BAR = 0.04
BAGS, TREES_PER_BAG = 20, 10


@dataclass(frozen=True)
class Claims:
    """Balanced accuracies of one classifier: what is claimed, with its interval, and what is true."""

    claim: float
    low: float
    high: float
    truth: float
    strokes: float  # left out, and pixels counted
    pixels: float  # left out at random
    bag: float
    seconds: float

    @property
    def covers(self) -> bool:
        return self.low <= self.truth <= self.high


def n_strokes(number: int) -> int:
    """How many strokes per class the set of this number has: 4 to 12."""
    return FEWEST + number * (MOST - FEWEST) // (SETS - 1)


def stroke_set(case: Case, number: int, sparse: bool) -> list[tuple[Image, Labels]]:
    """Some of the stored strokes of every training image; the same on every run."""
    names, n = case.about["train"], n_strokes(number)
    examples = []
    for i, name in enumerate(names):
        labels = case.strokes("many", name)
        some = (n + (len(names) - 1 - i)) // len(names) if sparse else n
        random = np.random.default_rng((number, i))
        chosen = np.zeros(len(labels), bool)
        for c in np.unique(labels.classes):
            strokes = random.permutation(np.unique(labels.strokes[labels.classes == c]))[:some]
            chosen |= np.isin(labels.strokes, strokes)
        examples.append((case.images[name], labels.chosen(chosen)))
    return examples


def test_rows(case: Case, features: FeatureSet) -> TrainingRows:
    """Rows at random annotated pixels of the test images, TEST_PIXELS per class or all there are."""
    random = np.random.default_rng(0)
    names = case.about["test"]
    truths = [kitio.labels(case.about, "gt", name).reshape(case.images[name].shape) for name in names]
    everywhere = np.concatenate([truth.ravel() for truth in truths])
    wanted = np.zeros(len(everywhere), bool)
    for c in range(1, len(case.about["classes"]) + 1):
        of_class = np.flatnonzero(everywhere == c)
        wanted[random.choice(of_class, min(TEST_PIXELS, len(of_class)), replace=False)] = True
    parts = np.split(wanted, np.cumsum([truth.size for truth in truths])[:-1])
    examples = []
    for name, truth, part in zip(names, truths, parts):
        at = np.argwhere(part.reshape(truth.shape))
        classes = truth[tuple(at.T)]
        examples.append((case.images[name], Labels(truth.shape, at, classes, np.zeros(len(at), np.int32))))
    return training_rows(examples, features)


def balanced(probabilities: NDArray[np.float32], table: TrainingRows, model: Classifier) -> float:
    """Balanced accuracy of probabilities (n_classes, n) before class weights."""
    if model.class_weights:
        reweigh(probabilities, model.class_weights)
    return measured(table, probabilities, model.classes).balanced


def random_pixels(prepared: Prepared, model: Classifier) -> float:
    """Cross-validation over pixels, five folds."""
    fold = np.random.default_rng(0).integers(0, 5, len(prepared.table.y))
    return balanced(held_out_probabilities(prepared, SymmetricForest(), fold), prepared.table, model)


def out_of_bag(prepared: Prepared, model: Classifier) -> float:
    """Every pixel is answered by the trees that did not draw it, as random forests do."""
    table, n = prepared.table, len(prepared.table.y)
    random = np.random.default_rng(0)
    total = np.zeros((prepared.n_classes, n), np.float32)
    for bag in range(BAGS):
        drawn = random.integers(0, n, n)
        rest = np.setdiff1d(np.arange(n), drawn)
        recipe = SymmetricForest(trees=TREES_PER_BAG, bootstrap=False)
        fitted = recipe.fit(table.rows[drawn], table.y[drawn], n_classes=prepared.n_classes, seed=bag)
        total[:, rest] += fitted.predict(np.ascontiguousarray(table.rows[rest].T))
    total[:, total.sum(0) == 0] = np.nan  # drawn in every bag
    return balanced(total / total.sum(0), table, model)


def claims_of(case: Case, examples: list[tuple[Image, Labels]], test: TrainingRows) -> tuple[Claims, Quality]:
    prepared = prepare(examples, FeatureSet.preset("all"), classes=case.about["classes"])
    model = fit(prepared)
    painted = {image.uri: labels for image, labels in examples}
    start = time.perf_counter()
    told = agreement(prepared, painted, class_weights=model.class_weights)
    seconds = time.perf_counter() - start
    assert told is not None
    claims = Claims(
        claim=told.overall.value,
        low=told.overall.low,
        high=told.overall.high,
        truth=balanced(model.estimator.predict(np.ascontiguousarray(test.rows.T)), test, model),
        strokes=held_out(prepared, class_weights=model.class_weights).balanced,
        pixels=random_pixels(prepared, model),
        bag=out_of_bag(prepared, model),
        seconds=seconds,
    )
    return claims, told


def measure(name: str, sparse: bool, each: bool) -> list[Claims]:
    case, found = Case(name), []
    test: TrainingRows | None = None
    for number in range(SETS):
        examples = stroke_set(case, number, sparse)
        if test is None:
            test = test_rows(case, Recipe().settled([image for image, _ in examples]))
        claims, told = claims_of(case, examples, test)
        found.append(claims)
        if each:
            print(row(f"{name} {number}, {n_strokes(number)} strokes, {told.left_out} left out", [claims]), flush=True)
    return found


HEAD = """| case | claim | interval | truth | distance | strokes left out | random pixels | out of bag | covered | s |
|---|---|---|---|---|---|---|---|---|---|"""


def distance(found: Sequence[Claims], what: str) -> float:
    """Mean absolute distance of a claim to the truth."""
    return float(np.mean([abs(getattr(claims, what) - claims.truth) for claims in found]))


def row(name: str, found: Sequence[Claims]) -> str:
    claim, low, high, truth, seconds = (
        np.mean([getattr(claims, what) for claims in found]) for what in ("claim", "low", "high", "truth", "seconds")
    )
    distances = [distance(found, what) for what in ("claim", "strokes", "pixels", "bag")]
    told = " | ".join(f"{d:.3f}" for d in distances)
    covered = sum(claims.covers for claims in found)
    return (
        f"| {name} | {claim:.3f} | {low:.3f} to {high:.3f} | {truth:.3f} | {told} "
        f"| {covered} of {len(found)} | {seconds:.2f} |"
    )


def names_of(starts: Sequence[str]) -> list[str]:
    return sorted(folder.parent.name for folder in DATA.glob("*/scrib") if folder.parent.name.startswith(tuple(starts)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cases", default="", help="starts of names, e.g. a1,b2; the five of the bar, then others, by default"
    )
    parser.add_argument("--sparse", action="store_true", help="4 to 12 strokes per class on all images together")
    parser.add_argument("--each", action="store_true", help="a row for every set of strokes")
    told = parser.parse_args()
    chosen = names_of(told.cases.split(","))
    five = [name for name in chosen if name.startswith(FIVE)]
    others = [name for name in chosen if name not in five]
    reached = float("nan")
    print(HEAD)
    for what, names in (("five", five), ("others", others)):
        results: list[Claims] = []
        for name in names:
            found = measure(name, told.sparse, told.each)
            results += found
            print(row(name, found), flush=True)
        if results:
            print(row(f"**mean, {what}**", results), flush=True)
            reached = distance(results, "claim") if what == "five" else reached
    if len(five) == len(FIVE) and not told.sparse:
        print(f"\n{'PASS' if reached <= BAR else 'FAIL'} mean distance of the five {reached:.3f}, wanted {BAR} or less")


if __name__ == "__main__":
    main()
