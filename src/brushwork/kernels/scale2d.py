"""All families of one scale on one 2D tile.

Strategy: a row goes all the way before the next begins, so that nothing but the finished maps leaves the first-level cache.

    padded image          vertical Gaussian -> `scratch` -> horizontal Gaussian -> `scratch`: one presmoothed row
      |  one row at a time
    horizontal stencils   six filtered versions of the row, each into a ring of 8 rows
      |  2 rows later
    gradient products     gx gx, gx gy, gy gy of the row before, smoothed horizontally, into three more rings
      |  4 rows later
    vertical stencils     on the rings, combined into the maps of the row that now has all its neighbours

A row of a ring is 16 columns wider than the tile on both sides, which leaves room for whole vectors around the tile's edge.
Columns near the ring's ends are computed from whatever lies there and never used.
"""

from brushwork.kernels.compile import kernel
from brushwork.kernels.filters import (
    FIRST,
    INNER_FIRST,
    INNER_SMOOTH,
    NARROW_SMOOTH,
    SECOND,
    SMOOTH,
    STENCIL_RADIUS,
)
from brushwork.kernels.simd import LANES, fma, load, splat, sqrt, store

MARGIN = LANES  # columns of a ring row left and right of the tile
RING = 8  # rows of a ring; 7 are in use
# The rings: the row filtered horizontally by ...
H_SMOOTH, H_FIRST, H_SECOND, H_NARROW, H_INNER_SMOOTH, H_INNER_FIRST = range(6)
XX, XY, YY = range(6, 9)  # and the products of gradients, smoothed horizontally
N_RINGS = 9
# Positions in `outputs`: the index of the map that receives it.
GAUSSIAN, LAPLACIAN, MAGNITUDE, DIFFERENCE, TENSOR, HESSIAN = 0, 1, 2, 3, 4, 6
N_OUTPUTS = 8
# What of a scale is wanted; the former structure tensor is that of ilastik before 1.3, in place of today's.
ONLY_GAUSSIAN, WITHOUT_TENSOR, EVERYTHING, WITH_FORMER_TENSOR = range(4)


def workspace_size(tile_width: int, radius: int) -> int:
    """float32 values of scratch for tiles of this width and presmoothing up to this radius."""
    row = tile_width + 2 * MARGIN
    return N_RINGS * RING * row + 4 * (row + 2 * (radius + LANES))


@kernel
def smooth(source, at, stride, weights, radius, out, to, n):
    """out[to : to + n] = symmetric FIR of `source` around `at` along `stride`; n is rounded up to whole vectors.

    NumPy: sum(weights[abs(k)] * source[at + k * stride :][:n] for k in range(-radius, radius + 1))
    """
    x = 0
    while x + 4 * LANES <= n:  # four sums at a time hide the latency of an addition
        p = at + x
        w = splat(weights[0])
        a, b, c, d = load(source, p) * w, load(source, p + 16) * w, load(source, p + 32) * w, load(source, p + 48) * w
        for k in range(1, radius + 1):
            w, u, v = splat(weights[k]), p - k * stride, p + k * stride
            a = fma(load(source, u) + load(source, v), w, a)
            b = fma(load(source, u + 16) + load(source, v + 16), w, b)
            c = fma(load(source, u + 32) + load(source, v + 32), w, c)
            d = fma(load(source, u + 48) + load(source, v + 48), w, d)
        store(out, to + x, a)
        store(out, to + x + 16, b)
        store(out, to + x + 32, c)
        store(out, to + x + 48, d)
        x += 4 * LANES
    while x < n:
        p = at + x
        a = load(source, p) * splat(weights[0])
        for k in range(1, radius + 1):
            a = fma(load(source, p - k * stride) + load(source, p + k * stride), splat(weights[k]), a)
        store(out, to + x, a)
        x += LANES


@kernel(inline="always")
def even3(centre, near, far, k0, k1, k2):
    """k0 * centre + k1 * near + k2 * far, where near and far are sums of the two neighbours at distance 1 and 2."""
    return fma(far, k2, fma(near, k1, centre * k0))


