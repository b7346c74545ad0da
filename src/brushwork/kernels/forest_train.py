"""Growing symmetric trees: every node of a level asks the same question, "is map f above code t?".

All maps are bytes here (`forest_predict.encode`). A tree of depth D is D questions and 2^D leaves; bit d of a leaf's number
is the answer to question d. One tree:

    draw strokes: whole strokes are in or out, class by class                           `draw_weights`
    draw maps, and pack their codes of the drawn samples, 64 bytes a sample             `pack_rows`
    at each level
        draw K candidates (a map; any code as threshold)                                `draw_candidates`
        count, per leaf so far and class, the samples above each candidate's threshold  `count_answers`: most of the time
        keep the candidate with the least Gini impurity summed over leaves and sides    `score_candidates`
    count in the leaves what was drawn, and all samples of classes of few strokes       `take_back`, `count_leaves`

A sample is a row of 64 bytes. One byte permutation of the row puts the values of all candidates side by side, one compare
answers them, one masked addition counts the answers: some 20 cycles per sample and level for any K <= 64.
"""

from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from brushwork.kernels import simd
from brushwork.kernels.bytes64 import (
    BYTES,
    I32,
    I64,
    Bytes64,
    constant,
    load64,
    load_vector,
    permute,
    repeat,
    shuffle,
    store_vector,
)
from brushwork.kernels.compile import kernel

ROW = 64  # bytes of a sample: the most maps that a tree sees
THRESHOLDS_PER_MAP = 4  # candidates that share a map; 2, 4 and 8 are equally accurate
PACKED_AT_ONCE = 256  # samples: their rows stay in the first cache while map after map is written
# Leaves count all samples of classes of fewer strokes. Balanced accuracy on images not seen, mean of six cases, with two and
# three strokes per class: .849 and .875 so, .845 and .870 where leaves count what was drawn; most of it is one case, the others
# gain or lose up to .01. Counting everything for all classes took mean average precision of eleven cases from .885 to .881 with
# the few strokes stored, from .908 to .909 with the many (one seed).
FEW_STROKES = 4
LEAF_SUM = 255  # what the class probabilities of a leaf, as bytes, add up to


# ---- random numbers: splitmix64 ------------------------------------------------------------------------------------


@kernel(inline="always")
def scrambled(z):
    """The output function of splitmix64 (Steele, Lea, Flood 2014): uint64 -> uint64, one to one."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def draw(state, n):
    """The next number of the stream `state` (1,) uint64, scaled to 0 .. n - 1, n < 2^32."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    return np.int64(((scrambled(state[0]) >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))


# ---- what a tree sees ----------------------------------------------------------------------------------------------


@kernel
def draw_weights(state, stroke_of, class_starts, weights):
    """How often a tree sees each sample: per class as many draws of a stroke, with replacement, as the class has strokes.

    Pixels of a stroke are nearly copies of each other; trees that see different strokes differ more than trees that see
    different pixels of all strokes, and no class is ever lost.
    stroke_of : (n,) int32, strokes are numbered class by class; class_starts : (n_groups + 1,) int64, the first stroke of
    each painted class, then the number of strokes; weights : (n,) int32, written.
    """
    times = np.zeros(class_starts[-1], np.int32)
    for group in range(class_starts.size - 1):
        first = class_starts[group]
        n_strokes = class_starts[group + 1] - first
        for _ in range(n_strokes):
            times[first + draw(state, n_strokes)] += 1
    for i in range(stroke_of.size):
        weights[i] = times[stroke_of[i]]


@kernel
def take_back(stroke_of, class_starts, weights):
    """Weight 1 for all samples of classes of fewer than FEW_STROKES strokes; shapes as in `draw_weights`."""
    few = np.zeros(class_starts[-1], np.bool_)
    for group in range(class_starts.size - 1):
        for stroke in range(class_starts[group], class_starts[group + 1]):
            few[stroke] = class_starts[group + 1] - class_starts[group] < FEW_STROKES
    for i in range(stroke_of.size):
        if few[stroke_of[i]]:
            weights[i] = 1


@kernel
def take_samples(weight_of, classes, samples, weights, keys):
    """List the samples that were drawn, at the root: key = class. Returns how many there are."""
    n_samples = 0
    for i in range(classes.size):
        samples[n_samples], weights[n_samples], keys[n_samples] = i, weight_of[i], classes[i]
        n_samples += weight_of[i] > 0
    return n_samples


@kernel
def balance_classes(weights, keys, n_classes):
    """Raise weights until every class has the same total as the largest; keys are classes, totals positive.

    The running sum of a class is stretched and rounded, not each weight: the totals are exact, and weights stay integers
    that differ by at most 1 where they were the same.
    """
    totals = np.zeros(n_classes, np.int64)
    for s in range(keys.size):
        totals[keys[s]] += weights[s]
    most = 0
    for c in range(n_classes):
        most = max(most, totals[c])
    running = np.zeros(n_classes, np.int64)
    for s in range(keys.size):
        c = keys[s]
        before = running[c] * most // totals[c]
        running[c] += weights[s]
        weights[s] = running[c] * most // totals[c] - before


