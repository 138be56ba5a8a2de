"""Corruptions of recordings: by hand, by their laws, and from files."""

import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sastdeploy.errors import InputError
from sastdeploy.recordings.binning import count_events
from sastdeploy.recordings.corrupted_frames import corrupted_frames
from sastdeploy.recordings.corruption import (
    KINDS,
    Corruption,
    corrupted,
    drop,
    flip,
    hot_pixels,
    jitter,
    noise,
)
from sastdeploy.recordings.events import EVENT_DTYPE, Segment
from sastdeploy.recordings.splits import load_dataset
from tests.test_events_formats import gesture_folder, nmnist_tree

SENSOR = (6, 4, 2)
SPAN = (1000, 31_000)


def rows(*events):
    return np.array(list(events), EVENT_DTYPE)


class Fixed:
    """A generator whose draws are written in the test."""

    def __init__(self, **draws):
        self._draws = {name: list(values) for name, values in draws.items()}

    def __getattr__(self, name):
        return lambda *_: np.array(self._draws[name].pop(0))


THREE = rows((0, 0, 1000, 1), (1, 2, 5000, 0), (5, 3, 30_999, 1))


def test_drop_by_hand():
    # lost where the draw lies below 0.3
    assert drop(THREE, 0.3, Fixed(random=[[0.29, 0.3, 0.9]])).tolist() == THREE[1:].tolist()


def test_flip_by_hand():
    flipped = flip(THREE, 0.5, Fixed(random=[[0.49, 0.5, 0.1]]))
    assert flipped["p"].tolist() == [0, 0, 0]
    assert flipped[["x", "y", "t"]].tolist() == THREE[["x", "y", "t"]].tolist()


def test_jitter_by_hand():
    # at 2 ms: 1000 - 1000 is clipped to the span's begin, 5000 + 26000 - 0 and 30999 + 2000 to its last microsecond
    moved = jitter(THREE, 2.0, SPAN, Fixed(standard_normal=[[-0.5, 13.0, 1.0]]))
    assert moved.tolist() == [(0, 0, 1000, 1), (1, 2, 30_999, 0), (5, 3, 30_999, 1)]
    # 1000 + 6000 = 7000 overtakes 5000 + 1.0004 -> 5001
    moved = jitter(THREE, 2.0, SPAN, Fixed(standard_normal=[[3.0, 0.0005002, 0.0]]))
    assert moved.tolist() == [(1, 2, 5001, 0), (0, 0, 7000, 1), (5, 3, 30_999, 1)]


def test_hot_pixels_by_hand():
    # pixel 8 of 6 columns is (2, 1); at 100 Hz from a phase of half a period it fires at 1000 + 5000, + 10000, + 20000
    draws = {"permutation": [[8, 3] + [0] * 22], "random": [[0.5, 0.0] + [0] * 22]}
    events = hot_pixels(THREE[:1], 1, SPAN, SENSOR, Fixed(**draws))
    assert events.tolist() == [(0, 0, 1000, 1), (2, 1, 6000, 1), (2, 1, 16_000, 0), (2, 1, 26_000, 1)]
    events = hot_pixels(THREE[:0], 2, SPAN, SENSOR, Fixed(**draws), rate_hz=50, polarity=0)
    assert events.tolist() == [(3, 0, 1000, 0), (2, 1, 11_000, 0), (3, 0, 21_000, 0)]


def test_noise_by_hand():
    draws = {"poisson": [2], "integers": [[5, 0], [3, 1], [20_000, 3000], [0, 1]]}
    assert noise(THREE, 1.0, SPAN, SENSOR, Fixed(**draws)).tolist() == [
        (0, 0, 1000, 1), (0, 1, 3000, 1), (1, 2, 5000, 0), (5, 3, 20_000, 0), (5, 3, 30_999, 1),
    ]  # fmt: skip


