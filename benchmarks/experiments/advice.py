"""The first page of RESULTS.md: every sentence says what the records show, or that they do not show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from claims import EQUAL_COMPUTE, chosen_sast, claims, claims_table
from findings import begins, beyond, calibration, network, precision, rivals, sast, scale, tail, tail_marks
from mechanism import mechanism
from names import GAP, HARD, LARGE, MAP, at, by_scale, lines, missing, well_scaled
from summary import summary

from sastdeploy.sweeps.points import Point, Results, ends
from sastdeploy.sweeps.report import schedules
from sastdeploy.sweeps.sentences import direction, learnt, short, sorted_by_direction
from sastdeploy.sweeps.tables import difference


def first_page(found: dict[str, Results | None], overhead: Sequence[list[str]]) -> str:
    """Return the page.

    Args:
        found: by experiment its results, None where none of its trials has a record.
        overhead: rows of the table of claims about what SAST costs.
    """
    rows = claims(found, overhead)
    parts = [
        "## What holds, what does not, what could not be tested\n",
        'The paper\'s claims against these records, by direction; every difference with its interval is in the table further down. "Shown" means that a 95 % interval over seeds '
        "(Student's t, paired by seed where two points are compared) excludes the other case; intervals are not corrected for their number, so a few of "
        "them err. SAST's radius rho is the one that validation chose among those that an experiment has. What to do with your own network is told in the "
        f"[next part](#is-your-gap-large-and-what-to-do-first).\n\n{summary(rows)}",
        "## Is your gap large, and what to do first\n",
        "The gap is the accuracy with the smooth spikes of training less the accuracy with the hard spikes of deployment, same weights; large means more than "
        f"{LARGE:g} point. Frame values are min(count, clip) / divisor, so clip / divisor is the largest frame value; `sastdeploy train` and `sastdeploy analyse` print "
        "both. All recordings are simulated.\n",
        in_short(found),
    ]
    steps: tuple[tuple[str, str, Callable[[Results], str]], ...] = (
        ("The size of the frame values", "map-scale", scale),
        ("Calibration at deployment, without training", "map-scale", calibration),
        ("What SAST does at each input scale", "map-scale", sast),
        ("Rivals at equal compute", "map-rivals", rivals),
        ("What else matters", "map-network", network),
        ("What 8 and 4 bits cost on top of hard spikes", "map-scale", precision),
    )
    for number, (heading, name, said) in enumerate(steps, 1):
        results = found.get(name)
        body = missing(name) if results is None else f"{about(results)}\n\n{said(results)}"
        parts.append(f"### {number}. {heading}\n\n{body}")
        if results is not None and results.done < len(results.experiment.trials):
            parts.append(f"(From {results.done} of {len(results.experiment.trials)} trials of `{name}`.)\n")
    there = [results for name in MAP if (results := found.get(name)) is not None]
    parts += [
        f"### Does the surrogate's tail predict the gap?\n\n{tail(there)}",
        f"### Mechanism\n\n{mechanism(found)}",
    ]
    parts.append(f"## The paper's claims and these records\n\n{claims_table(rows, found)}")
    return "\n".join(parts)


def about(results: Results) -> str:
    """Return how the experiment's networks were trained, and its notes."""
    trials = results.experiment.trials
    epochs, training = schedules(trials)
    seeds = len({t.seed for t in trials})
    return " ".join([
        f"`{results.experiment.name}`: `{trials[0].dataset}`, {training} training recordings, {' or '.join(map(str, epochs))} epochs, "
        f"{seeds} seed{'s' * (seeds > 1)}.", *results.experiment.notes,
    ])  # fmt: skip


def in_short(found: dict[str, Results | None]) -> str:
    """Return the page's advice as numbered steps; a sentence is there only where the records show what it says."""
    in_scale, in_rivals = found.get("map-scale"), found.get("map-rivals")
    baseline, with_sast = ([], []) if in_scale is None else lines(in_scale)
    steps = [
        _measure([results for name in MAP if (results := found.get(name)) is not None]),
        _scale_up(baseline),
        _keep_small(baseline, in_rivals, found.get("map-network")),
        _with_sast(with_sast, [point for name in EQUAL_COMPUTE if (point := chosen_sast(found.get(name)))]),
        _convolution(found.get("table2")),
        "" if in_scale is None else _integers(in_scale),
    ]
    return "".join(f"{n}. {step}\n" for n, step in enumerate(filter(None, steps), 1))