@kernel(inline="always")
def even2(centre, near, k0, k1):
    return fma(near, k1, centre * k0)


@kernel(inline="always")
def odd2(near, far, k1, k2):
    """k1 * near + k2 * far, where near and far are differences of the two neighbours."""
    return fma(far, k2, near * k1)


@kernel
def horizontal_stencils(row, rings, y, width, k):
    """The presmoothed `row` through the six horizontal filters, into row y of the rings."""
    s0, s1, s2 = splat(k[SMOOTH]), splat(k[SMOOTH + 1]), splat(k[SMOOTH + 2])
    f1, f2 = splat(k[FIRST]), splat(k[FIRST + 1])
    d0, d1, d2 = splat(k[SECOND]), splat(k[SECOND + 1]), splat(k[SECOND + 2])
    n0, n1 = splat(k[NARROW_SMOOTH]), splat(k[NARROW_SMOOTH + 1])
    i0, i1, j1 = splat(k[INNER_SMOOTH]), splat(k[INNER_SMOOTH + 1]), splat(k[INNER_FIRST])
    size = RING * (width + 2 * MARGIN)
    base = y % RING * (width + 2 * MARGIN)
    for x in range(MARGIN - 4, MARGIN + width + 4, LANES):
        centre, left, right = load(row, x), load(row, x - 1), load(row, x + 1)
        near, slope = left + right, right - left
        left, right = load(row, x - 2), load(row, x + 2)
        far, far_slope = left + right, right - left
        at = base + x
        store(rings, at + H_SMOOTH * size, even3(centre, near, far, s0, s1, s2))
        store(rings, at + H_FIRST * size, odd2(slope, far_slope, f1, f2))
        store(rings, at + H_SECOND * size, even3(centre, near, far, d0, d1, d2))
        store(rings, at + H_NARROW * size, even2(centre, near, n0, n1))
        store(rings, at + H_INNER_SMOOTH * size, even2(centre, near, i0, i1))
        store(rings, at + H_INNER_FIRST * size, slope * j1)


@kernel
def horizontal_gaussian(row, rings, y, width, k):
    """The presmoothed `row` through the Gaussian alone, into row y of its ring."""
    s0, s1, s2 = splat(k[SMOOTH]), splat(k[SMOOTH + 1]), splat(k[SMOOTH + 2])
    to = H_SMOOTH * RING * (width + 2 * MARGIN) + y % RING * (width + 2 * MARGIN)
    for x in range(MARGIN, MARGIN + width, LANES):
        near, far = load(row, x - 1) + load(row, x + 1), load(row, x - 2) + load(row, x + 2)
        store(rings, to + x, even3(load(row, x), near, far, s0, s1, s2))


@kernel
def tensor_products(rings, y, width, kx, ky, sign_y, signs_x, at_x, scratch):
    """Products of the gradient of row y, smoothed horizontally, into the rings XX, XY, YY.

    Beyond the image's border the gradient across it would have the wrong sign, because the definition mirrors the products and
    not the image; sign_y and signs_x[at_x :] set it right.
    """
    i0, i1 = splat(ky[INNER_SMOOTH]), splat(ky[INNER_SMOOTH + 1])
    j1 = splat(ky[INNER_FIRST] * sign_y)
    s0, s1, s2 = splat(kx[SMOOTH]), splat(kx[SMOOTH + 1]), splat(kx[SMOOTH + 2])
    row = width + 2 * MARGIN
    size = RING * row
    above, here, below = (y - 1) % RING * row, y % RING * row, (y + 1) % RING * row
    for x in range(MARGIN - 4, MARGIN + width + 4, LANES):
        p = x + H_INNER_FIRST * size
        gx = even2(load(rings, p + here), load(rings, p + above) + load(rings, p + below), i0, i1)
        gx = gx * load(signs_x, at_x + x)
        p = x + H_INNER_SMOOTH * size
        gy = (load(rings, p + below) - load(rings, p + above)) * j1
        store(scratch, x, gx * gx)
        store(scratch, x + row, gx * gy)
        store(scratch, x + 2 * row, gy * gy)
    for product in range(3):
        p, q = product * row, (XX + product) * size + here
        for x in range(MARGIN, MARGIN + width, LANES):
            near = load(scratch, p + x - 1) + load(scratch, p + x + 1)
            far = load(scratch, p + x - 2) + load(scratch, p + x + 2)
            store(rings, q + x, even3(load(scratch, p + x), near, far, s0, s1, s2))


