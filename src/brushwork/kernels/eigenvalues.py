"""Eigenvalues of symmetric 3 x 3 matrices, sixteen at a time, without branches.

The closed form loses half of the digits where two eigenvalues nearly coincide: they depend on the square root of a difference
that cancels. Here only the eigenvalue that stands apart is taken from it, where it is well conditioned. The other two follow
from the matrix that is left when the first is projected out, and their distance from a sum of squares, where nothing cancels.

Strategy: A = mean + p B, with B free of trace and scaled so that B's eigenvalues are 2 cos of three angles 120 degrees apart.

    r = det(B) / 2                     in -1 .. 1; r > 0: the largest eigenvalue stands apart, r < 0: the smallest
    e(r) = 2 cos(acos(|r|) / 3)        that eigenvalue of B, up to sign; smooth on 0 .. 1, hence a polynomial
    M = a B - c (B^2 - 2)              B without its projection on that eigenvector and without the mean of the other two;
                                       c(r) = e / (2 e^2 - 2), again a polynomial; a = 1 - c e
    d = |M| / sqrt(2)                  half the distance of the other two, which lie at -e / 2 -+ d (times the sign of r)

The error is below 1e-6 of the largest entry for random, nearly degenerate and degenerate matrices alike (a closed form for all
three: 4e-3), and entries may be as small or large as 1e-38 and 1e37.
"""

import numpy as np

from brushwork.kernels.compile import kernel
from brushwork.kernels.simd import (
    absolute,
    copysign,
    divide,
    fma,
    inverse_of_power,
    power_of_two,
    splat,
    sqrt,
    where_negative,
)

DEGREE = 7  # one less: the error triples; one more: no gain in float32
F32 = np.float32


def _apart(r):
    return 2 * np.cos(np.arccos(r) / 3)


def _projection(r):
    return 0.5 * _apart(r) / (_apart(r) ** 2 - 1)


def _polynomial(function):
    """Coefficients, constant first, of a nearly best polynomial for `function` on 0 .. 1."""
    nodes = 0.5 - 0.5 * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    series = np.polynomial.Chebyshev.fit(nodes, function(nodes), DEGREE, domain=[0, 1])
    return tuple(F32(c) for c in series.convert(kind=np.polynomial.Polynomial).coef)


APART, PROJECTION = _polynomial(_apart), _polynomial(_projection)
THIRD, HALF, SIXTH = F32(1 / 3), F32(1 / 2), F32(1 / 6)
TINY = F32(1e-30)  # keeps 1 / p finite where the matrix is a multiple of 1


@kernel(inline="always")
def polynomial(x, c):
    high = fma(fma(fma(splat(c[7]), x, splat(c[6])), x, splat(c[5])), x, splat(c[4]))
    return fma(fma(fma(fma(high, x, splat(c[3])), x, splat(c[2])), x, splat(c[1])), x, splat(c[0]))


@kernel(inline="always")
def dot(x, y, z, xy, xz, yz, x2, y2, z2, xy2, xz2, yz2):
    """Half the sum of products of all nine entries of two symmetric matrices."""
    diagonal = fma(z, z2, fma(y, y2, x * x2)) * splat(HALF)
    return fma(yz, yz2, fma(xz, xz2, fma(xy, xy2, diagonal)))


@kernel(inline="always")
def eigenvalues(xx, yy, zz, xy, xz, yz):
    """Of the matrix ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz)), descending.

    NumPy: np.linalg.eigvalsh(matrix)[::-1]
    """
    mean = (xx + yy + zz) * splat(THIRD)
    x, y, z = xx - mean, yy - mean, zz - mean
    # A power of two takes entries of any magnitude to about 1, exactly: their cubes neither overflow nor vanish.
    unit = power_of_two((absolute(x) + absolute(y)) + (absolute(xy) + absolute(xz)) + absolute(yz))
    scale = inverse_of_power(unit)
    x, y, z, xy, xz, yz = x * scale, y * scale, z * scale, xy * scale, xz * scale, yz * scale
    p = sqrt(fma(dot(x, y, z, xy, xz, yz, x, y, z, xy, xz, yz), splat(THIRD), splat(TINY)))
    scale = divide(splat(F32(1)), p)
    x, y, z, xy, xz, yz = x * scale, y * scale, z * scale, xy * scale, xz * scale, yz * scale
    # B^2 - 2, which has no trace either
    xy_xy, xz_xz, yz_yz, two = xy * xy, xz * xz, yz * yz, splat(F32(2))
    x2 = fma(x, x, (xy_xy + xz_xz) - two)
    y2 = fma(y, y, (xy_xy + yz_yz) - two)
    z2 = fma(z, z, (xz_xz + yz_yz) - two)
    xy2 = fma(xy, x + y, xz * yz)
    xz2 = fma(xz, x + z, xy * yz)
    yz2 = fma(yz, y + z, xy * xz)
    r = dot(x, y, z, xy, xz, yz, x2, y2, z2, xy2, xz2, yz2) * splat(THIRD)
    e, c = polynomial(absolute(r), APART), polynomial(absolute(r), PROJECTION)
    a = splat(F32(1)) - c * e
    c = copysign(c, splat(F32(0)) - r)  # now -c
    x, y, z = fma(a, x, c * x2), fma(a, y, c * y2), fma(a, z, c * z2)
    xy, xz, yz = fma(a, xy, c * xy2), fma(a, xz, c * xz2), fma(a, yz, c * yz2)
    d = sqrt(dot(x, y, z, xy, xz, yz, x, y, z, xy, xz, yz))
    p = p * unit
    e, d = copysign(e, r) * p, d * p
    apart, middle = mean + e, mean - e * splat(HALF)
    larger, smaller = middle + d, middle - d
    return where_negative(r, larger, apart), where_negative(r, smaller, larger), where_negative(r, apart, smaller)
