"""A project for ilastik: its images as links, what is painted, its features as far as ilastik knows them, and its forest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.classifier import Classifier
from brushwork.document import ImageEntry, Task
from brushwork.errors import InputError, unknown
from brushwork.estimators.tree_forest import TreeForest, VigraForest
from brushwork.features import LARGEST_SIGMA, SIGMAS, Feature, FeatureSet, n_maps_of
from brushwork.image import SPATIAL, Image
from brushwork.image import n_channels as channels_of
from brushwork.interchange.ilp import IlpClass, IlpClassifier, IlpDataset, IlpFeatures, IlpLabels, IlpLane, IlpStage
from brushwork.interchange.ilp_links import LINKS, dataset_of, without_pixels
from brushwork.interchange.ilp_models import IDS, feature_set, ilp_features
from brushwork.interchange.ilp_writer import write_ilp
from brushwork.interchange.ordinary_trees import ordinary_trees
from brushwork.project import Project
from brushwork.scalespace import family

SAME = 1e-3  # two sigmas that differ by less, relatively, are one
SCALES = (0.3, *SIGMAS)  # columns that ilastik always shows


@dataclass(frozen=True)
class Exported:
    """What was written. notes : what ilastik cannot hold, and what was done instead, in words."""

    path: Path
    n_images: int
    n_pixels: int
    n_trees: int
    notes: tuple[str, ...]


def export_ilp(
    project: Project,
    path: str | Path,
    *,
    task: str = "",
    links: str = "relative",
    threads: int | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a project that ilastik 1.4 opens, with the forest of what is painted now.

    links : one of LINKS. "relative" holds for images below the folder of `path`, others are linked by their full path;
    "embedded" puts painted images of at most a gigabyte into the file.

    Raises
    ------
    InputError, RunError
        where the file exists or cannot be written, or an image can be neither linked nor put into the file.
    """
    if links not in LINKS:
        raise unknown("kind of link", links, LINKS)
    path = Path(path).expanduser()
    if path.suffix != ".ilp":
        raise InputError(f"an ilastik project is a file NAME.ilp; {path} was given")
    document = project.document
    there = document.task(task)
    notes: list[str] = []
    painted = tuple(_painted(project, there, entry) for entry in document.images)
    lanes = []
    embedded: dict[str, Image] = {}
    for entry, labels in zip(document.images, painted):
        how = "relative" if links == "embedded" and not len(labels) else links
        raw = _dataset(project, entry, path, how, embedded, notes)
        mask = _dataset(project, entry.mask, path, how, embedded, notes) if entry.mask is not None else None
        lanes.append(IlpLane(raw, mask))
    if any(len(project.labels(there.name, e.id, check=True)) for e in document.images):
        notes.append("what is painted for checking only was left out: ilastik would train on it")
    model = _model(project, there, threads, notes)
    features, forest = _learnt(project, there, model, notes)
    classes = tuple(IlpClass(c.name, c.color, c.map_color) for c in there.classes)
    classifier = IlpClassifier(
        n_trees=len(forest.roots) if forest is not None and _is_ilastiks(model) else None,
        forest=forest,
        class_weights=_weights(there, model),
    )
    write_ilp(path, lanes, IlpStage(classes, painted, features, classifier), embedded=embedded, overwrite=overwrite)
    n_trees = 0 if forest is None else len(forest.roots)
    return Exported(path, len(lanes), sum(map(len, painted)), n_trees, tuple(notes))


def _dataset(
    project: Project, entry: ImageEntry, path: Path, links: str, embedded: dict[str, Image], notes: list[str]
) -> IlpDataset:
    """An image or a mask as an input; what goes inside is added to `embedded`."""
    data = dataset_of(project, entry, path, links, notes)
    if data.location == "embedded":
        embedded[data.key] = project.image(entry.id)
    return replace(data, nickname=entry.nickname or data.nickname)


def _painted(project: Project, task: Task, entry: ImageEntry) -> IlpLabels:
    """What is painted on an image; classes are numbered in display order."""
    labels = project.labels(task.name, entry.id)
    number = np.zeros(256, np.uint8)
    for k, paint_class in enumerate(task.classes, 1):
        number[paint_class.id] = k
    axes = ("t" if entry.n_frames > 1 else "") + SPATIAL[-len(entry.shape) :]
    return IlpLabels(axes, labels.coords, number[labels.classes])


def _weights(task: Task, model: Classifier | None) -> tuple[float, ...]:
    """Of every class of a task, 1 where the model does not know it; empty where nothing is weighted."""
    if model is None or not model.class_weights:
        return ()
    known = dict(zip(model.classes, model.class_weights))
    return tuple(known.get(c.name, 1.0) for c in task.classes)


def _is_ilastiks(model: Classifier | None) -> bool:
    return model is not None and isinstance(model.estimator, VigraForest)


# ---------------------------------------------------------------- features and forest


def _model(project: Project, task: Task, threads: int | None, notes: list[str]) -> Classifier | None:
    try:
        return project.model(task.name, threads=threads)
    except InputError as error:
        notes.append(f"there is no forest in it: {error}")
        return None


@dataclass(frozen=True)
class Asked:
    """What a task measures. features : resolved. ndim, n_channels, pixel_size : of its images."""

    features: FeatureSet
    ndim: int
    n_channels: int
    pixel_size: tuple[float, ...] | None


