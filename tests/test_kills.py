"""kill -9 at any moment costs at most one epoch of what runs: real processes, killed from outside and at chosen calls."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from sastdeploy.experiments import runner as local
from sastdeploy.experiments.runner import addresses, run_all
from sastdeploy.experiments.spec import load_experiment
from sastdeploy.networks.checkpoint import checkpoint_hash, load_checkpoint
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim
from tests.interrupts import alive

DEADLINE = 300
pytestmark = pytest.mark.slow


def until(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
        time.sleep(0.01)


def read(log):
    """Return a log of epochs as it is on disk; nothing where there is none yet."""
    return log.read_text("utf-8") if log.exists() else ""


def seconds(log):
    """Return how long the log's last epoch took."""
    return json.loads(read(log).splitlines()[-1])["seconds"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_nmnist_sim(folder, train=60, test=20, seed=1, processes=1)
    return folder


EPOCHS = 24
PROGRAM = """
import os, signal, sys

from sastdeploy.cli.main import main

kind, name, left = sys.argv.pop(1), sys.argv.pop(1), int(sys.argv.pop(1))


def count(frame, event, argument):
    global left
    if event == kind and name == (argument.__name__ if event[:2] == "c_" else frame.f_code.co_name):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


sys.setprofile(count)
main()
"""
"""``sastdeploy``, which kills itself at the given number of the calls of a function or the returns from it."""

MOMENTS = {
    "in the first epoch, between the two passes of SAST": ("return", "plain_gradient", 3, 0),
    "in the validation with hard spikes": ("call", "predict", 4, 1),
    "the state half written": ("c_call", "write_record", 12, 1),
    "the state in its place, the log not": ("call", "write_log", 2, 2),
    "the checkpoint in its place, the state not removed": ("return", "save_checkpoint", 1, EPOCHS),
}
"""Which of the calls, counted from the process's start, and how many epochs the log then holds, of this and earlier ones.

An epoch has four steps of two passes, and two calls of ``predict``."""


@pytest.fixture(scope="module")
def call(root):
    return ["train", "--dataset", "nmnist-sim", "--data", str(root), "--method", "sast", "--batch-size", "16",
            "--epochs", str(EPOCHS), "--threads", "1", "--resume"]  # fmt: skip


@pytest.fixture(scope="module")
def whole(call, tmp_path_factory):
    """The folder of a training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run([sys.executable, "-m", "sastdeploy", *call], cwd=folder, check=True, capture_output=True)
    return folder


def numbers(log):
    """Return the log's lines without what varies from run to run."""
    lines = [json.loads(line) for line in read(log).splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "cpu_seconds")} for line in lines]


def finish(call, folder, whole, before):
    """Resume a killed training and compare everything that it leaves with the undisturbed one's."""
    subprocess.run([sys.executable, "-m", "sastdeploy", *call], cwd=folder, check=True, capture_output=True)
    log = folder / "ckpt.pt.jsonl"
    assert read(log).startswith(before)
    assert numbers(log) == numbers(whole / "ckpt.pt.jsonl") and len(numbers(log)) == EPOCHS
    ends = [load_checkpoint(path / "ckpt.pt") for path in (folder, whole)]
    assert checkpoint_hash(ends[0]) == checkpoint_hash(ends[1])
    assert all(np.array_equal(ends[0].parameters[k], v) for k, v in ends[1].parameters.items())


