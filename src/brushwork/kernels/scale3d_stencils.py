"""All families of one scale in 3D, from presmoothed planes: the stencils of radius 2 and what is made of them.

Strategy: separable filters, each axis where it is cheapest. A row of a plane is filtered

    along z    on loading it: five planes, one vector each
    along x    in registers: neighbouring vectors, shifted lane by lane
    along y    from a ring of five rows that stays in the first-level cache

and the results of a row go straight into the maps. The structure tensor's products cross planes once more:

    products_plane    gradient products of one plane, smoothed in x and y, into a ring of planes (second-level cache)
    tensor_planes     that ring smoothed along z, four planes at once; eigenvalues

All positions are indices into flat float32 arrays. A presmoothed plane begins 3 rows and 3 columns before the tile, which
serves the stencils (reach 2) and the tensor (reach 3); its rows are `ROW` apart. A tile has `height` rows of `width`
values, a multiple of 16; columns beyond what the caller needs are computed from whatever lies there.
Coefficients k are those of filters.py, one row for each of z, y, x. Nothing is checked.
"""

from brushwork.kernels.compile import kernel
from brushwork.kernels.eigenvalues import eigenvalues
from brushwork.kernels.filters import (
    FIRST,
    INNER_FIRST,
    INNER_SMOOTH,
    NARROW_SMOOTH,
    SECOND,
    SMOOTH,
    STENCIL_RADIUS,
)
from brushwork.kernels.scale2d import even2, even3, neighbours, odd2
from brushwork.kernels.simd import (
    LANES,
    fma,
    load,
    shift1,
    shift2,
    shift3,
    shift4,
    shift5,
    splat,
    sqrt,
    store,
)

TILE_HEIGHT, TILE_WIDTH = 32, 64  # of the largest tile; its planes, rings and maps share the second-level cache
ROW = TILE_WIDTH + LANES  # of a presmoothed plane
PLANE = (TILE_HEIGHT + 2 * STENCIL_RADIUS) * ROW
WIDE = TILE_WIDTH + 2 * LANES  # a scratch row with room for a vector that runs over
GROUP = 4  # planes of the structure tensor that are finished together

# Rows of the plain stencils, filtered along z and x: (z, x) is ...
SMOOTH_SMOOTH, SMOOTH_FIRST, SMOOTH_SECOND, FIRST_SMOOTH, FIRST_FIRST, SECOND_SMOOTH, NARROW_NARROW = range(7)
PLAIN_RING = 7 * TILE_WIDTH
# Gradients before their pass along y, then products of gradients.
N_GRADIENTS, N_PRODUCTS = 3, 6
GRADIENT_RING = N_GRADIENTS * WIDE
PRODUCT_ROW = N_PRODUCTS * TILE_WIDTH
PRODUCT_PLANE = TILE_HEIGHT * PRODUCT_ROW

PLAIN_SCRATCH = 5 * PLAIN_RING
TENSOR_SCRATCH = 3 * GRADIENT_RING + 5 * PRODUCT_ROW
GROUP_SCRATCH = GROUP * PRODUCT_ROW
SCRATCH = max(PLAIN_SCRATCH, TENSOR_SCRATCH, GROUP_SCRATCH)  # float32 values that every function here may overwrite

# Positions in `outputs`: which map of the tile receives it; eigenvalues take three maps in a row.
GAUSSIAN, LAPLACIAN, MAGNITUDE, DIFFERENCE, TENSOR, HESSIAN = 0, 1, 2, 3, 4, 7


@kernel(inline="always")
def smooth_ring(ring, r0, r1, r2, r3, r4, s0, s1, s2):
    """Order 0 across five rows."""
    near, far = load(ring, r1) + load(ring, r3), load(ring, r0) + load(ring, r4)
    return even3(load(ring, r2), near, far, s0, s1, s2)


@kernel(inline="always")
def slope_ring(ring, r0, r1, r3, r4, f1, f2):
    """Order 1 across five rows."""
    return odd2(load(ring, r3) - load(ring, r1), load(ring, r4) - load(ring, r0), f1, f2)


