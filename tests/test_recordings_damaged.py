"""Recordings that are no regular files, larger than they say, or damaged: each is told, none is waited for."""

import io
import json
import os
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from sastdeploy.errors import InputError
from sastdeploy.recordings.aedat31 import aedat31_bytes
from sastdeploy.recordings.check import check_dataset
from sastdeploy.recordings.dvsgesture import list_gestures, parse_labels, read_gestures
from sastdeploy.recordings.events import MAX_RECORDING
from sastdeploy.recordings.nmnist import list_nmnist, nmnist_bytes, read_nmnist
from sastdeploy.recordings.reading import read_events, read_recording
from sastdeploy.recordings.splits import load_dataset
from tests.command_line import cli
from tests.recording_files import LABELS, digit, digits_folder, events_of, gestures_folder, npy, zip_of


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
        file.truncate(MAX_RECORDING + 1)
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
        code, _, err = cli(capsys, "data", "show", path, "--unit", unit, "--out", tmp_path / "a.png")
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
    code, out, _ = cli(capsys, "data", "check", "dvsgesture", "--data", tmp_path)
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


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_damaged_manifest_is_told_and_what_to_do(tmp_path, capsys, content):
    folder = tmp_path / "nmnist-sim"
    folder.mkdir()
    (folder / "simulated.json").write_bytes(content)
    code, _, err = cli(capsys, "data", "make", "nmnist-sim", "--data", tmp_path, "--train", 20, "--test", 10)
    assert code == 3 and err.rstrip().endswith("Remove the folder and make the set again.")


@pytest.mark.parametrize("content", [
    {"parameters": {"dataset": "nmnist-sim"}}, {}, [], {"parameters": 3, "recordings": 1, "events": 1, "sha256": ""},
])  # fmt: skip
@pytest.mark.parametrize("name", ["simulated.json", "simulated.partial.json"])
def test_a_manifest_that_is_none_is_refused(tmp_path, capsys, content, name):
    folder = tmp_path / "nmnist-sim"
    folder.mkdir()
    (folder / name).write_text(json.dumps(content))
    code, _, err = cli(capsys, "data", "make", "nmnist-sim", "--data", tmp_path, "--train", 20, "--test", 10)
    assert code == 3
    stated = (
        name == "simulated.partial.json"
        and isinstance(content, dict)
        and isinstance(content.get("parameters"), dict)
    )
    assert (
        "holds a simulated set of other parameters" if stated else "is not a manifest of a simulated set"
    ) in err
