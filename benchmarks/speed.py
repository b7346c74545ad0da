"""Speed against peers, in one process, warm, on two threads: ratios of medians.

    python -m benchmarks.speed [2d] [3d] [command] [training] [imported]

Peers: scipy.ndimage computes the same maps; scikit-learn's RandomForest(100) classifies them; scikit-image's
multiscale_basic_features with that forest is what one would write without brushwork. Peers run as their users run them
(scikit-learn with n_jobs=2; scipy.ndimage has one thread).
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from brushwork.blocks import Region, grid, run_over, whole
from brushwork.classifier import ARRAY_EDGE, Classifier
from brushwork.estimators import estimator
from brushwork.features import FeatureSet
from brushwork.image import as_image
from brushwork.jobs import stored_values
from brushwork.kernels.compile import kernel
from brushwork.kernels.filters import presmoothing
from brushwork.kernels.simd import fma, load, splat, store
from brushwork.labels import from_array
from brushwork.training import train, training_rows

THREADS = 2
REPEATS, PEER_REPEATS = 7, 1
SHAPES = {2: (2048, 2048), 3: (128, 256, 256)}
FEATURES = {2: "all", 3: "gaussian:0.3 *:0.7,1,1.6,3.5/3d"}
# Multiplications, additions and fused pairs of the stencils per pixel and scale, counted in kernels/scale2d.py and scale3d*.py.
STENCIL_OPERATIONS = {2: 115, 3: 420}


def median_time(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Seconds; one more call before warms up, except for peers that run once."""
    if repeats > 1:
        work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def picture(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(image float32, strokes): blurred blobs with noise; three classes by brightness, 5,000 painted pixels."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.standard_normal(shape, np.float32), 6)
    smooth /= smooth.std()
    image = 1000 + 300 * smooth + 60 * rng.standard_normal(shape, np.float32)
    classes = 1 + (smooth > -0.3) + (smooth > 1)
    strokes = np.zeros(shape, np.uint8)
    painted = rng.choice(smooth.size, 5000, replace=False)
    strokes.flat[painted] = classes.flat[painted]
    return image.astype(np.float32), strokes


def row(work: str, mine: float, peer: float, least: float, stretch: float, n: int) -> None:
    ratio = peer / mine
    verdict = "stretch" if ratio >= stretch else "met" if ratio >= least else "MISSED"
    bars = f"{least:g}x / {stretch:g}x"
    print(
        f"{work:34} {mine:8.3f} s {peer:8.2f} s {ratio:7.1f}x  {bars:>12}  {verdict:8} {n / mine / 1e6:7.1f} Mpixel/s",
        flush=True,
    )


def maps_of(features: FeatureSet, image: Any) -> None:
    """All maps, tile by tile, on THREADS threads, consumed by nobody."""

    def one(region: Any) -> None:
        for _ in features.tiles(image, features.block(image, region)):
            pass

    for _ in run_over(one, grid(whole(image.shape), ARRAY_EDGE[len(image.shape)]), threads=THREADS):
        pass


def scipy_maps(image: np.ndarray, features: FeatureSet) -> None:
    """The filters of the same maps by scipy.ndimage: each derivative once per scale, without eigenvalues in 3D."""
    from scipy.ndimage import gaussian_filter

    ndim = image.ndim
    for sigma in sorted({f.sigma for f in features.features}):
        families = {f.family for f in features.features if f.sigma == sigma}
        n = min(sigma, 1.0)

        def filtered(source: np.ndarray, *along: int, factor: float = 1.0, n: float = n) -> np.ndarray:
            order = [along.count(axis) for axis in range(ndim)]
            return gaussian_filter(source, factor * n, order, truncate=2, mode="mirror")

        smooth = gaussian_filter(image, np.sqrt(sigma**2 - 1) if sigma > 1 else sigma, truncate=3.5, mode="mirror")
        filtered(smooth)
        if families == {"gaussian"}:
            continue
        filtered(smooth, factor=0.66)
        for i in range(ndim):
            filtered(smooth, i)
            for j in range(i, ndim):
                filtered(smooth, i, j)
        slopes = [filtered(smooth, i, factor=0.5) for i in range(ndim)]
        for i in range(ndim):
            for j in range(i, ndim):
                filtered(slopes[i] * slopes[j])


def in_parallel_tiles(predict: Callable[..., Any], maps: np.ndarray, n_classes: int, tile: int = 1 << 14) -> None:
    def one(part: range) -> None:
        out = np.empty((n_classes, tile), np.float32)
        for at in part:
            predict(np.ascontiguousarray(maps[:, at : at + tile]), out[:, : min(tile, maps.shape[1] - at)])

    starts = range(0, maps.shape[1], tile)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, [starts[i::THREADS] for i in range(THREADS)]))