def _measure(there: Sequence[Results]) -> str:
    marks = tail_marks(there)
    text = (
        "**Measure it.** `sastdeploy evaluate CHECKPOINT` prints the gap, `sastdeploy analyse CHECKPOINT` the tail: the share of the smooth output that "
        "neurons send from below their threshold."
    )
    if marks.below is not None:
        text += f" Below a tail of {marks.below:.1f} % no training of the map had a large gap;"
    if marks.above is not None:
        text += f" above {marks.above:.1f} % every one had;"
    return text[:-1] + (". Otherwise only the gap itself tells." if text.endswith(";") else ".")


def _scale_up(baseline: Sequence[Point]) -> str:
    said = []
    order = begins(baseline)
    if order is not None:
        said.append(
            f"With baseline training the gap is shown to be below {LARGE:g} point down to a largest frame value of {at(order[0])}, and above it at "
            + ", ".join(f"{at(p)} ({p.samples[GAP].mean:.1f} points)" for p in beyond(baseline, 1))
            + "."
        )
    well = well_scaled(baseline)
    worse = [p for p in baseline if well and direction(well.samples[HARD].less(p.samples[HARD])) == 1]
    if well is not None and worse:
        said.append(
            f"The same training reaches {well.samples[HARD].mean:.1f} % with hard spikes at 1, "
            + ", ".join(f"{p.samples[HARD].mean:.1f} % at {at(p)}" for p in worse)
            + "."
        )
    if not said:
        return ""
    return (
        "**Scale the frames up and train again.** Leave `sastdeploy train --divisor` out, and the largest frame value is 1: "
        f"a smaller one makes the gap. {' '.join(said)}"
    )


def _keep_small(baseline: Sequence[Point], in_rivals: Results | None, in_network: Results | None) -> str:
    said = []
    large = beyond(baseline, 1)
    mended = [p for p in large if direction(p.samples.get("recovered")) == 1]
    if mended:
        said.append(
            "Factors on thresholds or input, chosen after training on validation recordings, raise hard-spike accuracy "
            + "; ".join(
                f"from {p.samples[HARD].mean:.1f} to {p.samples['calibrated'].mean:.1f} % at {at(p)}"
                for p in mended
            )
            + "."
        )
    elif any("recovered" in p.samples for p in large):
        said.append(
            "Factors on thresholds or input after training are not shown to raise hard-spike accuracy where the gap is large."
        )
    scales = [] if in_rivals is None else by_scale(in_rivals)
    well = well_scaled([points[0] for points in scales])
    for points in scales:
        plain = points[0]
        if plain.trial.divisor_factor != 1 and plain.reference is None and len(points) > 1:
            said += _of_rivals(points, well)
    for points in [] if in_network is None else by_scale(in_network):
        factor = points[0].trial.divisor_factor
        raised = [short(p, factor) for p in points if direction(p.differences.get(HARD)) == 1]
        if raised and factor != 1:
            said.append(f"Against {short(points[0], factor)} at {at(points[0])}, higher hard-spike accuracy is shown for {', '.join(raised)}.")  # fmt: skip
    return (
        "**If the frames have to stay small**:\n" + "\n".join(f"   - {text}" for text in said) if said else ""
    )


def _of_rivals(points: Sequence[Point], well: Point | None) -> list[str]:
    """Return what the rivals of one input scale show; the first point is the baseline."""
    plain, rivals = points[0], points[1:]
    factor = plain.trial.divisor_factor
    chosen = max(points, key=lambda point: point.samples["validation hard"].mean)
    said = [f"At {at(plain)} and equal compute (section 4)"]
    if chosen is plain:
        said[0] += (
            f" no rival has a higher validation accuracy with hard spikes than {short(plain, factor)} itself."
        )
    elif direction(chosen.samples[HARD].less(plain.samples[HARD])) == 1:
        said[0] += (
            f" validation chooses {short(chosen, factor)}: {chosen.samples[HARD].mean:.1f} % with hard spikes against "
            f"{plain.samples[HARD].mean:.1f} % of {short(plain, factor)}."
        )
    else:
        said[0] += (
            f" the way that validation chooses, {short(chosen, factor)}, is not shown to be better than {short(plain, factor)}."
        )
    closing = [p for p in rivals if learnt(p) and direction(p.samples[GAP].less(plain.samples[GAP])) == -1]
    if closing:
        said.append(
            f"A smaller gap than that of {short(plain, factor)} ({_three(plain)}) is shown for "
            + "; ".join(f"{short(p, factor)} ({_three(p)})" for p in closing)
            + ": the deployed accuracy is the one with hard spikes, and a gap also closes where only the smooth one falls."
        )
    for text, side in (("higher", 1), ("lower", -1)):
        named = [
            short(p, factor) for p in rivals if direction(p.samples[HARD].less(plain.samples[HARD])) == side
        ]
        if named:
            said.append(
                f"Hard-spike accuracy {text} than that of {short(plain, factor)} is shown for {', '.join(named)}."
            )
    less = None if well is None else plain.samples[HARD].less(well.samples[HARD])
    if direction(less) == -1:
        said.append(
            f"The same baseline trained at 1 is better than at {at(plain)} by {-less.mean:.1f} points (shown)."
        )  # type: ignore[union-attr]
    return said


