"""Seconds to a first result, and resident memory while recordings stream through and for a net of 50 million weights.

    python benchmarks/speed/start_memory.py --work FOLDER [--recordings 100000]

Every figure is of a process of its own (Linux); peak: the largest resident set, with the pages of mapped files; own: without.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from benchmarks.speed.subject import program, recordings
from benchmarks.speed.timing import environment, facts, save

MEMORY = """
def memory(name):
    for line in open('/proc/self/status'):
        if line.startswith(name + ':'):
            return int(line.split()[1]) * 1024
"""
MEASURED = "import json; print(json.dumps([{}, memory('VmHWM'), memory('RssAnon')]))"

STREAM = """
import numpy as np, time
from sastdeploy import Frames, load_program, simulate
program = load_program({path!r})
rows, per_row, inputs = {count} * 10, {per_row}, 2312
index = np.lib.format.open_memmap({index!r}, mode='r')
counts = np.lib.format.open_memmap({counts!r}, mode='r')
indptr = np.load({indptr!r}, mmap_mode='r')
frames = Frames((2, 34, 34), 10, indptr[: rows + 1], index[: rows * per_row], counts[: rows * per_row])
result = simulate(program, frames, threads=1)
held = sum(value.nbytes for value in vars(result).values() if isinstance(value, np.ndarray))
"""

LARGE = """
import numpy as np, time
from dataclasses import replace
from sastdeploy import Architecture, Checkpoint, Frames, Preprocessing, compile, load_profile, simulate
from sastdeploy.networks.architecture import Dense, Neuron, Readout
from sastdeploy.networks.builtin import parameter_shapes
peak = lambda: memory('VmHWM')
architecture = Architecture('wide', (2, 34, 34), (Dense(6000), Dense(5900)), Readout(), 10, Neuron())
rng = np.random.default_rng(0)
arrays = {{}}
for name, shape in parameter_shapes(architecture).items():
    if name.endswith('threshold'):
        arrays[name] = np.ones(shape, np.float32)
    else:
        arrays[name] = (rng.standard_normal(shape, dtype=np.float32) / np.float32(max(1, shape[-1]) ** 0.5))
weights = sum(a.size for n, a in arrays.items() if n.endswith('weight'))
checkpoint = Checkpoint(architecture, arrays, Preprocessing((34, 34, 2), (34, 34), 10, 2, 2.0), tuple(str(k) for k in range(10)), 'nmnist-sim', {{'method': 'baseline', 'rho': 0.0, 'seed': 0, 'epochs': 1, 'selected': {{'epoch': 0}}}}, {{'command': 'random'}})
made = peak()
began = time.perf_counter()
profile = load_profile('loihi_int8')
profile = replace(profile, limits=dict.fromkeys(profile.limits))  # the chip itself refuses a net of this size
program = compile(checkpoint, profile).program
compiled, compiling = peak(), time.perf_counter() - began
del checkpoint, arrays
counts = (rng.random((64, 10, 2, 34, 34)) < 0.08).astype(np.uint8)
frames = Frames.from_dense(counts)
began = time.perf_counter()
simulate(program, frames, threads=1)
first = time.perf_counter() - began
result = simulate(program, frames, threads=1)
stored = sum(layer.weight.nbytes for layer in program.layers) + program.readout.weight.nbytes
"""


def measured(script: str, values: str) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY + script + MEASURED.format(values)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    numbers: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def timed(call: list[str], turns: int, **more: str) -> dict[str, float]:
    times = []
    for _ in range(turns):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "sastdeploy", *call], check=True, capture_output=True, env=environment(**more)
        )  # fmt: skip
        times.append(time.perf_counter() - began)
    return facts(times)


def early(call: list[str], turns: int) -> dict[str, float]:
    """Return the seconds until the line about the first recordings appears."""
    times = []
    for _ in range(turns):
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-m", "sastdeploy", *call], env=environment(), text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stderr is not None
            line = next(line for line in process.stderr if line.startswith("first "))
            times.append(time.perf_counter() - began)
            print(line, end="")
            process.communicate()
    return facts(times)


def cold(call: list[str], turns: int = 3) -> dict[str, float]:
    """Return the seconds of a command whose kernels are compiled anew; frames and Python's bytecode are there."""
    times = []
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as empty:
            times.append(timed(call, 1, NUMBA_CACHE_DIR=empty)["min"])
    return facts(times)


