"""Objects: how right on real nuclei, how fast and in how much memory on a large volume, against dask-image.

python -m benchmarks.objects accuracy                  F1 of objects at IoU 0.5; needs the real images
python -m benchmarks.objects volume --edge 1024        a table of 1 Gvoxel
python -m benchmarks.objects peer --edge 384           the same, against dask_image.ndmeasure (pip install dask-image)
"""

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from brushwork.blocks import whole
from brushwork.features import FeatureSet
from brushwork.foreground import Foreground
from brushwork.image import ArrayImage, as_image
from brushwork.io import Layout, OmeZarrStore, open_image, open_labels
from brushwork.measure import Measurements
from brushwork.objects import Rule, Volume, find_objects
from brushwork.pieces import Pieces
from brushwork.segmenting import segment
from brushwork.splitting import Splitting
from brushwork.training import train

CASES = ("a1_nuclei_small", "a2_nuclei_large", "a3_nuclei_field", "d2_nuclei_3d")
SMALLEST = 20  # pixels; smaller objects do not count, as in the baseline
CELL, RADIUS = 28, 3  # one ball of this radius in each cube of this edge: 0.5 % of the voxels


# ---------------------------------------------------------------- accuracy


def f1(found: NDArray, truth: NDArray) -> float:
    """Of objects that share more than half of their union with a true one."""
    ids, of = np.unique(found, return_inverse=True)
    true_ids, true_of = np.unique(truth, return_inverse=True)
    both = np.zeros((len(ids), len(true_ids)), np.int64)
    np.add.at(both, (of.ravel(), true_of.ravel()), 1)
    size, true_size = both.sum(1), both.sum(0)
    overlap = both / (size[:, None] + true_size - both)
    counted = (ids > 0) & (size >= SMALLEST)
    hits = (overlap[counted][:, true_ids > 0] > 0.5).any(1).sum()
    return float(2 * hits / max(counted.sum() + (true_ids > 0).sum(), 1))


def numbered(image: ArrayImage, rule: Rule) -> NDArray[np.int64]:
    with tempfile.TemporaryDirectory() as folder, Pieces(Path(folder) / "pieces") as pieces:
        return find_objects(Volume(image), rule, pieces).draw(whole(image.shape))


def accuracy(data: Path) -> None:
    """Prints F1 with and without splits beside the baseline's."""
    baseline = json.loads((data / "baseline.json").read_text())
    print(f"{'case':18} {'strokes':8} {'baseline':>9} {'plain':>7} {'split':>7}")
    for name in CASES:
        case = json.loads((data / name / "case.json").read_text())
        size = case.get("voxel_um") if case["axes"] == "ZYX" else None
        for budget in ("few", "many"):
            examples = []
            for one in case["train"]:
                image = _image(data / name / "img", one, size)
                examples.append((image, open_labels(_file(data / name / "scrib" / budget, one), image)))
            model = train(examples, FeatureSet.preset("all"), classes=case["classes"])
            scores: dict[str, list[float]] = {"plain": [], "split": []}
            for one in case["test"]:
                image = _image(data / name / "img", one, size)
                made = model.predict_block(image, model.block(image, whole(image.shape)))
                stored = as_image(np.rint(made * 255).astype(np.uint8), axes="c" + image.spatial_axes, pixel_size=size)
                for how, method in (("plain", "none"), ("split", "watershed")):
                    rule = Rule(Foreground(1), min_size=SMALLEST, splitting=Splitting(method))
                    scores[how].append(f1(numbered(stored, rule), _truth(data / name, one)))
            theirs = baseline.get(name, {}).get(budget, {}).get("object_f1@0.5")
            theirs = _usual(data / name, case, budget) if theirs is None else theirs
            print(f"{name:18} {budget:8} {theirs:9.3f} {np.mean(scores['plain']):7.3f} {np.mean(scores['split']):7.3f}")
    for name in CASES[:3]:
        case = json.loads((data / name / "case.json").read_text())
        scores = {"plain": [], "split": []}
        for one in case["test"]:
            truth = _truth(data / name, one)
            for how, method in (("plain", "none"), ("split", "watershed")):
                rule = Rule(min_size=SMALLEST, splitting=Splitting(method))
                scores[how].append(f1(numbered(as_image((truth > 0).astype(np.uint8) * 255), rule), truth))
        print(f"{name:18} {'truth':8} {'-':>9} {np.mean(scores['plain']):7.3f} {np.mean(scores['split']):7.3f}")


def _usual(folder: Path, case: dict, budget: str) -> float:
    """The same with scikit-image's features, scikit-learn's forest of 100 trees, and connected pixels of the likeliest class."""
    from skimage.feature import multiscale_basic_features
    from sklearn.ensemble import RandomForestClassifier

    def rows(one: str) -> NDArray:
        pixels = _image(folder / "img", one, case["voxel_um"]).source[...]
        return multiscale_basic_features(pixels, sigma_min=1, sigma_max=case["features"]["sigma_max"])

    painted = {one: open_image(_file(folder / "scrib" / budget, one), axes="zyx").source[...] for one in case["train"]}
    x = np.concatenate([rows(one)[strokes > 0] for one, strokes in painted.items()])
    y = np.concatenate([strokes[strokes > 0] for strokes in painted.values()])
    forest = RandomForestClassifier(100, random_state=0).fit(x, y)
    scores = []
    for one in case["test"]:
        maps = rows(one)
        found = forest.predict(maps.reshape(-1, maps.shape[-1])).reshape(maps.shape[:-1]) == 2
        scores.append(f1(ndi.label(found)[0], _truth(folder, one)))
    return float(np.mean(scores))


