"""Register sums against plain NumPy, compiled and with the compiler switched off."""

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError
from without_jit import JIT_ONLY, assert_numpys_pass_without_the_compiler

from sastdeploy._kernels.vectors import (
    add_pair,
    add_scaled,
    float32_sums,
    int32_sums,
    paired_order,
    paired_sums,
    shape,
    store,
)


@njit
def float_rows(vectors, eighths, rows, places, factors, out):
    sums = float32_sums(vectors, eighths)
    for k in range(len(places)):
        sums = add_scaled(sums, rows, places[k], factors[k])
    store(sums, out, 0, False)


@njit
def integer_rows(vectors, eighths, rows, places, factors, out):
    """Rows in pairs into int16 sums, and scaled into int32 sums; both on top of ``out``."""
    pairs, single = paired_sums(vectors, eighths), int32_sums(vectors, eighths)
    for k in range(0, len(places), 2):
        both = np.int16(factors[k]) | (np.int16(factors[k + 1]) << np.int16(8))
        pairs = add_pair(pairs, rows, places[k], places[k + 1], both)
        single = add_scaled(single, rows, places[k], np.int32(-1000))
    store(pairs, out, 1, True)
    store(single, out, 1, True)


@pytest.mark.parametrize(("vectors", "lanes"), [(1, 8), (3, 16), (2, 32), (3, 64)])
def test_sums_are_numpys(vectors, lanes):
    rng, width = np.random.default_rng(vectors), vectors * lanes
    rows = rng.integers(-128, 128, (50, width)).astype(np.int8)
    rows[0], rows[1] = -128, 127
    names = np.concatenate(([0, 0, 1, 1], rng.integers(2, 50, 6)))
    factors = np.array([127, 127, 127, 127, 0, 1, 2, 3, 0, 127]).astype(np.uint8)
    before = rng.integers(-1000, 1000, width + 2).astype(np.int32)
    out = before.copy()
    woven = np.ascontiguousarray(rows.reshape(50, vectors, lanes)[:, :, paired_order(lanes)]).reshape(
        50, width
    )
    integer_rows(*shape(vectors, lanes), woven, names * width, factors, out)
    # The first two pairs all but cancel, so that every sum on the way fits int16.
    in_pairs = (rows[names].astype(int) * factors[:, None]).sum(0)
    expected = in_pairs - 1000 * rows[names[::2]].astype(int).sum(0)
    assert np.array_equal(out[1:-1] - before[1:-1], expected)
    assert out[0] == before[0] and out[-1] == before[-1]
    places = names * width
    rows, places = rows.reshape(-1), places[4:]
    factors = factors[4:]

    floats = np.zeros(width, np.float32)
    float_rows(*shape(vectors, lanes), rows.astype(np.float32), places, factors.astype(np.float32), floats)
    assert np.array_equal(floats, sum(rows[p : p + width].astype(int) * f for p, f in zip(places, factors)))


def test_rows_that_are_not_contiguous_are_refused():
    with pytest.raises(TypingError, match="C-contiguous"):
        float_rows(
            *shape(1, 8), np.zeros((8, 8), np.float32).T, np.zeros(1, int), np.ones(1, np.float32), None
        )


@JIT_ONLY
def test_the_same_without_the_compiler():
    assert_numpys_pass_without_the_compiler(__file__)
