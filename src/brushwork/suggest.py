"""Which features to keep: held-out accuracy against the time that a set costs."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from brushwork.accuracy import folds_of, held_out_probabilities, measured
from brushwork.blocks import middle
from brushwork.errors import InputError
from brushwork.estimators import Estimator
from brushwork.estimators import estimator as estimator_named
from brushwork.features import Feature, FeatureSet, n_maps_of
from brushwork.image import Image
from brushwork.training import Prepared

PROBE_EDGE = {2: 256, 3: 48}  # pixels; the block on which cost is measured
KEEP_WITHIN = 0.01  # of the best balanced accuracy: what a smaller set may lose


@dataclass(frozen=True)
class Suggestion:
    """A set of features, its held-out balanced accuracy (nan: no class has two strokes) and its cost in ns per pixel."""

    features: FeatureSet
    accuracy: float
    cost: float


def suggest_features(
    prepared: Prepared, estimator: str | Estimator = "symmetric-forest", *, seed: int = 0
) -> list[Suggestion]:
    """Sets from the full one down to a single feature, each about two thirds of the one before.

    The least useful features go first: what a forest trained on the present set drew the least from, per unit of time. A scale
    that is already paid for makes its other families cheap, so features of one scale tend to stay together.
    Raises InputError where strokes do not suffice to hold any out.
    """
    recipe = estimator_named(estimator)
    fold = folds_of(prepared.table, prepared.n_classes)
    if (fold < 0).all():
        raise InputError(
            "suggesting features needs two strokes of some class, so that one can be held out; paint more strokes"
        )
    return list(_shrinking(prepared, recipe, fold, seed))


def best_small(suggestions: list[Suggestion]) -> Suggestion:
    """The cheapest set whose accuracy is within 0.01 of the best."""
    best = max(s.accuracy for s in suggestions)
    return min((s for s in suggestions if s.accuracy >= best - KEEP_WITHIN), key=lambda s: s.cost)


def _shrinking(prepared: Prepared, recipe: Estimator, fold: np.ndarray, seed: int) -> Iterator[Suggestion]:
    features = prepared.features.features
    span = _spans(prepared.features)
    kept = list(range(len(features)))
    while True:
        maps = [m for i in kept for m in span[i]]
        chosen = FeatureSet(tuple(features[i] for i in kept))
        probabilities = held_out_probabilities(prepared, recipe, fold, seed=seed, maps=maps)
        accuracy = measured(prepared.table, probabilities, prepared.classes).balanced
        yield Suggestion(chosen, accuracy, cost_of(chosen, prepared.image))
        if len(kept) == 1:
            return
        rows = np.ascontiguousarray(prepared.table.rows[:, maps])
        table = prepared.table
        fitted = recipe.fit(
            rows, table.y, n_classes=prepared.n_classes, strokes=table.strokes, seed=seed, threads=prepared.threads
        )
        weight = dict(zip(maps, fitted.importances().tolist()))
        worth = {
            i: sum(weight[m] for m in span[i]) / _marginal_cost(features[i], [features[j] for j in kept]) for i in kept
        }
        n = max(min(len(kept) * 2 // 3, len(kept) - 1), 1)
        kept = sorted(sorted(kept, key=lambda i: -worth[i])[:n])


def _spans(features: FeatureSet) -> list[range]:
    """The maps of each feature."""
    ends = np.cumsum([n_maps_of(f) * len(f.channels or ()) for f in features.features])
    return [range(int(end) - n_maps_of(f) * len(f.channels or ()), int(end)) for f, end in zip(features.features, ends)]


def _marginal_cost(feature: Feature, kept: list[Feature]) -> float:
    """Relative time of a feature, with the presmoothing of its scale shared among those that need it."""
    sharing = sum(f.sigma == feature.sigma and f.unit == feature.unit and f.in_2d == feature.in_2d for f in kept)
    own = {"gaussian": 1.0, "structure-tensor": 4.0, "hessian": 2.5}.get(feature.family, 1.5)
    return own + (2 + feature.sigma) / sharing


def cost_of(features: FeatureSet, image: Image) -> float:
    """ns per pixel on one thread, the best of three runs on a block in the middle of the image."""
    ndim = len(image.shape)
    box = middle(image.shape, (PROBE_EDGE[ndim],) * ndim)
    block = features.block(image, box)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        for _tile in features.tiles(image, block):
            pass
        times.append(time.perf_counter() - began)
    return min(times) / box.size * 1e9
