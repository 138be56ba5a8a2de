"""The ways to divide a recording into bins: by its own duration, by a fixed window, by the number of events."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from sastdeploy import InputError, Preprocessing, load_checkpoint, load_dataset, load_program
from sastdeploy.cli.main import cli
from sastdeploy.recordings.binning import bin_segments
from sastdeploy.recordings.corrupted_frames import corrupted_frames
from sastdeploy.recordings.corruption import Corruption
from sastdeploy.recordings.events import EVENT_DTYPE, Segment
from tests.own_recordings import class_folders, events


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def segment(times, start=0):
    made = np.zeros(len(times), EVENT_DTYPE)
    made["t"] = times
    return Segment("a", 0, -1, start, int(times[-1]) + 1, made)


def per_bin(part, time_bins, events_per_bin=None):
    frames = bin_segments([part], (1, 1, 2), (1, 1), time_bins, events_per_bin)
    return frames.dense()[0].sum(axis=(1, 2, 3)).tolist()


def test_bins_by_hand():
    times = [0, 10, 11, 12, 49, 50, 99, 400]
    assert per_bin(segment(times), 4) == [7, 0, 0, 1]
    assert per_bin(segment(times).within(100), 4) == [4, 1, 1, 1]  # 100 us end with the event at 99
    assert per_bin(segment(times).within(100, fixed=True), 4) == [4, 1, 1, 1]
    assert per_bin(segment(times[:5]).within(100), 4) == [4, 0, 0, 1]  # 49 us of its own
    assert per_bin(segment(times[:5]).within(100, fixed=True), 4) == [4, 1, 0, 0]
    assert per_bin(segment(times), 3, 2) == [2, 2, 2]
    assert per_bin(segment(times), 3, 3) == [3, 3, 2]
    assert per_bin(segment(times), 3, 100) == [8, 0, 0]
    assert (segment(times).first(6).stop_us, len(segment(times).first(6).events)) == (51, 6)
    assert segment(times).first(8).stop_us == segment(times).first(None).stop_us == 401


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 9), st.integers(1, 30))
def test_bins_of_events_hold_as_many(seed, count, time_bins, most):
    frames = bin_segments([segment(events(seed, count)["t"])], (12, 10, 2), (12, 10), time_bins, most)
    left = np.clip(count - most * np.arange(time_bins), 0, most)
    assert frames.dense()[0].sum(axis=(1, 2, 3)).tolist() == left.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"binning": "time"}, "binning 'time': unknown. Allowed: duration, window, events."),
        ({"binning": "window"}, "binning 'window': needs the length of the window (--window)."),
        ({"binning": "events"}, "binning 'events': needs a number of events per bin; it belongs to 'events' (--binning events --events-per-bin N)."),
        ({"events_per_bin": 5}, "binning 'duration': takes no number of events per bin; it belongs to 'events' (--binning events --events-per-bin N)."),
        ({"binning": "events", "events_per_bin": 0}, "events_per_bin 0: outside 1 to 10,000,000."),
        ({"window_us": 0}, "window_us 0: outside 1 to 86400000000 (one day)."),
    ],
)  # fmt: skip
def test_a_way_without_what_it_needs_is_refused(options, message):
    class_folders(Path("mine"))
    for refused in (
        lambda: Preprocessing((12, 10, 2), (12, 10), **options),
        lambda: load_dataset("mine", "train", **options),
    ):
        with pytest.raises(InputError) as caught:
            refused()
        assert str(caught.value) == message


def test_a_record_states_its_way_only_where_it_is_not_the_usual_one():
    usual = Preprocessing((12, 10, 2), (12, 10))
    assert set(usual.to_dict()) == {"sensor_size", "frame_size", "time_bins", "c_clip", "divisor", "normalisation"}  # fmt: skip
    for way in (
        usual,
        Preprocessing((12, 10, 2), (12, 10), window_us=5, binning="window"),
        Preprocessing((12, 10, 2), (12, 10), binning="events", events_per_bin=7),
    ):
        assert Preprocessing.from_dict(json.loads(json.dumps(way.to_dict()))) == way
    with pytest.raises(InputError, match="a value has the wrong type"):
        Preprocessing.from_dict({**usual.to_dict(), "binning": "events", "events_per_bin": 7.0})


def test_frames_say_how_they_were_binned_and_each_way_has_its_cache():
    class_folders(Path("mine"))
    plain = load_dataset("mine", "train")
    counted = load_dataset("mine", "train", binning="events", events_per_bin=3)
    fixed = load_dataset("mine", "train", window_us=20_000, binning="window")
    cut = load_dataset("mine", "train", window_us=20_000)
    assert (plain.binning, plain.events_per_bin) == ("duration", None)
    assert (counted.binning, counted.events_per_bin) == ("events", 3)
    assert (fixed.binning, fixed.window_us) == ("window", 20_000)
    assert (counted.frames.dense().sum(axis=(2, 3, 4)) == 3).all()
    assert np.allclose(fixed.seconds, 0.02) and cut.seconds.max() < 0.02
    assert len({each.data_hash for each in (plain, counted, fixed, cut)}) == 4
    for clean in (counted, fixed, cut):
        same = corrupted_frames(clean, "mine", "train", Corruption("drop", 0))
        assert np.array_equal(same.frames.dense(), clean.frames.dense())


@pytest.mark.parametrize(
    ("words", "kept", "shown"),
    [
        (["--binning", "events", "--events-per-bin", "4"], {"binning": "events", "events_per_bin": 4}, "bins of 4 events"),
        (["--binning", "window", "--window", "20"], {"binning": "window", "window_us": 20_000}, "bins of the window"),
    ],
)  # fmt: skip
def test_a_network_and_its_program_follow_the_way_that_it_was_trained_with(words, kept, shown):
    class_folders(Path("mine"), count=8)
    Path("net.yaml").write_text("name: net\nlayers: [{kind: dense, neurons: 8}]\n")

    def run(*call):
        result = CliRunner().invoke(cli, list(call), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    run("train", "--dataset", "mine", "--arch", "net.yaml", "--epochs", "1", "--init", "alive", "--out", "n.pt", "--kernels", "torch", *words)  # fmt: skip
    stated = load_checkpoint("n.pt").preprocessing
    assert kept.items() <= stated.to_dict().items() and shown in run("inspect", "n.pt")
    run("compile", "n.pt", "--profile", "loihi_int8")
    program = load_program("n.loihi_int8.onnx")
    assert program.preprocessing == stated
    first = json.loads(run("simulate", "n.loihi_int8.onnx", "--split", "train", "--engine", "reference", "--json"))  # fmt: skip
    assert first["provenance"]["data_hash"] == load_dataset("mine", "train", **stated.bins).data_hash
    alone = json.loads(run("simulate", "n.loihi_int8.onnx", "--recording", "mine/left/000.npy", "--engine", "reference", "--json"))  # fmt: skip
    train = load_dataset("mine", "train", **stated.bins)
    if "left/000.npy" in train.names:
        from sastdeploy import simulate

        n = train.names.index("left/000.npy")
        scores = simulate(program, train.frames.select(slice(n, n + 1)), engine="reference").scores[0]
        assert list(alone["scores"].values()) == scores.tolist()
