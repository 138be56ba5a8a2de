"""dataset.yaml of one's own recordings: what it states, what it refuses, and the draw of splits."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sastdeploy.errors import InputError
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.own.declaration import Declaration, Draw, declaration_text, load_declaration
from sastdeploy.recordings.own.records import Entry
from sastdeploy.recordings.own.split import drawn
from sastdeploy.recordings.splits import load_dataset
from tests.own_recordings import class_folders, events

pytestmark = pytest.mark.usefixtures("here")


def own(**keys):
    return Declaration.model_validate(keys)


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
