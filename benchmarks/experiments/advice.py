"""The first page of RESULTS.md: every sentence says what the records show, or that they do not show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from claims import claims, claims_table, summary
from findings import begins, calibration, network, precision, rivals, sast, scale, tail
from mechanism import mechanism
from names import GAP, HARD, LARGE, at, by_scale, lines, missing

from sastdeploy.sweeps.points import Point, Results, ends
from sastdeploy.sweeps.sentences import direction, learnt, short, sorted_by_direction

MAP = ("map-scale", "map-rivals", "map-network")


def first_page(found: dict[str, Results | None], overhead: Sequence[list[str]]) -> str:
    """Return the page.

    Args:
        found: by experiment its results, None where none of its trials has a record.
        overhead: rows of the table of claims about what SAST costs.
    """
    rows = claims(found, overhead)
    parts = [
        "## What holds, what does not, what could not be tested\n",
        f"The paper's claims against these records, by direction only; figures and 95 % intervals over seeds (not corrected for their number) are in the table further down.\n\n{summary(rows)}",
        "## Is your gap large, and what to do first\n",
        "The gap is the accuracy with the smooth spikes of training less the accuracy with the hard spikes of deployment, same weights. "
        f"Large means more than {LARGE:g} point. `sastdeploy evaluate CHECKPOINT` prints the gap, `sastdeploy analyse CHECKPOINT` the spike rates and the tail. "
        'All recordings are simulated. "Shown" means that a 95 % interval over seeds (Student\'s t, paired by seed where two points are compared) '
        "excludes the other case; intervals are not corrected for their number, so a few of them err.\n",
        in_short(found),
    ]
    steps: tuple[tuple[str, str, Callable[[Results], str]], ...] = (
        ("The size of the frame values", "map-scale", scale),
        ("Calibration at deployment, without training", "map-scale", calibration),
        ("What SAST does at each input scale", "map-scale", sast),
        ("Rivals at equal compute", "map-rivals", rivals),
        ("What else matters", "map-network", network),
        ("Integer programs on top of hard spikes", "map-scale", precision),
    )
    for number, (heading, name, said) in enumerate(steps, 1):
        results = found.get(name)
        parts.append(f"### {number}. {heading}\n\n{missing(name) if results is None else said(results)}")
        if results is not None and results.done < len(results.experiment.trials):
            parts.append(f"(From {results.done} of {len(results.experiment.trials)} trials of `{name}`.)\n")
    there = [results for name in MAP if (results := found.get(name)) is not None]
    parts += [
        f"### Does the surrogate's tail predict the gap?\n\n{tail(there)}",
        f"### Mechanism\n\n{mechanism(found)}",
    ]
    parts.append(f"## The paper's claims and these records\n\n{claims_table(rows, found)}")
    return "\n".join(parts)


def in_short(found: dict[str, Results | None]) -> str:
    """Return the page's advice as a list; an item is there only where the records show what it says."""
    said = []
    in_scale, in_rivals = found.get("map-scale"), found.get("map-rivals")
    baseline, with_sast = ([], []) if in_scale is None else lines(in_scale)
    large = [p for p in baseline if learnt(p) and direction(p.samples[GAP], LARGE) == 1]
    order = begins(baseline)
    if order is not None:
        small, _ = order
        said.append(
            f"Your gap is large if your frame values are small: with baseline training it is shown to be below {LARGE:g} point down to a largest frame "
            f"value of {at(small)} and above it at "
            + ", ".join(f"{at(p)} ({p.samples[GAP].mean:.1f} points)" for p in large)
            + "."
        )
    well = next((p for p in baseline if p.trial.divisor_factor == 1.0), None)
    better = (
        []
        if well is None
        else [p for p in baseline if direction(well.samples[HARD].less(p.samples[HARD])) == 1]
    )
    if well is not None and better:
        said.append(
            f"Scale the frames up and train again: at a largest frame value of 1 the same training reaches {well.samples[HARD].mean:.1f} % with hard spikes, against "
            f"{better[0].samples[HARD].mean:.1f} % at {at(better[0])}"
            + (f" and {better[-1].samples[HARD].mean:.1f} % at {at(better[-1])}." if len(better) > 1 else ".")
        )
    mended = [p for p in large if direction(p.samples.get("recovered")) == 1]
    if mended:
        said.append(
            "If you cannot train again, calibrate thresholds or the input's scale on validation recordings: hard-spike accuracy rises "
            + "; ".join(
                f"from {p.samples[HARD].mean:.1f} to {p.samples['calibrated'].mean:.1f} % at {at(p)}"
                for p in mended
            )
            + "."
        )
    elif large and any("recovered" in p.samples for p in large):
        said.append(
            "Calibrating thresholds or the input's scale is not shown to raise hard-spike accuracy where the gap is large."
        )
    for points in [] if in_rivals is None else by_scale(in_rivals):
        plain = points[0]
        factor = plain.trial.divisor_factor
        if factor == 1 or plain.reference is not None or len(points) < 2:
            continue
        chosen = max(points, key=lambda point: point.samples["validation hard"].mean)
        if chosen is plain:
            said.append(
                f"At {at(plain)} and equal compute no rival has a higher validation accuracy with hard spikes than {short(plain, factor)} itself."
            )
        elif direction(chosen.samples[HARD].less(plain.samples[HARD])) == 1:
            said.append(
                f"If the input has to stay small, at {at(plain)} and equal compute validation chooses {short(chosen, factor)}: "
                f"{chosen.samples[HARD].mean:.1f} % with hard spikes against {plain.samples[HARD].mean:.1f} % of {short(plain, factor)}."
            )
        else:
            said.append(
                f"At {at(plain)} and equal compute the way that validation chooses, {short(chosen, factor)}, is not shown to be better than {short(plain, factor)}."
            )
        helped = [
            p for p in points[1:]
            if learnt(p) and direction(p.samples[GAP].less(plain.samples[GAP])) == -1
            and direction(p.samples[HARD].less(plain.samples[HARD])) != -1
        ]  # fmt: skip
        if helped:
            told = "; ".join(
                f"{short(p, factor)} (gap {p.samples[GAP].mean:.1f} points, hard {p.samples[HARD].mean:.1f} %)"
                for p in helped
            )
            said.append(
                f"There, a smaller gap than that of {short(plain, factor)} ({plain.samples[GAP].mean:.1f} points, hard {plain.samples[HARD].mean:.1f} %) is shown, "
                f"and no loss of hard-spike accuracy, for: {told}."
            )
    if with_sast:
        gap = [(at(p), p.differences.get(GAP)) for p in with_sast if learnt(p)]
        hard = [(at(p), p.differences.get(HARD)) for p in with_sast]
        said.append(
            "SAST against the baseline at equal epochs. Gap. "
            + sorted_by_direction(gap, ("larger at", "smaller at", "no difference shown at"))
            + " Hard-spike accuracy. "
            + sorted_by_direction(hard, ("higher at", "lower at", "no difference shown at"))
        )
    of_digits = found.get("table2")
    convolution = None if of_digits is None else ends(of_digits)
    if convolution is not None and learnt(convolution[0]) and convolution[0].samples[GAP].mean > LARGE:
        said.append(_of_convolution(*convolution))
    return "".join(f"- {sentence}\n" for sentence in said) or "- Too few records to advise anything yet.\n"


def _of_convolution(baseline: Point, with_sast: Point) -> str:
    """Return what a convolution's pair of points tells: its gap may be large although its frames are not small."""
    less = with_sast.samples[HARD].less(baseline.samples[HARD])
    verdict = {
        1: "shown",
        0: "no difference shown",
        -1: "the opposite is shown",
        None: "one seed in common, so nothing is shown",
    }[direction(less)]
    name = with_sast.label.split(", ", 1)[1]
    return (
        f"All of this is of the dense network. The convolutional one, after a short schedule, has a gap of {baseline.samples[GAP].mean:.1f} points with "
        f"well-scaled frames after baseline training (seeds: {len(baseline.seeds)}), and {with_sast.samples[GAP].mean:.1f} after SAST ({name}) of as many "
        f"epochs; hard-spike accuracy {baseline.samples[HARD].mean:.1f} and {with_sast.samples[HARD].mean:.1f} % ({verdict}). Measure yours with "
        "`sastdeploy evaluate`, and where the gap is large in spite of well-scaled frames, try SAST."
    )