def _three(point: Point) -> str:
    smooth, hard, gap = (point.samples[name].mean for name in ("surrogate", HARD, GAP))
    return f"gap {gap:.1f} points, smooth {smooth:.1f}, hard {hard:.1f} %"


def _with_sast(points: Sequence[Point], equal_compute: Sequence[Point]) -> str:
    if not points:
        return ""
    gap = [(at(p), p.differences.get(GAP)) for p in points if learnt(p)]
    hard, smooth = ([(at(p), p.differences.get(name)) for p in points] for name in (HARD, "surrogate"))
    sides = ("higher at", "lower at", "no difference shown at")
    return (
        f"**SAST** (`sastdeploy train --method sast --rho {points[0].trial.rho:g}`) against the baseline at equal epochs, dense network. Gap. "
        + sorted_by_direction(gap, ("larger at", "smaller at", "no difference shown at"))
        + f" Hard-spike accuracy. {sorted_by_direction(hard, sides)} Smooth accuracy. {sorted_by_direction(smooth, sides)}"
        + "".join(
            f" At {at(p)} and equal compute (Table 3): hard-spike accuracy {difference(p.differences.get(HARD))} points, gap {difference(p.differences.get(GAP))}."
            for p in equal_compute
        )
    )


def _convolution(results: Results | None) -> str:
    """Return what a convolution's pair of points tells: its gap may be large although its frames are not small."""
    pair = None if results is None else ends(results)
    if pair is None or not learnt(pair[0]) or pair[0].samples[GAP].mean <= LARGE:
        return ""
    baseline, with_sast = pair
    told = {
        1: "shown to be higher",
        0: "no difference shown",
        -1: "shown to be lower",
        None: "fewer than two seeds in common, nothing shown",
    }
    gap, hard = (direction(with_sast.samples[name].less(baseline.samples[name])) for name in (GAP, HARD))
    gaps = ", ".join(f"{value:.1f}" for value in baseline.samples[GAP].values)
    text = (
        f"**A convolution may have a large gap with well-scaled frames too.** After a short schedule the baseline has gaps of "
        f"{gaps} points (one per seed; mean {baseline.samples[GAP].mean:.1f}); SAST ({with_sast.label.split(', ', 1)[1]}) of as many epochs, so with twice the gradients, "
        f"{with_sast.samples[GAP].mean:.1f} ({told[gap]}), hard-spike accuracy {baseline.samples[HARD].mean:.1f} and {with_sast.samples[HARD].mean:.1f} % "
        f"({told[hard]})."
    )
    if 1 in (hard, None if gap is None else -gap):
        text += " Where your gap is large in spite of well-scaled frames, try SAST."
    return text


def _integers(results: Results) -> str:
    said = []
    for profile in results.experiment.trials[0].profiles:
        points = [p for p in lines(results)[0] if f"{profile} less hard" in p.samples and learnt(p)]
        means = [p.samples[f"{profile} less hard"].mean for p in points]
        if means:
            said.append(f"`{profile}` {min(means):+.2f} to {max(means):+.2f} points")
    if not said:
        return ""
    return (
        "**Then compile** (`sastdeploy compile CHECKPOINT --profile PROFILE`). Integer program less hard spikes in floating point, baseline networks that have "
        f"learnt, means over the input scales: {', '.join(said)} (section 6)."
    )
