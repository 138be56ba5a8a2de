"""Whether to use SAST, on dense networks and on convolutions, as the records decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from claims import EQUAL_COMPUTE, chosen_sast
from names import GAP, HARD, LARGE, at, by_scale
from ways import command, kinds

from sastdeploy.experiments.readings import LEARNT
from sastdeploy.experiments.results import Point, Results, ends
from sastdeploy.experiments.sentences import direction, learnt
from sastdeploy.experiments.tables import NONE, difference, markdown
from sastdeploy.statistics import Sample


@dataclass(frozen=True)
class Comparison:
    """SAST and the baseline that it is compared with, in one experiment."""

    experiment: str
    sast: Point
    baseline: Point

    def paired_difference(self, key: str) -> Sample | None:
        """Return SAST's figure less the baseline's, paired by seed; no gap where one of them has not learnt."""
        if key == GAP and not (learnt(self.sast) and learnt(self.baseline)):
            return None
        return self.sast.samples[key].paired_difference(self.baseline.samples[key])


def at_equal_compute(found: Mapping[str, Results | None]) -> list[Comparison]:
    """Return what was compared at equal compute; SAST's radius is the one that validation chose."""
    pairs = []
    for name in EQUAL_COMPUTE:
        results = found.get(name)
        best = chosen_sast(results)
        baseline = (
            None
            if results is None or best is None or best.reference is None
            else results.point(best.reference)
        )
        if best is not None and baseline is not None and HARD in baseline.samples:
            pairs.append(Comparison(name, best, baseline))
    return pairs + _by_scale("map-rivals", found.get("map-rivals"))


def at_equal_epochs(found: Mapping[str, Results | None]) -> list[Comparison]:
    """Return what was compared at equal epochs, so with twice the gradients for SAST; networks of an earlier experiment are left out."""
    pairs, seen = _by_scale("map-scale", found.get("map-scale")), set()
    for name, results in found.items():
        pair = None if results is None or name in EQUAL_COMPUTE else ends(results)
        if pair is not None:
            baseline, best = pair
            trained = {record["address"] for point in pair for record in point.raw}
            if baseline.trial.epochs == best.trial.epochs and not trained <= seen:
                pairs.append(Comparison(name, best, baseline))
            seen |= {r["address"] for point in results.points for r in point.raw}  # type: ignore[union-attr]
    return pairs


def _by_scale(name: str, results: Results | None) -> list[Comparison]:
    """Return per input scale the baseline, the first point, and the SAST point that validation chooses."""
    pairs = []
    for points in [] if results is None else by_scale(results):
        radii = [point for point in points if point.trial.method == "sast"]
        if points[0].trial.method == "baseline" and radii:
            best = max(radii, key=lambda point: point.samples["validation hard"].mean)
            pairs.append(Comparison(name, best, points[0]))
    return pairs


def verdict(comparisons: Sequence[Comparison]) -> str:
    """Return what to do, from which way hard-spike accuracy is shown to differ."""
    sides = {direction(comparison.paired_difference(HARD)) for comparison in comparisons}
    if {1, -1} <= sides:
        return "it depends: use it where it is shown to be higher, not where it is shown to be lower"
    if 1 in sides:
        return "use it"
    if -1 in sides:
        return "do not use it"
    return (
        "no difference is shown" if 0 in sides else "too few seeds to show anything" if sides else "not run"
    )


def with_sast(found: Mapping[str, Results | None]) -> tuple[str, str] | None:
    """Return the step on SAST with a dense network, its heading and its text; None if nothing was compared."""
    compute, epochs = (
        [c for c in comparisons if "conv" not in kinds(c.sast.trial)]
        for comparisons in (at_equal_compute(found), at_equal_epochs(found))
    )
    if not compute and not epochs:
        return None
    said = [("equal", c) for c in compute] + [("twice", c) for c in epochs]
    rows = [
        [times, f"`{c.experiment}`, `{c.sast.trial.dataset}`", at(c.sast), f"{c.sast.trial.rho:g}", difference(c.paired_difference(HARD)),
         _SHOWN[direction(c.paired_difference(HARD))], difference(c.paired_difference(GAP))]
        for times, c in said if direction(c.paired_difference(HARD)) is not None
    ]  # fmt: skip
    single = [c for _, c in said if direction(c.paired_difference(HARD)) is None]
    header = [
        "compute",
        "experiment",
        "largest frame value",
        "rho",
        "hard-spike accuracy",
        "shown to be",
        "gap",
    ]
    text = (
        "`sastdeploy train --dataset NAME --method sast --rho RHO`; rho is the one that validation chose among those tried. What decides is hard-spike accuracy. "
        "SAST less baseline, points (95 %); no gap where a network of the two has not learnt:\n\n"
        + markdown(header, rows)
    )
    if single:
        text += f"\nOne seed, nothing shown: {', '.join(f'`{c.experiment}`' for c in single)}.\n"
    return f"SAST, dense network: {_todo(compute, epochs)}", text


