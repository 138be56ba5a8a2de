"""Markdown tables of an experiment's points: columns only where they say something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sastdeploy.samples import Sample
from sastdeploy.sweeps.points import Point, Results, ends
from sastdeploy.sweeps.readings import KINDS

NONE = "-"


@dataclass(frozen=True)
class Column:
    """A header and what stands under it for a point; ``-`` where a point has nothing to say."""

    header: str
    cell: Callable[[Point], str]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(header), ["---"] * len(header), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def table(points: Sequence[Point], columns: Sequence[Column]) -> str:
    """Return the points' rows under the columns that say something; empty if none does.

    A column in which no point has anything is left out, and a point without anything. A column in which all of several
    points say the same goes into a sentence above the table.
    """
    points = [point for point in points if any(column.cell(point) != NONE for column in columns)]
    cells = {column.header: [column.cell(point) for point in points] for column in columns}
    said = {header: column for header, column in cells.items() if set(column) != {NONE}}
    if not points or not said:
        return ""
    same = {h: c[0] for h, c in said.items() if len(points) > 1 and len(set(c)) == 1 and h != "seeds"}
    shown = {header: column for header, column in said.items() if header not in same}
    if set(shown) <= {"seeds"}:
        shown, same = said, {}
    sentence = f"The same in every row: {'; '.join(f'{h} {c}' for h, c in same.items())}.\n\n" if same else ""
    rows = [[point.label, *(column[i] for column in shown.values())] for i, point in enumerate(points)]
    return sentence + markdown(["", *shown], rows)


def spread(sample: Sample | None, digits: int = 2) -> str:
    """Return ``mean ± standard deviation``, the mean alone for one seed."""
    if sample is None:
        return NONE
    middle = f"{sample.mean:,.{digits}f}"
    return middle if sample.deviation is None else f"{middle} ± {sample.deviation:,.{digits}f}"


def difference(sample: Sample | None) -> str:
    """Return ``mean (low to high)`` of paired differences, 95 %; ``-`` with fewer than two pairs."""
    if sample is None or sample.interval is None:
        return NONE
    low, high = sample.interval
    return f"{sample.mean:+.2f} ({low:+.2f} to {high:+.2f})"


def _mean(name: str, header: str, digits: int = 2) -> Column:
    return Column(header, lambda point: spread(point.samples.get(name), digits))


def _plain(name: str, header: str, form: str) -> Column:
    return Column(
        header, lambda point: format(point.samples[name].mean, form) if name in point.samples else NONE
    )


def _less(name: str, header: str) -> Column:
    return Column(header, lambda point: difference(point.differences.get(name)))


def _own(name: str) -> Callable[[Point], str]:
    """Return the cell of a sample that is a difference within each trial."""
    return lambda point: difference(point.samples.get(name))


def accuracy(results: Results) -> str:
    """Return the table of the float networks: smooth and hard spikes, the gap, and what training cost."""
    paper = results.experiment.paper
    return table(results.points, [
        Column("seeds", lambda point: str(len(point.seeds))),
        _mean("surrogate", "smooth, %"), _mean("hard", "hard, %"), _mean("gap", "gap, points"),
        _less("hard", "hard less reference (95 %)"), _less("gap", "gap less reference (95 %)"),
        _mean("validation hard", "validation hard, %"),
        Column("chosen", lambda point: NONE if point.chosen is None else "yes" if point.chosen else "no"),
        _plain("gradient evaluations", "gradient evaluations", ",.0f"), _plain("CPU minutes", "CPU minutes", ".1f"),
        Column("paper: smooth, hard, gap", lambda point: ", ".join(f"{v:g}" for v in paper.get(point.label, [])) or NONE),
    ])  # fmt: skip


def programs(results: Results) -> str:
    """Return the table of the integer programs: accuracy, kSynOps, r_ops to the reference, the architecture's maximum."""
    by_label = {point.label: point for point in results.points}
    columns = []
    for profile in results.experiment.trials[0].profiles:

        def figure(point: Point, profile: str = profile) -> str:
            refused = len(point.refused.get(profile, ()))
            text = spread(point.samples.get(f"{profile} accuracy"))
            if not refused:
                return text
            note = f"refused ({refused} of {len(point.seeds)})"
            return note if text == NONE else f"{text}; {note}"

        def ratio(point: Point, profile: str = profile) -> str:
            other = by_label.get(point.reference or "")
            name = f"{profile} kSynOps"
            if other is None or name not in point.samples or name not in other.samples:
                return NONE
            return f"{point.samples[name].mean / other.samples[name].mean:.3f}"

        columns += [
            Column(f"{profile}, %", figure), _less(f"{profile} accuracy", f"{profile} less reference (95 %)"),
            Column(f"{profile} less float hard (95 %)", _own(f"{profile} less hard")),
            _mean(f"{profile} kSynOps", f"{profile} kSynOps", 1), Column(f"{profile} r_ops", ratio),
            _plain(f"{profile} maximum", f"{profile} architecture's maximum kSynOps", ",.0f"),
        ]  # fmt: skip
    return table(results.points, columns)


