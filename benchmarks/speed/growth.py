"""How time and memory grow: with activity, inputs, width, T, recordings, block and threads; fitted exponents.

    python benchmarks/speed/growth.py [--turns 5]

Random two-layer nets and random binary frames; each curve changes one quantity from 2312-168-64-10, T = 10, 8 %.
Beside two threads, what the machine itself gives: two processes at once, each the hand-written C run or one thread of ours.
"""

from __future__ import annotations

import argparse
import math
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from benchmarks.speed.at_once import at_once
from benchmarks.speed.timing import interleaved, save
from benchmarks.speed.yardstick import Yardstick
from sastdeploy import Architecture, Checkpoint, Frames, Preprocessing, Program, RunResult, compile
from sastdeploy.networks.architecture import Dense, Neuron, Readout
from sastdeploy.networks.builtin import parameter_shapes
from sastdeploy.simulator import engine
from sastdeploy.simulator.numba_engine.chunks import Chunks
from sastdeploy.simulator.numba_engine.plan import make_plan
from sastdeploy.simulator.result import empty_result

SEED = 0
CURVES: dict[str, list[float]] = {
    "activity": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
    "inputs": [256, 1024, 2312, 8192, 32768],
    "width": [16, 64, 168, 512, 2048],
    "steps": [1, 3, 10, 30, 100],
    "recordings": [64, 256, 1024, 4096, 16384],
    "block": [1, 4, 16, 64, 256],
}
BASE = {
    "activity": 0.08,
    "inputs": 2312,
    "width": 168,
    "steps": 10,
    "recordings": 2048,
    "block": 0,
    "threads": 1,
}


def net(inputs: int, width: int, steps: int) -> Program:
    architecture = Architecture("net", (1, 1, inputs), (Dense(width), Dense(64)), Readout(), 10, Neuron())
    rng = np.random.default_rng(SEED)
    arrays = {
        name: np.ones(shape, np.float32)
        if name.endswith("threshold")
        else rng.uniform(-2, 2, shape).astype(np.float32) / np.float32(math.sqrt(shape[-1]))
        for name, shape in parameter_shapes(architecture).items()
    }
    checkpoint = Checkpoint(
        architecture, arrays, Preprocessing((inputs, 1, 1), (inputs, 1), steps, 1, 1.0), tuple(str(k) for k in range(10)),
        "nmnist-sim", {"method": "baseline", "rho": 0.0, "seed": SEED, "epochs": 1, "selected": {"epoch": 0}}, {"command": "random"},
    )  # fmt: skip
    return compile(checkpoint, "loihi_int8").program


def frames(inputs: int, steps: int, count: int, activity: float) -> Frames:
    """Return random frames row by row: the same share of inputs is active in every one."""
    rng = np.random.default_rng(SEED)
    active = max(1, round(activity * inputs))
    patterns = [np.sort(rng.permutation(inputs)[:active]) for _ in range(64)]
    index = np.concatenate([patterns[r % 64] for r in range(count * steps)])
    kind = np.uint16 if inputs <= 65536 else np.uint32
    indptr = np.arange(count * steps + 1, dtype=np.int64) * active
    return Frames((1, 1, inputs), steps, indptr, index.astype(kind), np.ones(len(index), np.uint8))


def point(facts: dict[str, Any]) -> tuple[Program, Frames, Callable[[], RunResult]]:
    """Return program, frames and a call that runs them."""
    program = net(facts["inputs"], facts["width"], facts["steps"])
    data = frames(facts["inputs"], facts["steps"], facts["recordings"], facts["activity"])
    return (
        program,
        data,
        lambda: engine.run(program, data, threads=facts["threads"], chunk=facts["block"] or None),
    )


def exponent(x: list[float], y: list[float]) -> float:
    """Return the slope of log y over log x in the upper half of the points, where fixed costs no longer show."""
    half = len(x) // 2
    return float(np.polyfit(np.log(x[half:]), np.log(y[half:]), 1)[0]) if len(x) - half > 1 else math.nan


