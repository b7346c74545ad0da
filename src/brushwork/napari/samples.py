"""Sample images, generated: nuclei in 2D, vessels in a stack, a tissue in four channels. They need no network."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

LayerData = tuple[NDArray[Any], dict[str, Any], str]


def _spots(shape: tuple[int, ...], n: int, sigma: tuple[float, float], rng: np.random.Generator) -> NDArray[np.float32]:
    """Soft balls of different size and brightness, 0 .. about 1."""
    image = np.zeros(shape, np.float32)
    for s in np.linspace(*sigma, 4):
        points = np.zeros(shape, np.float32)
        at = tuple(rng.integers(0, m, n // 4) for m in shape)
        points[at] = rng.uniform(0.4, 1, n // 4)
        image += gaussian_filter(points, s) * (2 * np.pi * s * s) ** (len(shape) / 2)
    return np.minimum(image, 1)


def nuclei() -> list[LayerData]:
    """Fluorescent nuclei of different brightness over an uneven background, (512, 512) uint16."""
    rng = np.random.default_rng(1)
    shape = (512, 512)
    balls = _spots(shape, 120, (5, 9), rng) > 0.35
    cells = gaussian_filter(balls.astype(np.float32), 1.2) * (0.4 + 0.6 * gaussian_filter(rng.random(shape), 25) * 2)
    uneven = gaussian_filter(rng.random(shape, np.float32), 60)
    light = 300 + 2500 * cells + 6000 * (uneven - uneven.min())
    return [(rng.poisson(light).astype(np.uint16), {"name": "nuclei"}, "image")]


def vessels() -> list[LayerData]:
    """Branching vessels in a stack, (48, 256, 256) uint8, voxels of 2 x 1 x 1 micrometres."""
    rng = np.random.default_rng(2)
    shape = (48, 256, 256)
    field = gaussian_filter(rng.standard_normal(shape).astype(np.float32), (4, 8, 8))
    other = gaussian_filter(rng.standard_normal(shape).astype(np.float32), (4, 8, 8))
    both = np.hypot(field / field.std(), other / other.std())  # small along curves, where both are zero
    light = 40 + 150 * np.exp(-((both / 0.25) ** 2)) + rng.normal(0, 12, shape)
    return [(light.clip(0, 255).astype(np.uint8), {"name": "vessels", "scale": (2, 1, 1)}, "image")]


def tissue() -> list[LayerData]:
    """Cells of two kinds in four channels, (4, 400, 400) uint8: nuclei, membranes, and a marker for each kind."""
    rng = np.random.default_rng(3)
    shape = (400, 400)
    cells = _spots(shape, 160, (6, 8), rng)
    nuclei = gaussian_filter((cells > 0.5).astype(np.float32), 1)
    membranes = gaussian_filter(((cells > 0.15) & (cells < 0.3)).astype(np.float32), 1)
    kind = gaussian_filter(rng.standard_normal(shape), 30) > 0
    markers = [membranes * (kind == k) for k in (True, False)]
    channels = [
        (c * 200 + rng.normal(20, 10, shape)).clip(0, 255).astype(np.uint8) for c in (nuclei, membranes, *markers)
    ]
    names = ("nuclei", "membranes", "marker A", "marker B")
    colors = ("blue", "gray", "green", "magenta")
    return [
        (c, {"name": name, "colormap": color, "blending": "additive"}, "image")
        for c, name, color in zip(channels, names, colors)
    ]
