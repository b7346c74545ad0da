"""ilastik projects written by the tests, with small forests of vigra, and the slow walk that such forests are compared with."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from brushwork.interchange.vigra_forest import FIRST_NODE, LEAF_NODE, VigraTree

IDS = (
    "GaussianSmoothing",
    "LaplacianOfGaussian",
    "GaussianGradientMagnitude",
    "DifferenceOfGaussians",
    "StructureTensorEigenvalues",
    "HessianOfGaussianEigenvalues",
)
SCALES = (0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
SPACE, CHANNEL, TIME = 2, 1, 8


def axistags(axes: str, resolution: float = 0.0) -> str:
    flags = {"t": TIME, "c": CHANNEL}
    entries = [{"key": a, "typeFlags": flags.get(a, SPACE), "resolution": resolution, "description": ""} for a in axes]
    return json.dumps({"axes": entries})


def random_tree(rng: np.random.Generator, n_maps: int, n_classes: int, depth: int, *, pure: bool = True) -> VigraTree:
    """A tree grown at random, in vigra's layout."""
    topology, parameters = [n_maps, n_classes], []

    def grow(left: int) -> int:
        at, first = len(topology), len(parameters)
        if left == 0 or rng.random() < 0.15:
            votes = np.eye(n_classes)[rng.integers(n_classes)] if pure else rng.dirichlet(np.ones(n_classes))
            topology.extend([LEAF_NODE, first])
            parameters.extend([1.0, *votes])
            return at
        topology.extend([0, first, 0, 0, int(rng.integers(n_maps))])
        parameters.extend([1.0, float(rng.choice([rng.normal(), np.float32(rng.normal()), 0.0]))])
        topology[at + 2], topology[at + 3] = grow(left - 1), grow(left - 1)
        return at

    grow(depth)
    return VigraTree(np.array(topology, np.int32), np.array(parameters))


def random_forests(
    seed: int, sizes: tuple[int, ...], n_maps: int, n_classes: int, depth: int = 6, *, pure: bool = True
) -> list[list[VigraTree]]:
    rng = np.random.default_rng(seed)
    return [[random_tree(rng, n_maps, n_classes, depth, pure=pure) for _ in range(size)] for size in sizes]


def walked(forests: list[list[VigraTree]], rows: np.ndarray) -> np.ndarray:
    """(n, n_classes) float32 of rows (n, n_maps) float32: what ilastik makes of vigra's votes, node by node."""
    total = 0
    for trees in forests:
        votes = 0
        for topology, parameters in trees:
            at = np.full(len(rows), FIRST_NODE)
            while (asking := np.flatnonzero(topology[at] == 0)).size:
                node = at[asking]
                below = rows[asking, topology[node + 4]].astype(np.float64) < parameters[topology[node + 1] + 1]
                at[asking] = np.where(below, topology[node + 2], topology[node + 3])
            leaf = topology[at + 1, None] + 1 + np.arange(topology[1])
            votes = votes + parameters[leaf].astype(np.float32)
        total = total + (votes / np.float32(len(trees))) * np.float32(len(trees))
    total = total / np.float32(sum(map(len, forests)))
    total[np.isnan(rows).any(axis=1)] = 0
    return total


def write_forests(group: Any, forests: list[list[VigraTree]], labels: np.ndarray | None = None) -> None:
    """A ClassifierForests group. labels : what the columns vote for, numbered from 1."""
    n_maps, n_classes = forests[0][0].topology[:2]
    for i, trees in enumerate(forests):
        stored = group.create_group(f"Forest{i:04d}")
        stored.create_dataset("_options/predict_weighted_", data=[0.0])
        stored.create_dataset("_ext_param/column_count_", data=[float(n_maps)])
        stored.create_dataset("_ext_param/class_count_", data=[float(n_classes)])
        for k, tree in enumerate(trees):
            stored[f"Tree_{k:02d}/topology"] = tree.topology
            stored[f"Tree_{k:02d}/parameters"] = tree.parameters
    group["known_labels"] = np.arange(1, n_classes + 1, dtype=np.uint32) if labels is None else labels
    group["pickled_type"] = np.bytes_(
        b"clazyflow.classifiers.parallelVigraRfLazyflowClassifier\nParallelVigraRfLazyflowClassifier\np0\n."
    )


