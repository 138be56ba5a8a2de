"""Formats and the float-to-integer border."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sastdeploy.errors import InputError
from sastdeploy.program import fixedpoint
from sastdeploy.program.fixedpoint import QFormat, to_integer, to_real, weight_limit


def test_q8_8_is_a_16_bit_integer_with_lsb_one_256th():
    q = QFormat.parse("Q8.8")
    assert (q.bits, q.q_min, q.q_max, q.lsb) == (16, -32768, 32767, 1 / 256)
    assert to_real(q.q_max, 8) == 127.99609375


def test_q4_4_covers_minus_8_to_7_9375():
    q = QFormat.parse("Q4.4")
    assert (to_real(q.q_min, 4), to_real(q.q_max, 4)) == (-8.0, 7.9375)


@pytest.mark.parametrize("text", ["", "8.8", "Q8", "q8.8", "Q-1.3", "Q8.8 ", "Q8.8.8", "Q 8.8"])
def test_text_of_another_form_is_refused(text):
    with pytest.raises(InputError, match=r"not a fixed-point format. Write Qm.n"):
        QFormat.parse(text)


@pytest.mark.parametrize("text", ["Q0.8", "Q1.0", "Q16.16", "Q25.0"])
def test_width_outside_2_to_24_bits_is_refused(text):
    with pytest.raises(InputError, match="2 to 24 bits in all"):
        QFormat.parse(text)


def test_ties_round_to_the_even_integer():
    # 0.5, 1.5, 2.5, -0.5, -1.5 in units of one: 0, 2, 2, 0, -2
    assert to_integer([0.5, 1.5, 2.5, -0.5, -1.5], 0).tolist() == [0, 2, 2, 0, -2]


@given(st.integers(1, 12), st.integers(0, 12), st.data())
def test_every_code_survives_the_way_to_real_and_back(m, n, data):
    if m + n < 2:
        return
    q = QFormat(m, n)
    code = data.draw(st.integers(q.q_min, q.q_max))
    assert to_integer(to_real(code, n), n) == code
    assert QFormat.parse(str(q)) == q


@given(st.floats(-1000, 1000), st.integers(0, 16))
def test_rounding_error_is_at_most_half_a_step(value, n):
    assert abs(to_real(to_integer(value, n), n) - value) <= 2.0 ** -(n + 1)


def test_weights_have_a_narrow_symmetric_range():
    assert [weight_limit(bits) for bits in (2, 4, 8)] == [1, 7, 127]
    with pytest.raises(InputError, match=r"weight width 9: not supported. Allowed: 2 to 8 bits."):
        weight_limit(9)


def test_to_integer_gives_int64():
    assert to_integer(1.0, 8).dtype == np.int64


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (64, 3, 2, 2), (1, 300), (0, 4)])
def test_blocks_of_rows_cover_each_row_once(monkeypatch, shape):
    monkeypatch.setattr(fixedpoint, "BLOCK", 40)
    values = np.arange(np.prod(shape)).reshape(shape)
    blocks = [values[rows] for rows in fixedpoint.row_blocks(values)]
    assert np.array_equal(np.concatenate([values[:0], *blocks]), values)
    assert all(len(block) == 1 or block.size <= 40 for block in blocks)


def test_weights_are_rounded_in_blocks_that_need_little_memory(monkeypatch):
    weight = np.random.default_rng(0).normal(size=(512, 2048))
    scale = fixedpoint.tensor_scale(np.abs(weight).max(1), 8).reshape(-1, 1)
    whole = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
    monkeypatch.setattr(fixedpoint, "BLOCK", 1 << 14)
    tracemalloc.start()
    codes = fixedpoint.weight_codes(weight, scale, 8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert codes.dtype == np.int8 and np.array_equal(codes, whole)
    assert peak < 1.5 * codes.nbytes
