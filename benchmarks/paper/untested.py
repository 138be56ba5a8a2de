"""What the page's experiments could not test, and why, from their trials and records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sastdeploy.experiments.measures import MEASURES
from sastdeploy.experiments.report import PAPER_SEEDS, WHAT
from sastdeploy.experiments.results import Results
from sastdeploy.recordings.catalog import CATALOG


def untested(found: dict[str, Results | None]) -> tuple[str, ...]:
    """Return one sentence per kind of thing that was not tested."""
    there = {name: results for name, results in found.items() if results is not None}
    return tuple(filter(None, (_real(there.values()), _reduced(there), _convolutions(there.values()))))


def _real(there: Iterable[Results]) -> str:
    """Return which real recordings no experiment with records uses although it uses their simulated stand-in."""
    used = {results.experiment.trials[0].dataset for results in there}
    lacking = [
        facts for facts in CATALOG.values()
        if not facts.simulated and facts.stand_in in used and facts.name not in used
    ]  # fmt: skip
    if not lacking:
        return ""
    titles = " and ".join(facts.title.partition(":")[0] for facts in lacking)
    stand_ins = " and ".join(f"`{facts.stand_in}`" for facts in lacking)
    words = " or ".join(f"`dataset: {facts.name}`" for facts in lacking)
    return (
        f"The real recordings of {titles}: they were not at hand, so what is said of {stand_ins} is of simulated ones ({words} in an experiment's file "
        "runs the same on real ones)."
    )


def _reduced(there: dict[str, Results]) -> str:
    """Return which experiments have fewer seeds than the paper, and what all trainings cost together."""
    few: dict[int, list[str]] = {}
    for name, results in there.items():
        seeds = len({trial.seed for trial in results.experiment.trials})
        if seeds < PAPER_SEEDS:
            few.setdefault(seeds, []).append(f"`{name}`")
    if not there:
        return ""
    records = {r["address"]: r for results in there.values() for point in results.points for r in point.raw}
    hours = sum(record["seconds"]["training_cpu"] for record in records.values()) / 3600
    on_cpu = sum(record.get("versions", {}).get("torch", "").endswith("+cpu") for record in records.values())
    longest = max(record["seconds"]["training_cpu"] for record in records.values()) / 60
    missing = [
        f"{left} of `{name}`" for name, results in there.items() if (left := len(results.experiment.trials) - results.done)
    ]  # fmt: skip
    told = [f"{seeds} in {', '.join(names)}" for seeds, names in sorted(few.items())]
    return (
        (f"{PAPER_SEEDS} seeds everywhere ({'; '.join(told)}), and the" if told else "The")
        + " paper's epochs and training recordings where a section says fewer. "
        f"All {len(records)} trainings together took {hours:.1f} CPU hours, the longest {longest:.1f} minutes, {_gpu(on_cpu, len(records))}. Seeds stand "
        "in the experiments' files; how many was not fixed in advance everywhere: the files' history shows where seeds were added or taken out after "
        "first ones had run." + (f" Trials without a record: {', '.join(missing)}." if missing else "")
    )


def _gpu(on_cpu: int, trainings: int) -> str:
    if on_cpu == trainings:
        return "none of them on a GPU"
    return f"{on_cpu} of them by a torch that knows no GPU"


def _convolutions(there: Iterable[Results]) -> str:
    """Return which measures no record of a convolutional network holds."""
    records = [
        record for results in there for point in results.points for record in point.raw
        if Path(point.trial.arch).stem.startswith("conv")
    ]  # fmt: skip
    taken = {name for record in records for name in record.get("measures", {})}
    lacking = [WHAT[name] for name in MEASURES if name not in taken]
    return (
        f"Of convolutions: {', '.join(lacking)}; no experiment measures them there."
        if records and lacking
        else ""
    )
