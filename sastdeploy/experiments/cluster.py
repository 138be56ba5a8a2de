"""Running an experiment's trials as tasks of an existing Dask cluster.

The client queues one task per trial and writes the records; a task runs the trial as a local sweep does, in a child
process of its worker, and its result is the record's text. Checkpoints and training states stay in the work folder as the
workers see it: on a shared file system a lost worker's trial goes on from its last epoch elsewhere, otherwise it
starts anew; the numbers are the same.

What keeps a trial from running twice: (1) the task's key is the trial's address, and a scheduler holds one task per key,
also for two clients; (2) the child ends with its worker, and when the scheduler no longer wants the task; (3) the lock
file in the trial's work folder, where the file system has locks. Where all three fail (a worker that is cut off and given up, but
alive, on a file system without locks), two processes compute the same bits and replace whole files: time is lost, not a result.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import queue
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sastdeploy import InputError
from sastdeploy._files import atomic
from sastdeploy._files.reading import reason
from sastdeploy.experiments.progress import Epochs, Logs, finished
from sastdeploy.experiments.runner import TRIES, data_hash, failure, start
from sastdeploy.experiments.spec import Trial
from sastdeploy.experiments.trial import TAKEN
from sastdeploy.provenance import code_hash, versions

CONNECT = 10.0
"""Seconds to reach a scheduler and to find a worker there."""
PATIENCE = 300.0
"""Seconds for which a lost scheduler, and then its workers, are waited for."""
TOPIC = "sastdeploy-sweep"
_POLL = 0.5


class _Lost(Exception):
    """The connection to the scheduler is gone."""


def run_on_cluster(
    trials: dict[str, Trial],
    root: Path | None,
    work: Path,
    records: Path,
    scheduler: str,
    note: Callable[[str, Epochs], None] = lambda address, epochs: None,
    show: Callable[[set[str], int], None] = lambda running, threads: None,
    say: Callable[[str], None] = lambda text: None,
    patience: float = PATIENCE,
) -> None:
    """Run every trial that has no record yet on the cluster's threads, one each; return when all have one.

    Interrupted, it cancels its tasks: running trials end, with their states kept. A lost scheduler is tried again for
    ``patience`` seconds.

    Args:
        root: folder of the data sets on the workers; None for each worker's own default.
        work: folder of checkpoints and states on the workers; need not exist here. records: folder of the records, here.
        scheduler: its address, ``tcp://HOST:PORT``.
        note: called with what a trial reports: its epochs. show: called once a second with the addresses that run, and
            the number of the cluster's threads. say: called with what the user should know.

    Raises:
        InputError: the package distributed is missing, the scheduler cannot be reached (again), it has no workers, a worker
            has other code, packages or data, or a trial failed; finished records are kept, and the same call goes on.
    """
    distributed = _distributed()
    facts = _facts(trials, root)
    if not set(trials) - finished(records):
        return
    client = _connect(distributed, scheduler, CONNECT)
    wait = CONNECT
    try:
        while left := {a: trial for a, trial in trials.items() if a not in finished(records)}:
            try:
                _check_workers(client, scheduler, facts, work, wait)
                _run_tasks(client, left, root, work, records, facts, note, show, say)
            except _Lost:
                say(
                    f"scheduler {scheduler}: connection lost; trying again for {patience:.0f} s. Finished trials are kept"
                )
                _close(client)
                client, wait = _connect_again(distributed, scheduler, patience), patience
                say(f"scheduler {scheduler}: connected again; trials go on from their last epochs")
    finally:
        _close(client)


def _close(client: Any) -> None:
    # While a client is ending by itself, distributed's close can fail, with errors of many kinds, and succeeds a moment later.
    for _ in range(3):
        with contextlib.suppress(Exception):
            client.close(timeout=5)
            return
        time.sleep(0.2)


@contextlib.contextmanager
def _connection(client: Any) -> Iterator[None]:
    """Raise _Lost for what a call raises whose scheduler is gone: distributed knows many errors there, not only OSError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or client.status != "running":
            raise _Lost from error
        raise


def _distributed() -> ModuleType:
    try:
        import distributed
    except ImportError as error:
        raise InputError(
            f"--scheduler: needs the package distributed ({error}). Install it: python -m pip install 'sastdeploy[cluster]'"
        ) from error
    return distributed


def _connect(distributed: ModuleType, scheduler: str, timeout: float) -> Any:
    # Held before it begins, so that one that fails is closed here: the garbage collector waits for it and prints a traceback.
    client = distributed.Client.__new__(distributed.Client)
    try:
        client.__init__(scheduler, timeout=timeout, set_as_default=False)
    except BaseException as error:
        _close(client)
        if not isinstance(error, Exception):
            raise
        raise InputError(
            f"scheduler {scheduler}: cannot be reached within {timeout:.0f} s ({reason(error)}). Expected tcp://HOST:PORT of a "
            "running scheduler; start one: dask scheduler. The same call goes on: finished trials are kept."
        ) from error
    return client


