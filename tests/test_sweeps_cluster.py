"""Sweeps on a Dask cluster of real processes: the same records as locally, and lost workers, schedulers and clients."""

import asyncio
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import CancelledError
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import distributed
import psutil
import pytest
from distributed import KilledWorker

import sastdeploy
from sastdeploy.cli import main as main_module
from sastdeploy.errors import InputError
from sastdeploy.experiments import cluster as cluster_module
from sastdeploy.experiments.cluster import differences, run_on_cluster
from sastdeploy.experiments.runner import addresses, run_all
from sastdeploy.experiments.spec import load_experiment
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim
from tests.interrupts import alive, heed_interrupts

FILE = """
name: small
title: "Small: baseline and SAST"
dataset: nmnist-sim
seeds: [0]
fixed: {epochs: EPOCHS, limit: 60}
grid:
  - {method: baseline}
  - {method: sast, rho: 0.3}
profiles: [loihi_int8]
"""
DEADLINE = 120
LONG = 150
"""Epochs of a trial that is still at work when its first ones are seen, on a quick machine too."""
pytestmark = pytest.mark.slow


def until(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
        time.sleep(0.05)


class Cluster:
    """A scheduler and workers of one thread each, on one port of this machine, as processes."""

    def __init__(self, home: Path) -> None:
        self.home, self.workers, self.scheduler = home, [], None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"

    def _start(self, *words, folder=None, **variables):
        with (self.home / "dask.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *words, "--no-dashboard"],
                cwd=folder or self.home, stdout=log, stderr=log, env={**os.environ, **variables},
            )  # fmt: skip

    def start_scheduler(self):
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def start_worker(self, *options, folder=None, **variables):
        words = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self.home), *options)
        self.workers.append(self._start("worker", self.address, *words, folder=folder, **variables))

    def ensure(self, count):
        """Have a scheduler and exactly this number of workers."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.stop()  # Workers of a scheduler that is gone may take a moment to see it.
            self.start_scheduler()
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        for worker in self.workers[count:]:
            worker.kill()
            worker.wait()
        del self.workers[count:]
        while len(self.workers) < count:
            self.start_worker()
        with cluster_module._connect(distributed, self.address, DEADLINE) as client:
            until(lambda: len(client.nthreads()) == count, f"{count} workers")

    def trials(self):
        """Return the trials' processes that run below the workers."""
        processes = []
        for worker in self.workers:
            try:
                children = psutil.Process(worker.pid).children()
                processes += [
                    child for child in children if "sastdeploy.experiments.trial" in child.cmdline()
                ]
            except psutil.Error:
                continue
        return processes

    def kill_the_trials_worker(self):
        """Kill the worker of the one trial that runs, and wait until the trial has ended with it."""
        (child,) = self.trials()
        worker = next(w for w in self.workers if w.pid == child.ppid())
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        until(lambda: not alive(child), "the trial ends with its worker")

    def stop(self):
        for process in [*self.workers, self.scheduler]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_nmnist_sim(folder, train=120, test=30, seed=1, processes=1)
    return folder


def experiment(folder, root, epochs=2, sast=True):
    text = FILE.replace("EPOCHS", str(epochs))
    if not sast:
        text = text.replace("  - {method: sast, rho: 0.3}\n", "")
    path = folder / "small.yaml"
    path.write_text(text, "utf-8")
    return path, addresses(load_experiment(path), root)


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


class Ended:
    """A task's future at its end."""

    def __init__(self, status, outcome=None):
        self.status, self.outcome = status, outcome

    def result(self, timeout):
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def test_what_a_task_ends_with_is_kept_or_named(tmp_path):
    def take(*ended):
        failed = []
        cluster_module._take(Ended(*ended), "a", tmp_path, failed)
        return failed

    assert take("finished", "{}") == [] and (tmp_path / "a.json").read_text("utf-8") == "{}"
    killed = KilledWorker(task="a", last_worker=None, allowed_failures=3)
    assert take("error", killed) == ["trial a: 4 workers died while they had it"]
    assert take("error", InputError("trial a on worker w: no")) == ["trial a on worker w: no"]
    assert take("error", KeyError("x")) == ["trial a: KeyError: 'x'"]
    # Once taken for a lost connection: the sweep connected again and queued the trial without end.
    assert take("error", OSError("No space left")) == ["trial a: OSError: No space left"]
    for lost in (
        ("cancelled",),
        ("lost",),
        ("finished", OSError("gone")),
        ("finished", asyncio.TimeoutError()),
        ("finished", CancelledError()),
        ("finished", RuntimeError("ConnectionPool is closed")),
    ):
        with pytest.raises(cluster_module._Lost):
            take(*lost)


def test_a_task_that_is_no_longer_wanted_goes_back_and_its_process_ends(root, tmp_path, monkeypatch):
    _, trials = experiment(tmp_path, root)
    address, trial = next(iter(trials.items()))
    worker = SimpleNamespace(
        address="tcp://w:1", status=distributed.Status.running, get_current_task=lambda: "key", state=SimpleNamespace(tasks={})
    )  # fmt: skip
    started, start = [], cluster_module.start
    monkeypatch.setattr(distributed, "get_worker", lambda: worker)
    monkeypatch.setattr(
        cluster_module, "start", lambda *of, **more: started.append(start(*of, **more)) or started[-1]
    )
    order = {
        "address": address, "trial": asdict(trial), "root": str(root), "work": str(tmp_path / "work"),
        "facts": cluster_module._facts(trials, root),
    }  # fmt: skip
    with pytest.raises(distributed.Reschedule):
        cluster_module.run_task(order)
    assert started[0].returncode == -signal.SIGKILL


