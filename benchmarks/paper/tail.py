"""The surrogate's tail beside the gap: which shares part small gaps from large ones, and whether other experiments bear that out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from names import GAP, LARGE, MAP, largest

from sastdeploy.experiments.figures import Pair, correlations, trials_with
from sastdeploy.experiments.readings import LEARNT
from sastdeploy.experiments.results import Results
from sastdeploy.statistics import rank_correlation

FEW = 5
"""Trainings at least on a mark's far side before the mark is told."""
_STEP = Decimal("0.1")


@dataclass(frozen=True)
class Marks:
    """Shares of the tail, in percent, that part small gaps from large ones; None where too few trainings lie beyond.

    ``below``: no training below it had a large gap (``safe`` of them). ``above``: every training above it had (``sure``). Both are
    as printed: the lower rounded down, the upper rounded up.
    """

    below: Decimal | None
    safe: int
    above: Decimal | None
    sure: int


def tail_marks(pairs: Sequence[Pair]) -> Marks:
    large = [p.one for p in pairs if p.other > LARGE]
    small = [p.one for p in pairs if p.other <= LARGE]
    if not large or not small:
        return Marks(None, 0, None, 0)
    below = Decimal(min(large)).quantize(_STEP, ROUND_FLOOR)
    above = Decimal(max(small)).quantize(_STEP, ROUND_CEILING)
    safe, sure = sum(t < below for t in small), sum(t > above for t in large)
    return Marks(below if safe >= FEW else None, safe, above if sure >= FEW else None, sure)


def inside(found: Mapping[str, Results | None]) -> list[Pair]:
    """Return tail and gap of every training of the map that has learnt."""
    return [pair for pair in _everywhere(found) if pair.experiment in MAP]


def outside(found: Mapping[str, Results | None]) -> list[Pair]:
    """Return the same of the other experiments' trainings; what the map has too is not among them."""
    return [pair for pair in _everywhere(found) if pair.experiment not in MAP]


def _everywhere(found: Mapping[str, Results | None]) -> list[Pair]:
    names = [*MAP, *(name for name in found if name not in MAP)]
    return trials_with([results for name in names if (results := found.get(name)) is not None], "tail", GAP)


def contradicting(marks: Marks, pairs: Sequence[Pair]) -> list[Pair]:
    """Return the trainings whose gap is not as the marks say: large below the lower one, or small above the upper one."""
    return [
        pair for pair in pairs
        if (marks.below is not None and pair.one < marks.below and pair.other > LARGE)
        or (marks.above is not None and pair.one > marks.above and pair.other <= LARGE)
    ]  # fmt: skip


def unmarked(marks: Marks, pairs: Sequence[Pair]) -> list[Pair]:
    """Return the trainings of which the marks say nothing."""
    return [
        pair for pair in pairs
        if not (marks.below is not None and pair.one < marks.below) and not (marks.above is not None and pair.one > marks.above)
    ]  # fmt: skip


def tail(found: Mapping[str, Results | None]) -> str:
    pairs = inside(found)
    overall = rank_correlation([p.one for p in pairs], [p.other for p in pairs])
    if overall is None:
        return f"Too few trainings with both figures ({len(pairs)}).\n"
    text = (
        f"Over the {len(pairs)} trainings of sections 1, 4 and 5 that have learnt (smooth spikes right on {LEARNT:g} % or more) the share of the smooth output that is sent "
        f"from below threshold (tail, validation recordings) and the gap (test recordings) have a rank correlation of {overall:+.2f}; the trainings share "
        "data and settings, so no interval is given."
    )
    within = correlations(pairs)
    if within:
        told = ", ".join(
            f"{one:+.2f} at {largest(factor)} ({n} trainings)" for factor, (one, n) in within.items()
        )
        text += f" Within one largest frame value it is {told}."
        if len(within) > 1 and all(one < overall for one, _ in within.values()):
            text += " All of these are below the first figure: part of it only says that small frame values go with both."
    marks = tail_marks(pairs)
    if marks.below is not None:
        text += (
            f" Below a tail of {marks.below} % none had a gap above {LARGE:g} point ({marks.safe} trainings)."
        )
    if marks.above is not None:
        text += f" Above {marks.above} % every one had ({marks.sure} trainings)."
    if marks.below is None and marks.above is None:
        return text + " No tail share separates small gaps from large ones.\n"
    return f"{text} These marks were drawn on the same trainings.\n\n{_checked(marks, outside(found))}"


def _checked(marks: Marks, others: Sequence[Pair]) -> str:
    """Return what the trainings outside the map say of the marks."""
    if not others:
        return "No experiment outside the map has both figures yet, so the marks are not checked.\n"
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(pair.experiment for pair in others))
    low = [p for p in others if marks.below is not None and p.one < marks.below]
    high = [p for p in others if marks.above is not None and p.one > marks.above]
    between = unmarked(marks, others)
    large = [p for p in between if p.other > LARGE]
    correlation = rank_correlation([p.one for p in others], [p.other for p in others])
    text = (
        f"Checked on the {len(others)} trainings outside the map that have learnt and have both figures ({names}): "
        f"{len(contradicting(marks, others))} contradict the marks ({len(low)} lie below the lower one, {len(high)} above the upper one). "
        f"{len(between)} lie where the marks say nothing; {len(large)} of them had a gap above {LARGE:g} point"
    )
    if large:
        most = max(large, key=lambda pair: pair.other)
        text += f", up to {most.other:.1f} points (`{most.experiment}`, tail {most.one:.1f} %)"
    if correlation is not None:
        text += f". Their rank correlation is {correlation:+.2f}"
    return text + ".\n"
