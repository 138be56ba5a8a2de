"""Two full-length trainings timed end to end: 200 epochs of simulated N-MNIST, baseline and SAST, one thread.

    python benchmarks/speed/full_training.py --data FOLDER --work FOLDER [--epochs 200]

FOLDER of ``--data`` holds nmnist-sim made from all 60,000 + 10,000 digits. A finished checkpoint in ``--work`` is not
trained again: then its log's seconds and the time noted beside it are taken.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from timing import save

from sastdeploy.checkpoint import load_checkpoint

METHODS = {"baseline": [], "sast": ["--rho", "0.3"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=200)
    options = parser.parse_args()
    runs = []
    for method, more in METHODS.items():
        out = options.work / f"{method}.pt"
        call = [
            "train", "--dataset", "nmnist-sim", "--data", str(options.data), "--epochs", str(options.epochs), "--threads", "1",
            "--seed", "0", "--method", method, *more, "--out", str(out), "--json",
        ]  # fmt: skip
        note = out.with_suffix(".seconds")
        if not out.exists():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "sastdeploy", *call], check=True, stdout=subprocess.DEVNULL)
            note.write_text(str(time.perf_counter() - began), "utf-8")
        records = [json.loads(line) for line in Path(f"{out}.jsonl").read_text("utf-8").splitlines()]
        best = max(records, key=lambda record: record["hard_accuracy"])
        runs.append({
            "method": method, "rho": float(more[1]) if more else 0.0, "epochs": len(records), "recordings": 54001,
            "seconds": float(note.read_text("utf-8")), "seconds_in_steps": sum(r["seconds"] for r in records),
            "hard_accuracy": best["hard_accuracy"], "surrogate_accuracy": best["surrogate_accuracy"], "best_epoch": best["epoch"] + 1,
        })  # fmt: skip
    save("full-training", {"commit": load_checkpoint(out).provenance["commit"], "seed": 0, "runs": runs})


if __name__ == "__main__":
    main()
