"""Simulated N-MNIST and DVS Gesture: images, saccades, performers, files."""

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest

from sastdeploy._files.locks import alone
from sastdeploy.errors import InputError
from sastdeploy.recordings.catalog import GESTURES
from sastdeploy.synthesis import gestures as scenes_gestures
from sastdeploy.synthesis import nmnist_sim
from sastdeploy.synthesis.body import draw_performer, pose
from sastdeploy.synthesis.dvsgesture_sim import aedat31_bytes, make_dvsgesture_sim, performer_split
from sastdeploy.synthesis.gestures import draw_gesture
from sastdeploy.synthesis.mnist import (
    encode_images,
    encode_labels,
    load_digits,
    parse_images,
    parse_labels,
    stratified,
)
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim, nmnist_bytes
from sastdeploy.synthesis.saccades import NMNIST_SENSOR, SaccadeScene, draw_digit, saccade_path
from sastdeploy.synthesis.sensor import play_images
from sastdeploy.synthesis.store import _spread


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_shipped_digits_are_stratified_and_whole():
    train, test = load_digits("train"), load_digits("test")
    assert (len(train), len(test)) == (12000, 2000)
    # 12,000 of 60,000: a fifth of 5923 6742 5958 6131 5842 5421 5918 6265 5851 5949, rounded.
    assert np.bincount(train.labels).tolist() == [1185, 1348, 1192, 1226, 1168, 1084, 1184, 1253, 1170, 1190]


def test_shipped_digits_are_the_originals(shared_data):
    from importlib import resources

    record = json.loads((resources.files("sastdeploy") / "data" / "mnist-subset.json").read_text())
    for split in ("train", "test"):
        full, shipped = load_digits(split, shared_data / "mnist"), load_digits(split)
        chosen = record[f"{split}_original_indices"]
        assert np.array_equal(full.images[chosen], shipped.images)
        assert np.array_equal(full.labels[chosen], shipped.labels)


def test_idx_round_trip_and_errors(tmp_path):
    images = np.arange(2 * 784, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28)
    good = encode_images(images)
    assert np.array_equal(parse_images(good, "f"), images)
    with pytest.raises(InputError, match=r"announces 2 images, which is 1584 bytes\."):
        parse_images(good[:-1], "f")
    with pytest.raises(InputError, match=r"0x00000801 at offset 0\. Allowed for images: 0x00000803\."):
        parse_images(b"\0\0\x08\x01" + good[4:], "f")
    with pytest.raises(InputError, match="shorter than an IDX header of 16 bytes"):
        parse_images(b"", "f")
    with pytest.raises(InputError, match=r"label 10 at offset 9\. Allowed: 0 to 9\."):
        parse_labels(encode_labels(np.array([3, 10], np.uint8)), "f")
    with pytest.raises(InputError, match=r"neither train-images-idx3-ubyte nor .*\.gz found"):
        load_digits("train", tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        load_digits("train", tmp_path / "nowhere")
    packed = gzip.compress(good)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed[:-9])
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(encode_labels(np.array([1, 2, 3], np.uint8)))
    with pytest.raises(InputError, match="the gzip stream ends early"):
        load_digits("train", tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed)
    with pytest.raises(InputError, match=r"2 images, but .* holds 3 labels"):
        load_digits("train", tmp_path)


def test_stratified_draw():
    labels = load_digits("test").labels
    chosen = stratified(labels, 100, 1)
    assert len(np.unique(chosen)) == 100
    assert np.bincount(labels[chosen]).min() >= 8
    with pytest.raises(InputError, match="count 2001: outside 1 to 2000"):
        stratified(labels, 2001, 0)


def test_saccades_accelerate_and_brake():
    scene = SaccadeScene()
    speed = np.linalg.norm(np.diff(saccade_path(scene), axis=0), axis=1)
    ends = [0, *(int(e / scene.sensor.step_us) for e in scene.ends_us)]
    for start, end in pairwise(ends):
        part = speed[start:end]
        assert 0.3 < part.argmax() / len(part) < 0.65
        assert part[:5].max() < 0.2 * part.max()
        assert part[-5:].max() < 0.2 * part.max()
    path = saccade_path(scene)
    assert np.allclose(path[0], path[-1], atol=0.01)


