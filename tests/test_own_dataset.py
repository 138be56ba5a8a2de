"""A folder of one's own recordings as a data set: layouts, dataset.yaml, split draws, messages, hashes, and the whole road."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sastdeploy.cli import main as main_module
from sastdeploy.errors import InputError
from sastdeploy.experiments.spec import load_experiment
from sastdeploy.networks.checkpoint import load_checkpoint, save_checkpoint
from sastdeploy.program.file import load_program
from sastdeploy.recordings.catalog import full_name
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.nmnist import nmnist_bytes
from sastdeploy.recordings.own.declaration import Declaration, Draw, declaration_text, load_declaration
from sastdeploy.recordings.own.folder import open_folder
from sastdeploy.recordings.own.layout import class_order
from sastdeploy.recordings.own.records import SPLITS, Entry
from sastdeploy.recordings.own.split import drawn
from sastdeploy.recordings.reading import read_events, read_recording
from sastdeploy.recordings.splits import data_hash, load_dataset
from tests.own_recordings import SHAPES, class_folders, events, shape_folders


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SASTDEPLOY_DATA", str(tmp_path / "data"))
    return tmp_path


def cli(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main_module.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


def own(**keys):
    return Declaration.model_validate(keys)


# What a folder is


def test_class_folders_are_a_data_set():
    class_folders(Path("mine"), count=10)
    facts = dataset("mine")
    assert (facts.name, facts.form, facts.classes) == ("./mine", "own", ("left", "right"))
    assert (facts.sensor_size, facts.frame_size, facts.recordings) == ((12, 10, 2), (12, 10), (14, 4))
    parts = {part: load_dataset("mine", part) for part in SPLITS}
    assert {part: len(data) for part, data in parts.items()} == {"train": 14, "validation": 2, "test": 4}
    names = [name for data in parts.values() for name in data.names]
    assert sorted(names) == sorted(f"{c}/{k:03}.npy" for c in ("left", "right") for k in range(10))
    test = parts["test"]
    assert test.dataset == "./mine" and test.classes == ("left", "right") and test.sensor_size == (12, 10, 2)
    for n, name in enumerate(test.names):
        assert test.classes[test.labels[n]] == name.split("/")[0]
        assert test.frames.select(slice(n, n + 1)).dense().sum() == 40


def test_split_folders_state_the_split_and_validation_may_be_held_out():
    for number, part in enumerate(("train", "test")):
        class_folders(Path("mine") / part, count=8 if part == "train" else 3, first=number)
    facts = dataset("mine")
    assert facts.parts == ("train", "test") and "draw" not in "".join(facts.own.guessed)
    lengths = {part: len(load_dataset("mine", part)) for part in SPLITS}
    assert lengths == {"train": 14, "validation": 2, "test": 6}
    first, second = (set(load_dataset("mine", "validation", seed=seed).names) for seed in (0, 3))
    assert first != second
    class_folders(Path("mine/validation"), count=2, first=9)
    assert dataset("mine").parts == SPLITS
    assert {part: len(load_dataset("mine", part)) for part in SPLITS} == {
        "train": 16,
        "validation": 4,
        "test": 6,
    }
    assert (
        load_dataset("mine", "validation", seed=0).names == load_dataset("mine", "validation", seed=3).names
    )


def manifest(text, folder="mine"):
    Path(folder).mkdir(exist_ok=True)
    Path(folder, "manifest.csv").write_text(text, "utf-8")


def test_a_manifest_names_files_labels_parts_and_groups():
    class_folders(Path("mine"), ("a", "b"), count=4)
    rows = ["file,label,split,group"]
    for n, name in enumerate(("a", "b")):
        rows += [f"{name}/{k:03}.npy,klasse{n},{'test' if k == 3 else 'train'},person{k}" for k in range(4)]
    manifest("\n".join(rows))
    assert dataset("mine").classes == ("klasse0", "klasse1")
    validation, training = load_dataset("mine", "validation"), load_dataset("mine", "train")
    assert len(load_dataset("mine", "test")) == 2 and len(training) == 4 and len(validation) == 2
    assert not set(validation.groups) & set(training.groups)
    manifest("file,label,group\n" + "".join(f"{n}/{k:03}.npy,{n},g{k}\n" for n in "ab" for k in range(4)))
    parts = {part: {name[2:] for name in load_dataset("mine", part).names} for part in SPLITS}
    assert [len(files) for files in parts.values()] == [2, 1, 1] and len(set.union(*parts.values())) == 4


def test_a_folder_is_told_from_a_name():
    assert full_name("nmnist") == "nmnist" and full_name("mine") == "mine"
    Path("mine").mkdir()
    Path("nmnist").mkdir()
    assert [full_name(name) for name in ("mine", "mine/", "./mine", "nmnist", "./nmnist")] == [
        "./mine", "./mine", "./mine", "nmnist", "./nmnist",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"^data set './none': there is no such folder\. Name the folder"):
        dataset("./none")


def test_classes_are_ordered_by_number_where_they_are_numbers():
    assert class_order({"10", "9", "1"}) == ("1", "9", "10")
    assert class_order({"b", "10", "a"}) == ("10", "a", "b")


def test_non_ascii_names_are_kept_in_one_way_of_writing():
    class_folders(Path("mine"), ("Ko\u0308ln", "\u53f3"), count=4)
    assert dataset("mine").classes == ("K\u00f6ln", "\u53f3")
    Path("mine/dataset.yaml").write_text('classes: ["\u53f3", "Ko\u0308ln"]\n', "utf-8")
    assert load_dataset("mine", "test").classes == ("\u53f3", "K\u00f6ln")


# Formats


def _write(path, made):
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = np.stack([made[name] for name in "txyp"], axis=1)
    text = "\n".join(",".join(map(str, row)) for row in columns.tolist())
    match path.suffix:
        case ".npy":
            np.save(path, made)
        case ".npz":
            np.savez(path, **{name: made[name] for name in "xytp"})
        case ".csv":
            path.write_text("timestamp,x,y,polarity\n" + text, "utf-8")
        case ".txt":
            path.write_text("# t x y p\n" + text.replace(",", " ") + "\n", "utf-8")
        case ".bin":
            path.write_bytes(nmnist_bytes(made))


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".txt", ".bin"])
def test_every_format_gives_the_same_frames(suffix):
    for n, name in enumerate(("left", "right")):
        for k in range(4):
            _write(Path("plain", name, f"{k}.npy"), events((n, k)))
            _write(Path("mine", name, f"{k}{suffix}"), events((n, k)))
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
        _write(path, made)
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
        ("a.csv", "t,x,y,p\n", "a.csv: holds no event. A recording needs at least one; leave this file out (--skip-bad)."),
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


# dataset.yaml


def test_dataset_yaml_states_what_a_folder_cannot_tell():
    class_folders(Path("mine"), count=6)
    Path("mine/dataset.yaml").write_text(
        "name: Mine\nsimulated: true\nsensor_size: [16, 12]\npolarities: 1\ndownsample: 4\nclasses: [right, left]\nunit: ms\n"
        "split: {kind: draw, seed: 3, validation: 0, test: 0.3}\n"
    )
    facts = dataset("mine")
    assert (facts.title, facts.simulated, facts.classes) == ("Mine", True, ("right", "left"))
    assert (facts.sensor_size, facts.frame_size, facts.own.guessed) == ((16, 12, 1), (4, 3), ())
    test = load_dataset("mine", "test")
    assert test.frames.shape == (1, 3, 4) and len(test) == 4 and test.seconds.max() > 10
    made = events((0, 0, int(next(n for n in test.names if n.startswith("left"))[5:8])))
    n = next(i for i, name in enumerate(test.names) if name.startswith("left"))
    summed = np.zeros((3, 4), int)
    np.add.at(summed, (made["y"] // 4, made["x"] // 4), 1)
    assert np.array_equal(test.frames.select(slice(n, n + 1)).dense().sum(axis=(0, 1, 2)), summed)


@pytest.mark.parametrize(("factor", "frame"), [(1, (12, 10)), (2, (6, 5)), (2.5, (5, 4)), (3, (4, 3)), (7, (2, 1)), (100, (1, 1))])  # fmt: skip
def test_frames_may_be_smaller_by_any_factor(factor, frame):
    class_folders(Path("mine"), count=4)
    Path("mine/dataset.yaml").write_text(f"downsample: {factor}\n")
    assert dataset("mine").frame_size == frame
    test = load_dataset("mine", "test")
    (name,) = (name for name in test.names if name.startswith("left"))
    made = events((0, 0, int(name[5:8])))
    summed = np.zeros((2, frame[1], frame[0]), int)
    np.add.at(
        summed,
        (made["p"], made["y"].astype(int) * frame[1] // 10, made["x"].astype(int) * frame[0] // 12),
        1,
    )
    n = test.names.index(name)
    assert np.array_equal(test.frames.select(slice(n, n + 1)).dense().sum(axis=(0, 1)), summed)


@given(
    st.builds(
        own, name=st.none() | st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20),
        sensor_size=st.none() | st.lists(st.integers(1, 1 << 15), min_size=2, max_size=2), simulated=st.booleans(),
        polarities=st.none() | st.integers(1, 2), downsample=st.integers(1, 8) | st.floats(1, 8),
        classes=st.none() | st.lists(st.sampled_from(["no", "010", "1e3", "a: b", "\u00f6", "null", "~"]), min_size=2, unique=True),
        unit=st.sampled_from([None, "us", "s"]), columns=st.sampled_from([None, "txyp"]),
        split=st.none() | st.builds(lambda s, v, t: {"kind": "draw", "seed": s, "validation": v, "test": t},
                                    st.integers(0, 9999), st.sampled_from([0.0, 0.1, 0.25]), st.sampled_from([0.0, 0.2])),
    )
)  # fmt: skip
def test_what_is_written_is_read_back(tmp_path_factory, declaration):
    folder = tmp_path_factory.mktemp("yaml")
    (folder / "dataset.yaml").write_text(declaration_text(declaration), "utf-8")
    assert load_declaration(folder) == declaration


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sensor: [3, 4]", "key 'sensor': unknown. Did you mean 'sensor_size'? Allowed: name, simulated, sensor_size, polarities, downsample, classes, unit, columns, split."),
        ("sensor_size: [3]", "key 'sensor_size': must have at least 2 entries, found [3]."),
        ("sensor_size: [0, 4]", "key 'sensor_size.0': must be at least 1, found 0."),
        ("polarities: 3", "key 'polarities': must be at most 2, found 3."),
        ("downsample: 0.5", "key 'downsample': must be at least 1, found 0.5."),
        ("downsample: .nan", "key 'downsample': must be a finite number, found nan."),
        ("unit: min", "key 'unit': must be 'us', 'ms' or 's', found 'min'."),
        ("columns: xyt", "key 'columns': name x, y, t and p once each, as in xytp."),
        ("classes: [a, a]", "key 'classes': 'a' stands twice. Leave one of them out."),
        ("split: {kind: drow}", "key 'split.kind': unknown value 'drow'. Did you mean 'draw'? Allowed: folders, manifest, list, draw."),
        ("split: {kind: draw, sed: 1}", "key 'split.draw.sed': unknown. Did you mean 'seed'? Allowed: kind, of, seed, validation, test."),
        ("split: {kind: draw, test: 0.6, validation: 0.5}", "key 'split': the shares of validation (0.5) and test (0.6) are each 0 or at least 0.0001, and leave a part for training."),
        ("split: {kind: folders}", "key 'split': kind folders, but there are no folders train, validation and test. Allowed: list, draw."),
        ("classes: [left, up]", "key 'classes': does not name 'right', the class of right/000.npy. Add it, or leave the key out."),
        ("classes: [left, right, up]", "key 'classes': 'up' has no recording. Add some, or leave the class out."),
    ],
)  # fmt: skip
def test_a_wrong_dataset_yaml_is_refused(text, message):
    class_folders(Path("mine"))
    Path("mine/dataset.yaml").write_text(text, "utf-8")
    with pytest.raises(InputError) as error:
        dataset("mine")
    assert str(error.value) == f"mine/dataset.yaml: {message}"


def test_a_wrong_split_is_refused():
    class_folders(Path("mine"), count=2)
    with pytest.raises(InputError) as error:
        dataset("mine")
    assert str(error.value) == (
        "mine: split: 2 recordings of class 'left' are too few for a draw of 1 for validation and 1 for test that leaves one for "
        "training. Add some, or state the split."
    )
    yaml = Path("mine/dataset.yaml")
    for split, message in (
        ("{kind: draw, of: group}", "draws groups, but no manifest states a group. Draw recordings (of: recording)."),
        ("{kind: list, train: [lefft/000.npy]}", "train lists 'lefft/000.npy', which is no recording here. Did you mean 'left/000.npy'?"),
        ("{kind: list, train: [left/000.npy], test: [left/000.npy]}", "lists 'left/000.npy' twice. Leave one of them out."),
    ):  # fmt: skip
        yaml.write_text(f"split: {split}")
        with pytest.raises(InputError) as error:
            dataset("mine")
        assert str(error.value) == f"mine: split: {message}"
    yaml.unlink()
    class_folders(Path("two/test"))
    with pytest.raises(InputError) as error:
        dataset("two")
    assert str(error.value) == "two: has no recording for training. Give it a part train."


@given(
    st.integers(4, 60), st.integers(0, 1 << 40), st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([0.0, 0.2])
)
def test_a_draw_gives_every_class_its_shares(count, seed, validation, test):
    entries = [Entry(f"{c}/{k}", c) for c in "ab" for k in range(count)]
    draw = Draw.model_validate({"seed": seed, "validation": validation, "test": test})
    first = drawn(entries, draw)
    assert first == drawn(entries, draw) and [e.file for e in first] == [e.file for e in entries]
    for name in "ab":
        parts = [entry.split for entry in first if entry.label == name]
        for part, share in (("validation", validation), ("test", test)):
            assert parts.count(part) == (max(1, int(share * count + 0.5)) if share else 0)
        assert "train" in parts


def test_a_new_recording_moves_few_others_and_another_seed_moves_many():
    entries = [Entry(f"a/{k}", "a") for k in range(100)]
    before = drawn(entries, Draw.model_validate({}))
    after = drawn([*entries, Entry("a/new", "a")], Draw.model_validate({}))
    assert sum(one != two for one, two in zip(before, after)) <= 2
    other = drawn(entries, Draw.model_validate({"seed": 1}))
    assert sum(one != two for one, two in zip(before, other)) > 20


# Folders that are wrong


def _link(folder):
    (folder / "left/link.npy").symlink_to(folder.resolve() / "right/000.npy")


def _pipe(folder):
    os.mkfifo(folder / "left/pipe.npy")


def _inner(folder):
    (folder / "left/more").mkdir()


def _empty(folder):
    (folder / "up").mkdir()


def _single(folder):
    shutil.rmtree(folder / "left")


def _mixed(folder):
    _write(folder / "right/a.csv", events(77))


def _copy(folder):
    shutil.copy(folder / "left/000.npy", folder / "right/copy.npy")


def _foreign(folder):
    (folder / "left/a.mat").write_bytes(b"x")


def _extra(folder):
    for name in ("left", "right"):
        (folder / "train" / name).mkdir(parents=True)
        np.save(folder / "train" / name / "a.npy", events(len(name)))


def _control(folder):
    (folder / "left/a\x1b.npy").write_bytes(b"x")


def _all(folder):
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_link, "mine/left/link.npy: is a link. A data set holds its recordings itself; put the file or folder in its place."),
        (_pipe, "mine/left/pipe.npy: is not a regular file. Remove it from the data set."),
        (_inner, "mine/left/more: is a folder inside a class folder. Put its recordings into mine/left, or list them in manifest.csv."),
        (_empty, "mine/up: is a class without a recording. Add some, or remove the folder."),
        (_single, "mine: holds 1 class (right); 2 to 1,000 are allowed. Each class is a folder of its own, or a label of the manifest."),
        (_mixed, "mine: holds recordings in several formats: 1 .csv (right/a.csv), 12 .npy (left/000.npy). Keep one format in a data set."),
        (_foreign, "mine/left/a.mat: '.mat' files are not read. Allowed: .bin, .aedat, .npy, .npz, .csv, .txt, .h5, .hdf5, .dat, .raw, .aedat4. Convert it, or move it out of the data set."),
        (_extra, "mine/left: lies beside the folders of the splits (train). Allowed there: train, validation, test; where these are names of classes, list the recordings in manifest.csv."),
        (_control, r"mine/left/a\x1b.npy: its name holds control characters or bytes that are no text. Rename it."),
        (_all, "mine: holds no recording. Put them into a folder for each class (FOLDER/CLASS/recording.npy), or list them in manifest.csv."),
    ],
)  # fmt: skip
def test_a_wrong_folder_is_refused(spoil, message):
    spoil(class_folders(Path("mine")))
    with pytest.raises(InputError) as error:
        dataset("mine")
    assert str(error.value) == message


def test_copies_are_refused():
    _copy(class_folders(Path("mine")))
    with pytest.raises(
        InputError,
        match=r"^mine: left/000.npy \(left, \w+\) and right/copy.npy \(right, \w+\) hold the same bytes\. ",
    ):
        dataset("mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the columns file,label and where wanted split and group, once each; found ''."),
        ("file,lable\n", "line 1: column 'lable': unknown. Did you mean 'label'? Allowed: file, label, and where wanted split and group."),
        ("file,label\nleft/000.npy\n", "row 2: 1 cells; expected 2."),
        ("file,label\n../a.npy,x\n", "row 2: '../a.npy': expected a file below the data set's folder, as in right/001.npy."),
        ("file,label\n/etc/passwd,x\n", "row 2: '/etc/passwd': expected a file below the data set's folder, as in right/001.npy."),
        ("file,label\nleft/none.npy,x\n", "row 2: left/none.npy cannot be read (No such file or directory)."),
        ("file,label\nleft/link.npy,x\n", "row 2: left/link.npy is or lies behind a link. A data set holds its recordings itself."),
        ("file,label\nleft/000.npy,x\nleft/000.npy,y\n", "row 3: left/000.npy stands twice. Leave one of them out."),
        ("file,label,split\nleft/000.npy,x,trian\n", "row 2: split 'trian': unknown. Did you mean 'train'? Allowed: train, validation, test."),
        ("file,label,split\nleft/000.npy,x,train\nleft/001.npy,x,\n", "left/001.npy has no split, while left/000.npy has one. State it for all recordings, or for none."),
        ("file,label\nleft/000.npy, \n", "row 2: a class name has 1 to 100 printable characters, found ''. Rename it."),
    ],
)  # fmt: skip
def test_a_wrong_manifest_is_refused(text, message):
    _link(class_folders(Path("mine")))
    manifest(text)
    with pytest.raises(InputError) as error:
        dataset("mine")
    assert str(error.value) == f"mine/manifest.csv: {message}"


def test_times_of_several_units_are_refused():
    class_folders(Path("mine"))
    made = events(5).astype([(name, np.float64) for name in "xytp"])
    made["t"] = made["t"] * 1e-6 + 1e-9
    np.save("mine/left/000.npy", made)
    with pytest.raises(InputError) as error:
        dataset("mine")
    assert str(error.value) == (
        "mine: the unit of times cannot be told: it looks like s in left/000.npy, us in left/001.npy. State it in dataset.yaml, as "
        "in unit: us."
    )


def test_frames_too_large_are_refused():
    class_folders(Path("mine"))
    yaml = Path("mine/dataset.yaml")
    yaml.write_text("sensor_size: [32768, 32768]")
    with pytest.raises(
        InputError, match=r"^mine: frames of 2 x 32768 x 32768 have more than 16,777,216 inputs\. State"
    ):
        dataset("mine")
    yaml.write_text("sensor_size: [2048, 2048]")
    with pytest.raises(
        InputError,
        match=r"^data set './mine': counting one recording in 100 bins of 2 x 2048 x 2048 inputs would take",
    ):
        load_dataset("mine", "test", time_bins=100)


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


# Command line


def test_describe_says_what_is_there_and_writes_it_once(capsys):
    class_folders(Path("mine"), count=10)
    Path("mine/README.md").write_text("mine")
    code, out, _ = cli(capsys, "data", "describe", "mine", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["schema"] == "sastdeploy.own_dataset/1" and facts["written"] is None
    left = facts["classes"]["left"]
    assert (left["train"], left["validation"], left["test"], left["events"]) == (7, 1, 2, 400)
    assert (
        0.3 < left["share_on"] < 0.7
        and left["seconds"]["most"] <= 0.05
        and left["events_per_ms"]["median"] > 0.5
    )
    assert facts["left_out"] == ["README.md: lies beside the class folders"] and facts["largest_pixel"] == [
        11,
        9,
    ]
    assert not Path("mine/dataset.yaml").exists()
    assert cli(capsys, "data", "describe", "mine", "--write")[0] == 0
    assert cli(capsys, "data", "describe", "mine", "--write")[0] == 0
    first = Path("mine/dataset.yaml").read_text()
    assert json.loads(cli(capsys, "data", "describe", "mine", "--json")[1])["guessed"] == []
    Path("mine/dataset.yaml").write_text("name: other")
    code, _, err = cli(capsys, "data", "describe", "mine", "--write")
    assert code == 3 and "mine/dataset.yaml: exists, and is not what would be written now." in err
    assert cli(capsys, "data", "describe", "mine", "--write", "--force")[0] == 0
    assert Path("mine/dataset.yaml").read_text() == first.replace('"mine"', '"other"')


def test_describe_wants_a_folder(capsys):
    code, _, err = cli(capsys, "data", "describe", "none")
    assert code == 3 and "data set './none': there is no such folder." in err
    Path("file").write_text("x")
    assert "data set './file': is no folder." in cli(capsys, "data", "describe", "file")[2]


def test_one_recording_is_shown_as_its_data_set_reads_it(capsys):
    for n, name in enumerate("ab"):
        for k in range(4):
            made = events((n, k), size=(200, 150))
            Path("mine", name).mkdir(parents=True, exist_ok=True)
            np.savetxt(Path("mine", name, f"{k}.txt"), np.stack([made[f] for f in "ptxy"], 1), "%d")
    Path("mine/dataset.yaml").write_text("columns: ptxy\nunit: us\nsensor_size: [200, 150]\n")
    code, out, err = cli(capsys, "data", "show", "mine/a/0.txt", "--dataset", "mine", "--json")
    assert code == 0, err
    assert json.loads(out)["events"] == 40 and json.loads(out)["unit"] == "us"
    assert cli(capsys, "data", "show", "mine/a/0.txt")[0] == 3


def test_a_sweep_takes_a_folder_beside_its_file():
    class_folders(Path("sweep/mine"))
    Path("sweep/net.yaml").write_text("name: net\nlayers: [{kind: dense, neurons: 4}]\n")
    text = "name: small\ntitle: Small\ndataset: mine\nseeds: [0]\nfixed: {arch: net.yaml}\ngrid: [{method: baseline}]\n"
    Path("sweep/e.yaml").write_text(text)
    (trial,) = load_experiment("sweep/e.yaml").trials
    assert trial.dataset == "sweep/mine"
    address = trial.address(data_hash(trial.dataset))
    shutil.move("sweep", "other")
    (moved,) = load_experiment("other/e.yaml").trials
    assert moved.dataset == "other/mine" and moved.address(data_hash(moved.dataset)) == address
    os.chdir("other")
    (near,) = load_experiment("e.yaml").trials
    assert near.dataset == "./mine" and near.address(data_hash(near.dataset)) == address


NETWORK = "name: small\nlayers: [{kind: dense, neurons: 32}]\n"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return shape_folders(tmp_path_factory.mktemp("shapes") / "shapes")


def test_describe_train_compile_simulate(shapes, capsys):
    """The whole road on simulated recordings of three moving shapes, 32 x 32."""
    shutil.copytree(shapes, "shapes")
    Path("net.yaml").write_text(NETWORK)
    Path("shapes/dataset.yaml").write_text("simulated: true\nsensor_size: [32, 32]\ndownsample: 2\n")
    assert cli(capsys, "data", "describe", "shapes", "--write", "--force")[0] == 0
    assert cli(capsys, "data", "check", "shapes")[0] == 0
    code, _, err = cli(
        capsys, "train", "--dataset", "shapes", "--arch", "net.yaml", "--epochs", 12, "--batch-size", 8, "--lr", 0.01,
        "--init", "alive", "--kernels", "torch", "--out", "c.pt",
    )  # fmt: skip
    assert code == 0, err
    checkpoint = load_checkpoint("c.pt")
    assert checkpoint.dataset == "./shapes" and checkpoint.classes == SHAPES
    assert checkpoint.preprocessing.frame_size == (16, 16)
    code, out, err = cli(capsys, "evaluate", "c.pt", "--json")
    evaluation = json.loads(out)
    assert code == 0 and (evaluation["dataset"], evaluation["simulated"]) == ("./shapes", True)
    assert evaluation["hard"] > 0.5 and evaluation["recordings"] == 6
    assert cli(capsys, "compile", "c.pt")[0] == 0
    program = load_program("c.loihi_int8.onnx")
    assert program.dataset == "./shapes" and program.classes == SHAPES
    code, out, err = cli(capsys, "simulate", "c.loihi_int8.onnx", "--engine", "reference", "--json")
    summary = json.loads(out)
    assert code == 0 and summary["dataset"] == "./shapes" and summary["recordings"] == 6
    assert summary["accuracy"]["value"] > 0.5
    # The one program that fits is taken, and a run into the same folder goes on.
    for _ in range(2):
        code, _, err = cli(
            capsys, "simulate", "--dataset", "shapes/", "--engine", "reference", "--out", "run"
        )
        assert code == 0, err
    for words in (
        ("analyse", "c.pt", "--json"),
        ("robustness", "c.pt", "--corruption", "drop:0.3", "--split", "validation", "--json"),
        ("simulate", "c.loihi_int8.onnx", "--recording", "shapes/disc/000.npy", "--dataset", "shapes", "--engine", "reference"),
        ("inspect", "--arch", "net.yaml", "--dataset", "shapes"),
    ):  # fmt: skip
        code, _, err = cli(capsys, *words)
        assert code == 0, (words, err)
    # An interrupted and resumed training on the folder is one training.
    code, _, err = cli(
        capsys, "train", "--dataset", "shapes", "--arch", "net.yaml", "--out", "c.pt", "--resume"
    )
    assert code == 3 and "c.pt: is finished" in err


def _differs(capsys, text):
    Path("mine/dataset.yaml").write_text(text)
    code, _, err = cli(capsys, "evaluate", "c.pt", "--dataset", "mine")
    assert code == 3
    return " ".join(err.split())


def test_a_folder_that_does_not_fit_is_told_what_differs(capsys):
    from sastdeploy.networks.architecture import Architecture, Dense, Readout
    from tests.small_networks import checkpoint_of

    class_folders(Path("mine"))
    net = Architecture("net", (2, 10, 12), (Dense(4),), Readout(), 2)
    save_checkpoint("c.pt", checkpoint_of(net, classes=("left", "right"), dataset="./gone", time_bins=10))
    assert cli(capsys, "evaluate", "c.pt", "--dataset", "mine")[0] == 0
    assert (
        "./mine has sensor 14 x 10 x 2 instead of 12 x 10 x 2; frames 14 x 10 instead of 12 x 10."
        in _differs(capsys, "sensor_size: [14, 10]")
    )
    assert "frames 6 x 5 instead of 12 x 10." in _differs(capsys, "downsample: 2")
    assert "the classes in another order, right, left instead of left, right." in _differs(
        capsys, "classes: [right, left]"
    )
    code, _, err = cli(capsys, "evaluate", "c.pt")
    assert (
        code == 3
        and "data set './gone': there is no such folder. Name the folder of the recordings with --dataset"
        in err
    )
    Path("mine/dataset.yaml").unlink()
    assert cli(capsys, "compile", "c.pt")[0] == 0
    shutil.move("mine/left", "mine/up")
    code, _, err = cli(capsys, "evaluate", "c.pt", "--dataset", "mine")
    assert code == 3 and "classes right, up instead of left, right." in " ".join(err.split())
    code, _, err = cli(capsys, "simulate", "c.loihi_int8.onnx", "--dataset", "mine", "--engine", "reference")
    assert (
        code == 3
        and "was trained on ./gone; ./mine has classes right, up instead of left, right."
        in " ".join(err.split())
    )
