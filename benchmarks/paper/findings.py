"""The map of the gap, section by section: what the results show, or that they do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from names import GAP, HARD, LARGE, at, by_scale, compared, lines, size, well_scaled
from ways import compute

from sastdeploy.experiments.figures import over_scale
from sastdeploy.experiments.readings import LEARNT
from sastdeploy.experiments.results import Point, Results
from sastdeploy.experiments.sentences import direction, learnt, short, sorted_by_direction
from sastdeploy.experiments.spec import Trial
from sastdeploy.experiments.tables import difference, markdown, spread

_NAMES: tuple[tuple[Callable[[Trial], bool], str], ...] = (
    (lambda t: t.method == "sast", "`sast`: the paper's method, two gradients per step, with radius rho"),
    (lambda t: t.method == "asam", "`asam`: the same with a radius in proportion to each weight"),
    (lambda t: t.method == "random", "`random`: one gradient, at a random point at distance rho"),
    (lambda t: t.forward == "hard", "`forward hard`: trained with hard spikes and the surrogate's gradient"),
    (lambda t: t.slope_end > 0, "`slope_end`: the surrogate's slope k grows to this during training"),
    (lambda t: t.slope != 25, "`slope`: another k from the start"),
    (lambda t: t.threshold != 1, "`threshold`: another theta, before and after training"),
    (lambda t: t.weight_decay > 0, "`weight_decay`: decoupled weight decay"),
    (lambda t: t.init_scale != 1, "`init_scale`: initial weights and biases times this"),
    (lambda t: t.quantize_bits > 0, "`quantize_bits`: the last `quantize_epochs` with weights rounded to so many bits"),
)  # fmt: skip
"""What a way of training is called, and when."""


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
        "The baseline's gap", [(at(p), p.samples[GAP]) for p in baseline if learnt(p)],
        (f"shown to be above {LARGE:g} point at", f"shown to be below {LARGE:g} point at", "neither is shown at"), LARGE,
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
    told = [
        sorted_by_direction(
            f"{what}, SAST less baseline", pairs, ("shown to be higher at", "shown to be lower at", "no difference shown at")
        )
        for what, pairs in (
            ("Gap", [(at(p), p.differences.get(GAP)) for p in points if learnt(p)]),
            ("Hard-spike accuracy", [(at(p), p.differences.get(HARD)) for p in points]),
        )
    ]  # fmt: skip
    return f"{table}\nSame epochs, so SAST has twice the gradient evaluations. {' '.join(filter(None, told))}{failures(points)}\n"


def rivals(results: Results) -> str:
    scales = by_scale(results)
    well = well_scaled([points[0] for points in scales])
    parts = []
    for points in scales:
        if points[0].trial.divisor_factor == 1:
            continue
        if points[0].reference is not None or len(points) < 2:
            parts.append(
                f"At a largest frame value of {at(points[0])} the baseline or every rival is still without a record.\n"
            )
        else:
            parts.append(_at_one_scale(points, well))
    if not parts:
        return "No point at a small input scale has a record yet.\n"
    used = [what for is_used, what in _NAMES if any(is_used(p.trial) for points in scales for p in points)]
    if used:
        parts.insert(
            0,
            f"A way is named by what sets it apart, as the options of `sastdeploy train` are. {'; '.join(used)}.\n",
        )
    return "\n".join(parts)


def _at_one_scale(points: Sequence[Point], well: Point | None) -> str:
    """Return what the rivals of one input scale show; the first point is the baseline."""
    plain, factor, where = points[0], points[0].trial.divisor_factor, f"at {at(points[0])}"
    chosen = max(points, key=lambda point: point.samples["validation hard"].mean)
    smallest = min(filter(learnt, points), key=lambda point: size(point.samples[GAP]).mean, default=None)
    text = (
        f"At a largest frame value of {at(plain)}, {len(points)} ways were trained. Validation chooses **{short(chosen, factor)}**: hard "
        f"{spread(chosen.samples[HARD])} %, gap {spread(chosen.samples[GAP])} points on test recordings."
    )
    among = f"of those that have learnt (smooth spikes right on {LEARNT:g} % or more)"
    if smallest is chosen:
        text += f" It also has the gap nearest to 0 {among}."
    elif smallest is not None:
        text += (
            f" {among[0].upper()}{among[1:]}, {short(smallest, factor)} has the gap nearest to 0: {spread(smallest.samples[GAP])} points with hard "
            f"{spread(smallest.samples[HARD])} %."
        )
    if any(p.samples[GAP].mean < 0 for p in (chosen, smallest) if p is not None):
        text += " (A negative gap: hard spikes are right more often than smooth ones.)"
    against_chosen = [
        (short(p, factor), p.samples[HARD].paired_difference(chosen.samples[HARD]))
        for p in points
        if p is not chosen
    ]
    against_plain = [
        (short(p, factor), p.samples[GAP].paired_difference(plain.samples[GAP]))
        for p in points
        if p is not plain and learnt(p)
    ]
    said = [
        text,
        sorted_by_direction(
            f"Hard-spike accuracy {where} against the chosen way", against_chosen,
            ("shown to be higher for", "shown to be lower for", "no difference shown for"),
        ),
        sorted_by_direction(
            f"Gap {where} against {short(plain, factor)}", against_plain,
            ("shown to be higher for", "shown to be lower for", "no difference shown for"),
        ) + failures(points, factor),
    ]  # fmt: skip
    if well is not None:
        said.append(
            f"The baseline with well-scaled input (largest frame value 1, same compute) reaches {spread(well.samples[HARD])} % hard; "
            f"the way chosen {where} less that: {difference(chosen.samples[HARD].paired_difference(well.samples[HARD]))} points."
        )
    return " ".join(filter(None, said)) + "\n"


def network(results: Results) -> str:
    parts = []
    unequal: dict[str, str] = {}
    for reference, points in compared(results):
        factor = reference.trial.divisor_factor
        unequal |= {short(p, factor): said for p in points if (said := compute(p, reference)) != "equal"}
        for what, key, told in (
            ("gap", GAP, [p for p in points if learnt(p)]), ("hard-spike accuracy", HARD, points),
        ):  # fmt: skip
            sentence = sorted_by_direction(
                f"Largest frame value {at(reference)}, {what} against {short(reference, factor)}",
                [(short(p, factor), p.differences.get(key)) for p in told],
                ("shown to be higher for", "shown to be lower for", "no difference shown for"),
            )
            if sentence:
                parts.append(f"- {sentence}{failures(points, factor) if key == GAP else ''}")
    if not parts:
        return "No point has a reference to be compared with yet.\n"
    if unequal:
        told_apart = "; ".join(f"{name} {said}" for name, said in unequal.items())
        parts.insert(
            0,
            "Not at equal compute. A training's work (gradient evaluations x synapses x time bins) against its reference's, where they differ: "
            f"{told_apart}.\n",
        )
    return "\n".join(parts) + "\n"


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
                    "the scales. "
                    + sorted_by_direction(
                        f"`{profile}` against hard spikes, {name}", pairs,
                        ("shown to be higher at", "shown to be lower at", "no difference shown at"),
                    )
                    + (f" Refused by the hardware at: {', '.join(refused)}." if refused else "")
                )  # fmt: skip
    return "\n".join(parts) + "\n" if parts else "No integer program has a record yet.\n"
