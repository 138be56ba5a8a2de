"""Honest timings: candidates take turns, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy._files import atomic
from sastdeploy.provenance import git_commit, versions

RESULTS = Path(os.environ.get("SASTDEPLOY_BENCH_RESULTS") or Path(__file__).parent / "results")


def interleaved(candidates: dict[str, Callable[[], Any]], turns: int) -> dict[str, dict[str, float]]:
    """Return per candidate the seconds of its calls: minimum, median and spread (third over first quartile).

    Every candidate runs once unmeasured, then all take ``turns`` turns, each in a random order: no candidate always follows
    the same other one.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values():
        call()
    rng = np.random.default_rng(0)
    for _ in range(turns):
        for name in rng.permutation(list(candidates)).tolist():
            began = time.perf_counter()
            candidates[name]()
            seconds[name].append(time.perf_counter() - began)
    return {name: facts(times) for name, times in seconds.items()}


def facts(times: list[float]) -> dict[str, float]:
    low, middle, high = np.quantile(times, [0.25, 0.5, 0.75])
    return {"min": min(times), "median": float(middle), "spread": float(high / low), "turns": len(times)}


def one_thread() -> None:
    """Hold torch, Numba and the BLAS below NumPy to one thread. Call before any of them computes."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import numba
    import torch

    numba.set_num_threads(1)
    torch.set_num_threads(1)


def as_after_loading() -> None:
    """Allocate and free a large block, as a training has when its data are loaded: from then on glibc keeps what is freed.

    Without it a step pays some 500 page faults here, and 0.1 in a training.
    """
    np.ones(24 << 20, np.uint8)


def environment(**more: str) -> dict[str, str]:
    """Return the environment for a process whose start is timed: Python keeps its bytecode, as it does by default."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **more}


def machine() -> dict[str, Any]:
    """Return what a reader must know to place the figures; no name of a host or a user."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    wanted = ("avx2", "avx512f", "avx512bw", "avx512vnni", "neon")
    return {
        "processor": binding.get_host_cpu_name(),
        "features": [name for name in wanted if features.get(name)],
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def save(question: str, result: dict[str, Any], *packages: str) -> None:
    """Write ``results/QUESTION.json`` with machine, versions, commit and command, and print it.

    A result may bring its own ``commit``, where what it tells of ran earlier.
    """
    record = {
        "question": question,
        "command": " ".join(["python", *_relative(sys.argv)]),
        "commit": git_commit(),
        "machine": machine(),
        "versions": versions("torch", "numpy", "numba", *packages),
        **result,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    atomic.write_text(RESULTS / f"{question}.json", json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


_FOLDERS = ("--work", "--data", "--images")


def _relative(words: list[str]) -> list[str]:
    """Return the command with FOLDER for the reader's own folders."""
    kept: list[str] = []
    for word in words:
        path = Path(word)
        if kept and kept[-1] in _FOLDERS:
            kept.append("FOLDER")
        else:
            kept.append(f"benchmarks/speed/{path.name}" if path.suffix == ".py" else word)
    return kept
