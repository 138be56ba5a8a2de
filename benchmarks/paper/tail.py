"""The surrogate's tail beside the gap, one point per training of the map: a figure and rank correlations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from sastdeploy.experiments.readings import LEARNT, readings
from sastdeploy.experiments.results import Results
from sastdeploy.report.figures import BASELINE, COLOURS
from sastdeploy.report.sample_figures import Cloud, scatter
from sastdeploy.statistics import rank_correlation

MAP = ("map-scale", "map-rivals", "map-network")
"""The experiments of the map of the gap."""
LARGE = 1.0
"""Points from which on a gap is called large."""


@dataclass(frozen=True)
class Training:
    """Tail (percent) and gap (points) of one training whose frame values are at most 1 / ``factor``."""

    factor: float
    tail: float
    gap: float
    learnt: bool


def trainings(all_results: Sequence[Results]) -> list[Training]:
    """Return every tested training that has both figures, once where experiments share it."""
    by_address: dict[str, Training] = {}
    for point in (point for results in all_results for point in results.points):
        for record in point.raw:
            numbers = readings(record)
            if "tail" in numbers and "gap" in numbers:
                learnt = numbers["surrogate"] >= LEARNT
                training = Training(point.trial.divisor_factor, numbers["tail"], numbers["gap"], learnt)
                by_address.setdefault(record["address"], training)
    return list(by_address.values())


def correlations(of: Sequence[Training]) -> dict[str, Any]:
    """Return the rank correlation of tail and gap over the trainings that have learnt, and within each input scale."""
    learnt = [training for training in of if training.learnt]
    within = {
        f"1/{factor:g}": _correlation([t for t in learnt if t.factor == factor])
        for factor in sorted({t.factor for t in learnt})
    }
    return {"all": _correlation(learnt), "within a largest frame value": within}


def _correlation(of: Sequence[Training]) -> dict[str, Any]:
    large = [t for t in of if t.gap > LARGE]
    return {
        "trainings": len(of), "rank correlation": rank_correlation([t.tail for t in of], [t.gap for t in of]),
        "gaps above 1 point": len(large), "lowest tail with one": min((t.tail for t in large), default=None),
        "highest tail without one": max((t.tail for t in of if t.gap <= LARGE), default=None),
    }  # fmt: skip


def draw(of: Sequence[Training], path: Path) -> None:
    """Write the figure: tail against gap, a colour and mark per input scale."""
    learnt = [training for training in of if training.learnt]
    looks = zip(cycle((*COLOURS[1:], "#e69f00", "#56b4e9", "black")), cycle("osD^vP<"))
    clouds = [
        Cloud(f"largest frame value {'1' if factor == 1 else f'1/{factor:g}'}", *look,
              tuple((t.tail, t.gap) for t in learnt if t.factor == factor))
        for factor, look in zip(sorted({t.factor for t in learnt}), looks)
    ]  # fmt: skip
    idle = tuple((t.tail, t.gap) for t in of if not t.learnt)
    if idle:
        clouds.append(Cloud(f"surrogate accuracy below {LEARNT:g} %", BASELINE, "x", idle))
    scatter(
        clouds, path, "The surrogate's tail and the gap, one point per training",
        "tail: surrogate output from below threshold (%), validation recordings; 100: silent", "gap (points), test recordings",
    )  # fmt: skip
