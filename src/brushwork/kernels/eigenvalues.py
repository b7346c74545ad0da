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
three: 4e-3), as long as entries stay between 1e-36 and 1e37; smaller ones give 0 instead of differences, never NaN.
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

F32 = np.float32
# e(r) and c(r) as polynomials, constant first: the nearest of degree 7 (degree 6: three times the error; degree 8: no gain).
# Written out, because a fit in another process may end in another last digit.
APART = (
    F32(1.7320508),
    F32(0.3333304),
    F32(-0.096159294),
    F32(0.04881168),
    F32(-0.028654594),
    F32(0.015437627),
    F32(-0.005923974),
    F32(0.0011073597),
)
PROJECTION = (
    F32(0.4330126),
    F32(-0.16665426),
    F32(0.12000241),
    F32(-0.09631195),
    F32(0.074678555),
    F32(-0.047437172),
    F32(0.019981205),
    F32(-0.0039381264),
)
ZERO, ONE, HALF, THIRD, SIXTH = F32(0), F32(1), F32(1 / 2), F32(1 / 3), F32(1 / 6)
TINY = F32(1e-20)  # keeps 1 / p finite where the matrix is a multiple of 1


@kernel(inline="always")
def polynomial(x, square, fourth, c):
    """Sum of c[k] x^k; pairs first, because eight steps that wait for each other take longer than the rest."""
    low = fma(fma(splat(c[3]), x, splat(c[2])), square, fma(splat(c[1]), x, splat(c[0])))
    high = fma(fma(splat(c[7]), x, splat(c[6])), square, fma(splat(c[5]), x, splat(c[4])))
    return fma(high, fourth, low)


@kernel(inline="always")
def half_square(x, y, xy, xz, yz):
    """Half the sum of squares of the nine entries of a symmetric matrix without trace (z = -x - y)."""
    return fma(x, x, y * (x + y)) + fma(yz, yz, fma(xz, xz, xy * xy))


@kernel(inline="always")
def eigenvalues(xx, yy, zz, xy, xz, yz):
    """Of the matrix ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz)), descending.

    NumPy: np.linalg.eigvalsh(matrix)[::-1]
    """
    # A power of two takes entries of any magnitude to about 1, exactly: their cubes neither overflow nor vanish.
    diagonal, others = absolute(xx) + absolute(yy), absolute(xy) + absolute(xz)
    unit = power_of_two((diagonal + absolute(zz)) + (others + absolute(yz)))
    scale = inverse_of_power(unit)
    mean = (xx + yy + zz) * splat(THIRD)
    x, y = xx - mean, yy - mean
    x, y, xy, xz, yz = x * scale, y * scale, xy * scale, xz * scale, yz * scale
    p_p = fma(half_square(x, y, xy, xz, yz), splat(THIRD), splat(TINY))
    p = sqrt(p_p)
    one_by_p = divide(splat(ONE), p)
    # (x2, y2, xy2, xz2, yz2) = B^2 - 2 p^2, where B is not yet divided by p; it has no trace either (z = -x - y)
    xy_xy, xz_xz, yz_yz, two_p_p = xy * xy, xz * xz, yz * yz, p_p + p_p
    x2 = fma(x, x, (xy_xy + xz_xz) - two_p_p)
    y2 = fma(y, y, (xy_xy + yz_yz) - two_p_p)
    xy2 = fma(xy, x + y, xz * yz)
    xz2 = xy * yz - y * xz
    yz2 = xy * xz - x * yz
    off_diagonal = fma(yz, yz2, fma(xz, xz2, xy * xy2))
    product = fma(x, x2 + (x2 + y2), y * (y2 + (x2 + y2))) + (off_diagonal + off_diagonal)
    r = product * ((one_by_p * splat(SIXTH)) * (one_by_p * one_by_p))
    t = absolute(r)
    square = t * t
    fourth = square * square
    e, c = polynomial(t, square, fourth, APART), polynomial(t, square, fourth, PROJECTION)
    a = splat(ONE) - c * e
    c = copysign(c * one_by_p, splat(ZERO) - r)  # now -c / p, with r's sign
    x, y = fma(a, x, c * x2), fma(a, y, c * y2)
    xy, xz, yz = fma(a, xy, c * xy2), fma(a, xz, c * xz2), fma(a, yz, c * yz2)
    d = sqrt(half_square(x, y, xy, xz, yz)) * unit
    e = copysign(e, r) * (p * unit)
    apart, middle = mean + e, mean - e * splat(HALF)
    larger, smaller = middle + d, middle - d
    return where_negative(r, larger, apart), where_negative(r, smaller, larger), where_negative(r, apart, smaller)
