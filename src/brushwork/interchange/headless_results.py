"""What ilastik's headless mode exports: the values that a project gives for any region of an image."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.classifier import Classifier, WithProbabilities
from brushwork.errors import InputError, unknown
from brushwork.estimators import Estimator, estimator
from brushwork.features import FeatureSet
from brushwork.image import Image
from brushwork.interchange.headless_inputs import Input
from brushwork.interchange.ilp import IlpProject, version_key
from brushwork.interchange.ilp_images import labels_on, locate, open_dataset
from brushwork.interchange.ilp_models import NEW, OLD, classifier_of, feature_set, tell_dialect
from brushwork.labels import MAX_CLASSES, Labels, from_coords
from brushwork.training import Examples, fit, prepare

KINDS = ("Probabilities", "Simple Segmentation", "Uncertainty", "Features", "Labels")
ALL_STAGES = "Probabilities All Stages"
OF_OBJECTS = "Pixel Probabilities"  # what projects that go on to objects call them
FLOAT, BYTE = np.dtype(np.float32), np.dtype(np.uint8)
SEED = 0

Range = tuple[float, float]


def sources(project: IlpProject) -> tuple[str, ...]:
    """What can be exported of a project, the default first."""
    n = len(project.stages)
    if project.workflow.startswith("Object Classification"):
        return (OF_OBJECTS,)
    if n < 2:
        return KINDS
    return (*(f"{kind} Stage {i}" for i in range(n, 0, -1) for kind in (*KINDS, "Input")), ALL_STAGES)


# ---------------------------------------------------------------- classifiers


@dataclass(frozen=True, eq=False)
class Stage:
    """Features, and a classifier on them, None before it is trained.

    ndim, n_channels : of the images it is for. columns : which of a project's classes are the classifier's own, from 0; the others
    have probability 0.
    """

    features: FeatureSet = field(repr=False)
    ndim: int
    n_channels: int
    columns: tuple[int, ...]
    n_classes: int
    classifier: Classifier | None = field(default=None, repr=False)

    @property
    def trained(self) -> Classifier:
        assert self.classifier is not None
        return self.classifier

    def probabilities(self, image: Image, region: Region) -> NDArray[np.float32]:
        """(n_classes, *spatial) float32."""
        made = self.trained.predict_block(image, self.trained.block(image, region))
        if len(self.columns) == self.n_classes:
            return made
        out = np.zeros((self.n_classes, *made.shape[1:]), np.float32)
        out[list(self.columns)] = made
        return out


def has_classifiers(project: IlpProject) -> bool:
    return all(stage.classifier.forest is not None for stage in project.stages)


def stored_stages(project: IlpProject) -> tuple[Stage, ...]:
    """What ilastik trained. Images at hand tell how a project from before 1.3 computed its structure tensor."""
    told = tell_dialect(project, _at_hand(project)) if version_key(project.version) < (1, 3) else NEW
    dialect = OLD if told is None else told
    numbers = range(1, len(project.stages) + 1)
    return tuple(_stored(project, classifier_of(project, stage=n, dialect=dialect), n) for n in numbers)


def _stored(project: IlpProject, classifier: Classifier, number: int) -> Stage:
    n = len(project.stages[number - 1].classes)
    return Stage(classifier.features, classifier.ndim, len(classifier.channel_names), tuple(range(n)), n, classifier)


def _at_hand(project: IlpProject) -> list[tuple[Image, Labels]]:
    """Images of the project that are found, with their labels."""
    found: list[tuple[Image, Labels]] = []
    for lane, labels in zip(project.lanes, project.stage(1).labels):
        if lane.raw is not None and len(labels):
            with suppress(InputError):
                image = open_dataset(project, lane.raw)
                found.append((image, labels_on(image, labels)))
    return found


def stored_for(project: IlpProject, stored: Sequence[Stage], image: Image) -> tuple[Stage, ...]:
    """`stored_stages` for an image, which may have other axes than the training data had: 2D features suit stacks, say.

    Raises InputError where they do not suit it.
    """
    try:
        return checked_for(project, stored, image)
    except InputError as refused:
        nothing = from_coords(np.zeros((0, len(image.shape)), np.int64), np.zeros(0, np.uint8), image.shape)
        dialect = OLD if any(f.dialect == OLD for f in stored[0].features.features) else NEW
        made = partial(classifier_of, project, dialect=dialect, examples=[(image, nothing)])
        try:
            return tuple(_stored(project, made(stage=n), n) for n in range(1, len(stored) + 1))
        except InputError:
            raise refused from None


def checked_for(project: IlpProject, stages: Sequence[Stage], image: Image) -> tuple[Stage, ...]:
    """The same stages; raises InputError where the image has other dimensions or channels than theirs."""
    first = stages[0]
    if (first.ndim, first.n_channels) != (len(image.shape), len(image.channel_names)):
        raise InputError(
            f"{image.uri} has {len(image.channel_names)} channel(s) in {len(image.shape)}D, {project.path} was trained on "
            f"{first.n_channels} in {first.ndim}D; say what the axes are with --input_axes"
        )
    return tuple(stages)


@dataclass(frozen=True)
class Training:
    """Settings of a new forest. trees : how many, None for the default. proportion : of the painted pixels that it sees, 0 to 1."""

    trees: int | None = None
    proportion: float | None = None


DEFAULT_TRAINING = Training()


@dataclass(frozen=True, eq=False)
class Lessons:
    """All that new forests are trained with. stages : not trained yet. examples : those of every stage."""

    stages: tuple[Stage, ...]
    examples: tuple[Examples, ...]
    recipe: Estimator


def lessons_of(project: IlpProject, training: Training = DEFAULT_TRAINING) -> Lessons:
    """What forests of our own learn from a project.

    Raises InputError where an image that is painted is not found, or fewer than two classes are painted.
    """
    recipe = estimator("symmetric-forest", **({"trees": training.trees} if training.trees else {}))
    images: dict[int, Image] = {}
    for k, lane in enumerate(project.lanes):
        if lane.raw is not None and any(k < len(stage.labels) and len(stage.labels[k]) for stage in project.stages):
            images[k] = open_dataset(project, lane.raw)
    stages: list[Stage] = []
    examples: list[Examples] = []
    for stage in project.stages:
        if stage.features is None:
            raise InputError(f"{project.path} says of no features; open it in ilastik and select some")
        painted = [
            (image, _sampled(labels_on(image, stage.labels[k]), training.proportion)) for k, image in images.items()
        ]
        painted = [(image, labels) for image, labels in painted if len(labels)]
        used = sorted({int(c) - 1 for _, labels in painted for c in np.unique(labels.classes)})
        if len(used) < 2:
            raise InputError(
                f"{project.path} has no labels to train on: {len(used)} of its classes are painted, two are needed; "
                "paint some in ilastik, or after brushwork import"
            )
        ndim, n_channels = len(painted[0][0].shape), len(painted[0][0].channel_names)
        n_seen = n_channels + (len(stages[-1].columns) if stages else 0)
        features = feature_set(stage.features, ndim, n_seen)
        stages.append(Stage(features, ndim, n_channels, tuple(used), len(stage.classes)))
        examples.append(painted)
    return Lessons(tuple(stages), tuple(examples), recipe)


def trained_stages(lessons: Lessons, *, threads: int | None = None) -> tuple[Stage, ...]:
    """The stages with forests of our own."""
    found: list[Stage] = []
    for stage, painted in zip(lessons.stages, lessons.examples):
        earlier = found[-1].classifier if found else None
        number_of = np.zeros(MAX_CLASSES + 1, np.uint8)
        number_of[[c + 1 for c in stage.columns]] = np.arange(1, len(stage.columns) + 1)
        seen = [
            (
                WithProbabilities(image, earlier) if earlier else image,
                replace(labels, classes=number_of[labels.classes]),
            )
            for image, labels in painted
        ]
        names = [f"class {c + 1}" for c in stage.columns]
        rows = prepare(seen, stage.features, classes=names, priors="strokes", threads=threads)
        made = fit(rows, lessons.recipe, seed=SEED)
        if earlier:
            made = replace(made, earlier=earlier, channel_names=earlier.channel_names)
        found.append(replace(stage, classifier=made))
    return tuple(found)


def _sampled(labels: Labels, proportion: float | None) -> Labels:
    if proportion is None:
        return labels
    return labels.chosen(np.random.default_rng(SEED).random(len(labels)) < proportion)


# ---------------------------------------------------------------- results


@dataclass(frozen=True, eq=False)
class Result:
    """What a source gives for an image.

    values(region) : (n_channels, *spatial) of dtype. drange : its smallest and largest value, None where they are not known.
    classifier, output : what tells how much memory a block takes (jobs.block_edge); None where that is next to nothing.
    """

    name: str
    n_channels: int
    dtype: np.dtype
    values: Callable[[Region], NDArray[Any]]
    classifier: Classifier | None = None
    output: str = "probabilities"
    drange: Range | None = None

    @property
    def is_classes(self) -> bool:
        return self.name.startswith(("Simple Segmentation", "Labels"))


def source_named(project: IlpProject, name: str) -> str:
    """The source of that name, whatever its case; "" is the default."""
    known = {source.lower(): source for source in sources(project)}
    if name and name.lower() not in known:
        raise unknown("export source", name, known.values())
    if not name and OF_OBJECTS in known.values():
        raise InputError(
            f"{project.path} exports objects, which are not made here; give --export_source={OF_OBJECTS!r} for its pixels"
        )
    return known[name.lower()] if name else sources(project)[0]


def result_of(project: IlpProject, name: str, stages: Sequence[Stage], given: Input) -> Result:
    """name : of `sources`. stages : values can be had once they are trained, all else before."""
    image = given.image
    if name == ALL_STAGES:
        n = sum(stage.n_classes for stage in stages)
        return Result(name, n, FLOAT, partial(_all_masked, stages, given), stages[-1].classifier, drange=(0, 1))
    kind, _, number = name.partition(" Stage ")
    place = int(number or 1) - 1
    if kind == "Labels":
        return Result(name, 1, BYTE, partial(_painted, _labels(project, place, given)))
    if kind == "Input" and place == 0:
        return Result(name, len(image.channel_names), image.dtype, image.stored)
    if kind == "Input":
        before = stages[place - 1]
        n = len(image.channel_names) + len(before.columns)
        return Result(name, n, image.dtype, partial(_input, before, image), before.classifier)
    stage = stages[place]
    work, made = stage.classifier, partial(_masked, stage, given)
    if kind == "Features":
        return Result(name, stage.features.n_maps, FLOAT, partial(_features, stage, image), work, "features")
    if kind == "Simple Segmentation":
        return Result(name, 1, BYTE, lambda r: _largest(made(r)), work)
    if kind == "Uncertainty":
        return Result(name, 1, FLOAT, lambda r: _uncertainty(made(r)), work, drange=(0, 1))
    return Result(name, stage.n_classes, FLOAT, made, work, drange=(0, 1))


def _masked(stage: Stage, given: Input, region: Region) -> NDArray[np.float32]:
    """Probabilities, 0 where the mask is."""
    if given.mask is None:
        return stage.probabilities(given.image, region)
    inside = given.mask.stored(region).astype(bool).any(axis=0)
    if not inside.any():
        return np.zeros((stage.n_classes, *region.shape), np.float32)
    return stage.probabilities(given.image, region) * inside


def _all_masked(stages: Sequence[Stage], given: Input, region: Region) -> NDArray[np.float32]:
    return np.concatenate([_masked(stage, given, region) for stage in stages])


def _input(before: Stage, image: Image, region: Region) -> NDArray[Any]:
    """What the stage after `before` sees."""
    return WithProbabilities(image, before.trained).read(region).astype(image.dtype)


def _largest(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Classes from 1; where all are 0, as outside of a mask, that is 1."""
    return (probabilities.argmax(0) + 1)[np.newaxis].astype(np.uint8)


def _uncertainty(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(probabilities) == 1:
        return 1 - probabilities
    top = np.partition(probabilities, -2, axis=0)[-2:]
    return 1 - (top[1] - top[0])[np.newaxis]


def _features(stage: Stage, image: Image, region: Region) -> NDArray[np.float32]:
    seen = stage.trained.seen(image)
    return stage.features.at(seen, stage.features.block(seen, region))


def _labels(project: IlpProject, place: int, given: Input) -> Labels | None:
    """What is painted on an image of the project; None on others."""
    mine = [str(Path(file).absolute()) for file in given.files]
    for k, lane in enumerate(project.lanes):
        if lane.raw is not None and (found := locate(project, lane.raw)) is not None:
            theirs = [str(Path(uri).absolute()) for uri in found.uris]
            if mine == theirs and k < len(project.stages[place].labels):
                return labels_on(given.image, project.stages[place].labels[k])
    return None


def _painted(labels: Labels | None, region: Region) -> NDArray[np.uint8]:
    out = np.zeros((1, *region.shape), np.uint8)
    if labels is not None:
        here = labels.inside(region)
        out[(0, *(here.positions - region.start).T)] = here.classes
    return out
