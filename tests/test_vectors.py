"""Register sums against plain NumPy, compiled and with the compiler switched off."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from sastdeploy.vectors import add, add_scaled, add_sums, float32_sums, int8_sums, int16_sums, shape, store


@njit
def float_rows(vectors, eighths, rows, places, factors, out):
    sums = float32_sums(vectors, eighths)
    for k in range(len(places)):
        sums = add_scaled(sums, rows, places[k], factors[k])
    store(sums, out, 0, False)


@njit
def integer_rows(vectors, eighths, rows, places, factors, out):
    """Rows into int8 sums, those into int16 sums, the scaled ones straight into these, all on top of ``out``."""
    small, sums = int8_sums(vectors, eighths), int16_sums(vectors, eighths)
    for k in range(len(places)):
        small = add(small, rows, places[k])
        sums = add_scaled(sums, rows, places[k], np.int16(factors[k]))
    store(add_sums(sums, small), out, 1, True)


@pytest.mark.parametrize(("vectors", "lanes"), [(1, 8), (3, 16), (2, 32), (3, 64)])
def test_sums_are_numpys(vectors, lanes):
    rng, width = np.random.default_rng(vectors), vectors * lanes
    places = rng.integers(0, 50, 9)
    rows = rng.integers(-8, 8, 50 + width).astype(np.int8)
    factors = rng.integers(-9, 9, 9).astype(np.int16)
    before = rng.integers(-1000, 1000, width + 2).astype(np.int32)
    out = before.copy()
    integer_rows(*shape(vectors, lanes), rows, places, factors, out)
    expected = sum(rows[p : p + width].astype(int) * (f + 1) for p, f in zip(places, factors))
    assert np.array_equal(out[1:-1] - before[1:-1], expected)
    assert out[0] == before[0] and out[-1] == before[-1]

    floats = np.zeros(width, np.float32)
    float_rows(*shape(vectors, lanes), rows.astype(np.float32), places, factors.astype(np.float32), floats)
    assert np.array_equal(floats, sum(rows[p : p + width].astype(int) * f for p, f in zip(places, factors)))


def test_rows_that_are_not_contiguous_are_refused():
    with pytest.raises(TypingError, match="C-contiguous"):
        float_rows(
            *shape(1, 8), np.zeros((8, 8), np.float32).T, np.zeros(1, int), np.ones(1, np.float32), None
        )


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="this is the run without the compiler")
def test_the_same_without_the_compiler():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "numpys"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
