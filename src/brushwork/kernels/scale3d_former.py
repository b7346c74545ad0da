"""The structure tensor in 3D as ilastik had it before 1.3: gradients at n, their products smoothed at n / 2.

The plan, the rings and their layout are those of scale3d_stencils.py. The filters are the other way round: five planes and rows
make a gradient, three make the tensor; together they reach as far.
"""

from brushwork.kernels.compile import kernel
from brushwork.kernels.filters import FIRST, INNER_SMOOTH, SMOOTH
from brushwork.kernels.scale2d import even2, odd2
from brushwork.kernels.scale3d_stencils import (
    GRADIENT_RING,
    PRODUCT_ROW,
    ROW,
    TILE_WIDTH,
    WIDE,
    slope_ring,
    smooth_ring,
    smooth_x,
    tensor_row,
    z_stencils,
)
from brushwork.kernels.simd import LANES, load, shift1, shift2, shift3, shift4, splat, store


@kernel
def gradient_zx_row(planes, p0, p1, p2, p3, p4, width, kz, kx, sign_z, signs_x, at_x, ring, to):
    """One row of five planes, filtered along z and x for the gradient, into a row of the gradient ring.

    Column x of the ring is x - 1 of the tile. sign_z and signs_x[at_x :] belong to this plane and these columns.
    """
    s0, s1, s2 = splat(kx[SMOOTH]), splat(kx[SMOOTH + 1]), splat(kx[SMOOTH + 2])
    f1, f2, sign = splat(kx[FIRST]), splat(kx[FIRST + 1]), splat(sign_z)
    smooth, slope, _, _ = z_stencils(planes, p0, p1, p2, p3, p4, 0, kz)
    for x in range(0, width + LANES, LANES):
        smooth_, slope_, _, _ = z_stencils(planes, p0, p1, p2, p3, p4, x + LANES, kz)
        steps = shift3(smooth, smooth_) - shift1(smooth, smooth_), shift4(smooth, smooth_) - smooth
        store(ring, to + x, smooth_x(smooth, smooth_, s0, s1, s2))
        store(ring, to + x + WIDE, odd2(steps[0], steps[1], f1, f2) * load(signs_x, at_x + x))
        store(ring, to + x + 2 * WIDE, smooth_x(slope, slope_, s0, s1, s2) * sign)
        smooth, slope = smooth_, slope_


@kernel(inline="always")
def products(ring, r0, r1, r2, r3, r4, x, s0, s1, s2, f1, f2):
    """Gradient products xx, yy, zz, xy, xz, yz at one vector of the gradient ring."""
    gy = slope_ring(ring, r0 + x, r1 + x, r3 + x, r4 + x, f1, f2)
    p = x + WIDE
    gx = smooth_ring(ring, r0 + p, r1 + p, r2 + p, r3 + p, r4 + p, s0, s1, s2)
    p = x + 2 * WIDE
    gz = smooth_ring(ring, r0 + p, r1 + p, r2 + p, r3 + p, r4 + p, s0, s1, s2)
    return gx * gx, gy * gy, gz * gz, gx * gy, gx * gz, gy * gz


@kernel(inline="always")
def smooth_narrowly(left, right, i0, i1):
    """Order 0 along x of two neighbouring vectors, radius 1; column x of the result is x + 1 of the input."""
    return even2(shift1(left, right), left + shift2(left, right), i0, i1)


@kernel
def product_row(ring, r0, r1, r2, r3, r4, width, ky, kx, sign_y, out, to):
    """Gradient products of the row in the middle of the gradient ring, smoothed along x."""
    s0, s1, s2 = splat(ky[SMOOTH]), splat(ky[SMOOTH + 1]), splat(ky[SMOOTH + 2])
    f1, f2 = splat(ky[FIRST] * sign_y), splat(ky[FIRST + 1] * sign_y)
    i0, i1 = splat(kx[INNER_SMOOTH]), splat(kx[INNER_SMOOTH + 1])
    xx, yy, zz, xy, xz, yz = products(ring, r0, r1, r2, r3, r4, 0, s0, s1, s2, f1, f2)
    for x in range(0, width, LANES):
        xx_, yy_, zz_, xy_, xz_, yz_ = products(ring, r0, r1, r2, r3, r4, x + LANES, s0, s1, s2, f1, f2)
        q = to + x
        store(out, q, smooth_narrowly(xx, xx_, i0, i1))
        store(out, q + TILE_WIDTH, smooth_narrowly(yy, yy_, i0, i1))
        store(out, q + 2 * TILE_WIDTH, smooth_narrowly(zz, zz_, i0, i1))
        store(out, q + 3 * TILE_WIDTH, smooth_narrowly(xy, xy_, i0, i1))
        store(out, q + 4 * TILE_WIDTH, smooth_narrowly(xz, xz_, i0, i1))
        store(out, q + 5 * TILE_WIDTH, smooth_narrowly(yz, yz_, i0, i1))
        xx, yy, zz, xy, xz, yz = xx_, yy_, zz_, xy_, xz_, yz_


@kernel
def former_products_plane(
    planes, p0, p1, p2, p3, p4, height, width, k, sign_z, signs_y, at_y, signs_x, at_x, rows, out, to
):
    """Gradient products of plane p2, smoothed in x and y, into out[to : to + PRODUCT_PLANE]; signs as for `products_plane`."""
    i0, i1 = splat(k[1, INNER_SMOOTH]), splat(k[1, INNER_SMOOTH + 1])
    smoothed = 5 * GRADIENT_RING  # a ring of 3 product rows
    for line in range(height + 6):
        p = line * ROW
        r4 = line % 5 * GRADIENT_RING
        gradient_zx_row(
            planes, p0 + p, p1 + p, p2 + p, p3 + p, p4 + p, width, k[0], k[2], sign_z, signs_x, at_x - 1, rows, r4
        )
        if line < 4:
            continue
        r0, r1 = (line + 1) % 5 * GRADIENT_RING, (line + 2) % 5 * GRADIENT_RING
        r2, r3 = (line + 3) % 5 * GRADIENT_RING, (line + 4) % 5 * GRADIENT_RING
        q2 = smoothed + line % 3 * PRODUCT_ROW
        product_row(rows, r0, r1, r2, r3, r4, width, k[1], k[2], signs_y[at_y + line - 5], rows, q2)
        if line < 6:
            continue
        q0, q1 = smoothed + (line + 1) % 3 * PRODUCT_ROW, smoothed + (line + 2) % 3 * PRODUCT_ROW
        q = to + (line - 6) * PRODUCT_ROW
        for x in range(0, PRODUCT_ROW, LANES):
            store(out, q + x, even2(load(rows, q1 + x), load(rows, q0 + x) + load(rows, q2 + x), i0, i1))


@kernel
def former_tensor_planes(products, starts, depth, height, width, kz, row, out, to, map_size):
    """Eigenvalues of the structure tensor of `depth` planes; the products of plane z begin at starts[z + 2]."""
    i0, i1 = splat(kz[INNER_SMOOTH]), splat(kz[INNER_SMOOTH + 1])
    for z in range(depth):
        for y in range(height):
            a, b, c = starts[z + 1], starts[z + 2], starts[z + 3]
            for x in range(PRODUCT_ROW * y, PRODUCT_ROW * (y + 1), LANES):
                near = load(products, a + x) + load(products, c + x)
                store(row, x - PRODUCT_ROW * y, even2(load(products, b + x), near, i0, i1))
            tensor_row(row, 0, width, out, to + (z * height + y) * width, map_size)
