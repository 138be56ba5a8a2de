"""Tables from records: the same records give the same bytes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy.errors import InputError
from sastdeploy.sweeps.experiment import Experiment, Trial, label, varied

_T95 = (math.inf, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t, two-sided 95 %, by degrees of freedom; 1.96 is taken from 11 on times a little more than it needs."""


def load_record(path: Path) -> dict[str, Any]:
    """Return a trial's record.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no readable record of a trial ({error}). Run the sweep again.") from error


def _late_test(path: Path) -> dict[str, Any]:
    """Return what a chosen trial's test recordings said; nothing for a trial that was not chosen."""
    return load_record(path) if path.exists() else {}


def interval(differences: list[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of paired differences (Student's t); None for fewer than two."""
    n = len(differences)
    if n < 2:
        return None
    half = (_T95[n - 1] if n - 1 < len(_T95) else 2.2) * float(np.std(differences, ddof=1)) / math.sqrt(n)
    middle = float(np.mean(differences))
    return middle - half, middle + half


def figures(experiment: Experiment, trials: dict[str, Trial], records: Path) -> dict[str, Any]:
    """Return what the report's table shows, as plain values: accuracies and gaps in percent, per point and per trial.

    A spread is ``{"mean", "std"}`` over seeds (std None for one seed). The first point is the reference of paired differences.

    Raises:
        InputError: no trial of the experiment has a record yet.
    """
    found = {
        trial: load_record(records / f"{address}.json") | _late_test(records / f"{address}.test.json")
        for address, trial in trials.items()
        if (records / f"{address}.json").exists()
    }
    if not found:
        raise InputError(
            f"experiment {experiment.name}: no trial has a record yet. Run it first: sastdeploy sweep run FILE."
        )
    names = varied(experiment)
    reference = {trial.seed: found[trial] for trial in experiment.groups[0] if trial in found}
    points: list[dict[str, Any]] = []
    for group in experiment.groups:
        chosen = [trial for trial in group if trial in found]
        if not chosen:
            continue
        done = [found[trial] for trial in chosen]
        paired = [
            100 * (found[t]["test"]["gap"] - reference[t.seed]["test"]["gap"])
            for t in chosen
            if t.seed in reference
        ]
        points.append({
            "point": label(group[0], names), "seeds": len(done),
            **{key: _spread([100 * record["test"][key] for record in done]) for key in ("surrogate", "hard", "gap")},
            "gap_less_reference": interval(paired) if group is not experiment.groups[0] else None,
            "validation_hard": _spread([100 * record["validation"]["hard_accuracy"] for record in done]),
            "gradient_evaluations": float(np.mean([record["gradient_evaluations"] for record in done])),
            "minutes": float(np.mean([record["seconds"]["training_cpu"] for record in done])) / 60,
            "programs": {profile: _of_program([record["programs"][profile] for record in done]) for profile in group[0].profiles},
            "paper": experiment.paper.get(label(group[0], names), []),
            "trials": [{"seed": t.seed, "hard": 100 * found[t]["test"]["hard"], "gap": 100 * found[t]["test"]["gap"]} for t in chosen],
        })  # fmt: skip
    return {
        "experiment": experiment.name, "title": experiment.title, "dataset": experiment.trials[0].dataset,
        "trials_done": len(found), "trials": len(experiment.trials),
        "test_recordings": next(iter(found.values()))["test"]["recordings"],
        "best_on_validation": max(points, key=lambda point: point["validation_hard"]["mean"])["point"],
        "commits": sorted({str(record["commit"])[:12] for record in found.values()}), "points": points,
    }  # fmt: skip


def _of_program(found: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "accuracy": _spread([100 * figure["accuracy"] for figure in found]),
        "ksynops": float(np.mean([figure["ksynops"] for figure in found])),
        "largest_ksynops": found[0]["largest_ksynops"],
    }


def _spread(values: list[float]) -> dict[str, float | None]:
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
    }


def report(experiment: Experiment, trials: dict[str, Trial], records: Path) -> str:
    """Return an experiment's section in Markdown, made of its `figures`.

    Raises:
        InputError: no trial of the experiment has a record yet.
    """
    found = figures(experiment, trials, records)
    header = [
        "",
        "seeds",
        "surrogate, %",
        "hard, %",
        "gap, points",
        "gap less reference, 95 %",
        "validation hard, %",
        "gradient evaluations",
        "CPU minutes",
    ]
    profiles = experiment.trials[0].profiles
    header += [f"{profile}: {what}" for profile in profiles for what in ("%", "kSynOps (maximum)")]
    if experiment.paper:
        header += ["paper: surrogate, hard, gap"]
    rows = []
    for point in found["points"]:
        span = point["gap_less_reference"]
        row = [
            point["point"],
            str(point["seeds"]),
            *(_shown(point[key]) for key in ("surrogate", "hard", "gap")),
        ]
        row.append(f"{span[0]:+.2f} to {span[1]:+.2f}" if span else "-")
        row += [
            _shown(point["validation_hard"]),
            f"{point['gradient_evaluations']:,.0f}",
            f"{point['minutes']:.1f}",
        ]
        for figure in point["programs"].values():
            row += [
                _shown(figure["accuracy"]),
                f"{figure['ksynops']:,.1f} ({figure['largest_ksynops']:,.0f})",
            ]
        if experiment.paper:
            row.append(", ".join(f"{value:g}" for value in point["paper"]) or "-")
        rows.append(row)
    per_seed = [
        f"- {point['point']}: " + "; ".join(f"seed {t['seed']}: {t['hard']:.2f} % hard, gap {t['gap']:+.2f}" for t in point["trials"])
        for point in found["points"]
    ]  # fmt: skip
    table = "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])
    trial = experiment.trials[0]
    return "\n".join([
        f"## {experiment.title}\n",
        *(f"{note}\n" for note in experiment.notes),
        f"{found['trials_done']} of {found['trials']} trials. `{trial.dataset}`, {trial.epochs} epochs, "
        f"{'all' if trial.limit is None else format(trial.limit, ',')} training recordings, {found['test_recordings']:,} test recordings; "
        "mean ± standard deviation over seeds. Selection by validation accuracy with hard spikes; every trial read the test recordings once. "
        f"Best on validation: {found['best_on_validation']}. Commits {', '.join(found['commits'])}; command `sastdeploy sweep run benchmarks/experiments/{experiment.name}.yaml`.\n",
        table + "\n",
        "Per seed:\n",
        *per_seed, "",
    ])  # fmt: skip


def _shown(spread: dict[str, float | None]) -> str:
    middle = f"{spread['mean']:.2f}"
    return f"{middle} ± {spread['std']:.2f}" if spread["std"] is not None else middle
