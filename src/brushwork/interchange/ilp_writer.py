"""Writing ilastik's project files: the inverse of ilp.py. Layout and types are those of projects that ilastik 1.4 saved.

ilastik keeps two small objects as pickles in text form, and opens no project without them. They are written here as the texts
they are; nothing of ours is pickled.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from brushwork.image import SPATIAL, Image
from brushwork.interchange.ilp import MASK, RAW, IlpClassifier, IlpDataset, IlpFeatures, IlpLabels, IlpLane, IlpStage
from brushwork.interchange.vigra_forest import VigraTree, to_vigra
from brushwork.io.aside import PatientFile, written_aside
from brushwork.io.layout import layout_of
from brushwork.io.writers import pixels_of, slabs

VERSION, WORKFLOW = b"1.4.0", b"Pixel Classification"
TRAINING = 2  # the applet that is shown first
LABEL_BLOCK = {2: 512, 3: 64}  # pixels; labels are cut into cubes, so that far ones do not make one large block
SPACE, CHANNEL, TIME = 2, 1, 8  # kinds of axes in vigra
N_TREES, N_FORESTS = 100, 4  # that ilastik grows when it trains again
FEATURE_NAMES = {
    "GaussianSmoothing": "Gaussian Smoothing",
    "LaplacianOfGaussian": "Laplacian of Gaussian",
    "GaussianGradientMagnitude": "Gaussian Gradient Magnitude",
    "DifferenceOfGaussians": "Difference of Gaussians",
    "StructureTensorEigenvalues": "Structure Tensor Eigenvalues",
    "HessianOfGaussianEigenvalues": "Hessian of Gaussian Eigenvalues",
}
EIGENVALUES = ("StructureTensorEigenvalues", "HessianOfGaussianEigenvalues")
FOREST_TYPE = b"clazyflow.classifiers.parallelVigraRfLazyflowClassifier\nParallelVigraRfLazyflowClassifier\np0\n."
FOREST_FACTORY = """\
ccopy_reg
_reconstructor
p0
(clazyflow.classifiers.parallelVigraRfLazyflowClassifier
ParallelVigraRfLazyflowClassifierFactory
p1
c__builtin__
object
p2
Ntp3
Rp4
(dp5
VVERSION
p6
I2
sV_num_trees
p7
I{n_trees}
sV_label_proportion
p8
NsV_variable_importance_path
p9
NsV_variable_importance_enabled
p10
I00
sV_kwargs
p11
(dp12
sV_num_forests
p13
I{n_forests}
sb."""
OPTIONS = {  # of vigra's forests, as ilastik grows them
    "min_split_node_size_": 1,
    "mtry_": 0,
    "mtry_func_": 0,
    "mtry_switch_": 6,
    "predict_weighted_": 0,
    "prepare_online_learning_": 0,
    "sample_with_replacement_": 1,
    "stratification_method_": 3,
    "training_set_calc_switch_": 1,
    "training_set_func_": 0,
    "training_set_proportion_": 1,
    "training_set_size_": 0,
}
FACTS = {"is_weighted_": 1, "precision_": 0, "problem_type_": 1, "response_size_": 1, "used_": 1}
NO_BOOKMARKS = np.void(b"(lp0\n.")


def write_ilp(
    path: Path,
    lanes: Sequence[IlpLane],
    stage: IlpStage,
    *,
    embedded: Mapping[str, Image] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a project of the workflow Pixel Classification.

    lanes : with axes and shapes. stage : with labels for every lane; its forest, if any, is asked of all maps of its features, and
    holds a column for every class. embedded : images by the key of their IlpDataset, whose axes are tzyxc or fewer, c last.

    Raises
    ------
    InputError, RunError
        where the file exists or cannot be written; no partial file is left.
    """
    with written_aside(path, overwrite=overwrite) as aside, PatientFile(aside) as sink:
        with h5py.File(sink, "w") as file:
            file["ilastikVersion"], file["workflowName"] = VERSION, WORKFLOW
            file["time"], file["currentApplet"] = time.ctime().encode(), TRAINING
            _write_inputs(_applet(file, "Input Data", "0.2"), lanes, embedded or {})
            features = _applet(file, "FeatureSelections")
            if stage.features is not None:
                _write_features(features, stage.features)
            _write_stage(_applet(file, "PixelClassification"), lanes, stage)
            export = _applet(file, "Prediction Export")
            export["OutputFilenameFormat"] = b"{dataset_dir}/{nickname}_{result_type}"
            export["OutputFormat"], export["OutputInternalPath"] = b"compressed hdf5", b"exported_data"
        sink.check()


def _applet(file: Any, name: str, version: str = "0.1") -> Any:
    group = file.create_group(name)
    group["StorageVersion"] = version
    return group


def axistags(axes: str, sizes: Mapping[str, float] | None = None) -> str:
    """vigra's JSON for axes. sizes : micrometres by axis letter."""
    kinds = {"c": CHANNEL, "t": TIME}
    entries = [
        {"key": a, "typeFlags": kinds.get(a, SPACE), "resolution": (sizes or {}).get(a, 0), "description": ""}
        for a in axes
    ]
    return json.dumps({"axes": entries}, indent=2)


# ---------------------------------------------------------------- inputs


def _write_inputs(group: Any, lanes: Sequence[IlpLane], embedded: Mapping[str, Image]) -> None:
    group["Role Names"] = np.array([RAW.encode(), MASK.encode()])
    infos, local = group.create_group("infos"), group.create_group("local_data")
    for number, lane in enumerate(lanes):
        for role, data in ((RAW, lane.raw), (MASK, lane.mask)):
            into = infos.create_group(f"lane{number:04d}/{role}")
            if data is None:
                continue
            _write_dataset(into, data)
            if data.location == "embedded":
                _write_pixels(local, data, embedded[data.key])


def _write_dataset(group: Any, data: IlpDataset) -> None:
    is_inside = data.location == "embedded"
    is_relative = not Path(data.paths[0]).is_absolute()
    kind = "ProjectInternal" if is_inside else "RelativeFilesystem" if is_relative else "Filesystem"
    path = (f"/Input Data/local_data/{data.key}" if is_inside else data.paths[0]).encode()
    group["__class__"] = f"{kind}DatasetInfo".encode()
    group["location"] = b"ProjectInternal" if is_inside else b"FileSystem"
    group["filePath"], group["datasetId"], group["nickname"] = path, data.key.encode(), data.nickname.encode()
    if is_inside:
        group["inner_path"], group["fromstack"] = path, True
    sizes = dict(data.pixel_size)
    group["axistags"], group["shape"] = axistags(data.axes, sizes).encode(), np.array(data.shape, np.int64)
    if sizes:
        group["axis_units"] = json.dumps(dict.fromkeys(sizes, "um")).encode()
    group["allowLabels"], group["normalizeDisplay"], group["display_mode"] = True, False, b"default"
    group["working_scale"], group["scale_locked"] = b"", False


def _write_pixels(group: Any, data: IlpDataset, image: Image) -> None:
    """The pixels of an image, some planes at a time."""
    stored = group.create_dataset(data.key, data.shape, image.dtype, chunks=True)
    layout = layout_of(image)
    for t in range(image.n_frames):
        for region in slabs(layout, t):
            where: dict[str, Any] = {"t": t, **dict(zip(layout.spatial_axes, region.slices))}
            stored[tuple(where.get(a, slice(None)) for a in data.axes)] = np.moveaxis(
                pixels_of(image, region, image.dtype), 0, -1
            )
    stored.attrs["axistags"], stored.attrs["display_mode"] = axistags(data.axes, dict(data.pixel_size)), "default"
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        stored.attrs["drange"] = np.array([limits.min, limits.max])
    for dimension, axis in zip(stored.dims, data.axes):
        dimension.label = axis


# ---------------------------------------------------------------- features, classes, labels


def _write_features(group: Any, features: IlpFeatures) -> None:
    group["FeatureIds"] = np.array([name.encode() for name in features.ids])
    group["Scales"], group["SelectionMatrix"] = np.array(features.scales), np.array(features.chosen, bool)
    group["ComputeIn2d"] = np.array(features.in_2d, bool)


def _write_stage(group: Any, lanes: Sequence[IlpLane], stage: IlpStage) -> None:
    _write_list(group, "LabelNames", [c.name.encode() for c in stage.classes])
    _write_list(group, "LabelColors", [_rgb(c.color) for c in stage.classes])
    _write_list(group, "PmapColors", [_rgb(c.map_color) for c in stage.classes])
    marks = group.create_dataset("Bookmarks/0000", data=NO_BOOKMARKS)
    marks.attrs["version"] = 1
    sets = group.create_group("LabelSets")
    for number, (lane, labels) in enumerate(zip(lanes, stage.labels)):
        into = sets.create_group(f"labels{number:03d}")
        axes = lane.raw.axes if lane.raw is not None else labels.axes
        axes = axes if "c" in axes else axes + "c"
        for i, (start, block) in enumerate(label_blocks(labels, axes)):
            stored = into.create_dataset(f"block{i:04d}", data=block)
            ranges = (f"{a}:{a + n}" for a, n in zip(start, block.shape))
            stored.attrs["blockSlice"], stored.attrs["axistags"] = f"[{','.join(ranges)}]", axistags(axes)
    settings = FOREST_FACTORY.format(n_trees=stage.classifier.n_trees or N_TREES, n_forests=N_FORESTS)
    group["ClassifierFactory"] = settings.encode()
    if stage.classifier.forest is not None and stage.features is not None:
        _write_forests(group.create_group("ClassifierForests"), stage.classifier, stage.features, sum(stage.counts))


def _write_list(group: Any, name: str, entries: list) -> None:
    stored = group.create_dataset(name, data=np.array(entries) if entries else np.zeros(1))
    stored.attrs["isEmpty"] = not entries


def _rgb(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def label_blocks(labels: IlpLabels, axes: str) -> Iterator[tuple[tuple[int, ...], NDArray[np.uint8]]]:
    """(start, block) along `axes` of all painted pixels, each block as small as its pixels allow."""
    if not len(labels):
        return
    columns = {a: labels.coords[:, i] for i, a in enumerate(labels.axes)}
    nowhere = np.zeros(len(labels), np.int64)
    at = np.stack([columns.get(a, nowhere) for a in axes], axis=1)
    edge = LABEL_BLOCK[3 if columns.get("z", nowhere).any() else 2]
    cube = at // [edge if a in SPATIAL else 1 for a in axes]
    _, which = np.unique(cube, axis=0, return_inverse=True)
    order = np.argsort(which.reshape(-1), kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(which.reshape(-1)[order])) + 1):
        start = at[rows].min(0)
        block = np.zeros(at[rows].max(0) - start + 1, np.uint8)
        block[tuple((at[rows] - start).T)] = labels.classes[rows]
        yield tuple(start.tolist()), block


# ---------------------------------------------------------------- the forest


def _write_forests(group: Any, classifier: IlpClassifier, features: IlpFeatures, n_rows: int) -> None:
    """The trees in vigra's layout. Columns that no leaf votes for belong to classes without labels, and are left out.

    Leaves are multiplied with the class weights: as vigra divides the sum of leaves by the sum over all classes, its
    probabilities are those of the forest, weighted, exactly.
    """
    forest = classifier.forest
    assert forest is not None
    known = np.flatnonzero(forest.leaves.any(0))
    labels = (known + 1).astype(np.uint32)
    weights = np.array(classifier.class_weights or np.ones(forest.n_classes))[known]
    trees = to_vigra(replace(forest, leaves=(forest.leaves[:, known] * weights).astype(np.float32)))
    first = 0
    for i, size in enumerate(forest.forests.tolist()):
        _write_forest(group.create_group(f"Forest{i:04d}"), trees[first : first + size], labels, weights, n_rows)
        first += size
    group["known_labels"], group["pickled_type"] = labels, FOREST_TYPE
    group["feature_names"] = np.array([name.encode() for name in map_names(features, forest.n_maps)])


def _write_forest(
    group: Any, trees: Sequence[VigraTree], labels: NDArray[np.uint32], weights: NDArray[np.float64], n_rows: int
) -> None:
    """n_rows : painted pixels that it was grown on."""
    group.attrs["vigra_random_forest_version"] = np.array([0.1])
    n_maps = int(trees[0].topology[0])
    facts = {"column_count_": n_maps, "actual_mtry_": math.floor(math.sqrt(n_maps) + 0.5), "class_count_": len(labels)}
    facts |= {"row_count_": n_rows, "actual_msample_": n_rows, **FACTS}
    for name, values in (("_options", OPTIONS | {"tree_count_": len(trees)}), ("_ext_param", facts)):
        for key, value in values.items():
            group[f"{name}/{key}"] = np.array([float(value)])
    group["_ext_param/class_weights_"], group["_ext_param/labels"] = weights, labels
    width = len(str(len(trees) - 1))
    for i, tree in enumerate(trees):
        stored = group.create_group(f"Tree_{i:0{width}d}")
        stored["topology"], stored["parameters"] = tree


def map_names(features: IlpFeatures, n_maps: int) -> list[str]:
    """ilastik's names of the maps of a selection, in its order. n_maps : of all of them, on all channels together."""
    chosen = [
        (name, sigma, flat)
        for name, row in zip(features.ids, features.chosen)
        for sigma, flat, is_chosen in zip(features.scales, features.in_2d or (), row)
        if is_chosen
    ]
    each = [(2 if flat else 3) if name in EIGENVALUES else 1 for name, _, flat in chosen]
    n_channels = n_maps // sum(each)
    found = []
    for (name, sigma, flat), n in zip(chosen, each):
        base = f"{FEATURE_NAMES[name]} (σ={sigma})" + (" in 2D" if flat else "")
        found += [base] if n * n_channels == 1 else [f"{base} [{k}]" for k in range(n * n_channels)]
    return found
