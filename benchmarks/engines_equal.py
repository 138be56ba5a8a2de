"""The three engines on a whole split: every number of every result, compared.

    python benchmarks/engines_equal.py PROGRAM --dataset nmnist-sim --data DIR [--limit N]

Prints one JSON object with the count of equal numbers and each engine's recordings per second; exits 1 and names the
first field that differs where two engines disagree.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np

from sastdeploy import RunResult, load_dataset, load_program, simulate
from sastdeploy.program.file import program_hash
from sastdeploy.provenance import git_commit
from sastdeploy.simulator.engine import ENGINES

NOT_COMPARED = ("engine", "threads", "seconds", "stages", "traces", "layers")


def numbers(result: RunResult) -> dict[str, np.ndarray]:
    """Return every exact integer array of a result by its field's name."""
    arrays: dict[str, np.ndarray] = {}
    for field in fields(result):
        value = getattr(result, field.name)
        if field.name in NOT_COMPARED:
            continue
        if isinstance(value, tuple):
            arrays |= {f"{field.name}[{i}]": array for i, array in enumerate(value)}
        else:
            arrays[field.name] = value
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--data", required=True)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    program = load_program(options.program)
    frames = load_dataset(options.dataset, options.split, root=Path(options.data)).frames
    frames = frames.select(slice(0, options.limit))
    runs = [("numba", 1), ("numba", 2), *((name, 1) for name in ENGINES if name != "numba")]
    first, speeds, compared = None, {}, 0
    for engine, threads in runs:
        result = simulate(program, frames, engine=engine, threads=threads)
        speeds[f"{engine}, {threads} thread{'s' * (threads > 1)}"] = round(len(frames) / result.seconds, 1)
        arrays = numbers(result)
        if first is None:
            first, compared = arrays, sum(array.size for array in arrays.values())
        for name, array in arrays.items():
            if not np.array_equal(array, first[name]):
                sys.exit(f"{engine} with {threads} threads differs from numba with 1 in {name}.")
    record = {
        "program_hash": program_hash(program),
        "dataset": options.dataset,
        "split": options.split,
        "recordings": len(frames),
        "numbers_equal": compared,
        "recordings_per_second": speeds,
        "commit": git_commit(),
    }
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
