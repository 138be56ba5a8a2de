"""A folder of one's own recordings as a data set: what a folder is, and which are refused."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sastdeploy.errors import InputError
from sastdeploy.recordings.catalog import full_name
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.own.layout import class_order
from sastdeploy.recordings.own.records import SPLITS
from sastdeploy.recordings.splits import load_dataset
from tests.own_recordings import class_folders, events, manifest, write_events

pytestmark = pytest.mark.usefixtures("here")


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


def test_what_systems_add_to_a_folder_is_left_out():
    class_folders(Path("clean"), count=10)
    class_folders(Path("mine"), count=10)
    for path in [*Path("mine").glob("*/*.npy"), Path("mine/left")]:
        Path(path.parent, f"._{path.name}").write_bytes(b"\0\5\x16\7 no recording")
    shutil.copytree("mine", "mine/__MACOSX")
    shutil.copytree("mine/left", "mine/left/__MACOSX")
    for place in (".DS_Store", "left/.DS_Store", ".Trashes/000.npy"):
        Path("mine", place).parent.mkdir(exist_ok=True)
        Path("mine", place).write_text("x")
    facts, clean = dataset("mine"), dataset("clean")
    assert (facts.classes, facts.own.entries, facts.own.left_out) == (clean.classes, clean.own.entries, ())
    for part in SPLITS:
        assert load_dataset("mine", part).data_hash == load_dataset("clean", part).data_hash


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
    write_events(folder / "right/a.csv", events(77))


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
        ("file,label\n../a.npy,x\n", "row 2: '../a.npy': expected a file below the data set's folder, with / between folder and file, as in right/001.npy."),
        ("file,label\nleft\\000.npy,x\n", "row 2: 'left\\000.npy': expected a file below the data set's folder, with / between folder and file, as in right/001.npy."),
        ("file,label\n/etc/passwd,x\n", "row 2: '/etc/passwd': expected a file below the data set's folder, with / between folder and file, as in right/001.npy."),
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
