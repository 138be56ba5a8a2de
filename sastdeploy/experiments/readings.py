"""A trial's record as named numbers: what tables, figures and comparisons are made of."""

from __future__ import annotations

import math
from typing import Any

KINDS = ("threshold", "threshold_by_layer", "input")
"""Of calibration at deployment."""


LEARNT = 40.0
"""Percent of the test recordings that surrogate spikes have to get right, about four times what guessing among ten or eleven classes gets;
below, a network has not learnt and its gap says nothing."""


def readings(record: dict[str, Any]) -> dict[str, float]:
    """Return the numbers that a record holds, by name; a record that lacks a measure lacks its names.

    Accuracies, gaps, losses and shares are in percent. Names:

    - ``surrogate``, ``hard``, ``gap``: test recordings; ``validation hard``: validation recordings;
    - ``gradient evaluations``, ``wall-clock seconds`` and ``CPU seconds`` of training, ``peak MB``;
    - by hardware profile P: ``P accuracy``, ``P less hard`` (points against the float network's hard spikes), ``P kSynOps``,
      ``P maximum``;
    - from the measures ``activity``: ``surrogate rate``, ``hard rate``, ``tail``, ``far tail``, ``silent``, ``never reaching``, and the same
      with ``, LAYER``; ``margins``: ``near, hard``, ``near, surrogate``, and the same with ``, LAYER``; ``contraction``: ``gamma``, ``gamma 50 %``, ``gamma 99 %``,
      ``gamma 99.9 %``, ``in band``;
    - from ``bounds``: ``bound gamma``; ``state bound factor`` (over the largest visited norm, the layer with the largest factor); and as
      logarithms to base 10 ``log L_x`` (local), ``log change`` (the largest found per unit of input), ``log L_x over change``,
      ``log L_x over range`` (for one event), ``log beta``, and the floor over the largest squared gradient measured: ``log floor over
      gradient`` (own rho) and ``log default floor over gradient`` (the data set's default rho); ``log learning rate over largest``
      (the largest that the convergence result allows). What the measure could not compare, or is 0, has no name;
    - from ``calibration``, with hard spikes on test recordings: ``calibrated KIND``, ``factor KIND``; ``calibrated``: the KIND, or none,
      with the highest validation accuracy, the first on ties; ``recovered``: the points it adds; ``left``: what is left of the gap;
      ``slope K``: surrogate spikes at slope K on validation recordings;
    - from ``overflows``: ``P overflows``, membrane updates of the program outside its format, which it saturates or wraps, in percent
      of all updates on the test recordings;
    - from ``robustness``, by corruption C (``clean``, ``drop:0.1``, ...): ``C, surrogate``, ``C, hard``, ``C, P``.
    """
    numbers = {
        "validation hard": 100 * record["validation"]["hard_accuracy"],
        "gradient evaluations": float(record["gradient_evaluations"]),
        "wall-clock seconds": record["seconds"]["training"],
        "CPU seconds": record["seconds"]["training_cpu"],
    }
    if "peak_bytes" in record:
        numbers["peak MB"] = record["peak_bytes"] / 1e6
    if "test" in record:
        numbers |= {name: 100 * record["test"][name] for name in ("surrogate", "hard", "gap")}
    for profile, program in record.get("programs", {}).items():
        if "refused" not in program:
            numbers |= {
                f"{profile} accuracy": 100 * program["accuracy"],
                f"{profile} less hard": 100 * (program["accuracy"] - record["test"]["hard"]),
                f"{profile} kSynOps": program["ksynops"],
                f"{profile} maximum": program["largest_ksynops"],
            }
    measures = record.get("measures", {})
    for name, read in (
        ("activity", _activity),
        ("margins", _margins),
        ("contraction", _contraction),
        ("bounds", _bounds),
    ):
        if name in measures:
            numbers |= read(measures[name])
    if "calibration" in measures and "test" in record:
        numbers |= _calibration(measures["calibration"], record)
    if "overflows" in measures:
        for profile, part in measures["overflows"]["programs"].items():
            numbers[f"{profile} overflows"] = 100 * (part["low"] + part["high"]) / part["updates"]
    if "robustness" in measures:
        numbers |= _robustness(measures["robustness"])
    return numbers


