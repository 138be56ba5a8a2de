"""Evaluate a sample of kept checkpoints again by the plain definitions, and hold the records against that.

    python benchmarks/paper/confirm.py --data FOLDER --work FOLDER

The sample is chosen by rule: of each experiment in `SAMPLE` seed 0's checkpoints of the baseline and of the SAST point with the highest
mean validation accuracy. Three things are asked of each. Does the evaluation that made the record give every number of it again, on all
test recordings? Does plain torch in float64 on dense frames predict the same? Does the reference engine, plain integer Python, give the
same integers as the fast engine for the programs compiled anew? Writes confirmed.json, which results.json counts; exits 1
where a number of a record is not reproduced or an integer differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.engines_equal import numbers
from benchmarks.paper.assemble import experiments, results_of
from sastdeploy import Checkpoint, Frames, InputError, LabelledFrames, SastdeployError
from sastdeploy._files import atomic
from sastdeploy.experiments.results import Results
from sastdeploy.experiments.spec import Trial
from sastdeploy.provenance import git_commit, versions

HERE = Path(__file__).resolve().parent
SEED = 0
SAMPLE: dict[str, dict[str, Any]] = {
    "map-full": {"divisor_factor": 33.0}, "small-values-in-minutes": {}, "table1-gestures-middle-values": {},
    "table1-gestures-largest-count": {}, "table2-gestures": {},
}  # fmt: skip
"""By experiment the settings that a point must have."""
COMMAND = "python benchmarks/paper/confirm.py --data FOLDER --work FOLDER"
MAX_RECORDINGS: dict[str, dict[str, int | None]] = {
    "dense": {"float": None, "integer": 1000},
    "conv": {"float": 500, "integer": 50},
}
"""Test recordings, evenly spaced, that a definition evaluates; None for all. Convolutions take 20 times as long."""


def chosen(results: Results, settings: dict[str, Any]) -> list[tuple[str, Trial, dict[str, Any]]]:
    """Return label, trial and record of the baseline's and the best SAST point's training with seed `SEED`.

    Raises:
        InputError: one of the two has no record.
    """
    points = [
        point for point in results.points
        if SEED in point.seeds and all(getattr(point.trial, name) == value for name, value in settings.items())
    ]  # fmt: skip
    choices = []
    for method in ("baseline", "sast"):
        those = [point for point in points if point.trial.method == method]
        if not those:
            raise InputError(
                f"experiment {results.experiment.name}: no record of {method}, seed {SEED}. Run the sweep first."
            )
        best = max(those, key=lambda point: point.samples["validation hard"].mean)
        record = best.raw[best.seeds.index(SEED)]
        choices.append((best.label, replace(best.trial, seed=SEED), record))
    return choices


def evaluated_again(
    trial: Trial, record: dict[str, Any], checkpoint: Checkpoint, test: LabelledFrames
) -> dict[str, Any]:
    """Return what the evaluation of the record and the plain definitions say of a checkpoint."""
    from sastdeploy.experiments.trial import tested

    most = MAX_RECORDINGS[checkpoint.architecture.layers[0].kind]
    again: dict[str, Any] = tested(trial, checkpoint, test)
    count, wrong = held(record, again)
    some = _spaced(test, most["integer"])
    return {
        "recordings": len(test), "numbers_of_record": count, "not_reproduced": wrong,
        "float": {
            name: _float(checkpoint, _spaced(test, most["float"]), len(test), hard, record["test"][name])
            for name, hard in (("surrogate", False), ("hard", True))
        },
        "programs": {
            profile: _integer(checkpoint, profile, some.frames)
            for profile in trial.profiles
            if "refused" not in again["programs"][profile]
        },
    }  # fmt: skip


def held(record: dict[str, Any], again: dict[str, Any], where: str = "") -> tuple[int, list[str]]:
    """Return how many values the evaluation gives again, and a sentence for each that the record has otherwise."""
    count = 0
    wrong: list[str] = []
    for name, value in again.items():
        there = record.get(name)
        if isinstance(value, dict):
            inner, sentences = held(there if isinstance(there, dict) else {}, value, f"{where}{name}.")
            count, wrong = count + inner, wrong + sentences
        else:
            count += 1
            if there != value:
                wrong.append(f"{where}{name}: {there} in the record, {value} again")
    return count, wrong


def _spaced(test: LabelledFrames, most: int | None) -> LabelledFrames:
    """Return that many recordings, evenly spaced: the set lies class by class."""
    if most is None or most >= len(test):
        return test
    return test.select(np.arange(most) * len(test) // most)


def _float(
    checkpoint: Checkpoint, data: LabelledFrames, whole: int, hard: bool, recorded: float
) -> dict[str, Any]:
    """Compare the fast forward pass with plain torch in float64; on a whole set also with the recorded accuracy."""
    from sastdeploy.training.inference import class_scores, network_of, run

    fast = class_scores(network_of(checkpoint), data.frames, checkpoint.preprocessing, hard)
    plain = run(checkpoint, data.frames, hard=hard).scores
    row = {"recordings": len(data), **_apart(fast, plain), "largest_score": float(np.abs(plain).max())}
    if len(data) == whole:
        accuracy = float((plain.argmax(1) == data.labels).mean())
        row |= {"accuracy_in_record": recorded, "accuracy": accuracy}
    return row


def _integer(checkpoint: Checkpoint, profile: str, frames: Frames) -> dict[str, Any]:
    """Compare the fast engine with the reference engine, in every number that a run returns."""
    from sastdeploy import compile, simulate

    program = compile(checkpoint, profile).program
    fast, plain = (simulate(program, frames, engine=name, threads=1) for name in ("numba", "reference"))
    pairs = [(value, numbers(plain)[name]) for name, value in numbers(fast).items()]
    return {
        "recordings": len(frames), "numbers": sum(a.size for a, _ in pairs),
        "numbers_that_differ": sum(int((a != b).sum()) for a, b in pairs),
        **_apart(fast.scores.astype(np.int64), plain.scores),
    }  # fmt: skip


def _apart(fast: NDArray[Any], plain: NDArray[Any]) -> dict[str, Any]:
    return {
        "predictions_that_differ": int((fast.argmax(1) != plain.argmax(1)).sum()),
        "largest_difference": np.abs(fast - plain).max().item(),
    }


def sample(data: Path, work: Path, records: Path) -> list[dict[str, Any]]:
    """Return `evaluated_again` of every checkpoint of the sample.

    Raises:
        InputError: a record, a checkpoint or a data set is missing, or a checkpoint is not the record's.
    """
    from sastdeploy import load_dataset
    from sastdeploy.experiments.trial import kept_checkpoint

    hashes = json.loads((HERE / "data.json").read_text("utf-8"))
    rows = []
    for experiment in experiments(HERE):
        if experiment.name not in SAMPLE:
            continue
        results = results_of(experiment, hashes, records)
        if results is None:
            raise InputError(f"experiment {experiment.name}: no trial has a record. Run the sweep first.")
        first = experiment.trials[0]
        test = load_dataset(first.dataset, "test", time_bins=first.time_bins, root=data)
        for point, trial, record in chosen(results, SAMPLE[experiment.name]):
            print(f"{experiment.name}, {point}", file=sys.stderr)
            if test.data_hash != record["data_hash"]:
                raise InputError(
                    f"{data}: its {trial.dataset} test recordings are not those of {record['address']}'s record. "
                    "Give the --data folder of the sweep."
                )
            checkpoint = kept_checkpoint(work / record["address"] / "ckpt.pt", record)
            named = {
                "experiment": experiment.name,
                "point": point,
                "seed": SEED,
                "address": record["address"],
            }
            made = {"checkpoint_hash": record["checkpoint_hash"], **evaluated_again(trial, record, checkpoint, test)}  # fmt: skip
            rows.append(named | made)
    return rows


def main() -> None:
    import numba
    import torch

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--work", type=Path, required=True, help="the sweeps' work folder, with ADDRESS/ckpt.pt")  # fmt: skip
    parser.add_argument("--records", type=Path, default=HERE / "records", help="folder of the records")
    parser.add_argument("--out", type=Path, default=HERE / "confirmed.json")
    options = parser.parse_args()
    # As a sweep's trials run; in this order: starting Numba's threads can give torch all cores again.
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    try:
        rows = sample(options.data, options.work, options.records)
    except SastdeployError as error:
        sys.exit(str(error))
    record = {
        "command": COMMAND, "commit": git_commit(), "versions": versions("torch", "numpy", "numba"), "checkpoints": rows,
    }  # fmt: skip
    atomic.write_text(options.out, json.dumps(record, indent=1) + "\n")
    failed = [f"{row['experiment']}, {row['point']}: {sentence}" for row in rows for sentence in faults(row)]
    sys.exit("\n".join(failed) or 0)


def faults(row: dict[str, Any]) -> list[str]:
    """Return what must not be: numbers of the record that come out otherwise, and integers that differ."""
    differ = [
        f"{profile}: {program['numbers_that_differ']} of {program['numbers']} integers differ"
        for profile, program in row["programs"].items()
        if program["numbers_that_differ"]
    ]
    return [*row["not_reproduced"], *differ]


if __name__ == "__main__":
    main()