@kernel
def former_tensor_products(rings, y, width, kx, ky, sign_y, signs_x, at_x, scratch):
    """`tensor_products` with the two scales the other way round: gradients at n (of rows y - 2 ... y + 2), smoothed at n / 2."""
    s0, s1, s2 = splat(ky[SMOOTH]), splat(ky[SMOOTH + 1]), splat(ky[SMOOTH + 2])
    f1, f2 = splat(ky[FIRST] * sign_y), splat(ky[FIRST + 1] * sign_y)
    i0, i1 = splat(kx[INNER_SMOOTH]), splat(kx[INNER_SMOOTH + 1])
    row = width + 2 * MARGIN
    size = RING * row
    rows = rows_around(y, row)
    for x in range(MARGIN - 4, MARGIN + width + 4, LANES):
        centre, near, far, _, _ = neighbours(rings, x + H_FIRST * size, rows)
        gx = even3(centre, near, far, s0, s1, s2) * load(signs_x, at_x + x)
        _, _, _, slope, far_slope = neighbours(rings, x + H_SMOOTH * size, rows)
        gy = odd2(slope, far_slope, f1, f2)
        store(scratch, x, gx * gx)
        store(scratch, x + row, gx * gy)
        store(scratch, x + 2 * row, gy * gy)
    for product in range(3):
        p, q = product * row, (XX + product) * size + rows[2]
        for x in range(MARGIN, MARGIN + width, LANES):
            near = load(scratch, p + x - 1) + load(scratch, p + x + 1)
            store(rings, q + x, even2(load(scratch, p + x), near, i0, i1))


@kernel(inline="always")
def eigenvalues(yy, xy, xx, half):
    """Of a symmetric 2 x 2 matrix, the larger first."""
    mean, half_difference = (xx + yy) * half, (xx - yy) * half
    root = sqrt(fma(half_difference, half_difference, xy * xy))
    return mean + root, mean - root


@kernel(inline="always")
def rows_around(y, row):
    """Where rows y - 2 ... y + 2 lie in a ring."""
    return (y - 2) % RING * row, (y - 1) % RING * row, y % RING * row, (y + 1) % RING * row, (y + 2) % RING * row


@kernel(inline="always")
def neighbours(rings, at, rows):
    """Centre, sums of the neighbours above and below at distance 1 and 2, and their differences."""
    far_above, above, below, far_below = (
        load(rings, at + rows[0]),
        load(rings, at + rows[1]),
        load(rings, at + rows[3]),
        load(rings, at + rows[4]),
    )
    return load(rings, at + rows[2]), above + below, far_above + far_below, below - above, far_below - far_above


@kernel
def gaussian_row(rings, y, width, k, out, to):
    """The Gaussian of row y alone."""
    s0, s1, s2 = splat(k[SMOOTH]), splat(k[SMOOTH + 1]), splat(k[SMOOTH + 2])
    row = width + 2 * MARGIN
    rows = rows_around(y, row)
    for x in range(0, width, LANES):
        centre, near, far, _, _ = neighbours(rings, H_SMOOTH * RING * row + MARGIN + x, rows)
        store(out, to + x, even3(centre, near, far, s0, s1, s2))


