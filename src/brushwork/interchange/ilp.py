"""ilastik's project files (.ilp), read into values: inputs, classes, labels, features and the trained forest.

    IlpProject
      +- lanes     IlpLane      the inputs: raw data and prediction mask, each an IlpDataset
      +- stages    IlpStage     one pixel classification; two of them in Autocontext, none in other workflows
           +- features     IlpFeatures      the matrix of filters and scales
           +- labels       IlpLabels        painted pixels, one entry per lane
           +- classifier   IlpClassifier    what was trained

Everything but embedded images is read at once. ilp_images.py opens the images, ilp_models.py makes classifiers of stages.
Layout and history of the format were learnt from files of versions 0.5 to 1.4 and from ilastik's public sources.
"""

import json
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from brushwork.errors import InputError
from brushwork.estimators.tree_forest import VigraForest
from brushwork.features import Feature
from brushwork.image import AXES
from brushwork.interchange.guarded_hdf5 import (
    Refused,
    array,
    attribute,
    child,
    dataset,
    guarded,
    names,
    need,
    subgroup,
    text,
    texts,
)
from brushwork.interchange.vigra_forest import StoredForest, from_vigra, read_forest
from brushwork.io.units import to_um
from brushwork.scalespace import family

WANTED = "an ilastik project"
RAW, MASK = "Raw Data", "Prediction Mask"
FEATURE_IDS = {
    "GaussianSmoothing": "gaussian",
    "LaplacianOfGaussian": "laplacian",
    "GaussianGradientMagnitude": "gradient-magnitude",
    "DifferenceOfGaussians": "difference-of-gaussians",
    "StructureTensorEigenvalues": "structure-tensor",
    "HessianOfGaussianEigenvalues": "hessian",
}
LABEL_AXES_CHANGED = (1, 3, 3, 2)  # from 1.3.3post2 on labels have the axes of the image, before channels went last
FIVE_AXES = (1, 3, 3)  # from here to that, one workflow wrote labels as "txyzc"
PALETTE = ("#ffe119", "#0082c8", "#e6194b", "#3cb44b", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#d2f53c", "#fabebe")
MOST_CLASSES = 255
MOST_LANES = 10_000
MOST_PAINTED = 1 << 23  # pixels of a lane
LARGEST_LABELS = 1 << 33  # pixels of a lane's blocks
VIGRA = ("ParallelVigraRfLazyflowClassifier", "VigraRfLazyflowClassifier")


@dataclass(frozen=True)
class IlpDataset:
    """An input of a lane.

    location : "file", "embedded" or "url". paths : as written there ("file:" addresses as paths), several for a stack;
    "a.h5/data" goes on inside a file.
    key : of embedded data, its place in the project. axes : letters of "tczyx" as ilastik used them, "" where it does not say.
    shape : along `axes`, None where it does not say (before 1.3.2). pixel_size : micrometres by axis letter.
    part : (start, stop) along `axes` of what is used of a file, None for all of it; coordinates of labels begin at its start.
    """

    location: str
    paths: tuple[str, ...]
    nickname: str = ""
    axes: str = ""
    shape: tuple[int, ...] | None = None
    pixel_size: tuple[tuple[str, float], ...] = ()
    key: str = ""
    level: str = ""
    part: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    def length(self, axis: str) -> int | None:
        """Pixels along an axis, 1 where there is none; None where the project does not say."""
        if self.axes and axis not in self.axes:
            return 1
        at = self.axes.find(axis)
        if self.part is not None:
            return self.part[1][at] - self.part[0][at]
        return self.shape[at] if self.axes and self.shape is not None else None


@dataclass(frozen=True)
class IlpLane:
    """The inputs that belong together; None where a role is not filled."""

    raw: IlpDataset | None
    mask: IlpDataset | None = None


@dataclass(frozen=True)
class IlpClass:
    """color : of strokes, map_color : of predictions, "#rrggbb"."""

    name: str
    color: str
    map_color: str


@dataclass(frozen=True, eq=False)
class IlpLabels:
    """The painted pixels of a lane.

    axes : of coords, in the order of "tzyx". coords : (n, len(axes)) int64. classes : (n,) uint8, from 1.
    """

    axes: str
    coords: NDArray[np.int64] = field(repr=False)
    classes: NDArray[np.uint8] = field(repr=False)

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class IlpFeatures:
    """The selection of filters (rows) at scales (columns).

    ids : ilastik's names of the filters. scales : sigmas, pixels. chosen : per filter, per scale.
    in_2d : per scale, None where the project does not say (before 1.3.2).
    """

    ids: tuple[str, ...]
    scales: tuple[float, ...]
    chosen: tuple[tuple[bool, ...], ...]
    in_2d: tuple[bool, ...] | None = None

    @property
    def n_chosen(self) -> int:
        return sum(map(sum, self.chosen))

    @property
    def problem(self) -> str:
        """Why they cannot be computed, in words; "" where they can."""
        for identifier, row in zip(self.ids, self.chosen):
            for sigma, chosen in zip(self.scales, row):
                try:
                    if chosen:
                        Feature(FEATURE_IDS[identifier], sigma)
                except InputError as error:
                    return str(error)
        return ""

    def n_maps(self, ndim: int) -> int:
        """Maps of one channel, of images of `ndim` spatial axes."""
        in_2d = self.in_2d or (False,) * len(self.scales)
        return sum(
            family(FEATURE_IDS[identifier]).maps(2 if flat else ndim)
            for identifier, row in zip(self.ids, self.chosen)
            for flat, chosen in zip(in_2d, row)
            if chosen
        )


@dataclass(frozen=True, eq=False)
class IlpClassifier:
    """kind : ilastik's name of what is trained, "" where nothing says. n_trees : asked for, None where it does not say.

    forest : the trained forest, None where there is none; problem then says why in words, "" where it was never trained.
    class_weights : what its probabilities are multiplied with, per class of the project; empty leaves them as they are.
    """

    kind: str = ""
    n_trees: int | None = None
    forest: VigraForest | None = field(default=None, repr=False)
    problem: str = ""
    class_weights: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class IlpStage:
    """One pixel classification. labels : one entry per lane."""

    classes: tuple[IlpClass, ...]
    labels: tuple[IlpLabels, ...]
    features: IlpFeatures | None
    classifier: IlpClassifier

    @property
    def counts(self) -> tuple[int, ...]:
        """Painted pixels per class, over all lanes."""
        classes = np.concatenate([labels.classes for labels in self.labels] or [np.zeros(0, np.uint8)])
        return tuple(np.bincount(classes, minlength=len(self.classes) + 1)[1:].tolist())


@dataclass(frozen=True, eq=False)
class IlpProject:
    """version, workflow : as the file says. problems : what cannot be used of it and why, in words."""

    path: Path
    version: str
    workflow: str
    lanes: tuple[IlpLane, ...]
    stages: tuple[IlpStage, ...] = field(repr=False)
    problems: tuple[str, ...] = ()

    def stage(self, number: int | None = None) -> IlpStage:
        """The stage of that number, from 1, or the last one; raises InputError where there is none."""
        if not self.stages:
            raise InputError(f"{self.path} holds no pixel classification: {'; '.join(self.problems)}")
        if number is not None and not 1 <= number <= len(self.stages):
            raise InputError(
                f"{self.path} has {len(self.stages)} stage(s) of pixel classification, {number} was asked for"
            )
        return self.stages[-1 if number is None else number - 1]


def version_key(version: str) -> tuple[int, ...]:
    """A version as numbers that compare: 1.3.3post2 lies behind 1.3.3, 1.4.0b8 before 1.4.0.

    >>> version_key("1.3.3post2"), version_key("1.4.0b8") < version_key("1.4.0")
    ((1, 3, 3, 2), True)
    """
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?(?:(post|rc|b|a)(\d+))?", version)
    if not found:
        return (0,)
    major, minor, patch = (int(found[i] or 0) for i in (1, 2, 3))
    before_release = found[4] in ("rc", "b", "a")
    return (major, minor, patch, int(found[5] or 0) if found[4] == "post" else -1 if before_release else 0)


def open_ilp(path: str | Path) -> IlpProject:
    """Read an ilastik project.

    Projects of workflows without pixel classification are read as far as their inputs; `problems` says so.

    Raises
    ------
    InputError
        where there is no such file, it is no ilastik project, is from before ilastik 1.0, or is damaged.
    """
    path = Path(path)
    with guarded(path, WANTED) as file:
        return _project(file, path)


def _project(file: Any, path: Path) -> IlpProject:
    if child(file, "ilastikVersion") is None and child(file, "workflowName") is None:
        raise InputError(f"{path} is an HDF5 file but no {WANTED.removeprefix('an ')}; those hold 'ilastikVersion'")
    marked = dataset(file, "ilastikVersion")
    if child(file, "workflowName") is None or (marked is not None and marked.dtype.kind == "f"):
        raise InputError(
            f"{path} was written before ilastik 1.0, in a layout of its own; paint it again, or save it with ilastik 1.x"
        )
    version, workflow = text(file, "ilastikVersion") or "", text(file, "workflowName") or ""
    lanes = _lanes(subgroup(file, "Input Data") or subgroup(file, "DataSelection"), path.parent)
    stages: list[IlpStage] = []
    for suffix in ("", "01"):
        group = subgroup(file, f"PixelClassification{suffix}")
        if group is None and not suffix:
            group = subgroup(file, "TrainableDomainAdaptation")
        if group is not None:
            features = _features(subgroup(file, f"FeatureSelections{suffix}"))
            stages.append(_stage(group, features, lanes, version, workflow))
    return IlpProject(path, version, workflow, lanes, tuple(stages), _problems(workflow, stages))


def _problems(workflow: str, stages: list[IlpStage]) -> tuple[str, ...]:
    problems = []
    if not stages:
        problems.append(f"it is a project of the workflow {workflow!r}, which has no pixel classification")
    elif workflow not in ("Pixel Classification", "AutocontextTwoStage"):
        problems.append(f"of the workflow {workflow!r} only the pixel classification can be used")
    for number, stage in enumerate(stages, 1):
        where = f"of stage {number} " if len(stages) > 1 else ""
        if stage.features is not None and stage.features.problem:
            problems.append(f"the features {where}cannot be used: {stage.features.problem}")
        if stage.classifier.problem:
            problems.append(f"the classifier {where}cannot be used: {stage.classifier.problem}")
    return tuple(problems)


# ---------------------------------------------------------------- inputs


def _lanes(group: Any, home: Path) -> tuple[IlpLane, ...]:
    infos = subgroup(group, "infos") if group is not None else None
    if infos is None:
        return ()
    if len(infos) > MOST_LANES:
        raise Refused(f"it has {len(infos)} lanes")
    lanes = []
    for name in names(infos):
        lane = subgroup(infos, name)
        if lane is None or child(lane, "location") is not None:  # before 1.0 a lane had one input and no roles
            lanes.append(IlpLane(_dataset(lane, home)))
        else:
            lanes.append(IlpLane(_dataset(subgroup(lane, RAW), home), _dataset(subgroup(lane, MASK), home)))
    return tuple(lanes)


def _dataset(group: Any, home: Path) -> IlpDataset | None:
    if group is None or child(group, "location") is None:
        return None
    axes, sizes = _axistags(text(group, "axistags"), text(group, "axis_units"))
    axes = axes or _checked_axes(text(group, "axisorder") or "")
    shape = array(group, "shape", "iu")
    lengths = tuple(shape.ravel().tolist()) if shape is not None else None
    if lengths is not None and (len(lengths) != len(axes) or not all(0 < n < 1 << 40 for n in lengths)):
        raise Refused(f"{group.name} says the axes {axes!r} and the shape {lengths}")
    path = text(group, "filePath") or text(group, "url") or ""
    kind, location = text(group, "__class__") or "", text(group, "location") or ""
    if location == "ProjectInternal" or kind == "ProjectInternalDatasetInfo":
        location, key = "embedded", path.rpartition("/")[2] if "local_data/" in path else text(group, "datasetId") or ""
    else:
        location, key = "url" if "://" in path and not path.startswith("file:") else "file", ""
    return IlpDataset(
        location,
        _split(path, home) if location == "file" and "://" not in path else (_as_path(path),),
        text(group, "nickname") or "",
        axes,
        lengths,
        tuple(sorted(sizes.items())),
        key,
        text(group, "working_scale") or "",
        _part(group, axes, lengths) if location != "embedded" else None,
    )


def _part(group: Any, axes: str, lengths: tuple[int, ...] | None) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The part of a file that a lane uses, None for all of it.

    ilastik 1.4 notes a part and uses all of the image: then the shape it notes is not that of the part.
    """
    roi = array(group, "subvolume_roi", "iu")
    if roi is None:
        return None
    if roi.shape != (2, len(axes)) or not (roi[0] < roi[1]).all() or (roi < 0).any() or (roi >= 1 << 40).any():
        raise Refused(
            f"{group.name} says that it is the part {str(roi.tolist())[:100]} of an image with the axes {axes!r}"
        )
    start, stop = (tuple(int(n) for n in side) for side in roi)
    extent = tuple(b - a for a, b in zip(start, stop))
    return (start, stop) if lengths in (None, extent) else None


def _as_path(address: str) -> str:
    """The path that a "file:" address stands for; paths stay as they are.

    >>> _as_path("file:///d/a%20b.zarr"), _as_path("file:///C:/a.zarr")
    ('/d/a b.zarr', 'C:/a.zarr')
    """
    found = re.fullmatch(r"file://(?:localhost)?(?:/(?=[A-Za-z]:))?(/.*|[A-Za-z]:.*)", address)
    return unquote(found[1]) if found else address


def _split(path: str, home: Path = Path()) -> tuple[str, ...]:
    """The files of a stack: joined by ";" where ilastik ran on Windows, by ":" elsewhere.

    Names may hold these letters too: a stack is of files with one suffix, of which the whole is none (from the folder `home`).

    >>> _split("C:/a.tif;C:/b.tif"), _split("/d/a.tif:/d/b.tif"), _split("/d/12:30;b.tif")
    (('C:/a.tif', 'C:/b.tif'), ('/d/a.tif', '/d/b.tif'), ('/d/12:30;b.tif',))
    """
    for separator in (";",) if re.match("[A-Za-z]:", path) else (";", ":"):
        parts = tuple(part for part in path.split(separator) if part)
        suffixes = {(re.findall(r"\.(\w+)(?=$|[/\\])", part.lower()) or [""])[-1] for part in parts}
        looks_like_stack = len(parts) > 1 and len(suffixes) == 1 and "" not in suffixes
        if looks_like_stack and not os.path.exists(os.path.join(home, path)):
            return parts
    return (path,)


def _axistags(tags: str | None, units: str | None) -> tuple[str, dict[str, float]]:
    """Axes and micrometres by axis letter, of vigra's JSON."""
    if tags is None:
        return "", {}
    try:
        entries = json.loads(tags)["axes"]
        unit_of = json.loads(units) if units else {}
        axes = _checked_axes("".join(str(entry["key"]) for entry in entries))
        sizes = {e["key"]: to_um(float(e.get("resolution") or 0), unit_of.get(e["key"], "um")) for e in entries}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Refused("the description of its axes cannot be read") from None
    return axes, {axis: size for axis, size in sizes.items() if size is not None and axis in "zyx"}


def _checked_axes(axes: str) -> str:
    if len(set(axes)) != len(axes) or not set(axes) <= set(AXES):
        raise Refused(f"it has an image with the axes {axes[:20]!r}; t, c, z, y and x are known")
    return axes


# ---------------------------------------------------------------- features


def _features(group: Any) -> IlpFeatures | None:
    ids = texts(group, "FeatureIds") if group is not None else None
    if ids is None:
        return None
    scales, chosen = need(array(group, "Scales"), group, "Scales"), array(group, "SelectionMatrix")
    in_2d = array(group, "ComputeIn2d", "biu")
    matrix = need(chosen, group, "SelectionMatrix")
    if (
        scales.ndim != 1
        or matrix.shape != (len(ids), len(scales))
        or (in_2d is not None and in_2d.shape != scales.shape)
    ):
        raise Refused(f"{group.name} has {len(ids)} filters, {scales.shape} scales and a matrix of {matrix.shape}")
    unknown = [name for name, row in zip(ids, matrix) if row.any() and name not in FEATURE_IDS]
    if unknown:
        raise Refused(f"it selects the filter {unknown[0]!r}, which is not known; known are {', '.join(FEATURE_IDS)}")
    return IlpFeatures(
        tuple(ids),
        tuple(float(s) for s in scales),
        tuple(tuple(bool(c) for c in row) for row in matrix),
        tuple(bool(d) for d in in_2d) if in_2d is not None else None,
    )


# ---------------------------------------------------------------- classes, labels


def _stage(
    group: Any, features: IlpFeatures | None, lanes: tuple[IlpLane, ...], version: str, workflow: str
) -> IlpStage:
    sets = subgroup(group, "LabelSets")
    in_file = (
        {int(n.removeprefix("labels")): n for n in names(sets) if re.fullmatch(r"labels\d{1,6}", n)} if sets else {}
    )
    n_lanes = max([len(lanes), *(k + 1 for k in in_file)])
    if n_lanes > MOST_LANES:
        raise Refused(f"{group.name} has labels for {n_lanes} lanes")
    labels = []
    for number in range(n_lanes):
        lane = lanes[number].raw if number < len(lanes) else None
        blocks = subgroup(sets, in_file[number]) if number in in_file else None
        labels.append(_labels(blocks, lane, version, workflow))
    used = max((int(found.classes.max()) for found in labels if len(found)), default=0)
    classes = _classes(group, used)
    classifier = _classifier(group, len(classes))
    if classifier.forest is not None and features is not None and features.problem:
        classifier = replace(
            classifier, forest=None, problem="its features cannot be computed; choose others and train again"
        )
    return IlpStage(classes, tuple(labels), features, classifier)


def _classes(group: Any, n_used: int) -> tuple[IlpClass, ...]:
    """The classes by name; where labels use more than are named, further ones."""
    named = _list(group, "LabelNames", texts) or []
    n = max(len(named), n_used)
    if n > MOST_CLASSES:
        raise Refused(f"it has {n} classes; at most {MOST_CLASSES} are known")
    colors, map_colors = (_colors(_list(group, name, array), n) for name in ("LabelColors", "PmapColors"))
    named += [f"Label {k + 1}" for k in range(len(named), n)]
    return tuple(IlpClass(*entry) for entry in zip(named, colors, map_colors))


def _list(group: Any, name: str, read: Any) -> Any:
    """A list, which may be marked as empty (its entry then means nothing)."""
    found = child(group, name)
    return None if found is None or attribute(found, "isEmpty") else read(group, name)


def _colors(stored: NDArray | None, n: int) -> list[str]:
    if stored is not None and (stored.ndim != 2 or stored.shape[1] < 3):
        raise Refused(f"it has colours of shape {stored.shape}")
    known = [] if stored is None else np.clip(np.nan_to_num(stored[:n, :3]), 0, 255).astype(int).tolist()
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in known] + [PALETTE[i % len(PALETTE)] for i in range(len(known), n)]


