"""The 1D filters of ilastik's feature definition, as float32 half kernels and stencil coefficients.

A scale s is presmoothed by one large Gaussian; then every family uses filters of at most radius 2 at n = min(s, 1).
"""

import math

import numpy as np
from numpy.typing import NDArray

PRESMOOTH_WINDOW, STENCIL_WINDOW = 3.5, 2.0  # radius / sigma
NARROW, INNER = 0.66, 0.5  # the DoG's second Gaussian and the structure tensor's derivative, in units of n
SMALLEST_SIGMA = 0.05  # below it exp() would underflow; the filters have long reached their limits

# Positions in the stencil coefficients of one axis: centre first, then distance 1 and 2. An odd filter has no centre.
SMOOTH = 0  # 3 numbers: Gaussian at n
FIRST = 3  # 2 numbers: first derivative at n
SECOND = 5  # 3 numbers: second derivative at n
NARROW_SMOOTH = 8  # 2 numbers: Gaussian at 0.66 n
INNER_SMOOTH = 10  # 2 numbers: Gaussian at 0.5 n
INNER_FIRST = 12  # 1 number: first derivative at 0.5 n
N_COEFFICIENTS = 13
STENCIL_RADIUS = 3  # the structure tensor: a derivative (1), then smoothing (2)


def half_kernel(sigma: float, window: float, order: int) -> NDArray[np.float32]:
    """Coefficients 0 .. radius of the sampled Gaussian derivative; the other half follows by (anti)symmetry.

    sigma : pixels; radius floor(window * sigma + 0.5), at least 1 for derivatives.
    order : 0 sums to 1; 1 answers slope 1 with 1; 2 is free of DC and answers x^2 / 2 with 1.
    """
    sigma = max(sigma, SMALLEST_SIGMA)
    radius = max(math.floor(window * sigma + 0.5), min(order, 1))
    x = np.arange(-radius, radius + 1, dtype=np.float64)
    g = np.exp(-0.5 * (x / sigma) ** 2)
    if order == 0:
        k = g / g.sum()
    elif order == 1:
        k = x * g
        k /= (k * x).sum()
    else:
        k = ((x / sigma) ** 2 - 1) * g
        k -= k.mean()
        k /= (k * x * x / 2).sum()
    return k[radius:].astype(np.float32)


def presmoothing_sigma(sigma: float) -> float:
    """What is left to smooth before the stencils at n = min(sigma, 1) (pixels)."""
    return math.sqrt(sigma * sigma - 1) if sigma > 1 else sigma


def presmoothing(sigma: float) -> NDArray[np.float32]:
    """The large Gaussian of scale `sigma` (pixels) as a half kernel."""
    return half_kernel(presmoothing_sigma(sigma), PRESMOOTH_WINDOW, 0)


def stencil_coefficients(sigma: float) -> NDArray[np.float32]:
    """(13,) coefficients of all stencils of scale `sigma` (pixels) along one axis, at the positions named above."""
    n = min(sigma, 1.0)

    def padded(k: NDArray[np.float32], length: int) -> NDArray[np.float32]:
        return np.pad(k, (0, length))[:length]

    return np.concatenate(
        [
            padded(half_kernel(n, STENCIL_WINDOW, 0), 3),
            padded(half_kernel(n, STENCIL_WINDOW, 1), 3)[1:],
            padded(half_kernel(n, STENCIL_WINDOW, 2), 3),
            padded(half_kernel(NARROW * n, STENCIL_WINDOW, 0), 2),
            padded(half_kernel(INNER * n, STENCIL_WINDOW, 0), 2),
            padded(half_kernel(INNER * n, STENCIL_WINDOW, 1), 2)[1:],
        ]
    )


def stencil_reach(sigma: float) -> int:
    """How far the stencils of a scale look along an axis, beyond its presmoothing (pixels)."""
    return len(half_kernel(min(sigma, 1.0), STENCIL_WINDOW, 1)) - 1


def tensor_reach(sigma: float) -> int:
    """The same for the structure tensor: a derivative, then smoothing."""
    n = min(sigma, 1.0)
    return len(half_kernel(INNER * n, STENCIL_WINDOW, 1)) + len(half_kernel(n, STENCIL_WINDOW, 0)) - 2
