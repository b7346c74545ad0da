"""What someone who paints asks (labels, a recipe), and the model that answers: training as a function of both."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from brushwork import training
from brushwork.classifier import Classifier
from brushwork.errors import InputError
from brushwork.estimators import estimator as estimator_named
from brushwork.features import FeatureSet
from brushwork.image import Image
from brushwork.labels import MAX_CLASSES, Labels, painted_classes
from brushwork.training import RowsOf

Examples = tuple[tuple[Image, Labels], ...]


@dataclass(frozen=True)
class Recipe:
    """How to train; equality answers whether a model is stale. The fields are those of training.train."""

    features: FeatureSet = field(default_factory=lambda: FeatureSet.preset("all"))
    channels: tuple[int | str, ...] | None = None
    estimator: str = "symmetric-forest"
    priors: str = "image"
    seed: int = 0

    def settled(self, images: Sequence[Image]) -> FeatureSet:
        """The resolved features that training on these images would take."""
        features = self.features
        for image in sorted(images, key=lambda i: min(i.shape)):
            features = features.resolved(image, channels=self.channels)
        return features


@dataclass(frozen=True, eq=False)
class Asked:
    """The newest labels and recipe.

    examples : images with labels of any class ids. classes : (id, name), in the order of probabilities.
    known : a model of all the classes that answers this already; then none is trained.
    since : time.perf_counter() of the asking.
    """

    generation: int = 0
    recipe: Recipe | None = None
    examples: Examples = ()
    classes: tuple[tuple[int, str], ...] = ()
    known: Classifier | None = None
    since: float = 0.0


@dataclass(frozen=True, eq=False)
class Answer:
    """The model that was trained on what was asked; none where fewer than two classes were painted.

    classes : ids of the painted classes, in the order of probabilities.
    """

    generation: int = 0
    model: Classifier | None = None
    classes: tuple[int, ...] = ()


def answer(asked: Asked, *, rows_of: RowsOf | None = None, threads: int | None = None) -> Answer:
    """Train as training.train does, on the painted classes only. Raises InputError as it does."""
    if asked.known is not None:
        return Answer(asked.generation, asked.known, tuple(number for number, _ in asked.classes))
    recipe = asked.recipe or Recipe()
    ids, names, examples = renumbered(asked.examples, asked.classes)
    if len(ids) < 2:
        return Answer(asked.generation)
    prepared = training.prepare(
        examples,
        recipe.features,
        classes=names,
        channels=recipe.channels,
        priors=recipe.priors,
        threads=threads,
        rows_of=rows_of,
    )
    return Answer(asked.generation, training.fit(prepared, recipe.estimator, seed=recipe.seed), ids)


def renumbered(
    examples: Sequence[tuple[Image, Labels]], classes: Sequence[tuple[int, str]]
) -> tuple[tuple[int, ...], tuple[str, ...], list[tuple[Image, Labels]]]:
    """(ids and names of the painted classes, the examples with these as classes 1, 2, ...).

    classes : (id, name) in the order of the new numbers. Raises InputError where a pixel's class is not among them.
    """
    counts = painted_classes(labels for _, labels in examples)
    painted = [(number, name) for number, name in classes if counts[number - 1]]
    unnamed = sorted(set((np.flatnonzero(counts) + 1).tolist()) - {number for number, _ in classes})
    if unnamed:
        raise InputError(f"pixels of class {unnamed} are painted, the classes are {dict(classes)}; name every class")
    ids = tuple(number for number, _ in painted)
    numbers = numbers_of(ids)
    same = [(image, Labels(t.shape, t.coords, numbers[t.classes], t.strokes)) for image, t in examples]
    return ids, tuple(name for _, name in painted), same


def numbers_of(ids: Sequence[int]) -> NDArray[np.uint8]:
    """(256,): 1, 2, ... for the class ids in this order, 0 for all others."""
    numbers = np.zeros(MAX_CLASSES + 1, np.uint8)
    numbers[list(ids)] = np.arange(1, len(ids) + 1)
    return numbers


def load(estimator: str, n_maps: int, n_classes: int) -> None:
    """Load an estimator's machine code, by fitting it to noise: half a second that the first stroke need not wait for."""
    rows = np.random.default_rng(0).random((64, n_maps), np.float32)
    fitted = estimator_named(estimator).fit(rows, np.arange(64) % n_classes, n_classes=n_classes, threads=1)
    fitted.predict(np.ascontiguousarray(rows.T))