@kernel(inline="always")
def z_stencils(planes, p0, p1, p2, p3, p4, x, k):
    """Five planes at position x, filtered along z: order 0, 1, 2 and the narrow Gaussian."""
    centre, below, above = load(planes, p2 + x), load(planes, p1 + x), load(planes, p3 + x)
    near, slope = below + above, above - below
    below, above = load(planes, p0 + x), load(planes, p4 + x)
    far, far_slope = below + above, above - below
    return (
        even3(centre, near, far, splat(k[SMOOTH]), splat(k[SMOOTH + 1]), splat(k[SMOOTH + 2])),
        odd2(slope, far_slope, splat(k[FIRST]), splat(k[FIRST + 1])),
        even3(centre, near, far, splat(k[SECOND]), splat(k[SECOND + 1]), splat(k[SECOND + 2])),
        even2(centre, near, splat(k[NARROW_SMOOTH]), splat(k[NARROW_SMOOTH + 1])),
    )


@kernel
def plain_zx_row(planes, p0, p1, p2, p3, p4, width, kz, kx, ring, to):
    """One row of five planes, filtered along z and x, into a row of the plain ring."""
    s0, s1, s2 = splat(kx[SMOOTH]), splat(kx[SMOOTH + 1]), splat(kx[SMOOTH + 2])
    f1, f2 = splat(kx[FIRST]), splat(kx[FIRST + 1])
    d0, d1, d2 = splat(kx[SECOND]), splat(kx[SECOND + 1]), splat(kx[SECOND + 2])
    n0, n1 = splat(kx[NARROW_SMOOTH]), splat(kx[NARROW_SMOOTH + 1])
    smooth, slope, curve, narrow = z_stencils(planes, p0, p1, p2, p3, p4, 0, kz)
    for x in range(0, width, LANES):
        smooth_, slope_, curve_, narrow_ = z_stencils(planes, p0, p1, p2, p3, p4, x + LANES, kz)
        q = to + x
        left, right = shift2(smooth, smooth_), shift4(smooth, smooth_)
        near, difference = left + right, right - left
        left, right = shift1(smooth, smooth_), shift5(smooth, smooth_)
        far, far_difference = left + right, right - left
        centre = shift3(smooth, smooth_)
        store(ring, q + SMOOTH_SMOOTH * TILE_WIDTH, even3(centre, near, far, s0, s1, s2))
        store(ring, q + SMOOTH_FIRST * TILE_WIDTH, odd2(difference, far_difference, f1, f2))
        store(ring, q + SMOOTH_SECOND * TILE_WIDTH, even3(centre, near, far, d0, d1, d2))
        left, right = shift2(slope, slope_), shift4(slope, slope_)
        near, difference = left + right, right - left
        left, right = shift1(slope, slope_), shift5(slope, slope_)
        far, far_difference = left + right, right - left
        store(ring, q + FIRST_SMOOTH * TILE_WIDTH, even3(shift3(slope, slope_), near, far, s0, s1, s2))
        store(ring, q + FIRST_FIRST * TILE_WIDTH, odd2(difference, far_difference, f1, f2))
        near, far = shift2(curve, curve_) + shift4(curve, curve_), shift1(curve, curve_) + shift5(curve, curve_)
        store(ring, q + SECOND_SMOOTH * TILE_WIDTH, even3(shift3(curve, curve_), near, far, s0, s1, s2))
        near = shift2(narrow, narrow_) + shift4(narrow, narrow_)
        store(ring, q + NARROW_NARROW * TILE_WIDTH, even2(shift3(narrow, narrow_), near, n0, n1))
        smooth, slope, curve, narrow = smooth_, slope_, curve_, narrow_


