"""Classifiers from ilastik's projects: its selection of features and its trained forest, which give its probabilities.

Before ilastik 1.3 the two scales of the structure tensor were the other way round (vigra computed the filters, later
fastfilters). The version says mostly which it was; where an image and its labels are at hand, the forest itself does: its
thresholds lie half-way between feature values of painted pixels.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from brushwork.classifier import Classifier
from brushwork.errors import InputError, unknown
from brushwork.features import DIALECTS, Feature, FeatureSet, n_maps_of
from brushwork.image import Image
from brushwork.image import n_channels as channels_of
from brushwork.interchange.ilp import FEATURE_IDS, IlpFeatures, IlpProject, IlpStage, version_key
from brushwork.interchange.ilp_images import labels_on
from brushwork.labels import Labels, from_coords
from brushwork.project import IMPORTED
from brushwork.training import training_rows

NEW, OLD = DIALECTS
NEIGHBOURS = 6  # a threshold lies between values this near in rank; a tree saw a sample of them
NEAR = 2e-6  # of the largest value: how exactly a threshold has to lie half-way
LEAST_MATCHES, CLEARLY = 5, 2.0
IDS = {name: identifier for identifier, name in FEATURE_IDS.items()}
Examples = Sequence[tuple[Image, Labels]]


def feature_set(selected: IlpFeatures, ndim: int, n_channels: int, *, dialect: str = NEW) -> FeatureSet:
    """The features of a selection, resolved for images of `ndim` spatial axes; their order of maps is ilastik's.

    dialect : "ilastik<1.3" computes the structure tensor as it was before 1.3.
    """
    if dialect not in DIALECTS:
        raise unknown("dialect", dialect, [repr(d) for d in DIALECTS])
    in_2d = selected.in_2d or (False,) * len(selected.scales)
    features = []
    for identifier, row in zip(selected.ids, selected.chosen):
        for sigma, flat, chosen in zip(selected.scales, in_2d, row):
            if chosen:
                family = FEATURE_IDS[identifier]
                special = dialect if family == "structure-tensor" else NEW
                features.append(Feature(family, sigma, "px", tuple(range(n_channels)), flat or ndim == 2, special))
    return FeatureSet(tuple(features))


def ilp_features(features: FeatureSet, *, ndim: int = 2) -> IlpFeatures:
    """The selection in ilastik's form; the inverse of `feature_set`.

    ndim : of the images, in 2D every scale is.
    Raises InputError where ilastik cannot say it: other families, micrometres, or some of the channels.
    """
    for f in features.features:
        if f.family not in IDS:
            raise unknown("feature family of ilastik", f.family, IDS)
        if f.unit != "px":
            raise InputError(f"{f.label()} is given in micrometres, ilastik knows pixels only; give it in pixels")
    if len({f.channels for f in features.features}) > 1:
        raise InputError("the features are computed on different channels, ilastik computes all on every channel")
    columns = sorted({(f.sigma, bool(f.in_2d) or ndim == 2) for f in features.features})
    asked = {(f.family, f.sigma, bool(f.in_2d) or ndim == 2) for f in features.features}
    return IlpFeatures(
        tuple(FEATURE_IDS),
        tuple(sigma for sigma, _ in columns),
        tuple(tuple((family, *column) in asked for column in columns) for family in FEATURE_IDS.values()),
        tuple(flat for _, flat in columns),
    )


def classifier_of(
    project: IlpProject,
    *,
    stage: int | None = None,
    dialect: str | None = None,
    examples: Examples = (),
) -> Classifier:
    """What ilastik trained, as a classifier that answers with ilastik's probabilities.

    stage : 1 or 2 in Autocontext, the last without it; the second holds the first.
    dialect : of the structure tensor, see `feature_set`; None decides by the version, or by `examples`.
    examples : images of the project with their labels (of stage 1); they also tell dimensions and channels.

    Raises
    ------
    InputError
        where the project has no such stage, or holds no forest for it.
    """
    chosen = project.stage(stage)
    number = stage or len(project.stages)
    if chosen.classifier.forest is None:
        reason = chosen.classifier.problem or "it was never trained, or saved without its classifier"
        raise InputError(f"{project.path} holds no classifier that can be used: {reason}; train one on its labels")
    if chosen.features is None:
        raise InputError(f"{project.path} says of no features; train a classifier on its labels")
    if dialect is None:
        dialect = tell_dialect(project, examples) if examples else None
        dialect = dialect if dialect is not None else OLD if version_key(project.version) < (1, 3) else NEW
    earlier = classifier_of(project, stage=number - 1, dialect=dialect, examples=examples) if number > 1 else None
    if earlier is not None:
        ndim, names, axes = earlier.ndim, earlier.channel_names, earlier.axes
    else:
        ndim, names, axes = _images(project, chosen, examples)
    n_channels = len(names) + (earlier.n_classes if earlier is not None else 0)
    features = feature_set(chosen.features, ndim, n_channels, dialect=dialect)
    forest = chosen.classifier.forest
    if features.n_maps != forest.n_maps:
        raise InputError(
            f"{project.path} has a forest for {forest.n_maps} maps, its features are {features.n_maps} on {len(names)} "
            f"channel(s) in {ndim}D; train a classifier on its labels"
        )
    return Classifier(
        features=features,
        classes=distinct([c.name for c in chosen.classes]),
        estimator=forest,
        ndim=ndim,
        colors=tuple(c.map_color for c in chosen.classes),
        channel_names=names,
        axes=axes,
        class_weights=chosen.classifier.class_weights,
        provenance=_provenance(project, chosen),
        earlier=earlier,
    )


def _images(project: IlpProject, stage: IlpStage, examples: Examples) -> tuple[int, tuple[str, ...], str]:
    """Spatial axes, channels' names and axes of the images that a first stage was trained on."""
    if examples:
        image = examples[0][0]
        return len(image.shape), tuple(image.channel_names), image.axes
    assert stage.features is not None
    assert stage.classifier.forest is not None
    data = next((lane.raw for lane in project.lanes if lane.raw is not None), None)
    axes = data.axes if data is not None else ""
    deep, n_channels = (data.length("z"), data.length("c")) if data is not None else (None, None)
    for ndim in (2, 3) if deep == 1 else (3, 2) if deep is None else (3,):
        per_channel = feature_set(stage.features, ndim, 1).n_maps
        n = n_channels or stage.classifier.forest.n_maps // per_channel
        if n * per_channel == stage.classifier.forest.n_maps:
            names = tuple(f"channel {i}" for i in range(n)) if n > 1 else ("intensity",)
            return ndim, names, _axes_of(axes, ndim, n)
    raise InputError(
        f"{project.path} has a forest for {stage.classifier.forest.n_maps} maps, which its features on images with "
        f"the axes {axes!r} cannot give; train a classifier on its labels"
    )


