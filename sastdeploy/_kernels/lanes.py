"""Vectors of integers with Python's operators, for Numba kernels: one expression, all lanes at once.

A loop over a dozen arrays leaves it to the compiler to prove that none overlaps another; here nothing is left to
prove. `load` gives L numbers from a C-contiguous array, ``+ - * >> & ~`` work lane by lane as on NumPy arrays of the
same type, a comparison gives -1 where it holds and 0 elsewhere. Nothing is checked: the caller proves that
place + L lies inside the array and that no result leaves its type. L / 8 is the length of a tuple, as in
`sastdeploy._kernels.vectors`. With the compiler switched off the same functions are plain NumPy.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model
from numpy.typing import NDArray

from sastdeploy._kernels.vectors import Typed, Typer, contiguous, either, spread_scalar


class Lanes(types.Type):
    """L integers of one type."""

    def __init__(self, dtype: types.Integer, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(f"Lanes({dtype}, {lanes})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Lanes) -> None:
        number = manager.lookup(fe_type.dtype).get_value_type()
        super().__init__(manager, fe_type, ir.VectorType(number, fe_type.lanes))


def _binary(function: Callable[..., Any], instruction: str) -> None:
    class Template(AbstractTemplate):
        def generic(self, arguments: Any, keywords: Any) -> Any:
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
    def generic(self, arguments: Any, keywords: Any) -> Any:
        return signature(arguments[0], *arguments) if isinstance(arguments[0], Lanes) else None


@lower_builtin(operator.invert, Lanes)
def _invert(context: Any, builder: Any, typed: Any, arguments: Any) -> Any:
    return builder.not_(arguments[0])


def _address(context: Any, builder: Any, array_type: Any, array: Any, place: Any, vector: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), vector.as_pointer())


def _load(typing_context: Any, array: Any, place: Any, eighths: Any) -> Typed:
    contiguous(array)
    kind = Lanes(array.dtype, 8 * len(eighths))

    def code(context: Any, builder: Any, typed: Any, arguments: Any) -> Any:
        vector = context.get_value_type(kind)
        return builder.load(
            _address(context, builder, typed.args[0], arguments[0], arguments[1], vector), align=1
        )

    return kind(array, types.int64, eighths), code


def _put(typing_context: Any, lanes: Any, array: Any, place: Any) -> Typed:
    contiguous(array)

    def code(context: Any, builder: Any, typed: Any, arguments: Any) -> Any:
        address = _address(context, builder, typed.args[1], arguments[1], arguments[2], arguments[0].type)
        builder.store(arguments[0], address, align=1)
        return context.get_dummy_value()

    return types.none(lanes, array, types.int64), code


def _spread(typing_context: Any, like: Any, number: Any) -> Typed:
    def code(context: Any, builder: Any, typed: Any, arguments: Any) -> Any:
        return spread_scalar(builder, arguments[0].type, arguments[1])

    return like(like, like.dtype), code


def _resized(dtype: types.Integer, instruction: str) -> Typer:
    def resized(typing_context: Any, lanes: Any) -> Typed:
        kind = Lanes(dtype, lanes.lanes)

        def code(context: Any, builder: Any, typed: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(arguments[0], context.get_value_type(kind))

        return kind(lanes), code

    return resized


def _sized(typing_context: Any, lanes: Any, like: Any) -> Typed:
    kind = Lanes(like.dtype, lanes.lanes)

    def code(context: Any, builder: Any, typed: Any, arguments: Any) -> Any:
        here, there = lanes.dtype.bitwidth, like.dtype.bitwidth
        if here == there:
            return arguments[0]
        return (builder.sext if here < there else builder.trunc)(arguments[0], context.get_value_type(kind))

    return kind(lanes, like), code


def _compared(sign: str) -> Typer:
    def compared(typing_context: Any, one: Any, other: Any) -> Typed:
        def code(context: Any, builder: Any, typed: Any, arguments: Any) -> Any:
            return builder.sext(builder.icmp_signed(sign, *arguments), arguments[0].type)

        return one(one, other), code

    return compared


def _quotient(typing_context: Any, one: Any, other: Any) -> Typed:
    def code(context: Any, builder: Any, typed: Any, arguments: Any) -> Any:
        # No processor divides whole vectors of integers; float32 holds 24 bits, see `quotient`.
        real = ir.VectorType(ir.FloatType(), one.lanes)
        dividend, divisor = (builder.sitofp(lanes, real) for lanes in arguments)
        return builder.fptosi(builder.fdiv(dividend, divisor), arguments[0].type)

    return one(one, other), code


def _whole(builder: Any, true: Any) -> Any:
    """Return a vector of single bits as one 64-bit number."""
    whole = builder.bitcast(true, ir.IntType(true.type.count))
    return whole if true.type.count == 64 else builder.zext(whole, ir.IntType(64))


def _bits(typing_context: Any, mask: Any) -> Typed:
    def code(context: Any, builder: Any, typed: Any, arguments: Any) -> Any:
        return _whole(builder, builder.icmp_signed("<", arguments[0], ir.Constant(arguments[0].type, None)))

    return types.int64(mask), code


def _population(typing_context: Any, bits: Any) -> Typed:
    def code(context: Any, builder: Any, typed: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(bits), code


_COMPRESS = "llvm.x86.avx512.mask.compress.v16i32"
"""LLVM's name of the instruction that moves the chosen ones of 16 numbers to the front (AVX-512)."""