def test_simulated_digits_resemble_the_real_ones():
    digits, scene = load_digits("train"), SaccadeScene()
    recordings = [draw_digit(digits.images[i], scene, (0, 0, i)) for i in range(60)]
    events = np.array([len(r) for r in recordings])
    assert 3700 < events.mean() < 4700
    assert 0.47 < np.mean([r["p"].mean() for r in recordings]) < 0.53
    # Activity rises and falls within each saccade.
    rate = np.sum([np.histogram(r["t"], np.arange(0, 310_000, 15_500))[0] for r in recordings], 0)
    assert rate[3] > 3 * rate[0]
    assert rate[3] > 3 * rate[6]
    assert rate[9] > 3 * rate[13]


def test_the_fast_kernel_agrees_with_the_plain_one():
    from dataclasses import replace

    quiet = replace(NMNIST_SENSOR, shot_noise_hz=0.0, mismatch=0.0, hot_fraction=0.0, random_reference=False,
                    leak_hz=0.0)  # fmt: skip
    scene = replace(SaccadeScene(), sensor=quiet, place_jitter=0.0, contrast_jitter=0.0, time_jitter_us=0.0)
    image = load_digits("train").images[7]
    padded = np.zeros((60, 60))
    padded[16:44, 16:44] = image / 255.0
    images = []
    for x, y in saccade_path(scene):
        rows, columns = np.arange(34) - 3 - y + 16, np.arange(34) - 3 - x + 16
        r, c = np.floor(rows).astype(int), np.floor(columns).astype(int)
        fr, fc = (rows - r)[:, None], (columns - c)[None]
        ink = (1 - fr) * ((1 - fc) * padded[np.ix_(r, c)] + fc * padded[np.ix_(r, c + 1)]) + fr * (
            (1 - fc) * padded[np.ix_(r + 1, c)] + fc * padded[np.ix_(r + 1, c + 1)]
        )
        images.append(scene.background - (scene.background - scene.ink) * ink)
    plain, fast = play_images(np.array(images), quiet), draw_digit(image, scene, (1,))
    assert abs(len(plain) - len(fast)) <= 2
    assert np.array_equal(
        np.sort(plain, order=["t", "y", "x"])[:500], np.sort(fast, order=["t", "y", "x"])[:500]
    )


def test_nmnist_files_do_not_depend_on_processes_and_resume(tmp_path):
    one = make_nmnist_sim(tmp_path / "one", train=230, test=20, processes=1)
    made = contents(one)
    two = make_nmnist_sim(tmp_path / "two", train=230, test=20, processes=2)
    assert contents(two) == made
    manifest = json.loads(made["simulated.json"])
    assert manifest["simulated"] is True
    assert manifest["recordings"] == 250
    # An interrupted set (no manifest, a file missing) is completed to the same bytes.
    victim, other = sorted(two.rglob("*.bin"))[:2]
    victim.unlink()
    other.write_bytes(b"")  # as a power cut can leave it
    (two / "simulated.json").rename(two / "simulated.partial.json")
    make_nmnist_sim(tmp_path / "two", train=230, test=20, processes=1)
    assert contents(two) == made
    # What else lies there is no recording; an empty file is none either.
    (two / "Train" / "3" / "._00001.bin").write_bytes(b"x")
    (two / victim.relative_to(two)).write_bytes(b"")
    make_nmnist_sim(tmp_path / "two", train=230, test=20, processes=1)
    (two / "Train" / "3" / "._00001.bin").unlink()
    assert contents(two) == made
    # A complete set is left alone; other parameters are refused, or replace it when forced.
    before = (one / "simulated.json").stat().st_mtime_ns
    make_nmnist_sim(tmp_path / "one", train=230, test=20)
    assert (one / "simulated.json").stat().st_mtime_ns == before
    with pytest.raises(InputError) as caught:
        make_nmnist_sim(tmp_path / "one", train=12, test=3)
    assert str(caught.value) == (
        f"{one}: holds a simulated set of other parameters (test, train differ). "
        f"Choose another folder with --data, or replace it with --force."
    )
    make_nmnist_sim(tmp_path / "one", train=12, test=3, processes=1, force=True)
    assert len(list(one.rglob("*.bin"))) == 15
    # Killed between the manifest and its note of an unfinished set: the set is whole.
    (one / "simulated.partial.json").write_bytes((one / "simulated.json").read_bytes())
    make_nmnist_sim(tmp_path / "one", train=12, test=3)
    assert not (one / "simulated.partial.json").exists()


