"""Regions, connected pixels of one class, in a block; and how often two regions touch."""

from brushwork.kernels.compile import kernel


@kernel(inline="always")
def root(labels, p):
    """The first pixel of what `p` is joined to; shortens the way for the next one."""
    while labels[p] != -p - 1:
        labels[p] = labels[-labels[p] - 1]
        p = -labels[p] - 1
    return p


@kernel
def label_regions(classes, earlier, labels, first):
    """Number the regions of a block 1 .. n in the order of their first pixels, class 0 stays 0; returns n.

    classes : (z, y, x) whole numbers, 2D as one plane. earlier : (k, 3) int64, the neighbours of a pixel that come before it,
    the one along x first. labels : (n_pixels,) int32. first : (n_pixels,) int32, filled up to n: the first pixel of each region.
    """
    depth, height, width = classes.shape
    # Until all pixels are joined, -1 - q stands for the earlier pixel q of the same region; a region's first pixel names itself.
    for z in range(depth):
        for y in range(height):
            row = (z * height + y) * width
            for x in range(width):
                labels[row + x] = -(row + x) - 1 if classes[z, y, x] != 0 else 0
            for k in range(earlier.shape[0]):
                zq, yq, step = z + earlier[k, 0], y + earlier[k, 1], earlier[k, 2]
                if zq < 0 or yq < 0 or yq >= height:
                    continue
                there = (zq * height + yq) * width
                for x in range(max(0, -step), min(width, width - step)):
                    c = classes[z, y, x]
                    if c == 0 or classes[zq, yq, x + step] != c:
                        continue
                    # Both pixels to the left belong to these two rows of one class: joined there already.
                    if (
                        k > 0
                        and x > 0
                        and x + step > 0
                        and classes[z, y, x - 1] == c
                        and classes[zq, yq, x + step - 1] == c
                    ):
                        continue
                    a, b = root(labels, row + x), root(labels, there + x + step)
                    if a < b:
                        labels[b] = -a - 1
                    elif b < a:
                        labels[a] = -b - 1
    n = 0
    for p in range(labels.size):
        if labels[p] < 0:
            q = -labels[p] - 1
            if q == p:
                first[n] = p
                n += 1
                labels[p] = n
            else:
                labels[p] = labels[q]
    return n


@kernel
def contacts(labels, settled, earlier, own, out):
    """The pairs of touching pixels that belong to two regions; returns their number.

    labels : (z, y, x) int32. settled : (n + 1,) bool; pairs of two settled regions are left out. earlier : as in `label_regions`.
    own : (3,) int64; the earlier corner of a pair's box lies below it on every axis. out : (2, m) int32, filled as far as it goes.
    """
    n = 0
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for k in range(earlier.shape[0]):
                zq, yq, step = z + earlier[k, 0], y + earlier[k, 1], earlier[k, 2]
                if zq < 0 or yq < 0 or yq >= labels.shape[1] or zq >= own[0] or min(y, yq) >= own[1]:
                    continue
                first, last = max(0, -step), min(labels.shape[2], labels.shape[2] - step)
                for x in range(first, min(last, own[2] + max(0, -step))):
                    a, b = labels[z, y, x], labels[zq, yq, x + step]
                    if a != b and a != 0 and b != 0 and not (settled[a] and settled[b]):
                        if n < out.shape[1]:
                            out[0, n], out[1, n] = min(a, b), max(a, b)
                        n += 1
    return n
