"""What ilastik's headless mode exports: the values that a project gives for any region of an image."""

from collections.abc import Callable, Sequence
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
from brushwork.image import Image
from brushwork.interchange.headless_inputs import Input
from brushwork.interchange.ilp import IlpFeatures, IlpProject, version_key
from brushwork.interchange.ilp_images import labels_on, locate, open_dataset
from brushwork.interchange.ilp_models import NEW, OLD, classifier_of, feature_set
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
    """A classifier, and which of a project's classes its own are; the others have probability 0."""

    classifier: Classifier = field(repr=False)
    columns: tuple[int, ...]
    n_classes: int

    def probabilities(self, image: Image, region: Region) -> NDArray[np.float32]:
        """(n_classes, *spatial) float32."""
        made = self.classifier.predict_block(image, self.classifier.block(image, region))
        if len(self.columns) == self.n_classes:
            return made
        out = np.zeros((self.n_classes, *made.shape[1:]), np.float32)
        out[list(self.columns)] = made
        return out


@dataclass(frozen=True)
class Training:
    """Settings of a new forest. trees : how many, None for the default. proportion : of the painted pixels that it sees, 0 to 1."""

    trees: int | None = None
    proportion: float | None = None


DEFAULT_TRAINING = Training()


def has_classifiers(project: IlpProject) -> bool:
    return all(stage.classifier.forest is not None for stage in project.stages)


def stored_stages(project: IlpProject, image: Image) -> tuple[Stage, ...]:
    """What ilastik trained, for images like this one."""
    found = []
    for number, stage in enumerate(project.stages, 1):
        classifier = _stored_classifier(project, number, image)
        found.append(Stage(classifier, tuple(range(len(stage.classes))), len(stage.classes)))
    return tuple(found)


def _stored_classifier(project: IlpProject, number: int, image: Image) -> Classifier:
    dialect = OLD if version_key(project.version) < (1, 3) else NEW
    trained = classifier_of(project, stage=number, dialect=dialect)
    if (trained.ndim, len(trained.channel_names)) == (len(image.shape), len(image.channel_names)):
        return trained
    nothing = from_coords(np.zeros((0, len(image.shape)), np.int64), np.zeros(0, np.uint8), image.shape)
    try:
        return classifier_of(project, stage=number, dialect=dialect, examples=[(image, nothing)])
    except InputError:
        raise InputError(
            f"{image.uri} has {len(image.channel_names)} channel(s) in {len(image.shape)}D, {project.path} was trained on "
            f"{len(trained.channel_names)} in {trained.ndim}D; say what the axes are with --input_axes"
        ) from None


def trained_stages(
    project: IlpProject, training: Training = DEFAULT_TRAINING, *, threads: int | None = None
) -> tuple[Stage, ...]:
    """Forests of our own, trained on the painted pixels of a project.

    Raises InputError where an image that is painted is not found, or fewer than two classes are painted.
    """
    images: dict[int, Image] = {}
    for k, lane in enumerate(project.lanes):
        if lane.raw is not None and any(k < len(stage.labels) and len(stage.labels[k]) for stage in project.stages):
            images[k] = open_dataset(project, lane.raw)
    recipe = estimator("symmetric-forest", **({"trees": training.trees} if training.trees else {}))
    found: list[Stage] = []
    for stage in project.stages:
        if stage.features is None:
            raise InputError(f"{project.path} says of no features; open it in ilastik and select some")
        painted = [
            (image, _sampled(labels_on(image, stage.labels[k]), training.proportion)) for k, image in images.items()
        ]
        earlier = found[-1].classifier if found else None
        classifier, used = _trained(stage.features, painted, earlier, recipe, threads)
        found.append(Stage(classifier, tuple(c - 1 for c in used), len(stage.classes)))
    return tuple(found)


def _trained(
    selected: IlpFeatures, painted: Examples, earlier: Classifier | None, recipe: Estimator, threads: int | None
) -> tuple[Classifier, list[int]]:
    """A classifier of the classes that are painted, and their numbers, from 1."""
    used = sorted({int(c) for _, labels in painted for c in np.unique(labels.classes)})
    number_of = np.zeros(MAX_CLASSES + 1, np.uint8)
    number_of[used] = np.arange(1, len(used) + 1)
    examples = [
        (WithProbabilities(image, earlier) if earlier else image, replace(labels, classes=number_of[labels.classes]))
        for image, labels in painted
        if len(labels)
    ]
    if not examples:
        raise InputError("the project has no labels to train on; paint some in ilastik, or after brushwork import")
    first = examples[0][0]
    features = feature_set(selected, len(first.shape), len(first.channel_names))
    names = [f"class {c}" for c in used]
    made = fit(prepare(examples, features, classes=names, priors="strokes", threads=threads), recipe, seed=SEED)
    return (replace(made, earlier=earlier, channel_names=earlier.channel_names) if earlier else made), used


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
    """name : of `sources`."""
    image = given.image
    if name == ALL_STAGES:
        parts = [partial(_masked, stage, given) for stage in stages]
        n = sum(stage.n_classes for stage in stages)
        last = stages[-1].classifier
        return Result(name, n, FLOAT, lambda r: np.concatenate([p(r) for p in parts]), last, drange=(0, 1))
    kind, _, number = name.partition(" Stage ")
    place = int(number or 1) - 1
    if kind == "Labels":
        return Result(name, 1, BYTE, partial(_painted, _labels(project, place, given)))
    if kind == "Input" and place == 0:
        return Result(name, len(image.channel_names), image.dtype, image.stored)
    if kind == "Input":
        before = stages[place - 1].classifier
        seen = WithProbabilities(image, before)
        return Result(name, len(seen.channel_names), image.dtype, lambda r: seen.read(r).astype(image.dtype), before)
    work, made = stages[place].classifier, partial(_masked, stages[place], given)
    if kind == "Features":
        return Result(name, work.features.n_maps, FLOAT, partial(_features, work, image), work, "features")
    if kind == "Simple Segmentation":
        return Result(name, 1, BYTE, lambda r: _largest(made(r)), work)
    if kind == "Uncertainty":
        return Result(name, 1, FLOAT, lambda r: _uncertainty(made(r)), work, drange=(0, 1))
    return Result(name, stages[place].n_classes, FLOAT, made, work, drange=(0, 1))


def _masked(stage: Stage, given: Input, region: Region) -> NDArray[np.float32]:
    """Probabilities, 0 where the mask is."""
    if given.mask is None:
        return stage.probabilities(given.image, region)
    inside = given.mask.stored(region).astype(bool).any(axis=0)
    if not inside.any():
        return np.zeros((stage.n_classes, *region.shape), np.float32)
    return stage.probabilities(given.image, region) * inside


def _largest(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Classes from 1; where all are 0, as outside of a mask, that is 1."""
    return (probabilities.argmax(0) + 1)[np.newaxis].astype(np.uint8)


def _uncertainty(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(probabilities) == 1:
        return 1 - probabilities
    top = np.partition(probabilities, -2, axis=0)[-2:]
    return 1 - (top[1] - top[0])[np.newaxis]


def _features(classifier: Classifier, image: Image, region: Region) -> NDArray[np.float32]:
    seen = image if classifier.earlier is None else WithProbabilities(image, classifier.earlier)
    return classifier.features.at(seen, classifier.block(seen, region))


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
