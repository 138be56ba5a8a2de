"""Recordings as people really have them: odd files, other units and orders, damaged archives, parts of data sets."""

import hashlib
import io
import json
import os
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from test_cli_simulate import digits_program

from sastdeploy._files import atomic
from sastdeploy.cli import main as main_module
from sastdeploy.errors import InputError
from sastdeploy.program.file import load_program, save_program
from sastdeploy.recordings import splits
from sastdeploy.recordings.aedat31 import aedat31_bytes
from sastdeploy.recordings.binning import bin_events, bin_segments
from sastdeploy.recordings.check import check_dataset
from sastdeploy.recordings.dvsgesture import list_gestures, parse_labels, read_gestures
from sastdeploy.recordings.events import EVENT_DTYPE, LARGEST_RECORDING, Segment
from sastdeploy.recordings.nmnist import list_nmnist, nmnist_bytes, read_nmnist
from sastdeploy.recordings.npy import parse_array, parse_columns
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.recordings.reading import read_events, read_recording
from sastdeploy.recordings.splits import load_dataset
from sastdeploy.simulator.recording import simulate_recording

NMNIST = (34, 34, 2)
LABELS = "class,startTime_usec,endTime_usec\n"


def run(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main_module.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def events_of(rows):
    """Return events from (x, y, t in us, p)."""
    return np.array(rows, EVENT_DTYPE)


def digit(count=200, last_us=300_000, seed=0):
    rng = np.random.default_rng(seed)
    events = np.zeros(count, EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, 34, (2, count))
    events["t"] = np.sort(rng.integers(500, last_us, count))
    events["t"][0], events["t"][-1] = 100, last_us
    events["p"] = rng.integers(0, 2, count)
    return events


def digits_folder(folder, digits=range(10), each=3):
    for split in ("Train", "Test"):
        for label in digits:
            for number in range(each):
                path = folder / split / str(label) / f"{number:05d}.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(nmnist_bytes(digit(seed=10 * label + number)))
    return folder


def gestures_folder(folder, labels=LABELS + "1,0,2000000\n2,2000000,4000000\n", user="user07"):
    folder.mkdir(parents=True, exist_ok=True)
    events = events_of([(5, 6, t, 1) for t in range(1000, 4_000_000, 50_000)])
    (folder / f"{user}_led.aedat").write_bytes(aedat31_bytes(events))
    content = labels if isinstance(labels, bytes) else labels.encode()
    (folder / f"{user}_led_labels.csv").write_bytes(content)
    for split in ("train", "test"):
        (folder / f"trials_to_{split}.txt").write_text(f"{user}_led.aedat\n")
    return folder


# What is not a regular file, or is larger than it says.


@pytest.mark.parametrize("suffix", [".bin", ".npy", ".aedat"])
def test_a_pipe_or_a_device_as_recording_is_refused_without_waiting(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    os.symlink("/dev/zero", tmp_path / f"zero{suffix}")
    for name in ("pipe", "zero"):
        with pytest.raises(InputError, match=rf"{name}{suffix}: is not a regular file\. Name a file\."):
            read_recording(tmp_path / f"{name}{suffix}")


@pytest.mark.parametrize("suffix", [".bin", ".npy", ".aedat"])
def test_a_recording_beyond_the_limit_is_refused_by_its_size(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with path.open("wb") as file:
        file.truncate(LARGEST_RECORDING + 1)
    with pytest.raises(InputError, match=r"has 268,435,457 bytes; such a file may have at most 268,435,456"):
        read_recording(path)


def test_pipes_inside_a_data_set_are_bad_files(tmp_path):
    folder = digits_folder(tmp_path / "nmnist")
    os.mkfifo(folder / "Train" / "3" / "00007.bin")
    checked = check_dataset("nmnist", tmp_path)
    assert [message.split(": ")[1] for message in checked.bad] == ["is not a regular file. Name a file."]
    gestures = gestures_folder(tmp_path / "dvsgesture")
    (gestures / "user07_led_labels.csv").unlink()
    os.mkfifo(gestures / "user07_led_labels.csv")
    assert "user07_led_labels.csv: is not a regular file" in check_dataset("dvsgesture", tmp_path).bad[0]


def zip_of(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def declare(archive, size):
    """Let the list of a zip file of one member state another unpacked size."""
    content = bytearray(archive.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, size)
    archive.write_bytes(content)


def test_a_member_of_3_gb_is_refused_before_a_byte_is_unpacked(tmp_path):
    archive = zip_of(tmp_path / "Train.zip", [("Train/3/00001.bin", nmnist_bytes(digit()))])
    declare(archive, 3 << 30)
    (item,) = list_nmnist(tmp_path, "train")
    with pytest.raises(
        InputError,
        match=r"00001.bin: unpacks to 3,221,225,472 bytes; a recording may have at most 268,435,456",
    ):
        list(read_nmnist(*item))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_states_too_small_a_size_is_not_unpacked_beyond_it(tmp_path, method):
    archive = zip_of(tmp_path / "Train.zip", [("Train/3/00001.bin", bytes(1 << 20))], method)
    declare(archive, 5)
    (item,) = list_nmnist(tmp_path, "train")
    with pytest.raises(InputError, match="is no valid recording in a zip file"):
        list(read_nmnist(*item))


def tar_of(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, size, content, extra in members:
            member = tarfile.TarInfo(name)
            member.size = size
            for key, value in extra.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))


def test_a_tar_member_of_3_gb_is_refused_by_its_header(tmp_path):
    path = tmp_path / "DvsGesture.tar.gz"
    import gzip

    member = tarfile.TarInfo("DvsGesture/a.aedat")
    member.size = 3 << 30
    path.write_bytes(gzip.compress(member.tobuf() + bytes(1024)))
    with pytest.raises(
        InputError, match=r"'DvsGesture/a.aedat' of 3,221,225,472 bytes is too large, or one too many"
    ):
        list_gestures(tmp_path, "train")
    assert [p.name for p in tmp_path.iterdir()] == ["DvsGesture.tar.gz"]


def test_a_tar_whose_extended_header_has_3_gb_is_refused(tmp_path):
    import gzip

    header = tarfile.TarInfo("x")
    header.size, header.type = 3 << 30, tarfile.XHDTYPE
    (tmp_path / "DvsGesture.tar.gz").write_bytes(gzip.compress(header.tobuf() + bytes(4096)))
    with pytest.raises(InputError, match=r"is no valid tar.gz archive .*bytes at once"):
        list_gestures(tmp_path, "train")


# Other people's exceptions.


def npy(path, array):
    np.save(path, array, allow_pickle=False)
    return path


def raw_npy(path, header, content=b""):
    text = header.encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content)
    return path


@pytest.mark.parametrize(("header", "reason"), [
    ("{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776, 4), }", "announces 35,184,372,088,832 bytes, but 64 follow"),
    ("{'descr': '<i8', 'fortran_order': False, 'shape': (-1, 4), }", "announces -32 bytes"),
    ("{'descr': '<i8', 'fortran_order': False, 'shape': (2, 'x'), }", ""),
    ("{'descr': '<i8', 'fortran_order': False, 'shape': (2, 4", ""),
    ("{'descr': '<$8', 'fortran_order': False, 'shape': (2, 4), }", ""),
    ("{'descr': 0$, ", ""),
    ("{" * 100, ""),
    ("(" * 117, ""),
    ("[1, 2]", ""),
    ("{'descr': '|O', 'fortran_order': False, 'shape': (2, 4), }", "it holds Python objects"),
    ("{'descr': '|V0', 'fortran_order': False, 'shape': (2, 4), }", ""),
])  # fmt: skip
def test_a_broken_npy_header_is_told(tmp_path, header, reason):
    with pytest.raises(
        InputError, match=rf"a\.npy: (is no valid .npy file of plain numbers|expected).*{reason}"
    ):
        read_recording(raw_npy(tmp_path / "a.npy", header, bytes(64)))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00" + bytes(80), b"\x93NUMPY\x03\x00\xff\xff\xff\xff", b"text"],
)
def test_a_file_that_is_no_npy_is_told(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npy: is no valid .npy file of plain numbers"):
        read_recording(tmp_path / "a.npy")


def test_times_beyond_all_bounds_are_refused(tmp_path, capsys):
    late = np.zeros((60, 4))
    late[:, 3] = np.linspace(0, 9.9e14, 60)
    path = npy(tmp_path / "late.npy", late)
    for unit, text in (("ms", "a time of 9.9e+17 us (read as ms); times must be below 4e+15 us"),
                       ("us", "event 1: time 16779661016949 us; a recording lasts a day at most")):  # fmt: skip
        code, _, err = run(["data", "show", path, "--unit", unit, "--out", tmp_path / "a.png"], capsys)
        assert code == 3 and text in err


def test_a_tar_with_an_impossible_date_or_name_is_refused(tmp_path):
    for extra, name in (({"pax_headers": {"mtime": "inf"}}, "DvsGesture/x"), ({}, "a")):
        path = tmp_path / "DvsGesture.tar.gz"
        tar_of(path, ("DvsGesture", 0, b"", {"type": tarfile.DIRTYPE}), (name, 1, b"x", extra))
        if not extra:
            import gzip

            content = gzip.decompress(path.read_bytes())
            member = tarfile.TarInfo("DvsGesture/a")
            member.size, member.pax_headers = 1, {"path": "DvsGesture/a\0b"}
            path.write_bytes(
                gzip.compress(
                    content[:512] + member.tobuf(tarfile.PAX_FORMAT) + b"x".ljust(512, b"\0") + bytes(1024)
                )
            )
        with pytest.raises(
            InputError,
            match=r"is no valid tar.gz archive .*It cannot be unpacked; download it again|is no plain file|holds no trials|no DvsGesture",
        ):
            list_gestures(tmp_path, "train")


@pytest.mark.parametrize("labels", [
    (LABELS + "1,0,2000000\n2,2000000,4000000\n").replace("\n", "\r").encode(),
    (LABELS + "1,0,2000000\n2,2000000,4000000\n").replace("\n", "\r\n").encode(),
    b"\xef\xbb\xbf" + (LABELS + "1,0,2000000\n2,2000000,4000000\n").encode(),
])  # fmt: skip
def test_labels_of_other_systems_are_read(tmp_path, labels):
    folder = gestures_folder(tmp_path, labels)
    assert [(s.label, s.start_us, s.stop_us) for s in read_gestures(folder / "user07_led.aedat")] == [
        (0, 0, 2_000_000), (1, 2_000_000, 4_000_000)]  # fmt: skip


@pytest.mark.parametrize(("row", "text"), [
    ('"' + "1" * 200_000 + '",0,5\n', "is no valid label file of comma-separated values"),
    ("1,0," + "9" * 5000 + "\n", "line 2: expected three whole numbers"),
    ("1,0,99999999999999999999\n", "line 2: expected three whole numbers"),
    ("１,0,5\n", "line 2: expected three whole numbers"),
    ("1,0,1_0\n", "line 2: expected three whole numbers"),
])  # fmt: skip
def test_labels_that_no_parser_likes_are_refused(row, text):
    with pytest.raises(InputError, match=text) as caught:
        parse_labels(LABELS + row, "l.csv")
    assert len(str(caught.value)) < 300


def test_a_performer_of_twenty_digits_is_refused(tmp_path, capsys):
    gestures_folder(tmp_path / "dvsgesture", user="user99999999999999999999")
    code, out, _ = run(["data", "check", "dvsgesture", "--data", tmp_path], capsys)
    assert code == 3 and "a number of at most nine digits), as in user01_fluorescent" in out
    with pytest.raises(InputError, match="at most nine digits"):
        load_dataset("dvsgesture", "test", root=tmp_path)


def test_an_aedat_header_without_carriage_returns_is_read(tmp_path):
    events = events_of([(1, 2, 5, 1), (3, 4, 9, 0)])
    content = aedat31_bytes(events)
    end = content.index(b"#!END-HEADER\r\n") + 14
    (tmp_path / "a.aedat").write_bytes(content[:end].replace(b"\r\n", b"\n") + content[end:])
    assert read_events(tmp_path / "a.aedat").tolist() == events.tolist()


@pytest.mark.parametrize("digits", ["٣", "３", "²", "x", "12", "3 "])
def test_members_whose_folder_is_no_digit_are_no_recordings(tmp_path, digits):
    zip_of(tmp_path / "Train.zip", [(f"Train/{digits}/00001.bin", b"12345"), ("Train/3/00001.bin", b"12345")])
    assert [member for _, member in list_nmnist(tmp_path, "train")] == ["Train/3/00001.bin"]


def test_a_damaged_lzma_member_is_a_bad_file(tmp_path):
    (tmp_path / "nmnist").mkdir()
    for split in ("Train", "Test"):
        archive = zip_of(
            tmp_path / "nmnist" / f"{split}.zip",
            [(f"{split}/3/1.bin", nmnist_bytes(digit()))],
            zipfile.ZIP_LZMA,
        )
        content = bytearray(archive.read_bytes())
        content[200:230] = bytes(30)
        archive.write_bytes(content)
    bad = check_dataset("nmnist", tmp_path).bad
    assert len(bad) == 2 and "Train.zip:Train/3/1.bin: is no valid recording in a zip file (" in bad[0]


@pytest.mark.parametrize("content", [
    {"parameters": {"dataset": "nmnist-sim"}}, {}, [], {"parameters": 3, "recordings": 1, "events": 1, "sha256": ""},
])  # fmt: skip
@pytest.mark.parametrize("name", ["simulated.json", "simulated.partial.json"])
def test_a_manifest_that_is_none_is_refused(tmp_path, capsys, content, name):
    folder = tmp_path / "nmnist-sim"
    folder.mkdir()
    (folder / name).write_text(json.dumps(content))
    code, _, err = run(
        ["data", "make", "nmnist-sim", "--data", tmp_path, "--train", 20, "--test", 10], capsys
    )
    assert code == 3
    stated = (
        name == "simulated.partial.json"
        and isinstance(content, dict)
        and isinstance(content.get("parameters"), dict)
    )
    assert (
        "holds a simulated set of other parameters" if stated else "is not a manifest of a simulated set"
    ) in err


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


# Quietly wrong.


def as_npy(events, order="xypt", factor=1.0, kind=np.float64):
    columns = {"x": events["x"], "y": events["y"], "p": events["p"], "t": events["t"] / factor}
    return np.stack([columns[letter] for letter in order], 1).astype(kind)


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
        f"{path}: a value is not finite, negative, or no pixel, polarity or time, read as columns x, y, p, t. "
        "State another order with --columns, as in --columns xytp, or get the file again."
    )
    assert read_recording(path, NMNIST, columns="txyp").events.tolist() == events.tolist()
    code, out, _ = run(
        ["data", "show", path, "--columns", "t,x,y,p", "--json", "--out", tmp_path / "a.png"], capsys
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
            code, out, err = run(["simulate", "net.onnx", "--recording", name, "--json", *begin], capsys)
            answer = json.loads(out)
            assert code == 0 and answer["begin"] == (begin[1] if begin else "zero")
            answers[name, len(begin)] = (answer["scores"], answer["spikes"], answer["synops"])
            if name == "us.npy" and not begin:
                assert f"{name}: times in us (a guess; state it with --unit), 0.280 s of events; bins begin at the file's time 0" in err  # fmt: skip
    assert answers["a.bin", 0] == answers["us.npy", 0] == answers["s.npy", 0]
    assert answers["a.bin", 2] == answers["us.npy", 2] != answers["a.bin", 0]


def test_microseconds_taken_for_milliseconds_are_warned_of(here, capsys):
    np.save("us.npy", as_npy(digit(), kind=np.int64))
    code, _, err = run(["simulate", "net.onnx", "--recording", "us.npy", "--unit", "ms"], capsys)
    assert code == 0
    assert "us.npy: WARNING: lasts 300 s; " in err and "was trained on recordings of 0.3 s" in err
    code, _, err = run(["simulate", "net.onnx", "--recording", "us.npy"], capsys)
    assert code == 0 and "WARNING" not in err


def test_one_late_event_is_warned_of_and_left_out_by_a_window(here, capsys):
    late = np.concatenate([digit(), events_of([(1, 1, 3_000_000, 1)])])
    Path("late.bin").write_bytes(nmnist_bytes(late))
    plain = json.loads(run(["simulate", "net.onnx", "--recording", "a.bin", "--json"], capsys)[1])
    code, out, err = run(["simulate", "net.onnx", "--recording", "late.bin", "--json"], capsys)
    assert (
        code == 0 and "late.bin: WARNING: lasts 3 s; " in err and "was trained on recordings of 0.3 s" in err
    )
    assert json.loads(out)["synops"] != plain["synops"]
    code, out, err = run(
        ["simulate", "net.onnx", "--recording", "late.bin", "--json", "--window", "400"], capsys
    )
    answer = json.loads(out)
    assert code == 0 and "WARNING" not in err
    assert (answer["scores"], answer["synops"], answer["window_us"]) == (
        plain["scores"],
        plain["synops"],
        400_000,
    )
    code, _, err = run(["simulate", "net.onnx", "--window", "400"], capsys)
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
    code, out, err = run(
        ["simulate", "net.onnx", "--recording", folder / "user07_led.aedat", "--json", "--out", "res"], capsys
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
    code, out, _ = run(["simulate", "net.onnx", "--recording", folder / "user07_led.aedat"], capsys)
    assert code == 0 and "right_hand_wave" in out and "of 2 labelled gestures correct" in out
    code, out, _ = run(
        ["simulate", "net.onnx", "--recording", folder / "user07_led.aedat", "--begin", "zero", "--json"],
        capsys,
    )
    assert json.loads(out)["schema"] == "sastdeploy.recording/1" and json.loads(out)["begin"] == "zero"


def test_a_part_of_a_data_set_is_not_called_whole(tmp_path, capsys):
    digits_folder(tmp_path / "nmnist", digits=range(9))
    code, out, err = run(["data", "check", "nmnist", "--data", tmp_path], capsys)
    assert code == 3
    assert "54 good recordings" in out and "0 bad files" in out
    assert "27 training and 27 test recordings are good; published are 60,000 and 10,000." in out
    assert "No training recording of class 9." in out and "No test recording of class 9." in out
    assert "data set 'nmnist': is incomplete, as listed above." in err


def test_a_made_set_is_compared_with_its_own_manifest(tmp_path, capsys):
    run(
        ["data", "make", "nmnist-sim", "--data", tmp_path, "--train", 20, "--test", 10, "--processes", 1],
        capsys,
    )
    assert run(["data", "check", "nmnist-sim", "--data", tmp_path], capsys)[0] == 0
    next((tmp_path / "nmnist-sim" / "Test" / "4").iterdir()).unlink()
    code, out, _ = run(["data", "check", "nmnist-sim", "--data", tmp_path], capsys)
    assert code == 3 and "20 training and 9 test recordings are good; made are 20 and 10." in out
    assert "No test recording of class 4." in out


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
    _, out, _ = run(["data", "list", "--data", tmp_path, "--json"], capsys)
    (facts,) = (entry for entry in json.loads(out)["datasets"] if entry["name"] == "dvsgesture")
    assert facts["recordings"] == [1176, 288] and facts["repacked"] == [1077, 264]
    assert all(
        file["url"].startswith("https://api.figshare.com/v2/file/download/") for file in facts["files"]
    )
    _, out, _ = run(["data", "list", "--data", tmp_path], capsys)
    assert "1,176 + 288" in out and "1,077 + 264" in out


def test_a_sensor_of_one_polarity_counts_every_event_in_the_same_inputs():
    counts = bin_events(events_of([(0, 0, 0, 1), (0, 0, 9, 1)]), (1, 1, 1), (1, 1), 2)
    assert counts.reshape(-1).tolist() == [1, 1]


def test_the_hash_of_a_data_set_is_read_from_its_caches(tmp_path):
    digits_folder(tmp_path / "nmnist")
    parts = [load_dataset("nmnist", part, root=tmp_path).data_hash for part in ("train", "test")]
    assert splits.data_hash("nmnist", root=tmp_path) == "+".join(parts)
