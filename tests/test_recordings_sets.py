"""Data sets as people really have them: damaged caches, labels, parts of a set, other people's archives."""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from sastdeploy._files import atomic
from sastdeploy.cli import main as main_module
from sastdeploy.errors import InputError
from sastdeploy.program.file import save_program
from sastdeploy.recordings import splits
from sastdeploy.recordings.binning import bin_events, bin_segments
from sastdeploy.recordings.check import check_dataset
from sastdeploy.recordings.dvsgesture import list_gestures, read_gestures
from sastdeploy.recordings.nmnist import list_nmnist, nmnist_bytes, read_nmnist
from sastdeploy.recordings.splits import load_dataset
from tests.command_line import cli
from tests.digits import digits_program
from tests.recording_files import digit, digits_folder, events_of, gestures_folder, zip_of


@pytest.mark.parametrize("name", ["sums.json", "verified.json", "meta.json"])
@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"[]", b"{}"])
def test_a_cache_of_damaged_json_is_binned_anew(tmp_path, name, content):
    digits_folder(tmp_path / "nmnist")
    first = load_dataset("nmnist", "test", root=tmp_path)
    (folder,) = (p for p in (tmp_path / ".frames").iterdir() if p.is_dir())
    (folder / name).write_bytes(content)
    again = load_dataset("nmnist", "test", root=tmp_path)
    assert again.data_hash == first.data_hash and again.names == first.names


@pytest.mark.parametrize(("name", "content", "reason"), [
    ("labels.npy", np.int64([3]), r"int64 \[1\] for 30 recordings"),
    ("labels.npy", np.full(30, 10), "labels that number no class of 10"),
    ("groups.npy", np.zeros((0, 4), np.int64), r"int64 \[0, 4\] for 30 recordings"),
    ("seconds.npy", np.full(30, "a"), r"<U1 \[30\] for 30 recordings"),
    ("indptr.npy", np.arange(5), "indptr.npy does not number the entries of 300 bins"),
    ("indptr.npy", np.zeros(301, np.int64), "5,972 inputs and 5,972 counts for 0 entries"),
    ("meta.json", {"names": [1]}, "texts that are none"),
    ("meta.json", {"data_hash": None}, "texts that are none"),
])  # fmt: skip
def test_a_cache_whose_sums_fit_and_whose_parts_do_not_is_refused(tmp_path, name, content, reason):
    digits_folder(tmp_path / "nmnist")
    assert len(load_dataset("nmnist", "test", root=tmp_path)) == 30
    (folder,) = (p for p in (tmp_path / ".frames").iterdir() if p.is_dir())
    if isinstance(content, dict):
        changed = json.loads((folder / name).read_text()) | content
        (folder / name).write_text(json.dumps(changed))
    else:
        np.save(folder / name, content)
    sums = json.loads((folder / "sums.json").read_text())
    sums[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "sums.json").write_text(json.dumps(sums))
    with pytest.raises(
        InputError, match=f"is no valid frame cache .{reason}.. Remove this folder, and repeat"
    ):
        load_dataset("nmnist", "test", root=tmp_path)


def test_json_of_a_data_set_that_nests_without_end_is_refused(tmp_path):
    digits_folder(tmp_path / "nmnist")
    (tmp_path / "nmnist" / "simulated.json").write_bytes(b"[" * 100_000)
    with pytest.raises(InputError, match=r"simulated.json: is no valid JSON"):
        check_dataset("nmnist", tmp_path)


def test_a_pipe_in_a_cache_is_a_damaged_cache(tmp_path):
    digits_folder(tmp_path / "nmnist")
    first = load_dataset("nmnist", "test", root=tmp_path)
    (folder,) = (p for p in (tmp_path / ".frames").iterdir() if p.is_dir())
    (folder / "index.bin").unlink()
    os.mkfifo(folder / "index.bin")
    messages = []
    again = load_dataset("nmnist", "test", root=tmp_path, say=messages.append)
    assert again.data_hash == first.data_hash and "index.bin: is not a regular file" in messages[0]