THREADS, AT_ONCE = 2, 16384
SHARED = (64, 200, 1024, 4096)
"""Numbers of recordings that two threads share."""


def c_run(recordings: int) -> Callable[[], np.ndarray]:
    program, data, call = point({**BASE, "recordings": recordings})
    yard = Yardstick(program, data)
    yard.check(call())
    return yard.run


def one_thread_run(recordings: int) -> Callable[[], RunResult]:
    return point({**BASE, "recordings": recordings})[2]


def two_at_once(turns: int) -> dict[str, Any]:
    """Return seconds of threads and of processes, taking turns, and how many times as fast two are as one.

    Threads share one set of recordings; a process has its own, so two do twice the work.
    """
    ours = {n: point({**BASE, "recordings": AT_ONCE, "threads": n})[2] for n in (1, THREADS)}
    with at_once(THREADS, c_run, AT_ONCE) as c_runs, at_once(THREADS, one_thread_run, AT_ONCE) as engines:
        seconds = interleaved(
            {
                "threads, 1": ours[1], "threads, 2": ours[THREADS],
                "C, 1": lambda: c_runs(1), "C, 2": lambda: c_runs(THREADS),
                "engines, 1": lambda: engines(1), "engines, 2": lambda: engines(THREADS),
            },
            turns,
        )  # fmt: skip
    times = {
        name: {kind: work * seconds[f"{name}, 1"][kind] / seconds[f"{name}, 2"][kind] for kind in ("min", "median")}
        for name, work in (("threads", 1), ("C", THREADS), ("engines", THREADS))
    }  # fmt: skip
    return {
        "recordings": AT_ONCE,
        "seconds": seconds,
        "times_as_fast": times,
        "by_recordings": by_recordings(5 * turns),
        "block": block(10 * turns),
    }


def by_recordings(turns: int) -> dict[int, dict[str, float]]:
    """Return how many times as fast two threads are as one, by the number of recordings that they share."""
    ratios = {}
    for count in SHARED:
        calls = {f"{n}": point({**BASE, "recordings": count, "threads": n})[2] for n in (1, THREADS)}
        seconds = interleaved(calls, turns)
        ratios[count] = {kind: seconds["1"][kind] / seconds[f"{THREADS}"][kind] for kind in ("min", "median")}
    return ratios


def block(turns: int) -> dict[str, Any]:
    """Return seconds of a block of recordings on one thread, and of an empty one: what holds the interpreter's lock."""
    program, data, _ = point({**BASE, "recordings": AT_ONCE})
    chunks = Chunks(program, make_plan(program), data, empty_result(program, len(data)))
    size = chunks.recordings_in(engine.CHUNK_BYTES, THREADS)
    seconds = interleaved({"full": lambda: chunks.run(0, size), "empty": lambda: chunks.run(0, 0)}, turns)
    return {"recordings": size, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    curves = {}
    for name, values in CURVES.items():
        points = {str(v): point({**BASE, name: v}) for v in values}
        measured = interleaved({v: call for v, (_, _, call) in points.items()}, options.turns)
        rows = []
        for v, (program, _, call) in points.items():
            tracemalloc.start()
            run = call()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            tables = sum(
                layer.wiring.weight.nbytes for layer in make_plan(program).layers if layer.wiring is not None
            )
            rows.append({
                name: float(v), "seconds": measured[v]["min"], "spread": measured[v]["spread"],
                "synops": int(run.synops.sum()),
                "table_bytes": tables, "peak_bytes": peak + tables,
            })  # fmt: skip
        x = [row[name] for row in rows]
        curves[name] = {
            "points": rows, "exponent": exponent(x, [row["seconds"] for row in rows]),
            "memory_exponent": exponent(x, [float(row["peak_bytes"]) for row in rows]),
            "synops_exponent": exponent(x, [float(row["synops"]) for row in rows]),
        }  # fmt: skip
    save("growth", {
        "base": BASE, "seed": SEED, "curves": curves, "two_at_once": two_at_once(4 * options.turns),
    })  # fmt: skip


if __name__ == "__main__":
    main()
