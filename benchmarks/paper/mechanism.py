"""Our explanation of the gap against the interventions that would show it."""

from __future__ import annotations

from dataclasses import dataclass

from names import GAP, HARD, at, by_scale, lines

from sastdeploy.experiments.results import Results
from sastdeploy.experiments.sentences import direction, learnt
from sastdeploy.experiments.tables import difference, markdown
from sastdeploy.statistics import Sample

WIDE = 5.0
"""Points on either side from which on an interval that holds 0 tells nothing."""


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
    if (
        side == 0
        and less is not None
        and less.interval is not None
        and less.interval[1] - less.interval[0] > 2 * WIDE
    ):
        verdicts[0] = "seeds differ too much to tell"
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
            less, scale_name = well.samples[GAP].paired_difference(small.samples[GAP]), at(small)
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
            ("a surrogate that steepens during training, a smaller tail in the end", lambda p: p.trial.slope_end > 0, GAP, -1),
        ):  # fmt: skip
            point = next((p for p in points if changed(p)), None)
            less = None if point is None else point.samples[key].paired_difference(plain.samples[key])
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
