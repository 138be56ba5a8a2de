"""The map of the gap, section by section: what the results show, or that they do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from names import GAP, HARD, LARGE, at, by_scale, lines, well_scaled

from sastdeploy.samples import rank_correlation
from sastdeploy.sweeps.experiment import Trial
from sastdeploy.sweeps.pictures import over_scale, trials_with
from sastdeploy.sweeps.points import Point, Results
from sastdeploy.sweeps.readings import LEARNT
from sastdeploy.sweeps.sentences import direction, learnt, short, sorted_by_direction
from sastdeploy.sweeps.tables import NONE, difference, markdown, spread

_NAMES: tuple[tuple[Callable[[Trial], bool], str], ...] = (
    (lambda t: t.method == "sast", "`sast`: the paper's method, two gradients per step, with radius rho"),
    (lambda t: t.method == "asam", "`asam`: the same with a radius in proportion to each weight"),
    (lambda t: t.method == "random", "`random`: one gradient, at a random point at distance rho"),
    (lambda t: t.forward == "hard", "`forward hard`: trained with hard spikes and the surrogate's gradient"),
    (lambda t: t.slope_end > 0, "`slope_end`: the surrogate's slope k grows to this during training"),
    (lambda t: t.slope != 25, "`slope`: another k from the start"),
    (lambda t: t.init_scale != 1, "`init_scale`: initial weights and biases times this"),
    (lambda t: t.quantize_bits > 0, "`quantize_bits`: the last `quantize_epochs` with weights rounded to so many bits"),
)  # fmt: skip
"""What a way of training is called, and when."""
FEW = 5
"""Trials at least before a threshold on the tail's share is told."""


def failures(points: Sequence[Point], factor: float | None = None) -> str:
    """Return the sentence that names the points where training failed, empty if there is none.

    They are named by their input scale, or, if all share the scale ``factor``, by what else they are.
    """
    names = [
        f"{at(p) if factor is None else short(p, factor)} ({sum(v < LEARNT for v in p.samples['surrogate'].values)} of {len(p.seeds)} seeds)"
        for p in points if not learnt(p)
    ]  # fmt: skip
    told = f" Training itself failed, with smooth spikes below {LEARNT:g} %, at: {', '.join(names)}; a gap says nothing there."
    return told if names else ""


def beyond(points: Sequence[Point], side: int) -> list[Point]:
    """Return the points that have learnt and whose gap is shown to be large (``side`` 1) or not (-1)."""
    return [p for p in points if learnt(p) and direction(p.samples[GAP], LARGE) == side]


def begins(baseline: Sequence[Point]) -> tuple[Point, Point] | None:
    """Return the last point shown to have a small gap and the first shown to have a large one; None where they are not so ordered."""
    above, below = beyond(baseline, 1), beyond(baseline, -1)
    if above and below and below[-1].trial.divisor_factor < above[0].trial.divisor_factor:
        return below[-1], above[0]
    return None


def scale(results: Results) -> str:
    baseline, _ = lines(results)
    if not baseline:
        return "No baseline point has a record yet.\n"
    rows = [
        [at(p), spread(p.samples["surrogate"]), spread(p.samples[HARD]), difference(p.samples[GAP]).replace("+", ""), spread(p.samples.get("tail"))]
        for p in baseline
    ]  # fmt: skip
    table = markdown(["largest frame value", "smooth, %", "hard, %", "gap, points (95 %)", "tail, %"], rows)
    sentence = sorted_by_direction(
        [(at(p), p.samples[GAP]) for p in baseline if learnt(p)],
        (f"The baseline's gap is shown to be above {LARGE:g} point at", f"shown to be below {LARGE:g} point at", "neither is shown at"), LARGE,
    )  # fmt: skip
    found = begins(baseline)
    told = ""
    if found is not None:
        told = (
            f" So it becomes large between a largest frame value of {at(found[0])} and {at(found[1])}: if yours are smaller, scale the "
            "frames up before anything else (counts divided by the clip, not by a large constant)."
        )
    return f"{table}\n{sentence}{told}{failures(baseline)}\n"


