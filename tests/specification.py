"""What every feature map is, slowly: ilastik's definition with SciPy, for fast kernels to be compared with.

For a scale s the image is first smoothed with a Gaussian of sigma sqrt(s^2 - 1) (s itself up to 1), cut off at 3.5 sigma. All
families then use Gaussians and their derivatives at n = min(s, 1), cut off at 2 n. Borders are mirrored without repeating
the edge, in every single pass: products of gradients too.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import correlate1d

FAMILIES = (
    "gaussian",
    "laplacian",
    "gradient-magnitude",
    "difference-of-gaussians",
    "structure-tensor",
    "hessian",
)


def gaussian_filter(order: int, sigma: float, window: float) -> np.ndarray:
    """The whole sampled filter (odd length, float32), to be correlated with.

    Order 0 sums to 1; order 1 answers a slope of 1 with 1; order 2 answers constants with 0 and x^2 / 2 with 1.
    A derivative is at least three pixels wide.
    """
    radius = max(math.floor(window * sigma + 0.5), min(order, 1))
    x = np.arange(-radius, radius + 1, dtype=float)
    bell = np.exp(-0.5 * (x / sigma) ** 2)
    if order == 0:
        return (bell / bell.sum()).astype(np.float32)
    if order == 1:
        return (x * bell / (x * x * bell).sum()).astype(np.float32)
    curve = (x * x - sigma * sigma) * bell
    curve -= curve.mean()
    return (curve / (curve * x * x / 2).sum()).astype(np.float32)


def filtered(image: np.ndarray, orders: Sequence[int], sigmas: Sequence[float], window: float) -> np.ndarray:
    """The image through one filter per axis, last axis first, float32 between passes."""
    result = image.astype(np.float32)
    for axis in reversed(range(image.ndim)):
        weights = gaussian_filter(orders[axis], sigmas[axis], window).astype(float)
        result = correlate1d(result, weights, axis=axis, mode="mirror", output=np.float32)
    return result


def eigenvalues(entries: dict[tuple[int, int], np.ndarray], n: int) -> np.ndarray:
    """(n, *shape) eigenvalues, descending, of symmetric matrices given by their entries (i, j) with i <= j."""
    matrix = np.empty((*entries[0, 0].shape, n, n))
    for (i, j), entry in entries.items():
        matrix[..., i, j] = matrix[..., j, i] = entry
    return np.moveaxis(np.linalg.eigvalsh(matrix)[..., ::-1], -1, 0)


def maps(image: np.ndarray, sigma: float | Sequence[float], family: str, dialect: str = "") -> np.ndarray:
    """(n, *shape) float32 maps of one family: as many as the image has axes for tensors, else one.

    image : (y, x) or (z, y, x). sigma : pixels, one number or one per axis. dialect : "ilastik<1.3" has the structure tensor's
    derivatives at n and its smoothing at n / 2, else it is the other way round.
    """
    n_axes = image.ndim
    axes = range(n_axes)
    scales = np.broadcast_to(sigma, n_axes).astype(float)
    presmooth = np.where(scales > 1, np.sqrt(np.maximum(scales**2 - 1, 0)), scales)
    smooth = filtered(image, [0] * n_axes, presmooth, 3.5)
    n = np.minimum(scales, 1)

    def derivative(*along: int, of: np.ndarray = smooth, at: np.ndarray = n) -> np.ndarray:
        return filtered(of, [along.count(axis) for axis in axes], at, 2.0)

    pairs = [(i, j) for i in axes for j in axes if i <= j]
    if family == "gaussian":
        result = [derivative()]
    elif family == "laplacian":
        result = [sum(derivative(axis, axis) for axis in axes)]
    elif family == "gradient-magnitude":
        result = [np.sqrt(sum(derivative(axis) ** 2 for axis in axes))]
    elif family == "difference-of-gaussians":
        result = [derivative() - derivative(at=0.66 * n)]
    elif family == "hessian":
        result = eigenvalues({(i, j): derivative(i, j) for i, j in pairs}, n_axes)
    elif family == "structure-tensor":
        slopes_at, smooth_at = (n, 0.5 * n) if dialect else (0.5 * n, n)
        gradient = [derivative(axis, at=slopes_at) for axis in axes]
        products = {(i, j): derivative(of=gradient[i] * gradient[j], at=smooth_at) for i, j in pairs}
        result = eigenvalues(products, n_axes)
    else:
        raise ValueError(f"Unknown family {family!r}; known are {', '.join(FAMILIES)}.")
    return np.asarray(result, np.float32)
