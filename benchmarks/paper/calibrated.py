"""What factors on thresholds or input, chosen after training, restore: the map's second section, and the same of every point that has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from findings import beyond
from names import GAP, HARD, LARGE, MAP, at, lines, well_scaled

from sastdeploy.experiments.results import Point, Results
from sastdeploy.experiments.sentences import direction, learnt, short, sorted_by_direction
from sastdeploy.experiments.tables import NONE, difference, markdown, spread


def tried() -> str:
    """Return the range of factors, and which input scales a factor on the input cannot undo."""
    from sastdeploy.analysis.calibration import FACTORS  # loads torch

    low, high = min(FACTORS), max(FACTORS)
    return (
        f"Factors from {f'1/{1 / low:g}' if low < 1 else f'{low:g}'} to {high:g}; so one on the input cannot undo a largest frame value "
        f"below 1/{high:g}"
    )


def with_measure(found: Mapping[str, Results | None]) -> list[Point]:
    """Return every point of the map that has the measure and has learnt; a point that two experiments share once."""
    seen: dict[frozenset[str], Point] = {}
    for name in MAP:
        results = found.get(name)
        for point in () if results is None else results.points:
            if "recovered" in point.samples and learnt(point):
                seen.setdefault(frozenset(record["address"] for record in point.raw), point)
    return list(seen.values())


def named(point: Point) -> str:
    return f"{at(point)} {short(point, point.trial.divisor_factor)}"


def restored(points: Sequence[Point], name: Callable[[Point], str]) -> list[str]:
    """Return, largest first, the points where calibration is shown to raise hard-spike accuracy, with gap and gain."""
    raised = [p for p in points if direction(p.samples["recovered"]) == 1]
    raised.sort(key=lambda point: -point.samples["recovered"].mean)
    return [
        f"{name(p)} (gap {p.samples[GAP].mean:.1f} points, restored {difference(p.samples['recovered'])})"
        for p in raised
    ]


def counted(points: Sequence[Point]) -> str:
    """Return how many of the points lie at which largest frame value."""
    ordered = sorted(points, key=lambda point: point.trial.divisor_factor)
    scales = dict.fromkeys(at(point) for point in ordered)
    return ", ".join(f"{sum(at(p) == scale for p in points)} at {scale}" for scale in scales)


def calibration(found: Mapping[str, Results | None]) -> str:
    results = found.get("map-scale")
    baseline = [] if results is None else lines(results)[0]
    having = [p for p in baseline if "recovered" in p.samples]
    if not having:
        return "No baseline point has this measure yet.\n"
    well = well_scaled(having)
    rows = [
        [
            at(p), spread(p.samples[HARD]), spread(p.samples["calibrated"]), difference(p.samples["recovered"]), difference(p.samples["left"]),
            NONE if well is None or p is well else difference(p.samples["calibrated"].paired_difference(well.samples[HARD])),
        ]
        for p in having
    ]  # fmt: skip
    header = [
        "largest frame value", "hard as trained, %", "hard calibrated, %", "restored, points (95 %)", "smooth less calibrated (95 %)",
        "calibrated here less trained at 1 (95 %)",
    ]  # fmt: skip
    sentence = sorted_by_direction(
        "Hard-spike accuracy, calibrated less as trained", [(at(p), p.samples["recovered"]) for p in having],
        ("shown to be higher at", "shown to be lower at", "no difference shown at"),
    )  # fmt: skip
    left = sorted_by_direction(
        "What is left of the gap (smooth less calibrated)", [(at(p), p.samples["left"]) for p in having],
        (f"shown to be above {LARGE:g} point at", f"shown to be below {LARGE:g} point at", "neither is shown at"), LARGE,
    )  # fmt: skip
    return (
        f"Thresholds or input times a factor, chosen on validation recordings with hard spikes, weights unchanged; baseline networks. {tried()}.\n\n"
        f"{markdown(header, rows)}\n{sentence} {left}\n\n{_elsewhere(with_measure(found))}\n"
    )


def _elsewhere(points: Sequence[Point]) -> str:
    large = beyond(points, 1)
    text = f"All points of the map that have the measure and have learnt: {len(points)} ({counted(points)}); the gap is shown to be above {LARGE:g} point at {len(large)}"
    text += f" ({counted(large)})." if large else "."
    told = sorted_by_direction(
        "Hard-spike accuracy, calibrated less as trained, at all of them", [(named(p), p.samples["recovered"]) for p in points],
        ("shown to be higher at", "shown to be lower at", "no difference shown at"),
    )  # fmt: skip
    raised = restored(points, named)
    return f"{text} {told}" + (f" Restored: {'; '.join(raised)}." if raised else "")
