"""An experiment's section in Markdown, made of its records: the same records give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

from sastdeploy.sweeps import tables
from sastdeploy.sweeps.experiment import Trial, label, varied
from sastdeploy.sweeps.points import Point, Results
from sastdeploy.sweeps.sentences import against_reference

PAPER_EPOCHS = {"nmnist": 200, "nmnist-sim": 200, "dvsgesture": 300, "dvsgesture-sim": 300}
PAPER_SEEDS = 5


def section(results: Results, pictures: str = "") -> str:
    """Return the section; ``pictures`` is Markdown that goes between tables and seeds."""
    experiment = results.experiment
    parts = [
        f"## {experiment.title}\n",
        f"{results.done} of {len(experiment.trials)} trials. {_setting(results)} {_reduced(results)}\n",
        *(f"{note}\n" for note in experiment.notes),
        _choice(results),
        tables.accuracy(results),
        f"{_reference(results)}Smooth, hard and gap: test recordings; mean ± standard deviation over seeds; differences are "
        "paired by seed, their intervals Student's t, not corrected for the number of comparisons.\n",
        *([told] if (told := against_reference(results)) else []),
    ]
    for heading, body in (
        ("Integer programs", tables.programs(results)),
        ("Spike rates and the surrogate's tail (validation recordings)", tables.activity(results)),
        ("Margins and contraction (validation recordings)", tables.states(results)),
        ("Section 4's bounds beside what is found (validation recordings)", tables.bounds(results)),
        ("What scaling thresholds or the input at deployment restores (factors chosen on validation recordings, accuracy with hard spikes on "
         "test recordings)", tables.calibration(results)),
        ("Smooth spikes at other slopes k, weights unchanged (validation recordings)", tables.slopes(results)),
        ("Corrupted recordings", tables.robustness(results)),
    ):  # fmt: skip
        if body:
            parts += [f"### {heading}\n", body]
    parts += [pictures] if pictures else []
    parts += ["Per seed:\n", *(f"- {point.label}: {_seeds(point)}" for point in results.points), ""]
    return "\n".join(part for part in parts if part is not None)


def schedules(trials: Sequence[Trial]) -> tuple[list[int], str]:
    """Return the numbers of epochs, ascending, and how many training recordings, in words."""
    limits = sorted({trial.limit for trial in trials}, key=str)
    told = " or ".join("all" if limit is None else f"{limit:,}" for limit in limits)
    return sorted({trial.epochs for trial in trials}), told


def _setting(results: Results) -> str:
    trials = [point.trial for point in results.points]
    epochs, training = schedules(trials)
    read = {r["test"]["recordings"] for point in results.points for r in point.raw if "test" in r}
    tested = f", {' or '.join(f'{n:,}' for n in sorted(read))} test recordings" if read else ""
    return (
        f"`{trials[0].dataset}`, {', '.join(map(str, epochs))} epochs, {training} training recordings besides the tenth "
        f"kept for validation{tested}; of every training the epoch with the highest validation accuracy with hard spikes is kept. "
        f"Commits {', '.join(results.commits)}; command `sastdeploy sweep run benchmarks/experiments/{results.experiment.name}.yaml`."
    )


def _reduced(results: Results) -> str:
    """Return what is smaller than in the paper, from the trials themselves."""
    trials = results.experiment.trials
    dataset, said = trials[0].dataset, []
    if dataset.endswith("-sim"):
        said.append("simulated recordings instead of real ones")
    most, theirs = max(trial.epochs for trial in trials), PAPER_EPOCHS.get(dataset)
    if theirs is not None and most < theirs:
        said.append(f"at most {most} epochs instead of {theirs}")
    limits = [trial.limit for trial in trials]
    if None not in limits:
        said.append(f"{max(limit for limit in limits if limit is not None):,} training recordings")
    seeds = len({trial.seed for trial in trials})
    if seeds < PAPER_SEEDS:
        said.append(f"{seeds} seed{'s' * (seeds > 1)} instead of {PAPER_SEEDS}")
    return f"Reduced against the paper: {'; '.join(said)}." if said else ""


def _reference(results: Results) -> str:
    experiment = results.experiment
    if experiment.compare_within:
        return f"Reference: the first point with the same {' and '.join(experiment.compare_within)}. "
    reference = next((p.reference for p in results.points if p.reference is not None), None)
    return f"Reference: {reference}. " if reference else ""


def _choice(results: Results) -> str:
    """Return how points were chosen and how often test recordings were read, as the records tell it."""
    experiment = results.experiment
    if experiment.select_by is None:
        best = max(results.points, key=lambda point: point.samples["validation hard"].mean)
        return (
            f"Each trial read the test recordings once, when its training was over ({len(results.tested)} trials). "
            f"Best on validation with hard spikes: {best.label}.\n"
        )
    rule = f"One point per {' and '.join(experiment.select_by)} is chosen by mean validation accuracy with hard spikes"
    if results.choice is None:
        return f"{rule}; the choice is not made yet, and no test recording was read.\n"
    names = varied(experiment)
    addresses = {
        address
        for c in results.choice["candidates"]
        if c["point"] in results.choice["chosen"]
        for address in c["addresses"]
    }
    told = f"{rule}: {'; '.join(results.choice['chosen'])} (`records/{experiment.name}.selection.json`, commit {str(results.choice['commit'])[:12]}). "
    late = [a for a in results.tested if a in addresses]
    if len(results.tested) > len(late):
        return told + f"But test recordings were read for {len(results.tested) - len(late)} trials that were not chosen.\n"  # fmt: skip
    missing = len(addresses) - len(late)
    waiting = f" {missing} of the chosen trials are not tested yet." if missing else ""
    kept = {label(g[0], names) for g in experiment.groups} == {
        c["point"] for c in results.choice["candidates"]
    }
    changed = "" if kept else " The choice was made between other points than the experiment has now."
    return (
        f"{told}Test recordings were read for the {len(late)} trials of the chosen points alone, once each, into files of "
        f"their own (`records/ADDRESS.test.json`) that are written only after the choice.{waiting}{changed}\n"
    )


def _seeds(point: Point) -> str:
    kinds = (("hard", "{:.2f} % hard"), ("gap", "gap {:+.2f}")) if "hard" in point.samples else (("validation hard", "{:.2f} % hard on validation"),)  # fmt: skip
    by_seed: dict[int, list[str]] = {}
    for name, form in kinds:
        sample = point.samples[name]
        for seed, value in zip(sample.seeds, sample.values):
            by_seed.setdefault(seed, []).append(form.format(value))
    return "; ".join(f"seed {seed}: {', '.join(said)}" for seed, said in sorted(by_seed.items()))