def test_workers_end_with_a_command_that_is_killed(tmp_path):
    command = [sys.executable, "-m", "sastdeploy", "data", "make", "nmnist-sim", "--processes", "2"]
    with subprocess.Popen(
        [*command, "--data", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        try:
            give_up = time.monotonic() + 120
            while not any(tmp_path.rglob("*.bin")) and running.poll() is None and time.monotonic() < give_up:
                time.sleep(0.01)
            running.kill()
            # Returns when nobody holds the pipe any more: neither a worker nor what watches over them.
            running.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    assert any(tmp_path.rglob("*.bin")) and not any(tmp_path.rglob("simulated.json"))


def test_nmnist_bytes_by_hand():
    from sastdeploy.recordings.events import EVENT_DTYPE

    # x 5, y 33, ON, t 70000 = 0x011170: 0x05 0x21 (0x80 | 0x01) 0x11 0x70
    events = np.array([(5, 33, 70000, 1)], EVENT_DTYPE)
    assert nmnist_bytes(events) == bytes([0x05, 0x21, 0x81, 0x11, 0x70])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 12001}, "train 12001: outside 1 to 12000, the number of train images."),
        ({"train": 0}, "train 0: outside 1 to 12000"),
        ({"test": -1}, "test -1: outside 0 to 2000"),
        ({"seed": -1}, "seed -1: outside 0 to 2147483647."),
        ({"processes": 0}, "processes 0: outside 1 to 1024."),
    ],
)
def test_bad_parameters_of_nmnist_sim(tmp_path, options, message):
    with pytest.raises(InputError) as caught:
        make_nmnist_sim(tmp_path, **{"train": 10, "test": 1, **options})
    assert str(caught.value).startswith(message)


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "nmnist-sim").mkdir()
    (tmp_path / "nmnist-sim" / "thesis.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(InputError, match="is not empty and holds no simulated set"):
            make_nmnist_sim(tmp_path, train=10, test=1, processes=1, force=force)
    assert (tmp_path / "nmnist-sim" / "thesis.txt").read_text() == "mine"


def test_one_process_makes_a_set_at_a_time(tmp_path):
    small = {"train": 10, "test": 1, "processes": 1}
    with alone(tmp_path / "nmnist-sim", ""):
        for force in (False, True):
            with pytest.raises(InputError) as error:
                make_nmnist_sim(tmp_path, **small, force=force)
            assert str(error.value) == (
                f"{tmp_path / 'nmnist-sim'}: another process is making this set at this moment. Wait for its end, then repeat "
                "the command."
            )
    assert not (tmp_path / "nmnist-sim").exists()
    made = make_nmnist_sim(tmp_path, **small)
    with alone(tmp_path / "nmnist-sim", ""):
        assert make_nmnist_sim(tmp_path, **small) == made  # complete, so there is nothing to make


def test_a_killed_first_write_and_lost_recordings_do_not_stop_a_set(tmp_path, monkeypatch):
    folder, small = tmp_path / "nmnist-sim", {"train": 10, "test": 1, "processes": 1}
    folder.mkdir()
    (folder / ".simulated.partial.json.0a1b2c3d.json").write_text("half")
    work = nmnist_sim._make_digits

    def losing(chunk):
        rows = work(chunk)
        (folder / rows[0][0]).unlink()
        return rows

    monkeypatch.setattr(nmnist_sim, "_make_digits", losing)
    with pytest.raises(
        InputError, match=r"recordings are gone that were there when they were made. Repeat the command."
    ):
        make_nmnist_sim(tmp_path, **small)
    monkeypatch.undo()
    assert sorted(path.name for path in make_nmnist_sim(tmp_path, **small).iterdir()) == [
        "Test",
        "Train",
        "simulated.json",
    ]


def test_a_process_that_is_killed_is_told(tmp_path):
    with pytest.raises(InputError) as error:
        list(_spread(_die, [1, 2], 2))
    assert str(error.value) == (
        "a process that makes recordings was ended from outside: by a lack of memory, or in a script without "
        "if __name__ == '__main__'. Repeat it, with fewer processes; it goes on where it was."
    )


def _die(chunk):
    os.kill(os.getpid(), signal.SIGKILL)


def test_every_performer_differs_and_the_split_is_by_performer():
    people = [draw_performer(0, n) for n in range(1, 30)]
    assert len({(p.scale, p.upper_arm, p.tempo) for p in people}) == 29
    train, test = performer_split(29)
    assert (train, test) == (tuple(range(1, 24)), tuple(range(24, 30)))
    assert performer_split(2) == ((1,), (24,))


def test_arms_keep_their_lengths_and_circles_turn_both_ways():
    who = draw_performer(0, 3)
    t = np.arange(0, 4, 0.01)
    for gesture in range(len(GESTURES)):
        joints = pose(gesture, t, who, np.random.default_rng(gesture))
        assert joints.shape == (400, 10, 2)
        assert np.isfinite(joints).all()
        upper = np.linalg.norm(joints[:, 1] - joints[:, 0], axis=1)
        assert upper.max() < 1.35 * who.upper_arm * who.scale
    turned = []
    for gesture in (3, 4, 5, 6):
        joints = pose(gesture, t, who, np.random.default_rng(1))
        wrist = joints[:, 2 if gesture < 5 else 6]
        centred = wrist - wrist.mean(0)
        angle = np.unwrap(np.arctan2(centred[:, 1], centred[:, 0]))
        turned.append(np.sign(angle[-1] - angle[0]))
    assert turned == [1, -1, 1, -1]


def test_gestures_are_deterministic_and_seeded():
    first = draw_gesture(3, 1, 0, 400_000, 0)
    assert first.tobytes() == draw_gesture(3, 1, 0, 400_000, 0).tobytes()
    assert first.tobytes() != draw_gesture(3, 2, 0, 400_000, 0).tobytes()
    assert first.tobytes() != draw_gesture(3, 1, 0, 400_000, 1).tobytes()
    assert len(first) > 500
    assert first["t"].max() < 400_000
    assert max(first["x"].max(), first["y"].max()) < 128
    with pytest.raises(InputError, match="gesture 11: outside 0 to 10"):
        draw_gesture(11, 1, 0, 400_000, 0)


def test_gesture_files(tmp_path):
    one = make_dvsgesture_sim(tmp_path / "one", performers=2, lightings=1, duration=0.5, processes=1)
    two = make_dvsgesture_sim(tmp_path / "two", performers=2, lightings=1, duration=0.5, processes=2)
    made = contents(one)
    assert contents(two) == made
    train = made["trials_to_train.txt"].decode().split()
    test = made["trials_to_test.txt"].decode().split()
    assert [n[:6] for n in train + test] == ["user01", "user24"]
    assert train[0][7:-6] in {light.name for light in scenes_gestures.LIGHTINGS}
    labels = made[train[0].replace(".aedat", "_labels.csv")].decode().splitlines()
    assert labels[0] == "class,startTime_usec,endTime_usec"
    assert labels[1:3] == ["1,200000,700000", "2,900000,1400000"]
    assert len(labels) == 12
    assert made[train[0]].startswith(b"#!AER-DAT3.1\r\n")
    # Labels and lists belong to a complete set.
    for name in (train[0].replace(".aedat", "_labels.csv"), "trials_to_test.txt"):
        (one / name).unlink()
        make_dvsgesture_sim(tmp_path / "one", performers=2, lightings=1, duration=0.5, processes=1)
        assert contents(one) == made


def test_aedat_bytes_by_hand():
    from sastdeploy.recordings.events import EVENT_DTYPE

    # x 3, y 2, ON, t 258: word = 1 | 1 << 1 | 2 << 2 | 3 << 17 = 0x0006000B
    content = aedat31_bytes(np.array([(3, 2, 258, 1)], EVENT_DTYPE))
    body = content.split(b"#!END-HEADER\r\n")[1]
    assert (
        body.hex()
        == "01000100" + "08000000" + "04000000" + "00000000" + "01000000" * 3 + "0b000600" + "02010000"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"performers": 1}, "performers 1: outside 2 to 29."),
        ({"lightings": 6}, "lightings 6: outside 1 to 5."),
        ({"duration": 0.1}, "duration 0.1: outside 0.5 to 20 seconds per gesture."),
        ({"seed": 1.5}, "seed 1.5: outside 0 to"),
    ],
)
def test_bad_parameters_of_dvsgesture_sim(tmp_path, options, message):
    with pytest.raises(InputError) as caught:
        make_dvsgesture_sim(tmp_path, **options)
    assert str(caught.value).startswith(message)


def test_the_manifest_hash_is_over_names_and_contents(tmp_path):
    folder = make_nmnist_sim(tmp_path, train=10, test=0, processes=1)
    lines = sorted(
        (str(p.relative_to(folder)), hashlib.sha256(p.read_bytes()).hexdigest())
        for p in folder.rglob("*.bin")
    )
    expected = hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in lines).encode()).hexdigest()
    assert json.loads((folder / "simulated.json").read_text())["sha256"] == expected
