"""What the parts of the page share: names, and points in order."""

from __future__ import annotations

from collections.abc import Sequence

from sastdeploy.sweeps.points import Point, Results

GAP, HARD = "gap", "hard"
MAP = ("map-scale", "map-rivals", "map-network")
"""The experiments of the map of the gap."""
LARGE = 1.0
"""Points from which on a gap is called large."""


def missing(name: str) -> str:
    return f"Not run yet: `sastdeploy sweep run benchmarks/experiments/{name}.yaml`.\n"


def at(point: Point) -> str:
    """Return the largest frame value of a point."""
    factor = point.trial.divisor_factor
    return "1" if factor == 1 else f"1/{factor:g}"


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
