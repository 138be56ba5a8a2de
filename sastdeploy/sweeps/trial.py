"""One trial: train (or go on), evaluate on the test recordings once, and leave a small record.

    python -m sastdeploy.sweeps.trial TRIAL.json

is what a sweep starts, one process per trial: killed at any moment, it loses at most one epoch.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sastdeploy import atomic
from sastdeploy.errors import InputError
from sastdeploy.provenance import git_commit, versions
from sastdeploy.sweeps.experiment import FORMAT, Trial


def run_trial(trial: Trial, address: str, root: Path | None, work: Path, records: Path) -> dict[str, Any]:
    """Return the trial's record, which is then in ``records/ADDRESS.json``; the checkpoint stays in ``work/ADDRESS``.

    Raises:
        InputError: a setting that does not fit, or missing data.
    """
    from sastdeploy.architecture import Neuron
    from sastdeploy.checkpoint import checkpoint_hash, load_checkpoint
    from sastdeploy.events.catalog import dataset
    from sastdeploy.events.splits import find_scale, load_frames
    from sastdeploy.frames import Preprocessing
    from sastdeploy.networks import load_architecture
    from sastdeploy.training.inference import evaluate
    from sastdeploy.training.loop import train
    from sastdeploy.training.settings import TrainingSettings

    facts, began = dataset(trial.dataset), time.perf_counter()
    shape = (facts.sensor_size[2], facts.frame_size[1], facts.frame_size[0])
    neuron = Neuron(trial.alpha, trial.threshold, trial.slope)
    architecture = load_architecture(trial.arch, shape, len(facts.classes), neuron)
    settings = TrainingSettings(
        trial.method, trial.rho, epochs=trial.epochs, batch_size=trial.batch_size, learning_rate=trial.learning_rate,
        seed=trial.seed,
    )  # fmt: skip
    out = work / address / "ckpt.pt"
    out.parent.mkdir(parents=True, exist_ok=True)

    def part(split: str, limit: int | None = None):
        return load_frames(
            trial.dataset, split, time_bins=trial.time_bins, root=root, limit=limit, seed=trial.seed
        )

    if out.exists():
        checkpoint = load_checkpoint(out)
    else:
        training, validation = part("train", trial.limit), part("validation", trial.limit)
        clip = find_scale(training.frames)
        preprocessing = Preprocessing(
            facts.sensor_size, facts.frame_size, trial.time_bins, clip, clip * trial.divisor_factor
        )
        checkpoint = train(
            training, validation, architecture, preprocessing, settings, out, dataset=trial.dataset,
            command=f"sastdeploy sweep, trial {address}", resume=True,
        )  # fmt: skip
    test = part("test")
    floats = evaluate(checkpoint, test)
    log = [json.loads(line) for line in Path(f"{out}.jsonl").read_text("utf-8").splitlines()]
    record = {
        "format": FORMAT, "address": address, "trial": asdict(trial),
        "test": {"recordings": len(test), "surrogate": floats.surrogate, "hard": floats.hard, "gap": floats.gap},
        "validation": {key: checkpoint.training["selected"][key] for key in ("epoch", "surrogate_accuracy", "hard_accuracy")},
        "programs": {profile: _program(checkpoint, profile, test) for profile in trial.profiles},
        "gradient_evaluations": sum(line["gradient_evaluations"] for line in log),
        "seconds": {"training": sum(line["seconds"] for line in log), "last_process": time.perf_counter() - began},
        "peak_bytes": _peak(), "checkpoint_hash": checkpoint_hash(checkpoint), "data_hash": test.data_hash,
        "commit": git_commit(), "versions": versions("torch", "numpy", "numba"),
    }  # fmt: skip
    records.mkdir(parents=True, exist_ok=True)
    atomic.write_text(records / f"{address}.json", json.dumps(record, indent=1) + "\n")
    return record


def _program(checkpoint, profile: str, test) -> dict[str, float]:
    from sastdeploy.compiler import compile_checkpoint
    from sastdeploy.hardware import load_profile
    from sastdeploy.metrics import summarise
    from sastdeploy.simulator import engine

    program = compile_checkpoint(checkpoint, load_profile(profile))
    figures = summarise(program, engine.run(program, test.frames, threads=1), test.labels)
    operations = figures["ksynops"]["all"]
    return {
        "accuracy": figures["accuracy"]["value"], "ksynops": operations["mean"], "largest_ksynops": operations["maximum"],
    }  # fmt: skip


def _peak() -> int:
    """Return this process's largest resident memory in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


TAKEN = 75
"""Exit code: another process is at this trial."""


def main() -> None:
    from filelock import FileLock, Timeout

    order = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    if order["follow"]:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        # Held by the one that trains, not by the sweep: a trial outlives a sweep that is killed.
        with FileLock(Path(order["work"]) / order["address"] / "lock", timeout=0):
            _run(order)
    except Timeout:
        sys.exit(TAKEN)


def _end_with_parent() -> None:
    """Wait until the other end of stdin is closed, which a process that is killed does too; then end at once."""
    os.read(0, 1)
    os._exit(1)


def _run(order: dict[str, Any]) -> None:
    import numba
    import torch

    if (Path(order["records"]) / f"{order['address']}.json").exists():
        return
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    trial = Trial(**{**order["trial"], "profiles": tuple(order["trial"]["profiles"])})
    root = Path(order["root"]) if order["root"] else None
    try:
        run_trial(trial, order["address"], root, Path(order["work"]), Path(order["records"]))
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