@kernel
def plain_y_row(ring, r0, r1, r2, r3, r4, width, k, wants_hessian, out, to, map_size, outputs):
    """The row in the middle of the plain ring, filtered along y, and its maps; `to` is the row's place in a map."""
    s0, s1, s2 = splat(k[SMOOTH]), splat(k[SMOOTH + 1]), splat(k[SMOOTH + 2])
    f1, f2 = splat(k[FIRST]), splat(k[FIRST + 1])
    d0, d1, d2 = splat(k[SECOND]), splat(k[SECOND + 1]), splat(k[SECOND + 2])
    n0, n1 = splat(k[NARROW_SMOOTH]), splat(k[NARROW_SMOOTH + 1])
    gaussian, laplacian = outputs[GAUSSIAN] * map_size + to, outputs[LAPLACIAN] * map_size + to
    magnitude, difference = outputs[MAGNITUDE] * map_size + to, outputs[DIFFERENCE] * map_size + to
    hessian = outputs[HESSIAN] * map_size + to
    rows = r0, r1, r2, r3, r4
    for x in range(0, width, LANES):
        p = SMOOTH_SMOOTH * TILE_WIDTH + x
        c, near, far, slope, far_slope = neighbours(ring, p, rows)
        g, gyy, gy = even3(c, near, far, s0, s1, s2), even3(c, near, far, d0, d1, d2), odd2(slope, far_slope, f1, f2)
        p = SMOOTH_FIRST * TILE_WIDTH + x
        c, near, far, slope, far_slope = neighbours(ring, p, rows)
        gx, gxy = even3(c, near, far, s0, s1, s2), odd2(slope, far_slope, f1, f2)
        p = FIRST_SMOOTH * TILE_WIDTH + x
        c, near, far, slope, far_slope = neighbours(ring, p, rows)
        gz, gyz = even3(c, near, far, s0, s1, s2), odd2(slope, far_slope, f1, f2)
        p = SMOOTH_SECOND * TILE_WIDTH + x
        gxx = smooth_ring(ring, p + r0, p + r1, p + r2, p + r3, p + r4, s0, s1, s2)
        p = FIRST_FIRST * TILE_WIDTH + x
        gxz = smooth_ring(ring, p + r0, p + r1, p + r2, p + r3, p + r4, s0, s1, s2)
        p = SECOND_SMOOTH * TILE_WIDTH + x
        gzz = smooth_ring(ring, p + r0, p + r1, p + r2, p + r3, p + r4, s0, s1, s2)
        p = NARROW_NARROW * TILE_WIDTH + x
        narrow = even2(load(ring, p + r2), load(ring, p + r1) + load(ring, p + r3), n0, n1)
        store(out, gaussian + x, g)
        store(out, laplacian + x, gxx + gyy + gzz)
        store(out, magnitude + x, sqrt(fma(gz, gz, fma(gy, gy, gx * gx))))
        store(out, difference + x, g - narrow)
        if wants_hessian:
            first, second, third = eigenvalues(gxx, gyy, gzz, gxy, gxz, gyz)
            store(out, hessian + x, first)
            store(out, hessian + map_size + x, second)
            store(out, hessian + 2 * map_size + x, third)


@kernel
def plain_plane(planes, p0, p1, p2, p3, p4, height, width, k, wants_hessian, ring, out, to, map_size, outputs):
    """Gaussian, Laplacian, gradient magnitude, difference of Gaussians and Hessian eigenvalues of plane p2."""
    for line in range(height + 4):
        row = (line + 1) * ROW
        plain_zx_row(
            planes, p0 + row, p1 + row, p2 + row, p3 + row, p4 + row, width, k[0], k[2], ring, line % 5 * PLAIN_RING
        )
        if line >= 4:
            r0, r1, r2, r3, r4 = (
                (line + 1) % 5 * PLAIN_RING,
                (line + 2) % 5 * PLAIN_RING,
                (line + 3) % 5 * PLAIN_RING,
                (line + 4) % 5 * PLAIN_RING,
                line % 5 * PLAIN_RING,
            )
            at = to + (line - 4) * width
            plain_y_row(ring, r0, r1, r2, r3, r4, width, k[1], wants_hessian, out, at, map_size, outputs)


@kernel
def gaussian_plane(planes, p0, p1, p2, p3, p4, height, width, k, ring, out, to):
    """The Gaussian of plane p2 alone; the same bits as `plain_plane` writes."""
    z0, z1, z2 = splat(k[0, SMOOTH]), splat(k[0, SMOOTH + 1]), splat(k[0, SMOOTH + 2])
    y0, y1, y2 = splat(k[1, SMOOTH]), splat(k[1, SMOOTH + 1]), splat(k[1, SMOOTH + 2])
    x0, x1, x2 = splat(k[2, SMOOTH]), splat(k[2, SMOOTH + 1]), splat(k[2, SMOOTH + 2])
    for line in range(height + 4):
        p = (line + 1) * ROW
        q = line % 5 * TILE_WIDTH
        left = smooth_ring(planes, p0 + p, p1 + p, p2 + p, p3 + p, p4 + p, z0, z1, z2)
        for x in range(0, width, LANES):
            p += LANES
            right = smooth_ring(planes, p0 + p, p1 + p, p2 + p, p3 + p, p4 + p, z0, z1, z2)
            near, far = shift2(left, right) + shift4(left, right), shift1(left, right) + shift5(left, right)
            store(ring, q + x, even3(shift3(left, right), near, far, x0, x1, x2))
            left = right
        if line >= 4:
            r0, r1, r2, r3 = (
                (line + 1) % 5 * TILE_WIDTH,
                (line + 2) % 5 * TILE_WIDTH,
                (line + 3) % 5 * TILE_WIDTH,
                (line + 4) % 5 * TILE_WIDTH,
            )
            at = to + (line - 4) * width
            for x in range(0, width, LANES):
                store(out, at + x, smooth_ring(ring, r0 + x, r1 + x, r2 + x, r3 + x, q + x, y0, y1, y2))