def _labels(group: Any, lane: IlpDataset | None, version: str, workflow: str) -> IlpLabels:
    """All painted pixels of a lane; where blocks overlap, the later one counts."""
    parts: list[tuple[NDArray, NDArray]] = []
    axes, n_painted, n_read = "", 0, 0
    for name in names(group) if group is not None else []:
        block = need(dataset(group, name), group, name)
        start = _start(block)
        mine = _label_axes(block, start, lane, version, workflow)
        if axes and mine != axes:
            raise Refused(f"{block.name} has the axes {mine!r}, the blocks before {axes!r}")
        axes = mine
        stored = need(array(group, name, "biu"), group, name)
        n_painted += int(np.count_nonzero(stored))
        n_read += stored.size
        if n_painted > MOST_PAINTED or n_read > LARGEST_LABELS:
            raise Refused(f"{group.name} holds more than {MOST_PAINTED} painted pixels, or {LARGEST_LABELS} of blocks")
        at = np.nonzero(stored)
        values = stored[at]
        if len(values) and not 0 < values.min() <= values.max() <= MOST_CLASSES:
            raise Refused(f"{block.name} holds labels from {values.min()} to {values.max()}")
        coords = [at[axes.index(a)] + start[axes.index(a)] for a in "tzyx" if a in axes]
        parts.append((np.stack(coords, axis=1), values.astype(np.uint8)))
    kept = "".join(a for a in "tzyx" if a in axes)
    if not parts:
        return IlpLabels(kept, np.zeros((0, len(kept)), np.int64), np.zeros(0, np.uint8))
    painted, classes = (np.concatenate(side) for side in zip(*parts))
    _, last = np.unique(painted[::-1], axis=0, return_index=True)
    order = len(painted) - 1 - last
    return IlpLabels(kept, painted[order], classes[order])


