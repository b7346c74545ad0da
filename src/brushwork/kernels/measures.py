"""What the shape of a label and its surroundings say: outlines, hulls, neighbours, values around a point."""

import math

import numpy as np

from brushwork.kernels.compile import kernel

# An edge pixel is 1, one beside it 2, one across a corner 10; what the sum says of the outline there (Benkrid and Crookes 2000).
STRAIGHT = (5, 7, 15, 17, 25, 27)
SLANTED = (21, 33)
BENT = (13, 23)


@kernel
def outlines(labels, start, stop, is_edge, counts):
    """Edge pixels by the way in which the outline passes: straight, slanted, bent.

    labels : (y, x) int32, with 2 pixels around the part start <= p < stop that counts, except where the image ends. An edge pixel
    has one of its 4 neighbours outside its label. is_edge : (y, x) bool, scratch. counts : (n + 1, 3) int64, zeros.
    """
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            k = labels[y, x]
            is_edge[y, x] = k != 0
            if k != 0 and 0 < y < height - 1 and 0 < x < width - 1:
                above_and_below = labels[y - 1, x] == k and labels[y + 1, x] == k
                is_edge[y, x] = not (above_and_below and labels[y, x - 1] == k and labels[y, x + 1] == k)
    for y in range(start[0], stop[0]):
        for x in range(start[1], stop[1]):
            if is_edge[y, x]:
                k = labels[y, x]
                code = 1
                for j in range(max(y - 1, 0), min(y + 2, height)):
                    for i in range(max(x - 1, 0), min(x + 2, width)):
                        if (j != y or i != x) and is_edge[j, i] and labels[j, i] == k:
                            code += 2 if j == y or i == x else 10
                if code in STRAIGHT:
                    counts[k, 0] += 1
                elif code in SLANTED:
                    counts[k, 1] += 1
                elif code in BENT:
                    counts[k, 2] += 1


@kernel
def spans(labels, low, before, first, last):
    """The first and last pixel of each label in each row of its box.

    labels : (y, x) int32. low : (n + 1,) int64, the first row of each label. before : (n + 1,) int64, rows of the labels before it.
    first, last : (rows of all labels,) int64; first has to hold numbers beyond x, last -1.
    """
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            k = labels[y, x]
            if k > 0:
                at = before[k] + y - low[k]
                first[at] = min(first[at], x)
                last[at] = max(last[at], x)


