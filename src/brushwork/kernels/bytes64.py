"""A vector of 64 bytes for numba, and whether this machine can look bytes up in registers.

AVX-512 VBMI (Intel since Ice Lake, AMD since Zen 4) permutes the 64 bytes of a register by the bytes of another: a table
of 64 or 128 entries answers 64 questions in one instruction. Kernels that use it have a plain twin with the same results.
"""

import os
from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

LANES = 64
I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
BYTES = ir.VectorType(I8, LANES)


class Bytes64Type(types.Type):
    def __init__(self):
        super().__init__(name="Bytes64")


Bytes64 = Bytes64Type()


@register_model(Bytes64Type)
class _Bytes64Model(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, BYTES)


@lru_cache
def _compiles_permutations() -> bool:
    """Whether the processor that numba compiles for (NUMBA_CPU_NAME may say another than this one) permutes bytes."""
    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    return "+avx512vbmi" in features and "+avx512bw" in features


def fast_path() -> bool:
    """Whether kernels may permute bytes in registers; `BRUSHWORK_PLAIN_KERNELS=1` says no."""
    return os.environ.get("BRUSHWORK_PLAIN_KERNELS", "") in ("", "0") and _compiles_permutations()


def aligned_empty(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An uninitialised array that begins on a cache line, so that no vector of 64 bytes crosses one."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(n_bytes + LANES, np.uint8)
    first = -raw.ctypes.data % LANES
    return raw[first : first + n_bytes].view(dtype).reshape(shape)


# ---- for intrinsics: the LLVM instructions behind them -------------------------------------------------------------


def constant(element, lanes, value):
    """The vector of `lanes` times `value`."""
    return ir.Constant(ir.VectorType(element, lanes), [value] * lanes)


def shuffle(builder, x, y, lanes):
    """The vector whose lane k is lane lanes[k] of (x, y)."""
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def repeat(builder, value, lanes):
    """The vector of `lanes` times a value known when the kernel runs."""
    nothing = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    return shuffle(builder, builder.insert_element(nothing, value, I32(0)), nothing, [0] * lanes)


def _size(element):
    """Bytes of a number."""
    return 4 if element == ir.FloatType() else element.width // 8


def load_vector(builder, pointer, vector):
    """The vector at `pointer`, wherever that lies."""
    value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    value.align = _size(vector.element)
    return value


def store_vector(builder, value, pointer):
    """Write a vector at `pointer`, wherever that lies."""
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = _size(value.type.element)


def permute(builder, table, which):
    """Lane k is table[which[k] % 64]."""
    name = "llvm.x86.avx512.permvar.qi.512"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(BYTES, [BYTES] * 2), name)
    return builder.call(function, [table, which])


def permute_two(builder, low, high, which):
    """Lane k is entry which[k] % 128 of the table (low, high)."""
    name = "llvm.x86.avx512.vpermi2var.qi.512"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(BYTES, [BYTES] * 3), name)
    return builder.call(function, [low, which, high])


@intrinsic
def load64(typing, array):
    """Bytes64 of the first 64 bytes of a uint8 array (no bounds are checked)."""

    def generate(context, builder, signature, args):
        return load_vector(builder, context.make_array(signature.args[0])(context, builder, args[0]).data, BYTES)

    return Bytes64(array), generate
