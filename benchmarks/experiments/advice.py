"""The first page of RESULTS.md: every sentence says what the records show, or that they do not show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from claims import claims, claims_table, convolution_pair, summary
from names import GAP, HARD, at, lines, missing

from sastdeploy.samples import Sample, rank_correlation
from sastdeploy.sweeps.pictures import over_scale, trials_with
from sastdeploy.sweeps.points import Point, Results
from sastdeploy.sweeps.readings import LEARNT
from sastdeploy.sweeps.sentences import direction, learnt, short, sorted_by_direction
from sastdeploy.sweeps.tables import NONE, difference, markdown, spread

LARGE = 1.0
"""Points from which on a gap is called large."""
FEW = 5
"""Trials at least before a threshold on the tail's share is told."""
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
    begins = _begins(baseline)
    if begins is not None:
        small, _ = begins
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
    convolution = convolution_pair(found.get("table2"))
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


def by_scale(results: Results) -> list[list[Point]]:
    """Return the tested points of each input scale, at ascending divisor_factor."""
    tested = [point for point in results.points if HARD in point.samples]
    return [
        [point for point in tested if point.trial.divisor_factor == factor]
        for factor in sorted({point.trial.divisor_factor for point in tested})
    ]


def failures(points: Sequence[Point]) -> str:
    """Return the sentence that names the points where training failed, empty if there is none."""
    names = [
        f"{at(p)} ({sum(v < LEARNT for v in p.samples['surrogate'].values)} of {len(p.seeds)} seeds)"
        for p in points if not learnt(p)
    ]  # fmt: skip
    told = f" Training itself failed, with smooth spikes below {LEARNT:g} %, at: {', '.join(names)}; a gap says nothing there."
    return told if names else ""


def unlearnt(points: Sequence[Point], factor: float) -> str:
    """Return the sentence that names the points of one scale whose training failed, empty if there is none."""
    names = [short(p, factor) for p in points if not learnt(p)]
    return (
        f" Training itself failed in a seed or more, with smooth spikes below {LEARNT:g} %: {', '.join(names)}."
        if names
        else ""
    )


def _begins(baseline: Sequence[Point]) -> tuple[Point, Point] | None:
    """Return the last point shown to have a small gap and the first shown to have a large one; None where they are not so ordered."""
    above = [p for p in baseline if learnt(p) and direction(p.samples[GAP], LARGE) == 1]
    below = [p for p in baseline if learnt(p) and direction(p.samples[GAP], LARGE) == -1]
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
    found = _begins(baseline)
    begins = ""
    if found is not None:
        begins = (
            f" So it becomes large between a largest frame value of {at(found[0])} and {at(found[1])}: if yours are smaller, scale the "
            "frames up before anything else (counts divided by a clip near their own maximum, not by a large constant)."
        )
    return f"{table}\n{sentence}{begins}{failures(baseline)}\n"


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
    well = next((p for p in having if p.trial.divisor_factor == 1.0), None)
    rows = [
        [
            at(p), spread(p.samples[HARD]), spread(p.samples["calibrated"]), difference(p.samples["recovered"]), difference(p.samples["left"]),
            NONE if well is None or p is well else difference(p.samples["calibrated"].less(well.samples[HARD])),
        ]
        for p in having
    ]  # fmt: skip
    header = [
        "largest frame value", "hard as trained, %", "hard calibrated, %", "restored, points (95 %)", "smooth less calibrated (95 %)",
        "calibrated less trained at 1 (95 %)",
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
            f"What is left of the gap is shown to be above {LARGE:g} point at",
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
    well = next((points[0] for points in scales if points[0].trial.divisor_factor == 1.0), None)
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
                f"Of those that have learnt, {short(smallest, factor)} has the smallest mean gap: {spread(smallest.samples[GAP])} points with "
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
            + unlearnt(points, factor)
        )
        if well is not None:
            less = chosen.samples[HARD].less(well.samples[HARD])
            text += (
                f" The baseline with well-scaled input (largest frame value 1, same compute) reaches {spread(well.samples[HARD])} % hard; "
                f"the chosen rival less that: {difference(less)} points."
            )
        parts.append(text + "\n")
    return "\n".join(parts) or "No point at a small input scale has a record yet.\n"


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
                    f"- Largest frame value {name}, {what} against the same scale's reference. {sorted_by_direction(pairs, texts)}"
                    + (unlearnt(points, factor) if key == GAP else "")
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