@kernel
def plain_row(rings, y, width, k, out, outputs, to, map_size):
    """Gaussian, Laplacian, gradient magnitude, difference of Gaussians and Hessian eigenvalues of row y."""
    s0, s1, s2 = splat(k[SMOOTH]), splat(k[SMOOTH + 1]), splat(k[SMOOTH + 2])
    f1, f2 = splat(k[FIRST]), splat(k[FIRST + 1])
    d0, d1, d2 = splat(k[SECOND]), splat(k[SECOND + 1]), splat(k[SECOND + 2])
    n0, n1 = splat(k[NARROW_SMOOTH]), splat(k[NARROW_SMOOTH + 1])
    half = splat(k.dtype.type(0.5))
    row = width + 2 * MARGIN
    size = RING * row
    rows = rows_around(y, row)
    gaussian, laplacian = outputs[GAUSSIAN] * map_size + to, outputs[LAPLACIAN] * map_size + to
    magnitude, difference = outputs[MAGNITUDE] * map_size + to, outputs[DIFFERENCE] * map_size + to
    larger, smaller = outputs[HESSIAN] * map_size + to, outputs[HESSIAN + 1] * map_size + to
    for x in range(0, width, LANES):
        at = MARGIN + x
        centre, near, far, slope, far_slope = neighbours(rings, at + H_SMOOTH * size, rows)
        g = even3(centre, near, far, s0, s1, s2)
        gyy = even3(centre, near, far, d0, d1, d2)
        gy = odd2(slope, far_slope, f1, f2)
        centre, near, far, slope, far_slope = neighbours(rings, at + H_FIRST * size, rows)
        gx = even3(centre, near, far, s0, s1, s2)
        gxy = odd2(slope, far_slope, f1, f2)
        centre, near, far, _, _ = neighbours(rings, at + H_SECOND * size, rows)
        gxx = even3(centre, near, far, s0, s1, s2)
        centre, near, _, _, _ = neighbours(rings, at + H_NARROW * size, rows)
        narrow = even2(centre, near, n0, n1)
        first, second = eigenvalues(gyy, gxy, gxx, half)
        store(out, gaussian + x, g)
        store(out, laplacian + x, gxx + gyy)
        store(out, magnitude + x, sqrt(fma(gx, gx, gy * gy)))
        store(out, difference + x, g - narrow)
        store(out, larger + x, first)
        store(out, smaller + x, second)


@kernel
def tensor_row(rings, y, width, k, out, outputs, to, map_size):
    """Eigenvalues of the structure tensor of row y."""
    s0, s1, s2 = splat(k[SMOOTH]), splat(k[SMOOTH + 1]), splat(k[SMOOTH + 2])
    half = splat(k.dtype.type(0.5))
    row = width + 2 * MARGIN
    size = RING * row
    rows = rows_around(y, row)
    larger, smaller = outputs[TENSOR] * map_size + to, outputs[TENSOR + 1] * map_size + to
    for x in range(0, width, LANES):
        at = MARGIN + x
        centre, near, far, _, _ = neighbours(rings, at + XX * size, rows)
        xx = even3(centre, near, far, s0, s1, s2)
        centre, near, far, _, _ = neighbours(rings, at + XY * size, rows)
        xy = even3(centre, near, far, s0, s1, s2)
        centre, near, far, _, _ = neighbours(rings, at + YY * size, rows)
        yy = even3(centre, near, far, s0, s1, s2)
        first, second = eigenvalues(yy, xy, xx, half)
        store(out, larger + x, first)
        store(out, smaller + x, second)


@kernel
def former_tensor_row(rings, y, width, k, out, outputs, to, map_size):
    """`tensor_row` of products that are smoothed at n / 2."""
    i0, i1 = splat(k[INNER_SMOOTH]), splat(k[INNER_SMOOTH + 1])
    half = splat(k.dtype.type(0.5))
    row = width + 2 * MARGIN
    size = RING * row
    rows = rows_around(y, row)
    larger, smaller = outputs[TENSOR] * map_size + to, outputs[TENSOR + 1] * map_size + to
    for x in range(0, width, LANES):
        at = MARGIN + x
        centre, near, _, _, _ = neighbours(rings, at + XX * size, rows)
        xx = even2(centre, near, i0, i1)
        centre, near, _, _, _ = neighbours(rings, at + XY * size, rows)
        xy = even2(centre, near, i0, i1)
        centre, near, _, _, _ = neighbours(rings, at + YY * size, rows)
        yy = even2(centre, near, i0, i1)
        first, second = eigenvalues(yy, xy, xx, half)
        store(out, larger + x, first)
        store(out, smaller + x, second)


