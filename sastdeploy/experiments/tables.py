"""Markdown tables of an experiment's points: columns only where they say something."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sastdeploy.experiments.readings import KINDS
from sastdeploy.experiments.results import Point, Results, ends
from sastdeploy.statistics import Sample

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


def mean_of(name: str, header: str, digits: int = 2) -> Column:
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
    """Return the table of the float networks: smooth and hard spikes, the gap, and what training cost.

    Where points are chosen, `compute` has the cost.
    """
    paper = results.experiment.paper
    cost = (
        _plain("gradient evaluations", "gradient evaluations", ",.0f"),
        _plain("CPU seconds", "CPU seconds of training", ",.0f"),
    )
    return table(results.points, [
        Column("seeds", lambda point: str(len(point.seeds))),
        mean_of("surrogate", "smooth, %"), mean_of("hard", "hard, %"), mean_of("gap", "gap, points"),
        _less("hard", "hard less reference (95 %)"), _less("gap", "gap less reference (95 %)"),
        mean_of("validation hard", "validation hard, %"),
        Column("chosen", lambda point: NONE if point.chosen is None else "yes" if point.chosen else "no"),
        *(cost if results.experiment.select_by is None else ()),
        Column("paper: smooth, hard, gap", lambda point: ", ".join(f"{v:g}" for v in paper.get(point.label, [])) or NONE),
    ])  # fmt: skip


def compute(results: Results, paper: Mapping[str, tuple[float, float, float]]) -> str:
    """Return the table of what every candidate of a choice cost, and beside the chosen ones the paper's figures; empty without a choice.

    Args:
        paper: by method the paper's epochs, hard-spike accuracy in percent, and gap in points.
    """
    if results.experiment.select_by is None:
        return ""
    first = results.points[0]

    def theirs(point: Point) -> str:
        figures = paper.get(point.trial.method)
        return NONE if figures is None or not point.chosen else ", ".join(f"{value:g}" for value in figures)

    def over(name: str) -> Callable[[Point], str]:
        return lambda point: f"{point.samples[name].mean / first.samples[name].mean:.2f}"

    columns = [Column("chosen", lambda p: NONE if p.chosen is None else "yes" if p.chosen else "no")]
    for name, digits in (("gradient evaluations", 0), ("wall-clock seconds", 1), ("CPU seconds", 1)):
        columns += [mean_of(name, name, digits), Column(f"{name}, over the first row's", over(name))]
    columns.append(Column("paper: epochs, hard, gap", theirs))
    return table(results.points, columns)


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
            mean_of(f"{profile} kSynOps", f"{profile} kSynOps", 1), Column(f"{profile} r_ops", ratio),
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
        mean_of("tail", "tail: smooth output from below threshold, %"), mean_of("far tail", "from 0.5 and more below, %"),
        mean_of("silent", "silent neurons, %"), mean_of("never reaching", "never reaching the threshold, %"),
    ])  # fmt: skip


def margins(results: Results) -> str:
    """Return the table of the shares of membranes near their thresholds, over all and by layer; on validation recordings."""
    names = dict.fromkeys(name for point in results.points for name in point.samples)
    columns = []
    for spikes in ("hard", "smooth"):
        whole = f"near, {spikes}"
        columns.append(mean_of(whole, f"within ±0.2 of the threshold, {spikes} spikes, all layers, %"))
        columns += [
            mean_of(name, f"{spikes}, {name.removeprefix(f'{whole}, ')}, %")
            for name in names if name.startswith(f"{whole}, ")
        ]  # fmt: skip
        if spikes == "hard":
            columns.append(_less(whole, "hard, all layers, less reference (95 %)"))
    return table(results.points, columns)


def contraction(results: Results) -> str:
    """Return the table of the contraction diagnostic; on validation recordings."""
    return table(results.points, [
        mean_of("gamma", "gamma-hat (maximum)", 3), mean_of("gamma 50 %", "its median", 3), mean_of("gamma 99 %", "its 99 %", 3),
        _less("gamma 99 %", "its 99 % less reference (95 %)"), mean_of("gamma 99.9 %", "its 99.9 %", 3),
        mean_of("in band", "states where gamma < 1 allows none, %"),
    ])  # fmt: skip


def calibration(results: Results) -> str:
    """Return the table of what factors chosen on validation recordings give on test recordings, with hard spikes."""

    def factors(kind: str) -> Callable[[Point], str]:
        name = f"factor {kind}"
        return lambda p: ", ".join(f"{v:.3g}" for v in p.samples[name].values) if name in p.samples else NONE

    columns = [mean_of("hard", "as trained, %")]
    for kind in KINDS:
        text = kind.replace("_", " ")
        columns.append(mean_of(f"calibrated {kind}", f"{text} scaled, %"))
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
    columns = [mean_of(name, f"k = {name.split()[1]}, %") for name in ordered]
    return table(results.points, [*columns, mean_of("validation hard", "hard step, %")] if columns else [])


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