def start(work: Path, path: Path, conv: Path) -> dict[str, dict[str, float]]:
    recording = next((work / "data" / "nmnist-sim" / "Test").glob("*/*.bin"))
    many = ["simulate", str(path), "--dataset", "nmnist-sim", "--data", str(work / "data")]
    timed([*many, "--limit", "100"], 1)
    with_conv = ["simulate", str(conv), *many[2:], "--limit", "100"]
    timed(with_conv, 1)
    training = [
        "train",
        *many[2:],
        "--limit",
        "200",
        "--epochs",
        "1",
        "--force",
        "--out",
        str(work / "cold.pt"),
    ]
    return {
        "one recording, warm": timed(["simulate", str(path), "--recording", str(recording)], 7),
        "2,000 recordings, warm, the first of them": early(many, 5),
        "2,000 recordings, warm": timed(many, 5),
        "100 recordings, first run after an install": cold([*many, "--limit", "100"]),
        "the same, conv_0p42m": cold(with_conv),
        "training, one epoch of 200 recordings, the same": cold(training),
        "help": timed(["--help"], 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--recordings", type=int, default=100_000)
    options = parser.parse_args()
    from sastdeploy import save_program

    recordings(options.work, limit=1)
    path = options.work / "start.onnx"
    save_program(path, program(options.work, "loihi_int8"), force=True)
    conv = options.work / "start-conv.onnx"
    save_program(conv, program(options.work, "loihi_int8", "conv_0p42m"), force=True)
    result: dict[str, Any] = {"start": start(options.work, path, conv), "stream": {}}
    per_row = 185
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        names = [str(Path(folder) / name) for name in ("index.npy", "counts.npy", "indptr.npy")]
        entries = options.recordings * 10 * per_row
        row = np.sort(rng.permutation(2312)[:per_row]).astype(np.uint16)
        index = np.lib.format.open_memmap(names[0], "w+", np.uint16, (entries,))
        counts = np.lib.format.open_memmap(names[1], "w+", np.uint8, (entries,))
        for begin in range(0, entries, len(row) * 10_000):
            stop = min(entries, begin + len(row) * 10_000)
            index[begin:stop] = np.tile(row, (stop - begin) // len(row))
            counts[begin:stop] = 1
        np.save(names[2], np.arange(options.recordings * 10 + 1, dtype=np.int64) * per_row)
        index.flush()
        counts.flush()
        del index, counts
        for count in (1000, options.recordings // 10, options.recordings):
            script = STREAM.format(
                path=str(path),
                count=count,
                per_row=per_row,
                index=names[0],
                counts=names[1],
                indptr=names[2],
            )
            seconds, arrays, peak, own = measured(script, "result.seconds, held")
            # What is mapped from disk counts as resident while it is read, and the system may drop it at any time.
            result["stream"][count] = {
                "seconds": seconds, "peak_bytes": peak, "own_bytes": own, "mapped_bytes": count * 10 * (per_row * 3 + 8),
                "result_bytes": arrays,
            }  # fmt: skip
    values = "[int(weights), stored, made, compiled, compiling, peak(), first, result.seconds, float(result.synops.sum())]"
    (weights, stored, made, compiled, compiling, simulated, first, simulating, operations), *_ = measured(
        LARGE.format(), values
    )
    result["large"] = {
        "weights": weights, "program_bytes": stored, "peak_bytes_with_the_float_net": made, "peak_bytes_after_compiling": compiled,
        "compile_seconds": compiling, "peak_bytes_after_simulating": simulated, "recordings": 64, "first_run_seconds": first,
        "simulate_seconds": simulating,
        "gsynops_per_second": operations / simulating / 1e9,
    }  # fmt: skip
    save("start-memory", result)


if __name__ == "__main__":
    main()
