"""The official bytes: what is read, what is refused, and where the fault lies."""

import io
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sastdeploy.errors import InputError
from sastdeploy.recordings import dvsgesture as gestures
from sastdeploy.recordings.aedat31 import aedat31_bytes, parse_aedat31
from sastdeploy.recordings.dvsgesture import list_gestures, parse_labels, read_gestures
from sastdeploy.recordings.events import EVENT_DTYPE
from sastdeploy.recordings.nmnist import file_content, list_nmnist, nmnist_bytes, parse_nmnist, read_nmnist
from sastdeploy.recordings.npy import parse_array
from sastdeploy.recordings.reading import read_events

DVS = (128, 128, 2)


def events_of(rows):
    return np.array(rows, EVENT_DTYPE)


@st.composite
def recordings(draw, side=34, last=(1 << 23) - 1):
    count = draw(st.integers(1, 30))
    times = sorted(draw(st.lists(st.integers(0, last), min_size=count, max_size=count)))
    pixel = st.integers(0, side - 1)
    return events_of([(draw(pixel), draw(pixel), t, draw(st.integers(0, 1))) for t in times])


def test_five_bytes_by_hand():
    # x 5, y 33, then 1 for ON and t = 0x011170 = 70,000 us in 23 bits
    assert parse_nmnist(bytes([5, 33, 0x81, 0x11, 0x70]), "a.bin").tolist() == [(5, 33, 70000, 1)]


def test_an_event_with_y_240_adds_8192_us_to_all_that_follow():
    before, overflow, after = bytes([1, 2, 0, 0, 9]), bytes([0, 240, 0, 0, 0]), bytes([3, 4, 0, 0, 1])
    assert parse_nmnist(before + overflow + after + overflow + after, "a.bin").tolist() == [
        (1, 2, 9, 0), (3, 4, 8193, 0), (3, 4, 16385, 0)]  # fmt: skip


@given(recordings())
def test_nmnist_written_and_read_is_equal(events):
    assert np.array_equal(parse_nmnist(nmnist_bytes(events), "a.bin"), events)


@settings(max_examples=60)
@given(recordings(side=128, last=(1 << 31) - 1))
def test_aedat31_written_and_read_is_equal(events):
    assert np.array_equal(parse_aedat31(aedat31_bytes(events), DVS, "a.aedat"), events)