@kernel
def gradient_zx_row(planes, p1, p2, p3, width, kz, kx, sign_z, signs_x, at_x, ring, to):
    """One row of three planes, filtered along z and x for the gradient, into a row of the gradient ring.

    Column x of the ring is x - 2 of the tile. sign_z and signs_x[at_x :] belong to this plane and these columns.
    """
    z0, z1, zf = splat(kz[INNER_SMOOTH]), splat(kz[INNER_SMOOTH + 1]), splat(kz[INNER_FIRST] * sign_z)
    x0, x1, xf = splat(kx[INNER_SMOOTH]), splat(kx[INNER_SMOOTH + 1]), splat(kx[INNER_FIRST])
    below, above = load(planes, p1), load(planes, p3)
    smooth, slope = even2(load(planes, p2), below + above, z0, z1), (above - below) * zf
    for x in range(0, width + LANES, LANES):
        p = x + LANES
        below, above = load(planes, p1 + p), load(planes, p3 + p)
        smooth_, slope_ = even2(load(planes, p2 + p), below + above, z0, z1), (above - below) * zf
        right = shift2(smooth, smooth_)
        store(ring, to + x, even2(shift1(smooth, smooth_), smooth + right, x0, x1))
        store(ring, to + x + WIDE, (right - smooth) * xf * load(signs_x, at_x + x))
        store(ring, to + x + 2 * WIDE, even2(shift1(slope, slope_), slope + shift2(slope, slope_), x0, x1))
        smooth, slope = smooth_, slope_


@kernel(inline="always")
def gradient(ring, r0, r1, r2, x, y0, y1, yf):
    """The gradient (z, y, x) at one vector of the gradient ring."""
    gy = (load(ring, r2 + x) - load(ring, r0 + x)) * yf
    p = x + WIDE
    gx = even2(load(ring, r1 + p), load(ring, r0 + p) + load(ring, r2 + p), y0, y1)
    p = x + 2 * WIDE
    gz = even2(load(ring, r1 + p), load(ring, r0 + p) + load(ring, r2 + p), y0, y1)
    return gz, gy, gx


@kernel(inline="always")
def smooth_x(left, right, s0, s1, s2):
    """Order 0 along x of two neighbouring vectors; column x of the result is x + 2 of the input."""
    near, far = shift1(left, right) + shift3(left, right), left + shift4(left, right)
    return even3(shift2(left, right), near, far, s0, s1, s2)


@kernel
def product_row(ring, r0, r1, r2, width, ky, kx, sign_y, out, to):
    """Gradient products xx, yy, zz, xy, xz, yz of the row in the middle of the gradient ring, smoothed along x."""
    y0, y1, yf = splat(ky[INNER_SMOOTH]), splat(ky[INNER_SMOOTH + 1]), splat(ky[INNER_FIRST] * sign_y)
    s0, s1, s2 = splat(kx[SMOOTH]), splat(kx[SMOOTH + 1]), splat(kx[SMOOTH + 2])
    z, y, x = gradient(ring, r0, r1, r2, 0, y0, y1, yf)
    xx, yy, zz, xy, xz, yz = x * x, y * y, z * z, x * y, x * z, y * z
    for column in range(0, width, LANES):
        z, y, x = gradient(ring, r0, r1, r2, column + LANES, y0, y1, yf)
        xx_, yy_, zz_, xy_, xz_, yz_ = x * x, y * y, z * z, x * y, x * z, y * z
        q = to + column
        store(out, q, smooth_x(xx, xx_, s0, s1, s2))
        store(out, q + TILE_WIDTH, smooth_x(yy, yy_, s0, s1, s2))
        store(out, q + 2 * TILE_WIDTH, smooth_x(zz, zz_, s0, s1, s2))
        store(out, q + 3 * TILE_WIDTH, smooth_x(xy, xy_, s0, s1, s2))
        store(out, q + 4 * TILE_WIDTH, smooth_x(xz, xz_, s0, s1, s2))
        store(out, q + 5 * TILE_WIDTH, smooth_x(yz, yz_, s0, s1, s2))
        xx, yy, zz, xy, xz, yz = xx_, yy_, zz_, xy_, xz_, yz_


