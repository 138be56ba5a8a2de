"""The Markdown table of section 4's bounds beside what is found, and whether each says anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sastdeploy.experiments.results import Results
from sastdeploy.experiments.tables import NONE, Column, mean_of, table


def bounds(results: Results) -> str:
    """Return the table of section 4's bounds beside what is found, and a sentence for each; on validation recordings."""
    found = table(results.points, [
        Column("seeds", lambda p: str(len(p.samples["bound gamma"].seeds)) if "bound gamma" in p.samples else NONE),
        mean_of("bound gamma", "gamma used", 3),
        mean_of("state bound factor", "state bound / largest visited (layer with the largest factor)"),
        mean_of("log L_x", "log10 of L_x (local)"), mean_of("log change", "log10 of the largest change found"),
        mean_of("log L_x over change", "log10 of their ratio"), mean_of("log L_x over range", "log10 of L_x for one event / range of the scores"),
        mean_of("log beta", "log10 of beta (lower bound)"),
        mean_of("log floor over gradient", "log10 of equation (3)'s floor / squared gradient norm, own rho"),
        mean_of("log paper floor over gradient", "the same, the paper's rho"),
    ])  # fmt: skip
    measured = [
        record["measures"]["bounds"]
        for point in results.points for record in point.raw if "bounds" in record.get("measures", {})
    ]  # fmt: skip
    factors = [v for p in results.points if (s := p.samples.get("state bound factor")) for v in s.values]
    said = "".join(f"- {sentence}\n" for sentence in _verdicts(measured, factors))
    return f"{found}\n{said}" if measured else ""


def _verdicts(measured: Sequence[dict[str, Any]], factors: Sequence[float]) -> list[str]:
    """Return for each bound in how many trials it is vacuous and by which factor, as the measure itself defines vacuous."""
    lipschitz, convergence = (
        [measure[part] for measure in measured] for part in ("lipschitz", "convergence")
    )
    of = f"of {len(measured)} trials"
    held = sum(each["local"]["assumption_holds"] for each in lipschitz)
    over = [each["log10_one_event_over_diameter"] for each in lipschitz]
    vacuous = [value for value in over if value is not None and value >= 0]
    apart = [v for each in lipschitz if (v := each["log10_bound_over_found"]) is not None]
    fast = sum(
        each["largest_learning_rate"] is not None and each["learning_rate"] > each["largest_learning_rate"]
        for each in convergence
    )
    told = [
        "State bound (holds without gamma < 1, so never vacuous): "
        + (f"{_ends(factors)} times the largest visited norm." if factors else "nothing to compare with.")
        + (f" In {len(measured) - len(factors)} {of} no membrane moved." if len(factors) < len(measured) else ""),
        f"L_x: gamma < 1, which the theorem assumes, holds in {held} {of}; elsewhere L_x is the finite sum. Vacuous in {len(vacuous)} {of}"
        + (f": for one event it allows {_powers(vacuous)} times the whole range of the scores." if vacuous else ".")
        + (f" It is {_powers(apart)} times the largest change found." if apart else "")
        + (f" In {len(measured) - len(apart)} {of} no change of the scores was found." if len(apart) < len(measured) else ""),
    ]  # fmt: skip
    for name, key in (("own rho", "floor"), ("the paper's rho", "floor_at_paper_rho")):
        ratios = [each[f"{key}_over_squared_gradient"] for each in convergence]
        large = [ratio for ratio in ratios if ratio is not None and ratio >= 1]
        unknown = sum(ratio is None for ratio in ratios)
        told.append(
            f"Equation (3)'s floor, {name}, from a lower bound of beta: vacuous in {len(large)} {of}"
            + (f", {_ends(large)} times the largest squared gradient measured." if large else ".")
            + (f" In {unknown} {of} there is no gradient to compare with." if unknown else "")
        )
    return [
        *told,
        f"eta <= 1 / (4 beta), which equation (3) assumes, fails in {fast} {of}; the trainings used Adam, not plain gradient steps.",
    ]


def _ends(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def _powers(logarithms: Sequence[float]) -> str:
    low, high = f"10^{min(logarithms):.1f}", f"10^{max(logarithms):.1f}"
    return low if low == high else f"{low} to {high}"
