"""One of the paper's claims, what these records say of it, and the rules by which they show it or do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from names import GAP, HARD

from sastdeploy.experiments.readings import LEARNT
from sastdeploy.experiments.results import Point
from sastdeploy.experiments.sentences import direction, learnt
from sastdeploy.experiments.tables import NONE, difference
from sastdeploy.statistics import Sample

SHOWN, OPPOSITE = "shown here too", "the opposite is shown"
HOLDS_0, ONE_SEED, RADII, REFUSED = (
    f"not shown: {why}"
    for why in ("the interval holds 0", "one seed", "radii differ", "refused by the hardware")
)
NOT_LEARNT = f"not shown: has not learnt (smooth spikes below {LEARNT:g} %)"
EQUAL = "not shown: equal to three decimals"
NOT_RUN = "not run, or no seed in common"


@dataclass(frozen=True)
class Claim:
    """A claim and its verdict.

    Args:
        topic: the paper's table, figure or diagnostic. what: SAST's effect, as a verb.
        where: the experiment, or the file of a measurement. about: which points, in words; empty where the claim is on no pair.
        paper, ours: figures, baseline to SAST. less: SAST less baseline with its interval. profile: hardware profile, empty for the float network.
    """

    topic: str
    what: str
    where: str
    about: str
    paper: str
    ours: str
    less: str
    verdict: str
    profile: str = ""

    def cells(self) -> list[str]:
        """Return the claim's row in the table of claims."""
        where = ", ".join(filter(None, (self.where, self.about)))
        what = f"{self.topic}: {self.what}" + (f", `{self.profile}`" if self.profile else "")
        return [what, where, self.paper, self.ours, self.less, self.verdict]


@dataclass(frozen=True)
class Answer:
    """What two points say: figures from baseline to SAST, their difference, and the verdict."""

    ours: str
    less: str
    verdict: str


def compared(sample: Sample | None, wanted: int) -> tuple[str, str]:
    """Return paired differences and the verdict on a claim of direction ``wanted`` (1 or -1); one pair of runs shows nothing."""
    if sample is None:
        return NONE, NOT_RUN
    side = direction(sample)
    if side is None:
        return f"{sample.mean:+.2f} (no interval)", ONE_SEED
    return difference(sample), {1: SHOWN, -1: OPPOSITE, 0: HOLDS_0}[side * wanted]


def answer(
    pair: tuple[Point, Point] | None, name: str, wanted: int, digits: int = 1, radii: Sequence[Point] = ()
) -> Answer:
    """Return what a baseline and a SAST point say of a figure.

    No verdict where training failed (see `_untold`), and none where another one of the ``radii`` shows the other direction.
    """
    theirs, ours = (None, None) if pair is None else (point.samples.get(name) for point in pair)
    less = None if theirs is None or ours is None else ours.paired_difference(theirs)
    text, verdict = compared(less, wanted)
    if pair is None or theirs is None or less is None:
        return Answer(NONE, text, verdict)
    if _untold(pair, name):
        return Answer(levels(theirs, less, digits), text, NOT_LEARNT)
    side = direction(less)
    against = [p for p in radii if side and direction(p.differences.get(name)) == -side]
    if against:
        text += "".join(f"; at rho {p.trial.rho:g} {difference(p.differences[name])}" for p in against)
        verdict = RADII
    return Answer(levels(theirs, less, digits), text, verdict)


def levels(theirs: Sample, less: Sample, digits: int) -> str:
    """Return ``baseline to SAST``, means of the seeds that both have."""
    base = _paired(theirs, less)
    return f"{base:,.{digits}f} to {base + less.mean:,.{digits}f}"


def _paired(theirs: Sample, less: Sample) -> float:
    values = [value for seed, value in zip(theirs.seeds, theirs.values) if seed in less.seeds]
    return sum(values) / len(values)


def _untold(pair: tuple[Point, Point], name: str) -> bool:
    """Return whether a pair has not learnt enough for a verdict: on accuracies one of the two has to, on all else both."""
    accuracy = name != GAP and name.endswith((HARD, "accuracy"))
    return not (any if accuracy and not name.startswith("near") else all)(learnt(point) for point in pair)


def programs(pair: tuple[Point, Point] | None, profile: str) -> tuple[Answer, Answer]:
    """Return what two points' programs say of accuracy and kSynOps, the latter with r_ops; beside both what the hardware refused."""
    accuracy = answer(pair, f"{profile} accuracy", 1)
    operations = answer(pair, f"{profile} kSynOps", -1)
    if pair is None:
        return accuracy, operations
    theirs, ours = (point.samples.get(f"{profile} kSynOps") for point in pair)
    less = None if theirs is None or ours is None else ours.paired_difference(theirs)
    if theirs is not None and less is not None and _paired(theirs, less) > 0:
        ratio = 1 + less.mean / _paired(theirs, less)
        operations = Answer(f"{operations.ours}, r_ops {ratio:.3f}", operations.less, operations.verdict)
    notes = "; ".join(
        f"refused by the hardware: {name} {len(point.refused[profile])} of {len(point.seeds)}"
        for name, point in zip(("baseline", "SAST"), pair) if profile in point.refused
    )  # fmt: skip
    if not notes:
        return accuracy, operations
    accuracy, operations = (
        Answer(NONE, notes, REFUSED)
        if less is None
        else Answer(each.ours, f"{each.less}; {notes}", each.verdict)
        for each in (accuracy, operations)
    )
    return accuracy, operations


def tighter(pair: tuple[Point, Point] | None, name: str, radii: Sequence[Point]) -> Answer:
    """Return `answer` on a figure of the contraction diagnostic; where its means differ in no shown decimal, nothing is shown."""
    found = answer(pair, name, -1, 3, radii)
    before, _, after = found.ours.partition(" to ")
    same = after == before and found.verdict in (SHOWN, OPPOSITE, HOLDS_0)
    return Answer(found.ours, found.less, EQUAL) if same else found


def below_one(points: Sequence[Point]) -> Answer:
    """Return the range of gamma-hat over an experiment's checkpoints, and the verdict on all of them being below 1."""
    gammas = [g for p in points if "gamma" in p.samples for g in p.samples["gamma"].values]
    if not gammas:
        return Answer(NONE, NONE, "not run")
    ends = sorted({f"{min(gammas):.3f}", f"{max(gammas):.3f}"})
    verdict = SHOWN if max(gammas) < 1 else OPPOSITE
    return Answer(f"{' to '.join(ends)} on {len(gammas)} checkpoints", NONE, verdict)