@settings(max_examples=100)
@given(recordings(), st.data())
def test_a_truncated_or_altered_file_is_read_or_refused_and_nothing_else(events, data):
    for write, parse in (
        (nmnist_bytes, lambda c: parse_nmnist(c, "a")),
        (aedat31_bytes, lambda c: parse_aedat31(c, DVS, "a")),
    ):
        content = bytearray(write(events))
        for _ in range(data.draw(st.integers(0, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        content = bytes(content[: data.draw(st.integers(0, len(content)))])
        try:
            assert parse(content).dtype == EVENT_DTYPE
        except InputError as error:
            assert str(error).startswith("a: ")


def packet(words, kind=1, size=8, capacity=None, number=None):
    body = np.array(words, "<u4").tobytes()
    count = len(body) // 8
    header = struct.pack("<hhiiiiii", kind, 1, size, 4, 0, count if capacity is None else capacity,
                         count if number is None else number, count)  # fmt: skip
    return header + body


HEAD = b"#!AER-DAT3.1\r\n#!END-HEADER\r\n"


def test_aedat31_by_hand_passes_over_other_types_and_invalid_events():
    special = packet([[1, 7]], kind=0)
    # valid 1, ON 1 << 1, y 2 << 2, x 3 << 17; the second event is invalid
    polarity = packet([[1 | 2 | 2 << 2 | 3 << 17, 50], [2 | 9 << 2, 60]])
    assert parse_aedat31(HEAD + special + polarity, DVS, "a").tolist() == [(3, 2, 50, 1)]


def test_aedat31_time_overflow_counts_2_to_the_31_us():
    one = bytearray(packet([[1, 5]]))
    one[12:16] = struct.pack("<i", 2)
    assert parse_aedat31(HEAD + bytes(one), DVS, "a")["t"].tolist() == [5 + 2 * 2**31]


@pytest.mark.parametrize(("content", "message"), [
    (b"", "f.bin: holds no event. A recording needs at least one."),
    (bytes(7), "f.bin: offset 5: truncated, 2 of 5 bytes of an event."),
    (bytes([34, 0, 0, 0, 1]), "f.bin: offset 0: pixel (34, 0) lies outside the 34 x 34 sensor."),
    (bytes([0, 0, 0, 0, 1, 0, 99, 0, 0, 2]), "f.bin: offset 5: pixel (0, 99) lies outside the 34 x 34 sensor."),
    (bytes([0, 0, 0, 0, 9, 0, 0, 0, 0, 8]), "f.bin: offset 5: time runs backwards, from 9 to 8 us."),
    (bytes([0, 240, 0, 0, 9]), "f.bin: holds no event."),
])  # fmt: skip
def test_nmnist_refuses(content, message):
    with pytest.raises(InputError) as caught:
        parse_nmnist(content, "f.bin")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "offset 0: does not begin with #!AER-DAT3.1."),
    (b"#!AER-DAT2.0\r\n", "offset 0: does not begin with #!AER-DAT3.1."),
    (b"#!AER-DAT3.1\r\n#Source", "offset 12: the header never ends."),
    (HEAD, "holds no event."),
    (HEAD + bytes(10), f"offset {len(HEAD)}: truncated in a packet's header."),
    (HEAD + packet([[1, 1]])[:-1], f"offset {len(HEAD) + 28}: truncated, a packet of 8 bytes has only 7."),
    (HEAD + packet([[1, 1]], size=0), f"offset {len(HEAD)}: impossible packet (event size 0, 1 of 1 events)."),
    (HEAD + packet([[1, 1]], number=2), f"offset {len(HEAD)}: impossible packet (event size 8, 2 of 1 events)."),
    (HEAD + packet([[1 | 200 << 17, 1]]), f"offset {len(HEAD) + 28}: pixel (200, 0) lies outside the 128 x 128 sensor."),
    (HEAD + packet([[1, 5], [1, 4]]), f"offset {len(HEAD) + 36}: time runs backwards, from 5 to 4 us."),
])  # fmt: skip
def test_aedat31_refuses(content, message):
    with pytest.raises(InputError) as caught:
        parse_aedat31(content, DVS, "f.aedat")
    assert str(caught.value).startswith(f"f.aedat: {message}")


LABELS = "class,startTime_usec,endTime_usec\n"


@pytest.mark.parametrize(("text", "message"), [
    ("", "line 1: expected 'class,startTime_usec,endTime_usec'."),
    ("class,start,end\n1,0,5\n", "line 1: expected 'class,startTime_usec,endTime_usec'."),
    (LABELS + "1,0\n", "line 2: expected three whole numbers, found '1,0'."),
    (LABELS + "1,0,x\n", "line 2: expected three whole numbers, found '1,0,x'."),
    (LABELS + "1,0,5\n12,5,9\n", "line 3: class 12 from 5 to 9 us; allowed: class 1 to 11"),
    (LABELS + "1,5,5\n", "line 2: class 1 from 5 to 5 us; allowed: class 1 to 11, a start before the end."),
    (LABELS, "lists no gesture."),
])  # fmt: skip
def test_labels_refuse(text, message):
    with pytest.raises(InputError) as caught:
        parse_labels(text, "u_labels.csv")
    assert str(caught.value).startswith(f"u_labels.csv: {message}")


def gesture_folder(folder, times=(10, 20, 30, 40)):
    folder.mkdir(parents=True, exist_ok=True)
    events = events_of([(1, 2, t, 1) for t in times])
    (folder / "user07_led.aedat").write_bytes(aedat31_bytes(events))
    (folder / "user07_led_labels.csv").write_text(LABELS + "3,10,30\n11,30,50\n")
    for split in ("train", "test"):
        (folder / f"trials_to_{split}.txt").write_text("user07_led.aedat\n\n")
    return folder