def _connect_again(distributed: ModuleType, scheduler: str, patience: float) -> Any:
    deadline = time.monotonic() + patience
    while True:
        try:
            return _connect(distributed, scheduler, min(CONNECT, patience))
        except InputError as error:
            if time.monotonic() >= deadline:
                raise InputError(
                    f"scheduler {scheduler}: lost, and not back within {patience:.0f} s. Start it and its workers, then run "
                    "the same call: it goes on, finished trials are kept."
                ) from error
            time.sleep(1)


def _facts(trials: dict[str, Trial], root: Path | None) -> dict[str, Any]:
    """Return what decides the trials' numbers beside their settings; every worker must have the same."""
    names = {name for trial in trials.values() for name in (trial.arch, *trial.profiles)}
    sets = {(trial.dataset, trial.time_bins) for trial in trials.values()}
    return {
        "versions": versions("torch", "numpy", "numba"), "code": code_hash(),
        "data": [[*key, data_hash(*key, root)] for key in sorted(sets)], "root": str(root) if root else None,
        "folder": os.getcwd(),
        "files": {name: _file_hash(Path(name)) for name in sorted(names) if name.endswith((".yaml", ".yml"))},
    }  # fmt: skip


def _file_hash(path: Path) -> str | None:
    """Return the hash of a file's bytes; None where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def differences(facts: dict[str, Any]) -> list[str]:
    """Return in what this process differs from the client, one part of a sentence each; empty where it is the same."""
    differing = []
    here = versions("torch", "numpy", "numba")
    for name, version in facts["versions"].items():
        if here[name] != version and name != "python":
            differing.append(f"has {name} {here[name]}, here it is {version}")
    if code_hash() != facts["code"]:
        differing.append("has other sastdeploy source files of the same version")
    for name, content in facts["files"].items():
        if _file_hash(Path(facts["folder"]) / name) != content:
            differing.append(f"has no file {Path(facts['folder']) / name} of the same content")
    root = Path(facts["root"]) if facts["root"] else None
    for dataset, time_bins, content in facts["data"]:
        # As a built-in's name has no separator, so a folder's path has one.
        place = os.path.join(facts["folder"], dataset) if os.sep in dataset else dataset
        there = _data_here(place, time_bins, root)
        if there != content:
            differing.append(there if there.startswith("has no") else f"has other recordings of {dataset}")
    return differing


def _has_paths(facts: dict[str, Any]) -> bool:
    """Return whether trials name files or folders, whose relative paths begin in the client's folder."""
    return bool(facts["files"]) or any(os.sep in dataset for dataset, *_ in facts["data"])


@lru_cache(maxsize=64)
def _data_here(dataset: str, time_bins: int, root: Path | None) -> str:
    try:
        return data_hash(dataset, time_bins, root)
    except InputError as error:
        return f"has no data set {dataset} ({error})"


async def _look(facts: dict[str, Any], work: str) -> list[str]:
    """Return a worker's differences, found beside its event loop: a data set is binned at its first use."""
    differing = await asyncio.to_thread(differences, facts)
    try:
        Path(work).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        differing.append(f"cannot write to the work folder {work} ({error.strerror})")
    return differing


def _check_workers(client: Any, scheduler: str, facts: dict[str, Any], work: Path, wait: float) -> None:
    with _connection(client):
        try:
            client.wait_for_workers(1, timeout=wait)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise InputError(
                f"scheduler {scheduler}: has no workers after {wait:.0f} s. Start them: dask worker {scheduler} --nworkers 1 "
                "--nthreads TRIALS_AT_A_TIME; then run the same call: finished trials are kept."
            ) from error
        answers = client.run(_look, facts, str(work), on_error="return")
    for worker, answer in sorted(answers.items()):
        if isinstance(answer, OSError):
            continue  # Gone meanwhile; its successor is checked with its first trial.
        if isinstance(answer, Exception):
            answer = [f"cannot run this version of sastdeploy ({answer})"]
        if answer:
            raise InputError(_unlike(worker, answer))


def _unlike(worker: str, differing: list[str]) -> str:
    return (
        f"worker {worker}: {'; '.join(differing)}. Every worker needs this machine's sastdeploy, torch, numpy and numba, and the "
        "same data: mend it, start the worker again, then run the same call."
    )


