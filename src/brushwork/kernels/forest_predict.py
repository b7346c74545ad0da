"""Asking a symmetric forest: maps to bytes, bytes to leaf numbers, leaves to probabilities.

Bit d of a leaf's number is the answer to question d, "is the code of map f_d above t_d?". A leaf is a byte per class but
the last; the bytes of all classes add up to 255. Probabilities are integer sums over trees: exact, in any order.

Pixels go in chunks of 1,024, encoded into blocks of 128: codes[block, map, pixel], 49 maps of a block lie in 6 KB (the maps
of whole chunks would compete for the same cache sets). The fast path keeps leaf numbers, tables and sums in registers:

    answers 0..6     a 7-bit number per byte; vpermi2b looks it up in a table of 128 bytes
    answers 7..D-1   stay masks, and choose between the 2^(D-7) tables' results

The plain path writes leaf numbers to a buffer and adds one uint64 per tree, holding four classes as 16-bit fields; four
trees at a time, as each sum is loaded and stored once for all (30 % faster).
"""

from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from brushwork.kernels.bytes64 import (
    BYTES,
    I8,
    I16,
    I32,
    I64,
    LANES,
    constant,
    load_vector,
    permute_two,
    repeat,
    shuffle,
    store_vector,
)
from brushwork.kernels.compile import kernel

BLOCK = 128  # pixels whose sums stay in registers: two vectors
CHUNK = 1024  # pixels encoded before the trees see them; 512 to 2,048 are equally fast
FIELDS = 4  # classes in a word of the plain path
TOGETHER = 4  # trees that the plain path takes at a time
LEAF_SUM = 255  # what the bytes of a leaf add up to
MOST_TREES_AT_ONCE = 256  # 257 * 255 still fits 16 bits
IN_REGISTER = 7  # answers that one byte permutation resolves


# ---- maps to bytes -------------------------------------------------------------------------------------------------