def tail(there: Sequence[Results]) -> str:
    pairs = [pair for pairs in trials_with(there, "tail", GAP).values() for pair in pairs]
    correlation = rank_correlation([t for t, _ in pairs], [g for _, g in pairs])
    if correlation is None:
        return f"Too few trials with both figures ({len(pairs)}).\n"
    large = [t for t, gap in pairs if gap > LARGE]
    small = [t for t, gap in pairs if gap <= LARGE]
    text = (
        f"Over the {len(pairs)} trials of the map that have learnt (smooth spikes right on {LEARNT:g} % or more) the share of the smooth output that is sent from below threshold (tail, validation recordings) and "
        f"the gap (test recordings) have a rank correlation of {correlation:+.2f}; the trials share data and settings, so no interval is given."
    )
    if large and small:
        safe, sure = (
            sum(t < min(large) for t in small),
            sum(t > max(small) for t in large),
        )
        if safe >= FEW:
            text += f" Below a tail of {min(large):.1f} % no trial had a gap above {LARGE:g} point ({safe} trials)."
        if sure >= FEW:
            text += f" Above {max(small):.1f} % every trial had ({sure} trials)."
        if safe < FEW and sure < FEW:
            text += " No tail share separates small gaps from large ones."
    return text + "\n"


@dataclass(frozen=True)
class Intervention:
    """One test of the mechanism. ``kind``: the same at every scale; ``side``: 1 as predicted, -1 the opposite, 0 not shown, None neither."""

    kind: str
    what: str
    side: int | None
    said: str
    verdict: str


def intervention(
    kind: str, what: str, less: Sample | None, wanted: int, failed: bool = False
) -> Intervention:
    """Return the test of a difference whose predicted direction is ``wanted``; ``failed``: training did, which leaves nothing to test."""
    side = None if failed or less is None else direction(less)
    side = None if side is None else side * wanted
    verdicts = {1: "as predicted", -1: "the opposite", 0: "no difference shown"}
    verdict = "training failed" if failed else "not run, or too few seeds" if side is None else verdicts[side]
    return Intervention(kind, what, side, difference(None if failed else less), verdict)


SCALED = "input scaled up, trained anew"


def interventions(found: dict[str, Results | None]) -> list[Intervention]:
    """Return the tests of the mechanism, at the scales at which rivals were trained."""
    in_scale, in_rivals = found.get("map-scale"), found.get("map-rivals")
    baseline = {} if in_scale is None else {p.trial.divisor_factor: p for p in lines(in_scale)[0]}
    tests = []
    for points in [] if in_rivals is None else by_scale(in_rivals):
        plain = points[0]
        factor = plain.trial.divisor_factor
        if plain.reference is not None or factor == 1:
            continue
        well, small = baseline.get(1.0), baseline.get(factor)
        if well is not None and small is not None:
            less, scale_name = well.samples[GAP].less(small.samples[GAP]), at(small)
            tests.append(
                intervention(SCALED, f"{SCALED}, from {scale_name} to 1: gap", less, -1, not learnt(small))
            )
            what = "factors on thresholds or input after training"
            tests.append(
                intervention(
                    what, f"{what}, at {scale_name}: hard accuracy", small.samples.get("recovered"), 1
                )
            )
        for kind, changed, key, wanted in (
            ("initial weights scaled up", lambda p: p.trial.init_scale > 1, GAP, -1),
            ("hard spikes in the forward pass, no tail to learn from", lambda p: p.trial.forward == "hard", HARD, 1),
            ("a steeper surrogate (k = 100), a smaller tail", lambda p: p.trial.slope > 25, GAP, -1),
        ):  # fmt: skip
            point = next((p for p in points if changed(p)), None)
            less = None if point is None else point.samples[key].less(plain.samples[key])
            failed = key == GAP and point is not None and not (learnt(point) and learnt(plain))
            what = f"{kind}, at {at(plain)}: {'gap' if key == GAP else 'hard accuracy'}"
            tests.append(intervention(kind, what, less, wanted, failed))
    return tests


def mechanism(found: dict[str, Results | None]) -> str:
    tests = interventions(found)
    rows = markdown(
        ["intervention", "difference, points (95 %)", ""], [[t.what, t.said, t.verdict] for t in tests]
    )
    supporting, against = ({t.kind for t in tests if t.side == side} for side in (1, -1))
    text = (
        "Our explanation, not the paper's: with small frame values membranes stay below their thresholds, the readout learns from the surrogate's graded "
        "tail, and the hard step removes that tail. "
    )
    kinds = len({t.kind for t in tests})
    if SCALED in supporting and len(supporting) >= 2 and not against:
        verdict = (
            f"{len(supporting)} of {kinds} kinds of intervention came out as it predicts, none the other way."
        )
    else:
        verdict = (
            f"These records do not establish it: {len(supporting)} of {kinds} kinds of intervention came out as it predicts, "
            f"{len(against)} the other way."
        )
    return f"{text}{verdict}\n\n{rows}"
