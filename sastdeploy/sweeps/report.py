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


def report(experiment: Experiment, trials: dict[str, Trial], records: Path) -> str:
    """Return an experiment's section in Markdown; the first grid point is the reference of paired differences.

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
    profiles = experiment.trials[0].profiles
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
    header += [f"{profile}: {what}" for profile in profiles for what in ("%", "kSynOps (maximum)")]
    if experiment.paper:
        header += ["paper: surrogate, hard, gap"]
    rows = []
    for group in experiment.groups:
        done = [found[trial] for trial in group if trial in found]
        if not done:
            continue
        test = {key: [100 * record["test"][key] for record in done] for key in ("surrogate", "hard", "gap")}
        paired = [
            100 * (found[t]["test"]["gap"] - reference[t.seed]["test"]["gap"])
            for t in group
            if t in found and t.seed in reference
        ]
        span = interval(paired) if group is not experiment.groups[0] else None
        row = [
            label(group[0], names),
            str(len(done)),
            _spread(test["surrogate"]),
            _spread(test["hard"]),
            _spread(test["gap"]),
        ]
        row.append(f"{span[0]:+.2f} to {span[1]:+.2f}" if span else "-")
        row.append(_spread([100 * record["validation"]["hard_accuracy"] for record in done]))
        row.append(f"{np.mean([record['gradient_evaluations'] for record in done]):,.0f}")
        row.append(f"{np.mean([record['seconds']['training_cpu'] for record in done]) / 60:.1f}")
        for profile in profiles:
            figures = [record["programs"][profile] for record in done]
            row.append(_spread([100 * figure["accuracy"] for figure in figures]))
            row.append(
                f"{np.mean([f['ksynops'] for f in figures]):,.1f} ({figures[0]['largest_ksynops']:,.0f})"
            )
        if experiment.paper:
            row.append(
                ", ".join(f"{value:g}" for value in experiment.paper.get(label(group[0], names), [])) or "-"
            )
        rows.append(row)
    best = max(
        (g for g in experiment.groups if any(t in found for t in g)),
        key=lambda g: np.mean([found[t]["validation"]["hard_accuracy"] for t in g if t in found]),
    )
    per_seed = [
        f"- {label(group[0], names)}: " + "; ".join(f"seed {t.seed}: {100 * found[t]['test']['hard']:.2f} % hard, gap {100 * found[t]['test']['gap']:+.2f}" for t in group if t in found)
        for group in experiment.groups if any(t in found for t in group)
    ]  # fmt: skip
    table = "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])
    commits = sorted({str(record["commit"])[:12] for record in found.values()})
    trial = experiment.trials[0]
    return "\n".join([
        f"## {experiment.title}\n",
        *(f"{note}\n" for note in experiment.notes),
        f"{len(found)} of {len(experiment.trials)} trials. `{trial.dataset}`, {trial.epochs} epochs, "
        f"{'all' if trial.limit is None else format(trial.limit, ',')} training recordings, {found[next(iter(found))]['test']['recordings']:,} test recordings; "
        "mean ± standard deviation over seeds. Selection by validation accuracy with hard spikes; every trial read the test recordings once. "
        f"Best on validation: {label(best[0], names)}. Commits {', '.join(commits)}; command `sastdeploy sweep run benchmarks/experiments/{experiment.name}.yaml`.\n",
        table + "\n",
        "Per seed:\n",
        *per_seed, "",
    ])  # fmt: skip


def _spread(values: list[float]) -> str:
    middle = f"{np.mean(values):.2f}"
    return f"{middle} ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else middle
