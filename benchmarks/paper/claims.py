"""Figures that RESULTS.md and ADVICE.md quote beside the points' own: settings, sizes, and what holds for several networks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from benchmarks.paper import tail
from sastdeploy import InputError, load_architecture
from sastdeploy.experiments.readings import LEARNT, readings
from sastdeploy.experiments.results import Point, Results
from sastdeploy.experiments.spec import Trial
from sastdeploy.networks.builtin import describe
from sastdeploy.statistics import Sample

SETTINGS = ("epochs", "rho", "limit", "divisor_factor", "alpha", "threshold", "slope", "init_scale")
"""Settings of trials that pages name."""
BATCH = 128
PAPER_EPOCHS = {"baseline": 100, "SAST": 48}
"""Of the paper's Table 3, digits."""
BOUNDS = ("corruption", "corruption-gestures")
"""The experiments whose networks have bounds."""
FULL = (
    "table1-small-values", "table1-full", "table3-small-values", "map-full", "map-rivals-full", "small-values-in-minutes",
    "small-values-in-minutes-first",
)  # fmt: skip
"""The experiments on digits that have the paper's epochs, or more."""


def settings(trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the settings that all trials share, and their number of seeds."""
    shared: dict[str, Any] = {}
    for name in SETTINGS:
        values = {asdict(trial)[name] for trial in trials}
        if len(values) == 1 and None not in values:
            shared |= {name: values.pop()}
    return shared | {"number of seeds": len({trial.seed for trial in trials})}


def best_epoch(point: Point) -> Sample | None:
    """Return by seed the gradients up to the epoch with the best validation accuracy of hard spikes; None without curves."""
    records = [(seed, record) for seed, record in zip(point.seeds, point.raw) if "curve" in record]
    if not records:
        return None
    gradients = []
    for _, record in records:
        hard = record["curve"]["hard"]
        gradients.append(record["gradient_evaluations"] * (hard.index(max(hard)) + 1) / len(hard))
    return Sample(tuple(seed for seed, _ in records), tuple(gradients))


def claims(all_results: Sequence[Results], folder: Path) -> dict[str, Any]:
    """Return the figures by subject; what the records do not give is None.

    Args:
        folder: holds the committed run on a real recording, which says how many simulated digits trained its networks.
    """
    by_name = {results.experiment.name: results for results in all_results}
    return {
        "digits": _digits(by_name.get("table1-full"), folder / "REAL_RECORDING.json"),
        "gestures": _splits(by_name.get("table1-gestures")),
        "kSynOps": _synops(),
        "no gap": _common(by_name.get("table1-full"), "gap", 1),
        "below the paper": _below_published(by_name.get("table2")),
        "gamma": _gamma(all_results),
        "bounds": _bounds([by_name[name] for name in BOUNDS if name in by_name]),
        "short schedules": _epochs([r for name, r in by_name.items() if name not in FULL]),
        "map": _calibrated([by_name[name] for name in tail.MAP if name in by_name]),
    }


def _records(all_results: Sequence[Results]) -> Iterator[dict[str, Any]]:
    """Yield every record, once where experiments share it."""
    by_address = {
        record["address"]: record
        for results in all_results for point in results.points for record in point.raw
    }  # fmt: skip
    yield from by_address.values()


def _splits(results: Results | None) -> dict[str, Any]:
    """Return the number of test recordings, and the least of validation recordings that gives every accuracy on them."""
    if results is None:
        return {"validation": None, "test": None}
    records = list(_records([results]))
    tested = {record["test"]["recordings"] for record in records if "test" in record}
    shares = {
        Fraction(record["validation"][name]).limit_denominator(20_000).denominator
        for record in records for name in ("hard_accuracy", "surrogate_accuracy")
    }  # fmt: skip
    return {"validation": math.lcm(*shares), "test": tested.pop() if len(tested) == 1 else None}


def _digits(results: Results | None, path: Path) -> dict[str, Any]:
    """Return the sizes of the splits, and the steps that the paper's Table 3 takes on so many training recordings.

    Raises:
        InputError: the file is damaged.
    """
    training: int | None = None
    steps: dict[str, int | None] = dict.fromkeys(PAPER_EPOCHS)
    if path.exists():
        try:
            answers = json.loads(path.read_text("utf-8"))["answers"]
            (training,) = {answer["training_recordings"] for answer in answers}
            steps = {method: epochs * -(-training // BATCH) for method, epochs in PAPER_EPOCHS.items()}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: no readable number of training recordings ({error!r}). Make it anew: python benchmarks/paper/real_recording.py."
            ) from error
    named = {f"steps of the paper's Table 3, {method}": count for method, count in steps.items()}
    return {"training": training, **_splits(results), **named}


def _epochs(all_results: Sequence[Results]) -> dict[str, Any]:
    """Return the fewest and the most epochs of a training on digits."""
    epochs = [
        point.trial.epochs
        for results in all_results for point in results.points if point.trial.dataset == "nmnist-sim"
    ]  # fmt: skip
    return {"fewest": min(epochs, default=None), "most": max(epochs, default=None)}


def _synops() -> dict[str, float]:
    """Return kSynOps per recording if every input and neuron is active at every step, and of what comes behind ``fc_0p40m``'s first layer."""
    layers = {
        f"{arch}, {name}": [
            layer.largest_synops / 1000 for layer in describe(load_architecture(arch, shape, classes))
        ]
        for arch in ("fc_0p40m", "conv_0p42m")
        for name, shape, classes in (("digits", (2, 34, 34), 10), ("gestures", (2, 48, 48), 11))
    }
    return {
        **{f"{name}, at most": sum(each) for name, each in layers.items()},
        "hidden neurons, at most": sum(layers["fc_0p40m, digits"][1:]),
    }


def _common(results: Results | None, name: str, digits: int) -> dict[str, Any]:
    """Return the mean of a figure to so many digits, if every point has the same; else None."""
    points = () if results is None else results.points
    means = {round(point.samples[name].mean, digits) for point in points if name in point.samples}
    return {name: means.pop() if len(means) == 1 else None}


def _below_published(results: Results | None) -> dict[str, Any]:
    """Return the points of surrogate accuracy, in whole ones, by which every point stays below the paper's; None if they differ."""
    if results is None:
        return {"surrogate": None}
    published = results.experiment.published
    distances = {
        round(published[point.label][0] - point.samples["surrogate"].mean)
        for point in results.points if point.label in published
    }  # fmt: skip
    return {"surrogate": distances.pop() if len(distances) == 1 else None}


def _gamma(all_results: Sequence[Results]) -> dict[str, Any]:
    """Return the networks of the paper's neuron whose gamma-hat is the highest possible to three decimals, if all measured are such; and the band.

    The band is the distance to a threshold within which one state puts gamma above 1.
    """
    by_address = {  # experiments that share a training need not ask for the same measures of it
        record["address"]: record["measures"]["contraction"]
        for results in all_results for point in results.points for record in point.raw
        if "contraction" in record.get("measures", {}) and _papers_neuron(record["trial"])
    }  # fmt: skip
    measures = list(by_address.values())
    highest = all(f"{one['gamma_hat']:.3f}" == f"{one['gamma_global']:.3f}" for one in measures)
    bands = {one["band"] for one in measures}
    return {
        "networks": len(measures) if measures and highest else None,
        "band": bands.pop() if len(bands) == 1 else None,
    }


def _papers_neuron(trial: dict[str, Any]) -> bool:
    return (trial["threshold"], trial["slope"]) == (1.0, 25.0) and not trial.get("slope_end")


def _bounds(all_results: Sequence[Results]) -> dict[str, Any]:
    """Return the networks whose bounds on input changes and convergence are vacuous, if all of them are; else None."""
    logarithms = [readings(record) for record in _records(all_results)]
    vacuous = [
        min(one["log L_x over range"], one["log floor over gradient"]) > 0
        for one in logarithms if "log L_x over range" in one and "log floor over gradient" in one
    ]  # fmt: skip
    return {
        "networks": len(vacuous) if vacuous and all(vacuous) and len(vacuous) == len(logarithms) else None
    }


def _calibrated(all_results: Sequence[Results]) -> dict[str, Any]:
    """Return how many points of the map have learnt, and at how many calibration is shown to restore hard accuracy."""
    shown: dict[tuple[str, ...], bool] = {}
    for point in (point for results in all_results for point in results.points):
        samples = point.samples
        if "recovered" in samples and samples["surrogate"].mean >= LEARNT:
            interval = samples["recovered"].interval
            shown[tuple(sorted(record["address"] for record in point.raw))] = bool(
                interval and interval[0] > 0
            )
    return {"points that have learnt": len(shown), "restored": sum(shown.values()), "learnt from": LEARNT}
