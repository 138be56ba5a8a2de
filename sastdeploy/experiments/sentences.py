"""Which way differences point, in words: a sentence says "shown" only where an interval excludes the other case."""

from __future__ import annotations

from collections.abc import Sequence

from sastdeploy.experiments.readings import LEARNT
from sastdeploy.experiments.results import Point, Results
from sastdeploy.statistics import Sample

MANY = 8
"""Names without a shown difference up to which they are listed."""


def direction(sample: Sample | None, mark: float = 0.0) -> int | None:
    """Return 1 or -1 where the sample's 95 % interval lies above or below ``mark``, 0 where it holds it, None without one."""
    if sample is None or sample.interval is None:
        return None
    low, high = sample.interval
    return 1 if low > mark else -1 if high < mark else 0


def sorted_by_direction(
    subject: str, samples: Sequence[tuple[str, Sample | None]], texts: tuple[str, str, str], mark: float = 0.0
) -> str:
    """Return one sentence, its subject first: per direction that occurs ``texts`` for above, below and neither, and the names.

    Without samples there is no sentence.
    """
    sides: dict[int | None, list[str]] = {}
    for name, sample in samples:
        sides.setdefault(direction(sample, mark), []).append(name)
    said = []
    for side, text in zip((1, -1, 0), texts):
        names = sides.get(side, [])
        many = side == 0 and len(names) > MANY and len(names) < len(samples)
        if names:
            said.append(f"{text} {f'the other {len(names)}' if many else ', '.join(names)}")
    if None in sides:
        said.append(f"fewer than two seeds, nothing shown: {', '.join(sides[None])}")
    return f"{subject}: {'; '.join(said)}." if said else ""


def learnt(point: Point) -> bool:
    """Return whether smooth spikes are right on enough test recordings in every trial of the point (see `LEARNT`)."""
    return min(point.samples["surrogate"].values) >= LEARNT


def against_reference(results: Results) -> str:
    """Return what the differences to the reference show of hard-spike accuracy and of the gap; empty without any."""
    compared = [point for point in results.points if point.reference is not None and "hard" in point.samples]
    if not compared:
        return ""
    told = [point for point in compared if learnt(point)]
    failed = [short(point) for point in compared if not learnt(point)]
    said = [
        _sorted(
            "Hard-spike accuracy against the reference", compared, "hard",
            ("shown to be higher for", "shown to be lower for", "no difference shown for"),
        ),
        _sorted(
            "The gap against the reference", told, "gap",
            ("shown to be larger for", "shown to be smaller for", "no difference shown for"),
        ),
    ]  # fmt: skip
    if failed:
        said.append(
            f"No gap is told of those that have not learnt in every seed (smooth spikes below {LEARNT:g} %): {', '.join(failed)}."
        )
    return " ".join(filter(None, said)) + "\n"


def _sorted(subject: str, points: Sequence[Point], key: str, texts: tuple[str, str, str]) -> str:
    return sorted_by_direction(subject, [(short(p), p.differences.get(key)) for p in points], texts)


def short(point: Point, factor: float | None = None) -> str:
    """Return a point's label as one word, without "method" and the input scale ``factor`` that the sentence has named.

    A comma does not part lists. Where nothing is left, it is the method's name.
    """
    left_out = "" if factor is None else f"divisor_factor {factor:g}"
    words = [w for w in point.label.removeprefix("method ").split(", ") if w != left_out]
    return f"`{' '.join(words) or point.trial.method}`"