@kernel
def draw_maps(state, every_map, tree_maps):
    """Different random maps for a tree: tree_maps (at most n_maps,) int32, written; every_map (n_maps,) int32, space."""
    for f in range(every_map.size):
        every_map[f] = f
    for j in range(tree_maps.size):
        other = j + draw(state, every_map.size - j)
        every_map[j], every_map[other] = every_map[other], every_map[j]
        tree_maps[j] = every_map[j]


@kernel
def pack_rows(columns, tree_maps, samples, rows):
    """rows[s, j] = columns[tree_maps[j], samples[s]]; columns (n_maps, n) uint8, rows (>= n_samples, 64) uint8."""
    for start in range(0, samples.size, PACKED_AT_ONCE):
        stop = min(start + PACKED_AT_ONCE, samples.size)
        for j in range(tree_maps.size):
            column = columns[tree_maps[j]]
            for s in range(start, stop):
                rows[s, j] = column[samples[s]]


# ---- one level -----------------------------------------------------------------------------------------------------


@lru_cache
def count_one_sample(lanes):
    """histogram[row, k] += weight for every candidate k that the sample answers with yes; needs VBMI."""

    @intrinsic
    def count(typing, rows, sample, positions, thresholds, histogram, row, weight):
        def generate(context, builder, signature, args):
            rows, sample, positions, thresholds, histogram, row, weight = args
            rows = context.make_array(signature.args[0])(context, builder, rows).data
            histogram = context.make_array(signature.args[4])(context, builder, histogram).data
            codes = load_vector(builder, builder.gep(rows, [builder.mul(sample, I64(ROW))]), BYTES)
            above = builder.icmp_unsigned(">", permute(builder, codes, positions), thresholds)
            above = shuffle(builder, above, above, range(lanes))
            more = builder.select(above, repeat(builder, weight, lanes), constant(I32, lanes, 0))
            at = builder.gep(histogram, [builder.mul(row, I64(lanes))])
            store_vector(builder, builder.add(load_vector(builder, at, more.type), more), at)
            return context.get_dummy_value()

        signature = types.void(rows, types.int64, Bytes64, Bytes64, histogram, types.int64, types.int32)
        return signature, generate

    return count


@lru_cache
def count_answers(lanes, fast):
    """The kernel that counts one level for `lanes` candidates, in vectors or plainly: the same integers."""
    count = count_one_sample(lanes) if fast else None

    @kernel(variant=(lanes, "vector"))
    def in_vectors(rows, weights, keys, positions, thresholds, histogram, totals):
        """Add every sample to row `key` (leaf * n_classes + class) of the histogram; keys are not checked.

        rows : (>= n_samples, 64) uint8; weights, keys : (n_samples,) int32; positions, thresholds : (64,) uint8;
        histogram : (n_keys, lanes) int32; totals : (n_keys,) int32.
        NumPy: np.add.at(histogram, keys, weights[:, None] * (rows[:n_samples, positions[:lanes]] > thresholds[:lanes]))
        """
        which, limits = load64(positions), load64(thresholds)
        for s in range(keys.size):
            key, weight = keys[s], weights[s]
            count(rows, s, which, limits, histogram, np.int64(key), weight)
            totals[key] += weight

    @kernel(variant=(lanes, "plain"))
    def plainly(rows, weights, keys, positions, thresholds, histogram, totals):
        """As `in_vectors`, in any machine's instructions."""
        codes = np.empty(lanes, np.uint8)
        for s in range(keys.size):
            row, counts, weight = rows[s], histogram[keys[s]], weights[s]
            for k in range(lanes):
                codes[k] = row[positions[k]]
            for k in range(lanes):
                counts[k] += weight if codes[k] > thresholds[k] else np.int32(0)
            totals[keys[s]] += weight

    return in_vectors if fast else plainly


