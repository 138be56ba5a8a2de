"""Sparse frames: the record that every room passes on."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sastdeploy.errors import InputError
from sastdeploy.recordings import rows
from sastdeploy.recordings.frames import MAX_COUNT, Frames, LabelledFrames, index_dtype, unchanging
from sastdeploy.recordings.preprocessing import Preprocessing

COUNTS = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(1, 2), st.integers(1, 4), st.integers(1, 4)),
    elements=st.integers(0, 255),
)


@settings(max_examples=60)
@given(COUNTS)
def test_dense_to_sparse_and_back_is_equal(counts):
    frames = Frames.from_dense(counts)
    assert len(frames) == len(counts)
    assert np.array_equal(frames.dense(), counts)
    assert (frames.count > 0).all()


@settings(max_examples=60)
@given(COUNTS, st.data())
def test_selection_follows_the_given_order_and_may_repeat(counts, data):
    chosen = np.array(
        data.draw(st.lists(st.integers(0, max(len(counts) - 1, 0)), max_size=5)) if len(counts) else [], int
    )
    assert np.array_equal(Frames.from_dense(counts).select(chosen).dense(), counts[chosen])


@settings(max_examples=30)
@given(COUNTS, st.integers(1, 127))
def test_clipping_is_the_minimum(counts, clip):
    assert np.array_equal(Frames.from_dense(counts).clipped(clip).dense(), np.minimum(counts, clip))


def test_more_than_65536_inputs_get_32_bit_indices():
    assert index_dtype(65536) is np.uint16
    assert index_dtype(65537) is np.uint32


def test_wrong_axes_and_counts_are_refused():
    with pytest.raises(InputError, match=r"expected integers \[N, T, P, H, W\]"):
        Frames.from_dense(np.zeros((2, 3), np.uint8))
    with pytest.raises(InputError) as caught:
        Frames.from_dense(np.array([3, 256]).reshape(1, 1, 1, 1, 2))
    assert str(caught.value) == (
        "frames: a count is outside 0 to 255. Found 3 to 256. Clip them first, as in np.clip(counts, 0, 255); a network clips "
        "at 127 or less anyway."
    )
    with pytest.raises(InputError, match="a count is outside 0 to 255"):
        Frames.from_dense(np.full((1, 1, 1, 1, 1), -1))


GOOD = {
    "shape": (2, 1, 2),
    "time_bins": 2,
    "indptr": np.array([0, 2, 2, 2, 3]),
    "index": np.array([1, 3, 0], np.uint16),
    "count": np.array([1, 255, 7], np.uint8),
}
MEND = ". Bin the recordings again."
FEWER = "frames: fewer indices or counts than the row pointers name" + MEND
MORE = "frames: more indices or counts than the row pointers name" + MEND
ORDER = "frames: inputs are named twice or out of order within a bin" + MEND
POINTERS = "frames: row pointers do not ascend from 0, one per recording and bin" + MEND


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("index", [1, 4, 0], "frames: input 4 lies outside the frame's 4 inputs" + MEND),
        ("index", [-1, 3, 0], "frames: input -1 lies outside the frame's 4 inputs" + MEND),
        ("index", [3, 3, 0], ORDER),
        ("index", [3, 1, 0], ORDER),
        ("index", [1.0, 3.0, 0.0], "frames: index is float64 [3], not whole numbers in one row" + MEND),
        ("index", [[1, 3, 0]], "frames: index is int64 [1, 3], not whole numbers in one row" + MEND),
        ("index", [1, 3], FEWER),
        ("index", [1, 3, 0, 1], MORE),
        ("count", [1, 0, 7], "frames: an input is listed with a count of 0; counts are 1 to 255" + MEND),
        ("count", [1, 256, 7], "frames: an input is listed with a count of 256; counts are 1 to 255" + MEND),
        ("count", [1, 1], FEWER),
        ("indptr", [0, 2, 1, 2, 3], POINTERS),
        ("indptr", [1, 2, 2, 2, 3], POINTERS),
        ("indptr", [0, 2, 2, 3], POINTERS),
        ("indptr", [], POINTERS),
        ("indptr", [0, 1, 2, 3, 4], FEWER),
        ("time_bins", 0, "frames: shape (2, 1, 2) in 0 bins is not (P, H, W) and T of whole numbers from 1" + MEND),
        ("shape", (2, 2), "frames: shape (2, 2) in 2 bins is not (P, H, W) and T of whole numbers from 1" + MEND),
    ],
)  # fmt: skip
def test_bad_frames_cannot_be_made(part, value, message):
    with pytest.raises(InputError) as caught:
        Frames(**{**GOOD, part: np.array(value) if isinstance(value, list) else value})
    assert str(caught.value) == message


def test_entries_ascend_within_a_bin_only():
    """Empty bins in between, first and last, and an input below the last one of the bin before."""
    frames = Frames(
        (1, 1, 4), 1, np.array([0, 0, 2, 2, 3, 4, 4]), np.array([2, 3, 0, 0]), np.array([1, 2, 3, 4])
    )
    assert frames.dense().reshape(6, 4)[[1, 3, 4]].tolist() == [[0, 0, 1, 2], [3, 0, 0, 0], [4, 0, 0, 0]]
    assert (frames.indptr.dtype, frames.index.dtype, frames.count.dtype) == (np.int64, np.uint16, np.uint8)


def test_checked_frames_stay_as_they_were_checked():
    frames = Frames(**GOOD)
    for array in (frames.indptr, frames.index, frames.count, frames.select(slice(1)).index):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 9


def test_nobody_who_holds_the_arrays_can_change_checked_frames():
    arrays = {name: GOOD[name].copy() for name in ("indptr", "index", "count")}
    frames = Frames(GOOD["shape"], GOOD["time_bins"], **arrays)
    before = frames.dense()
    for name, array in arrays.items():
        array[:] = 9
        view = arrays[name].view()
        view.flags.writeable = False
        assert unchanging(view) is not view
        with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
            getattr(frames, name).flags.writeable = True
    assert np.array_equal(frames.dense(), before)


def test_a_file_that_is_mapped_for_reading_is_not_copied(tmp_path):
    np.save(tmp_path / "index.npy", np.arange(4, dtype=np.uint16))
    mapped = np.asarray(np.load(tmp_path / "index.npy", mmap_mode="r"))
    assert unchanging(mapped) is mapped
    for mode in ("r+", "c"):
        written = np.asarray(np.load(tmp_path / "index.npy", mmap_mode=mode))
        assert not np.shares_memory(unchanging(written), written)
    constant = np.frombuffer(b"\x01\x02", np.uint8)
    assert unchanging(constant) is constant


LABELLED = {
    "labels": [0, 1],
    "groups": [0, 0],
    "names": ("a", "b"),
    "classes": ("x", "y"),
    "data_hash": "hash",
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0]}, "labels: expected integers [2], one per recording, found int64 [1]."),
        ({"labels": [0, 2]}, "labels: 0 to 2, outside 0 to 1 of 2 classes."),
        ({"labels": [-1, 0]}, "labels: -1 to 0, outside 0 to 1 of 2 classes."),
        ({"labels": [0.0, 1.0]}, "labels: expected integers [2], one per recording, found float64 [2]."),
        ({"groups": [0, 1, 2]}, "groups: expected integers [2], one per recording, found int64 [3]."),
        ({"names": ("a",)}, "names: expected 2, one per recording, found 1."),
        ({"seconds": [1.0]}, "seconds: expected numbers [2], one per recording, found float64 [1]."),
        ({"seconds": [1.0, np.nan]}, "seconds: a recording's duration is no finite number from 0."),
        ({"seconds": [1.0, -1.0]}, "seconds: a recording's duration is no finite number from 0."),
    ],
)
def test_bad_labelled_frames_cannot_be_made(change, message):
    frames = Frames.from_dense(np.ones((2, 1, 1, 1, 1), np.uint8))
    good = LabelledFrames(frames, **LABELLED)
    for make in (lambda: LabelledFrames(frames, **{**LABELLED, **change}), lambda: replace(good, **change)):
        with pytest.raises(InputError) as caught:
            make()
        assert str(caught.value) == message


def test_a_label_that_is_changed_afterwards_does_not_reach_labelled_frames():
    labels = np.array([0, 1])
    good = LabelledFrames(
        Frames.from_dense(np.ones((2, 1, 1, 1, 1), np.uint8)), **{**LABELLED, "labels": labels}
    )
    labels[:] = 7
    assert good.labels.tolist() == [0, 1] and good.labels.dtype == good.groups.dtype == np.int64


def test_a_part_of_checked_frames_is_not_checked_again(monkeypatch):
    from sastdeploy.recordings import frames as module

    frames = Frames(**GOOD)
    monkeypatch.setattr(module, "_checked", None)
    assert frames.select(slice(1, 2)).clipped(3).dense().sum() == 3


def test_a_clip_outside_the_counts_is_refused():
    with pytest.raises(InputError, match="c_clip 0: outside 1 to 255"):
        Frames(**GOOD).clipped(0)
    assert Frames(**GOOD).clipped(MAX_COUNT).count.max() == MAX_COUNT == 255


def test_labelled_selection_keeps_what_belongs_together():
    counts = np.arange(1, 4, dtype=np.uint8).reshape(3, 1, 1, 1, 1)
    labelled = LabelledFrames(
        Frames.from_dense(counts),
        np.array([7, 8, 9]),
        np.array([1, 1, 2]),
        ("a", "b", "c"),
        tuple("0123456789"),
        "hash",
    )
    chosen = labelled.select(np.array([2, 0]))
    assert chosen.labels.tolist() == [9, 7]
    assert chosen.names == ("c", "a")
    assert chosen.frames.dense().ravel().tolist() == [3, 1]


NMNIST = Preprocessing((34, 34, 2), (34, 34), 10, 4, 4.0)


def test_preprocessing_survives_its_plain_form():
    assert Preprocessing.from_dict(NMNIST.to_dict()) == NMNIST
    assert NMNIST.frame_shape == (2, 34, 34)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c_clip": 0}, "c_clip 0: outside 1 to 127"),
        ({"c_clip": 128, "divisor": 128.0}, "c_clip 128: outside 1 to 127"),
        ({"divisor": 3.0}, "divisor 3: below c_clip 4"),
        ({"divisor": float("nan")}, "divisor nan: below c_clip 4"),
        (
            {"divisor": 1e300},
            "divisor 1e+300: at most 1e+12 is allowed, or no frame value would reach any threshold.",
        ),
        ({"time_bins": 0}, "time_bins 0: outside 1 to 1000"),
        ({"normalisation": "max"}, "normalisation 'max': unknown. Allowed: fixed, sample_max"),
        ({"time_bins": 2.5}, "a value has the wrong type"),
        ({"sensor_size": [34, 34]}, "a value has the wrong type"),
        ({"frame_size": [0, 34]}, "every size must be at least 1"),
        ({"extra": 1}, "expected exactly the keys"),
    ],
)
def test_preprocessing_refuses(change, message):
    with pytest.raises(InputError) as caught:
        Preprocessing.from_dict({**NMNIST.to_dict(), **change})
    assert message in str(caught.value)


@pytest.mark.parametrize("block", [1, 2, 3, 5, 100])
def test_the_order_of_entries_is_seen_across_blocks(monkeypatch, block):
    monkeypatch.setattr(rows, "BLOCK", block)
    rng = np.random.default_rng(block)
    for _ in range(60):
        lengths = rng.integers(0, 5, 8)
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        index = np.concatenate([np.zeros(0, int), *(np.sort(rng.permutation(9)[:n]) for n in lengths)])
        assert rows.ascends(indptr, index)
        long = np.flatnonzero(lengths > 1)
        if len(long):
            row = rng.choice(long)
            place = indptr[row] + rng.integers(lengths[row] - 1)
            for wrong in (index[place], index[place] - 1):
                changed = index.copy()
                changed[place + 1] = wrong
                assert not rows.ascends(indptr, changed)
