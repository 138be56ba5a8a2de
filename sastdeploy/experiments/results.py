"""From trials' records to one frozen record per grid point: what every table, figure and JSON output is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sastdeploy import InputError
from sastdeploy.experiments.measures import NEED_TEST
from sastdeploy.experiments.readings import readings, refusals
from sastdeploy.experiments.record import load_choice, load_record, load_tested
from sastdeploy.experiments.spec import Experiment, Trial, label, varied
from sastdeploy.statistics import Sample

RATIOS = ("gradient evaluations", "wall-clock seconds", "CPU seconds", "kSynOps")
"""Ends of the names of figures that are compared by their ratio (of kSynOps: r_ops)."""


@dataclass(frozen=True)
class Point:
    """One grid point over the seeds that have a record.

    Args:
        trial: the first seed's settings. seeds: those with a record, ascending.
        samples: by the names of `readings`. refused: by hardware profile the messages of the seeds that it refused.
        reference: label of the point that ``differences`` (this less that, paired by seed) are taken to; None for a
            reference itself.
        ratios: of `RATIOS`, the mean over the reference's mean, of the seeds that both have.
        chosen: whether the experiment's choice took this point; None where it makes none, or has not yet.
        raw: the records themselves, in the order of the seeds, with the measures that the experiment asks for.
    """

    label: str
    trial: Trial
    seeds: tuple[int, ...]
    samples: dict[str, Sample]
    refused: dict[str, tuple[str, ...]]
    reference: str | None
    differences: dict[str, Sample]
    ratios: dict[str, float]
    chosen: bool | None
    raw: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "point": self.label, "seeds": list(self.seeds), "chosen": self.chosen, "reference": self.reference,
            "figures": {name: sample.to_dict() for name, sample in self.samples.items()},
            "less_reference": {name: sample.to_dict() for name, sample in self.differences.items()},
            "over_reference": self.ratios,
            "refused": {profile: len(messages) for profile, messages in self.refused.items()},
        }  # fmt: skip


@dataclass(frozen=True)
class Results:
    """An experiment's points that have a record, and what is known of the whole.

    ``choice`` is the content of ``NAME.selection.json``, None without one; ``tested``: addresses of the trials for which the
    test recordings were read; ``read_again``: by measure that reads them too, the number of trials whose records hold it,
    whether this experiment asks for it or another one that shares the trial; ``added``: the same of every measure that was
    taken after its record was written.
    """

    experiment: Experiment
    points: tuple[Point, ...]
    done: int
    tested: tuple[str, ...]
    choice: dict[str, Any] | None
    commits: tuple[str, ...]
    read_again: dict[str, int]
    added: dict[str, int]

    def point(self, name: str) -> Point | None:
        """Return the point of this label, None if it has no record."""
        return next((point for point in self.points if point.label == name), None)

    def recordings(self) -> dict[str, list[int]]:
        """Return how many recordings the test set has and every measure was taken on; several where records differ."""
        counts: dict[str, set[int]] = {}
        for record in (record for point in self.points for record in point.raw):
            if "test" in record:
                counts.setdefault("test", set()).add(record["test"]["recordings"])
            for name, measure in record.get("measures", {}).items():
                part = (
                    measure["hard"] if name == "margins" else measure[0] if name == "robustness" else measure
                )
                if "recordings" in part:
                    counts.setdefault(name, set()).add(part["recordings"])
        return {name: sorted(numbers) for name, numbers in counts.items()}

    def to_dict(self) -> dict[str, Any]:
        choice = self.choice
        return {
            "experiment": self.experiment.name, "title": self.experiment.title, "dataset": self.experiment.trials[0].dataset,
            "trials_done": self.done, "trials": len(self.experiment.trials), "commits": list(self.commits),
            "recordings": self.recordings(), "tested": len(self.tested), "test_read_again": self.read_again,
            "measured_later": self.added,
            "choice": None if choice is None else {key: choice.get(key) for key in ("chosen", "candidates", "read_before", "commit")},
            "points": [point.to_dict() for point in self.points],
        }  # fmt: skip


def aggregate(experiment: Experiment, trials: dict[str, Trial], records: Path) -> Results:
    """Return the experiment's results from the records there are; the same records give the same results.

    Args:
        trials: by address.

    Raises:
        InputError: no trial has a record yet, or a record is damaged.
    """
    by_trial = {trial: address for address, trial in trials.items()}
    whole = {
        trial: _record(records, by_trial[trial], trial)
        for trial in experiment.trials
        if (records / f"{by_trial[trial]}.json").exists()
    }
    records_by_trial = {trial: _asked(record, trial.measures) for trial, record in whole.items()}
    if not records_by_trial:
        raise InputError(
            f"experiment {experiment.name}: no trial has a record for these recordings yet. Run it first: sastdeploy sweep run FILE."
        )
    choice_file = records / f"{experiment.name}.selection.json"
    choice = load_choice(choice_file, experiment.name) if choice_file.exists() else None
    names = varied(experiment)
    samples = {
        group: _samples(
            [
                (t.seed, records_by_trial[t])
                for t in sorted(group, key=lambda t: t.seed)
                if t in records_by_trial
            ]
        )
        for group in experiment.groups
    }
    points = []
    for group in experiment.groups:
        done = sorted((trial for trial in group if trial in records_by_trial), key=lambda trial: trial.seed)
        if not done:
            continue
        reference = _reference(experiment, group, choice, names)
        pairs = {} if reference is group else samples[reference]
        differences = {
            name: paired
            for name, sample in samples[group].items()
            if name in pairs and (paired := sample.paired_difference(pairs[name])) is not None
        }
        refused: dict[str, tuple[str, ...]] = {}
        for trial in done:
            for profile, message in refusals(records_by_trial[trial]).items():
                refused[profile] = (*refused.get(profile, ()), message)
        points.append(Point(
            label(group[0], names), group[0], tuple(t.seed for t in done), samples[group], refused,
            None if reference is group else label(reference[0], names), differences,
            _ratios(samples[group], pairs), None if choice is None else label(group[0], names) in choice["chosen"], tuple(records_by_trial[t] for t in done),
        ))  # fmt: skip
    tested = tuple(by_trial[trial] for trial, record in records_by_trial.items() if "test" in record)
    named = {
        record[key]
        for record in records_by_trial.values()
        for key in ("commit", "test_commit")
        if key in record
    }
    named |= {
        commit
        for record in records_by_trial.values()
        for commit in record.get("measure_commits", {}).values()
    }
    commits = tuple(sorted(commit[:12] for commit in named if commit))
    again = [name for record in whole.values() for name in record.get("measures", {}) if name in NEED_TEST]
    added = [name for record in whole.values() for name in record.get("measure_commits", {})]
    counts = ({name: names.count(name) for name in sorted(set(names))} for names in (again, added))
    return Results(experiment, tuple(points), len(records_by_trial), tested, choice, commits, *counts)


def _asked(record: dict[str, Any], measures: tuple[str, ...]) -> dict[str, Any]:
    """Return the record without the measures that only other experiments with the same trial ask for."""
    kept = {
        part: {name: value for name, value in record[part].items() if name in measures}
        for part in ("measures", "measure_commits") if part in record
    }  # fmt: skip
    return record | kept


def without_measures(trials: dict[str, Trial], records: Path) -> list[str]:
    """Return the addresses of finished trials whose records lack a measure that the trial asks for.

    Raises:
        InputError: a record is damaged.
    """
    return [
        address for address, trial in trials.items()
        if set(trial.measures) - set(load_record(records / f"{address}.json", trial).get("measures", {}))
    ]  # fmt: skip


def _record(records: Path, address: str, trial: Trial) -> dict[str, Any]:
    """Return a trial's record together with what was read of the test recordings after a choice."""
    late = records / f"{address}.test.json"
    record = load_record(records / f"{address}.json", trial)
    return record | (load_tested(late, trial) if late.exists() else {})


