"""Sets of 256 neighbouring pixels for numba, one bit each: what a tree's node holds.

`a & b`, `a | b`, `a - b` (in a, not in b) and `is_empty(a)` are a few instructions; `at_most` compares 256 values with a
threshold. LLVM splits the vectors where registers are narrower, so nothing here is tied to one instruction set.
"""

import operator

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from brushwork.kernels.bytes64 import I64, load_vector, repeat, store_vector
from brushwork.kernels.simd import address, binary, overload_operator

PIXELS = 256
WORDS = PIXELS // 64
_SET = ir.VectorType(I64, WORDS)
_BITS = ir.VectorType(ir.IntType(1), PIXELS)
_FLOATS = ir.VectorType(ir.FloatType(), PIXELS)


class Set256Type(types.Type):
    def __init__(self):
        super().__init__(name="Set256")


Set256 = Set256Type()


@register_model(Set256Type)
class _Set256Model(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, _SET)


@intrinsic
def load_set(typing, words, number):
    """The set of that number in a uint64 array of WORDS words each."""

    def generate(context, builder, signature, args):
        at = builder.mul(args[1], I64(WORDS))
        return load_vector(builder, address(context, builder, signature.args[0], args[0], at), _SET)

    return Set256(words, types.int64), generate


@intrinsic
def store_set(typing, words, number, value):
    """Write the set of that number."""

    def generate(context, builder, signature, args):
        at = builder.mul(args[1], I64(WORDS))
        store_vector(builder, args[2], address(context, builder, signature.args[0], args[0], at))
        return context.get_dummy_value()

    return types.void(words, types.int64, Set256), generate


@intrinsic
def every_pixel(typing):
    return Set256(), lambda context, builder, signature, args: ir.Constant(_SET, [-1] * WORDS)


@intrinsic
def no_pixel(typing):
    return Set256(), lambda context, builder, signature, args: ir.Constant(_SET, [0] * WORDS)


@intrinsic
def is_empty(typing, pixels):
    def generate(context, builder, signature, args):
        some = builder.icmp_signed("!=", args[0], ir.Constant(_SET, [0] * WORDS))
        return builder.icmp_signed("==", builder.bitcast(some, ir.IntType(WORDS)), ir.IntType(WORDS)(0))

    return types.boolean(Set256), generate


@intrinsic
def at_most(typing, values, at, limit):
    """The pixels k with values[at + k] <= limit, of a flat float32 array (no bounds are checked); NaN is not."""

    def generate(context, builder, signature, args):
        loaded = load_vector(builder, address(context, builder, signature.args[0], *args[:2]), _FLOATS)
        return builder.bitcast(builder.fcmp_ordered("<=", loaded, repeat(builder, args[2], PIXELS)), _SET)

    return Set256(values, types.int64, types.float32), generate


@intrinsic
def add_where(typing, pixels, value, sums, at):
    """sums[at + k] += value for every pixel k of the set; sums : flat float32 (no bounds are checked)."""

    def generate(context, builder, signature, args):
        pointer = address(context, builder, signature.args[2], *args[2:])
        old = load_vector(builder, pointer, _FLOATS)
        more = builder.fadd(old, repeat(builder, args[1], PIXELS))
        store_vector(builder, builder.select(builder.bitcast(args[0], _BITS), more, old), pointer)
        return context.get_dummy_value()

    return types.void(Set256, types.float32, sums, types.int64), generate


overload_operator(operator.and_, Set256, binary(Set256, ir.IRBuilder.and_))
overload_operator(operator.or_, Set256, binary(Set256, ir.IRBuilder.or_))
overload_operator(operator.sub, Set256, binary(Set256, lambda builder, a, b: builder.and_(a, builder.not_(b))))