def test_the_mean_number_of_noise_events_is_rate_times_pixels_times_duration():
    class Asked:
        def poisson(self, mean):
            self.mean = mean
            return 0

        def integers(self, low, high, count):
            return np.empty(count, int)

    asked = Asked()
    noise(THREE, 2.5, SPAN, SENSOR, asked)
    assert asked.mean == pytest.approx(2.5 * 24 * 0.03)


recordings = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(SPAN[0], SPAN[1] - 1), st.integers(0, 1)),
    max_size=60,
).map(lambda events: Segment("a", 3, -1, *SPAN, rows(*sorted(events, key=lambda event: event[2]))))
LEVELS = {"drop": 1.0, "hot_pixels": 24, "jitter": 40.0, "noise": 100.0, "flip": 1.0}
corruptions = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: (st.integers(0, 24) if kind == "hot_pixels" else st.floats(0, LEVELS[kind])).map(
        lambda level: Corruption(kind, level)
    )
)
seeds = st.integers(0, 5)


@settings(max_examples=200)
@given(recordings, corruptions, seeds)
def test_events_stay_ascending_and_inside_sensor_and_span(segment, corruption, seed):
    worse = corrupted(segment, corruption, SENSOR, seed)
    events = worse.events
    assert replace(worse, events=None) == replace(segment, events=None)
    assert events.dtype == EVENT_DTYPE and (np.diff(events["t"]) >= 0).all()
    assert (events["x"] < 6).all() and (events["y"] < 4).all() and (events["p"] <= 1).all()
    assert (events["t"] >= SPAN[0]).all() and (events["t"] < SPAN[1]).all()


@given(recordings, corruptions, seeds)
def test_the_same_seed_gives_the_same_events_and_leaves_the_recording_alone(segment, corruption, seed):
    before = segment.events.tolist()
    first, second = (corrupted(segment, corruption, SENSOR, seed).events for _ in range(2))
    assert first.tolist() == second.tolist() and segment.events.tolist() == before


@given(recordings, st.sampled_from(sorted(KINDS)), seeds)
def test_level_0_changes_nothing(segment, kind, seed):
    assert corrupted(segment, Corruption(kind, 0), SENSOR, seed).events.tolist() == segment.events.tolist()


@given(recordings, seeds)
def test_a_drop_of_1_leaves_nothing(segment, seed):
    assert len(corrupted(segment, Corruption("drop", 1), SENSOR, seed).events) == 0


@given(recordings, seeds, st.floats(0, 1), st.floats(0, 1))
def test_what_is_lost_at_a_small_drop_is_lost_at_a_larger_one(segment, seed, one, other):
    # every event is told from the others by its number, written in x
    segment.events["x"] = np.arange(len(segment.events))
    few, many = (
        set(corrupted(segment, Corruption("drop", level), SENSOR, seed).events["x"].tolist())
        for level in sorted((one, other), reverse=True)
    )
    assert few <= many


@given(recordings, seeds, st.floats(0, 1))
def test_flipping_twice_gives_the_recording_back(segment, seed, share):
    once = corrupted(segment, Corruption("flip", share), SENSOR, seed)
    assert corrupted(once, Corruption("flip", share), SENSOR, seed).events.tolist() == segment.events.tolist()


@given(recordings, seeds)
def test_a_flip_of_1_mirrors_every_polarity(segment, seed):
    assert (
        corrupted(segment, Corruption("flip", 1), SENSOR, seed).events["p"] == 1 - segment.events["p"]
    ).all()


@given(recordings, seeds, st.floats(0, 100))
def test_jitter_keeps_every_event_but_for_its_time(segment, seed, sigma):
    moved = corrupted(segment, Corruption("jitter", sigma), SENSOR, seed).events
    parts = ["x", "y", "p"]
    assert Counter(moved[parts].tolist()) == Counter(segment.events[parts].tolist())


