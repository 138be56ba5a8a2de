"""Names that the page's advice and its table of claims share."""

from __future__ import annotations

from sastdeploy.sweeps.points import Point, Results

GAP, HARD = "gap", "hard"


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
