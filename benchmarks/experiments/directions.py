"""Which way a difference points, in words: shared by the page's advice and its table of claims."""

from __future__ import annotations

from collections.abc import Sequence

from sastdeploy.samples import Sample
from sastdeploy.sweeps.points import Point, Results

MANY = 8
"""Names without a shown difference up to which they are listed."""
GAP, HARD = "gap", "hard"


def missing(name: str) -> str:
    return f"Not run yet: `sastdeploy sweep run benchmarks/experiments/{name}.yaml`.\n"


def direction(sample: Sample | None, mark: float = 0.0) -> int | None:
    """Return 1 or -1 where the sample's 95 % interval lies above or below ``mark``, 0 where it holds it, None without one."""
    if sample is None or sample.interval is None:
        return None
    low, high = sample.interval
    return 1 if low > mark else -1 if high < mark else 0


def sorted_by_direction(
    samples: Sequence[tuple[str, Sample | None]], texts: tuple[str, str, str], mark: float = 0.0
) -> str:
    """Return one sentence per direction that occurs: ``texts`` for above, below and neither, each followed by the names."""
    sides: dict[int | None, list[str]] = {}
    for name, sample in samples:
        sides.setdefault(direction(sample, mark), []).append(name)
    said = []
    for side, text in zip((1, -1, 0), texts):
        names = sides.get(side, [])
        many = side == 0 and len(names) > MANY and len(names) < len(samples)
        if names:
            said.append(
                f"{text[0].upper()}{text[1:]}: {f'the other {len(names)}' if many else ', '.join(names)}."
            )
    if None in sides:
        said.append(f"Fewer than two seeds, nothing shown: {', '.join(sides[None])}.")
    return " ".join(said)


def at(point: Point) -> str:
    """Return the largest frame value of a point."""
    factor = point.trial.divisor_factor
    return "1" if factor == 1 else f"1/{factor:g}"


def lines(results: Results) -> tuple[list[Point], list[Point]]:
    """Return the baseline's and SAST's tested points at ascending divisor_factor."""
    tested = [point for point in results.points if GAP in point.samples]
    tested.sort(key=lambda point: point.trial.divisor_factor)
    return tuple([p for p in tested if p.trial.method == method] for method in ("baseline", "sast"))  # type: ignore[return-value]
