"""Sums kept in vector registers, for Numba kernels: what plain loops over arrays cannot say.

A loop that adds table rows to an array loads and stores that array at every row, because Numba must assume that the
two overlap. A `Sums` value is V x L numbers that stay in registers across the loop: start it, add rows, store it.
It becomes LLVM's portable vector code, which every processor that Numba knows can run.

A place is an element's number in a C-contiguous array; nothing is checked, so the caller proves that place + V x L
lies inside. V and L / 8 are given as the lengths of tuples, from whose types Numba compiles one kernel each: see
`shape`. With the compiler switched off (``NUMBA_DISABLE_JIT=1``) the same functions are plain NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, register_model

_CONTRACT = ("contract",)
"""A product and its addition may be rounded once."""


def shape(vectors: int, lanes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (V zeros, L / 8 zeros), which carry V and L into a kernel's type. L: 8, 16, 32 or 64."""
    return (0,) * vectors, (0,) * (lanes // 8)


class Sums(types.Type):
    """V vectors of L lanes, of one number type."""

    def __init__(self, dtype: types.Type, vectors: int, lanes: int) -> None:
        self.dtype, self.vectors, self.lanes = dtype, vectors, lanes
        super().__init__(f"Sums({dtype}, {vectors} x {lanes})")


@register_model(Sums)
class _SumsModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type: Sums) -> None:
        one = ir.VectorType(manager.lookup(fe_type.dtype).get_value_type(), fe_type.lanes)
        super().__init__(manager, fe_type, ir.ArrayType(one, fe_type.vectors))


def _start(dtype: types.Type):
    def start(typing_context, vectors, eighths):
        def code(context, builder, signature, arguments):
            return ir.Constant(context.get_value_type(signature.return_type), None)

        return Sums(dtype, len(vectors), 8 * len(eighths))(vectors, eighths), code

    return start


_float32_sums = intrinsic(_start(types.float32))
_int16_sums = intrinsic(_start(types.int16))
_int8_sums = intrinsic(_start(types.int8))


def _addresses(context, builder, kind: Sums, array_type, array, place):
    """Return the addresses of V successive vectors in ``array`` (with its type) from ``place`` on."""
    data = context.make_array(array_type)(context, builder, array).data
    vector = ir.VectorType(context.get_data_type(array_type.dtype), kind.lanes).as_pointer()
    steps = [ir.Constant(ir.IntType(64), v * kind.lanes) for v in range(kind.vectors)]
    return [builder.bitcast(builder.gep(data, [builder.add(place, step)]), vector) for step in steps]


def _load(builder, address, wide):
    """Load a vector from anywhere (no alignment), widened with its sign to the type ``wide``."""
    vector = builder.load(address, align=1)
    return vector if vector.type == wide else builder.sext(vector, wide)


def _spread(builder, vector, scalar):
    """Return ``scalar`` in every lane."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(
        first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
    )


def _contiguous(table) -> None:
    if not isinstance(table, types.Array) or table.layout != "C":
        raise TypingError(f"vectors are loaded from C-contiguous arrays, not from {table}")


@intrinsic
def _add(typing_context, sums, table, place):
    _contiguous(table)

    def code(context, builder, signature, arguments):
        kind, array_type, _ = signature.args
        value, array, start = arguments
        wide = context.get_value_type(kind).element
        plus = builder.fadd if isinstance(kind.dtype, types.Float) else builder.add
        for v, address in enumerate(_addresses(context, builder, kind, array_type, array, start)):
            total = plus(builder.extract_value(value, v), _load(builder, address, wide))
            value = builder.insert_value(value, total, v)
        return value

    return sums(sums, table, types.int64), code


@intrinsic
def _add_scaled(typing_context, sums, table, place, factor):
    _contiguous(table)

    def code(context, builder, signature, arguments):
        kind, array_type, _, _ = signature.args
        value, array, start, scale = arguments
        wide = context.get_value_type(kind).element
        scale = _spread(builder, wide, scale)
        for v, address in enumerate(_addresses(context, builder, kind, array_type, array, start)):
            before, row = builder.extract_value(value, v), _load(builder, address, wide)
            if isinstance(kind.dtype, types.Float):
                total = builder.fadd(before, builder.fmul(row, scale, flags=_CONTRACT), flags=_CONTRACT)
            else:
                total = builder.add(before, builder.mul(row, scale))
            value = builder.insert_value(value, total, v)
        return value

    return sums(sums, table, types.int64, sums.dtype), code


@intrinsic
def _add_sums(typing_context, sums, narrow):
    def code(context, builder, signature, arguments):
        value, small = arguments
        wide = context.get_value_type(signature.args[0]).element
        for v in range(signature.args[0].vectors):
            one = builder.sext(builder.extract_value(small, v), wide)
            value = builder.insert_value(value, builder.add(builder.extract_value(value, v), one), v)
        return value

    return sums(sums, narrow), code


@intrinsic
def _store(typing_context, sums, array, place, on_top):
    _contiguous(array)

    def code(context, builder, signature, arguments):
        kind, array_type, _, more = signature.args
        value, target, start, _ = arguments
        wide = ir.VectorType(context.get_data_type(array_type.dtype), kind.lanes)
        for v, address in enumerate(_addresses(context, builder, kind, array_type, target, start)):
            vector = builder.extract_value(value, v)
            if vector.type != wide:
                vector = builder.sext(vector, wide)
            if more.literal_value:
                vector = builder.add(vector, builder.load(address, align=1))
            builder.store(vector, address, align=1)
        return context.get_dummy_value()

    if not isinstance(on_top, types.BooleanLiteral):
        raise TypingError("on_top: must be written as True or False")
    return types.none(sums, array, types.int64, on_top), code


def _plain_row(sums, table, place):
    return table.reshape(-1)[place : place + len(sums)]


def _plain_store(sums, array, place, on_top) -> None:
    flat = array.reshape(-1)
    flat[place : place + len(sums)] = sums + (
        flat[place : place + len(sums)] if on_top else array.dtype.type(0)
    )


def _plain_start(dtype):
    return lambda vectors, eighths: np.zeros(len(vectors) * 8 * len(eighths), dtype)


_JIT = not config.DISABLE_JIT
float32_sums: Any = _float32_sums if _JIT else _plain_start(np.float32)
"""``float32_sums(*shape)``: V x L float32 zeros."""
int16_sums: Any = _int16_sums if _JIT else _plain_start(np.int16)
"""``int16_sums(*shape)``: V x L int16 zeros."""
int8_sums: Any = _int8_sums if _JIT else _plain_start(np.int8)
"""``int8_sums(*shape)``: V x L int8 zeros."""
add: Any = _add if _JIT else lambda sums, table, place: sums + _plain_row(sums, table, place)
"""``add(sums, table, place)``: sums plus the table's numbers from ``place`` on, widened; never checked for overflow."""
add_scaled: Any = (
    _add_scaled if _JIT else lambda sums, table, place, factor: sums + _plain_row(sums, table, place) * factor
)
"""``add_scaled(sums, table, place, factor)``: like `add`, each number times a factor of the sums' type."""
add_sums: Any = _add_sums if _JIT else lambda sums, narrow: sums + narrow
"""``add_sums(sums, narrow)``: sums plus sums of a narrower type and the same shape."""
store: Any = _store if _JIT else _plain_store
"""``store(sums, array, place, on_top)``: write from ``place`` on, widened; ``on_top`` (a literal) adds to what is there."""