_SHOWN = {1: "higher", -1: "lower", 0: "not shown"}


def _todo(compute: Sequence[Comparison], epochs: Sequence[Comparison]) -> str:
    """Return what to do about SAST at equal compute, and at equal epochs."""
    said = [f"{verdict(compute)} at equal compute"] if compute else []
    said += [f"{verdict(epochs)} at equal epochs, which is twice the compute"] if epochs else []
    return "; ".join(said)


def with_convolution(found: Mapping[str, Results | None]) -> tuple[str, str] | None:
    """Return the step on convolutions, its heading and its text; None if none was compared with SAST."""
    compute, epochs = (
        [c for c in comparisons if "conv" in kinds(c.sast.trial)]
        for comparisons in (at_equal_compute(found), at_equal_epochs(found))
    )
    taught = [c for c in (*compute, *epochs) if learnt(c.baseline)]
    untaught = [c for c in (*compute, *epochs) if c not in taught]
    if not taught and not untaught:
        return None
    told = [_conv(c) for c in taught] + [_untaught(c) for c in untaught]
    if not taught:
        return "Convolution: nothing is known", "\n\n".join(told) + "\n"
    if max(max(c.baseline.samples[GAP].values) for c in taught) > LARGE:
        heading = "Convolution: measure the gap of every training"
        told.insert(0, "A single training may have a large gap with well-scaled frames too.")
    else:
        heading = "Convolution: no training had a large gap"
    todo = _todo([c for c in compute if c in taught], [c for c in epochs if c in taught])
    return f"{heading}. SAST: {todo}", "\n\n".join(told) + "\n"


def _conv(c: Comparison) -> str:
    """Return one comparison's gaps by seed, what SAST changed, and what keeping the best seed on validation gives."""
    gaps, hard, validation = (c.baseline.samples[key] for key in (GAP, HARD, "validation hard"))
    text = (
        f"`{c.experiment}`, largest frame value {at(c.baseline)}: `{command(c.baseline.trial)}` had gaps of {_each(gaps)} points, one per seed, and a mean hard-spike "
        f"accuracy of {hard.mean:.1f} %. The same with `--method sast --rho {c.sast.trial.rho:g}` had gaps of {_each(c.sast.samples[GAP])} and {c.sast.samples[HARD].mean:.1f} %: "
        f"hard-spike accuracy {_or_seeds(c.paired_difference(HARD))} points, gap {_or_seeds(c.paired_difference(GAP))}."
    )
    if len(hard.values) > 1:
        best = validation.seeds[validation.values.index(max(validation.values))]
        place = hard.seeds.index(best)
        todo = (
            "train with several seeds and keep that one" if hard.values[place] > hard.mean
            else "keeping that one did not help here"
        )  # fmt: skip
        text += (
            f" Of the {len(hard.values)} baseline trainings the one with the highest validation accuracy with hard spikes (`--seed {best}`) has a gap of "
            f"{gaps.values[place]:.1f} points and {hard.values[place]:.1f} % on test recordings: {todo}."
        )
    return text


def _each(sample: Sample) -> str:
    return ", ".join(f"{value:.1f}" for value in sample.values)


def _or_seeds(less: Sample | None) -> str:
    told = difference(less)
    return "without an interval" if told == NONE else told


def _untaught(c: Comparison) -> str:
    return f"`{c.experiment}`: the baseline has not learnt in every seed (smooth spikes below {LEARNT:g} %), which tells nothing."
