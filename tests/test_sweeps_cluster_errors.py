"""What a sweep on a cluster says: how a task ends, lost connections, other versions, missing workers."""

import asyncio
import gc
import signal
import sys
from concurrent.futures import CancelledError
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import distributed
import pytest
from distributed import KilledWorker

from sastdeploy.cli import main as main_module
from sastdeploy.errors import InputError
from sastdeploy.experiments import cluster as cluster_module
from sastdeploy.experiments.cluster import differences, run_on_cluster
from tests.dask_cluster import Cluster, experiment
from tests.digits import small_digits

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return small_digits(tmp_path_factory.mktemp("data"), train=120)


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


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:1", "nonsense://127.0.0.1:1", "127.0.0.1", "tcp://a:1:2", "tls://127.0.0.1:1"],
)
def test_a_scheduler_that_cannot_be_reached_is_named(root, tmp_path, monkeypatch, address):
    monkeypatch.setattr(cluster_module, "CONNECT", 1.0)
    _, trials = experiment(tmp_path, root)
    with pytest.raises(
        InputError, match=rf"scheduler {address}: cannot be reached within 1 s .*dask scheduler"
    ):
        run_on_cluster(trials, root, tmp_path / "work", tmp_path / "records", address)
    clients = [x for x in gc.get_objects() if type(x) is distributed.Client and hasattr(x, "status")]
    assert {client.status for client in clients} <= {"closed"}


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