def _file(folder: Path, name: str) -> Path:
    return next(path for path in sorted(folder.iterdir()) if path.name.split(".")[0] == name)


def _image(folder: Path, name: str, pixel_size: list[float] | None) -> ArrayImage:
    return open_image(_file(folder, name), axes="zyx" if pixel_size else None, pixel_size=pixel_size)


def _truth(case: Path, name: str) -> NDArray:
    """Object numbers; where there are none, connected pixels of the class nucleus."""
    if (case / "inst").is_dir():
        return np.squeeze(open_image(_file(case / "inst", name)).source[...])
    return ndi.label(open_image(_file(case / "gt", name), axes="zyx").source[...] == 2)[0]


# ---------------------------------------------------------------- large volumes


def ball_map(path: Path, edge: int) -> ArrayImage:
    """A probability map of balls at random places, uint8, as an OME-Zarr on the disk."""
    layout = Layout((edge,) * 3, dtype=np.uint8, channel_names=("cell",), kind="probabilities")
    store = OmeZarrStore.create(path, layout)
    offsets = np.stack(np.indices((2 * RADIUS + 1,) * 3), -1).reshape(-1, 3) - RADIUS
    offsets = offsets[(offsets**2).sum(1) <= RADIUS**2]
    for region in store.task_regions():
        pixels = np.zeros(region.shape, np.uint8)
        low = [max(a // CELL - 1, 0) for a in region.start]
        high = [min(b // CELL + 2, edge // CELL) for b in region.stop]
        cells = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1).reshape(-1, 3)
        places = [np.random.default_rng((7, *cell)).integers(RADIUS, CELL + RADIUS, 3) for cell in cells]
        centres = cells * CELL + np.array(places).reshape(-1, 3)
        points = (centres[:, None] + offsets).reshape(-1, 3) - region.start
        points = points[((points >= 0) & (points < region.shape)).all(1)]
        pixels[tuple(points.T)] = 230
        store.write(region, pixels[np.newaxis])
    store.build_pyramid()
    return store.image()


def peak() -> float:
    """GiB that this process took at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def volume(edge: int) -> None:
    """Prints time and memory from a stored map to labels and table."""
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("BENCHMARK_DIR")))
    try:
        child = os.fork()  # making the map takes memory, too
        if not child:
            ball_map(folder / "map.ome.zarr", edge)
            os._exit(0)
        os.waitpid(child, 0)
        before = peak()
        image = open_image(folder / "map.ome.zarr", level=0)
        began = time.perf_counter()
        made = segment(image, folder / "cells", Rule(min_size=2), measurements=Measurements(("basic", "probability")))
        seconds = time.perf_counter() - began
        size = f"{edge**3 / 1e9:.2f} Gvoxel, {len(made.table):,} objects"
        print(
            f"{size}: {seconds:.0f} s ({edge**3 / 1e6 / seconds:.0f} Mvoxel/s), peak {peak():.2f} GiB, {before:.2f} before"
        )
    finally:
        shutil.rmtree(folder)


def peer(edge: int) -> None:
    """Prints the time of labels, sizes and centres, against dask-image, which gives the same objects."""
    try:
        import dask.array as da
        from dask_image import ndmeasure
    except ImportError:
        sys.exit("dask-image is not installed: pip install dask-image")
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("BENCHMARK_DIR")))
    try:
        image = ball_map(folder / "map.ome.zarr", edge)
        values = image.stored(whole(image.shape))[0]
        began = time.perf_counter()
        made = segment(image, folder / "cells", Rule(), measurements=Measurements(("basic",)))
        ours = time.perf_counter() - began
        began = time.perf_counter()
        array = da.from_array(values, chunks=(128,) * 3)
        labels, n = ndmeasure.label(array >= 128)
        labels, n = da.compute(labels, n)
        theirs = time.perf_counter() - began
        same = n == len(made.table)
        print(f"{edge}^3, {len(made.table):,} objects (same number: {same}): ours {ours:.1f} s with table and labels written; "
              f"dask-image's label alone, in memory {theirs:.1f} s: {theirs / ours:.1f}x")  # fmt: skip
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("accuracy", "volume", "peer"))
    parser.add_argument("--edge", type=int, default=384, help="voxels along each axis")
    wanted = parser.parse_args()
    if wanted.what == "accuracy":
        data = Path(os.environ.get("BRUSHWORK_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
        if not data.is_dir():
            sys.exit(f"there are no images in {data}; set BRUSHWORK_TEST_DATA")
        accuracy(data)
    else:
        {"volume": volume, "peer": peer}[wanted.what](wanted.edge)


if __name__ == "__main__":
    main()
