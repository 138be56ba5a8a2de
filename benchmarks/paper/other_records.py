"""What results.json takes from elsewhere than sweeps' points: totals, what SAST costs, second evaluations and trainings."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sastdeploy import InputError
from sastdeploy.experiments.record import load_any
from sastdeploy.experiments.results import Results

NETWORKS = ("fc_0p40m", "conv_0p42m")


def totals(all_results: Sequence[Results]) -> dict[str, Any]:
    """Return the number of trainings, once where experiments share one, and their processor time."""
    seconds = {
        record["address"]: record["seconds"]["training_cpu"]
        for results in all_results for point in results.points for record in point.raw
    }  # fmt: skip
    return {
        "count": len(seconds),
        "CPU hours": sum(seconds.values()) / 3600,
        "longest, CPU minutes": max(seconds.values(), default=0.0) / 60,
    }


def trainings_csv(all_results: Sequence[Results]) -> str:
    """Return by experiment its trainings and their processor minutes as CSV; one that experiments share counts in each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["experiment", "trainings", "processor minutes", "mean", "longest"])
    for results in all_results:
        minutes = [r["seconds"]["training_cpu"] / 60 for point in results.points for r in point.raw]
        numbers = (sum(minutes), sum(minutes) / len(minutes), max(minutes))
        writer.writerow([results.experiment.name, len(minutes), *(f"{number:.1f}" for number in numbers)])
    return text.getvalue()


def cost(benchmarks: Path) -> dict[str, Any]:
    """Return by network a training step's median milliseconds and a training process's largest resident MiB, baseline and SAST.

    Raises:
        InputError: a file is missing or damaged, or lacks a network.
    """
    path = benchmarks / "speed" / "TRAINING_MEMORY.json"
    costs: dict[str, Any] = {}
    try:
        peaks = {each["settings"]["arch"]: each for each in json.loads(path.read_text("utf-8"))}
        for name in NETWORKS:
            peak = peaks[name]
            path = benchmarks / "speed" / "results" / f"training-{name}.json"
            times = json.loads(path.read_text("utf-8"))
            costs[name] = {
                "baseline, ms": 1000 * times["seconds"]["fused baseline"]["median"],
                "SAST, ms": 1000 * times["seconds"]["fused SAST"]["median"],
                "turns": times["seconds"]["fused SAST"]["turns"],
                "ratio of medians": times["sast_over_baseline"]["median"],
                "ratio of minima": times["sast_over_baseline"]["min"],
                "baseline, MiB": peak["baseline"]["peak_mib"],
                "SAST, MiB": peak["sast"]["peak_mib"],
                "ratio of peaks": peak["sast_over_baseline"]["peak_mib"],
            }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no readable measurement of {' and '.join(NETWORKS)} ({error!r}). Write it anew with "
            "benchmarks/speed/training.py or benchmarks/speed/training_memory.py."
        ) from error
    return costs


def confirmation(path: Path) -> dict[str, Any]:
    """Return counts of the second evaluation by the plain definitions; nothing where it was not made.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text("utf-8"))["checkpoints"]
        parts = [part for row in rows for part in row["float"].values()]
        programs = [part for row in rows for part in row["programs"].values()]
        return {
            "checkpoints": len(rows),
            "numbers of records": sum(row["numbers_of_record"] for row in rows),
            "not reproduced": sum(len(row["not_reproduced"]) for row in rows),
            "float predictions": sum(part["recordings"] for part in parts),
            "float predictions that differ": sum(part["predictions_that_differ"] for part in parts),
            "programs": len(programs),
            "integers": sum(part["numbers"] for part in programs),
            "integers that differ": sum(part["numbers_that_differ"] for part in programs),
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no readable result of a second evaluation ({error!r}). Make it anew: python benchmarks/paper/confirm.py."
        ) from error


def trained_twice(earlier: Path, records: Path) -> dict[str, Any]:
    """Return how far earlier trainings of the same networks are from their records.

    ``repeated``: those of which the record gives every number of the earlier one again. Of the others, in points of test accuracy: by
    which the record is lower in the mean, and the largest difference.

    Raises:
        InputError: a record is missing or damaged.
    """
    pairs = [(load_any(path), load_any(records / path.name)) for path in sorted(earlier.glob("*.json"))]
    if not pairs:
        return {}
    others = [pair for pair in pairs if not _repeated(*pair)]
    answer: dict[str, Any] = {"networks": len(pairs), "repeated": len(pairs) - len(others), "methods": {}}
    for name in ("surrogate", "hard"):
        answer[f"{name}, largest"] = max((abs(_lower(pair, name)) for pair in others), default=0.0)
    methods = [(pair, (pair[1]["trial"]["method"], pair[1]["trial"]["rho"])) for pair in pairs]
    for method in sorted({method for _, method in methods}):
        those = [pair for pair, its in methods if its == method]
        lower = [_lower(pair, "hard") for pair in those if pair in others]
        answer["methods"][f"{method[0]}, rho {method[1]:g}"] = {
            "networks": len(those),
            **({"hard, lower": sum(lower) / len(lower)} if lower else {}),
        }
    return answer


def _repeated(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Say whether a training gave every number of the first record again; of the measures, those that it has."""
    same = ("test", "programs", "curve", "validation")
    measures = first.get("measures", {})
    return all(first.get(name) == second.get(name) for name in same) and all(
        second.get("measures", {}).get(name) == measures[name] for name in measures
    )


def _lower(pair: tuple[dict[str, Any], dict[str, Any]], name: str) -> float:
    first, second = pair
    return float(100 * (first["test"][name] - second["test"][name]))
