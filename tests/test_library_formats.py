"""HDF5 and AEDAT 4, read by libraries in a process of their own: the same events, damaged files, and what is refused."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from sastdeploy._files import own_process
from sastdeploy.errors import InputError
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.reading import read_recording
from sastdeploy.recordings.splits import load_dataset
from tests.event_files import aedat4_bytes, hdf5_bytes
from tests.own_recordings import events
from tests.test_recorded_formats import made

AGAIN = "Get the file again."
PACKED = f"{AGAIN} Where its values are packed by a filter: pip install hdf5plugin."


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(name, content):
    Path(name).write_bytes(content)
    return name


def refusal(name):
    with pytest.raises(InputError) as caught:
        read_recording(name)
    return str(caught.value)


def hdf5(**datasets):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File("a.h5", "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return "a.h5"


def test_hdf5_holds_events_as_a_group_or_as_one_array():
    made_ = made(1)
    columns = {name: made_[name] for name in "xytp"}
    plain = np.stack([made_[name].astype(np.int64) for name in "xypt"], axis=1)
    for content in (
        {f"events__{name}": column for name, column in columns.items()} | {"t_offset": 7},
        {"xs": columns["x"], "ys": columns["y"], "timestamps": columns["t"], "Polarity": columns["p"]},
        {"CD__events": made_, "CD__indexes": np.arange(3)},
    ):
        recording = read_recording(hdf5(**content))
        assert np.array_equal(recording.events, made_) and (recording.unit, recording.guessed) == ("us", True)
    assert np.array_equal(read_recording(hdf5(davis__left__events=plain), unit="us").events, made_)
    assert np.array_equal(read_recording(hdf5(events=plain[:, [3, 0, 1, 2]]), unit="us", columns="txyp").events, made_)  # fmt: skip
    written("b.hdf5", hdf5_bytes(made_, compression="gzip"))
    assert np.array_equal(read_recording("b.hdf5").events, made_)


def test_hdf5_of_other_things_is_refused():
    numbers = np.arange(3)
    assert refusal(hdf5(left__x=numbers)) == (
        "a.h5: holds no events, but /, /left, /left/x. Expected a group with x, y, t and p, or an array 'events' of them."
    )
    twice = {f"{side}__{name}": numbers for side in ("left", "right") for name in "xytp"}
    assert refusal(hdf5(**twice)) == (
        "a.h5: holds events in 2 places (/left, /right); expected one group with x, y, t and p, or one array of events. Keep the "
        "events of one camera in a file."
    )
    assert refusal(hdf5(x=numbers, y=numbers, t=numbers, p=np.arange(4))) == (
        f"a.h5: x, y, t and p have 3, 3, 3, 4 values. {AGAIN}"
    )
    assert refusal(hdf5(x=["a"], y=numbers, t=numbers, p=numbers)) == (
        f"a.h5: is no valid HDF5 file of events (it holds texts or lists). {PACKED}"
    )
    assert refusal(hdf5(x=numbers, y=numbers, t=numbers, p=numbers)).startswith("a.h5: event 2: a value is not finite, negative, or no pixel")  # fmt: skip


def test_links_of_hdf5_are_not_followed():
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    written("b.h5", hdf5_bytes(made(1)))
    with h5py.File("a.h5", "w") as file:
        file["events"] = h5py.ExternalLink("b.h5", "/events")
        file["other/x"] = np.arange(3)
        for name in "ytp":
            file[f"other/{name}"] = h5py.SoftLink("/other/x")
    assert refusal("a.h5").startswith("a.h5: holds no events, but /, /other, /other/x. ")


@pytest.mark.parametrize("name", ["a.h5", "a.aedat4"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda library: None)
    written(name, b"x")
    library, extra = {"a.h5": ("h5py", "hdf5"), "a.aedat4": ("aedat", "aedat4")}[name]
    assert refusal(name) == (
        f"{name}: {Path(name).suffix} files are read by {library}, which is not installed. Install it: pip install 'sastdeploy[{extra}]'."
    )


def test_a_process_that_does_not_end_or_is_ended_makes_a_damaged_file(monkeypatch):
    pytest.importorskip("h5py", reason="h5py is not installed")
    written("a.h5", hdf5_bytes(made(1)))
    script = Path("ended.sh").resolve()
    # The processor's second can take long on a busy machine.
    for text, waiting, reason in (
        ("sleep 60", 2, "reading it did not end within 2 s"),
        ("while :; do :; done", 300, "reading it did not end within 1 s of processor time"),
        ("kill -9 $$", 300, "h5py fails on it"),
        ("exit 1", 300, "h5py fails on it"),
    ):
        script.write_text(f"#!/bin/sh\nexec 1>&- 2>&-\n{text.replace('sleep', 'exec sleep')}\n")
        script.chmod(0o755)
        monkeypatch.setattr(own_process.sys, "executable", str(script))
        monkeypatch.setattr(own_process, "MAX_SECONDS", 1.0)
        monkeypatch.setattr(own_process, "WAITING", waiting)
        assert refusal("a.h5") == f"a.h5: is damaged ({reason}). {AGAIN}"


def test_aedat4_is_read():
    pytest.importorskip("aedat", reason="aedat is not installed")
    made_ = made(2, 200)
    recording = read_recording(written("a.aedat4", aedat4_bytes(made_)))
    assert np.array_equal(recording.events, made_) and recording.sensor == (128, 128)
    for content, message in (
        (aedat4_bytes(made_, cameras=2), "holds the events of 2 cameras (streams: events, events); expected one. Record or export one camera."),
        (aedat4_bytes(made_)[:-9], f"is no valid AEDAT 4 file (failed to fill whole buffer). {AGAIN}"),
        (b"junk", f"is no valid AEDAT 4 file (failed to fill whole buffer). {AGAIN}"),
        (aedat4_bytes(made_, (64, 64)), "event 0: pixel (103, 5) lies outside the 64 x 64 sensor. Check that the file belongs to this data set."),
        (aedat4_bytes(made_[:0]), "holds no event. A recording needs at least one."),
    ):  # fmt: skip
        assert refusal(written("a.aedat4", content)) == f"a.aedat4: {message}"


def test_aedat4_under_another_name_is_told_its_own():
    written("a.aedat", b"#!AER-DAT4.0\r\n")
    assert refusal("a.aedat") == "a.aedat: is an AEDAT 4 file. Call it a.aedat4."


def test_a_real_aedat4_recording_is_read(shared_data):
    pytest.importorskip("aedat", reason="aedat is not installed")
    recording = read_recording(shared_data / "recordings" / "sample.aedat4")
    assert len(recording.events) == 111_954 and recording.sensor == (320, 240)
    assert recording.events[0].tolist() == (154, 204, 1605537493718345, 0) and round(recording.seconds, 6) == 0.589917  # fmt: skip


@pytest.mark.parametrize(("suffix", "library"), [(".h5", "h5py"), (".aedat4", "aedat")])
def test_a_folder_of_such_files_is_a_data_set(suffix, library):
    pytest.importorskip(library, reason=f"{library} is not installed")
    write = hdf5_bytes if library == "h5py" else aedat4_bytes
    for n, name in enumerate(("left", "right")):
        Path("mine", name).mkdir(parents=True)
        for k in range(3):
            written(f"mine/{name}/{k}{suffix}", write(events((n, k))))
    assert dataset("mine").sensor_size == ((12, 10, 2) if suffix == ".h5" else (128, 128, 2))
    assert load_dataset("mine", "train").frames.dense().sum() == 2 * 40