@kernel
def additions(values: np.ndarray, n: int) -> None:
    """n rounds of eight independent vector FMAs: what the processor can do."""
    a, b = splat(np.float32(1.0000001)), splat(np.float32(1e-9))
    v0, v1, v2, v3 = load(values, 0), load(values, 16), load(values, 32), load(values, 48)
    v4, v5, v6, v7 = load(values, 64), load(values, 80), load(values, 96), load(values, 112)
    for _ in range(n):
        v0, v1, v2, v3 = fma(v0, a, b), fma(v1, a, b), fma(v2, a, b), fma(v3, a, b)
        v4, v5, v6, v7 = fma(v4, a, b), fma(v5, a, b), fma(v6, a, b), fma(v7, a, b)
    store(values, 0, v0 + v1 + v2 + v3 + v4 + v5 + v6 + v7)


def peak_operations() -> float:
    """Vector operations per second and lane of THREADS threads, measured."""
    n = 2_000_000
    buffers = [np.ones(128, np.float32) for _ in range(THREADS)]

    def work() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda values: additions(values, n), buffers))

    return THREADS * n * 8 * 16 / median_time(work, 3)


def operations(features: FeatureSet, ndim: int) -> int:
    """Arithmetic instructions per pixel, without eigenvalues of 3 x 3 matrices: presmoothing and stencils."""
    total = 0
    for sigma in {f.sigma for f in features.features}:
        radius = len(presmoothing(sigma)) - 1
        only_gaussian = {f.family for f in features.features if f.sigma == sigma} == {"gaussian"}
        total += ndim * (1 + 2 * radius) + (5 * ndim if only_gaussian else STENCIL_OPERATIONS[ndim])
    return total


def compare(ndim: int) -> None:
    from sklearn.ensemble import RandomForestClassifier

    shape = SHAPES[ndim]
    pixels, strokes = picture(shape)
    n = pixels.size
    image = as_image(pixels)
    labels = from_array(strokes)
    features = FeatureSet.parse(FEATURES[ndim]).resolved(image)
    table = training_rows([(image, labels)], features)
    model = train([(image, labels)], features, threads=THREADS)
    theirs = RandomForestClassifier(100, n_jobs=THREADS, random_state=0).fit(table.rows, table.y)

    mine = median_time(lambda: maps_of(features, image))
    bound = operations(features, ndim) * n / peak_operations()
    peer_maps = median_time(lambda: scipy_maps(pixels, features), PEER_REPEATS)
    row(f"{features.n_maps} maps in {ndim}D", mine, peer_maps, 45, {2: 80, 3: 90}[ndim], n)
    print(f"{'':34} {bound / mine:.0%} of the arithmetic bound ({bound:.3f} s without eigenvalues and memory)")

    maps = features.at(image, features.block(image, whole(shape))).reshape(features.n_maps, -1)
    peer_forest = forest_time(theirs, maps)
    if ndim == 2:
        mine = median_time(lambda: in_parallel_tiles(model.estimator.predict, maps, 3))
        row("the default forest on them", mine, peer_forest, 20, 70, n)
    maps = maps[:0]

    whole_way = median_time(lambda: to_bytes(model, image))
    if ndim == 2:
        peer = median_time(scikit_image_way(pixels, strokes), PEER_REPEATS)
        row("end to end, to uint8 probabilities", whole_way, peer, 20, 45, n)
    else:
        row("end to end, to uint8 probabilities", whole_way, peer_maps + peer_forest, 25, 50, n)


