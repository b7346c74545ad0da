"""What is added up over the pixels of each label of a block."""

import numpy as np

from brushwork.kernels.compile import kernel


@kernel
def boxes(labels, count, first, low, high):
    """Pixels, first pixel and box of labels 1 .. n in a block.

    labels : (z, y, x) int32, 2D as one plane. count : (n + 1,) int64, zeros. first : (n + 1,) int64, position in the block of the
    first pixel. low, high : (n + 1, 3) int64, the box is low <= p < high. Of labels without a pixel only `count` means something.
    """
    position = 0
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                k = labels[z, y, x]
                if k > 0:
                    if count[k] == 0:
                        first[k] = position
                        low[k, 0], low[k, 1], low[k, 2] = z, y, x
                        high[k, 0], high[k, 1], high[k, 2] = z + 1, y + 1, x + 1
                    else:
                        low[k, 1] = min(low[k, 1], y)
                        low[k, 2] = min(low[k, 2], x)
                        high[k, 0] = z + 1
                        high[k, 1] = max(high[k, 1], y + 1)
                        high[k, 2] = max(high[k, 2], x + 1)
                    count[k] += 1
                position += 1


@kernel
def moments(labels, start, sums, products):
    """Sums of coordinates and of their products. start : (3,) int64, the coordinates of the first pixel.

    labels : (z, y, x) int32. sums : (n + 1, 3) int64, zeros. products : (n + 1, 6) int64, zeros; zz yy xx zy zx yx, modulo 2^64.
    """
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            for m in range(labels.shape[2]):
                k = labels[i, j, m]
                if k > 0:
                    z, y, x = i + start[0], j + start[1], m + start[2]
                    sums[k, 0] += z
                    sums[k, 1] += y
                    sums[k, 2] += x
                    products[k, 0] += z * z
                    products[k, 1] += y * y
                    products[k, 2] += x * x
                    products[k, 3] += z * y
                    products[k, 4] += z * x
                    products[k, 5] += y * x


@kernel
def intensities(labels, values, total, smallest, largest):
    """Of labels 1 .. n: sum, minimum and maximum of values. total : (n + 1,) int64 or float64, zeros.

    labels : (n_pixels,) int32. values : (n_pixels,) of any type. smallest, largest : (n + 1,) of that type, beyond all values.
    """
    for i in range(labels.size):
        k = labels[i]
        if k > 0:
            value = values[i]
            total[k] += value
            smallest[k] = min(smallest[k], value)
            largest[k] = max(largest[k], value)


@kernel
def shares(labels, classes, counts):
    """Pixels of every class per label; classes for which there is no column are left out.

    labels, classes : (n_pixels,). counts : (n + 1, n_classes + 1) int64, zeros.
    """
    for i in range(labels.size):
        k, c = labels[i], classes[i]
        if k > 0 and 0 <= c < counts.shape[1]:
            counts[k, c] += 1


@kernel
def compact(labels, out):
    """Number labels anew, 1 .. n in the order in which they are met; returns (n + 1,) int64, the label that each number stands for.

    labels : (n_pixels,) whole numbers; 0 stays 0. out : (n_pixels,) int32.
    """
    ids, numbers = np.zeros(1, np.int64), np.zeros(1024, np.int32)
    at, n = 0, 0
    while at < labels.size:
        ids, numbers = _roomier(ids[: n + 1], numbers)
        at, n = _numbered(labels, out, at, n, ids, numbers)
    return ids[: n + 1].copy()


@kernel
def _numbered(labels, out, at, n, ids, numbers):
    """As `compact` from position `at` on, with n labels known, until there is no room for more; returns (position reached, n)."""
    last, last_number = np.int64(0), np.int64(0)
    for i in range(at, labels.size):
        label = np.int64(labels[i])
        if label != last:
            last, last_number = label, np.int64(0)
            if label != 0:
                slot = _slot(label, ids, numbers)
                if numbers[slot] == 0:
                    if n + 1 == ids.size:
                        return i, n
                    n += 1
                    numbers[slot], ids[n] = n, label
                last_number = np.int64(numbers[slot])
        out[i] = last_number
    return labels.size, n


@kernel
def _roomier(ids, numbers):
    """Room for four times as many labels, and at least 512. numbers : by slot, of which half stay free; a power of two."""
    n_slots = 4 * numbers.size if ids.size > 1 else numbers.size
    wider, slots = np.zeros(n_slots // 2, np.int64), np.zeros(n_slots, np.int32)
    wider[: ids.size] = ids
    for number in range(1, ids.size):
        slots[_slot(ids[number], wider, slots)] = number
    return wider, slots


@kernel
def _slot(label, ids, numbers):
    """Where a label's number stands, or the free slot where it belongs. Multiples of powers of two are spread like neighbours."""
    mixed = (label ^ (label >> 32)) * np.int64(0x1E3779B97F4A7C15)
    slot = (mixed ^ (mixed >> 29) ^ (mixed >> 43)) & (numbers.size - 1)
    while numbers[slot] != 0 and ids[numbers[slot]] != label:
        slot = (slot + 1) & (numbers.size - 1)
    return slot