@kernel
def scale_of_tile(
    padded, stride, at, height, width, weights_y, radius_y, weights_x, radius_x, ky, kx, signs_y, signs_x, at_y, at_x, what,
    workspace, out, first, map_size, outputs,
):  # fmt: skip
    """All wanted maps of one scale on one tile.

    padded : flat float32 image with mirrored surroundings, `stride` values per row; `at` is the tile's first pixel. Read are the
        radius + 3 rows around the tile, and radius + 32 columns, of which radius + 3 matter.
    weights_y, weights_x : presmoothing half kernels. ky, kx : stencil coefficients (filters.py).
    signs_y, signs_x : +1, or -1 where an odd number of reflections leads into the image; the tile begins at at_y, at_x
        (STENCIL_RADIUS rows and MARGIN columns before it are read too).
    what : ONLY_GAUSSIAN, WITHOUT_TENSOR, EVERYTHING or WITH_FORMER_TENSOR.
    workspace : float32, workspace_size(width, radius_x) values.
    out : flat float32 maps of `map_size` values each; the tile's begin at `first` in each map. outputs : (8,) positions of this
        scale's maps in `out`; what nobody wants goes to a map that nobody reads.
    width is a multiple of 16. Nothing is checked.
    """
    row = width + 2 * MARGIN
    rings = workspace[: N_RINGS * RING * row]
    scratch = workspace[N_RINGS * RING * row :]
    left = MARGIN + radius_x
    wide = row + 2 * radius_x
    smoothed = scratch[(wide + LANES) // LANES * LANES :]
    for line in range(height + 2 * STENCIL_RADIUS):
        y = line - STENCIL_RADIUS
        smooth(padded, at + y * stride - left, stride, weights_y, radius_y, scratch, 0, wide)
        smooth(scratch, radius_x, 1, weights_x, radius_x, smoothed, 0, row)
        if what == ONLY_GAUSSIAN:
            horizontal_gaussian(smoothed, rings, line, width, kx)
        else:
            horizontal_stencils(smoothed, rings, line, width, kx)
        if what == EVERYTHING and line >= 2:
            tensor_products(rings, line - 1, width, kx, ky, signs_y[at_y + y - 1], signs_x, at_x - MARGIN, scratch)
        if what == WITH_FORMER_TENSOR and line >= 4:
            sign_y = signs_y[at_y + y - 2]
            former_tensor_products(rings, line - 2, width, kx, ky, sign_y, signs_x, at_x - MARGIN, scratch)
        if line >= 2 * STENCIL_RADIUS:
            centre, to = line - STENCIL_RADIUS, first + (line - 2 * STENCIL_RADIUS) * width
            if what == ONLY_GAUSSIAN:
                gaussian_row(rings, centre, width, ky, out, outputs[GAUSSIAN] * map_size + to)
            else:
                plain_row(rings, centre, width, ky, out, outputs, to, map_size)
            if what == EVERYTHING:
                tensor_row(rings, centre, width, ky, out, outputs, to, map_size)
            if what == WITH_FORMER_TENSOR:
                former_tensor_row(rings, centre, width, ky, out, outputs, to, map_size)


@kernel
def scales_of_tile(
    padded, stride, at, height, width, weights, radii, coefficients, signs_y, signs_x, at_y, at_x, wanted,
    workspace, out, first, map_size, outputs,
):  # fmt: skip
    """`scale_of_tile` for every scale.

    weights : (n_scales, 2, longest) presmoothing half kernels for y and x. radii : (n_scales, 2). coefficients : (n_scales, 2, 13).
    wanted : (n_scales,). outputs : (n_scales, 8).
    """
    for s in range(len(radii)):
        scale_of_tile(
            padded, stride, at, height, width, weights[s, 0], radii[s, 0], weights[s, 1], radii[s, 1],
            coefficients[s, 0], coefficients[s, 1], signs_y, signs_x, at_y, at_x, wanted[s],
            workspace, out, first, map_size, outputs[s],
        )  # fmt: skip