@given(recordings, seeds, st.floats(0, 100))
def test_noise_adds_as_many_events_as_its_seed_draws(segment, seed, rate):
    # 24 pixels and 30 ms: a mean of 0.72 rate; eight standard deviations and eight events are never left
    events = corrupted(segment, Corruption("noise", rate), SENSOR, seed).events
    added = Counter(events.tolist()) - Counter(segment.events.tolist())
    assert added.total() == len(events) - len(segment.events)
    assert abs(added.total() - 0.72 * rate) <= 8 * (0.72 * rate) ** 0.5 + 8


@given(recordings, seeds, st.integers(0, 24))
def test_every_hot_pixel_fires_three_times_in_30_ms(segment, seed, pixels):
    events = corrupted(segment, Corruption("hot_pixels", pixels), SENSOR, seed).events
    added = Counter(events.tolist()) - Counter(segment.events.tolist())
    places = Counter((x, y) for x, y, _, _ in added.elements())
    assert added.total() == len(events) - len(segment.events) == 3 * pixels
    assert len(places) == pixels and set(places.values()) <= {3}
    fewer = corrupted(segment, Corruption("hot_pixels", pixels // 2), SENSOR, seed).events
    assert not Counter(fewer.tolist()) - Counter(events.tolist())


def test_noise_fills_every_pixel_both_polarities_and_the_whole_span():
    segment = Segment("a", 0, -1, 0, 10_000_000, rows())
    events = corrupted(segment, Corruption("noise", 100), SENSOR, 0).events
    counts = np.bincount(events["y"] * 6 + events["x"], minlength=24)
    assert abs(len(events) - 24_000) < 8 * 155 and (abs(counts - 1000) < 8 * 32).all()
    assert abs(events["p"].mean() - 0.5) < 0.03
    assert (abs(np.bincount(events["t"] // 1_000_000) - 2400) < 8 * 49).all()


def test_dropping_events_thins_every_count_binomially():
    # 10,000 bins of 4 events each at a drop of 0.4: Binomial(4, 0.6)
    events = np.zeros(40_000, EVENT_DTYPE)
    events["t"] = np.arange(40_000)
    segment = Segment("a", 0, -1, 0, 40_000, events)
    kept = corrupted(segment, Corruption("drop", 0.4), (1, 1, 2), 0).events
    histogram = np.bincount(np.bincount(kept["t"] // 4, minlength=10_000), minlength=5)
    expected = 10_000 * np.array([1, 4, 6, 4, 1]) * 0.6 ** np.arange(5) * 0.4 ** np.arange(4, -1, -1)
    assert ((histogram - expected) ** 2 / expected).sum() < 25  # chi-squared, 4 degrees of freedom


def test_names_and_seeds_and_kinds_draw_apart():
    segment = Segment("a", 0, -1, *SPAN, rows(*[(0, 0, 1000 + t, 0) for t in range(200)]))
    half = Corruption("drop", 0.5)
    kept = [
        corrupted(t, half, SENSOR, seed).events["t"].tolist()
        for t, seed in ((segment, 0), (replace(segment, name="b"), 0), (segment, 1))
    ]
    assert kept[0] != kept[1] and kept[0] != kept[2] and kept[1] != kept[2]
    mirrored = corrupted(segment, Corruption("flip", 0.5), SENSOR, 0).events
    assert mirrored["t"][mirrored["p"] == 0].tolist() != kept[0]


@given(corruptions)
def test_text_is_read_back(corruption):
    assert Corruption.parse(str(corruption)) == corruption


@pytest.mark.parametrize("kind", KINDS)
def test_the_examples_are_read(kind):
    assert str(Corruption.parse(KINDS[kind].example)) == KINDS[kind].example


@pytest.mark.parametrize(("text", "message"), [
    ("drop", "corruption 'drop': names no level. Write kind and level, as in drop:0.3, hot_pixels:5, jitter:2ms, noise:1Hz, flip:0.5."),
    ("dorp", "corruption 'dorp': names no level. Did you mean 'drop'? Write kind and level, as in drop:0.3, hot_pixels:5, jitter:2ms, noise:1Hz, flip:0.5."),
    ("snow", "corruption 'snow': names no level. Write kind and level, as in drop:0.3, hot_pixels:5, jitter:2ms, noise:1Hz, flip:0.5."),
    ("hotpixels:5", "corruption 'hotpixels:5': kind 'hotpixels' is unknown. Did you mean 'hot_pixels'? Allowed: drop, hot_pixels, jitter, noise, flip."),
    ("jitter:2", "corruption 'jitter:2': the level must be a number in ms, as in jitter:2ms (standard deviation of the events' times)."),
    ("jitter:2us", "corruption 'jitter:2us': the level must be a number in ms, as in jitter:2ms (standard deviation of the events' times)."),
    ("noise:1hz", "corruption 'noise:1hz': the level must be a number in Hz, as in noise:1Hz (background noise of each pixel)."),
    ("drop:30%", "corruption 'drop:30%': the level must be a number without a unit, as in drop:0.3 (probability that an event is lost)."),
    ("drop:nan", "corruption 'drop:nan': the level must be a number without a unit, as in drop:0.3 (probability that an event is lost)."),
    ("drop:-0.1", "corruption 'drop:-0.1': the level must be a number without a unit, as in drop:0.3 (probability that an event is lost)."),
    ("drop:0.1:2", "corruption 'drop:0.1:2': the level must be a number without a unit, as in drop:0.3 (probability that an event is lost)."),
    ("drop:", "corruption 'drop:': the level must be a number without a unit, as in drop:0.3 (probability that an event is lost)."),
    ("drop:1.5", "corruption 'drop:1.5': the level (probability that an event is lost) is outside 0 to 1."),
    ("noise:1000Hz", "corruption 'noise:1000Hz': the level (background noise of each pixel) is outside 0 to 100Hz."),
    ("hot_pixels:2.5", "corruption 'hot_pixels:2.5': a number of pixels must be whole, as in hot_pixels:5."),
])  # fmt: skip
def test_a_text_that_names_no_corruption_is_refused(text, message):
    with pytest.raises(InputError) as caught:
        Corruption.parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(("kind", "level", "message"), [
    ("dropp", 0.1, "corruption 'dropp': unknown. Did you mean 'drop'? Allowed: drop, hot_pixels, jitter, noise, flip."),
    ("drop", -0.1, "corruption 'drop:-0.1': the level (probability that an event is lost) is outside 0 to 1."),
    ("drop", float("nan"), "corruption 'drop:nan': the level (probability that an event is lost) is outside 0 to 1."),
])  # fmt: skip
def test_a_record_out_of_range_is_refused(kind, level, message):
    with pytest.raises(InputError) as caught:
        Corruption(kind, level)
    assert str(caught.value) == message


def test_more_hot_pixels_than_pixels_are_refused():
    segment = Segment("a", 0, -1, *SPAN, THREE)
    with pytest.raises(InputError) as caught:
        corrupted(segment, Corruption("hot_pixels", 25), SENSOR, 0)
    assert str(caught.value) == "corruption 'hot_pixels:25': the sensor has 24 pixels."


@pytest.fixture
def root(tmp_path):
    nmnist_tree(tmp_path / "nmnist")
    return tmp_path


def dense(data):
    return data.frames.dense()


def test_corrupted_frames_are_the_same_recordings_with_the_corrupted_counts(root):
    clean = load_dataset("nmnist", "test", root=root)
    same = corrupted_frames(clean, "nmnist", "test", Corruption("drop", 0), root=root)
    assert np.array_equal(dense(same), dense(clean))
    assert (
        same.names == clean.names
        and np.array_equal(same.labels, clean.labels)
        and np.array_equal(same.seconds, clean.seconds)
    )
    assert same.data_hash != clean.data_hash
    mirrored = corrupted_frames(clean, "nmnist", "test", Corruption("flip", 1), root=root)
    assert np.array_equal(dense(mirrored), dense(clean)[:, :, ::-1])
    empty = corrupted_frames(clean, "nmnist", "test", Corruption("drop", 1), root=root)
    assert len(empty) == 40 and len(empty.frames.count) == 0


def test_lost_last_events_leave_the_other_events_in_their_bins(root):
    # each recording has events at 10 and 400 us: bins 0 and 9 of ten, whatever is lost
    clean = load_dataset("nmnist", "test", root=root)
    worse = dense(corrupted_frames(clean, "nmnist", "test", Corruption("drop", 0.5), root=root))
    kept = worse.sum(axis=(2, 3, 4))
    assert {tuple(row) for row in kept[:, [0, 9]].tolist()} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert kept[:, 1:9].sum() == 0


@pytest.mark.parametrize("text", [KINDS[kind].example for kind in KINDS])
def test_neither_subset_nor_order_nor_folder_changes_a_recording(root, tmp_path_factory, text):
    corruption = Corruption.parse(text)
    clean = load_dataset("nmnist", "train", root=root)
    whole = corrupted_frames(clean, "nmnist", "train", corruption, root=root, seed=3)
    chosen = [7, 2, 29, 2]
    part = corrupted_frames(clean.select(chosen), "nmnist", "train", corruption, root=root, seed=3)
    assert np.array_equal(dense(part), dense(whole)[chosen]) and part.names == clean.select(chosen).names
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(root / "nmnist", elsewhere / "nmnist")
    moved = corrupted_frames(clean, "nmnist", "train", corruption, root=elsewhere, seed=3)
    assert np.array_equal(dense(moved), dense(whole)) and moved.data_hash == whole.data_hash
    other = corrupted_frames(clean, "nmnist", "train", corruption, root=root, seed=4)
    assert other.data_hash != whole.data_hash


def test_gestures_are_corrupted_within_their_own_spans(tmp_path):
    gesture_folder(tmp_path / "dvsgesture", times=(10, 20, 30, 40))
    clean = load_dataset("dvsgesture", "test", root=tmp_path, time_bins=2)
    assert clean.names == ("user07_led.aedat@10-30us", "user07_led.aedat@30-50us")
    second = clean.select([1])
    seen = []
    mirrored = corrupted_frames(
        second, "dvsgesture", "test", Corruption("flip", 1), root=tmp_path, progress=lambda *n: seen.append(n)
    )
    assert np.array_equal(dense(mirrored), dense(clean)[1:, :, ::-1]) and seen == [(1, 1)]
    # 20 us at 100 Hz: a hot pixel fires once or not at all; 16,384 of them do at a fifth of a percent
    hot = corrupted_frames(second, "dvsgesture", "test", Corruption("hot_pixels", 16_384), root=tmp_path)
    added = dense(hot).astype(int).sum() - dense(second).astype(int).sum()
    assert 0 < added < 100


def test_a_recording_that_is_gone_or_damaged_is_named(root):
    clean = load_dataset("nmnist", "test", root=root)
    path = root / "nmnist" / "Test" / "4" / "00002.bin"
    path.write_bytes(b"1234567")
    with pytest.raises(InputError, match=r"00002.bin: offset 5: truncated"):
        corrupted_frames(clean, "nmnist", "test", Corruption("drop", 0.1), root=root)
    path.unlink()
    with pytest.raises(InputError) as caught:
        corrupted_frames(clean, "nmnist", "test", Corruption("drop", 0.1), root=root)
    assert str(caught.value) == (
        "data set 'nmnist': recording Test/4/00002.bin is not there (any more). Load the clean frames of the test "
        "split again, from the same folder."
    )
    corrupted_frames(clean.select([0]), "nmnist", "test", Corruption("drop", 0.1), root=root)


def test_empty_recordings_can_be_counted():
    per_bin, index, count = count_events(rows(), SENSOR, (6, 4), 3, *SPAN)
    assert per_bin.tolist() == [0, 0, 0] and len(index) == len(count) == 0