@kernel
def hull_areas(starts, rows, first, last, out):
    """Pixels whose centres lie in each label's convex hull, its edge included; a pixel counts with the middles of its four sides.

    starts : (n + 1,) int64, where the spans of each label begin. rows, first, last : (n_spans,) int64, rows ascending.
    out : (n,) int64.
    """
    # In half pixels everything is whole: the corners are (2y, 2x +- 1) and (2y +- 1, 2x), the centres have even coordinates.
    for k in range(out.size):
        a, b = starts[k], starts[k + 1]
        height = 2 * (rows[b - 1] - rows[a]) + 3
        corners = np.empty((height, 2), np.int64)
        bounds = np.empty((2, rows[b - 1] - rows[a] + 1), np.int64)
        for side in range(2):
            n = 0
            for i in range(a, b):
                x = 2 * first[i] if side == 0 else -2 * last[i]
                y = 2 * (rows[i] - rows[a])
                for dy, dx in ((-1, 0), (0, -1), (1, 0)):
                    if n > 0 and corners[n - 1, 0] == y + dy:
                        if corners[n - 1, 1] <= x + dx:
                            continue
                        n -= 1
                    while n > 1 and not _turns(corners, n, y + dy, x + dx):
                        n -= 1
                    corners[n, 0], corners[n, 1] = y + dy, x + dx
                    n += 1
            at = 0
            for j in range(bounds.shape[1]):
                while corners[at + 1, 0] < 2 * j:
                    at += 1
                dy, dx = corners[at + 1, 0] - corners[at, 0], corners[at + 1, 1] - corners[at, 1]
                along = corners[at, 1] * dy + dx * (2 * j - corners[at, 0])
                bounds[side, j] = -(-along // (2 * dy))  # rounded up
        total = 0
        for j in range(bounds.shape[1]):
            total += 1 - bounds[1, j] - bounds[0, j]
        out[k] = total


@kernel(inline="always")
def _turns(corners, n, y, x):
    """Whether the way over the last two corners to (y, x) turns outwards."""
    y0, x0 = corners[n - 2, 0], corners[n - 2, 1]
    y1, x1 = corners[n - 1, 0], corners[n - 1, 1]
    return (y1 - y0) * (x - x0) - (x1 - x0) * (y - y0) > 0


@kernel
def touching(labels, start, stop):
    """Pairs of labels with pixels next to each other, also diagonally, (n_pairs, 2) int64, the smaller label first, each once.

    labels : (z, y, x) int32. Only pairs whose first pixel lies in start <= p < stop are found.
    """
    n = np.int64(labels.max()) + 1
    pairs = {np.int64(-1)}
    last = np.int64(-1)
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            for x in range(start[2], stop[2]):
                k = np.int64(labels[z, y, x])
                if k > 0:
                    for j in range(13):  # the half of the 26 neighbours that comes later
                        dz, dy, dx = (j + 14) // 9 - 1, (j + 14) // 3 % 3 - 1, (j + 14) % 3 - 1
                        z1, y1, x1 = z + dz, y + dy, x + dx
                        if z1 < labels.shape[0] and 0 <= y1 < labels.shape[1] and 0 <= x1 < labels.shape[2]:
                            other = np.int64(labels[z1, y1, x1])
                            if other > 0 and other != k:
                                pair = min(k, other) * n + max(k, other)
                                if pair != last:
                                    pairs.add(pair)
                                    last = pair
    out = np.empty((len(pairs) - 1, 2), np.int64)
    i = 0
    for pair in pairs:
        if pair >= 0:
            out[i, 0], out[i, 1] = pair // n, pair % n
            i += 1
    return out


@kernel
def percentiles_around(values, points, radius, percentile, out):
    """A percentile of the values in a cube around each point, between two values in proportion; NaN where one is no finite number.

    values : (z, y, x). points : (n, 3) int64. radius : pixels; the cube ends where the array does. out : (n,) float64.
    """
    shape = values.shape
    cube = np.empty((2 * radius + 1) ** 3)
    for i in range(len(points)):
        n = 0
        for z in range(max(points[i, 0] - radius, 0), min(points[i, 0] + radius + 1, shape[0])):
            for y in range(max(points[i, 1] - radius, 0), min(points[i, 1] + radius + 1, shape[1])):
                for x in range(max(points[i, 2] - radius, 0), min(points[i, 2] + radius + 1, shape[2])):
                    cube[n] = values[z, y, x]
                    n += 1
        place = percentile / 100 * (n - 1)
        below = min(int(place), max(n - 2, 0))
        if not np.isfinite(cube[:n].sum()):
            out[i] = math.nan
            continue
        lower = _ordered_to(cube[:n], below)
        upper = cube[below + 1 : n].min() if n > 1 else lower
        out[i] = lower + (upper - lower) * (place - below)


@kernel
def _ordered_to(values, place):
    """The value at `place` in ascending order; in values (n,) float64 no larger one is left before it, no smaller one behind it."""
    low, high = 0, values.size - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if place <= j:
            high = j
        elif place >= i:
            low = i
        else:
            break
    return values[place]


@kernel
def signals_around(values, points, radius, largest, mean):
    """The largest and the mean value in a cube around each point; both NaN where one is not a number. As `percentiles_around`."""
    shape = values.shape
    for i in range(len(points)):
        n, total, most = 0, 0.0, -math.inf
        for z in range(max(points[i, 0] - radius, 0), min(points[i, 0] + radius + 1, shape[0])):
            for y in range(max(points[i, 1] - radius, 0), min(points[i, 1] + radius + 1, shape[1])):
                for x in range(max(points[i, 2] - radius, 0), min(points[i, 2] + radius + 1, shape[2])):
                    total += values[z, y, x]
                    most = max(most, values[z, y, x])
                    n += 1
        mean[i] = total / n
        largest[i] = most if not math.isnan(total) else math.nan