def _asked(project: Project, task: Task, model: Classifier | None) -> Asked:
    """Raises InputError where no image settles it, or its features do not fit."""
    if model is not None:
        return Asked(model.features, model.ndim, len(model.channel_names), model.pixel_size)
    if not project.document.images:
        raise InputError("there is no image that would settle them")
    image = without_pixels(project.document.images[0])
    features = FeatureSet.parse(task.features).resolved(image, channels=task.channels)
    return Asked(features, len(image.shape), channels_of(image), image.pixel_size)


def _learnt(
    project: Project, task: Task, model: Classifier | None, notes: list[str]
) -> tuple[IlpFeatures | None, VigraForest | None]:
    """The features that ilastik can compute, and the forest if it asks of no others."""
    try:
        asked = _asked(project, task, model)
    except InputError as error:
        notes.append(f"there are no features in it: {error}")
        return None, None
    known, problems = _expressed(asked)
    notes += problems
    if not known:
        return None, None
    everywhere = tuple(dict.fromkeys(replace(f, channels=None) for f in known))
    selected = _with_usual_scales(ilp_features(FeatureSet(everywhere), ndim=asked.ndim), asked.ndim)
    if model is None:
        return selected, None
    if problems:
        notes.append("the forest was left out, as it asks of these features; ilastik grows its own of the labels")
        return selected, None
    forest = ordinary_trees(model.estimator) if model.earlier is None else None
    if forest is None:
        what = model.estimator.kind if model.earlier is None else "a second stage"
        notes.append(f"{what} was left out: ilastik knows forests of one stage only, and grows its own of the labels")
        return selected, None
    theirs = feature_set(selected, asked.ndim, asked.n_channels)
    if theirs.n_maps > asked.features.n_maps:
        notes.append("ilastik computes every feature on every channel: more than the forest asks of")
    number = {key: i for i, key in enumerate(_keys(theirs.features, asked.ndim))}
    columns = np.array([number[key] for key in _keys(known, asked.ndim)])
    return selected, _for_ilastik(forest, columns, theirs.n_maps, [c.name for c in task.classes], model)


def _expressed(asked: Asked) -> tuple[list[Feature], list[str]]:
    """The features that ilastik can compute, in its pixels, and what keeps it from the others, in words."""
    known: list[Feature] = []
    problems: dict[str, list[str]] = {}
    for feature in asked.features.features:
        sigmas = feature.sigmas(asked.pixel_size, asked.ndim)[-2 if feature.in_2d else -asked.ndim :]
        sigma = float(f"{sigmas[0]:.6g}") if feature.unit == "um" else feature.sigma
        if feature.family not in IDS:
            reason = "left out, as ilastik has no such family"
        elif max(sigmas) > min(sigmas) * (1 + SAME):
            reason = "left out, as ilastik's sigmas are the same number of pixels along every axis"
        elif not family(feature.family).smallest_sigma <= sigma <= LARGEST_SIGMA:
            reason = f"left out, as ilastik takes no sigma of {sigma:g} pixels"
        elif any(f.sigma == sigma and f.in_2d != feature.in_2d for f in known):
            reason = "left out, as ilastik takes a sigma either in 2D or in 3D"
        else:
            known.append(replace(feature, sigma=sigma, unit="px"))
            reason = "computed as before ilastik 1.3, which ilastik 1.4 does otherwise" if feature.dialect else ""
        if reason:
            problems.setdefault(reason, []).append(feature.label())
    return known, [f"{_some(labels)}: {reason}" for reason, labels in problems.items()]


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")


def _with_usual_scales(selected: IlpFeatures, ndim: int) -> IlpFeatures:
    """The selection with the columns that ilastik always shows, those that are not used in 2D for images in 2D."""
    columns = dict(zip(selected.scales, zip(selected.in_2d or (), zip(*selected.chosen))))
    none = (False,) * len(selected.ids)
    every = sorted(columns.keys() | set(SCALES))
    flat, chosen = zip(*(columns.get(sigma, (ndim == 2, none)) for sigma in every))
    return IlpFeatures(selected.ids, tuple(every), tuple(zip(*chosen)), flat)


def _keys(features: Sequence[Feature], ndim: int) -> list[tuple[Any, ...]]:
    """What each map measures."""
    return [
        (f.family, f.sigma, f.in_2d or ndim == 2, c, k)
        for f in features
        for c in f.channels or ()
        for k in range(n_maps_of(f, ndim))
    ]


def _for_ilastik(
    forest: TreeForest, columns: NDArray[np.integer], n_maps: int, names: list[str], model: Classifier
) -> VigraForest:
    """The forest, asking of ilastik's maps and voting for all classes of a task.

    columns : of each of its maps, which one that is in ilastik's order.
    """
    leaves = np.zeros((len(forest.feature), len(names)), np.float32)
    leaves[:, [names.index(name) for name in model.classes]] = forest.leaves
    importances = np.zeros(n_maps, np.float32)
    importances[columns] = forest.weights
    sizes = forest.forests if isinstance(forest, VigraForest) and not model.class_weights else [len(forest.roots)]
    return VigraForest(
        feature=np.where(forest.feature < 0, forest.feature, columns[forest.feature]).astype(np.int32),
        threshold=forest.threshold,
        children=forest.children,
        leaves=leaves,
        roots=forest.roots,
        weights=importances,
        forests=np.asarray(sizes, np.int32),
    )