@kernel
def encode(maps, used, knots, slopes, start, stop, codes):
    """Pixels start .. stop of the maps in `used` as bytes: piecewise linear through five knots, clamped at both ends.

    maps : (n_maps, n) float32, used : (n_used,) int64, knots : (n_maps, 5) float32, not falling,
    slopes : (n_maps, 4) float32, codes : (>= (stop - start) / 128, n_used, 128) uint8, written up to `stop`.
    NumPy: sum((np.clip(x, knots[j], knots[j + 1]) - knots[j]) * slopes[j] for j in range(4)).astype(np.uint8)
    Each term rises with x, and so do their rounded sums: a larger value never gets a smaller code. NaN gets 0.
    """
    for j in range(used.size):
        f = used[j]
        a, b, c, d, e = knots[f, 0], knots[f, 1], knots[f, 2], knots[f, 3], knots[f, 4]
        slope0, slope1, slope2, slope3 = slopes[f, 0], slopes[f, 1], slopes[f, 2], slopes[f, 3]
        for at in range(start, stop, BLOCK):
            source, target = maps[f, at : min(at + BLOCK, stop)], codes[(at - start) // BLOCK, j]
            for p in range(source.size):
                x = source[p]
                x = x if x > a else a
                x1 = x if x < b else b
                x2 = x if x < c else c
                x3 = x if x < d else d
                x4 = x if x < e else e
                code = (x1 - a) * slope0 + (x2 - x1) * slope1 + (x3 - x2) * slope2 + (x4 - x3) * slope3
                target[p] = np.uint8(np.int32(code))


# ---- sums to probabilities -----------------------------------------------------------------------------------------


@kernel
def write_probabilities(totals, whole, start, stop, out):
    """out[c, start:stop] = totals[c] / whole; the last class gets what the others leave.

    totals : (>= n_classes - 1, >= stop - start) int32, sums of leaf bytes; whole : 255 * trees, below 2^24, so that float32
    holds it exactly; out : (n_classes, n) float32.
    """
    last = out.shape[0] - 1
    rest = np.full(stop - start, whole, np.int32)
    divisor = np.float32(whole)
    for c in range(last):
        total, probability = totals[c, : stop - start], out[c, start:stop]
        for p in range(total.size):
            probability[p] = np.float32(total[p]) / divisor
            rest[p] -= total[p]
    probability = out[last, start:stop]
    for p in range(rest.size):
        probability[p] = np.float32(rest[p]) / divisor


# ---- the plain path ------------------------------------------------------------------------------------------------


@kernel
def find_leaves(codes, questions, thresholds, leaves):
    """leaves[p] = sum over d of (codes[questions[d], p] > thresholds[d]) << d, for 128 pixels; leaves uint16, written."""
    for p in range(BLOCK):
        leaves[p] = 0
    for d in range(questions.size):
        code, threshold, bit = codes[questions[d]], thresholds[d], np.uint16(1 << d)
        for p in range(BLOCK):
            leaves[p] |= bit if code[p] > threshold else np.uint16(0)


@kernel
def sum_leaves_plainly(codes, n_blocks, questions, thresholds, words, totals, first_row):
    """totals[first_row + i, pixel] += byte i of the leaf that each tree answers with, i = 0..3 where such a row exists.

    codes : (>= n_blocks, n_used, 128) uint8; questions (n_trees, depth) int64, positions in n_used; thresholds (n_trees,
    depth) uint8; words (n_trees, 2^depth) uint64; n_trees a multiple of 4, at most 256; totals (n_rows, >= n_blocks * 128).
    """
    leaves = np.empty((TOGETHER, BLOCK), np.uint16)
    sums = np.empty(BLOCK, np.uint64)
    for block in range(n_blocks):
        sums[:] = 0
        for tree in range(0, questions.shape[0], TOGETHER):
            for k in range(TOGETHER):
                find_leaves(codes[block], questions[tree + k], thresholds[tree + k], leaves[k])
            a, b, c, d = words[tree], words[tree + 1], words[tree + 2], words[tree + 3]
            for p in range(BLOCK):
                sums[p] += (a[leaves[0, p]] + b[leaves[1, p]]) + (c[leaves[2, p]] + d[leaves[3, p]])
        for i in range(min(FIELDS, totals.shape[0] - first_row)):
            total = totals[first_row + i, block * BLOCK : (block + 1) * BLOCK]
            for p in range(BLOCK):
                total[p] += np.int32((sums[p] >> np.uint64(16 * i)) & np.uint64(0xFFFF))


@kernel
def predict_plainly(maps, used, knots, slopes, questions, thresholds, words, whole, codes, totals, out):
    """out[:, p] = class probabilities of pixel p. The same bits as `fast_predictor`'s kernel.

    maps : (n_maps, n) float32; used, knots, slopes : see `encode`; questions, thresholds, words[i] : see
    `sum_leaves_plainly`, padded with trees of zeros; whole : 255 * trees; codes : (8, n_used, 128) uint8 and
    totals : (>= n_classes - 1, 1024) int32, space of this thread's; out : (n_classes, n) float32.
    """
    for start in range(0, maps.shape[1], CHUNK):
        stop = min(start + CHUNK, maps.shape[1])
        n_blocks = (stop - start + BLOCK - 1) // BLOCK
        encode(maps, used, knots, slopes, start, stop, codes)
        totals[:] = 0
        for first in range(0, questions.shape[0], MOST_TREES_AT_ONCE):
            part = slice(first, min(first + MOST_TREES_AT_ONCE, questions.shape[0]))
            for i in range(words.shape[0]):
                sum_leaves_plainly(
                    codes, n_blocks, questions[part], thresholds[part], words[i, part], totals, FIELDS * i
                )
        write_probabilities(totals, whole, start, stop, out)


# ---- the fast path: instructions -----------------------------------------------------------------------------------

N_VECTORS = BLOCK // LANES
HALF = ir.VectorType(I16, LANES // 2)


class Sums(types.Type):
    """Running sums of one block for `n_tables` classes, kept in registers.

    Per class and vector of 64 bytes two vectors of 32 uint16: the sum of byte pairs read as numbers (low + 256 * high,
    overflowing) and the sum of the high bytes; the low bytes' sum is their difference.
    """

    def __init__(self, n_tables):
        self.n_halves = n_tables * N_VECTORS
        super().__init__(name=f"Sums{n_tables}")


@register_model(Sums)
class _SumsModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, ir.ArrayType(HALF, 2 * fe_type.n_halves))


def ask(builder, block, offsets, thresholds, depth):
    """The answers of one tree for a block: per vector a number made of answers 0..6, and the masks of the others.

    The number grows as the answers come: with all masks alive at once the eight mask registers spill, +20 %.
    """
    numbers = [constant(I8, LANES, 0)] * N_VECTORS
    masks = [[] for _ in range(N_VECTORS)]
    for d in range(depth):
        offset = builder.load(builder.gep(offsets, [I64(d)]))
        word = builder.load(builder.gep(thresholds, [I64(d)]))  # four times the byte: broadcasting 32 bits is one load
        threshold = builder.bitcast(repeat(builder, word, LANES // 4), BYTES)
        for v in range(N_VECTORS):
            codes = load_vector(builder, builder.gep(block, [builder.add(offset, I64(LANES * v))]), BYTES)
            above = builder.icmp_unsigned(">", codes, threshold)
            if d < IN_REGISTER:
                with_bit = builder.or_(numbers[v], constant(I8, LANES, 1 << d))
                numbers[v] = builder.select(above, with_bit, numbers[v])
            else:
                masks[v].append(above)
    return numbers, masks


def look_up(builder, table, size, number, masks):
    """The byte at `number` of the table that the masks choose: 128 bytes each, the first mask decides between neighbours."""
    parts = [load_vector(builder, builder.gep(table, [I64(at)]), BYTES) for at in range(0, size, LANES)]
    found = [permute_two(builder, low, high, number) for low, high in zip(parts[::2], parts[1::2])]
    for mask in masks:
        found = [builder.select(mask, yes, no) for no, yes in zip(found[::2], found[1::2])]
    return found[0]


def table_size(depth):
    """Bytes of a tree's table for one class."""
    return max(2 * LANES, 1 << depth)


@lru_cache
def sum_intrinsics(depth, n_tables):
    """(no_sums, add_tree, add_to): what the loop over trees is made of."""
    sums_type = Sums(n_tables)
    size = table_size(depth)

    @intrinsic
    def no_sums(typing):
        """Sums of nothing."""
        return sums_type(), lambda context, builder, signature, args: ir.Constant(
            context.get_value_type(sums_type), [[0] * HALF.count] * (2 * sums_type.n_halves)
        )

    @intrinsic
    def add_tree(typing, sums, codes, block, offsets, thresholds, tables, tree):
        """sums + the leaf bytes of one tree for codes[block]."""

        def generate(context, builder, signature, args):
            sums, _, block, _, _, _, tree = args
            arrays = [context.make_array(signature.args[k])(context, builder, args[k]) for k in (1, 3, 4, 5)]
            codes, offsets, thresholds, tables = (array.data for array in arrays)
            n_used = builder.extract_value(arrays[0].shape, 1)
            codes = builder.gep(codes, [builder.mul(block, builder.mul(n_used, I64(BLOCK)))])
            question = builder.mul(tree, I64(depth))
            offsets, thresholds = builder.gep(offsets, [question]), builder.gep(thresholds, [question])
            tables = builder.gep(tables, [builder.mul(tree, I64(n_tables * size))])
            numbers, masks = ask(builder, codes, offsets, thresholds, depth)
            for i in range(sums_type.n_halves):
                c, v = divmod(i, N_VECTORS)
                table = builder.gep(tables, [I64(c * size)])
                pairs = builder.bitcast(look_up(builder, table, size, numbers[v], masks[v]), HALF)
                for k, term in ((2 * i, pairs), (2 * i + 1, builder.lshr(pairs, constant(I16, HALF.count, 8)))):
                    sums = builder.insert_value(sums, builder.add(builder.extract_value(sums, k), term), k)
            return sums

        return sums_type(sums, codes, types.int64, offsets, thresholds, tables, types.int64), generate

    @intrinsic
    def add_to(typing, totals, row, pixel, sums):
        """totals[row + c, pixel : pixel + 128] += the sums of class c."""

        def generate(context, builder, signature, args):
            totals, row, pixel, sums = args
            totals = context.make_array(signature.args[0])(context, builder, totals)
            width = builder.extract_value(totals.shape, 1)
            for i in range(sums_type.n_halves):
                c, v = divmod(i, N_VECTORS)
                pairs, high = builder.extract_value(sums, 2 * i), builder.extract_value(sums, 2 * i + 1)
                low = builder.sub(pairs, builder.shl(high, constant(I16, HALF.count, 8)))
                in_order = shuffle(builder, low, high, [k // 2 + HALF.count * (k % 2) for k in range(LANES)])
                more = builder.zext(in_order, ir.VectorType(I32, LANES))
                first = builder.add(builder.mul(builder.add(row, I64(c)), width), builder.add(pixel, I64(LANES * v)))
                at = builder.gep(totals.data, [first])
                store_vector(builder, builder.add(load_vector(builder, at, more.type), more), at)
            return context.get_dummy_value()

        return types.void(totals, types.int64, types.int64, sums), generate

    return no_sums, add_tree, add_to


@lru_cache
def fast_predictor(depth, n_tables):
    """The kernel for trees of `depth` questions that looks up `n_tables` (1 or 2) classes at a time; needs VBMI."""
    no_sums, add_tree, add_to = sum_intrinsics(depth, n_tables)

    @kernel(variant=(depth, n_tables))
    def predict(maps, used, knots, slopes, offsets, thresholds, tables, codes, totals, out):
        """out[:, p] = class probabilities of pixel p. The same bits as `predict_plainly`.

        maps : (n_maps, n) float32; used, knots, slopes : see `encode`; offsets : (n_trees, depth) int64, 128 * position in
        `used`; thresholds : (n_trees, depth) uint32, four times the byte; tables : (n_passes, n_trees, n_tables,
        table_size(depth)) uint8, 0 from the last class on; codes : (8, n_used, 128) uint8 and
        totals : (n_passes * n_tables, 1024) int32, space of this thread's; out : (n_classes, n) float32.
        """
        n_passes, n_trees = tables.shape[:2]
        for start in range(0, maps.shape[1], CHUNK):
            stop = min(start + CHUNK, maps.shape[1])
            n_blocks = (stop - start + BLOCK - 1) // BLOCK
            encode(maps, used, knots, slopes, start, stop, codes)
            totals[:] = 0
            for first in range(0, n_trees, MOST_TREES_AT_ONCE):
                last = min(first + MOST_TREES_AT_ONCE, n_trees)
                for turn in range(n_passes):
                    for block in range(n_blocks):
                        sums = no_sums()
                        for tree in range(first, last):
                            sums = add_tree(sums, codes, block, offsets, thresholds, tables[turn], tree)
                        add_to(totals, turn * n_tables, block * BLOCK, sums)
            write_probabilities(totals, LEAF_SUM * n_trees, start, stop, out)

    return predict