class Client:
    """A client of a given status, whose every call fails as given."""

    def __init__(self, status, error):
        self.status, self.error = status, error

    def fail(self, *_, **__):
        raise self.error

    close = wait_for_workers = run = subscribe_topic = map = nthreads = cancel = fail


@pytest.mark.parametrize(
    ("status", "error", "lost"),
    [
        ("closed", RuntimeError("Cannot change state of expiring Timeout"), True),
        ("connecting", AttributeError("'NoneType' object has no attribute 'ncores'"), True),
        ("running", OSError("Timed out trying to connect"), True),
        ("running", RuntimeError("a fault"), False),
    ],
)
def test_every_error_of_a_lost_connection_is_one(tmp_path, status, error, lost):
    client = Client(status, error)
    with pytest.raises(cluster_module._Lost if lost else RuntimeError):
        cluster_module._check_workers(client, "tcp://h:1", {}, tmp_path, 1.0)
    with pytest.raises(cluster_module._Lost if lost else RuntimeError):
        cluster_module._run_tasks(client, {}, None, tmp_path, tmp_path, {}, None, None, None)


def test_a_client_that_fails_to_close_is_closed_again_and_holds_nothing_up():
    client = Client("closing", RuntimeError("Cannot change state of expiring Timeout"))
    cluster_module._close(client)
    calls = []

    def close(timeout):
        calls.append(timeout)
        if len(calls) < 2:
            raise client.error

    client.close = close
    cluster_module._close(client)
    assert len(calls) == 2


def test_what_differs_is_said(root, tmp_path, monkeypatch):
    _, trials = experiment(tmp_path, root)
    facts = cluster_module._facts(trials, root)
    assert differences(facts) == []
    assert differences({**facts, "versions": {**facts["versions"], "torch": "1.0", "python": "2.7"}}) == [
        f"has torch {facts['versions']['torch']}, here it is 1.0"
    ]
    assert differences({**facts, "data": [["nmnist-sim", 10, "abc"]]}) == [
        "has other recordings of nmnist-sim"
    ]
    (missing,) = differences({**facts, "root": str(tmp_path / "nowhere")})
    assert missing.startswith("has no data set nmnist-sim (") and "nowhere" in missing
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.yaml").write_text("a")
    files = {
        **facts,
        "folder": str(tmp_path),
        "files": {"net.yaml": cluster_module._file_hash(Path("net.yaml"))},
    }
    assert differences(files) == []
    (tmp_path / "net.yaml").write_text("b")
    assert differences(files) == [f"has no file {tmp_path}/net.yaml of the same content"]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://127.0.0.1:1", "127.0.0.1"])
def test_a_scheduler_that_cannot_be_reached_is_named(root, tmp_path, monkeypatch, address):
    monkeypatch.setattr(cluster_module, "CONNECT", 1.0)
    _, trials = experiment(tmp_path, root)
    with pytest.raises(
        InputError, match=rf"scheduler {address}: cannot be reached within 1 s .*dask scheduler"
    ):
        run_on_cluster(trials, root, tmp_path / "work", tmp_path / "records", address)


def test_a_failed_client_does_not_hold_up_the_next(monkeypatch):
    make_loop = distributed.utils.get_loop_factory

    def collected_in_the_new_thread():
        gc.collect()
        return make_loop()

    monkeypatch.setattr(distributed.utils, "get_loop_factory", collected_in_the_new_thread)
    gc.disable()
    try:
        for _ in range(2):
            with pytest.raises(InputError, match="unknown address scheme"):
                cluster_module._connect(distributed, "nonsense://127.0.0.1:1", 1.0)
    finally:
        gc.enable()


def test_a_cluster_without_workers_is_said(cluster, root, tmp_path, monkeypatch):
    other = Cluster(tmp_path)
    other.start_scheduler()
    try:
        other.ensure(0)
        wait = distributed.Client.wait_for_workers
        monkeypatch.setattr(
            distributed.Client, "wait_for_workers", lambda client, n, timeout: wait(client, n, 1)
        )
        _, trials = experiment(tmp_path, root)
        with pytest.raises(InputError, match=r"has no workers after 10 s. Start them: dask worker tcp"):
            run_on_cluster(trials, root, tmp_path / "work", tmp_path / "records", other.address)
    finally:
        other.stop()


def test_the_missing_package_and_a_contradiction_are_said(root, tmp_path, monkeypatch, capsys):
    file, trials = experiment(tmp_path, root)
    with pytest.raises(SystemExit) as stop:
        main_module.main(
            ["sweep", "run", str(file), "--data", str(root), "--scheduler", "x", "--processes", "2"]
        )
    assert stop.value.code == 2 and "the workers' threads count" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        InputError, match=r"needs the package distributed .*pip install 'sastdeploy\[cluster\]'"
    ):
        run_on_cluster(trials, root, tmp_path / "work", tmp_path / "records", "tcp://127.0.0.1:1")