def sast(results: Results) -> str:
    _, points = lines(results)
    if not points:
        return "No SAST point has a record yet.\n"
    rows = [
        [at(p), difference(p.differences.get(GAP)), difference(p.differences.get(HARD)), difference(p.differences.get("surrogate"))]
        for p in points
    ]  # fmt: skip
    name = points[0].label.split(",")[1].strip()
    table = markdown(
        ["largest frame value", f"gap: SAST {name} less baseline, points (95 %)", "hard", "smooth"], rows
    )
    pairs = {
        GAP: [(at(p), p.differences.get(GAP)) for p in points if learnt(p)],
        HARD: [(at(p), p.differences.get(HARD)) for p in points],
    }
    return (
        f"{table}\nSame epochs, so SAST has twice the gradient evaluations. Gap. "
        + sorted_by_direction(
            pairs[GAP], ("SAST raises it at", "SAST reduces it at", "no difference shown at")
        )
        + " Hard-spike accuracy. "
        + sorted_by_direction(
            pairs[HARD], ("SAST raises it at", "SAST lowers it at", "no difference shown at")
        )
        + f"{failures(points)}\n"
    )


def calibration(results: Results) -> str:
    baseline, _ = lines(results)
    having = [p for p in baseline if "recovered" in p.samples]
    if not having:
        return "No baseline point has this measure yet.\n"
    well = well_scaled(having)
    rows = [
        [
            at(p), spread(p.samples[HARD]), spread(p.samples["calibrated"]), difference(p.samples["recovered"]), difference(p.samples["left"]),
            NONE if well is None or p is well else difference(p.samples["calibrated"].less(well.samples[HARD])),
        ]
        for p in having
    ]  # fmt: skip
    header = [
        "largest frame value", "hard as trained, %", "hard calibrated, %", "restored, points (95 %)", "smooth less calibrated (95 %)",
        "calibrated here less trained at 1 (95 %)",
    ]  # fmt: skip
    sentence = sorted_by_direction(
        [(at(p), p.samples["recovered"]) for p in having],
        (
            "Calibration is shown to raise hard-spike accuracy at",
            "shown to lower it at",
            "no difference shown at",
        ),
    )
    left = sorted_by_direction(
        [(at(p), p.samples["left"]) for p in having],
        (
            f"What is left of the gap (smooth less calibrated) is shown to be above {LARGE:g} point at",
            f"shown to be below {LARGE:g} point at",
            "neither is shown at",
        ),
        LARGE,
    )
    return (
        "Thresholds or input times a factor, chosen on validation recordings with hard spikes, weights unchanged; baseline networks.\n\n"
        f"{markdown(header, rows)}\n{sentence} {left}\n"
    )


def rivals(results: Results) -> str:
    scales = by_scale(results)
    parts = []
    well = well_scaled([points[0] for points in scales])
    for points in scales:
        plain = points[0]
        factor = plain.trial.divisor_factor
        if factor == 1:
            continue
        if plain.reference is not None or len(points) < 2:
            parts.append(
                f"At a largest frame value of {at(plain)} the baseline or every rival is still without a record.\n"
            )
            continue
        chosen = max(points, key=lambda point: point.samples["validation hard"].mean)
        smallest = min(filter(learnt, points), key=lambda point: point.samples[GAP].mean, default=None)
        others = [p for p in points if p is not chosen]
        text = (
            f"At a largest frame value of {at(plain)}, {len(points)} ways were trained. Validation chooses **{short(chosen, factor)}**: hard "
            f"{spread(chosen.samples[HARD])} %, gap {spread(chosen.samples[GAP])} points on test recordings. "
        )
        if smallest is not None:
            text += (
                f"Of those that have learnt (smooth spikes right on {LEARNT:g} % or more), {short(smallest, factor)} has the smallest mean gap: {spread(smallest.samples[GAP])} points with "
                f"hard {spread(smallest.samples[HARD])} %. "
            )
        if others:
            text += "Hard-spike accuracy against the chosen one. " + sorted_by_direction(
                [(short(p, factor), p.samples[HARD].less(chosen.samples[HARD])) for p in others],
                ("shown to be higher", "shown to be lower", "no difference shown"),
            )
        text += (
            f" Against {short(plain, factor)}, the gap. "
            + sorted_by_direction(
                [
                    (short(p, factor), p.samples[GAP].less(plain.samples[GAP]))
                    for p in points
                    if p is not plain and learnt(p)
                ],
                ("shown to be larger", "shown to be smaller", "no difference shown"),
            )
            + failures(points, factor)
        )
        if well is not None:
            less = chosen.samples[HARD].less(well.samples[HARD])
            text += (
                f" The baseline with well-scaled input (largest frame value 1, same compute) reaches {spread(well.samples[HARD])} % hard; "
                f"the chosen rival less that: {difference(less)} points."
            )
        parts.append(text + "\n")
    used = [what for is_used, what in _NAMES if any(is_used(p.trial) for points in scales for p in points)]
    legend = (
        f"A way is named by what sets it apart, as the options of `sastdeploy train` are. {'; '.join(used)}.\n"
        if used
        else ""
    )
    return (
        "\n".join(filter(None, [legend, *parts]))
        if parts
        else "No point at a small input scale has a record yet.\n"
    )