@intrinsic
def load_counts(typing, histogram, row, first):
    """Vec of histogram[row, first : first + 16], as float32."""

    def generate(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        at = builder.add(builder.mul(args[1], builder.extract_value(array.shape, 1)), args[2])
        counts = load_vector(builder, builder.gep(array.data, [at]), ir.VectorType(I32, simd.LANES))
        return builder.sitofp(counts, ir.VectorType(ir.FloatType(), simd.LANES))

    return simd.Vec(histogram, types.int64, types.int64), generate


@kernel
def score_candidates(histogram, totals, n_leaves, n_classes, scores):
    """scores[k] = sum over leaves and sides of (sum of squared class counts) / count: most where Gini impurity is least.

    histogram : (>= n_leaves * n_classes, lanes), samples above; totals : (n_leaves * n_classes,), samples in all;
    scores : (lanes,) float32, written, lanes a multiple of 16. Counts are exact in float32, sums are added in the order
    written. An empty side has 0 / max(0, 1) = 0.
    """
    zero, one = simd.splat(np.float32(0)), simd.splat(np.float32(1))
    for first in range(0, scores.size, simd.LANES):
        score = zero
        for leaf in range(n_leaves):
            n_above, n_all, squares_above, squares_below = zero, zero, zero, zero
            for c in range(leaf * n_classes, (leaf + 1) * n_classes):
                above = load_counts(histogram, c, first)
                everyone = simd.splat(np.float32(totals[c]))
                below = everyone - above
                n_above = n_above + above
                n_all = n_all + everyone
                squares_above = squares_above + above * above
                squares_below = squares_below + below * below
            score = score + simd.divide(squares_above, simd.maximum(n_above, one))
            score = score + simd.divide(squares_below, simd.maximum(n_all - n_above, one))
        simd.store(scores, first, score)


# ---- leaves --------------------------------------------------------------------------------------------------------


@kernel
def shrink_towards_parents(nodes, depth, shrinkage):
    """Turn the leaves' class counts into estimates that lean on their parents' with the weight of `shrinkage` samples.

    nodes : (2^(depth+1), n_classes) float32; node 2^d + l is number l of level d, its children are l and l + 2^d of the
    next. In: counts in the last level. Out: probabilities everywhere. An empty leaf answers what its parent knows.
    """
    n_classes = nodes.shape[1]
    for d in range(depth - 1, -1, -1):
        n = 1 << d
        for leaf in range(n):
            for c in range(n_classes):
                nodes[n + leaf, c] = nodes[2 * n + leaf, c] + nodes[3 * n + leaf, c]
    n_all = np.float32(0)
    for c in range(n_classes):
        n_all += nodes[1, c]
    for c in range(n_classes):
        nodes[1, c] /= n_all
    for d in range(1, depth + 1):
        n = 1 << d
        for leaf in range(n):
            node, parent = nodes[n + leaf], nodes[n // 2 + leaf % (n // 2)]
            weight = np.float32(shrinkage)
            for c in range(n_classes):
                weight += node[c]
            for c in range(n_classes):
                node[c] = (node[c] + shrinkage * parent[c]) / weight if weight > 0 else parent[c]


@kernel
def round_leaves(probabilities, leaves):
    """Probabilities as bytes that add up to 255, the last class left out: it has what the others leave.

    probabilities : (n_leaves, n_classes) float32, leaves : (n_classes - 1, n_leaves) uint8, written.
    The running sum is rounded, not each class: exact totals at one pass, every byte within 1 of its share, and a class
    without samples stays at 0. NumPy: np.diff(np.floor(255 * p.cumsum(1) + 0.5), axis=1, prepend=0)[:, :-1].T
    """
    for leaf in range(leaves.shape[1]):
        running = np.float32(0)
        given = 0
        for c in range(leaves.shape[0]):
            running += probabilities[leaf, c]
            upto = min(np.int64(running * np.float32(LEAF_SUM) + np.float32(0.5)), LEAF_SUM)
            leaves[c, leaf] = upto - given
            given = upto


# ---- trees: array expressions are written as loops, numba takes seconds to compile them --------------------------------


@kernel
def count_leaves(weights, keys, counts):
    """counts[leaf, class] of samples, key = leaf * n_classes + class; counts : (n_leaves, n_classes) float32, written."""
    n_classes = counts.shape[1]
    counts[:] = 0
    for s in range(keys.size):
        counts[keys[s] // n_classes, keys[s] % n_classes] += np.float32(weights[s])


@kernel
def score_of_root(counts):
    """What `score_candidates` would say of a tree without questions; counts (n_classes,)."""
    squares, n = np.float32(0), np.float32(0)
    for c in range(counts.size):
        squares += counts[c] * counts[c]
        n += counts[c]
    return squares / n


@kernel
def draw_candidates(state, n_maps, n_candidates, positions, thresholds):
    """Random maps, a few thresholds for each: any code but 255. Unused lanes get threshold 255, nothing is above.

    Codes follow ranks where strokes are dense, and values in between (see `slopes`). So where two classes lie apart, the gap
    has many codes: questions fall all over it, and a pixel between the classes gets votes for both. Codes of samples fall on
    the gap's rims alone: of a plain bright disc 94 % of the pixels were right then, 99 % so.
    """
    positions[:] = 0
    thresholds[:] = 255
    position = 0
    for k in range(n_candidates):
        if k % THRESHOLDS_PER_MAP == 0:
            position = draw(state, n_maps)
        positions[k], thresholds[k] = position, draw(state, 255)


@kernel
def answer(codes, threshold, step, keys):
    """keys += step where the sample's code is above the threshold: the last question's bit enters the leaf's number."""
    for s in range(keys.size):
        keys[s] += step * (codes[s] > threshold)


@lru_cache
def level_grower(lanes, fast):
    """The kernel `best_candidate(...)` for at most `lanes` (32 or 64) candidates."""
    count = count_answers(lanes, fast)

    @kernel(variant=(lanes, fast))
    def best_candidate(state, rows, n_maps, weights, keys, n_leaves, n_classes, n_candidates, histogram):
        """Draw candidates for one level of a tree. Returns the best one's (position in the rows, threshold, score).

        See `grow` and `count_answers` for the shapes.
        """
        positions, thresholds = np.empty(ROW, np.uint8), np.empty(ROW, np.uint8)
        draw_candidates(state, n_maps, n_candidates, positions, thresholds)
        n_keys = n_leaves * n_classes
        totals = np.empty(n_keys, np.int32)
        totals[:] = 0
        histogram[:n_keys] = 0
        count(rows, weights, keys, positions, thresholds, histogram, totals)
        scores = np.empty(lanes, np.float32)
        score_candidates(histogram, totals, n_leaves, n_classes, scores)
        best = 0
        for k in range(1, n_candidates):
            if scores[k] > scores[best]:
                best = k
        return positions[best], thresholds[best], scores[best]

    return best_candidate


@lru_cache
def tree_grower(lanes, fast):
    """The kernel `grow(...)` for at most `lanes` (32 or 64) candidates, in vectors (VBMI) or plainly: the same trees."""
    best_candidate = level_grower(lanes, fast)

    @kernel(variant=(lanes, fast))
    def grow(
        columns, classes, n_classes, stroke_of, class_starts, bootstrap, balanced, maps_per_tree, n_candidates, shrinkage,
        seed, first_tree, rows, histogram, maps, thresholds, leaves, gains,
    ):  # fmt: skip
        """Trees first_tree, first_tree + 1, ... of the forest `seed`, whoever grows the others.

        columns : (n_maps, n) uint8; classes : (n,) uint8, below n_classes; stroke_of, class_starts : see `draw_weights`;
        maps_per_tree : at most n_maps and 64; n_candidates : at most lanes; rows : (n, 64) uint8 and histogram :
        (n_classes * 2^(depth-1), lanes) int32, space of this thread's.
        Written: maps (n_trees, depth) int32, thresholds (n_trees, depth) uint8, leaves (n_trees, n_classes - 1,
        2^depth) uint8, and gains (n_trees, depth) float32, by how much each question lowers the Gini impurity.
        """
        n, depth = classes.size, maps.shape[1]
        state = np.empty(1, np.uint64)
        every_map, tree_maps = np.empty(columns.shape[0], np.int32), np.empty(maps_per_tree, np.int32)
        weight_of = np.ones(n, np.int32)
        samples, weights, keys = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
        nodes = np.empty((2 << depth, n_classes), np.float32)
        some_have_few = np.diff(class_starts).min() < FEW_STROKES
        for tree in range(maps.shape[0]):
            state[0] = scrambled(seed + scrambled(np.uint64(first_tree + tree + 1)))
            if bootstrap:
                draw_weights(state, stroke_of, class_starts, weight_of)
            n_drawn = take_samples(weight_of, classes, samples, weights, keys)
            weight, key = weights[:n_drawn], keys[:n_drawn]
            if balanced:
                balance_classes(weight, key, n_classes)
            draw_maps(state, every_map, tree_maps)
            pack_rows(columns, tree_maps, samples[:n_drawn], rows)
            leaf_counts = nodes[1 << depth :]
            count_leaves(weight, key, leaf_counts)  # at the root: leaf 0 has all samples
            before = score_of_root(leaf_counts[0])
            for level in range(depth):
                n_leaves = 1 << level
                position, threshold, score = best_candidate(
                    state, rows, maps_per_tree, weight, key, n_leaves, n_classes, n_candidates, histogram
                )
                maps[tree, level], thresholds[tree, level] = tree_maps[position], threshold
                gains[tree, level] = score - before if score > before else np.float32(0)
                before = score
                answer(rows[:, position], threshold, n_leaves * n_classes, key)
            if bootstrap and some_have_few:
                take_back(stroke_of, class_starts, weight_of)
                weight, key = weights, keys
                for i in range(n):
                    weight[i], key[i] = weight_of[i], classes[i]
                if balanced:
                    balance_classes(weight, key, n_classes)
                for level in range(depth):
                    answer(columns[maps[tree, level]], thresholds[tree, level], n_classes << level, key)
            count_leaves(weight, key, leaf_counts)
            shrink_towards_parents(nodes, depth, shrinkage)
            round_leaves(leaf_counts, leaves[tree])

    return grow
