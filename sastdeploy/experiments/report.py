"""An experiment's section in Markdown, made of its records: the same records give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

from sastdeploy.experiments import tables
from sastdeploy.experiments.bounds_table import bounds
from sastdeploy.experiments.measures import MEASURED, MEASURES, NEED_TEST
from sastdeploy.experiments.results import Point, Results
from sastdeploy.experiments.sentences import against_reference
from sastdeploy.experiments.spec import Trial, label, varied

PAPER_EPOCHS = {"nmnist": 200, "nmnist-sim": 200, "dvsgesture": 300, "dvsgesture-sim": 300}
PAPER_SEEDS = 5
PAPER_TABLE_3: dict[str, dict[str, tuple[float, float, float]]] = {
    "nmnist": {"baseline": (100, 65.7, 30.3), "sast": (48, 93.9, 3.6)},
    "dvsgesture": {"baseline": (400, 28.0, 50.4), "sast": (226, 57.8, 12.5)},
}
"""By data set and method: epochs, hard-spike accuracy in percent, gap in points."""
WHAT = {
    "activity": "spike rates and the tail", "margins": "margins", "contraction": "contraction", "bounds": "section 4's bounds",
    "calibration": "calibration at deployment", "robustness": "corrupted recordings",
}  # fmt: skip
"""The measures in words."""


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
    for heading, measure, body in (
        ("Compute of every candidate", "", tables.compute(results, paper_table_3(experiment.trials[0].dataset))),
        ("Integer programs", "", tables.programs(results)),
        ("Spike rates and the surrogate's tail (validation recordings)", "activity", tables.activity(results)),
        ("Margins (validation recordings)", "margins", tables.margins(results)),
        ("Contraction (validation recordings)", "contraction", tables.contraction(results)),
        ("Section 4's bounds beside what is found (validation recordings)", "bounds", bounds(results)),
        ("What scaling thresholds or the input at deployment restores (factors chosen on validation recordings, accuracy with hard spikes on "
         "test recordings)", "calibration", tables.calibration(results)),
        ("Smooth spikes at other slopes k, weights unchanged (validation recordings)", "calibration", tables.slopes(results)),
        ("Corrupted recordings", "robustness", tables.robustness(results)),
    ):  # fmt: skip
        if body:
            told = (
                _measured_on(results, measure)
                if measure
                else COMPUTE
                if heading.startswith("Compute")
                else ""
            )
            parts += [f"### {heading}\n", *([f"{told}\n"] if told else []), body]
    parts += [pictures] if pictures else []
    parts += ["Per seed:\n", *(f"- {point.label}: {_seeds(point)}" for point in results.points), ""]
    return "\n".join(part for part in parts if part is not None)


COMPUTE = "Of training alone. The machines were shared with other work, so CPU seconds are the fairer of the two times; the paper matched wall-clock."


def paper_table_3(dataset: str) -> dict[str, tuple[float, float, float]]:
    """Return the paper's Table 3 for a data set or its simulated stand-in, by method; empty for another one."""
    return PAPER_TABLE_3.get(dataset.removesuffix("-sim"), {})


def _measured_on(results: Results, name: str) -> str:
    """Return on how many recordings a measure was taken, from the records that hold it."""
    found = [
        (record["measures"][name], record["test"]["recordings"] if "test" in record else 0)
        for point in results.points for record in point.raw if name in record.get("measures", {})
    ]  # fmt: skip
    if name == "calibration":
        return f"At most {MEASURED:,} validation recordings, classes in proportion; every accuracy on test recordings is of all of them."
    if name == "robustness":
        counts = sorted({(rows[0]["recordings"], tested) for rows, tested in found})
        told = " or ".join(
            f"all {n:,}" if n == tested else f"{n:,} of the {tested:,}" for n, tested in counts
        )
        if all(n == tested for n, tested in counts):
            return f"On {told} test recordings."
        return f"On {told} test recordings, classes in proportion, so `clean` differs from the accuracies in the tables above."
    measures = [measure["hard"] if name == "margins" else measure for measure, _ in found]
    read, few = ({measure[key] for measure in measures if key in measure} for key in ("recordings", "limit"))
    return (
        f"On {_counts(read)} validation recordings (at most {MEASURED:,}, classes in proportion; `validation hard` above is of all there are)"
        + (f", what needs gradients on {_counts(few)} of them." if few else ".")
    )


def _counts(found: set[int]) -> str:
    return " or ".join(f"{n:,}" for n in sorted(found))


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
        f"{_measures(results)} "
        f"Commits {', '.join(results.commits)}; command `sastdeploy sweep run benchmarks/paper/{results.experiment.name}.yaml`."
    )


def _measures(results: Results) -> str:
    """Return which measures the records of the section hold, and which they do not."""
    taken = {name for point in results.points for r in point.raw for name in r.get("measures", {})}
    there, lacking = ([WHAT[name] for name in MEASURES if (name in taken) == side] for side in (True, False))
    return " ".join(filter(None, [
        f"Measured besides accuracy: {', '.join(there)}." if there else "",
        f"Not measured in this experiment: {', '.join(lacking)}." if lacking else "",
    ]))  # fmt: skip


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
        return f"{_test_readings(results)} Best on validation with hard spikes: {best.label}.\n"
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
        f"their own (`records/ADDRESS.test.json`) that are written only after the choice; a second reading is refused.{waiting}{changed}\n"
    )


def _test_readings(results: Results) -> str:
    """Return how often trials that no choice holds back read the test recordings, as their records tell it."""
    told = (
        f"The accuracies on test recordings were taken once per trial, after its training ({len(results.tested)} trials); no epoch, radius or factor was "
        "chosen by them."
    )
    again = [f"{WHAT[name]} ({count} trials)" for name, count in results.read_again.items()]
    if again:
        told += f" Test recordings were read again, of the same networks, for {' and '.join(again)}."
    late = [f"{WHAT[name]} ({count} trials)" for name, count in results.added.items() if name in NEED_TEST]
    if late:
        told += f" Of these, measured after the record was written: {' and '.join(late)}."
    return f"{told} That test recordings wait for a choice is enforced in experiments with `select_by` alone (Table 3)."


def _seeds(point: Point) -> str:
    kinds = (("hard", "{:.2f} % hard"), ("gap", "gap {:+.2f}")) if "hard" in point.samples else (("validation hard", "{:.2f} % hard on validation"),)  # fmt: skip
    by_seed: dict[int, list[str]] = {}
    for name, form in kinds:
        sample = point.samples[name]
        for seed, value in zip(sample.seeds, sample.values):
            by_seed.setdefault(seed, []).append(form.format(value))
    return "; ".join(f"seed {seed}: {', '.join(said)}" for seed, said in sorted(by_seed.items()))
