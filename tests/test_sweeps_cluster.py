"""Sweeps on a Dask cluster of real processes: the same records as locally, and lost workers, schedulers and clients."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sastdeploy
from sastdeploy.errors import InputError
from sastdeploy.experiments.cluster import run_on_cluster
from sastdeploy.experiments.runner import run_all
from tests.dask_cluster import DEADLINE, Cluster, experiment, until
from tests.digits import small_digits
from tests.interrupts import heed_interrupts

LONG = 150
"""Epochs of a trial that is still at work when its first ones are seen, on a quick machine too."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return small_digits(tmp_path_factory.mktemp("data"), train=120)


@pytest.fixture(scope="module")
def long_record(root, tmp_path_factory):
    """The record of one longer trial, run on this machine without a cluster."""
    folder = tmp_path_factory.mktemp("long")
    _, trials = experiment(folder, root, epochs=LONG, sast=False)
    run_all(trials, root, folder / "work", folder / "records", 1)
    (address,) = trials
    return json.loads((folder / "records" / f"{address}.json").read_text("utf-8"))


def steady(record):
    """Return what must be the same wherever a trial ran."""
    return {key: value for key, value in record.items() if key not in ("seconds", "peak_bytes", "commit")}


def test_two_workers_give_the_local_records(cluster, root, tmp_path):
    cluster.ensure(2)
    _, trials = experiment(tmp_path, root)
    run_all(trials, root, tmp_path / "here", tmp_path / "here-records", 2)
    noted, shown = [], []
    records = tmp_path / "records"
    run_on_cluster(
        trials, root, tmp_path / "work", records, cluster.address, lambda *what: noted.append(what),
        lambda running, threads: shown.append((len(running), threads)),
    )  # fmt: skip
    assert len(trials) == 2 and {path.stem for path in records.iterdir()} == set(trials)
    for address in trials:
        one, other = (
            json.loads((folder / f"{address}.json").read_text("utf-8"))
            for folder in (tmp_path / "here-records", records)
        )
        assert steady(one) == steady(other)
    assert {address for address, _ in noted} == set(trials)
    assert shown[-1] == (0, 2)
    # Nothing is left to do, so nobody is called.
    run_on_cluster(trials, root, tmp_path / "work", records, "tcp://127.0.0.1:1")
    # A result lost on its way is taken from the work folder.
    lost = records / f"{next(iter(trials))}.json"
    before = lost.read_bytes()
    lost.unlink()
    run_on_cluster(trials, root, tmp_path / "work", records, cluster.address)
    assert lost.read_bytes() == before


def test_a_killed_workers_trial_goes_on_elsewhere_with_the_same_numbers(cluster, root, tmp_path, long_record):
    cluster.ensure(2)
    _, trials = experiment(tmp_path, root, epochs=LONG, sast=False)
    (address,) = trials
    log, kept = tmp_path / "work" / address / "ckpt.pt.jsonl", []

    def kill(noted, epochs):
        if epochs.count >= 2 and not kept:
            cluster.kill_the_trials_worker()
            kept.append(log.read_text("utf-8"))

    run_on_cluster(trials, root, tmp_path / "work", tmp_path / "records", cluster.address, kill)
    record = json.loads((tmp_path / "records" / f"{address}.json").read_text("utf-8"))
    assert steady(record) == steady(long_record)
    assert 2 <= len(kept[0].splitlines()) < LONG and log.read_text("utf-8").startswith(kept[0])


def test_a_killed_workers_trial_starts_anew_where_the_work_folder_is_the_workers_own(
    cluster, root, tmp_path, long_record
):
    # A relative work folder lies in each worker's own folder, as a local disk does on each machine.
    cluster.ensure(0)
    homes = [tmp_path / "one", tmp_path / "other"]
    for home in homes:
        home.mkdir()
        cluster.start_worker(folder=home)
    cluster.ensure(2)
    _, trials = experiment(tmp_path, root, epochs=LONG, sast=False)
    (address,) = trials
    logs, kept = [home / "work" / address / "ckpt.pt.jsonl" for home in homes], {}

    def kill(noted, epochs):
        if epochs.count >= 2 and not kept:
            (begun,) = (log for log in logs if log.exists())  # before the other worker takes it up
            cluster.kill_the_trials_worker()
            kept[begun] = begun.read_text("utf-8")

    run_on_cluster(trials, root, Path("work"), tmp_path / "records", cluster.address, kill)
    record = json.loads((tmp_path / "records" / f"{address}.json").read_text("utf-8"))
    assert steady(record) == steady(long_record)
    ((begun, lines),) = kept.items()
    (anew,) = (log for log in logs if log != begun)
    assert begun.read_text("utf-8") == lines and 2 <= len(lines.splitlines()) < LONG
    assert len(anew.read_text("utf-8").splitlines()) == LONG
    assert not anew.read_text("utf-8").startswith(lines.splitlines()[0])