def _append(typing_context: Any, mask: Any, number: Any, array: Any, end: Any) -> Typed:
    contiguous(array)

    def code(context: Any, builder: Any, typed: Any, arguments: Any) -> Any:
        chosen, number, target, end = arguments
        kind, array_type = typed.args[0], typed.args[2]
        fast = "+avx512f" in context.codegen()._tm_features.split(",") and array_type.dtype == types.int32
        at_once = 16 if fast and kind.lanes % 16 == 0 else kind.lanes
        for piece in range(0, kind.lanes, at_once):
            places = ir.Constant(ir.VectorType(ir.IntType(32), at_once), list(range(piece, piece + at_once)))
            part = builder.shuffle_vector(chosen, chosen, places)
            true = builder.icmp_signed("<", part, ir.Constant(part.type, None))
            if at_once == 16 and fast:
                row = places.type
                numbers = builder.add(spread_scalar(builder, row, builder.trunc(number, row.element)), places)
                called = ir.FunctionType(row, [row, row, true.type])
                compress = builder.module.declare_intrinsic(_COMPRESS, (), called)
                front = builder.call(compress, [numbers, ir.Constant(row, None), true])
                builder.store(front, _address(context, builder, array_type, target, end, row), align=1)
                end = builder.add(end, builder.ctpop(_whole(builder, true)))
            else:
                address = context.make_array(array_type)(context, builder, target).data
                end = _append_one_by_one(builder, address, number, _whole(builder, true), end)
        return end

    return types.int64(mask, types.int64, array, types.int64), code


def _append_one_by_one(builder: Any, address: Any, number: Any, chosen: Any, end: Any) -> Any:
    zero, one = ir.Constant(chosen.type, 0), ir.Constant(chosen.type, 1)
    before, head, body, after = (
        builder.block,
        *(builder.append_basic_block(name) for name in ("append.more", "append.one", "append.end")),
    )
    builder.branch(head)
    builder.position_at_end(head)
    left, place = builder.phi(chosen.type), builder.phi(end.type)
    left.add_incoming(chosen, before)
    place.add_incoming(end, before)
    builder.cbranch(builder.icmp_unsigned("!=", left, zero), body, after)
    builder.position_at_end(body)
    lane = builder.add(number, builder.cttz(left, cgutils.true_bit))
    slot = builder.gep(address, [place])
    builder.store(lane if lane.type == slot.type.pointee else builder.trunc(lane, slot.type.pointee), slot)
    left.add_incoming(builder.and_(left, builder.sub(left, one)), body)
    place.add_incoming(builder.add(place, one), body)
    builder.branch(head)
    builder.position_at_end(after)
    return place


def _plain_append(mask: NDArray[np.integer], number: int, array: NDArray[np.integer], end: int) -> int:
    chosen = np.flatnonzero(mask)
    array[end : end + len(chosen)] = number + chosen
    return end + len(chosen)


def _plain_put(lanes: NDArray[Any], array: NDArray[Any], place: int) -> None:
    array[place : place + len(lanes)] = lanes


def _plain_bits(mask: NDArray[np.integer]) -> int:
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
sized: Any = either(_sized, lambda lanes, like: lanes.astype(like.dtype))
"""``sized(lanes, like)``: the lanes in the type of ``like``, widened with their sign or without their upper bits."""
at_least: Any = either(_compared(">="), lambda one, other: -(one >= other).astype(one.dtype))
"""``at_least(one, other)``: -1 where one >= other, else 0."""
below: Any = either(_compared("<"), lambda one, other: -(one < other).astype(one.dtype))
"""``below(one, other)``: -1 where one < other, else 0."""
quotient: Any = either(
    _quotient, lambda one, other: (one.astype(np.float32) / other.astype(np.float32)).astype(one.dtype)
)
"""``quotient(one, other)``: int32 lanes ``one / other``, cut off; magnitudes up to 2^23, ``other`` at least 1.

It is computed in float32: a quotient below a whole number n lies at least ``n / 2^23`` of itself under it, which rounding cannot bridge.
"""
bits: Any = either(_bits, _plain_bits)
"""``bits(mask)``: lane i's sign as bit i. Work on the result with ``|``, `population` and comparisons with 0 only."""
append: Any = either(_append, _plain_append)
"""``append(mask, number, array, end)``: write number + i for each lane i whose mask is set, from ``end`` on; new end.

The array needs room for L numbers from ``end`` on: those that are not set leave anything there.
"""
population: Any = either(_population, lambda value: value.bit_count())
"""``population(bits)``: how many bits are set."""