def _run_tasks(
    client: Any,
    trials: dict[str, Trial],
    root: Path | None,
    work: Path,
    records: Path,
    facts: dict[str, Any],
    note: Callable[[str, Epochs], None],
    show: Callable[[set[str], int], None],
    say: Callable[[str], None],
) -> None:
    """Queue the trials and write their records as they come."""
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with _connection(client):
        client.subscribe_topic(TOPIC, lambda event: inbox.put(event[1]))
    pending: dict[str, Any] = {}
    running: set[str] = set()
    failed: list[str] = []
    try:
        orders = [
            {"address": a, "trial": asdict(trial), "root": str(root) if root else None, "work": str(work), "facts": facts}
            for a, trial in trials.items()
        ]  # fmt: skip
        # Keys of one group with no dependencies: Dask keeps those that no thread is free for at the scheduler.
        keys = [("sastdeploy-trial", address) for address in trials]
        with _connection(client):
            futures = client.map(run_task, orders, key=keys, pure=False, batch_size=1000)
        for address, future in zip(trials, futures):
            pending[address] = future
            future.add_done_callback(lambda future, address=address: inbox.put((address, future)))
        looked = counted = -1e9
        threads = 0
        while pending:
            with contextlib.suppress(queue.Empty):
                item = inbox.get(timeout=_POLL)
                if isinstance(item, dict):
                    if item["address"] in pending:
                        running.add(item["address"])
                        note(item["address"], Epochs(item["count"], item["seconds"], item["hard_accuracy"]))
                elif pending.get(item[0]) is item[1]:
                    address, future = item
                    del pending[address]
                    running.discard(address)
                    _take(future, address, records, failed)
                    future.release()
                    if failed:
                        # As in a local sweep: what runs comes to its end, nothing new begins.
                        for other in set(pending) - running:
                            pending.pop(other).release()
            now = time.monotonic()
            if now - counted >= 10:
                counted, before = now, threads
                with _connection(client):
                    threads = sum(client.nthreads().values())
                if before and not threads:
                    say("the cluster has no worker left; its trials wait for one")
            if now - looked >= 1:
                looked = now
                show(running, threads)
        show(set(), threads)
    finally:
        with contextlib.suppress(Exception):
            client.cancel(list(pending.values()))
    if failed:
        raise InputError(
            f"{failed[0]} ({len(failed)} failed; see {work}/ADDRESS/errors.txt on the worker). Mend it and run the sweep "
            "again: finished trials are kept."
        )


def _take(future: Any, address: str, records: Path, failed: list[str]) -> None:
    """Write an ended task's record or note its failure.

    Raises:
        _Lost: the task was cancelled by someone else, or its result did not arrive.
    """
    from distributed import KilledWorker

    if future.status in ("cancelled", "lost"):
        raise _Lost
    try:
        text = future.result(timeout=60)
    except KilledWorker as error:
        failed.append(f"trial {address}: {error.allowed_failures + 1} workers died while they had it")
    except InputError as error:
        failed.append(str(error))
    except (Exception, asyncio.CancelledError) as error:
        if future.status != "error":
            raise _Lost from error  # The task had ended well; its result did not arrive.
        failed.append(f"trial {address}: {type(error).__name__}: {error}")
    else:
        atomic.write_text(records / f"{address}.json", text)


def run_task(order: dict[str, Any]) -> str:
    """Run a trial in a child process of this worker and return its record's text.

    The record also stays in the trial's work folder: a result that is lost on its way is not computed again.

    Raises:
        InputError: this worker is not as the client, or the trial failed.
        distributed.Reschedule: the task was cancelled, or the worker ends; the scheduler gives it to another if it is still wanted.
    """
    from distributed import Reschedule, get_worker

    worker = get_worker()
    key = worker.get_current_task()
    address: str = order["address"]
    work = Path(order["work"]).absolute()
    if differing := differences(order["facts"]):
        raise InputError(_unlike(worker.address, differing))
    trial = Trial(**{**order["trial"], "profiles": tuple(order["trial"]["profiles"])})
    root = Path(order["root"]) if order["root"] else None
    logs, reported, tries = Logs(work), None, 0
    while True:
        with start(
            address, trial, root, work, work / address, with_parent=True,
            folder=Path(order["facts"]["folder"]) if _has_paths(order["facts"]) else None,
        ) as process:  # fmt: skip
            try:
                code = None
                while code is None:
                    if not _wanted(worker, key):
                        raise Reschedule
                    epochs = logs.read(address)
                    if epochs != reported:
                        reported = epochs
                        worker.log_event(TOPIC, {"address": address, **asdict(epochs)})
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        code = process.wait(timeout=_POLL)
            finally:
                process.kill()
        if code == 0:
            return (work / address / f"{address}.json").read_text("utf-8")
        if code == TAKEN:
            time.sleep(2)  # Another process is at it: its record is waited for.
        elif code < 0 and tries < TRIES - 1:
            tries += 1
        else:
            raise InputError(f"trial {address} on worker {worker.address}: {failure(address, code, work)}")


def _wanted(worker: Any, key: Any) -> bool:
    """Return whether the scheduler still wants this task from this worker."""
    task = worker.state.tasks.get(key)
    return (
        worker.status.name not in ("closing", "closed", "failed")
        and task is not None
        and task.state == "executing"
    )
