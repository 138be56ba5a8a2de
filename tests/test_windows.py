"""Windows over a frame: every number against the windows written out one by one."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sastdeploy.windows import Window, write_sizes

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(st.integers(1, 2), sizes, sizes, sizes, st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_windows_equal_those_written_out(channels, frame, kernel, stride, padding):
    window, shape = Window(kernel, stride, padding), (channels, *frame)
    padded = [size + 2 * pad for size, pad in zip(frame, padding)]
    starts = [range(0, size - k + 1, step) for size, k, step in zip(padded, kernel, stride)]
    if not all(starts):
        assert min(window.output(shape)) < 1
        return
    assert window.output(shape) == (len(starts[0]), len(starts[1])) and window.size == kernel[0] * kernel[1]
    x = np.arange(1, channels * frame[0] * frame[1] + 1).reshape(shape)
    wide = np.pad(x, [(0, 0), *((pad, pad) for pad in padding)])
    met = np.zeros(wide.shape[1:], np.int64)
    views = window.views(x)
    for row, top in enumerate(starts[0]):
        for column, left in enumerate(starts[1]):
            part = slice(top, top + kernel[0]), slice(left, left + kernel[1])
            met[part] += 1
            assert np.array_equal(views[:, row, column], wide[:, part[0], part[1]])
    inside = met[padding[0] : padding[0] + frame[0], padding[1] : padding[1] + frame[1]]
    assert np.array_equal(window.over(shape), inside)
    rows, columns = window.along(shape)
    assert np.array_equal(np.outer(rows, columns), inside)


@pytest.mark.parametrize(("stated", "window"), [
    ((2, None, 0), Window((2, 2), (2, 2), (0, 0))),
    (((2, 3), None, 0), Window((2, 3), (2, 3), (0, 0))),
    ((3, (1, 2), (0, 1)), Window((3, 3), (1, 2), (0, 1))),
])  # fmt: skip
def test_one_number_stands_for_both_axes_and_no_stride_for_the_kernel(stated, window):
    assert Window.of(*stated) == window


@dataclass(frozen=True)
class Record:
    kernel: object
    stride: object
    padding: object

    def __post_init__(self):
        write_sizes(self)


@pytest.mark.parametrize(("stated", "kept"), [
    (((2, 2), None, (0, 0)), (2, 2, 0)),
    (((2, 3), (1, 1), 0), ((2, 3), 1, 0)),
    (("two", None, (True, True)), ("two", "two", (True, True))),
    (((1, 1, 1), 1.5, None), ((1, 1, 1), 1.5, None)),
])  # fmt: skip
def test_sizes_have_one_form_and_what_is_no_size_stays_for_the_check(stated, kept):
    record = Record(*stated)
    assert (record.kernel, record.stride, record.padding) == kept
