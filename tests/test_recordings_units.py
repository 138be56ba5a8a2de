"""Recordings in other units, orders and time windows than expected: read as stated, or pointed out."""

import json
from pathlib import Path

import numpy as np
import pytest

from sastdeploy.errors import InputError
from sastdeploy.program.file import load_program, save_program
from sastdeploy.recordings.events import Segment
from sastdeploy.recordings.nmnist import nmnist_bytes
from sastdeploy.recordings.npy import parse_array, parse_columns
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.recordings.reading import read_recording
from sastdeploy.recordings.splits import load_dataset
from sastdeploy.simulator.recording import simulate_recording
from tests.command_line import cli
from tests.digits import digits_program
from tests.recording_files import NMNIST, as_npy, digit, digits_folder, events_of, npy


@pytest.mark.parametrize(("factor", "kind", "unit"), [
    (1, np.int64, "us"), (1, np.float64, "us"), (1000, np.float64, "ms"), (1_000_000, np.float64, "s"),
])  # fmt: skip
def test_the_unit_is_guessed_from_the_range_or_stated(tmp_path, factor, kind, unit):
    events = digit()
    path = npy(tmp_path / "a.npy", as_npy(events, factor=factor, kind=kind))
    read = read_recording(path, NMNIST)
    stated = read_recording(path, NMNIST, unit=unit)
    if (factor, unit) == (1000, "ms"):
        # Fractions of a millisecond that last under a minute look like seconds only below 60.
        assert read.unit == "ms"
    assert (read.unit, read.guessed, stated.guessed) == (unit, True, False)
    assert read.events.tolist() == stated.events.tolist() == events.tolist()


def test_structured_arrays_are_read_by_name(tmp_path):
    events = digit()
    for names, t_kind in (
        (("t", "x", "y", "p"), "<i8"),
        (("timestamp", "polarity", "y", "x"), "<u4"),
        (("x", "y", "t", "p", "z"), "<f8"),
    ):
        fields = {"timestamp": "t", "polarity": "p"}
        made = np.zeros(
            len(events),
            [
                (n, t_kind if fields.get(n, n) == "t" else "?" if fields.get(n, n) == "p" else "<i2")
                for n in names
            ],
        )
        for n in names:
            if n != "z":
                made[n] = events[fields.get(n, n)]
        read = read_recording(npy(tmp_path / "a.npy", made), NMNIST)
        assert read.events.tolist() == events.tolist() and read.unit == "us"
    with pytest.raises(
        InputError, match=r"expected an array \[events\] with fields x, y, t, p of plain numbers"
    ):
        parse_array(np.zeros(3, [("x", int), ("y", int), ("t", int)]), "a.npy", NMNIST)


def test_columns_in_another_order_are_stated(tmp_path, capsys):
    events = digit()
    path = npy(tmp_path / "a.npy", as_npy(events, "txyp", kind=np.int64))
    with pytest.raises(InputError) as caught:
        read_recording(path, NMNIST)
    assert str(caught.value) == (
        f"{path}: event 0: a value is not finite, negative, or no pixel, polarity or time (x {events['t'][0]}, y "
        f"{events['x'][0]}, t {events['p'][0]}, p {events['y'][0]}), read as columns x, y, p, t. "
        "State another order with --columns, as in --columns xytp, or get the file again."
    )
    assert read_recording(path, NMNIST, columns="txyp").events.tolist() == events.tolist()
    code, out, _ = cli(
        capsys, "data", "show", path, "--columns", "t,x,y,p", "--json", "--out", tmp_path / "a.png"
    )
    assert code == 0 and json.loads(out)["last_us"] == 300_000 and json.loads(out)["unit"] == "us"
    with pytest.raises(InputError, match=r"columns 'xxtp': name x, y, t and p once each"):
        parse_columns("xxtp")


def test_a_polarity_of_minus_one_is_off():
    events, _ = parse_array(np.array([[1, 2, -1, 5], [1, 2, 1, 6]]), "a", NMNIST)
    assert events["p"].tolist() == [0, 1]


def test_options_of_npy_files_are_refused_for_others(tmp_path):
    (tmp_path / "a.bin").write_bytes(nmnist_bytes(digit()))
    with pytest.raises(
        InputError,
        match=r"a.bin: unit and columns can be stated for .npy, .npz, .csv, .txt, .h5, .hdf5 files only",
    ):
        read_recording(tmp_path / "a.bin", unit="ms")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_program("net.onnx", digits_program())
    Path("a.bin").write_bytes(nmnist_bytes(digit()))
    return tmp_path


