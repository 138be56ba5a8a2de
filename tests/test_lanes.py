"""Vectors of integers against plain NumPy, compiled and with the compiler switched off."""

import numpy as np
import pytest
from numba import njit
from without_jit import JIT_ONLY, assert_numpys_pass_without_the_compiler

from sastdeploy._kernels.lanes import (
    append,
    at_least,
    below,
    bits,
    load,
    narrow,
    population,
    put,
    quotient,
    sized,
    spread,
    wide,
)
from sastdeploy._kernels.vectors import shape


@njit
def combine(a, b, shift, eighths, out, masks, numbers, long_numbers):
    x, y = load(a, 1, eighths), load(b, 0, eighths)
    put(x + y - (x & ~y), out[0], 0)
    long = wide(x) * sized(y, wide(x)) >> wide(load(shift, 0, eighths))
    put(sized(narrow(long + spread(long, np.int64(7))), x), out[1], 0)
    put(at_least(x, y) + below(x, y) * spread(x, np.int32(5)), out[2], 0)
    smaller = bits(below(x, y))
    masks[0] = population(smaller | smaller)
    # int32 numbers have an instruction on some processors, int64 never.
    masks[1] = append(below(x, y), 100, numbers, 2)
    masks[2] = append(below(x, y), 100, long_numbers, 2)


@pytest.mark.parametrize("lanes", [8, 16, 32, 64])
def test_operators_are_numpys(lanes):
    rng = np.random.default_rng(lanes)
    a, b = (rng.integers(-(2**30), 2**30, lanes + 1).astype(np.int32) for _ in range(2))
    b[0], b[lanes - 1] = a[1] + 1, a[lanes] + 1
    shift = rng.integers(0, 63, lanes).astype(np.int32)
    out, masks = np.zeros((3, lanes), np.int32), np.full(3, -1)
    numbers, long_numbers = np.zeros(lanes + 2 + 64, np.int32), np.zeros(lanes + 2 + 64, np.int64)
    combine(a, b, shift, shape(1, lanes)[1], out, masks, numbers, long_numbers)
    x, y = a[1:].astype(np.int64), b[:lanes].astype(np.int64)
    assert np.array_equal(out[0], (x + y - (x & ~y)).astype(np.int32))
    assert np.array_equal(out[1], ((x * y >> shift) + 7).astype(np.int32))
    assert np.array_equal(out[2], np.where(x >= y, -1, -5))
    smaller = np.flatnonzero(x < y)
    assert smaller[0] == 0 and smaller[-1] == lanes - 1
    assert masks.tolist() == [len(smaller), len(smaller) + 2, len(smaller) + 2]
    for written in (numbers, long_numbers):
        assert written[:2].tolist() == [0, 0]
        assert np.array_equal(written[2 : len(smaller) + 2], 100 + smaller)


@njit
def divide(a, b, eighths, out):
    for place in range(0, len(a), 8 * len(eighths)):
        put(quotient(load(a, place, eighths), load(b, place, eighths)), out, place)


def test_quotients_are_whole_to_the_last_step():
    # The last number before each multiple, the multiple, and one more: up to 2^23, as membranes and thresholds are.
    rng = np.random.default_rng(0)
    divisor = np.concatenate([np.arange(1, 600), rng.integers(1, 1 << 23, 1000), [1 << 22, (1 << 23) - 1]])
    most = (1 << 23) // divisor
    times = np.stack([rng.integers(0, most + 1), np.minimum(127, most), most])
    a = np.concatenate([(times * divisor + off).reshape(-1) for off in (-1, 0, 1)]).clip(0, 1 << 23)
    b = np.tile(divisor, 9)
    fill = -len(a) % 64
    a, b = (np.concatenate((values, np.ones(fill))).astype(np.int32) for values in (a, b))
    out = np.zeros(len(a), np.int32)
    divide(a, b, shape(1, 64)[1], out)
    assert np.array_equal(out, a // b)


@JIT_ONLY
def test_the_same_without_the_compiler():
    assert_numpys_pass_without_the_compiler(__file__)