def _axes_of(axes: str, ndim: int, n_channels: int) -> str:
    """ilastik's axes without those of length 1 that it adds."""
    if not axes:
        return ("zyx" if ndim == 3 else "yx") + ("c" if n_channels > 1 else "")
    return "".join(a for a in axes if not (a == "z" and ndim == 2) and not (a == "c" and n_channels == 1))


def distinct(names: list[str]) -> tuple[str, ...]:
    """Names that are each used once: classes may share one in ilastik."""
    found: list[str] = []
    for name in names:
        n, free = 2, name
        while free in found:
            free, n = f"{name} ({n})", n + 1
        found.append(free)
    return tuple(found)


def _provenance(project: IlpProject, stage: IlpStage) -> dict:
    names = distinct([c.name for c in stage.classes])
    strokes = np.zeros(len(names), int)
    for found in stage.labels:
        if len(found):
            labels = from_coords(found.coords, found.classes, ())
            strokes += np.bincount(_class_of_strokes(labels), minlength=len(names) + 1)[1:]
    return {
        "estimator": "vigra-forest",
        "software": f"ilastik {project.version}",
        IMPORTED: project.path.name,
        "images": [lane.raw.nickname for lane in project.lanes if lane.raw is not None],
        "pixels": dict(zip(names, stage.counts)),
        "strokes": dict(zip(names, strokes.tolist())),
    }


def _class_of_strokes(labels: Labels) -> NDArray[np.uint8]:
    _, first = np.unique(labels.strokes, return_index=True)
    return labels.classes[first]


# ---------------------------------------------------------------- dialects


def examples_of(project: IlpProject, images: Sequence[Image | None], *, stage: int = 1) -> list[tuple[Image, Labels]]:
    """(image, labels) of every lane that has both. images : one per lane, None for those that are not at hand."""
    found = zip(images, project.stage(stage).labels)
    return [(image, labels_on(image, labels)) for image, labels in found if image is not None and len(labels)]


def tell_dialect(project: IlpProject, examples: Examples) -> str | None:
    """How the structure tensor was computed when the first stage was trained; None where the forest does not tell.

    For either way of computing it, counts the forest's thresholds that lie half-way between two feature values of painted
    pixels that are near in rank.
    """
    stage = project.stage(1)
    forest, selected = stage.classifier.forest, stage.features
    if forest is None or selected is None or not examples:
        return None
    image = examples[0][0]
    everything = feature_set(selected, len(image.shape), channels_of(image))
    if everything.n_maps != forest.n_maps:
        return None
    tensors = [f for f in everything.features if f.family == "structure-tensor"]
    owner = np.repeat(
        [f.family == "structure-tensor" for f in everything.features], [_n(f) for f in everything.features]
    )
    columns = np.flatnonzero(owner)
    asked = {c: np.unique(forest.threshold[forest.feature == c]) for c in columns}
    n_thresholds = sum(map(len, asked.values()))
    matches = []
    for dialect in DIALECTS:
        features = FeatureSet(tuple(replace(f, dialect=dialect) for f in tensors)) if tensors else None
        rows = training_rows(examples, features).rows if features is not None else np.zeros((0, 0), np.float32)
        matches.append(sum(_half_way(rows[:, i], asked[c]) for i, c in enumerate(columns) if len(rows)))
    least, most = sorted(matches)
    if n_thresholds == 0 or most < LEAST_MATCHES or most < CLEARLY * least:
        return None
    return DIALECTS[matches.index(most)]


def _n(feature: Feature) -> int:
    """Maps of a feature on all its channels."""
    return n_maps_of(feature) * len(feature.channels or ())


def _half_way(values: NDArray[np.float32], thresholds: NDArray[np.float64]) -> int:
    """How many thresholds lie half-way between two values that are near in rank."""
    sorted_ = np.unique(values.astype(float))
    middles = np.sort(np.concatenate([(sorted_[k:] + sorted_[:-k]) / 2 for k in range(1, NEIGHBOURS + 1)]))
    if not len(middles) or not len(thresholds):
        return 0
    after = np.searchsorted(middles, thresholds).clip(1, len(middles) - 1) if len(middles) > 1 else np.zeros(1, int)
    away = np.minimum(np.abs(middles[after] - thresholds), np.abs(middles[after - 1] - thresholds))
    return int((away <= NEAR * np.abs(sorted_).max()).sum())