def _start(block: Any) -> NDArray[np.int64]:
    """Where a block begins, along its axes."""
    said = attribute(block, "blockSlice")
    ranges = re.findall(r"(\d{1,12}):(\d{1,12})", said) if isinstance(said, str) else []
    start, stop = (np.array([int(r[i]) for r in ranges], np.int64) for i in (0, 1))
    if tuple(stop - start) != block.shape:
        raise Refused(f"{block.name} is {block.shape} and says it lies at {str(said)[:100]}")
    return start


def _label_axes(block: Any, start: NDArray[np.int64], lane: IlpDataset | None, version: str, workflow: str) -> str:
    """The axes of a block of labels, which depend on who wrote it."""
    tags = attribute(block, "axistags")
    if tags is not None:
        told, _ = _axistags(str(tags), None)
        orders = [told]
    else:
        axes = lane.axes if lane is not None else ""
        with_channel = axes if "c" in axes else axes + "c"
        channel_last = axes.replace("c", "") + "c"
        orders = [with_channel] if version_key(version) >= LABEL_AXES_CHANGED else [channel_last]
        in_between = FIVE_AXES <= version_key(version) < LABEL_AXES_CHANGED
        if in_between and workflow == "Object Classification (from pixel classification)":
            orders = ["txyzc", *orders]
    for order in orders:
        if len(order) == block.ndim and _fits(order, start, block.shape, lane):
            return order
    raise Refused(f"{block.name} has {block.ndim} axes, which do not fit those of its image ({orders[0]})")