def test_a_training_killed_at_random_loses_no_finished_epoch_and_ends_with_the_same_bits(
    call, whole, tmp_path
):
    rng, log, before = np.random.default_rng(0), tmp_path / "ckpt.pt.jsonl", ""
    for _ in range(3):
        wanted = len(before.splitlines()) + int(rng.integers(1, 5))
        with subprocess.Popen(
            [sys.executable, "-m", "sastdeploy", *call], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:  # fmt: skip
            until(lambda wanted=wanted: len(read(log).splitlines()) >= wanted, f"{wanted} epochs")
            time.sleep(rng.random() * seconds(log))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        # The log's lines hold the epochs' measured seconds: an epoch computed again would have others.
        assert read(log).startswith(before)
        before = read(log)
    finish(call, tmp_path, whole, before)


def test_a_training_killed_at_every_kind_of_moment_ends_with_the_same_bits(call, whole, tmp_path):
    log, before = tmp_path / "ckpt.pt.jsonl", ""
    for moment, (*place, epochs) in MOMENTS.items():
        killed = subprocess.run(
            [sys.executable, "-c", PROGRAM, *map(str, place), *call], cwd=tmp_path, capture_output=True, text=True
        )  # fmt: skip
        assert killed.returncode == -signal.SIGKILL, f"{moment}: {killed.stderr}"
        assert read(log).startswith(before) and len(read(log).splitlines()) == epochs, moment
        before = read(log)
    assert (tmp_path / "ckpt.pt").exists() and (tmp_path / "ckpt.pt.state").exists()
    finish(call, tmp_path, whole, before)


FILE = """
name: small
title: "Small: baseline and SAST"
dataset: nmnist-sim
seeds: [0]
grid:
  - {method: baseline, epochs: 2}
  - {method: baseline, epochs: 120}
  - {method: sast, rho: 0.3, epochs: 120}
profiles: [loihi_int8]
"""


@pytest.fixture(scope="module")
def undisturbed(root, tmp_path_factory):
    """An experiment file, its trials by address, and their records when nobody disturbs them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    file = folder / "small.yaml"
    file.write_text(FILE, "utf-8")
    trials = addresses(load_experiment(file), root)
    run_all(trials, root, folder / "work", folder / "records", 2)
    return file, trials, {address: steady(folder / "records", address) for address in trials}


def steady(records, address):
    """Return what a record must say whatever happened on the way."""
    record = json.loads((records / f"{address}.json").read_text("utf-8"))
    return {k: v for k, v in record.items() if k not in ("seconds", "peak_bytes")}


def kill_all(sweep):
    """Kill a sweep's process and its trials' processes; no trial is started between the one and the other."""
    process_tree = psutil.Process(sweep.pid)
    process_tree.suspend()
    trials = process_tree.children()
    for process in (*trials, process_tree):
        process.kill()
    sweep.wait()
    until(lambda: not any(map(alive, trials)), "the trials' processes end")
    return len(trials)


@pytest.mark.timeout(1200)  # some fifteen processes: minutes on a machine that is busy with other work
def test_a_sweep_killed_with_its_trials_repeats_at_most_their_running_epochs(undisturbed, root, tmp_path):
    file, trials, expected = undisturbed
    work, records = tmp_path / "work", tmp_path / "records"
    call = [sys.executable, "-m", "sastdeploy", "sweep", "run", str(file), "--data", str(root), "--work", str(work),
            "--records", str(records), "--processes", "2"]  # fmt: skip
    short, *long = trials
    logs = [work / address / "ckpt.pt.jsonl" for address in trials]
    rng, before = np.random.default_rng(1), [""] * 3

    def killed_when(condition, what, share=0.0):
        with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sweep:
            until(condition, what)
            time.sleep(share)
            assert kill_all(sweep)
        # The log's lines hold the epochs' measured seconds: an epoch computed again would have others.
        assert all(read(log).startswith(lines) for log, lines in zip(logs, before))
        before[:] = map(read, logs)

    def finished_epochs():
        return sum(len(read(log).splitlines()) for log in logs[1:])

    killed_when(lambda: (records / f"{short}.json").exists() and finished_epochs(), "a record and an epoch")
    made = (records / f"{short}.json").stat().st_mtime_ns
    pace = seconds(next(log for log in logs[1:] if read(log)))
    wanted = finished_epochs() + int(rng.integers(3, 12))
    killed_when(lambda: finished_epochs() >= wanted, f"{wanted} epochs", rng.random() * pace)
    # Trained, and killed in the evaluation on the test recordings: the network is kept, not trained again.
    trained = [work / address / "ckpt.pt" for address in long]
    killed_when(lambda: any(path.exists() for path in trained), "a checkpoint")
    kept = {path: path.read_bytes() for path in trained if path.exists()}
    assert kept
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(read(log).startswith(lines) for log, lines in zip(logs, before))
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert (records / f"{short}.json").stat().st_mtime_ns == made
    assert {address: steady(records, address) for address in trials} == expected


def test_a_killed_trial_goes_on_from_its_last_epoch_within_its_sweep(
    undisturbed, root, tmp_path, monkeypatch
):
    _, trials, expected = undisturbed
    work, records, messages, killed = tmp_path / "work", tmp_path / "records", [], {}
    *_, address = trials
    log, started, start = work / address / "ckpt.pt.jsonl", [], local.start
    monkeypatch.setattr(local, "start", lambda *order: started.append(start(*order)) or started[-1])

    def kill_once(running) -> None:
        if not killed and len(read(log).splitlines()) >= 2:
            started[-1].kill()
            started[-1].wait()
            killed[started[-1].pid] = read(log)

    run_all({address: trials[address]}, root, work, records, 1, kill_once, messages.append)
    ((before,), (message,)) = killed.values(), messages
    assert 2 <= len(before.splitlines()) < 120 and read(log).startswith(before)
    assert "its process was killed (signal 9); it goes on from its last epoch" in message
    assert steady(records, address) == expected[address]