def test_a_gesture_is_cut_out_of_its_labelled_span(tmp_path):
    (path, member), = list_gestures(gesture_folder(tmp_path), "train")  # fmt: skip
    first, second = read_gestures(path, member)
    assert (first.label, first.group, first.start_us, first.stop_us) == (2, 7, 10, 30)
    assert first.events["t"].tolist() == [10, 20]
    assert (second.label, second.events["t"].tolist()) == (10, [30, 40])


def test_a_span_without_events_and_a_missing_label_file_are_refused(tmp_path):
    folder = gesture_folder(tmp_path, times=(10,))
    with pytest.raises(
        InputError, match=r"holds no event from 30 to 50 us, where user07_led_labels.csv has a gesture"
    ):
        list(read_gestures(folder / "user07_led.aedat"))
    (folder / "user07_led_labels.csv").unlink()
    with pytest.raises(InputError, match=r"user07_led_labels.csv: cannot be read \(No such file"):
        list(read_gestures(folder / "user07_led.aedat"))


def archive_of(folder, target):
    with tarfile.open(target, "w:gz") as archive:
        archive.add(folder, "DvsGesture")


def test_the_published_archive_is_unpacked_once(tmp_path):
    archive_of(gesture_folder(tmp_path / "raw"), tmp_path / "DvsGesture.tar.gz")
    first = list_gestures(tmp_path, "train")
    (tmp_path / "DvsGesture.tar.gz").unlink()
    assert list_gestures(tmp_path, "train") == first == [(tmp_path / "DvsGesture" / "user07_led.aedat", "")]


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "DvsGesture/../../evil"])
def test_an_archive_never_leaves_its_folder(tmp_path, name):
    home = tmp_path / "home"
    home.mkdir()
    with tarfile.open(home / "DvsGesture.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(InputError, match="would leave the folder or is no plain file"):
        list_gestures(home, "train")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["DvsGesture.tar.gz", "home"]


def test_a_link_in_an_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "DvsGesture.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("DvsGesture/link")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(InputError, match="would leave the folder or is no plain file"):
        list_gestures(tmp_path, "train")


def test_a_truncated_archive_is_refused(tmp_path):
    archive_of(gesture_folder(tmp_path / "raw"), tmp_path / "DvsGesture.tar.gz")
    content = (tmp_path / "DvsGesture.tar.gz").read_bytes()
    (tmp_path / "DvsGesture.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot be unpacked"):
        list_gestures(tmp_path, "train")
    assert not (tmp_path / "DvsGesture").exists()


def test_a_process_that_unpacked_first_is_no_error_and_a_full_disk_is_told_as_one(tmp_path, monkeypatch):
    archive = tmp_path / "DvsGesture.tar.gz"
    archive_of(gesture_folder(tmp_path / "raw"), archive)
    for _ in range(2):
        assert gestures.unpack(archive, tmp_path, "DvsGesture") == tmp_path / "DvsGesture"
    assert sorted(p.name for p in (tmp_path / "DvsGesture").iterdir()) == sorted(
        p.name for p in (tmp_path / "raw").iterdir()
    )

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(
        InputError, match=r"cannot be unpacked into .* \(No space left on device\). Make room"
    ):
        gestures.unpack(archive, tmp_path, "DvsGesture")


def test_a_trial_list_that_is_no_text_is_refused(tmp_path):
    folder = gesture_folder(tmp_path)
    (folder / "trials_to_train.txt").write_bytes(b"user07_led\xff.aedat\n")
    with pytest.raises(InputError, match=r"is not a text file \(byte 10 is not UTF-8\)"):
        list_gestures(folder, "train")


def test_a_trial_list_cannot_name_a_file_elsewhere(tmp_path):
    folder = gesture_folder(tmp_path)
    (folder / "trials_to_train.txt").write_text("../other.aedat\n")
    with pytest.raises(
        InputError, match=r"'../other.aedat' is not the name of an .aedat file in the same folder"
    ):
        list_gestures(folder, "train")


def test_tonics_repacking_counts_milliseconds(tmp_path):
    folder = tmp_path / "ibmGestureTrain" / "user03_natural"
    folder.mkdir(parents=True)
    np.save(folder / "4.npy", np.array([[1, 2, 1, 5], [3, 4, 0, 6]]))
    (path, member), = list_gestures(tmp_path, "train")  # fmt: skip
    (segment,) = read_gestures(path, member)
    assert (segment.label, segment.group) == (4, 3)
    assert segment.events.tolist() == [(1, 2, 5000, 1), (3, 4, 6000, 0)]


@pytest.mark.parametrize(("array", "message"), [
    (np.zeros((3, 5)), r"expected numbers \[events, 4\]"),
    (np.array([["a"] * 4]), r"expected numbers \[events, 4\]"),
    (np.array([[1, 2, np.nan, 5.0]]), "a value is not finite"),
    (np.array([[1, 2, 1, 4], [1, 2, 1, -5]]), r"0.npy: event 1: a value is not finite, negative, or no pixel, polarity or time \(x 1, y 2, t -5, p 1\)"),
    (np.array([[1, 2, 1, 4.0], [1, 2, 1, np.inf]]), r"event 1: .* \(x 1, y 2, t inf, p 1\)"),
    (np.array([[1 << 15, 2, 1, 4], [1, 2, 1, 5]]), r"event 0: .* \(x 32768, y 2, t 4, p 1\)"),
    (np.array([[1.5, 2, 1, 5]]), "no pixel, polarity or time"),
    (np.array([[-1, 2, 1, 5]]), "a value is not finite, negative"),
    (np.array([[1, 2, 2, 5]]), "no pixel, polarity or time"),
    (np.array([[128, 2, 1, 5]]), r"event 0: pixel \(128, 2\) lies outside"),
    (np.array([[1, 2, 1, 5], [1, 2, 1, 4]]), "event 1: time runs backwards"),
    (np.zeros((0, 4)), "holds no event"),
])  # fmt: skip
def test_tonics_repacking_refuses(array, message):
    with pytest.raises(InputError, match=message):
        parse_array(array, "0.npy", DVS)


def test_a_repacked_recording_is_read_as_the_data_set_bins_it(tmp_path):
    # 300 ms in 16 bits: a thousand times as many microseconds do not fit them.
    rows = np.array([[1, 2, 1, 5000], [3, 33, 0, 5300]], np.uint16)
    path = tmp_path / "user03_natural" / "4.npy"
    path.parent.mkdir()
    np.save(path, rows)
    (segment,) = read_gestures(path)
    assert segment.events["t"].tolist() == [5000000, 5300000] and segment.start_us == 5000000
    assert read_events(path)["t"].tolist() == [0, 300000]
    with pytest.raises(InputError, match=r"event 1: pixel \(3, 33\) lies outside"):
        read_events(path, sensor_size=(32, 32, 2))


def test_an_archive_of_arrays_is_no_recording(tmp_path):
    with (tmp_path / "0.npy").open("wb") as file:
        np.savez(file, a=np.zeros((3, 4)))
    with pytest.raises(InputError, match=r"is no valid .npy file of plain numbers \(it is an archive"):
        read_events(tmp_path / "0.npy")


def test_a_pickle_in_an_npy_file_is_never_executed(tmp_path):
    np.save(tmp_path / "0.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"is no valid .npy file of plain numbers"):
        read_events(tmp_path / "0.npy")


def nmnist_tree(folder, damage=None):
    for split in ("Train", "Test"):
        for digit in range(10):
            for number in range(4):
                path = folder / split / str(digit) / f"{number:05d}.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(nmnist_bytes(events_of([(digit, number, 10, 1), (digit, number, 400, 0)])))
    if damage:
        (folder / "Train" / "3" / "00001.bin").write_bytes(damage)
    return folder


def test_the_published_zip_is_read_in_place_and_equals_the_folder(tmp_path):
    tree = nmnist_tree(tmp_path / "tree")
    with zipfile.ZipFile(tmp_path / "Train.zip", "w") as archive:
        for path in sorted((tree / "Train").rglob("*.bin")):
            archive.write(path, path.relative_to(tree))
    from_zip = [t for item in list_nmnist(tmp_path, "train") for t in read_nmnist(*item)]
    from_folder = [t for item in list_nmnist(tree, "train") for t in read_nmnist(*item)]
    assert (
        [t.label for t in from_zip]
        == [t.label for t in from_folder]
        == [d for d in range(10) for _ in range(4)]
    )
    assert all(np.array_equal(a.events, b.events) for a, b in zip(from_zip, from_folder))


def test_a_damaged_member_of_a_zip_is_refused(tmp_path, monkeypatch):
    def broken(*_):
        raise zlib.error("Error -3 while decompressing data")

    with zipfile.ZipFile(tmp_path / "Train.zip", "w") as archive:
        archive.writestr("Train/0/00000.bin", b"12345")
    monkeypatch.setattr(zipfile.ZipExtFile, "read", broken)
    with pytest.raises(
        InputError, match=r"Train.zip:Train/0/00000.bin: is no valid recording in a zip file \(Error -3"
    ):
        file_content(tmp_path / "Train.zip", "Train/0/00000.bin")


def test_a_damaged_zip_is_refused(tmp_path):
    (tmp_path / "Train.zip").write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="is no valid zip file"):
        list_nmnist(tmp_path, "train")


def test_the_real_recording(shared_data):
    events = read_events(shared_data / "recordings" / "sample_nmnist.bin")
    assert (len(events), events["t"][0], events["t"][-1]) == (4325, 654, 311175)
    from sastdeploy.recordings.binning import bin_events

    counts = bin_events(events, (34, 34, 2), (34, 34), 10)
    assert (counts > 0).sum((1, 2, 3)).tolist() == [109, 277, 185, 133, 244, 184, 126, 191, 289, 154]
    assert counts.max() == 7


@pytest.mark.filterwarnings("ignore")
def test_tonic_reads_the_same_events(tmp_path, shared_data):
    tonic_io = pytest.importorskip(
        "tonic.io", reason="tonic is not installed: pip install 'sastdeploy[tonic]'"
    )
    rng = np.random.default_rng(0)
    made = np.sort(rng.integers(0, 1 << 23, 500))
    events = events_of([(rng.integers(34), rng.integers(34), t, rng.integers(2)) for t in made])
    ours, theirs = tmp_path / "a.bin", np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    ours.write_bytes(nmnist_bytes(events))
    for path in (ours, shared_data / "recordings" / "sample_nmnist.bin"):
        second = tonic_io.read_mnist_file(str(path), theirs)
        first = read_events(path)
        assert all(np.array_equal(first[name], second[name]) for name in "xytp"), path
    gesture = tmp_path / "b.aedat"
    gesture.write_bytes(aedat31_bytes(events))
    version, begin, *_ = tonic_io.read_aedat_header_from_file(str(gesture))
    words = tonic_io.get_aer_events_from_file(str(gesture), version, begin)
    first, address = read_events(gesture), words["address"]
    assert np.array_equal(first["t"], words["timeStamp"])
    assert np.array_equal(first["x"], address >> 17) and np.array_equal(first["p"], address >> 1 & 1)
    assert np.array_equal(first["y"], address >> 2 & 0x7FFF)


def test_a_recording_of_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot tell its format from '.mat'. Allowed: .bin, .aedat, .npy"):
        read_events(tmp_path / "a.mat")
    with pytest.raises(InputError, match=r"a.bin: cannot be read \(No such file or directory\)"):
        read_events(tmp_path / "a.bin")
