"""What a trial costs a cluster: time, sizes of files, file system calls, and how fast a Dask scheduler passes trials on.

    python benchmarks/paper/cluster_cost.py [--data DIR] [--tasks 10000]

Prints one JSON object; docs/sweeps.md takes its figures from here. ``--data`` is a folder with a complete nmnist-sim.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sastdeploy import TrainingSettings, fit, load_dataset
from sastdeploy.experiments.cluster import TOPIC
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim

EPOCHS = 30


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--records", type=Path, default=Path(__file__).parent / "records")
    parser.add_argument("--tasks", type=int, default=10000)
    options = parser.parse_args()
    costs: dict[str, Any] = {
        "records": of_records(options.records),
        "files": of_files(),
        "scheduler": of_scheduler(options.tasks),
    }
    if options.data:
        costs["data"] = of_data(options.data)
    print(json.dumps(costs, indent=1))


def of_records(folder: Path) -> dict[str, Any]:
    """Return the means by kind of training: processor seconds of training, seconds of the rest, a record's bytes, memory.

    The rest comes from trials that ran in one process; of others the record does not tell it.
    """
    by_kind: dict[str, list[tuple[float, ...]]] = {}
    for path in sorted(path for path in folder.glob("*.json") if "." not in path.stem):
        record = json.loads(path.read_text("utf-8"))
        settings = record["trial"]
        key = (
            f"{settings['dataset']}, {settings['method']}, {settings['arch']}, {settings['epochs']} epochs of {settings['limit'] or 'all'}, "
            f"1/{settings.get('divisor_factor', 1):g}"
        )
        if "training_cpu" not in record["seconds"]:  # of an early version
            continue
        rest = record["seconds"]["last_process"] - record["seconds"]["training"]
        by_kind.setdefault(key, []).append(
            (
                record["seconds"]["training_cpu"],
                rest if rest > 0 else np.nan,
                path.stat().st_size,
                record["peak_bytes"],
            )
        )
    columns = ("training_cpu_seconds", "other_seconds", "record_bytes", "peak_bytes")
    return {
        key: {"trials": len(rows), **dict(zip(columns, np.nanmean(rows, axis=0).round(1).tolist()))}
        for key, rows in by_kind.items()
    }


def of_files() -> dict[str, int]:
    """Return the bytes of a state, a checkpoint and a line of the log of fc_0p40m, from one small training."""
    torch.set_num_threads(1)
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_nmnist_sim(root, train=60, test=10, seed=1, processes=1)
        training, validation = (
            load_dataset("nmnist-sim", split, root=root) for split in ("train", "validation")
        )
        out = root / "ckpt.pt"

        def measure(record: dict[str, Any]) -> None:
            sizes["state_bytes"] = (root / "ckpt.pt.state").stat().st_size
            sizes["log_bytes_per_epoch"] = (root / "ckpt.pt.jsonl").stat().st_size // (record["epoch"] + 1)

        fit(training, validation, "fc_0p40m", TrainingSettings(epochs=2), out=out, report=measure)
        return {**sizes, "checkpoint_bytes": out.stat().st_size}


def of_data(root: Path) -> dict[str, int]:
    """Return how often a trial asks the file system for a file's facts, and the bytes of its cached frames."""
    load_dataset("nmnist-sim", "test", root=root)
    calls, real = [0], os.stat

    def counted(*arguments: Any, **names: Any) -> os.stat_result:
        calls[0] += 1
        return real(*arguments, **names)

    os.stat = counted
    try:
        for split in ("train", "validation", "test"):
            load_dataset("nmnist-sim", split, root=root)
    finally:
        os.stat = real
    caches = sum(path.stat().st_size for path in root.glob(".frames/nmnist-sim-*/*"))
    return {
        "stat_calls_per_trial": calls[0],
        "cached_frames_bytes": caches,
    }


def of_scheduler(tasks: int) -> dict[str, float]:
    """Return how many empty trials a second a scheduler passes on, each with an order, 30 reports and a record's text."""
    order = {"address": "0" * 16, "trial": {f"setting_{i}": i for i in range(16)}, "facts": "0" * 600}

    def empty(order: dict[str, Any]) -> str:
        from distributed import get_worker

        for epoch in range(EPOCHS):
            get_worker().log_event(
                TOPIC, {"address": order["address"], "count": epoch, "seconds": 1.0, "hard_accuracy": 0.9}
            )
        return "0" * 1300

    with dask_cluster() as client:
        events: list[Any] = []
        client.subscribe_topic(TOPIC, events.append)
        client.gather(client.map(empty, [order] * 16, key=[("warm", i) for i in range(16)], pure=False))
        events.clear()
        began = time.perf_counter()
        keys = [("sastdeploy-trial", str(i)) for i in range(tasks)]
        client.gather(client.map(empty, [order] * tasks, key=keys, pure=False, batch_size=1000))
        while len(events) < tasks * EPOCHS:
            time.sleep(0.01)
        seconds = time.perf_counter() - began
    return {"trials": tasks, "seconds": seconds, "trials_per_second": tasks / seconds,
            "reports_per_second": tasks * EPOCHS / seconds}  # fmt: skip


@contextmanager
def dask_cluster() -> Iterator[Any]:
    """Yield a client of a scheduler and one worker of 16 threads, each a process."""
    from distributed import Client

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        calls = [
            ["scheduler", "--host", "127.0.0.1", "--port", "0"],
            ["worker", "--nworkers", "1", "--nthreads", "16", "--no-nanny", "--local-directory", folder],
        ]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "dask", *call, "--no-dashboard", "--scheduler-file", str(file)],
                stderr=subprocess.DEVNULL,
            )
            for call in calls
        ]
        try:
            while not file.exists():
                time.sleep(0.1)
            # distributed does not annotate it.
            with Client(scheduler_file=str(file), set_as_default=False) as client:  # type: ignore[no-untyped-call]
                client.wait_for_workers(1, timeout=60)
                yield client
        finally:
            for process in processes:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