def test_a_scheduler_started_again_goes_on(cluster, root, tmp_path, long_record):
    cluster.ensure(2)
    _, trials = experiment(tmp_path, root, epochs=LONG, sast=False)
    (address,) = trials
    messages, killed = [], []

    def kill(noted, epochs):
        if epochs.count >= 2 and not killed:
            killed.append(cluster.scheduler.pid)
            cluster.scheduler.kill()
            cluster.scheduler.wait()

    def say(text):
        messages.append(text)
        if "connection lost" in text:
            # Dask's workers end when their scheduler does; whoever supervises them starts them again.
            until(lambda: all(w.poll() is not None for w in cluster.workers), "the workers end")
            cluster.workers.clear()
            cluster.start_scheduler()
            cluster.start_worker()

    run_on_cluster(
        trials, root, tmp_path / "work", tmp_path / "records", cluster.address, kill, say=say, patience=DEADLINE
    )  # fmt: skip
    assert killed and ["lost" in messages[0], "connected again" in messages[1]] == [True, True]
    record = json.loads((tmp_path / "records" / f"{address}.json").read_text("utf-8"))
    assert steady(record) == steady(long_record)


def test_a_scheduler_that_stays_away_ends_the_sweep_with_a_word(cluster, root, tmp_path):
    cluster.ensure(1)
    _, trials = experiment(tmp_path, root, epochs=LONG, sast=False)

    def kill(noted, epochs):
        cluster.scheduler.kill()
        cluster.scheduler.wait()

    with pytest.raises(InputError, match=r"lost, and not back within 1 s.*the same call: it goes on"):
        run_on_cluster(
            trials, root, tmp_path / "work", tmp_path / "records", cluster.address, kill, patience=1
        )


def test_an_interrupted_client_ends_its_trials_and_the_same_call_goes_on(
    cluster, root, tmp_path, long_record
):
    cluster.ensure(2)
    file, trials = experiment(tmp_path, root, epochs=LONG, sast=False)
    (address,) = trials
    work = tmp_path / "work"
    call = [
        sys.executable, "-m", "sastdeploy", "sweep", "run", str(file), "--data", str(root), "--work", str(work),
        "--scheduler", cluster.address,
    ]  # fmt: skip
    client = subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    log = work / address / "ckpt.pt.jsonl"
    until(lambda: log.exists() and len(log.read_text("utf-8").splitlines()) >= 2, "two epochs")
    client.send_signal(signal.SIGINT)
    _, errors = client.communicate(timeout=DEADLINE)
    assert client.returncode == 130 and "Interrupted." in errors
    until(lambda: not cluster.trials(), "the trial's process ends")
    before = log.read_text("utf-8")
    assert len(before.splitlines()) < LONG and not (tmp_path / "records").exists()
    done = subprocess.run(call, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0 and "1 trials have records" in done.stdout, done.stderr
    assert log.read_text("utf-8").startswith(before)
    record = json.loads((tmp_path / "records" / f"{address}.json").read_text("utf-8"))
    assert steady(record) == steady(long_record)


def test_a_trial_that_cannot_run_is_named_with_its_worker_and_the_rest_is_kept(cluster, root, tmp_path):
    cluster.ensure(2)
    _, trials = experiment(tmp_path, root)
    _, second = trials
    (tmp_path / "work" / second).mkdir(parents=True)
    (tmp_path / "work" / second / "ckpt.pt").write_bytes(b"x")
    with pytest.raises(
        InputError,
        match=r"on worker tcp://127.*ckpt\.pt: is no checkpoint.*finished trials are kept",
    ):
        run_on_cluster(trials, root, tmp_path / "work", tmp_path / "records", cluster.address)
    assert len(list((tmp_path / "records").iterdir())) == 1


def test_a_worker_with_other_code_is_named(cluster, root, tmp_path):
    cluster.ensure(1)
    shutil.copytree(
        Path(sastdeploy.__file__).parent,
        tmp_path / "other" / "sastdeploy",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    with (tmp_path / "other" / "sastdeploy" / "metrics.py").open("a") as changed:
        changed.write("# changed\n")
    cluster.start_worker("--name", "other", PYTHONPATH=str(tmp_path / "other"))
    cluster.ensure(2)
    _, trials = experiment(tmp_path, root, sast=False)
    try:
        with pytest.raises(
            InputError,
            match=r"worker tcp://127[^;]*: has other sastdeploy source files of the same version\. Every",
        ):
            run_on_cluster(trials, root, tmp_path / "work", tmp_path / "records", cluster.address)
    finally:
        other = cluster.workers.pop()
        other.kill()
        other.wait()
    assert not (tmp_path / "records").exists()


def test_a_worker_without_the_package_is_named(cluster, root, tmp_path):
    (tmp_path / "other" / "sastdeploy").mkdir(parents=True)
    (tmp_path / "other" / "sastdeploy" / "__init__.py").write_text("")
    cluster.ensure(1)
    cluster.start_worker(PYTHONPATH=str(tmp_path / "other"))
    cluster.ensure(2)
    _, trials = experiment(tmp_path, root, sast=False)
    try:
        with pytest.raises(
            InputError, match=r"worker tcp://127.*cannot run this version of sastdeploy .*No module named"
        ):
            run_on_cluster(trials, root, tmp_path / "work", tmp_path / "records", cluster.address)
    finally:
        other = cluster.workers.pop()
        other.kill()
        other.wait()
