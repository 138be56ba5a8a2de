"""Formats of other makers' cameras: read as other readers read them, and refused in one line where they are damaged."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from sastdeploy.cli.main import cli
from sastdeploy.errors import InputError
from sastdeploy.recordings.aedat2 import parse_aedat2
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.events import EVENT_DTYPE
from sastdeploy.recordings.own.folder import open_folder
from sastdeploy.recordings.prophesee import parse_dat, parse_raw
from sastdeploy.recordings.reading import read_events, read_recording
from sastdeploy.recordings.splits import load_dataset
from tests.event_files import aedat2_bytes, dat_bytes, evt2_bytes, evt3_bytes

WRITERS = {"dat": dat_bytes, "evt2": evt2_bytes, "evt3": evt3_bytes, "aedat2": aedat2_bytes}
PARSERS = {"dat": parse_dat, "evt2": parse_raw, "evt3": parse_raw, "aedat2": parse_aedat2}
SENSORS = {"dat": (304, 240), "evt2": (304, 240), "evt3": (304, 240), "aedat2": (128, 128)}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def events_of(rows):
    return np.array(rows, EVENT_DTYPE)


def made(seed, count=300, size=(128, 128), longest=1 << 20):
    """Random events, some of them in rows of neighbours with one time."""
    rng = np.random.default_rng(seed)
    events = np.zeros(count, EVENT_DTYPE)
    events["t"] = np.sort(rng.integers(0, longest, count // 3 + 1))[np.arange(count) // 3]
    events["x"], events["y"] = rng.integers(0, size[0] - 6, count), rng.integers(0, size[1], count)
    events["p"] = rng.integers(0, 2, count)
    for n in range(0, count - 2, 6):
        events["y"][n : n + 3], events["p"][n : n + 3] = events["y"][n], events["p"][n]
        events["x"][n : n + 3] = events["x"][n] + np.array([0, 1, 5])
    return events


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 200), st.sampled_from(sorted(WRITERS)), st.integers(10, 31))
def test_what_is_written_is_read(seed, count, form, bits):
    events = made(seed, count, longest=1 << bits)
    if form == "evt3":
        events["t"] >>= 7  # 24 bits: what lies further apart is another test
    parsed, sensor = PARSERS[form](WRITERS[form](events), "a")
    assert np.array_equal(parsed, events) and sensor == SENSORS[form]


@settings(max_examples=60)
@given(st.sampled_from(sorted(WRITERS)), st.integers(0, 50), st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(form, seed, data):
    content = bytearray(WRITERS[form](made(seed, 20)))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert PARSERS[form](content, "a")[0].dtype == EVENT_DTYPE
    except InputError as error:
        assert str(error).startswith("a: ")


def words(*values, kind="<u2", header=b"% evt 3.0\n"):
    return header + np.array(values, kind).tobytes()


def test_evt3_by_hand():
    # time high 1, low 5, row 7; column 9 ON; base 20 OFF, vectors of 12 and 8; a trigger between; column 3 OFF
    content = words(0x8001, 0x6005, 0x0007, 0x2809, 0x3014, 0x4801, 0xA001, 0x5003, 0x2003)
    events, sensor = parse_raw(content, "a")
    time = (1 << 12) + 5
    assert sensor is None and events.tolist() == [
        (9, 7, time, 1), (20, 7, time, 0), (31, 7, time, 0), (32, 7, time, 0), (33, 7, time, 0), (3, 7, time, 0),
    ]  # fmt: skip


def test_evt3_time_low_counts_from_0_after_another_time_high_and_returns_of_time_high_add_2_to_the_24_us():
    content = words(0x8FFF, 0x6FFF, 0x0001, 0x2001, 0x8000, 0x2002, 0x8000, 0x6003, 0x2003, 0x8000, 0x2004)
    assert parse_raw(content, "a")[0]["t"].tolist() == [(1 << 24) - 1, 1 << 24, (1 << 24) + 3, (1 << 24) + 3]


def test_evt3_leaves_out_what_comes_before_its_time_and_row_are_known():
    content = words(0x2001, 0x8000, 0x2002, 0x4001, 0x0003, 0x5001, 0x2004)
    assert parse_raw(content, "a")[0].tolist() == [(4, 3, 0, 0)]


def test_evt2_by_hand():
    head = b"% evt 2.0\n"
    content = words(0x00000000, 0x8FFFFFFF, 0x1 << 28 | 63 << 22 | 5 << 11 | 6, 0x80000000, 2 << 22 | 1 << 11, kind="<u4", header=head)  # fmt: skip
    assert parse_raw(content, "a")[0].tolist() == [(5, 6, (1 << 34) - 1, 1), (1, 0, (1 << 34) + 2, 0)]


def test_aedat2_by_hand():
    head = b"#!AER-DAT2.0\r\n"
    # y 2 << 8, x 3 << 1, OFF 1; then an external event; counted from the right and from the bottom
    content = head + np.array([2 << 8 | 3 << 1 | 1, 50, 1 << 15, 60], ">u4").tobytes()
    assert parse_aedat2(content, "a")[0].tolist() == [(124, 125, 50, 0)]
    head += b"# AEChip: eu.seebetter.ini.chips.davis.DAVIS240C\r\n"
    frame, outer = 1 << 31 | 5 << 12, 1 << 10
    content = head + np.array([2 << 22 | 3 << 12 | 1 << 11, 50, frame, 51, outer, 52], ">u4").tobytes()
    assert parse_aedat2(content, "a")[0].tolist() == [(236, 177, 50, 1)]


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.dat", b"", "offset 0: does not begin with a line of text that starts with %. Is it the right file?"),
    ("a.dat", b"% x\n\0", "offset 4: truncated after the header. Get the file again."),
    ("a.dat", b"% x\n\x0e\x08", "offset 4: events of type 0x0e with 8 bytes; read are types 0x00 and 0x0c (changes of brightness) with 8. Export such events, or get the file again."),
    ("a.dat", b"% x\n\0\x08123", "offset 6: truncated, 3 of 8 bytes of an event. Get the file again."),
    ("a.dat", b"% x\n\0\x08", "holds no event. A recording needs at least one."),
    ("a.dat", dat_bytes(events_of([(1, 2, 5, 0), (1, 2, 4, 0)]), b"% x\n"), "offset 14: time runs backwards, from 5 to 4 us. Times must not decrease; the file is damaged."),
    ("a.dat", dat_bytes(events_of([(304, 2, 5, 0)])), "offset 73: pixel (304, 2) lies outside the 304 x 240 sensor. Check that the file belongs to this data set."),
    ("a.raw", b"% x\n", "its header states no format; read are EVT 2.0 and EVT 3.0. Convert the file with Prophesee's tools."),
    ("a.raw", b"% format EVT21;height=720\n", "its header states EVT 21; read are EVT 2.0 and EVT 3.0. Convert the file with Prophesee's tools."),
    ("a.raw", b"% evt 2.0\n12345", "offset 14: truncated, 1 of 4 bytes of a word. Get the file again."),
    ("a.raw", words(0x8000, 0x1000), "offset 12: a word of the unknown type 0x1. The file is damaged; get it again."),
    ("a.raw", words(0x5 << 28, kind="<u4", header=b"% evt 2.0\n"), "offset 10: a word of the unknown type 0x5. The file is damaged; get it again."),
    ("a.raw", words(0x8000), "holds no event. A recording needs at least one."),
    ("a.raw", words(0x8001, 0x0001, 0x2001, 0x8000, 0x2001), "offset 18: time runs backwards, from 4096 to 0 us. Times must not decrease; the file is damaged."),
    ("a.aedat", b"#!AER-DAT2.0\r\n1234", "offset 14: truncated, 4 of 8 bytes of an event. Get the file again."),
    ("a.aedat", b"#!AER-DAT2.0\r\n# AEChip: x.Cochlea\r\n", "its header states 'AEChip: x.Cochlea'; read are the chips DVS128, DAVIS128, DAVIS240, DAVIS346, DAVIS640. Convert the file to AEDAT 4 or .csv with the camera's own tools."),
    ("a.aedat", b"#!AER-DAT2.0\r\n" + bytes([1, 0, 0, 0, 0, 0, 0, 1]), "its header states no AEChip; read are the chips DVS128, DAVIS128, DAVIS240, DAVIS346, DAVIS640. Convert the file to AEDAT 4 or .csv with the camera's own tools."),
    ("a.aedat", b"#!AER-DAT2.0\r\n# AEChip: DAVIS240\r\n" + np.array([250 << 12, 1], ">u4").tobytes(), "offset 34: pixel (250, 0) lies outside the 240 x 180 sensor of a DAVIS240. The file is damaged; get it again."),
])  # fmt: skip
def test_a_damaged_file_is_refused_in_one_line(name, content, message):
    Path(name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_recording(name)
    assert str(caught.value) == f"{name}: {message}"


def test_a_file_of_a_larger_sensor_is_told_what_differs():
    Path("a.raw").write_bytes(evt3_bytes(made(1)))
    with pytest.raises(InputError) as caught:
        read_recording("a.raw", (128, 128, 2))
    assert str(caught.value) == (
        "a.raw: its sensor has 304 x 240 pixels; expected 128 x 128. Check that the file belongs to this data set."
    )
    assert read_recording("a.raw", (640, 480, 2)).sensor == (304, 240)


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_a_folder_of_such_files_is_a_data_set(form):
    suffix = {"evt2": ".raw", "evt3": ".raw", "aedat2": ".aedat"}.get(form, f".{form}")
    for n, name in enumerate(("left", "right")):
        Path("mine", name).mkdir(parents=True)
        for k in range(4):
            Path("mine", name, f"{k}{suffix}").write_bytes(WRITERS[form](made(10 * n + k, 40)))
    facts = dataset("mine")
    assert facts.sensor_size == (*SENSORS[form], 2) and facts.own.guessed[0].endswith(
        "(as the recordings state)"
    )
    train = load_dataset("mine", "train")
    assert len(train) == 4 and train.frames.dense().sum() == 4 * 40
    assert open_folder("mine").scanned[0].stated
    Path("mine/left/0" + suffix).write_bytes(b"junk")
    assert [file.bad for file in open_folder("mine").scanned if file.bad]
    assert len(load_dataset("mine", "train", skip_bad=True)) + len(load_dataset("mine", "test", skip_bad=True)) + len(load_dataset("mine", "validation", skip_bad=True)) == 7  # fmt: skip


def test_show_takes_the_sensor_that_a_file_states():
    made_ = made(1, 30, (300, 240))
    for name, content, size in (
        ("a.raw", evt3_bytes(made_), 304 * 240),
        ("b.dat", dat_bytes(made_, b"% x\n"), 0),
    ):
        Path(name).write_bytes(content)
        result = CliRunner().invoke(cli, ["data", "show", name, "--json"], catch_exceptions=False)
        facts = json.loads(result.stdout)
        size = size or (int(made_["x"].max()) + 1) * (int(made_["y"].max()) + 1)
        assert facts["events"] == 30 and facts["unit"] == "us" and Path(facts["picture"]).exists()
        assert facts["share_active"] == pytest.approx(np.mean(facts["active_inputs_per_bin"]) / (2 * size))


# The same as other readers


@pytest.mark.parametrize("form", ["dat", "evt2", "evt3"])
def test_prophesee_files_are_read_as_expelliarmus_reads_them(form):
    expelliarmus = pytest.importorskip("expelliarmus", reason="expelliarmus is not installed")
    suffix = "dat" if form == "dat" else "raw"
    # Version 1.1.12 adds 4,096 us where an EVT 3.0 file's time high moves on by more than one.
    names = "xyp" if form == "evt3" else "xytp"
    for seed in range(3):
        Path(f"a.{suffix}").write_bytes(WRITERS[form](made(seed, 2000, (300, 240), 1 << 24)))
        theirs = expelliarmus.Wizard(encoding=form).read(f"a.{suffix}")
        ours = read_events(f"a.{suffix}")
        assert all(np.array_equal(ours[name], theirs[name]) for name in names) and len(ours) == 2000


@pytest.mark.parametrize("form", ["evt2", "evt3"])
def test_prophesee_files_are_read_as_faery_reads_them(form):
    faery = pytest.importorskip("faery", reason="faery is not installed")
    for seed in range(3):
        Path("a.raw").write_bytes(WRITERS[form](made(seed, 2000, (300, 240), 1 << 24)))
        theirs = np.concatenate(list(faery.events_stream_from_file("a.raw")))
        ours = read_events("a.raw")
        assert all(np.array_equal(ours[one], theirs[other]) for one, other in zip("xytp", ("x", "y", "t", "on")))  # fmt: skip


def test_a_real_dat_recording_is_read_as_expelliarmus_reads_it(shared_data):
    path = shared_data / "recordings" / "sample_ncars.dat"
    ours = read_recording(path)
    assert len(ours.events) == 2009 and ours.events[1].tolist() == (67, 35, 35, 0) and ours.sensor is None
    assert ours.smallest_sensor == (78, 42, 2) and ours.events["t"][-1] == 99952
    expelliarmus = pytest.importorskip("expelliarmus", reason="expelliarmus is not installed")
    theirs = expelliarmus.Wizard(encoding="dat").read(str(path))
    assert all(np.array_equal(ours.events[name], theirs[name]) for name in "xytp")


def test_aedat2_is_read_as_tonic_reads_it():
    # Its reader of a DVS128 ends with an exception (version 1.7.0).
    io = pytest.importorskip("tonic.io", reason="tonic is not installed")
    events = made(3, 500, (346, 260))
    Path("a.aedat").write_bytes(aedat2_bytes(events, "Davis346blue"))
    _, _, theirs = io.read_davis_346("a.aedat")
    ours = read_events("a.aedat")
    assert all(np.array_equal(ours[name], theirs[name]) for name in "xytp") and len(ours) == 500
