"""One trial: train (or go on), evaluate on the test recordings once, and leave a small record.

    python -m sastdeploy.experiments.trial ORDER

is what a sweep starts, one process per trial, with the order as JSON: killed at any moment, it loses at most one epoch.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sastdeploy import InputError, SastdeployError
from sastdeploy._files import atomic
from sastdeploy._files.locks import held
from sastdeploy.experiments.measures import MEASURED, MEASURES, NEED_TEST, Subject
from sastdeploy.experiments.progress import log_lines
from sastdeploy.experiments.record import load_record
from sastdeploy.experiments.spec import FORMAT, Trial, training_of
from sastdeploy.provenance import git_commit, versions

if TYPE_CHECKING:
    from sastdeploy import Checkpoint, LabelledFrames, TrainingRun


_CURVE = {"surrogate": "surrogate_accuracy", "hard": "hard_accuracy"}
"""What a record keeps of every epoch: its validation accuracies."""


def run_trial(trial: Trial, address: str, root: Path | None, work: Path, records: Path) -> dict[str, Any]:
    """Return the trial's record, which is then in ``records/ADDRESS.json``; the checkpoint stays in ``work/ADDRESS``.

    Raises:
        InputError: a setting that does not fit, or missing data.
    """
    from sastdeploy import load_checkpoint
    from sastdeploy.networks.checkpoint import checkpoint_hash

    began = time.perf_counter()
    target, out = records / f"{address}.json", work / address / "ckpt.pt"
    if target.exists():
        return _measured_again(trial, target, out, root)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        checkpoint = load_checkpoint(out)
        if checkpoint.provenance.get("command") != command_of(address):
            raise InputError(
                f"{out}: is no checkpoint of trial {address}. Remove its folder to train the trial anew."
            )
    else:
        from sastdeploy import fit_all

        (checkpoint,) = fit_all([run_of(trial, address, Parts(root), out)], resume=True)
    log = log_lines(Path(f"{out}.jsonl"), "gradient_evaluations", "seconds", "cpu_seconds", *_CURVE.values())
    if len(log) != trial.epochs:
        raise InputError(
            f"{out}.jsonl: has {len(log)} of {trial.epochs} epochs. Remove its folder to train the trial anew."
        )
    record = {
        "format": FORMAT, "address": address, "trial": asdict(trial),
        "validation": {key: checkpoint.training["selected"][key] for key in ("epoch", "surrogate_accuracy", "hard_accuracy")},
        "gradient_evaluations": sum(line["gradient_evaluations"] for line in log),
        "seconds": {"training": sum(line["seconds"] for line in log), "training_cpu": sum(line["cpu_seconds"] for line in log)},
        "checkpoint_hash": checkpoint_hash(checkpoint), "device": checkpoint.provenance.get("device", "cpu"),
        "curve": {name: [round(line[key], 6) for line in log] for name, key in _CURVE.items()},
    }  # fmt: skip
    commit, trained = git_commit(), checkpoint.provenance.get("commit")
    test = None
    if not trial.select:
        test = _part(trial, "test", root)
        record |= tested(trial, checkpoint, test)
    if commit != trained:
        record["test_commit"] = commit
    if trial.measures:
        record["measures"] = _measures(trial, trial.measures, checkpoint, record, test, root)
    record["seconds"]["last_process"] = time.perf_counter() - began
    record |= {"peak_bytes": _peak(), "commit": trained, "versions": versions("torch", "numpy", "numba")}
    records.mkdir(parents=True, exist_ok=True)
    atomic.write_text(target, json.dumps(record, indent=1) + "\n")
    return record


def _measures(
    trial: Trial,
    names: tuple[str, ...],
    checkpoint: Checkpoint,
    record: dict[str, Any],
    test: LabelledFrames | None,
    root: Path | None,
) -> dict[str, Any]:
    validation = _part(trial, "validation", root, MEASURED)
    taken = tuple(p for p in trial.profiles if "refused" not in record.get("programs", {}).get(p, {}))
    subject = Subject(checkpoint, validation, test, root, taken, trial.seed)
    return {name: MEASURES[name](subject) for name in names}


def _measured_again(trial: Trial, target: Path, out: Path, root: Path | None) -> dict[str, Any]:
    """Add to a finished trial's record the measures that it lacks, taken of the kept checkpoint; nothing else changes.

    Raises:
        InputError: the checkpoint is not the one that the record is of.
    """
    record = load_record(target, trial)
    lacking = tuple(name for name in trial.measures if name not in record.get("measures", {}))
    if lacking:
        checkpoint = kept_checkpoint(out, record)
        test = _part(trial, "test", root) if set(lacking) & set(NEED_TEST) else None
        measured = _measures(trial, lacking, checkpoint, record, test, root)
        record["measures"] = record.get("measures", {}) | measured
        record["measure_commits"] = record.get("measure_commits", {}) | dict.fromkeys(lacking, git_commit())
        atomic.write_text(target, json.dumps(record, indent=1) + "\n")
    return record


def kept_checkpoint(out: Path, record: dict[str, Any]) -> Checkpoint:
    """Return the checkpoint that a record is of.

    Raises:
        InputError: the file is unreadable, or is another checkpoint.
    """
    from sastdeploy import load_checkpoint
    from sastdeploy.networks.checkpoint import checkpoint_hash

    checkpoint = load_checkpoint(out)
    if checkpoint_hash(checkpoint) != record["checkpoint_hash"]:
        raise InputError(
            f"{out}: is not the checkpoint of {record['address']}'s record. Give the --work folder that has it, "
            f"or remove both the record and {out.parent} and run again."
        )
    return checkpoint


def read_test_of(trial: Trial, address: str, root: Path | None, work: Path, records: Path) -> dict[str, Any]:
    """Return what the test recordings say of a chosen trial, which is then in ``records/ADDRESS.test.json``.

    Raises:
        InputError: its checkpoint is gone, is not the one that was chosen, or was tested before.
    """
    target, out = records / f"{address}.test.json", work / address / "ckpt.pt"
    if target.exists():
        raise InputError(f"{target}: the test recordings were read for this trial, and are read only once.")
    checkpoint = kept_checkpoint(out, load_record(records / f"{address}.json", trial))
    record = {"format": FORMAT, "address": address, **tested(trial, checkpoint, _part(trial, "test", root)), "test_commit": git_commit()}  # fmt: skip
    atomic.write_text(target, json.dumps(record, indent=1) + "\n")
    return record


def tested(trial: Trial, checkpoint: Checkpoint, test: LabelledFrames) -> dict[str, Any]:
    """Return accuracies on the test recordings, in float and as the integer programs of the trial's profiles."""
    from sastdeploy import evaluate

    floats = evaluate(checkpoint, test)
    return {
        "test": {"recordings": len(test), "surrogate": floats.surrogate, "hard": floats.hard, "gap": floats.gap},
        "programs": {profile: _program(checkpoint, profile, test) for profile in trial.profiles},
        "data_hash": test.data_hash,
    }  # fmt: skip


