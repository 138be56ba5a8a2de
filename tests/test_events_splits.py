"""Binning, the cache and the splits."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sastdeploy._files import atomic
from sastdeploy.errors import InputError
from sastdeploy.recordings import binning as frames_module
from sastdeploy.recordings import cache, frames
from sastdeploy.recordings.binning import bin_events, bin_segments, find_scale
from sastdeploy.recordings.catalog import CATALOG
from sastdeploy.recordings.corrupted_frames import corrupted_frames
from sastdeploy.recordings.corruption import Corruption
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.events import EVENT_DTYPE, Segment
from sastdeploy.recordings.frames import Frames
from sastdeploy.recordings.splits import load_dataset
from tests.test_events_formats import gesture_folder, nmnist_tree


def test_bins_by_hand():
    # from 0 to the last event at 99 us: ten bins of 10 us; t = 9 is in bin 0, t = 10 in bin 1
    events = np.array([(0, 0, 9, 1), (0, 0, 9, 1), (1, 0, 10, 0), (0, 1, 99, 0)], EVENT_DTYPE)
    counts = bin_events(events, (2, 2, 2), (2, 2), 10)
    assert counts.shape == (10, 2, 2, 2)
    assert (counts[0, 1, 0, 0], counts[1, 0, 0, 1], counts[9, 0, 1, 0]) == (2, 1, 1)
    assert counts.sum() == 4


def test_dvs_gesture_columns_reduce_by_x_48_over_128():
    # x = 2 -> 0, x = 3 -> 1 (3 * 48 // 128 = 1), x = 127 -> 47
    events = np.array([(2, 0, 0, 0), (3, 0, 0, 0), (127, 127, 0, 0)], EVENT_DTYPE)
    counts = bin_events(events, (128, 128, 2), (48, 48), 1)[0, 0]
    assert (counts[0, 0], counts[0, 1], counts[47, 47]) == (1, 1, 1)


def test_a_count_saturates_at_255():
    events = np.zeros(300, EVENT_DTYPE)
    assert bin_events(events, (1, 1, 2), (1, 1), 1)[0, 0, 0, 0] == 255


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(0, 1000), st.integers(0, 1)), min_size=1, max_size=60),
       st.integers(1, 12), st.integers(1, 8))  # fmt: skip
def test_binning_equals_the_plain_loop(rows, time_bins, side):
    events = np.array(sorted(rows, key=lambda row: row[2]), EVENT_DTYPE)
    expected = np.zeros((time_bins, 2, side, side), int)
    span = events["t"][-1] + 1
    for x, y, t, p in events.tolist():
        expected[t * time_bins // span, p, y * side // 8, x * side // 8] += 1
    segment = Segment("a", 0, -1, 0, int(span), events)
    assert np.array_equal(
        bin_segments([segment, segment], (8, 8, 2), (side, side), time_bins).dense()[1], expected
    )


def test_the_clip_covers_99_percent_of_the_counts(monkeypatch):
    counts = np.zeros((1, 1, 1, 10, 10), np.uint8)
    counts.reshape(-1)[:] = 1
    counts.reshape(-1)[:1] = 50
    assert find_scale(Frames.from_dense(counts)) == 1  # 99 of 100 counts are 1
    counts.reshape(-1)[:2] = 50
    assert find_scale(Frames.from_dense(counts)) == 50
    counts.reshape(-1)[:2] = 200
    assert find_scale(Frames.from_dense(counts)) == 127
    frames = Frames.from_dense(np.arange(1, 101, dtype=np.uint8).reshape(1, 1, 1, 1, 100))
    monkeypatch.setattr(frames_module, "_PIECE", 7)  # more than one piece, the last of them shorter
    assert find_scale(frames) == 99
    with pytest.raises(InputError, match="hold no event"):
        find_scale(Frames.from_dense(np.zeros((1, 1, 1, 1, 1), int)))


@pytest.fixture
def root(tmp_path):
    nmnist_tree(tmp_path / "nmnist")
    return tmp_path


def names(data):
    return set(data.names)


def test_train_and_validation_share_nothing_and_miss_nothing(root):
    train = load_dataset("nmnist", "train", root=root, validation_fraction=0.25)
    validation = load_dataset("nmnist", "validation", root=root, validation_fraction=0.25)
    assert not names(train) & names(validation)
    assert len(train) == 30 and len(validation) == 10
    assert np.bincount(validation.labels).tolist() == [1] * 10
    assert all(name.startswith("Train/") for name in names(train) | names(validation))
    assert all(name.startswith("Test/") for name in load_dataset("nmnist", "test", root=root).names)


def test_one_recording_per_class_cannot_be_divided(tmp_path):
    tree = nmnist_tree(tmp_path / "nmnist")
    for path in tree.glob("Train/*/0000[123].bin"):
        path.unlink()
    with pytest.raises(InputError, match="10 training recordings are too few to hold one of each class out"):
        load_dataset("nmnist", "train", root=tmp_path)


def test_another_seed_holds_out_others_and_the_same_seed_the_same(root):
    draws = [
        load_dataset("nmnist", "validation", root=root, seed=s, validation_fraction=0.25).names
        for s in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_gestures_are_held_out_by_performer(tmp_path):
    folder = gesture_folder(tmp_path / "dvsgesture")
    for user in (1, 2, 3):
        for suffix in (".aedat", "_labels.csv"):
            (folder / f"user0{user}_led{suffix}").write_bytes((folder / f"user07_led{suffix}").read_bytes())
    (folder / "trials_to_train.txt").write_text("".join(f"user0{u}_led.aedat\n" for u in (1, 2, 3)))
    train = load_dataset("dvsgesture", "train", root=tmp_path)
    validation = load_dataset("dvsgesture", "validation", root=tmp_path)
    assert len(set(validation.groups)) == 1 and not set(train.groups) & set(validation.groups)
    assert set(load_dataset("dvsgesture", "test", root=tmp_path).groups) == {7}


def test_a_limit_keeps_the_classes_in_their_proportions(root):
    data = load_dataset("nmnist", "test", root=root, limit=20)
    assert np.bincount(data.labels).tolist() == [2] * 10
    assert len(load_dataset("nmnist", "test", root=root, limit=1000)) == 40


@pytest.mark.parametrize(("options", "message"), [
    ({"split": "val"}, "split 'val': unknown. Allowed: train, validation, test."),
    ({"limit": 0}, "limit 0: must be at least 1."),
    ({"time_bins": 0}, "time bins 0: outside 1 to 1000."),
    ({"validation_fraction": 0.0}, "validation fraction 0.0: outside (0, 1)."),
    ({"name": "nmist"}, "data set 'nmist': unknown. Did you mean 'nmnist'?"),
    ({"name": "mnist"}, "data set 'mnist': holds images, no recordings."),
])  # fmt: skip
def test_load_dataset_refuses(root, options, message):
    options = {"name": "nmnist", "split": "train", **options}
    with pytest.raises(InputError) as caught:
        load_dataset(options.pop("name"), options.pop("split"), root=root, **options)
    assert message in str(caught.value)


def test_a_missing_real_set_names_three_ways(tmp_path):
    with pytest.raises(InputError) as caught:
        load_dataset("dvsgesture", "test", root=tmp_path)
    assert str(caught.value) == (
        f"data set 'dvsgesture': not found (there is no folder {tmp_path}/dvsgesture). Three ways to get it: "
        f"(1) run 'sastdeploy data fetch dvsgesture'; (2) put the official files (ibmGestureTrain.tar.gz and "
        f"ibmGestureTest.tar.gz, or unpacked) into {tmp_path}/dvsgesture; (3) use simulated recordings: "
        f"'sastdeploy data make dvsgesture-sim' and --dataset dvsgesture-sim."
    )


def test_an_unfinished_simulated_set_is_refused(tmp_path):
    nmnist_tree(tmp_path / "nmnist-sim")
    (tmp_path / "nmnist-sim" / "simulated.partial.json").write_text("{}")
    with pytest.raises(InputError, match=r"is not finished. Run 'sastdeploy data make nmnist-sim' again"):
        load_dataset("nmnist-sim", "train", root=tmp_path)


def test_a_bad_file_stops_or_is_left_out_and_named(tmp_path):
    nmnist_tree(tmp_path / "nmnist", damage=b"1234567")
    with pytest.raises(
        InputError, match=r"00001.bin: offset 5: truncated.*To go on without bad files: --skip-bad"
    ):
        load_dataset("nmnist", "train", root=tmp_path)
    for _ in range(2):  # binned, then from the cache
        messages = []
        data = load_dataset(
            "nmnist", "train", root=tmp_path, skip_bad=True, validation_fraction=0.25, say=messages.append
        )
        assert len(data) == 29 and messages[0] == "1 bad files left out:" and "00001.bin" in messages[1]


def test_a_listed_file_that_is_absent_is_told_or_left_out(tmp_path):
    folder = gesture_folder(tmp_path / "dvsgesture")
    for user in (1, 2):
        for part in (".aedat", "_labels.csv"):
            shutil.copy(folder / f"user07_led{part}", folder / f"user0{user}_led{part}")
    listed = "user01_led.aedat\nuser02_led.aedat\nuser09_led.aedat\n"
    (folder / "trials_to_train.txt").write_text(listed)
    with pytest.raises(InputError, match=r"user09_led.aedat: cannot be read \(No such file"):
        load_dataset("dvsgesture", "train", root=tmp_path)
    messages = []
    load_dataset("dvsgesture", "train", root=tmp_path, skip_bad=True, say=messages.append)
    assert messages[0] == "1 bad files left out:" and "user09_led.aedat" in messages[1]


def test_changed_labels_of_gestures_are_read(tmp_path):
    labels = gesture_folder(tmp_path / "dvsgesture") / "user07_led_labels.csv"
    before = load_dataset("dvsgesture", "test", root=tmp_path)
    labels.write_text(labels.read_text().replace("3,10,30", "5,10,30"))
    after = load_dataset("dvsgesture", "test", root=tmp_path)
    assert (before.labels.tolist(), after.labels.tolist()) == ([2, 10], [4, 10])


def test_names_do_not_depend_on_how_the_folder_is_written(tmp_path, monkeypatch):
    root = tmp_path / "nmnist" / "data"
    nmnist_tree(root / "nmnist")
    monkeypatch.chdir(root)
    for written in (root, Path("."), Path("../data")):
        shutil.rmtree(root / ".frames", ignore_errors=True)
        clean = load_dataset("nmnist", "test", root=written)
        assert clean.names[0] == "Test/0/00000.bin"
    corrupt = Corruption.parse("drop:0.5")
    one, other = (corrupted_frames(clean, "nmnist", "test", corrupt, root=at) for at in (root, Path(".")))
    assert np.array_equal(one.frames.dense(), other.frames.dense())


def test_a_quicker_process_is_no_error_where_the_file_system_has_no_locks(root, monkeypatch):
    first = load_dataset("nmnist", "test", root=root)
    fault, remove, messages = cache._fault, atomic.remove_folder, []
    # The other process's cache appears between this one's second look and its last step.
    answers = iter(["absent", "absent"])
    monkeypatch.setattr(cache, "_fault", lambda folder: next(answers, None) or fault(folder))
    monkeypatch.setattr(atomic, "remove_folder", lambda folder: None)
    again = load_dataset("nmnist", "test", root=root, say=messages.append)
    assert remove is not atomic.remove_folder and next(answers, None) is None
    assert again.data_hash == first.data_hash
    assert not [p for p in (root / ".frames").iterdir() if p.name.startswith(".")]


def test_the_second_call_reads_the_cache_only(root, monkeypatch):
    first = load_dataset("nmnist", "test", root=root)

    def fail(*_, **__):
        raise AssertionError("binned again")

    monkeypatch.setattr(cache, "_fill", fail)
    # What a hash has verified is not looked at entry by entry.
    monkeypatch.setattr(frames, "_checked", fail)
    second = load_dataset("nmnist", "test", root=root)
    assert isinstance(second.frames.index, np.memmap)
    assert np.array_equal(first.frames.dense(), second.frames.dense()) and first.data_hash == second.data_hash
    (root / "nmnist" / "Test" / "0" / "00000.bin").write_bytes(b"12345")
    with pytest.raises(AssertionError, match="binned again"):
        load_dataset("nmnist", "test", root=root)
    with pytest.raises(AssertionError, match="binned again"):
        load_dataset("nmnist", "test", root=root, time_bins=5)


def one_cache(root):
    (folder,) = (p for p in (root / ".frames").iterdir() if p.is_dir())
    return folder


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("harm", [flip, halve, Path.unlink])
@pytest.mark.parametrize("name", [*cache._FILES, cache._SUMS])
def test_a_damaged_cache_is_binned_anew_and_named(root, name, harm):
    messages = []
    first = load_dataset("nmnist", "test", root=root)
    expected, folder = first.frames.dense(), one_cache(root)
    harm(folder / name)
    again = load_dataset("nmnist", "test", root=root, say=messages.append)
    assert np.array_equal(again.frames.dense(), expected)
    assert (again.names, again.data_hash) == (first.names, first.data_hash)
    (line,) = messages
    assert line.startswith(f"{folder}: is damaged ({name}") or name == cache._SUMS, line
    assert line.endswith("; the recordings are binned anew.")
    load_dataset("nmnist", "test", root=root, say=messages.append)
    assert len(messages) == 1


def test_a_damage_that_keeps_size_and_time_is_found(root):
    load_dataset("nmnist", "test", root=root)
    path, messages = one_cache(root) / "count.bin", []
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    load_dataset("nmnist", "test", root=root, say=messages.append)
    assert "count.bin is not what was written" in messages[0]


@pytest.mark.parametrize("stamp", ["", "[]", None])
def test_sums_are_read_once_per_state_of_the_files(root, monkeypatch, stamp):
    load_dataset("nmnist", "test", root=root)
    summed, sum_of = [], cache._sum
    monkeypatch.setattr(cache, "_sum", lambda path: summed.append(path.name) or sum_of(path))
    load_dataset("nmnist", "test", root=root)
    assert summed == []
    path = one_cache(root) / cache._VERIFIED
    path.unlink() if stamp is None else path.write_text(stamp)
    for _ in range(2):
        load_dataset("nmnist", "test", root=root)
    assert summed == list(cache._FILES)


def test_a_damaged_cache_that_cannot_be_removed_or_kept_is_an_error(root, monkeypatch):
    load_dataset("nmnist", "test", root=root)
    folder = one_cache(root)
    flip(folder / "index.bin")
    with monkeypatch.context() as patch, pytest.raises(InputError) as caught:
        patch.setattr(
            atomic.tempfile,
            "mkdtemp",
            lambda **_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")),
        )
        load_dataset("nmnist", "test", root=root)
    assert str(caught.value) == (
        f"{folder}: cannot be removed (Permission denied). Remove it, or choose another folder."
    )
    monkeypatch.setattr(cache, "_fault", lambda folder: "index.bin is not what was written")
    with pytest.raises(InputError, match=r"does not read back as it was written \(index.bin is not what"):
        load_dataset("nmnist", "test", root=root)


def test_a_failure_leaves_no_half_cache(root, monkeypatch):
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        load_dataset("nmnist", "test", root=root)
    assert [p.name for p in (root / ".frames").iterdir() if p.is_dir()] == []


def test_two_processes_at_once_make_one_cache(root):
    program = f"from pathlib import Path; from sastdeploy.recordings.splits import load_dataset; print(load_dataset('nmnist', 'test', root=Path({str(root)!r})).data_hash)"
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = {process.communicate()[0] for process in running}
    assert len(outputs) == 1 and all(process.returncode == 0 for process in running)
    assert len([p for p in (root / ".frames").iterdir() if p.is_dir()]) == 1


def test_every_declared_set_is_whole():
    for name, facts in CATALOG.items():
        assert facts.name == name and facts.citation and facts.licence and facts.source
        assert facts.simulated == name.endswith("-sim")
        assert all(len(remote.md5) == 32 for remote in facts.files) and bool(facts.files) != facts.simulated
    assert dataset("dvsgesture").stand_in in CATALOG
