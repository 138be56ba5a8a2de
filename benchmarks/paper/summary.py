"""The page's first lines: the claims by verdict, with our figures and the paper's."""

from __future__ import annotations

from claims import Claims
from verdicts import EQUAL, HOLDS_0, NOT_LEARNT, NOT_RUN, ONE_SEED, OPPOSITE, RADII, REFUSED, SHOWN, Claim

from sastdeploy.experiments.tables import NONE

KINDS: dict[str, tuple[str, ...]] = {
    "Holds here: the same direction is shown": (SHOWN,),
    "Does not hold here: the opposite is shown": (OPPOSITE,),
    "Not shown, the interval holds 0": (HOLDS_0,),
    "Not shown, equal to three decimals": (EQUAL,),
    "Not shown, one seed": (ONE_SEED,),
    "Not shown, a network has not learnt": (NOT_LEARNT,),
    "Not shown, radii differ": (RADII,),
    "Not shown, refused by the hardware": (REFUSED,),
    "Measured, without an interval": ("no increase", "increased", "within", "below", "above", "partly"),
    "Not run": (NOT_RUN, "not run"),
}
"""Of verdicts, by how they begin."""
LEGEND = (
    "A line names an experiment of this page (its data, network, SAST's radius, and SAST's gradients against the baseline's), then what the paper says "
    "that SAST does; in brackets the means from baseline to SAST, here and in the paper: accuracies and shares in percent, gaps "
    "in points.\n\n"
)
BARE = ("Not shown, a network has not learnt", "Not run")
"""Kinds whose figures say nothing."""


def summary(found: Claims) -> str:
    """Return the claims by kind of verdict, those of one experiment and its points in one line, and what was not tested."""
    parts, told = [LEGEND], 0
    for kind, verdicts in KINDS.items():
        claims = [claim for claim in found.rows if claim.verdict.startswith(verdicts)]
        told += len(claims)
        if claims:
            parts.append(f"- **{kind}**\n")
            parts += [f"  - {line}.\n" for line in _lines(claims, bare=kind in BARE)]
    if told != len(found.rows):
        raise ValueError(f"verdicts of no kind among {[claim.verdict for claim in found.rows]}")
    if found.untested:
        parts.append("- **Not tested, and why**\n")
        parts += [f"  - {said}\n" for said in found.untested]
    return "".join(parts)


def _lines(claims: list[Claim], bare: bool) -> list[str]:
    """Return one line per experiment, and one per claim that is on no pair of points; ``bare``: without figures."""
    pairs: dict[str, dict[str, dict[str, list[str]]]] = {}
    alone: dict[str, list[str]] = {}
    for claim in claims:
        told = not bare and claim.ours != NONE
        if claim.about:
            profile = f"`{claim.profile}` " if claim.profile else ""
            figures = f"{profile}{claim.ours}; paper: {claim.paper}" if told else profile.strip()
            whats = pairs.setdefault(f"{claim.where} ({claim.about})", {}).setdefault(claim.topic, {})
            whats.setdefault(claim.what, []).append(figures)
        else:
            said = f"{claim.where} {claim.ours}" if told else claim.where
            key = claim.topic if bare else f"{claim.topic}: {claim.what} (paper: {claim.paper})"
            if said not in alone.setdefault(key, []):
                alone[key].append(said)
    lines = [f"{what}. {'; '.join(said)}" for what, said in alone.items()]
    for experiment, topics in pairs.items():
        said = [
            f"{topic}: {', '.join(what + _brackets(figures) for what, figures in whats.items())}"
            for topic, whats in topics.items()
        ]
        lines.append(f"{experiment}. {'; '.join(said)}")
    return lines


def _brackets(figures: list[str]) -> str:
    inner = "; ".join(filter(None, figures))
    return f" ({inner})" if inner else ""