class Parts:
    """Splits of the data sets under a root, each loaded once."""

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self._loaded: dict[tuple[Any, ...], LabelledFrames] = {}

    def of(self, trial: Trial, split: str) -> LabelledFrames:
        """Return the trial's recordings of a split."""
        key = (trial.dataset, split, *trial.bins.values(), trial.limit, trial.seed)
        if key not in self._loaded:
            self._loaded[key] = _part(trial, split, self.root)
        return self._loaded[key]


def _part(trial: Trial, split: str, root: Path | None, most: int | None = None) -> LabelledFrames:
    from sastdeploy import load_dataset

    limits = (most, None if split == "test" else trial.limit)
    limit = min((n for n in limits if n is not None), default=None)
    return load_dataset(
        trial.dataset,
        split,
        root=root,
        limit=limit,
        seed=trial.seed,
        **trial.bins,
    )


def run_of(trial: Trial, address: str, parts: Parts, out: Path) -> TrainingRun:
    """Return the training that a trial asks for, to be written to ``out``."""
    from sastdeploy import TrainingRun, find_preprocessing

    architecture, settings = training_of(trial)
    training, validation = parts.of(trial, "train"), parts.of(trial, "validation")
    scale = find_preprocessing(training, clip=trial.clip)
    return TrainingRun(
        training, validation, architecture, replace(scale, divisor=scale.c_clip * trial.divisor_factor), settings, out,
        command_of(address),
    )  # fmt: skip


def command_of(address: str) -> str:
    """Return what a trial's checkpoint names as its command."""
    return f"sastdeploy sweep, trial {address}"


def _program(checkpoint: Checkpoint, profile: str, test: LabelledFrames) -> dict[str, Any]:
    from sastdeploy import CompileError, compile, simulate, summarise

    try:
        program = compile(checkpoint, profile).program
    except CompileError as error:
        # That a network does not fit the hardware is a result, not a fault of the sweep.
        return {"refused": str(error)}
    figures = summarise(program, simulate(program, test, threads=1), test.labels)
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
    from filelock import Timeout

    git_commit()  # Before anything can change it.
    order = json.loads(sys.argv[1])
    if order["with_parent"]:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        # Held by the one that trains, not by the sweep: a trial outlives a sweep that is killed.
        with held(Path(order["work"]) / order["address"] / "lock", wait=False):
            with suppress(OSError):  # Not a file.
                os.ftruncate(sys.stderr.fileno(), 0)
            _run(order)
    except Timeout:
        sys.exit(TAKEN)


def _end_with_parent() -> None:
    """Wait until the other end of stdin is closed, which a process that is killed does too; then end at once."""
    os.read(0, 1)
    os._exit(1)


def _check_address(trial: Trial, address: str, root: Path | None) -> None:
    """Accept the trial whose settings, files and recordings are still what its address was made of.

    Raises:
        InputError: one of them was changed after the sweep had started.
    """
    from sastdeploy.recordings.splits import data_hash

    if trial.address(data_hash(trial.dataset, time_bins=trial.time_bins, root=root)) != address:
        raise InputError(
            f"trial {address}: its network's or profile's file, or the recordings, changed after the sweep had started. Start the "
            "sweep again: it runs what is there now."
        )


def _run(order: dict[str, Any]) -> None:
    import numba
    import torch

    # In this order: starting Numba's threads can give torch all cores again.
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    settings = order["trial"]
    trial = Trial(
        **{**settings, "profiles": tuple(settings["profiles"]), "measures": tuple(settings["measures"])}
    )
    root = Path(order["root"]) if order["root"] else None
    try:
        _check_address(trial, order["address"], root)
        run_trial(trial, order["address"], root, Path(order["work"]), Path(order["records"]))
    except SastdeployError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
