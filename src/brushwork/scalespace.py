"""The scale space of a block and the families that ask it: the plain statement of what a feature is.

The six built-in families are ilastik's. Here they are a few lines of NumPy each; the fused kernels compute the same numbers
(to float32 rounding) and are held against these lines in the tests. A family of your own is ten lines:

    def local_range(space):                      # -> (n_maps, *space.shape)
        smooth = space.presmoothed
        return (maximum_filter(smooth, 3, axes=space.axes) - minimum_filter(smooth, 3, axes=space.axes))[None]

    FAMILIES["local-range"] = Family(local_range, maps=lambda ndim: 1, reach=lambda sigma: 1, help="contrast within 3 pixels")
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points

import numpy as np
from numpy.typing import NDArray

from brushwork.errors import unknown
from brushwork.kernels.filters import STENCIL_WINDOW, half_kernel, presmoothing, stencil_reach, tensor_reach


@dataclass(frozen=True)
class Family:
    """A kind of filter.

    compute : ScaleSpace -> (n_maps, *space.shape) float32.
    maps : number of axes it works in (2 or 3) -> number of maps.
    reach : sigma along an axis (pixels) -> how far it looks beyond the presmoothing (pixels).
    """

    compute: Callable[["ScaleSpace"], NDArray[np.float32]]
    maps: Callable[[int], int]
    reach: Callable[[float], int]
    help: str
    smallest_sigma: float = 0.7
    group: str = "own"


class ScaleSpace:
    """The derivatives of one channel of one block at one scale, each computed once.

    It owns a memo, nothing else. This is the plain statement of the definition (ilastik's): presmooth with a Gaussian of
    sqrt(sigma^2 - 1), then work at n = min(sigma, 1); the fused kernels answer the same questions faster.

    padded : (*shape) float32 with mirrored surroundings; values near its edges are not exact.
    sigmas : pixels per axis. signs : per axis, see kernels.mirror. per_section : leave the first axis (z) alone.
    """

    def __init__(
        self,
        padded: NDArray[np.float32],
        sigmas: tuple[float, ...],
        signs: Sequence[NDArray[np.float32]],
        *,
        per_section: bool = False,
        dialect: str = "",
    ) -> None:
        self.image = padded
        self.shape = padded.shape
        self.dialect = dialect
        self.axes = tuple(range(1 if per_section else 0, padded.ndim))
        self._sigmas, self._signs = sigmas, signs
        self._memo: dict[tuple, NDArray[np.float32]] = {}

    @property
    def ndim(self) -> int:
        """The number of axes that are filtered."""
        return len(self.axes)

    @cached_property
    def presmoothed(self) -> NDArray[np.float32]:
        out = self.image
        for axis in self.axes:
            out = _correlate(out, presmoothing(self._sigmas[axis]), 0, axis)
        return out

    def derivative(self, *along: int, factor: float = 1.0) -> NDArray[np.float32]:
        """The Gaussian derivative along the given axes (none: the Gaussian) at `factor` times n.

        derivative() is smoothing, derivative(y) a slope, derivative(y, x) a mixed second derivative.
        """
        orders = tuple(along.count(axis) for axis in self.axes)
        key = (orders, factor)
        if key not in self._memo:
            self._memo[key] = self.filtered(self.presmoothed, orders, factor)
        return self._memo[key]

    def filtered(self, array: NDArray[np.float32], orders: Sequence[int], factor: float = 1.0) -> NDArray[np.float32]:
        """`array` through the small filter of each axis, of the given order of derivative, at `factor` times n."""
        for axis, order in zip(self.axes, orders):
            n = factor * min(self._sigmas[axis], 1.0)
            array = _correlate(array, half_kernel(n, STENCIL_WINDOW, order), order, axis)
        return array

    def smoothed(self, array: NDArray[np.float32], factor: float = 1.0) -> NDArray[np.float32]:
        return self.filtered(array, (0,) * self.ndim, factor)

    def gradient(self, factor: float = 1.0, *, reflected: bool = False) -> list[NDArray[np.float32]]:
        """The slope along every axis; `reflected`: as if the products of slopes, not the image, were mirrored at the border."""
        slopes = [self.derivative(axis, factor=factor) for axis in self.axes]
        if reflected:
            others = [[a for a in range(len(self.shape)) if a != axis] for axis in self.axes]
            slopes = [g * np.expand_dims(self._signs[axis], other) for g, axis, other in zip(slopes, self.axes, others)]
        return slopes


def _correlate(array: NDArray[np.float32], half: NDArray[np.float32], order: int, axis: int) -> NDArray[np.float32]:
    from scipy.ndimage import correlate1d  # loads in a third of a second; the fused kernels do without

    mirrored_half = -half[:0:-1] if order % 2 else half[:0:-1]
    full = np.concatenate([mirrored_half, half]).astype(np.float64)
    return correlate1d(array, full, axis=axis, mode="mirror", output=np.float32)


def _eigenvalues(entry: Callable[[int, int], NDArray[np.float32]], ndim: int) -> NDArray[np.float32]:
    """(ndim, *shape), descending, of the symmetric matrices entry(i, j)."""
    matrices = np.empty((*entry(0, 0).shape, ndim, ndim))
    for i in range(ndim):
        for j in range(i, ndim):
            matrices[..., i, j] = matrices[..., j, i] = entry(i, j)
    return np.moveaxis(np.linalg.eigvalsh(matrices)[..., ::-1], -1, 0).astype(np.float32)


def _gaussian(space: ScaleSpace) -> NDArray[np.float32]:
    return space.derivative()[None]


def _laplacian(space: ScaleSpace) -> NDArray[np.float32]:
    return np.stack([space.derivative(a, a) for a in space.axes]).sum(0, keepdims=True)


def _gradient_magnitude(space: ScaleSpace) -> NDArray[np.float32]:
    return np.sqrt(np.square(np.stack(space.gradient())).sum(0, keepdims=True))


def _difference_of_gaussians(space: ScaleSpace) -> NDArray[np.float32]:
    return (space.derivative() - space.derivative(factor=0.66))[None]


def _structure_tensor(space: ScaleSpace) -> NDArray[np.float32]:
    derivative, integration = (1.0, 0.5) if space.dialect else (0.5, 1.0)
    g = space.gradient(derivative, reflected=True)
    return _eigenvalues(lambda i, j: space.smoothed(g[i] * g[j], integration), space.ndim)


def _hessian(space: ScaleSpace) -> NDArray[np.float32]:
    return _eigenvalues(lambda i, j: space.derivative(space.axes[i], space.axes[j]), space.ndim)


FAMILIES: dict[str, Family] = {
    "gaussian": Family(
        _gaussian,
        lambda ndim: 1,
        stencil_reach,
        "smoothed brightness: what is bright, what is dark",
        0.3,
        group="intensity",
    ),
    "laplacian": Family(
        _laplacian, lambda ndim: 1, stencil_reach, "Laplacian of Gaussian: bright or dark blobs and lines", group="edge"
    ),
    "gradient-magnitude": Family(
        _gradient_magnitude,
        lambda ndim: 1,
        stencil_reach,
        "Gaussian gradient magnitude: edges, whatever their direction",
        group="edge",
    ),
    "difference-of-gaussians": Family(
        _difference_of_gaussians,
        lambda ndim: 1,
        stencil_reach,
        "difference of two Gaussians: blobs, finer than the Laplacian",
        group="edge",
    ),
    "structure-tensor": Family(
        _structure_tensor,
        lambda ndim: ndim,
        tensor_reach,
        "structure tensor eigenvalues: texture; edge against corner",
        group="texture",
    ),
    "hessian": Family(
        _hessian,
        lambda ndim: ndim,
        stencil_reach,
        "Hessian of Gaussian eigenvalues: ridges, tubes and plates",
        group="texture",
    ),
}
BUILT_IN = tuple(FAMILIES)


def family(name: str) -> Family:
    """The family of that name, also of other packages (entry points of the group "brushwork.families").

    Raises InputError for an unknown name; it lists the known ones.
    """
    if name not in FAMILIES:
        load_plugins()
    if name not in FAMILIES:
        raise unknown("feature family", name, FAMILIES)
    return FAMILIES[name]


def load_plugins() -> None:
    """Register the families that other packages declare."""
    for entry in entry_points(group="brushwork.families"):
        FAMILIES.setdefault(entry.name, entry.load())
