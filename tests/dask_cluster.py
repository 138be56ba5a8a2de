"""A Dask cluster of real processes, and a small experiment for it, for tests."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import distributed
import psutil

from sastdeploy.experiments import cluster as cluster_module
from sastdeploy.experiments.runner import addresses
from sastdeploy.experiments.spec import load_experiment
from tests.interrupts import alive

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


def experiment(folder, root, epochs=2, sast=True):
    text = FILE.replace("EPOCHS", str(epochs))
    if not sast:
        text = text.replace("  - {method: sast, rho: 0.3}\n", "")
    path = folder / "small.yaml"
    path.write_text(text, "utf-8")
    return path, addresses(load_experiment(path), root)
