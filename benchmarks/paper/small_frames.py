"""What to do if the frames have to stay small, as tables of commands: which ways the records show to help, and which to harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from names import GAP, HARD, at, compared, size
from ways import command, compute

from sastdeploy.experiments.results import Point, Results
from sastdeploy.experiments.sentences import direction, learnt
from sastdeploy.experiments.spec import Trial
from sastdeploy.experiments.tables import NONE, difference, markdown


@dataclass(frozen=True)
class Try:
    """A way of training at one small input scale, and the point that it is compared with."""

    point: Point
    reference: Point

    @property
    def way(self) -> str:
        return command(self.point.trial)

    @property
    def gain(self) -> float:
        """Mean of what it adds to hard-spike accuracy."""
        return self.point.differences[HARD].mean

    @property
    def side(self) -> int | None:
        """Which way hard-spike accuracy is shown to differ."""
        return direction(self.point.differences.get(HARD))

    @property
    def closes(self) -> bool:
        """Whether the gap is shown to be nearer to 0; said only where both have learnt."""
        if not (learnt(self.point) and learnt(self.reference)):
            return False
        return (
            direction(size(self.point.samples[GAP]).paired_difference(size(self.reference.samples[GAP])))
            == -1
        )


@dataclass(frozen=True)
class Tried:
    """What an experiment tried at small input scales, against one command."""

    experiment: str
    reference: str
    tries: tuple[Try, ...]

    @property
    def against(self) -> str:
        """Return what a table's figures are differences to."""
        equal = all(compute(t.point, t.reference) == "equal" for t in self.tries)
        return f"against `{self.reference}` (`{self.experiment}`, {'equal compute' if equal else 'compute as told'})"


def tried(results: Results | None) -> list[Tried]:
    """Return what an experiment tried at small input scales, by the command that it is compared with."""
    found: dict[str, list[Try]] = {}
    for reference, points in compared(results):
        if reference.trial.divisor_factor != 1:
            found.setdefault(command(reference.trial), []).extend(Try(point, reference) for point in points)
    return [Tried(results.experiment.name, name, tuple(tries)) for name, tries in found.items()]  # type: ignore[union-attr]


def small_frames(experiments: Sequence[Results | None], restored: str) -> str:
    """Return the step: what is shown to raise hard-spike accuracy, what only closes the gap, what to leave; empty if nothing was tried.

    Args:
        experiments: in the order in which their comparisons count.
        restored: what calibration after training does.
    """
    there = [one for results in experiments for one in tried(results)]
    if not there:
        return ""
    harming = [t.gain for one in there for t in one.tries if t.side == -1]
    parts = [
        *(_raising(one) for one in there),
        _thresholds([t for one in there for t in one.tries if t.side == 1]),
        *_listed(
            "**Only closes the gap**: shown to bring it nearer to 0, not shown to raise hard-spike accuracy (a gap also closes where only the smooth accuracy falls). ",
            [_closing(one) for one in there],
        ),
        *_listed(
            f"**Do not**: hard-spike accuracy is shown to be lower, by {-max(harming, default=0):.1f} to {-min(harming, default=0):.1f} points in the mean. ",
            [_table(one, -1) for one in there],
        ),
        restored,
    ]
    return "\n".join(filter(None, parts))


def _listed(heading: str, tables: Sequence[str]) -> list[str]:
    """Return the tables that there are, the first under the heading."""
    kept = [text for text in tables if text]
    return [heading + kept[0], *kept[1:]] if kept else []


def _raising(one: Tried) -> str:
    """Return the table of what is shown to raise hard-spike accuracy, or that nothing is."""
    table = _table(one, 1)
    if table:
        return f"**Do the first of these that you can**: hard-spike accuracy is shown to be higher. {table}"
    scales = dict.fromkeys(at(t.point) for t in one.tries)
    counts = " and ".join(
        f"{sum(at(t.point) == scale for t in one.tries)} ways at {scale}" for scale in scales
    )
    return f"None of {counts} is shown to raise hard-spike accuracy {one.against}.\n"


def _table(one: Tried, side: int) -> str:
    """Return the ways whose hard-spike accuracy is shown to differ to this side at an input scale, the largest difference first."""
    by_way: dict[str, dict[str, Try]] = {}
    for t in one.tries:
        by_way.setdefault(t.way, {})[at(t.point)] = t
    kept = {
        way: max(side * t.gain for t in tries.values() if t.side == side)
        for way, tries in by_way.items() if any(t.side == side for t in tries.values())
    }  # fmt: skip
    scales = [
        s for s in dict.fromkeys(at(t.point) for t in one.tries) if any(s in by_way[way] for way in kept)
    ]

    def row(way: str) -> list[str]:
        tries = by_way[way]
        first = next(iter(tries.values()))
        return [
            f"`{way}`",
            *(_cell(tries.get(scale)) for scale in scales),
            compute(first.point, first.reference),
        ]

    header = ["way", *(f"at {scale}" for scale in scales), "compute"]
    rows = [row(way) for way in sorted(kept, key=lambda way: -kept[way])]
    return f"Points (95 %) {one.against}:\n\n{markdown(header, rows)}" if rows else ""


def _cell(t: Try | None) -> str:
    told = NONE if t is None else difference(t.point.differences.get(HARD))
    return f"{told}, not shown" if t is not None and t.side == 0 else told


def _closing(one: Tried) -> str:
    rows = [
        [f"`{t.way}`", at(t.point), *(difference(t.point.differences.get(key)) for key in (GAP, HARD, "surrogate")), compute(t.point, t.reference)]
        for t in one.tries if t.closes and t.side != 1
    ]  # fmt: skip
    header = ["way", "largest frame value", "gap", "hard-spike accuracy", "smooth accuracy", "compute"]
    return f"Points (95 %) {one.against}:\n\n{markdown(header, rows)}" if rows else ""


def _thresholds(raising: Sequence[Try]) -> str:
    """Return what a lower threshold stands for, where one is shown to raise hard-spike accuracy."""
    default = Trial.__dataclass_fields__["threshold"].default
    lowered = {
        (t.point.trial.threshold, t.point.trial.slope) for t in raising if t.point.trial.threshold < default
    }
    return "".join(
        f"A threshold of {theta:g} before training is a threshold of {default:g} with every neuron's input and bias {default / theta:g} times as large and a "
        f"flatter surrogate (k = {slope * theta / default:g} instead of {slope:g}): the frames are scaled up after all, inside the network.\n"
        for theta, slope in sorted(lowered)
    )  # fmt: skip
