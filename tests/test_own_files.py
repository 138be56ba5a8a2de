"""The files of one's own data set: formats, bad ones, and the hash over all."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sastdeploy.errors import InputError
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.own.declaration import declaration_text
from sastdeploy.recordings.own.folder import open_folder
from sastdeploy.recordings.own.records import SPLITS
from sastdeploy.recordings.reading import read_events, read_recording
from sastdeploy.recordings.splits import data_hash, load_dataset
from tests.command_line import cli
from tests.own_recordings import class_folders, events, write_events

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".txt", ".bin"])
def test_every_format_gives_the_same_frames(suffix):
    for n, name in enumerate(("left", "right")):
        for k in range(4):
            write_events(Path("plain", name, f"{k}.npy"), events((n, k)))
            write_events(Path("mine", name, f"{k}{suffix}"), events((n, k)))
    for folder in ("plain", "mine"):
        lists = {
            part: [
                f"{c}/{k}{suffix if folder == 'mine' else '.npy'}" for c in ("left", "right") for k in chosen
            ]
            for part, chosen in (("train", (0, 1, 2)), ("test", (3,)))
        }
        Path(folder, "dataset.yaml").write_text(f"split: {json.dumps({'kind': 'list', **lists})}")
    for part in SPLITS:
        first, second = (load_dataset(folder, part) for folder in ("plain", "mine"))
        assert np.array_equal(first.frames.dense(), second.frames.dense())
        assert np.array_equal(first.labels, second.labels)


@given(st.integers(0, 1000), st.integers(1, 60), st.sampled_from(["npz", "whole.npz", "csv", "txt"]))
def test_tables_and_archives_give_back_their_events(tmp_path_factory, seed, count, form):
    made = events(seed, count)
    path = tmp_path_factory.mktemp("one") / f"a.{form.split('.')[-1]}"
    if form == "whole.npz":
        np.savez(path, events=made)
    else:
        write_events(path, made)
    got = read_events(path, (12, 10, 2), unit="us")
    made["t"] -= made["t"][0]
    assert np.array_equal(got, made)


def test_a_table_without_header_needs_its_columns():
    Path("a.csv").write_text("1,2,3,1\n5,2,3,0\n", "utf-8")
    with pytest.raises(InputError) as error:
        read_recording("a.csv")
    assert str(error.value) == (
        "a.csv: line 1: is no header, so the order of its columns is not known. Write x, y, t and p above the columns, or state the "
        "order with --columns, as in --columns txyp."
    )
    got = read_recording("a.csv", columns="txyp", unit="us").events
    assert got["t"].tolist() == [1, 5] and got["x"].tolist() == [2, 2] and got["p"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "t,x,y\n1,2,3\n", "a.csv: line 1: no column is called p; found 't,x,y'. Name the columns x, y, t and p."),
        ("a.csv", "t,x,y,p\n", "a.csv: holds no event. A recording needs at least one."),
        ("a.txt", "t x y p\n1 2 3 1\n1 2 q 1\n", "a.txt: is no valid table of numbers (could not convert string 'q' to float64"),
        ("a.csv", "t,x,y,p\n1\n2\n", "a.csv: is no valid table of numbers (rows of 1 numbers below a first line of 4 cells). Get the file again."),
        ("a.npz", "junk", "a.npz: is no valid .npz archive of plain numbers (File is not a zip file). Get the file again."),
    ],
)  # fmt: skip
def test_bad_tables_and_archives_are_refused(name, content, message):
    Path(name).write_text(content, "utf-8")
    with pytest.raises(InputError) as error:
        read_recording(name)
    assert str(error.value).startswith(message)


def test_archives_of_other_arrays_are_refused():
    np.savez("a.npz", x=np.arange(3), y=np.arange(3))
    with pytest.raises(InputError) as error:
        read_recording("a.npz")
    assert str(error.value) == "a.npz: holds as arrays: x, y. Expected x, y, t and p, or one array of events."
    np.savez("a.npz", **{name: np.zeros(3 + (name == "p"), int) for name in "xytp"})
    with pytest.raises(
        InputError, match=r"its arrays have the shapes x \[3\], y \[3\], t \[3\], p \[4\]; expected"
    ):
        read_recording("a.npz")


# Bad files, cache, hash


def test_bad_files_stop_or_are_left_out(capsys):
    class_folders(Path("mine"), count=10)
    victim = Path("mine", load_dataset("mine", "train").names[0])
    content = victim.read_bytes()
    victim.write_bytes(content[:-100])
    with pytest.raises(
        InputError,
        match=rf"^{re.escape(str(victim))}: is no valid .npy .* To go on without bad files: --skip-bad\.$",
    ):
        load_dataset("mine", "train")
    told = []
    assert len(load_dataset("mine", "train", skip_bad=True, say=told.append)) == 13
    assert told[1] == "1 bad files left out:" and str(victim) in told[2]
    code, out, err = cli(capsys, "data", "check", "mine")
    assert code == 3 and "./mine: 19 good recordings, 760 events, 1 bad files." in out
    assert "data set './mine': 1 bad files, listed above. Get them again, or use --skip-bad." in err
    code, out, _ = cli(capsys, "data", "describe", "mine")
    assert code == 0 and f"Bad:\n  {victim}: is no valid .npy" in out
    victim.write_bytes(content)
    assert cli(capsys, "data", "check", "mine")[0] == 0
    for path in Path("mine").glob("*/*.npy"):
        path.write_bytes(b"junk")
    with pytest.raises(
        InputError, match=r"^mine: every recording is bad; the first: mine/left/000.npy: is no valid"
    ):
        dataset("mine")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_a_bad_one():
    class_folders(Path("mine"))
    Path("mine/left/000.npy").chmod(0)
    assert "cannot be read (Permission denied)" in open_folder("mine").scanned[0].bad


def test_a_missing_class_of_a_part_is_named(capsys):
    class_folders(Path("mine/train"), ("a", "b", "c"))
    class_folders(Path("mine/test"), ("a", "b"), first=1)
    code, out, err = cli(capsys, "data", "check", "mine")
    assert code == 3 and "No test recording of class c." in out
    assert (
        "data set './mine': is incomplete, as listed above. Add recordings, or keep in mind that results are of a part."
        in err
    )


def test_events_outside_a_stated_sensor_are_bad():
    class_folders(Path("mine"))
    Path("mine/dataset.yaml").write_text("sensor_size: [12, 9]")
    with pytest.raises(InputError, match=r"pixel \(11, 9\) lies outside the 12 x 9 sensor"):
        load_dataset("mine", "train")


def test_the_hash_covers_content_and_meaning_and_not_the_place():
    class_folders(Path("mine"), count=8)
    yaml = Path("mine/dataset.yaml")
    first = data_hash("mine")
    told = []
    load_dataset("mine", "train", say=told.append)
    assert told == [
        "data set './mine': found, not stated: sensor 12 x 10 (the smallest that holds all events); 2 polarities; 2 classes in the "
        "order of their names; times in us; a draw of recordings with seed 0 (0.1 validation, 0.2 test). To keep this in its "
        "dataset.yaml: sastdeploy data describe ./mine --write"
    ]
    yaml.write_text(declaration_text(open_folder("mine").declaration))
    assert data_hash("mine") == first
    told.clear()
    load_dataset("mine", "train", say=told.append)
    assert told == []
    shutil.copytree("mine", "moved")
    assert data_hash("moved") == first and data_hash(str(Path("moved").resolve())) == first
    text = yaml.read_text()
    for old, new in (
        ('name: "mine"', 'name: "other"'), ("[12, 10]", "[14, 10]"), ('["left", "right"]', '["right", "left"]'),
        ('"us"', '"ms"'), ('"seed": 0', '"seed": 1'), ("downsample: 1", "downsample: 2"), ("polarities: 2", "polarities: 1"),
    ):  # fmt: skip
        assert old in text
        yaml.write_text(text.replace(old, new))
        assert (data_hash("mine") == first) == (old == 'name: "mine"'), new
    yaml.write_text(text)
    assert data_hash("mine") == first
    made = np.load("mine/left/003.npy")
    made["t"][5] += 1 if made["t"][5] < made["t"][6] else 0
    made["t"][-1] += 1
    np.save("mine/left/003.npy", made)
    assert data_hash("mine") != first


def test_a_damaged_note_of_the_first_reading_is_made_anew():
    class_folders(Path("mine"))
    facts = open_folder("mine").scanned
    (note,) = Path("mine/.frames").glob("scan-*.json")
    for junk in (
        "",
        "{}",
        "[1]",
        note.read_text().replace('"us"', "3"),
        note.read_text().replace("40", "true"),
    ):
        note.write_text(junk)
        assert open_folder("mine").scanned == facts
        assert json.loads(note.read_text())[0][4] == 40