def forest_time(forest: Any, maps: np.ndarray) -> float:
    rows = np.ascontiguousarray(maps.T)
    return median_time(lambda: forest.predict_proba(rows), PEER_REPEATS)


def to_bytes(model: Classifier, image: Any) -> np.ndarray:
    """uint8 probabilities of an image in memory, as a prediction job computes them."""
    out = np.empty((model.n_classes, *image.shape), np.uint8)

    def one(region: Region) -> None:
        probabilities = model.predict_block(image, model.block(image, region))
        out[(slice(None), *region.slices)] = stored_values(probabilities, "probabilities", out.dtype)

    for _ in run_over(one, grid(whole(image.shape), ARRAY_EDGE[len(image.shape)]), threads=THREADS):
        pass
    return out


def scikit_image_way(pixels: np.ndarray, strokes: np.ndarray) -> Callable[[], Any]:
    """Features by scikit-image and a forest by scikit-learn; training is not counted."""
    from skimage.feature import multiscale_basic_features
    from sklearn.ensemble import RandomForestClassifier

    def maps() -> np.ndarray:
        return multiscale_basic_features(pixels, sigma_min=0.7, sigma_max=10, num_sigma=6, workers=THREADS)

    found = maps()
    forest = RandomForestClassifier(100, n_jobs=THREADS, random_state=0).fit(found[strokes > 0], strokes[strokes > 0])
    del found
    return lambda: (forest.predict_proba(maps().reshape(pixels.size, -1)) * 255).round().astype(np.uint8)


def compare_command() -> None:
    """The whole `brushwork predict` command, start of Python included."""
    import tifffile

    pixels, strokes = picture(SHAPES[2])
    peer = median_time(scikit_image_way(pixels, strokes), PEER_REPEATS)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tifffile.imwrite(place / "image.tif", pixels.clip(0, 65535).astype(np.uint16))
        train([(as_image(pixels), from_array(strokes))]).save(place / "model.bwm")
        command = [Path(sys.executable).parent / "brushwork", "predict", "model.bwm", "image.tif", "-o", "out.ome.zarr"]
        command += ["--threads", str(THREADS), "--overwrite"]
        usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        mine = median_time(lambda: subprocess.run(command, cwd=place, check=True, capture_output=True, env=usual), 5)
    row("the command `brushwork predict`", mine, peer, 5, 10, pixels.size)


def imported() -> None:
    """Features and a forest of 100 fully grown trees, as ilastik's projects bring them; scikit-learn grows it here."""
    pixels, strokes = picture(SHAPES[2])
    image = as_image(pixels)
    model = train([(image, from_array(strokes))], estimator="sklearn:RandomForestClassifier", threads=THREADS)
    mine = median_time(lambda: to_bytes(model, image))
    peer = median_time(scikit_image_way(pixels, strokes), PEER_REPEATS)
    row("an imported forest, end to end", mine, peer, 6, 12, pixels.size)


def training() -> None:
    """Fitting the default forest on 49 maps."""
    rng = np.random.default_rng(0)
    for n, bar in [(5_000, 0.08), (100_000, 1.5)]:
        y = rng.integers(0, 3, n)
        rows = (rng.standard_normal((n, 49), np.float32) + y[:, None] * rng.random(49, np.float32)).astype(np.float32)
        seconds = median_time(
            lambda rows=rows, y=y: estimator("symmetric-forest").fit(rows, y, n_classes=3, threads=THREADS), 3
        )
        verdict = "met" if seconds <= bar else "MISSED"
        print(f"{f'training, {n:,} pixels x 49 maps':34} {seconds:8.3f} s   at most {bar} s  {verdict}", flush=True)


def main(parts: list[str]) -> None:
    parts = parts or ["2d", "3d", "command", "training", "imported"]
    print(f"{'work':34} {'brushwork':>10} {'peer':>10} {'ratio':>8}  {'bars':>12}")
    if "2d" in parts:
        compare(2)
    if "3d" in parts:
        compare(3)
    if "command" in parts:
        compare_command()
    if "training" in parts:
        training()
    if "imported" in parts:
        imported()


if __name__ == "__main__":
    main(sys.argv[1:])
