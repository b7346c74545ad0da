"""Ordinary decision trees, evaluated for 256 neighbouring pixels at once.

Strategy: a node holds the set of pixels that reached it, one bit each. Trees go level by level, 16 of them together: one vector
comparison with a node's threshold tells left from right for all pixels, and a child that no pixel reaches is not visited.
Neighbours share their paths, so a few dozen nodes are visited per tree instead of a path per pixel; in a square of 16 x 16 pixels
40 % fewer than in a row. Nothing branches on what a child is: what is written for the other case (a leaf in the queue, an inner
node among the leaves) is never read.
"""

import numpy as np

from brushwork.kernels.compile import kernel
from brushwork.kernels.sets256 import (
    PIXELS,
    WORDS,
    add_where,
    at_most,
    every_pixel,
    is_empty,
    load_set,
    no_pixel,
    store_set,
)

LEAF = -1
TREES = 16  # evaluated together: their nodes of one level stay in the first cache
UNREAD = 8  # leaves that nobody reads; several, so that writing one does not wait for the one before
QUEUE = TREES * PIXELS + 1


@kernel(inline="always")
def _visit(pixels, child, code, slot, end, waiting, nodes, slots, reached, n_reached, noted):
    """Note where some pixels of a node go: to the end of the queue, or to a leaf. Returns the queue's new end."""
    store_set(waiting, end, pixels)
    nodes[end], slots[end] = child, slot
    store_set(noted, code, load_set(noted, code) | pixels)
    reached[slot, n_reached[slot]] = code
    some = not is_empty(pixels)
    n_reached[slot] += np.int64((child == LEAF) & some)
    return end + np.int64((child != LEAF) & some)


@kernel(inline="always")
def _take(sums, sizes, forest, totals):
    """Add a forest's sums to those of all, and begin anew."""
    for i in range(len(sums)):
        value = sums[i]
        if len(sizes):
            size = np.float32(sizes[forest])
            value = (value / size) * size
        totals[i] += value
        sums[i] = 0


@kernel
def predict(maps, width, patch_width, feature, threshold, children, codes, roots, first_leaf, leaves, sizes, out):
    """out[c, p] = mean over trees of the value, for class c, of the leaf that pixel p reaches.

    maps : (n_maps, n) float32, rows of `width` pixels one after the other. patch_width : what is evaluated together is so wide,
    and 256 / patch_width rows high, which the rows have to hold. roots : (n_trees,) nodes.
    Of every inner node: feature : the map asked; threshold : float32, a pixel goes left where its value is not above it;
    children : (n_nodes, 2) nodes, LEAF for leaves;
    codes : (n_nodes, 2) where the children's pixels are noted, numbered from 0 within every TREES trees: a leaf's number,
    for inner nodes one of the UNREAD numbers behind them. Leaves of a tree with the same values share a number.
    first_leaf : (n_trees + 1,) rows of `leaves` at which the leaves of a tree begin. leaves : (n_leaves, n_classes) float32.
    sizes : (n_forests,) trees of each forest whose mean is rounded to float32 before theirs is taken; empty: one mean of all.
    Sums are taken in the order of the trees. Nothing is checked.
    """
    n_maps, n = maps.shape
    patch_height = PIXELS // patch_width
    n_trees, n_classes = len(roots), leaves.shape[1]
    nodes, next_nodes = np.empty(QUEUE, np.int32), np.empty(QUEUE, np.int32)
    slots, next_slots = np.empty(QUEUE, np.int32), np.empty(QUEUE, np.int32)
    sets, next_sets = np.empty(QUEUE * WORDS, np.uint64), np.empty(QUEUE * WORDS, np.uint64)
    reached = np.empty((TREES, PIXELS + 1), np.int32)
    n_reached = np.zeros(TREES, np.int64)
    noted = np.zeros((codes.max() + 1) * WORDS, np.uint64)
    values = np.empty(n_maps * PIXELS, np.float32)
    sums, totals = np.zeros(n_classes * PIXELS, np.float32), np.zeros(n_classes * PIXELS, np.float32)
    n_rows = n // width
    n_across, n_down = -(-width // patch_width), -(-n_rows // patch_height)
    for patch in range(n_down * n_across):
        # The last ones overlap those before.
        y0 = min(patch // n_across * patch_height, n_rows - patch_height)
        x0 = min(patch % n_across * patch_width, width - patch_width)
        for f in range(n_maps):
            for y in range(patch_height):
                for x in range(patch_width):
                    values[f * PIXELS + y * patch_width + x] = maps[f, (y0 + y) * width + x0 + x]
        totals[:] = 0
        forest, last = 0, sizes[0] if len(sizes) else n_trees
        for t0 in range(0, n_trees, TREES):
            n_here = min(TREES, n_trees - t0)
            for s in range(n_here):
                nodes[s], slots[s] = roots[t0 + s], s
                store_set(sets, s, every_pixel())
            n_waiting = n_here
            while n_waiting > 0:
                end = 0
                for i in range(n_waiting):
                    node, slot, here = nodes[i], slots[i], load_set(sets, i)
                    left = here & at_most(values, np.int64(feature[node]) * PIXELS, threshold[node])
                    end = _visit(
                        left, children[node, 0], codes[node, 0], slot, end,
                        next_sets, next_nodes, next_slots, reached, n_reached, noted,
                    )  # fmt: skip
                    end = _visit(
                        here - left, children[node, 1], codes[node, 1], slot, end,
                        next_sets, next_nodes, next_slots, reached, n_reached, noted,
                    )  # fmt: skip
                n_waiting = end
                nodes, next_nodes = next_nodes, nodes
                slots, next_slots = next_slots, slots
                sets, next_sets = next_sets, sets
            for s in range(n_here):
                for i in range(n_reached[s]):
                    code = reached[s, i]
                    pixels = load_set(noted, code)
                    store_set(noted, code, no_pixel())  # leaves that share a number are added once
                    if not is_empty(pixels):
                        for c in range(n_classes):
                            value = leaves[first_leaf[t0] + code, c]
                            if value != 0:
                                add_where(pixels, value, sums, c * PIXELS)
                n_reached[s] = 0
                if t0 + s + 1 == last:
                    _take(sums, sizes, forest, totals)
                    forest += 1
                    last += sizes[forest] if forest < len(sizes) else 0
        for c in range(n_classes):
            for y in range(patch_height):
                for x in range(patch_width):
                    total = totals[c * PIXELS + y * patch_width + x]
                    out[c, (y0 + y) * width + x0 + x] = total / np.float32(n_trees)
