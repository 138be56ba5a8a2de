"""Vectors of integers with Python's operators, for Numba kernels: one expression, all lanes at once.

A loop over a dozen arrays leaves it to the compiler to prove that none overlaps another; here nothing is left to
prove. `load` gives L numbers from a C-contiguous array, ``+ - * >> & ~`` work lane by lane as on NumPy arrays of the
same type, a comparison gives -1 where it holds and 0 elsewhere. Nothing is checked: the caller proves that
place + L lies inside the array and that no result leaves its type. L / 8 is the length of a tuple, as in
`sastdeploy.vectors`. With the compiler switched off the same functions are plain NumPy.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model

from sastdeploy.vectors import contiguous, either, spread_scalar


class Lanes(types.Type):
    """L integers of one type."""

    def __init__(self, dtype: types.Integer, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(f"Lanes({dtype}, {lanes})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type: Lanes) -> None:
        number = manager.lookup(fe_type.dtype).get_value_type()
        super().__init__(manager, fe_type, ir.VectorType(number, fe_type.lanes))


def _binary(function, instruction: str) -> None:
    class Template(AbstractTemplate):
        def generic(self, arguments, keywords):
            if len(arguments) == 2 and isinstance(arguments[0], Lanes) and arguments[0] == arguments[1]:
                return signature(arguments[0], *arguments)
            return None

    infer_global(function)(Template)
    lower_builtin(function, Lanes, Lanes)(
        lambda context, builder, typed, arguments: getattr(builder, instruction)(*arguments)
    )


for _function, _instruction in (
    (operator.add, "add"), (operator.sub, "sub"), (operator.mul, "mul"), (operator.rshift, "ashr"),
    (operator.and_, "and_"),
):  # fmt: skip
    _binary(_function, _instruction)


@infer_global(operator.invert)
class _Invert(AbstractTemplate):
    def generic(self, arguments, keywords):
        return signature(arguments[0], *arguments) if isinstance(arguments[0], Lanes) else None


@lower_builtin(operator.invert, Lanes)
def _invert(context, builder, typed, arguments):
    return builder.not_(arguments[0])


def _address(context, builder, array_type, array, place, vector):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), vector.as_pointer())


def _load(typing_context, array, place, eighths):
    contiguous(array)
    kind = Lanes(array.dtype, 8 * len(eighths))

    def code(context, builder, typed, arguments):
        vector = context.get_value_type(kind)
        return builder.load(
            _address(context, builder, typed.args[0], arguments[0], arguments[1], vector), align=1
        )

    return kind(array, types.int64, eighths), code


def _put(typing_context, lanes, array, place):
    contiguous(array)

    def code(context, builder, typed, arguments):
        address = _address(context, builder, typed.args[1], arguments[1], arguments[2], arguments[0].type)
        builder.store(arguments[0], address, align=1)
        return context.get_dummy_value()

    return types.none(lanes, array, types.int64), code


def _spread(typing_context, like, number):
    def code(context, builder, typed, arguments):
        return spread_scalar(builder, arguments[0].type, arguments[1])

    return like(like, like.dtype), code


def _resized(dtype: types.Integer, instruction: str):
    def resized(typing_context, lanes):
        kind = Lanes(dtype, lanes.lanes)

        def code(context, builder, typed, arguments):
            return getattr(builder, instruction)(arguments[0], context.get_value_type(kind))

        return kind(lanes), code

    return resized


def _compared(sign: str):
    def compared(typing_context, one, other):
        def code(context, builder, typed, arguments):
            return builder.sext(builder.icmp_signed(sign, *arguments), arguments[0].type)

        return one(one, other), code

    return compared


def _bits(typing_context, mask):
    def code(context, builder, typed, arguments):
        count = typed.args[0].lanes
        true = builder.icmp_signed("<", arguments[0], ir.Constant(arguments[0].type, None))
        whole = builder.bitcast(true, ir.IntType(count))
        return whole if count == 64 else builder.zext(whole, ir.IntType(64))

    return types.int64(mask), code


def _lowest(typing_context, bits):
    def code(context, builder, typed, arguments):
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.int64(bits), code


def _population(typing_context, bits):
    def code(context, builder, typed, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(bits), code


def _plain_put(lanes, array, place) -> None:
    array[place : place + len(lanes)] = lanes


def _plain_bits(mask) -> int:
    return int.from_bytes(np.packbits(mask < 0, bitorder="little").tobytes(), "little")


load: Any = either(_load, lambda array, place, eighths: array[place : place + 8 * len(eighths)].copy())
"""``load(array, place, eighths)``: L numbers of a one-dimensional array."""
put: Any = either(_put, _plain_put)
"""``put(lanes, array, place)``: write them."""
spread: Any = either(_spread, lambda like, number: np.full(len(like), number, like.dtype))
"""``spread(like, number)``: the number in every lane."""
wide: Any = either(_resized(types.int64, "sext"), lambda lanes: lanes.astype(np.int64))
"""``wide(lanes)``: int32 lanes as int64."""
narrow: Any = either(_resized(types.int32, "trunc"), lambda lanes: lanes.astype(np.int32))
"""``narrow(lanes)``: int64 lanes as int32, upper bits dropped."""
at_least: Any = either(_compared(">="), lambda one, other: -(one >= other).astype(one.dtype))
"""``at_least(one, other)``: -1 where one >= other, else 0."""
below: Any = either(_compared("<"), lambda one, other: -(one < other).astype(one.dtype))
"""``below(one, other)``: -1 where one < other, else 0."""
bits: Any = either(_bits, _plain_bits)
"""``bits(mask)``: lane i's sign as bit i. Work on the result with ``&``, ``- 1``, `lowest` and `population` only."""
lowest: Any = either(_lowest, lambda value: (value & -value).bit_length() - 1)
"""``lowest(bits)``: the number of the lowest bit that is set; bits must not be 0."""
population: Any = either(_population, lambda value: value.bit_count())
"""``population(bits)``: how many bits are set."""
