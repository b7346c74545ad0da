"""How fast the maps in 3D are made, without a forest behind them, beside SciPy's filters alone.

python benchmarks/features3d.py [--scipy]
The workload: 128 x 256 x 256 voxels, the Gaussian at sigma 0.3 and all families at 0.7, 1, 1.6, 3.5 (41 maps). Best and median
of several; two threads share the volume, half of its rows each. CPU seconds are those of one thread, which other programs on
the machine disturb less.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np
from scipy.ndimage import correlate1d

from brushwork.kernels.filters import STENCIL_RADIUS, half_kernel, presmoothing, stencil_coefficients
from brushwork.kernels.scale3d import Scale3D, Stream3D

SHAPE = 128, 256, 256
SIGMAS = 0.7, 1.0, 1.6, 3.5
REPEATS = 9


def bank(sigmas, small=()):
    """(scales, n_maps): all families at `sigmas`, the Gaussian alone at `small`."""
    outputs = [(s, [i, *[-1] * 9]) for i, s in enumerate(small)]
    outputs += [(s, list(range(len(small) + 10 * i, len(small) + 10 * i + 10))) for i, s in enumerate(sigmas)]
    scales = [Scale3D((presmoothing(s),) * 3, np.array([stencil_coefficients(s)] * 3), np.array(o)) for s, o in outputs]
    return scales, len(small) + 10 * len(sigmas)


def padded(volume, halo):
    """(1, z, y, x) block with mirrored surroundings, and signs (all 1: a thin shell of values does not change the time)."""
    block = np.pad(volume, halo, mode="reflect")
    return block[np.newaxis], [np.ones(n, np.float32) for n in block.shape]


def halo_of(scales):
    return max(max(s.radii) for s in scales) + STENCIL_RADIUS


def exhaust(stream, block, halo, signs):
    for _ in stream.tiles(block, (halo,) * 3, signs):
        pass


def timed(work, clock=time.perf_counter, repeats=REPEATS):
    """Best and median seconds, after one run that may compile."""
    work()
    times = []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return f"{min(times):.3f} {median(times):.3f}"


def time_bank(volume):
    scales, n_maps = bank(SIGMAS, small=[0.3])
    halo = halo_of(scales)
    block, signs = padded(volume, halo)
    start = time.perf_counter()
    exhaust(Stream3D(scales, n_maps), np.ascontiguousarray(block[:, :48, :48, :48]), halo, signs)
    print(f"first tiles, compiling or loading: {time.perf_counter() - start:.1f} s")
    stream = Stream3D(scales, n_maps)
    print("1 thread  ", timed(lambda: exhaust(stream, block, halo, signs)))
    print("1 thread, CPU", timed(lambda: exhaust(stream, block, halo, signs), clock=time.thread_time))
    half = SHAPE[1] // 2
    halves = [np.ascontiguousarray(block[:, :, start : start + half + 2 * halo]) for start in (0, half)]
    streams = [stream, Stream3D(scales, n_maps)]
    with ThreadPoolExecutor(2) as pool:

        def both():
            list(pool.map(lambda stream, block: exhaust(stream, block, halo, signs), streams, halves))

        print("2 threads ", timed(both))


def time_scales(volume):
    print("all families at one scale, 1 thread, CPU:")
    for sigma in (0.7, 1.0, 1.6, 3.5, 5.0, 10.0):
        scales, n_maps = bank([sigma])
        halo = halo_of(scales)
        block, signs = padded(volume, halo)
        stream = Stream3D(scales, n_maps)
        run = timed(lambda s=stream, b=block, h=halo, g=signs: exhaust(s, b, h, g), clock=time.thread_time, repeats=5)
        print(f"  sigma {sigma:4}: {run}")


def time_scipy(volume):
    """Every derivative of every family once, eigenvalues left out."""

    def separable(image, weights):
        for axis, w in enumerate(weights):
            image = correlate1d(image, w, axis=axis, mode="mirror", output=np.float32)
        return image

    def whole(sigma, window, order):
        half = half_kernel(sigma, window, order)
        return np.concatenate([(-1) ** order * half[:0:-1], half]).astype(float)

    start = time.perf_counter()
    for sigma in (0.3, *SIGMAS):
        half = presmoothing(sigma)
        smooth = separable(volume, [np.concatenate([half[:0:-1], half]).astype(float)] * 3)
        n = min(sigma, 1.0)
        g, d, dd = (whole(n, 2.0, order) for order in range(3))
        separable(smooth, [g] * 3)
        if sigma == 0.3:
            continue
        orders = [(d, g, g), (dd, g, g), (d, d, g)]
        for weights in (w[i:] + w[:i] for w in orders for i in range(3)):
            separable(smooth, weights)
        separable(smooth, [whole(0.66 * n, 2.0, 0)] * 3)
        inner, slope = whole(0.5 * n, 2.0, 0), whole(0.5 * n, 2.0, 1)
        gradient = [separable(smooth, [slope if a == axis else inner for a in range(3)]) for axis in range(3)]
        for i in range(3):
            for j in range(i, 3):
                separable(gradient[i] * gradient[j], [g] * 3)
    print(f"scipy.ndimage, filters alone, 1 thread: {time.perf_counter() - start:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scipy", action="store_true", help="time SciPy too (half a minute)")
    random_volume = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    print("seconds: best, median")
    time_bank(random_volume)
    time_scales(random_volume)
    if parser.parse_args().scipy:
        time_scipy(random_volume)
