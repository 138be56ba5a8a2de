"""An experiment's report in Markdown, made of its records: the same records give the same bytes."""

from __future__ import annotations

from sastdeploy.experiments.results import Results
from sastdeploy.experiments.tables import markdown, tables

NOTE = (
    "Surrogate, hard and gap: test recordings, mean ± standard deviation over seeds. Differences are paired by seed; intervals are "
    "Student's t, 95 %, not corrected for the number of comparisons.\n"
)


def report(results: Results, pictures: str = "") -> str:
    """Return facts, tables and ``pictures`` (Markdown) of an experiment."""
    parts = [f"# {results.experiment.title}\n", *(f"- {fact}" for fact in _facts(results)), "", NOTE]
    parts += [f"{note}\n" for note in results.experiment.notes]
    for table in tables(results):
        parts += [f"## {table.title}\n", markdown(table)]
    return "\n".join([*parts, pictures] if pictures else parts)


def _facts(results: Results) -> list[str]:
    """Return what the tables are made of, one line each."""
    experiment, trials = results.experiment, results.experiment.trials
    epochs = sorted({trial.epochs for trial in trials})
    limits = sorted({trial.limit for trial in trials}, key=str)
    facts = [
        f"experiment: `{experiment.name}`, {results.done} of {len(trials)} trials, commits {', '.join(results.commits) or 'not known'}",
        f"data: `{trials[0].dataset}`, {' or '.join('all' if n is None else f'{n:,}' for n in limits)} training recordings, "
        f"{' or '.join(map(str, epochs))} epoch{'' if epochs == [1] else 's'}",
    ]
    windows = sorted({trial.window for trial in trials}, key=lambda window: window or 0)
    if windows != [None]:
        facts.append(f"window: {' or '.join('none' if w is None else f'{w:g}' for w in windows)} ms")
    bins = sorted({(trial.binning, trial.events_per_bin or 0) for trial in trials})
    if bins != [("duration", 0)]:
        facts.append(f"bins: {' or '.join(f'{n:,} events' if n else kind for kind, n in bins)}")
    facts += [
        f"{name} recordings: {' or '.join(f'{n:,}' for n in counts)}"
        for name, counts in results.recordings().items()
    ]
    if experiment.compare_within:
        facts.append(f"reference: the first point with the same {' and '.join(experiment.compare_within)}")
    elif reference := next((p.reference for p in results.points if p.reference is not None), None):
        facts.append(f"reference: {reference}")
    if experiment.select_by is not None:
        rule = f"chosen by mean validation accuracy with hard spikes, one point per {' and '.join(experiment.select_by)}"
        choice = "not made yet" if results.choice is None else "; ".join(results.choice["chosen"])
        facts.append(f"{rule}: {choice}")
    facts.append(f"test recordings read: {len(results.tested)} trials")
    facts += [f"test recordings read again for {name}: {n} trials" for name, n in results.read_again.items()]
    facts += [
        f"measured after the record was written: {name}, {n} trials" for name, n in results.added.items()
    ]
    return facts