def test_the_same_events_give_the_same_answer_in_every_form(here, capsys):
    events = digit()
    events["t"] = 20_000 + events["t"] * 28 // 30
    Path("a.bin").write_bytes(nmnist_bytes(events))
    np.save("us.npy", as_npy(events, kind=np.int64))
    np.save("s.npy", as_npy(events, factor=1e6))
    answers = {}
    for name in ("a.bin", "us.npy", "s.npy"):
        for begin in ([], ["--begin", "first-event"]):
            code, out, err = cli(capsys, "simulate", "net.onnx", "--recording", name, "--json", *begin)
            answer = json.loads(out)
            assert code == 0 and answer["begin"] == (begin[1] if begin else "zero")
            answers[name, len(begin)] = (answer["scores"], answer["spikes"], answer["synops"])
            if name == "us.npy" and not begin:
                assert f"{name}: times in us (a guess; state it with --unit), 0.280 s of events; bins begin at the file's time 0" in err  # fmt: skip
    assert answers["a.bin", 0] == answers["us.npy", 0] == answers["s.npy", 0]
    assert answers["a.bin", 2] == answers["us.npy", 2] != answers["a.bin", 0]


def test_microseconds_taken_for_milliseconds_are_warned_of(here, capsys):
    np.save("us.npy", as_npy(digit(), kind=np.int64))
    code, _, err = cli(capsys, "simulate", "net.onnx", "--recording", "us.npy", "--unit", "ms")
    assert code == 0
    assert "us.npy: WARNING: lasts 300 s; " in err and "was trained on recordings of 0.3 s" in err
    code, _, err = cli(capsys, "simulate", "net.onnx", "--recording", "us.npy")
    assert code == 0 and "WARNING" not in err


def test_one_late_event_is_warned_of_and_left_out_by_a_window(here, capsys):
    late = np.concatenate([digit(), events_of([(1, 1, 3_000_000, 1)])])
    Path("late.bin").write_bytes(nmnist_bytes(late))
    plain = json.loads(cli(capsys, "simulate", "net.onnx", "--recording", "a.bin", "--json")[1])
    code, out, err = cli(capsys, "simulate", "net.onnx", "--recording", "late.bin", "--json")
    assert (
        code == 0 and "late.bin: WARNING: lasts 3 s; " in err and "was trained on recordings of 0.3 s" in err
    )
    assert json.loads(out)["synops"] != plain["synops"]
    code, out, err = cli(
        capsys, "simulate", "net.onnx", "--recording", "late.bin", "--json", "--window", "400"
    )
    answer = json.loads(out)
    assert code == 0 and "WARNING" not in err
    assert (answer["scores"], answer["synops"], answer["window_us"]) == (
        plain["scores"],
        plain["synops"],
        400_000,
    )
    code, _, err = cli(capsys, "simulate", "net.onnx", "--window", "400")
    assert code == 2 and "say how --recording is read" in err


def test_a_window_is_part_of_the_preprocessing_of_checkpoint_program_and_cache(tmp_path):
    from dataclasses import replace

    plain = Preprocessing(NMNIST, (34, 34), 10, 2, 2.0)
    assert "window_us" not in plain.to_dict() and Preprocessing.from_dict(plain.to_dict()) == plain
    windowed = replace(plain, window_us=400_000)
    assert (
        windowed.to_dict()["window_us"] == 400_000 and Preprocessing.from_dict(windowed.to_dict()) == windowed
    )
    for wrong in (0, -1, 10**12, 1.5, "4", None):
        with pytest.raises(InputError):
            Preprocessing.from_dict({**plain.to_dict(), "window_us": wrong})
    program = replace(digits_program(), preprocessing=windowed)
    save_program(tmp_path / "w.onnx", program)
    assert load_program(tmp_path / "w.onnx").preprocessing == windowed

    late = np.concatenate([digit(), events_of([(1, 1, 3_000_000, 1)])])
    (tmp_path / "late.bin").write_bytes(nmnist_bytes(late))
    (tmp_path / "a.bin").write_bytes(nmnist_bytes(digit()))
    spikes = [
        simulate_recording(program, tmp_path / name)[0].spikes.tolist() for name in ("late.bin", "a.bin")
    ]
    assert spikes[0] == spikes[1]

    folder = digits_folder(tmp_path / "nmnist")
    whole = load_dataset("nmnist", "test", root=tmp_path)
    (folder / "Test" / "0" / "00000.bin").write_bytes(
        nmnist_bytes(np.concatenate([digit(seed=0), late[-1:]]))
    )
    changed = load_dataset("nmnist", "test", root=tmp_path)
    cut = load_dataset("nmnist", "test", root=tmp_path, window_us=400_000)
    dense = [frames.frames.dense() for frames in (whole, changed, cut)]
    assert np.array_equal(dense[0], dense[2]) and not np.array_equal(dense[0], dense[1])
    from sastdeploy.training.fit import find_preprocessing

    assert find_preprocessing(cut.select(slice(3))).window_us == 400_000
    assert find_preprocessing(whole).window_us is None


def test_a_window_by_hand():
    segment = Segment("a", 0, -1, 100, 1000, events_of([(0, 0, 100, 1), (0, 0, 299, 1), (0, 0, 300, 1)]))
    cut = segment.within(200)
    assert (cut.start_us, cut.stop_us, cut.events["t"].tolist()) == (100, 300, [100, 299])
    assert segment.within(None) is segment and segment.within(900) is segment
    with pytest.raises(InputError, match=r"a: holds no event in the window of 0.05 ms after its start"):
        Segment("a", 0, -1, 0, 301, segment.events).within(50)
