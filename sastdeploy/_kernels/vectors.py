"""Sums kept in vector registers, for Numba kernels: what plain loops over arrays cannot say.

A loop that adds table rows to an array loads and stores that array at every row, because Numba must assume that the
two overlap. A `Sums` value is V x L numbers that stay in registers across the loop: start it, add rows, store it.
It becomes LLVM's portable vector code, which every processor that Numba knows can run; on x86 with AVX2 or AVX-512,
two INT8 rows at a time go through one multiply-add instruction, with the same sums.

A place is an element's number in a C-contiguous array; nothing is checked, so the caller proves that place + V x L
lies inside. V and L / 8 are given as the lengths of tuples, from whose types Numba compiles one kernel each: see
`shape`. With the compiler switched off (``NUMBA_DISABLE_JIT=1``) the same functions are plain NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core.errors import TypingError
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)
Typed = tuple[Any, Callable[..., Any]]
"""An intrinsic's signature in Numba's types, and the function that writes its LLVM code.

Numba's and LLVM's own values are ``Any`` here: their libraries do not type them.
"""
Typer = Callable[..., Typed]
"""From the types of an intrinsic's arguments to its `Typed` form."""

_CONTRACT = ("contract",)
"""A product and its addition may be rounded once."""


def shape(vectors: int, lanes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (V zeros, L / 8 zeros), which carry V and L into a kernel's type. L: 8, 16, 32 or 64."""
    return (0,) * vectors, (0,) * (lanes // 8)


def aligned_zeros(size: tuple[int, ...] | int, dtype: type[Number]) -> NDArray[Number]:
    """Return a C-contiguous array of zeros that begins at a cache line: rows across two lines cost up to twice."""
    count = int(np.prod(size)) * np.dtype(dtype).itemsize
    padded = np.zeros(count + 64, np.uint8)
    begin = -padded.ctypes.data % 64
    return padded[begin : begin + count].view(dtype).reshape(size)


class Sums(types.Type):
    """V vectors of L lanes, of one number type. ``paired``: of row pairs, see `paired_order`.

    Held as ``pieces`` vectors of ``piece`` lanes: sums of 16 bits in halves, as the instruction gives them.
    """

    def __init__(self, dtype: types.Type, vectors: int, lanes: int, paired: bool = False) -> None:
        self.dtype, self.vectors, self.lanes, self.paired = dtype, vectors, lanes, paired
        halves = 2 if paired and dtype == types.int16 else 1
        self.pieces, self.piece = halves * vectors, lanes // halves
        super().__init__(f"Sums({dtype}, {vectors} x {lanes}, paired={paired})")


@register_model(Sums)
class _SumsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Sums) -> None:
        one = ir.VectorType(manager.lookup(fe_type.dtype).get_value_type(), fe_type.piece)
        super().__init__(manager, fe_type, ir.ArrayType(one, fe_type.pieces))


def _start(dtype: types.Type, paired: bool = False) -> Typer:
    def start(typing_context: Any, vectors: Any, eighths: Any) -> Typed:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return ir.Constant(context.get_value_type(signature.return_type), None)

        return Sums(dtype, len(vectors), 8 * len(eighths), paired)(vectors, eighths), code

    return start


def _addresses(
    context: Any, builder: Any, number: int, lanes: int, array_type: Any, array: Any, place: Any
) -> list[Any]:
    """Return the addresses of successive vectors in ``array`` (with its type) from ``place`` on."""
    data = context.make_array(array_type)(context, builder, array).data
    vector = ir.VectorType(context.get_data_type(array_type.dtype), lanes).as_pointer()
    steps = [ir.Constant(ir.IntType(64), v * lanes) for v in range(number)]
    return [builder.bitcast(builder.gep(data, [builder.add(place, step)]), vector) for step in steps]


def _load(builder: Any, address: Any, wide: Any) -> Any:
    """Load a vector from anywhere (no alignment), widened with its sign to the type ``wide``."""
    vector = builder.load(address, align=1)
    return vector if vector.type == wide else builder.sext(vector, wide)


def spread_scalar(builder: Any, vector: Any, scalar: Any) -> Any:
    """Return ``scalar`` in every lane."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(
        first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
    )


def contiguous(table: Any) -> None:
    """Refuse an array type whose elements do not follow each other in memory."""
    if not isinstance(table, types.Array) or table.layout != "C":
        raise TypingError(f"vectors are loaded from C-contiguous arrays, not from {table}")


def _add(typing_context: Any, sums: Any, table: Any, place: Any) -> Typed:
    contiguous(table)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, array_type, _ = signature.args
        value, array, start = arguments
        wide = context.get_value_type(kind).element
        plus = builder.fadd if isinstance(kind.dtype, types.Float) else builder.add
        for v, address in enumerate(
            _addresses(context, builder, kind.vectors, kind.lanes, array_type, array, start)
        ):
            total = plus(builder.extract_value(value, v), _load(builder, address, wide))
            value = builder.insert_value(value, total, v)
        return value

    return sums(sums, table, types.int64), code


def _add_scaled(typing_context: Any, sums: Any, table: Any, place: Any, factor: Any) -> Typed:
    contiguous(table)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, array_type, _, _ = signature.args
        value, array, start, scale = arguments
        wide = context.get_value_type(kind).element
        scale = spread_scalar(builder, wide, scale)
        for v, address in enumerate(
            _addresses(context, builder, kind.vectors, kind.lanes, array_type, array, start)
        ):
            before, row = builder.extract_value(value, v), builder.load(address, align=1)
            if kind.paired and _multiply_add(context.codegen(), kind.lanes):
                row = builder.shuffle_vector(row, row, _constant_order(_back(kind.lanes)))
            if row.type != wide:
                row = builder.sext(row, wide)
            if isinstance(kind.dtype, types.Float):
                total = builder.fadd(before, builder.fmul(row, scale, flags=_CONTRACT), flags=_CONTRACT)
            else:
                total = builder.add(before, builder.mul(row, scale))
            value = builder.insert_value(value, total, v)
        return value

    return sums(sums, table, types.int64, sums.dtype), code


_MULTIPLY_ADD = {
    16: ("+ssse3", "llvm.x86.ssse3.pmadd.ub.sw.128"),
    32: ("+avx2", "llvm.x86.avx2.pmadd.ub.sw"),
    64: ("+avx512bw", "llvm.x86.avx512.pmaddubs.w.512"),
}
"""By lanes: processor feature, and LLVM's name of the instruction ``u8 x s8 + u8 x s8 -> s16`` (saturating)."""


def _multiply_add(codegen: Any, lanes: int) -> str | None:
    """Return the instruction to use for row pairs, None where this processor has none."""
    feature, name = _MULTIPLY_ADD.get(lanes, ("", ""))
    return name if feature and feature in codegen._tm_features.split(",") else None


def paired_order(lanes: int) -> NDArray[np.int64]:
    """Return ``[L]``: the column that a table for `add_pair` holds at each place of L, so that sums come in order.

    The x86 instruction takes two rows woven byte by byte, which the processor does in 16-byte pieces.
    """
    if config.DISABLE_JIT or not _multiply_add(cpu_target.target_context.codegen(), lanes):
        return np.arange(lanes)
    return np.argsort(_back(lanes))


def _halves(lanes: int) -> tuple[list[int], list[int]]:
    """Return which columns are in the low and which in the high halves of 16-byte pieces: as x86 interleaves bytes."""
    columns = range(lanes)
    return [c for c in columns if c % 16 < 8], [c for c in columns if c % 16 >= 8]


def _back(lanes: int) -> list[int]:
    """Return the place in a table row of every column, where rows lie as `paired_order` says."""
    low, high = _halves(lanes)
    return low + high


def _constant_order(order: list[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)


def _pair_products(builder: Any, name: str, lanes: int, first: Any, second: Any, factors: Any) -> list[Any]:
    """Return ``a * first + b * second`` by ``name``, in two halves: low halves of 16-byte pieces before high ones."""
    small = ir.VectorType(ir.IntType(8), lanes)
    half = ir.VectorType(ir.IntType(16), lanes // 2)
    instruction = builder.module.declare_intrinsic(name, (), ir.FunctionType(half, [small, small]))
    parts = []
    for columns in _halves(lanes):
        woven = [source for c in columns for source in (c, c + lanes)]
        both = builder.shuffle_vector(first, second, _constant_order(woven))
        parts.append(builder.call(instruction, [factors, both]))
    return parts


def _add_pair(
    typing_context: Any, sums: Any, table: Any, place: Any, other_place: Any, factors: Any
) -> Typed:
    contiguous(table)
    if not (sums.paired and table.dtype == types.int8):
        raise TypingError("pairs of int8 rows are added to paired_sums")

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, array_type = signature.args[:2]
        value, array, start, other_start, factor = arguments
        wide = ir.VectorType(ir.IntType(16), kind.lanes)
        name = _multiply_add(context.codegen(), kind.lanes)
        words = ir.VectorType(ir.IntType(16), kind.lanes // 2)
        bytewise = builder.bitcast(
            spread_scalar(builder, words, factor), ir.VectorType(ir.IntType(8), kind.lanes)
        )
        byte = ir.Constant(factor.type, 255)
        a = spread_scalar(builder, wide, builder.and_(factor, byte))
        b = spread_scalar(builder, wide, builder.lshr(factor, ir.Constant(factor.type, 8)))
        pairs = zip(
            _addresses(context, builder, kind.vectors, kind.lanes, array_type, array, start),
            _addresses(context, builder, kind.vectors, kind.lanes, array_type, array, other_start),
        )
        for v, (one, other) in enumerate(pairs):
            if name:
                rows = builder.load(one, align=1), builder.load(other, align=1)
                products = _pair_products(builder, name, kind.lanes, *rows, bytewise)
            else:
                whole = builder.mul(_load(builder, one, wide), a)
                whole = builder.add(whole, builder.mul(_load(builder, other, wide), b))
                columns = list(range(kind.lanes))
                products = [
                    builder.shuffle_vector(whole, whole, _constant_order(half))
                    for half in (columns[: kind.piece], columns[kind.piece :])
                ]
            for piece, product in enumerate(products, 2 * v):
                value = builder.insert_value(
                    value, builder.add(builder.extract_value(value, piece), product), piece
                )
        return value

    return sums(sums, table, types.int64, types.int64, types.int16), code


def _store(typing_context: Any, sums: Any, array: Any, place: Any, on_top: Any) -> Typed:
    contiguous(array)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, array_type, _, more = signature.args
        value, target, start, _ = arguments
        wide = ir.VectorType(context.get_data_type(array_type.dtype), kind.piece)
        for v, address in enumerate(
            _addresses(context, builder, kind.pieces, kind.piece, array_type, target, start)
        ):
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


def _plain_row(sums: NDArray[Any], table: NDArray[Number], place: int) -> NDArray[Number]:
    return table.reshape(-1)[place : place + len(sums)]


def _plain_pair(
    sums: NDArray[np.int16], table: NDArray[np.int8], place: int, other_place: int, factors: int
) -> NDArray[np.int16]:
    sums = sums + _plain_row(sums, table, place) * np.int16(factors & 255)
    return sums + _plain_row(sums, table, other_place) * np.int16(factors >> 8)


def _plain_store(sums: NDArray[Any], array: NDArray[Any], place: int, on_top: bool) -> None:
    flat = array.reshape(-1)
    flat[place : place + len(sums)] = sums + (
        flat[place : place + len(sums)] if on_top else array.dtype.type(0)
    )


def _plain_start(dtype: type[np.generic]) -> Callable[..., NDArray[Any]]:
    return lambda vectors, eighths: np.zeros(len(vectors) * 8 * len(eighths), dtype)


def either(compiled: Typer, plain: Callable[..., Any]) -> Any:
    """Return the intrinsic, or its plain NumPy form where the compiler is switched off."""
    return plain if config.DISABLE_JIT else intrinsic(compiled)


float32_sums = either(_start(types.float32), _plain_start(np.float32))
"""``float32_sums(*shape)``: V x L float32 zeros."""
int32_sums = either(_start(types.int32, paired=True), _plain_start(np.int32))
"""``int32_sums(*shape)``: V x L int32 zeros, for `add_scaled` of int8 rows that lie as `paired_order` says."""
paired_sums = either(_start(types.int16, paired=True), _plain_start(np.int16))
"""``paired_sums(*shape)``: V x L int16 zeros, for `add_pair` and `store` only."""
add = either(_add, lambda sums, table, place: sums + _plain_row(sums, table, place))
"""``add(sums, table, place)``: sums plus the table's numbers from ``place`` on, widened; never checked for overflow."""
add_scaled = either(
    _add_scaled, lambda sums, table, place, factor: sums + _plain_row(sums, table, place) * factor
)
"""``add_scaled(sums, table, place, factor)``: like `add`, each number times a factor of the sums' type."""
add_pair = either(_add_pair, _plain_pair)
"""``add_pair(sums, table, place, other_place, a | b << 8)``: two int8 rows times a and b, each 0 to 127.

The table's columns lie as `paired_order` says; neither a pair's nor the total's sum may leave int16.
"""
store = either(_store, _plain_store)
"""``store(sums, array, place, on_top)``: write from ``place`` on, widened; ``on_top`` (a literal) adds to what is there."""