def network(results: Results) -> str:
    parts = []
    for there in by_scale(results):
        factor, name = there[0].trial.divisor_factor, at(there[0])
        points = [p for p in there if p.reference is not None]
        for key, texts in (
            (GAP, ("shown to enlarge it", "shown to reduce it", "no difference shown")),
            (HARD, ("shown to raise it", "shown to lower it", "no difference shown")),
        ):
            if points:
                what = "gap" if key == GAP else "hard-spike accuracy"
                told = [p for p in points if key == HARD or learnt(p)]
                pairs = [(short(p, factor), p.differences.get(key)) for p in told]
                parts.append(
                    f"- Largest frame value {name}, {what} against {short(there[0], factor)}. {sorted_by_direction(pairs, texts)}"
                    + (failures(points, factor) if key == GAP else "")
                )
    return "\n".join(parts) + "\n" if parts else "No point has a reference to be compared with yet.\n"  # fmt: skip


def precision(results: Results) -> str:
    parts = []
    for name, points in (
        over_scale(results) or {method: line for method, line in zip(("baseline", "SAST"), lines(results)) if line}
    ).items():  # fmt: skip
        for profile in results.experiment.trials[0].profiles:
            pairs = [
                (at(p), p.samples.get(f"{profile} less hard"))
                for p in points
                if f"{profile} less hard" in p.samples
            ]
            refused = [at(p) for p in points if profile in p.refused]
            if pairs:
                means = [sample.mean for _, sample in pairs if sample is not None]
                parts.append(
                    f"- {name}, `{profile}` less the float network's hard spikes: mean differences of {min(means):+.2f} to {max(means):+.2f} points over "
                    "the scales. " + sorted_by_direction(pairs, ("shown to be higher at", "shown to be lower at", "no difference shown at"))
                    + (f" Refused by the hardware at: {', '.join(refused)}." if refused else "")
                )  # fmt: skip
    return "\n".join(parts) + "\n" if parts else "No integer program has a record yet.\n"


@dataclass(frozen=True)
class Marks:
    """Shares of the tail, in percent, that part small gaps from large ones; None where too few trials lie beyond.

    ``below``: no trial below it had a large gap (``safe`` of them). ``above``: every trial above it had (``sure``).
    """

    below: float | None
    safe: int
    above: float | None
    sure: int


def tail_marks(there: Sequence[Results]) -> Marks:
    pairs = _tails(there)
    large = [t for t, gap in pairs if gap > LARGE]
    small = [t for t, gap in pairs if gap <= LARGE]
    if not large or not small:
        return Marks(None, 0, None, 0)
    safe, sure = sum(t < min(large) for t in small), sum(t > max(small) for t in large)
    return Marks(min(large) if safe >= FEW else None, safe, max(small) if sure >= FEW else None, sure)


def _tails(there: Sequence[Results]) -> list[tuple[float, float]]:
    return [pair for pairs in trials_with(there, "tail", GAP).values() for pair in pairs]


def tail(there: Sequence[Results]) -> str:
    pairs = _tails(there)
    correlation = rank_correlation([t for t, _ in pairs], [g for _, g in pairs])
    if correlation is None:
        return f"Too few trials with both figures ({len(pairs)}).\n"
    text = (
        f"Over the {len(pairs)} trainings of sections 1, 4 and 5 that have learnt (smooth spikes right on {LEARNT:g} % or more) the share of the smooth output that is sent "
        f"from below threshold (tail, validation recordings) and the gap (test recordings) have a rank correlation of {correlation:+.2f}; the trainings share "
        "data and settings, so no interval is given."
    )
    marks = tail_marks(there)
    if marks.below is not None:
        text += f" Below a tail of {marks.below:.1f} % none had a gap above {LARGE:g} point ({marks.safe} trainings)."
    if marks.above is not None:
        text += f" Above {marks.above:.1f} % every one had ({marks.sure} trainings)."
    if marks.below is None and marks.above is None:
        text += " No tail share separates small gaps from large ones."
    return text + "\n"