def activity(results: Results) -> str:
    """Return the table of spike rates, the surrogate's tail, and silent neurons; on validation recordings."""
    names = dict.fromkeys(name for point in results.points for name in point.samples)
    layers = tuple(name.split(", ", 1)[1] for name in names if name.startswith("smooth rate, "))

    def by_layer(kind: str) -> Callable[[Point], str]:
        def cell(point: Point) -> str:
            found = [
                point.samples[f"{kind}, {layer}"] for layer in layers if f"{kind}, {layer}" in point.samples
            ]
            return " / ".join(f"{sample.mean:.1f}" for sample in found) or NONE

        return cell  # fmt: skip

    return table(results.points, [
        Column("smooth rate by layer, %", by_layer("smooth rate")), Column("hard rate by layer, %", by_layer("hard rate")),
        _mean("tail", "tail: smooth output from below threshold, %"), _mean("far tail", "from 0.5 and more below, %"),
        _mean("silent", "silent neurons, %"), _mean("never reaching", "never reaching the threshold, %"),
    ])  # fmt: skip


def states(results: Results) -> str:
    """Return the table of margins and of the contraction diagnostic; on validation recordings."""
    return table(results.points, [
        _mean("near, hard", "within ±0.2 of the threshold, hard, %"), _mean("near, smooth", "the same, smooth, %"),
        _mean("gamma", "gamma-hat (maximum)", 3), _mean("gamma 50 %", "its median", 3), _mean("gamma 99 %", "its 99 %", 3),
        _mean("gamma 99.9 %", "its 99.9 %", 3), _mean("in band", "states where gamma < 1 allows none, %"),
    ])  # fmt: skip


def bounds(results: Results) -> str:
    """Return the table of section 4's bounds beside what is found, and a sentence for each; on validation recordings."""
    found = table(results.points, [
        Column("seeds", lambda p: str(len(p.samples["bound gamma"].seeds)) if "bound gamma" in p.samples else NONE),
        _mean("bound gamma", "gamma used", 3),
        _mean("state bound factor", "state bound / largest visited (layer with the largest factor)"),
        _mean("log L_x", "log10 of L_x (local)"), _mean("log change", "log10 of the largest change found"),
        _mean("log L_x over change", "log10 of their ratio"), _mean("log L_x over range", "log10 of L_x for one event / range of the scores"),
        _mean("log beta", "log10 of beta (lower bound)"),
        _mean("log floor over gradient", "log10 of equation (3)'s floor / squared gradient norm, own rho"),
        _mean("log paper floor over gradient", "the same, the paper's rho"),
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


def calibration(results: Results) -> str:
    """Return the table of what factors chosen on validation recordings give on test recordings, with hard spikes."""

    def factors(kind: str) -> Callable[[Point], str]:
        name = f"factor {kind}"
        return lambda p: ", ".join(f"{v:.3g}" for v in p.samples[name].values) if name in p.samples else NONE

    columns = [_mean("hard", "as trained, %")]
    for kind in KINDS:
        text = kind.replace("_", " ")
        columns.append(_mean(f"calibrated {kind}", f"{text} scaled, %"))
        if kind != "threshold_by_layer":
            columns.append(Column(f"{text} factors, by seed", factors(kind)))
    columns += [
        Column("chosen on validation less as trained (95 %)", _own("recovered")),
        Column("gap left (95 %)", _own("left")),
    ]  # fmt: skip
    return table([p for p in results.points if "calibrated" in p.samples], columns)


def slopes(results: Results) -> str:
    """Return the table of smooth spikes at other slopes than the trained one; on validation recordings."""
    names = dict.fromkeys(n for p in results.points for n in p.samples if n.startswith("slope "))
    ordered = sorted(names, key=lambda name: float(name.split()[1]))
    columns = [_mean(name, f"k = {name.split()[1]}, %") for name in ordered]
    return table(results.points, [*columns, _mean("validation hard", "hard step, %")] if columns else [])


def robustness(results: Results) -> str:
    """Return the grid of corruption and precision of the points that `ends` names, of the first one where it names none.

    One row per corruption; for a point with a reference also the difference of hard spikes to it.
    """
    parts = []
    for point in ends(results) or results.points[:1]:
        found = [row["corruption"] for r in point.raw for row in r.get("measures", {}).get("robustness", [])]
        nets = [n for n in ("surrogate", "hard", *point.trial.profiles) if f"clean, {n}" in point.samples]
        columns = [f"{'smooth' if net == 'surrogate' else net}, %" for net in nets]
        cells = [
            [row, *(spread(point.samples.get(f"{row}, {net}")) for net in nets)]
            for row in dict.fromkeys(found)
        ]
        if any(f"{row}, hard" in point.differences for row in found):
            columns.append("hard less reference (95 %)")
            cells = [[*line, difference(point.differences.get(f"{line[0]}, hard"))] for line in cells]
        if cells:
            parts.append(f"{point.label}:\n\n" + markdown(["corruption", *columns], cells))
    return "\n".join(parts)