def test_a_full_disk_or_a_read_only_folder_while_frames_are_kept_is_told(tmp_path, monkeypatch):
    digits_folder(tmp_path / "nmnist")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", full)
        with pytest.raises(
            InputError, match=r"the frames cannot be kept there \(No space left on device\)\. Make room"
        ):
            load_dataset("nmnist", "test", root=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(atomic.tempfile, "mkdtemp", full)
        with pytest.raises(InputError, match="the frames cannot be kept there"):
            load_dataset("nmnist", "test", root=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(
            Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(OSError(30, "Read-only file system"))
        )
        with pytest.raises(InputError, match=r"the frames cannot be kept there \(Read-only file system\)"):
            load_dataset("nmnist", "test", root=tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
def test_names_that_are_no_text_are_shown_escaped(tmp_path, capsysbinary, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"a\xff\x1b.bin")
    Path(name).write_bytes(nmnist_bytes(digit()))
    for arguments in (["data", "show", name], ["data", "show", name, "--json", "--out", "b.png"]):
        with pytest.raises(SystemExit) as stop:
            main_module.main(arguments)
        assert stop.value.code == 0
        assert b"\x1b.bin" not in capsysbinary.readouterr().out
    folder = digits_folder(tmp_path / "nmnist")
    os.replace(name, folder / "Test" / "3" / name)
    frames = load_dataset("nmnist", "test", root=tmp_path)
    assert "Test/3/a\\udcff\\x1b.bin" in frames.names


def gesture_program():
    return digits_program(3, "dvsgesture-sim", (2, 48, 48), 11)


def test_labelled_gestures_have_an_answer_each(tmp_path, monkeypatch, capsys):
    from dataclasses import replace

    monkeypatch.chdir(tmp_path)
    made = gesture_program()
    preprocessing = replace(made.preprocessing, sensor_size=(128, 128, 2), frame_size=(48, 48))
    program = replace(made, preprocessing=preprocessing)
    save_program("net.onnx", program)
    folder = gestures_folder(tmp_path / "g")
    code, out, err = cli(
        capsys, "simulate", "net.onnx", "--recording", folder / "user07_led.aedat", "--json", "--out", "res"
    )
    assert code == 0, err
    answer = json.loads(out)
    assert answer["schema"] == "sastdeploy.gestures/1" and "one answer for each of 2 labelled gestures" in err
    spans = [
        (part["label"], part["start_us"], part["stop_us"], part["events"]) for part in answer["gestures"]
    ]
    assert spans == [("hand_clapping", 0, 2_000_000, 40), ("right_hand_wave", 2_000_000, 4_000_000, 40)]
    with np.load("res/recordings.npz") as arrays:
        assert [name.rsplit("@")[1] for name in arrays["names"]] == ["0-2000000us", "2000000-4000000us"]
    # Each is what the data set's frames of that gesture give.
    from sastdeploy.simulator import engine

    frames = bin_segments(list(read_gestures(folder / "user07_led.aedat")), (128, 128, 2), (48, 48), 10)
    result = engine.run(program, frames, engine="reference")
    assert [part["predicted_index"] for part in answer["gestures"]] == result.predicted.tolist()
    assert [part["synops"]["total"] for part in answer["gestures"]] == result.synops.sum(1).tolist()
    assert answer["correct"] == sum(part["correct"] for part in answer["gestures"])
    code, out, _ = cli(capsys, "simulate", "net.onnx", "--recording", folder / "user07_led.aedat")
    assert code == 0 and "right_hand_wave" in out and "of 2 labelled gestures correct" in out
    code, out, _ = cli(
        capsys,
        "simulate",
        "net.onnx",
        "--recording",
        folder / "user07_led.aedat",
        "--begin",
        "zero",
        "--json",
    )
    assert json.loads(out)["schema"] == "sastdeploy.recording/1" and json.loads(out)["begin"] == "zero"


def test_a_part_of_a_data_set_is_not_called_whole(tmp_path, capsys):
    digits_folder(tmp_path / "nmnist", digits=range(9))
    code, out, err = cli(capsys, "data", "check", "nmnist", "--data", tmp_path)
    assert code == 3
    assert "54 good recordings" in out and "0 bad files" in out
    assert "27 training and 27 test recordings are good; published are 60,000 and 10,000." in out
    assert "No training recording of class 9." in out and "No test recording of class 9." in out
    assert "data set 'nmnist': is incomplete, as listed above." in err


def test_a_made_set_is_compared_with_its_own_manifest(tmp_path, capsys):
    cli(
        capsys,
        "data",
        "make",
        "nmnist-sim",
        "--data",
        tmp_path,
        "--train",
        20,
        "--test",
        10,
        "--processes",
        1,
    )
    check = ("data", "check", "nmnist-sim", "--data", tmp_path)
    assert cli(capsys, *check)[0] == 0
    four = next((tmp_path / "nmnist-sim" / "Test" / "4").iterdir())
    whole = four.read_bytes()
    four.unlink()
    code, out, _ = cli(capsys, *check)
    assert code == 3 and "20 training and 9 test recordings are good; made are 20 and 10." in out
    assert "No test recording of class 4." in out
    # What is missing is made again, with the same bytes.
    manifest = (tmp_path / "nmnist-sim" / "simulated.json").read_bytes()
    make = ("data", "make", "nmnist-sim", "--data", tmp_path, "--train", 20, "--test", 10, "--processes", 1)
    assert cli(capsys, *make)[0] == 0 and four.read_bytes() == whole
    assert (tmp_path / "nmnist-sim" / "simulated.json").read_bytes() == manifest
    # A recording that lost whole events can be read, and is not the one that was made.
    four.write_bytes(whole[:-5])
    code, out, err = cli(capsys, *check)
    assert code == 3 and "0 bad files" in out
    remedy = "and make the set again ('sastdeploy data make nmnist-sim --seed 0 --train 20 --test 10').\n"
    assert "its recordings are not those that were made (their SHA-256 is another). Remove " in err
    assert err.endswith(remedy)
    next((tmp_path / "nmnist-sim" / "Test" / "3").iterdir()).unlink()
    for _ in range(2):  # and stays refused, by readers too
        code, _, err = cli(capsys, *make)
        assert code == 3 and "its recordings are not those that were made (their SHA-256 is another)." in err
        assert (tmp_path / "nmnist-sim" / "simulated.json").read_bytes() == manifest
        assert "is not finished" in cli(capsys, *check)[2]


def test_a_manifest_that_is_none_is_named(tmp_path, capsys):
    make = ("data", "make", "nmnist-sim", "--data", tmp_path, "--train", 20, "--test", 10, "--processes", 1)
    cli(capsys, *make)
    for content in ("[]", '{"parameters": {}}'):
        (tmp_path / "nmnist-sim" / "simulated.json").write_text(content, "utf-8")
        code, _, err = cli(capsys, "data", "check", "nmnist-sim", "--data", tmp_path)
        assert code == 3 and "simulated.json: is not a manifest of a simulated set. Remove the folder" in err


def test_a_recording_far_above_the_median_is_pointed_out(tmp_path):
    folder = digits_folder(tmp_path / "nmnist")
    late = np.concatenate([digit(), events_of([(1, 1, 3_000_000, 1)])])
    (folder / "Train" / "0" / "00000.bin").write_bytes(nmnist_bytes(late))
    checked = check_dataset("nmnist", tmp_path)
    assert checked.seconds == pytest.approx((0.300001, 0.300001, 3.000001))
    assert checked.remarks == (
        "1 recordings last more than 2 times the median; --window leaves late events out.",
    )


def test_training_without_a_class_is_warned_of(tmp_path):
    digits_folder(tmp_path / "nmnist", digits=range(9))
    messages = []
    load_dataset("nmnist", "train", root=tmp_path, say=messages.append)
    assert messages == [
        "WARNING: data set 'nmnist': no training recording of class 9, so a network cannot learn it."
    ]


def test_what_macos_adds_is_left_out(tmp_path):
    folder = digits_folder(tmp_path / "nmnist")
    (folder / "Train" / "3" / "._00000.bin").write_bytes(b"\0\5\x16\7 no recording")
    assert len(list_nmnist(folder, "train")) == 30
    content = nmnist_bytes(digit())
    archive = [("Train/3/00001.bin", content), ("Train/3/._00001.bin", b"x"), ("__MACOSX/Train/3/._00001.bin", b"x"), ("__MACOSX/Train/3/00001.bin", b"x")]  # fmt: skip
    zip_of(tmp_path / "Train.zip", archive)
    assert [member for _, member in list_nmnist(tmp_path, "train")] == ["Train/3/00001.bin"]
    packed = tmp_path / "ibmGestureTrain" / "user03_natural"
    packed.mkdir(parents=True)
    np.save(packed / "4.npy", np.array([[1, 2, 1, 5]]))
    (packed / "._4.npy").write_bytes(b"x")
    assert [path.name for path, _ in list_gestures(tmp_path, "train")] == ["4.npy"]


def test_a_zip_with_backslashes_is_read(tmp_path):
    events = digit()
    zip_of(
        tmp_path / "Train.zip",
        [("Train\\7\\00001.bin", nmnist_bytes(events)), ("Train\\7\\._00001.bin", b"x")],
    )
    (item,) = list_nmnist(tmp_path, "train")
    (segment,) = read_nmnist(*item)
    assert segment.label == 7 and segment.events.tolist() == events.tolist()


def test_both_published_forms_of_dvs_gesture_are_listed(tmp_path, capsys):
    _, out, _ = cli(capsys, "data", "list", "--data", tmp_path, "--json")
    (facts,) = (entry for entry in json.loads(out)["datasets"] if entry["name"] == "dvsgesture")
    assert facts["recordings"] == [1176, 288] and facts["repacked"] == [1077, 264]
    assert all(
        file["url"].startswith("https://api.figshare.com/v2/file/download/") for file in facts["files"]
    )
    _, out, _ = cli(capsys, "data", "list", "--data", tmp_path)
    assert "1,176 + 288" in out and "1,077 + 264" in out


def test_a_sensor_of_one_polarity_counts_every_event_in_the_same_inputs():
    counts = bin_events(events_of([(0, 0, 0, 1), (0, 0, 9, 1)]), (1, 1, 1), (1, 1), 2)
    assert counts.reshape(-1).tolist() == [1, 1]


def test_the_hash_of_a_data_set_is_read_from_its_caches(tmp_path):
    digits_folder(tmp_path / "nmnist")
    parts = [load_dataset("nmnist", part, root=tmp_path).data_hash for part in ("train", "test")]
    assert splits.data_hash("nmnist", root=tmp_path) == "+".join(parts)