def refusals(record: dict[str, Any]) -> dict[str, str]:
    """Return by hardware profile why it could not take the network; nothing where it could."""
    programs = record.get("programs", {})
    return {profile: program["refused"] for profile, program in programs.items() if "refused" in program}


def _activity(measure: dict[str, Any]) -> dict[str, float]:
    kinds = ("surrogate_rate", "hard_rate", "tail", "far_tail", "silent", "never_reaching")
    parts = [("", measure["overall"])] + [(f", {layer['name']}", layer) for layer in measure["layers"]]
    return {
        kind.replace("_", " ") + end: 100 * part[kind]
        for end, part in parts for kind in kinds if part[kind] is not None
    }  # fmt: skip


def _margins(measure: dict[str, Any]) -> dict[str, float]:
    return {
        f"near, {spikes}{end}": 100 * part["near"]
        for spikes, whole in measure.items()
        for end, part in [("", whole["overall"]), *((f", {layer['name']}", layer) for layer in whole["layers"])]
    }  # fmt: skip


def _contraction(measure: dict[str, Any]) -> dict[str, float]:
    quantiles = measure["quantiles"]
    return {
        "gamma": measure["gamma_hat"],
        **{f"gamma {100 * float(share):g} %": value for share, value in quantiles.items()},
        "in band": 100 * measure["in_band"],
    }


def _bounds(measure: dict[str, Any]) -> dict[str, float]:
    states, lipschitz, convergence = measure["states"], measure["lipschitz"], measure["convergence"]
    factors = [layer["norm_ratio"] for layer in states["layers"] if layer["norm_ratio"] is not None]
    logarithms = {
        "log change": lipschitz["largest_found"],
        "log beta": convergence["beta_at_least"],
        "log floor over gradient": convergence["floor_over_squared_gradient"],
        "log default floor over gradient": convergence["floor_at_paper_rho_over_squared_gradient"],
    }
    if convergence["largest_learning_rate"]:
        ratio = convergence["learning_rate"] / convergence["largest_learning_rate"]
        logarithms["log learning rate over largest"] = ratio
    numbers = {
        "bound gamma": lipschitz["local"]["gamma"],
        "state bound factor": max(factors, default=None),
        "log L_x": lipschitz["local"]["log10_bound"],
        "log L_x over change": lipschitz["log10_bound_over_found"],
        "log L_x over range": lipschitz["log10_one_event_over_diameter"],
        **{name: math.log10(value) if value else None for name, value in logarithms.items()},
    }
    return {name: value for name, value in numbers.items() if value is not None}


def _calibration(measure: dict[str, Any], record: dict[str, Any]) -> dict[str, float]:
    surrogate, hard = record["test"]["surrogate"], record["test"]["hard"]
    numbers: dict[str, float] = {}
    # Factor 1 is among every kind's, on the same recordings: nothing changed is one of the choices.
    best, reached = -1.0, hard
    for kind in KINDS:
        part = measure[kind]
        numbers[f"calibrated {kind}"] = 100 * part["test_hard"]
        factors = set(part["factors"].values())
        if len(factors) == 1:
            numbers[f"factor {kind}"] = factors.pop()
        if part["validation_hard"] > best:
            best, reached = part["validation_hard"], part["test_hard"]
    numbers |= {
        "calibrated": 100 * reached, "recovered": 100 * (reached - hard), "left": 100 * (surrogate - reached),
    }  # fmt: skip
    return numbers | {f"slope {slope}": 100 * value for slope, value in measure["slopes"].items()}


def _robustness(measure: list[dict[str, Any]]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for row in measure:
        answers = {"surrogate": row["surrogate"], "hard": row["hard"], **row["programs"]}
        numbers |= {f"{row['corruption']}, {name}": 100 * answer["value"] for name, answer in answers.items()}
    return numbers
