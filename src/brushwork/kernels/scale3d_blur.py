"""The large Gaussian of a scale in 3D: one plane in y and x, then four planes along z.

Strategy: a symmetric filter of radius R reads 2 R + 1 rows for one row of output, and reading is what it waits for. Four
neighbouring outputs share all but three of their inputs; their windows move outwards through registers, so that four
multiplications need two loads:

    tap k      rows  c-k .. c+3-k          c+k .. c+3+k
    tap k+1    one new row at the left     one new row at the right, the others step by one

The order of additions is the same for every output (centre, then pairs outwards), and the axes come in the order y, x, z:
a value is the same to the last bit wherever its plane lies in a block.
"""

from brushwork.kernels.compile import kernel
from brushwork.kernels.simd import LANES, fma, load, splat, store

GROUP = 4  # rows or planes that are filtered together


@kernel
def filter_across(source, starts, shift, weights, radius, n, out, ends, to):
    """Four rows of output from 2 * radius + 4 rows of input, filtered across the rows.

    source : flat array; row j begins at starts[j] + shift. out : flat array; row i begins at ends[i] + to.
    n : columns; where it is no multiple of 16, the last vector is moved back to end with the row (up to 15 columns before
        the row's begin if n < 16: both arrays must have room there).

    NumPy: out[i] = sum(weights[abs(k)] * source[radius + i + k] for k in range(-radius, radius + 1))
    """
    for column in range(0, n, LANES):
        x = min(column, n - LANES)
        p = shift + x
        w = splat(weights[0])
        low0 = high0 = load(source, starts[radius] + p)
        low1 = high1 = load(source, starts[radius + 1] + p)
        low2 = high2 = load(source, starts[radius + 2] + p)
        low3 = high3 = load(source, starts[radius + 3] + p)
        sum0, sum1, sum2, sum3 = low0 * w, low1 * w, low2 * w, low3 * w
        for k in range(1, radius + 1):
            w = splat(weights[k])
            low0, low1, low2, low3 = load(source, starts[radius - k] + p), low0, low1, low2
            high0, high1, high2, high3 = high1, high2, high3, load(source, starts[radius + 3 + k] + p)
            sum0 = fma(low0 + high0, w, sum0)
            sum1 = fma(low1 + high1, w, sum1)
            sum2 = fma(low2 + high2, w, sum2)
            sum3 = fma(low3 + high3, w, sum3)
        q = to + x
        store(out, ends[0] + q, sum0)
        store(out, ends[1] + q, sum1)
        store(out, ends[2] + q, sum2)
        store(out, ends[3] + q, sum3)


@kernel
def filter_along(source, at, source_stride, weights, radius, n, out, to, stride):
    """Four rows filtered along x; source[at] is the first value that contributes, `radius` before the first output.

    n : columns, a multiple of 16.
    """
    for x in range(0, n, LANES):
        row0 = at + radius + x
        row1, row2, row3 = row0 + source_stride, row0 + 2 * source_stride, row0 + 3 * source_stride
        w = splat(weights[0])
        sum0, sum1 = load(source, row0) * w, load(source, row1) * w
        sum2, sum3 = load(source, row2) * w, load(source, row3) * w
        for k in range(1, radius + 1):
            w = splat(weights[k])
            sum0 = fma(load(source, row0 - k) + load(source, row0 + k), w, sum0)
            sum1 = fma(load(source, row1 - k) + load(source, row1 + k), w, sum1)
            sum2 = fma(load(source, row2 - k) + load(source, row2 + k), w, sum2)
            sum3 = fma(load(source, row3 - k) + load(source, row3 + k), w, sum3)
        store(out, to + x, sum0)
        store(out, to + x + stride, sum1)
        store(out, to + x + 2 * stride, sum2)
        store(out, to + x + 3 * stride, sum3)


def rows_scratch(width, radius):
    """float32 values that `blur_plane` needs for rows of `width` values."""
    return GROUP * (width + 2 * radius + 3 * LANES)


@kernel
def blur_plane(
    source, at, source_stride, columns, height, width,
    weights_y, radius_y, weights_x, radius_x, starts, ends, scratch, out, to, stride,
):  # fmt: skip
    """One plane, smoothed in y and x: `height` (at least 4) rows of `width` (a multiple of 16) values.

    source : flat; source[at] is the first value that contributes, radius_y rows and radius_x columns before the first output.
    columns : how many values of a source row may be read; what lies beyond them is undefined in the output.
    starts, ends : int64, 2 * radius_y + 4 and 4 values to work with. scratch : rows_scratch(width, radius_x) values.
    """
    row = width + 2 * radius_x + 2 * LANES  # room for a vector that is moved back, and one that runs over
    columns = min(columns, width + 2 * radius_x)
    for j in range(GROUP):
        ends[j] = LANES + j * row
    for group in range(0, height, GROUP):
        y = min(group, height - GROUP)
        for j in range(2 * radius_y + GROUP):
            starts[j] = at + (y + j) * source_stride
        filter_across(source, starts, 0, weights_y, radius_y, columns, scratch, ends, 0)
        filter_along(scratch, LANES, row, weights_x, radius_x, width, out, to + y * stride, stride)


@kernel
def blur_across_planes(source, starts, source_stride, height, width, weights, radius, out, ends, stride):
    """Four planes, smoothed along z.

    The 2 * radius + 4 planes of input begin at source[starts[j]], the four of output at out[ends[i]].
    """
    for y in range(height):
        filter_across(source, starts, y * source_stride, weights, radius, width, out, ends, y * stride)
