"""ADVICE.md: what a practitioner can do about the gap, one page of numbered steps that the records decide."""

from __future__ import annotations

from collections.abc import Sequence

from calibrated import counted, restored, tried, with_measure
from findings import begins, beyond
from integers import integers
from names import GAP, HARD, LARGE, MAP, about, at, by_scale, lines, recordings, well_scaled
from sast_advice import with_convolution, with_sast
from small_frames import small_frames
from tail import contradicting, inside, outside, tail_marks, unmarked
from ways import DIVISOR, command

from sastdeploy.experiments.results import Point, Results
from sastdeploy.experiments.sentences import direction
from sastdeploy.experiments.spec import Trial
from sastdeploy.experiments.tables import difference


def advice(found: dict[str, Results | None]) -> str:
    """Return the page. A step is there only where the records have something to say.

    Args:
        found: by experiment its results, None where none of its trials has a record.
    """
    there = [results for results in found.values() if results is not None]
    in_scale = found.get("map-scale")
    baseline = [] if in_scale is None else lines(in_scale)[0]
    steps = [
        _measure(found, baseline),
        _scale_up(baseline, found.get("map-rivals")),
        _keep_small(found),
        with_sast(found),
        with_convolution(found),
        _compile(found),
    ]
    body = "\n".join(
        f"## {number}. {heading}\n\n{text}" for number, (heading, text) in enumerate(filter(None, steps), 1)
    )
    named = [
        f"- {about(r).replace('](#', '](RESULTS.md#')}\n" for r in there if f"`{r.experiment.name}`" in body
    ]
    return "\n".join([
        "# Is your gap large, and what to do first\n",
        "Written by `python benchmarks/paper/assemble.py` from the records in `benchmarks/paper/`; the tables behind it are in "
        f"[RESULTS.md](RESULTS.md#the-map-of-the-gap). {recordings(trial for results in there for trial in results.experiment.trials)}\n",
        _words(),
        body,
        *(["## The trainings behind it\n\n" + "".join(named)] if named else []),
    ])  # fmt: skip


def _words() -> str:
    default = {name: field.default for name, field in Trial.__dataclass_fields__.items()}
    return (
        "## Words\n\n"
        "- **Smooth and hard spikes**: training uses smooth spikes, numbers between 0 and 1 that have a gradient (the surrogate); hardware has hard spikes, 0 or 1.\n"
        f"- **theta, k**: a neuron spikes where its membrane reaches the threshold theta (`--threshold`, {default['threshold']:g} unless given); k (`--slope`, "
        f"{default['slope']:g} unless given) is how steeply the smooth spike rises there.\n"
        f"- **Gap**: accuracy with smooth spikes less accuracy with hard spikes, same weights, in points; large means more than {LARGE:g} point. What is deployed is the "
        "accuracy with hard spikes.\n"
        "- **Frame value**: what the network is given for a pixel, polarity and time bin, min(count, clip) / divisor. The clip is the smallest count that 99 % of "
        "the training recordings' non-zero counts do not exceed (127 at most), and the divisor is the clip unless `--divisor` says otherwise; so the largest frame "
        "value, clip / divisor, is 1 unless you change it.\n"
        "- **Tail**: the share of all smooth output that neurons send while they are below their threshold, where hard spikes send nothing.\n"
        "- **Baseline, SAST, rho**: plain training, and sharpness-aware training (`--method sast`), which takes a second gradient a step of length rho away.\n"
        "- **Equal compute**: as many gradient evaluations (or as much processor time), on the same network and as many time bins. SAST takes two per step, so what it is "
        "compared with trains twice as many epochs. Elsewhere compute is told as gradient evaluations x synapses x time bins.\n"
        "- **Shown**: a 95 % interval over seeds (Student's t, paired by seed) excludes the other case. Intervals are not corrected for their number, so a few of them err.\n"
        f"- **The map**: the experiments {', '.join(f'`{name}`' for name in MAP)} in RESULTS.md.\n"
        f"- **`{DIVISOR}`** in a command is your divisor, where it is not the clip. Commands leave out `--seed`, `--limit` and `--out`; "
        "`sastdeploy train --help` explains every option.\n"
    )


