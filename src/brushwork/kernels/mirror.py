"""Blocks with mirrored surroundings: what a filter near the image's border sees."""

import numpy as np
from numpy.typing import NDArray

from brushwork.kernels.compile import kernel


def mirrored(position: NDArray[np.int64], length: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Where positions outside 0 .. length - 1 lie in the image, mirrored without repeating the edge (SciPy's "mirror").

    Returns the positions inside, and signs: -1 where an odd number of reflections leads there, else 1.
    """
    if length == 1:
        return np.zeros_like(position), np.ones(position.shape, np.float32)
    period = 2 * (length - 1)
    position = position % period
    odd = position >= length
    return np.where(odd, period - position, position), np.where(odd, -1, 1).astype(np.float32)


@kernel
def gather(source, zs, ys, xs, out):
    """out[z, y, x] = source[zs[z], ys[y], xs[x]]; out may be wider than xs, the rest is set to 0."""
    n = len(xs)
    for z in range(len(zs)):
        for y in range(len(ys)):
            line, to = source[zs[z], ys[y]], out[z, y]
            for x in range(n):
                to[x] = line[xs[x]]
            for x in range(n, len(to)):
                to[x] = 0
