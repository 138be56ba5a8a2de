"""The fast way from N-MNIST's bytes to frames against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sastdeploy.recordings.binning import count_events
from sastdeploy.recordings.events import EVENT_DTYPE
from sastdeploy.recordings.fast_binning import DigitBinner
from sastdeploy.recordings.nmnist import SENSOR, nmnist_bytes, parse_nmnist


def defined(content, frame, bins):
    events = parse_nmnist(content, "file")
    stop = int(events["t"][-1]) + 1
    return (*count_events(events, SENSOR, frame, bins, 0, stop), stop)


def assert_same(binner, content, frame, bins):
    fast, expected = binner.bin(content), defined(content, frame, bins)
    assert fast is not None and fast[3] == expected[3]
    for one, other in zip(fast[:3], expected[:3]):
        assert np.array_equal(one, other)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 400),
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.sampled_from([(34, 34), (17, 17), (5, 9), (1, 1)]),
    st.booleans(),
)
def test_any_recording_gives_the_same_numbers(count, seed, bins, frame, crowded):
    rng = np.random.default_rng(seed)
    events = np.zeros(count, EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, 34, count), rng.integers(0, 34, count)
    events["p"], events["t"] = (
        rng.integers(0, 2, count),
        np.sort(rng.integers(0, 5 if crowded else 320_000, count)),
    )
    content = bytearray(nmnist_bytes(events))
    for _ in range(rng.integers(0, 3)):
        # An event without a pixel moves all later times by 2^13 us; times on the wire then start again.
        at = 5 * int(rng.integers(0, count + 1))
        content[at:at] = bytes([0, 240, 0, 0, 0])
    binner = DigitBinner(frame, bins)
    for _ in range(2):
        assert_same(binner, bytes(content), frame, bins)


def test_counts_stop_at_255():
    events = np.zeros(300, EVENT_DTYPE)
    binner = DigitBinner((34, 34), 2)
    assert_same(binner, nmnist_bytes(events), (34, 34), 2)
    assert binner.bin(nmnist_bytes(events))[2].tolist() == [255]


def event(x=1, y=1, t=0):
    events = np.zeros(1, EVENT_DTYPE)
    events["x"], events["y"], events["t"] = x, y, t
    return nmnist_bytes(events)


@pytest.mark.parametrize("content", [
    b"", b"abc", event(x=34), event(y=34), event(t=5) + event(t=4), bytes([0, 240, 0, 0, 0]), event() * (1 << 17) + event(),
])  # fmt: skip
def test_what_breaks_a_rule_is_left_to_the_definition(content):
    binner = DigitBinner((34, 34), 10)
    assert binner.bin(content) is None
    # Nothing of it is left behind.
    assert_same(binner, event() + event(x=3, t=9), (34, 34), 10)