def _measure(found: dict[str, Results | None], baseline: Sequence[Point]) -> tuple[str, str]:
    text = "`sastdeploy evaluate ckpt.pt` prints it. If it is not large, there is nothing to close: go to the last step."
    order = begins(baseline)
    if order is not None:
        text += (
            f" Expect a large one if your largest frame value is small: with `{command(baseline[0].trial)}` the gap is shown to be below {LARGE:g} point down to "
            f"{at(order[0])}, and above it at {', '.join(f'{at(p)} ({p.samples[GAP].mean:.1f} points)' for p in beyond(baseline, 1))}."
        )
    marks, others = tail_marks(inside(found)), outside(found)
    said = []
    if marks.below is not None:
        said.append(f"below {marks.below} % no training of the map had a large gap ({marks.safe} trainings)")
    if marks.above is not None:
        said.append(f"above {marks.above} % every one had ({marks.sure})")
    if said and not contradicting(marks, others):
        text += f" A hint, no test: `sastdeploy analyse ckpt.pt` prints the tail; {', '.join(said)}. Elsewhere it tells nothing"
        text += (
            f", and there lie {len(unmarked(marks, others))} of {len(others)} trainings outside the map."
            if others
            else "."
        )
    return "Measure the gap", f"{text}\n"


def _scale_up(baseline: Sequence[Point], in_rivals: Results | None) -> tuple[str, str]:
    text = (
        "Leave `--divisor` out: `sastdeploy train --dataset NAME`. In another framework: count events per pixel, polarity and time bin; take as clip the smallest count "
        "that 99 % of the training recordings' non-zero counts do not exceed; feed min(count, clip) / clip, in training and at deployment."
    )
    well = well_scaled(baseline)
    worse = [
        p for p in baseline if well and direction(well.samples[HARD].paired_difference(p.samples[HARD])) == 1
    ]
    if well is not None and worse:
        text += (
            f" The same training, `{command(well.trial)}`, reaches {well.samples[HARD].mean:.1f} % with hard spikes at a largest frame value of 1, and is shown to be lower "
            f"at {', '.join(f'{at(p)} ({p.samples[HARD].mean:.1f} %)' for p in worse)}."
        )
    return "Divide by the clip, and train again", f"{text}{_best_beside(in_rivals)}\n"


def _best_beside(in_rivals: Results | None) -> str:
    """Return how far the way that validation chooses at a small scale stays below the baseline at 1, both at equal compute, where that is shown."""
    scales = [] if in_rivals is None else by_scale(in_rivals)
    well = well_scaled([points[0] for points in scales])
    said = []
    for points in scales if well is not None else ():
        best = max(points, key=lambda point: point.samples["validation hard"].mean)
        less = best.samples[HARD].paired_difference(well.samples[HARD])  # type: ignore[union-attr]
        if direction(less) == -1:
            said.append(f"{difference(less)} at {at(best)} (`{command(best.trial)}`)")
    if not said:
        return ""
    return (
        " At equal compute (`map-rivals`) the way that is best on validation with small frames is shown to have a lower hard-spike accuracy than the baseline at 1, "
        f"points (95 %): {'; '.join(said)}."
    )


def _keep_small(found: dict[str, Results | None]) -> tuple[str, str] | None:
    body = small_frames([found.get("map-rivals"), found.get("map-network")], _calibration(found))
    return ("If the frames have to stay small", body) if body else None


def _calibration(found: dict[str, Results | None]) -> str:
    """Return what turning thresholds or the input's scale after training is shown to do; empty if it was not measured."""
    points = with_measure(found)
    if not points:
        return ""
    large = beyond(points, 1)
    raised, of_large = (
        restored(some, lambda p: f"`{command(p.trial)}` at {at(p)}") for some in (points, large)
    )
    lowered = sum(direction(p.samples["recovered"]) == -1 for p in points)
    todo = "Do not count on" if 2 * len(raised) < len(points) else "Try"
    text = (
        f"**{todo} turning thresholds or the input's scale after training** (`measures: [calibration]` in a sweep's file; chosen on validation recordings). "
        f"{tried()}. Hard-spike accuracy is shown to rise at {len(raised)} of {len(points)} points of the map ({counted(points)}), to fall at {lowered}"
    )
    if large:
        text += f"; of those with a gap shown to be large ({counted(large)}) it is shown to rise at {len(of_large)} of {len(large)}"
    return f"{text}{': ' if raised else ''}{'; '.join(raised)}.\n"


def _compile(found: dict[str, Results | None]) -> tuple[str, str] | None:
    table = integers(found)
    if not table:
        return None
    return "Compile", (
        "`sastdeploy compile ckpt.pt --profile loihi_int8` makes the integer program, and says what does not fit. What it loses, in baseline networks that have "
        f"learnt:\n\n{table}"
    )
