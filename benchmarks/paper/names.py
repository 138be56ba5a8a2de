"""What the parts of the pages share: names, and points in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sastdeploy.experiments.report import schedules
from sastdeploy.experiments.results import Point, Results
from sastdeploy.experiments.spec import Trial
from sastdeploy.recordings.catalog import dataset
from sastdeploy.statistics import Sample

GAP, HARD = "gap", "hard"
MAP = ("map-scale", "map-rivals", "map-network")
"""The experiments of the map of the gap."""
LARGE = 1.0
"""Points from which on a gap is called large."""


def missing(name: str) -> str:
    return f"Not run yet: `sastdeploy sweep run benchmarks/paper/{name}.yaml`.\n"


def recordings(trials: Iterable[Trial]) -> str:
    """Return which data sets the trials used and whether they are simulated or real, as a sentence."""
    names = sorted({trial.dataset for trial in trials})
    told = {
        kind: [f"`{n}`" for n in names if dataset(n).simulated == (kind == "simulated")]
        for kind in ("simulated", "real")
    }
    said = [f"{kind} ({', '.join(of)})" for kind, of in told.items() if of]
    if not said:
        return "No experiment has a record yet."
    return f"All recordings are {said[0]}." if len(said) == 1 else f"Recordings are {' and '.join(said)}."


def about(results: Results) -> str:
    """Return how the experiment's networks were trained, and its notes."""
    trials = results.experiment.trials
    epochs, training = schedules(trials)
    seeds = len({t.seed for t in trials})
    return " ".join([
        f"`{results.experiment.name}`: `{trials[0].dataset}`, {training} training recordings, {' or '.join(map(str, epochs))} epochs, "
        f"{seeds} seed{'s' * (seeds > 1)}.", *results.experiment.notes,
    ])  # fmt: skip


def largest(factor: float) -> str:
    """Return the largest frame value of a divisor_factor."""
    return "1" if factor == 1 else f"1/{factor:g}"


def at(point: Point) -> str:
    """Return the largest frame value of a point."""
    return largest(point.trial.divisor_factor)


def size(gap: Sample) -> Sample:
    """Return the gaps without their signs: a gap closes as it nears 0, from either side."""
    return Sample(gap.seeds, tuple(map(abs, gap.values)))


def lines(results: Results) -> tuple[list[Point], list[Point]]:
    """Return the baseline's and SAST's tested points at ascending divisor_factor."""
    tested = [point for point in results.points if GAP in point.samples]
    tested.sort(key=lambda point: point.trial.divisor_factor)
    return tuple([p for p in tested if p.trial.method == method] for method in ("baseline", "sast"))  # type: ignore[return-value]


def well_scaled(points: Sequence[Point]) -> Point | None:
    """Return the first point with a largest frame value of 1."""
    return next((point for point in points if point.trial.divisor_factor == 1.0), None)


def by_scale(results: Results) -> list[list[Point]]:
    """Return the tested points of each input scale, at ascending divisor_factor."""
    tested = [point for point in results.points if HARD in point.samples]
    return [
        [point for point in tested if point.trial.divisor_factor == factor]
        for factor in sorted({point.trial.divisor_factor for point in tested})
    ]


def compared(results: Results | None) -> list[tuple[Point, list[Point]]]:
    """Return per input scale the point that the others are compared with, and those others; scales that lack either are left out."""
    scales = [] if results is None else by_scale(results)
    return [(there[0], there[1:]) for there in scales if there[0].reference is None and len(there) > 1]