@kernel
def products_plane(planes, p1, p2, p3, height, width, k, sign_z, signs_y, at_y, signs_x, at_x, rows, out, to):
    """Gradient products of plane p2, smoothed in x and y, into out[to : to + PRODUCT_PLANE].

    Beyond the image's border the derivative across it would have the wrong sign, because the definition mirrors the
    products and not the image; sign_z, signs_y and signs_x set it right. The tile begins at at_y, at_x in them.
    """
    s0, s1, s2 = splat(k[1, SMOOTH]), splat(k[1, SMOOTH + 1]), splat(k[1, SMOOTH + 2])
    smoothed = 3 * GRADIENT_RING  # a ring of 5 product rows
    for line in range(height + 6):
        row = line * ROW
        r2 = line % 3 * GRADIENT_RING
        gradient_zx_row(planes, p1 + row, p2 + row, p3 + row, width, k[0], k[2], sign_z, signs_x, at_x - 2, rows, r2)
        if line < 2:
            continue
        r0, r1 = (line + 1) % 3 * GRADIENT_RING, (line + 2) % 3 * GRADIENT_RING
        q4 = smoothed + line % 5 * PRODUCT_ROW
        product_row(rows, r0, r1, r2, width, k[1], k[2], signs_y[at_y + line - 4], rows, q4)
        if line < 6:
            continue
        q0, q1 = smoothed + (line + 1) % 5 * PRODUCT_ROW, smoothed + (line + 2) % 5 * PRODUCT_ROW
        q2, q3 = smoothed + (line + 3) % 5 * PRODUCT_ROW, smoothed + (line + 4) % 5 * PRODUCT_ROW
        q = to + (line - 6) * PRODUCT_ROW
        for x in range(0, PRODUCT_ROW, LANES):
            store(out, q + x, smooth_ring(rows, q0 + x, q1 + x, q2 + x, q3 + x, q4 + x, s0, s1, s2))


@kernel
def smooth_group(products, starts, at, n, kz, out):
    """n values at position `at` of eight planes, smoothed along z: four rows of n values."""
    s0, s1, s2 = splat(kz[SMOOTH]), splat(kz[SMOOTH + 1]), splat(kz[SMOOTH + 2])
    for x in range(0, n, LANES):
        p = at + x
        a, b, c, d = (
            load(products, starts[0] + p),
            load(products, starts[1] + p),
            load(products, starts[2] + p),
            load(products, starts[3] + p),
        )
        e, f, g, h = (
            load(products, starts[4] + p),
            load(products, starts[5] + p),
            load(products, starts[6] + p),
            load(products, starts[7] + p),
        )
        store(out, x, even3(c, b + d, a + e, s0, s1, s2))
        store(out, x + n, even3(d, c + e, b + f, s0, s1, s2))
        store(out, x + 2 * n, even3(e, d + f, c + g, s0, s1, s2))
        store(out, x + 3 * n, even3(f, e + g, d + h, s0, s1, s2))


@kernel
def tensor_row(products, at, width, out, to, map_size):
    """Eigenvalues of a row of smoothed products."""
    for x in range(0, width, LANES):
        p = at + x
        first, second, third = eigenvalues(
            load(products, p),
            load(products, p + TILE_WIDTH),
            load(products, p + 2 * TILE_WIDTH),
            load(products, p + 3 * TILE_WIDTH),
            load(products, p + 4 * TILE_WIDTH),
            load(products, p + 5 * TILE_WIDTH),
        )
        store(out, to + x, first)
        store(out, to + x + map_size, second)
        store(out, to + x + 2 * map_size, third)


@kernel
def tensor_planes(products, starts, depth, height, width, kz, row, out, to, map_size):
    """Eigenvalues of the structure tensor of `depth` planes, at most four.

    products : the planes `products_plane` made begin at starts[0] ... starts[7], the first two and last two for smoothing.
    """
    for y in range(height):
        smooth_group(products, starts, y * PRODUCT_ROW, PRODUCT_ROW, kz, row)
        for z in range(depth):
            tensor_row(row, z * PRODUCT_ROW, width, out, to + (z * height + y) * width, map_size)