def write_ilp(
    path: Path,
    *,
    version: str = "1.4.0",
    workflow: str = "Pixel Classification",
    axes: str = "yx",
    shape: tuple[int, ...] | None = (20, 30),
    file_path: str = "image.npy",
    nickname: str = "image",
    embedded: np.ndarray | None = None,
    mask: str | np.ndarray | None = None,
    blocks: tuple[tuple[tuple[int, ...], np.ndarray], ...] = (),
    label_axes: str | None = None,
    names: tuple[str, ...] = ("in", "out"),
    chosen: dict[str, tuple[float, ...]] | None = None,
    in_2d: bool | None = None,
    forests: list[list[VigraTree]] | None = None,
    suffix: str = "",
) -> Path:
    """A project with one lane, in the layout of ilastik; with a suffix the stage is added to the file.

    blocks : (start, labels) in the order that the file's axes have. chosen : scales per filter. mask : a file, or pixels inside.
    """
    with h5py.File(path, "a") as file:
        if not suffix:
            file["ilastikVersion"], file["workflowName"] = np.bytes_(version.encode()), workflow.encode()
            file["Input Data/Role Names"] = np.array([b"Raw Data", b"Prediction Mask"])
            lane = file.create_group("Input Data/infos/lane0000/Raw Data")
            masked = file.create_group("Input Data/infos/lane0000/Prediction Mask")
            if mask is not None:
                is_inside = not isinstance(mask, str)
                masked["location"], masked["datasetId"] = "ProjectInternal" if is_inside else "FileSystem", "mask-id"
                masked["filePath"], masked["nickname"] = "" if is_inside else mask, "the mask"
                masked["axistags"] = axistags(axes.replace("c", ""))
                if shape is not None:
                    masked["shape"] = np.array([n for n, a in zip(shape, axes) if a != "c"])
                if is_inside:
                    file["Input Data/local_data/mask-id"] = mask
            lane["filePath"], lane["nickname"], lane["axistags"] = file_path, nickname, axistags(axes)
            lane["location"], lane["datasetId"] = "ProjectInternal" if embedded is not None else "FileSystem", "some-id"
            if shape is not None:
                lane["shape"] = np.array(shape)
            if embedded is not None:
                file["Input Data/local_data/some-id"] = embedded
        group = file.create_group(f"PixelClassification{suffix}")
        group["LabelNames"] = np.array([name.encode() for name in names])
        group["LabelColors"] = np.array([[255 - k, k, 7] for k in range(len(names))])
        group["PmapColors"] = np.array([[k, 255 - k, 7] for k in range(len(names))])
        for i, (start, labels) in enumerate(blocks):
            block = group.create_dataset(f"LabelSets/labels000/block{i:04d}", data=labels.astype(np.uint8))
            stop = np.add(start, labels.shape)
            block.attrs["blockSlice"] = "[" + ",".join(f"{a}:{b}" for a, b in zip(start, stop)) + "]"
            if label_axes is not None:
                block.attrs["axistags"] = axistags(label_axes)
        if chosen is not None:
            features = file.create_group(f"FeatureSelections{suffix}")
            features["FeatureIds"] = np.array([name.encode() for name in IDS])
            scales = sorted({*SCALES, *(s for some in chosen.values() for s in some)})
            features["Scales"] = np.array(scales)
            features["SelectionMatrix"] = np.array([[s in chosen.get(name, ()) for s in scales] for name in IDS])
            if in_2d is not None:
                features["ComputeIn2d"] = np.full(len(scales), in_2d)
        if forests is not None:
            write_forests(group.create_group("ClassifierForests"), forests)
    return path