def _samples(records: list[tuple[int, dict[str, Any]]]) -> dict[str, Sample]:
    """Return by name the readings over the seeds that have them, in the order in which the first record names them."""
    by_seed = [(seed, readings(record)) for seed, record in records]
    names = dict.fromkeys(name for _, numbers in by_seed for name in numbers)
    return {
        name: Sample(
            tuple(seed for seed, numbers in by_seed if name in numbers),
            tuple(numbers[name] for _, numbers in by_seed if name in numbers),
        )
        for name in names
    }


def _reference(
    experiment: Experiment, group: tuple[Trial, ...], choice: dict[str, Any] | None, names: tuple[str, ...]
) -> tuple[Trial, ...]:
    """Return the first group that shares the settings of ``compare_within``; after a choice, the first chosen one."""
    alike = [
        other for other in experiment.groups
        if all(getattr(other[0], name) == getattr(group[0], name) for name in experiment.compare_within)
    ]  # fmt: skip
    chosen = [] if choice is None else [g for g in alike if label(g[0], names) in choice["chosen"]]
    return (chosen or alike)[0]


def _ratios(samples: dict[str, Sample], others: dict[str, Sample]) -> dict[str, float]:
    """Return by name the ratio of means over the seeds that both have; nothing where they share none."""
    ratios = {}
    for name in samples:
        if name.endswith(RATIOS) and name in others:
            mine, theirs = (dict(zip(s.seeds, s.values)) for s in (samples[name], others[name]))
            shared = mine.keys() & theirs.keys()
            if shared and sum(theirs[seed] for seed in shared):
                ratios[name] = math.fsum(mine[s] for s in shared) / math.fsum(theirs[s] for s in shared)
    return ratios


def ends(results: Results) -> tuple[Point, Point] | None:
    """Return the first baseline and the SAST point with the highest mean validation accuracy.

    None unless both are tested, and unless the experiment varies nothing but the method and its radius.
    """
    if not set(varied(results.experiment)) <= {"method", "rho"}:
        return None
    tested = [point for point in results.points if "hard" in point.samples]
    baseline = next((point for point in tested if point.trial.method == "baseline"), None)
    sast = [point for point in tested if point.trial.method == "sast"]
    if baseline is None or not sast:
        return None
    return baseline, max(sast, key=lambda point: point.samples["validation hard"].mean)