def _fits(order: str, start: NDArray[np.int64], shape: tuple[int, ...], lane: IlpDataset | None) -> bool:
    """Whether a block with axes of that order lies inside its image; labels have one channel."""
    for axis, first, n in zip(order, start.tolist(), shape):
        length = 1 if axis == "c" else lane.length(axis) if lane is not None else None
        if length is not None and first + n > length:
            return False
    return {"y", "x"} <= set(order)


# ---------------------------------------------------------------- the classifier


def _classifier(group: Any, n_classes: int) -> IlpClassifier:
    """What the project says was trained. Pickled settings are searched as text, pickled classifiers left alone."""
    factory = text(group, "ClassifierFactory") or ""
    found = re.search(r"V_?num_trees\np\d+\nI(\d{1,6})\n|S'_num_trees'\np\d+\nI(\d{1,6})\n", factory)
    n_trees = int(found[1] or found[2]) if found else None
    stored = subgroup(group, "ClassifierForests")
    if stored is None:
        return IlpClassifier(_type(factory).removesuffix("Factory"), n_trees)
    kind = _type(text(stored, "pickled_type") or "") or _type(factory).removesuffix("Factory")
    if child(stored, "pickled_classifier") is not None or (kind and kind not in VIGRA):
        learner = _type(factory, "sklearn") or kind or "of an unknown kind"
        reason = f"it is {learner}, stored as a pickle, which runs code when it is opened; train again on the labels"
        return IlpClassifier(kind, n_trees, problem=reason)
    forests = tuple(
        read_forest(need(subgroup(stored, name), stored, name))
        for name in names(stored)
        if re.match("Forest|forest$", name)
    )
    if not forests:
        return IlpClassifier(kind, n_trees)
    columns = _columns(stored, forests[0])
    forest = from_vigra(forests, columns, n_classes)
    weights = np.ones(n_classes)
    weights[columns] = forests[0].class_weights or 1
    return IlpClassifier(
        kind, n_trees, forest, class_weights=tuple(weights.tolist()) if forests[0].class_weights else ()
    )


def _columns(stored: Any, forest: StoredForest) -> NDArray[np.int64]:
    known = array(stored, "known_labels", "biuf")
    return np.arange(forest.n_classes) if known is None else known.ravel().astype(np.int64) - 1


def _type(pickled: str, package: str = "lazyflow") -> str:
    """The name of the class of that package that a pickle in text form speaks of, "" for none."""
    found = re.search(rf"c{package}[\w.]*\n(\w+)\n", pickled[:100_000])
    return found[1] if found else ""
