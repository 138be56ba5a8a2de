"""The first layer's two sums over sparse frames, for Numba: of weight rows, and of gradient rows.

Both are bound by how fast rows come out of the level-2 cache: as many columns as the registers hold are summed at
once, in the processor's widest vectors, and a gradient row that two neighbouring inputs share is loaded once for both.
Nothing is checked here: the caller proves that every index lies inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sastdeploy._kernels.jit import kernel
from sastdeploy._kernels.vectors import add, add_scaled, float32_sums, shape, store

Floats = NDArray[np.float32]
Zeros = tuple[int, ...]
"""Carries a number into a kernel's type by its length, see `shape`."""
_Sums = tuple[Any, Any]
"""Sums in wide vectors, and in one of eight numbers or none."""

MAX_COLUMNS = 176
"""Summed at once, 16 float32 numbers per vector: twice 11 vectors of the 32 that AVX-512 has."""


def pieces(width: int) -> tuple[tuple[Zeros, Zeros, Zeros, Zeros], int]:
    """Return the kernels' ``wide, sixteen, narrow, eight``, and the width padded to a whole number of passes."""
    eighths = max(1, -(-width // 8))
    passes = -(-eighths * 8 // MAX_COLUMNS)
    at_once = -(-eighths // passes)
    return shape(at_once // 2, 16) + shape(at_once % 2, 8), passes * at_once * 8


@njit(inline="always")
def _zeros(wide: Zeros, sixteen: Zeros, narrow: Zeros, eight: Zeros) -> _Sums:
    return float32_sums(wide, sixteen), float32_sums(narrow, eight)


@njit(inline="always")
def _plus(sums: _Sums, rows: Floats, place: int, factor: np.float32, rest: int) -> _Sums:
    """Return the sums plus a row's numbers from ``place`` on, each times ``factor``; ``rest`` of them in wide vectors."""
    return add_scaled(sums[0], rows, place, factor), add_scaled(sums[1], rows, place + rest, factor)


@njit(inline="always")
def _write(sums: _Sums, out: Floats, place: int, rest: int) -> None:
    store(sums[0], out, place, False)
    store(sums[1], out, place + rest, False)


@kernel(parallel=True)
def sum_inputs(
    start: NDArray[np.int64], stop: NDArray[np.int64], index: NDArray[np.integer], count: NDArray[np.uint8],
    worth: Floats, which: NDArray[np.int64], rows: Floats, first: Floats,
    wide: Zeros, sixteen: Zeros, narrow: Zeros, eight: Zeros, out: Floats,
) -> None:  # fmt: skip
    """Write to every ``out[i]`` the row ``first`` plus the rows of its active inputs, each times its value.

    ``out``'s width is a multiple of as many columns as are summed at once.
    """
    width, rest = out.shape[1], len(wide) * 16
    for column in range(0, width, rest + len(narrow) * 8):
        for i in prange(len(start)):
            sums = (
                add(float32_sums(wide, sixteen), first, column),
                add(float32_sums(narrow, eight), first, column + rest),
            )
            for k in range(start[i], stop[i]):
                value = worth[which[i] + np.int64(count[k])]
                sums = _plus(sums, rows, np.int64(index[k]) * width + column, value, rest)
            _write(sums, out, i * width + column, rest)


@njit(inline="always")
def _list_and_item(
    before: np.uint32,
    this: np.uint32,
    after: np.uint32,
    count: np.uint8,
    after_count: np.uint8,
    mark: np.uint64,
) -> tuple[np.uint32, np.uint64]:
    """Return the list of one value, and its entry; ``before``, ``after``: the inputs next to it in its row."""
    one, eight = np.uint32(1), np.uint64(8)
    odd = this & one
    both = (this ^ one) == (before if odd else after)
    other = np.uint64(after_count) << eight if both else np.uint64(0)
    place = np.uint32(2) if both else np.uint32(0)
    return (this << one) - odd + place, mark | other | (np.uint64(count) << (eight if odd else np.uint64(0)))


@kernel()
def by_pair(
    start: NDArray[np.int64], stop: NDArray[np.int64], index: NDArray[np.integer], count: NDArray[np.uint8],
    lists: NDArray[np.unsignedinteger], items: NDArray[np.unsignedinteger], ends: NDArray[np.uint32],
    entry: NDArray[np.unsignedinteger],
) -> None:  # fmt: skip
    """Sort all values by pair of inputs: ``row << 16 | second's count << 8 | first's count`` to ``entry``, rows ascending.

    Inputs 2p and 2p + 1 are pair p. It has four lists, from 4p on: rows with only the first active, with only the
    second, with both, and (of no use: it saves a branch) the second's own values of both.

    Args:
        lists, items: room for the list and the entry of every value. ``entry``: room for every value, as ``items``.
        ends: zeros, one more than there are lists; in the end, list n goes from ``ends[n - 1]`` (0) to ``ends[n]``.
    """
    filled = 0
    for row in range(len(start)):
        j, c = index[start[row] : stop[row]], count[start[row] : stop[row]]
        size = len(j)
        where, item = lists[filled : filled + size], items[filled : filled + size]
        mark = np.uint64(row) << np.uint64(16)
        # No branch and no end of a row inside: the compiler makes vectors of this loop.
        for k in range(1, size - 1):
            where[k], item[k] = _list_and_item(
                np.uint32(j[k - 1]), np.uint32(j[k]), np.uint32(j[k + 1]), c[k], c[k + 1], mark
            )
        if size > 0:
            first, last, end = np.uint32(j[0]), np.uint32(j[-1]), size - 1
            # An input is never its own neighbour: so a row's end has none outside.
            after, after_count = (np.uint32(j[1]), c[1]) if size > 1 else (first, c[0])
            where[0], item[0] = _list_and_item(first, first, after, c[0], after_count, mark)
            before = np.uint32(j[end - 1]) if size > 1 else last
            where[end], item[end] = _list_and_item(before, last, last, c[end], c[end], mark)
        filled += size
    for k in range(filled):
        ends[lists[k] + np.uint32(1)] += np.uint32(1)
    for n in range(len(ends) - 1):
        ends[n + 1] += ends[n]
    for k in range(filled):
        place = ends[lists[k]]
        entry[place] = items[k]
        ends[lists[k]] = place + np.uint32(1)


@kernel(parallel=True)
def sum_rows(
    ends: NDArray[np.uint32], entry: NDArray[np.unsignedinteger], worth: Floats, which: NDArray[np.int64], rows: Floats,
    wide: Zeros, sixteen: Zeros, narrow: Zeros, eight: Zeros, out: Floats,
) -> None:  # fmt: skip
    """Write to every ``out[j]`` the sum of the rows in which input j is active, each times its value there."""
    width, rest = out.shape[1], len(wide) * 16
    for column in range(0, width, rest + len(narrow) * 8):
        for p in prange((len(out) + 1) // 2):
            first, second = _zeros(wide, sixteen, narrow, eight), _zeros(wide, sixteen, narrow, eight)
            a, b = np.int64(ends[4 * p]), np.int64(ends[4 * p + 1])
            for k in range(np.int64(ends[4 * p - 1]) if p > 0 else 0, a):
                row = np.int64(entry[k] >> 16)
                value = worth[which[row] + np.int64(entry[k] & 255)]
                first = _plus(first, rows, row * width + column, value, rest)
            for k in range(a, b):
                row = np.int64(entry[k] >> 16)
                value = worth[which[row] + np.int64((entry[k] >> 8) & 255)]
                second = _plus(second, rows, row * width + column, value, rest)
            for k in range(b, np.int64(ends[4 * p + 2])):
                row = np.int64(entry[k] >> 16)
                value = worth[which[row] + np.int64(entry[k] & 255)]
                other = worth[which[row] + np.int64((entry[k] >> 8) & 255)]
                first = _plus(first, rows, row * width + column, value, rest)
                second = _plus(second, rows, row * width + column, other, rest)
            _write(first, out, 2 * p * width + column, rest)
            if 2 * p + 1 < len(out):
                _write(second, out, (2 * p + 1) * width + column, rest)


@kernel()
def sum_all(rows: Floats, wide: Zeros, sixteen: Zeros, narrow: Zeros, eight: Zeros, out: Floats) -> None:
    """Write to ``out`` the sum of all rows."""
    width, rest = rows.shape[1], len(wide) * 16
    for column in range(0, width, rest + len(narrow) * 8):
        sums = _zeros(wide, sixteen, narrow, eight)
        for i in range(len(rows)):
            place = i * width + column
            sums = add(sums[0], rows, place), add(sums[1], rows, place + rest)
        _write(sums, out, column, rest)
