"""An experiment's points as tables: Markdown for reading, and one CSV of every figure for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sastdeploy.experiments.readings import KINDS
from sastdeploy.experiments.results import Point, Results, ends
from sastdeploy.statistics import Sample

NONE = "-"


@dataclass(frozen=True)
class Table:
    """A titled table of text; ``rows`` are as long as ``header``."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Column:
    """A header and what stands under it for a point; ``-`` where a point has nothing there."""

    header: str
    cell: Callable[[Point], str]


def markdown(table: Table) -> str:
    """Return the table in Markdown, without its title."""
    lines = [table.header, ("---",) * len(table.header), *table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def spread(sample: Sample | None, digits: int = 2) -> str:
    """Return ``mean ± standard deviation``, the mean alone for one seed, ``-`` for None."""
    if sample is None:
        return NONE
    middle = f"{sample.mean:,.{digits}f}"
    return middle if sample.deviation is None else f"{middle} ± {sample.deviation:,.{digits}f}"


def difference(sample: Sample | None, digits: int = 2) -> str:
    """Return ``mean (low to high)`` of paired differences, 95 %; ``-`` with fewer than two pairs."""
    if sample is None or sample.interval is None:
        return NONE
    return signed(sample.mean, sample.interval, digits)


def signed(mean: float, interval: tuple[float, float], digits: int = 2) -> str:
    """Return ``mean (low to high)``, each with its sign; what rounds to 0 has a plus."""
    middle, low, high = (f"{round(value, digits) + 0.0:+.{digits}f}" for value in (mean, *interval))
    return f"{middle} ({low} to {high})"


def tables(results: Results) -> list[Table]:
    """Return every table that the experiment's records have something for, accuracy first."""
    made = (
        accuracy(results), compute(results), programs(results), activity(results), margins(results), contraction(results),
        bounds(results), calibration(results), slopes(results), *robustness(results), by_seed(results),
    )  # fmt: skip
    return [table for table in made if table is not None]


def csv_text(results: Results) -> str:
    """Return every figure of every point as CSV: one line per point and figure, six significant digits.

    Empty cells: no deviation or interval for one seed, no difference for a reference.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([
        "point", "chosen", "figure", "seeds", "mean", "deviation", "low", "high", "reference", "pairs", "difference",
        "difference low", "difference high",
    ])  # fmt: skip
    for point in results.points:
        chosen = "" if point.chosen is None else "yes" if point.chosen else "no"
        for name, sample in point.samples.items():
            paired = point.differences.get(name)
            pairs = "" if paired is None else str(len(paired.seeds))
            writer.writerow([
                point.label, chosen, name, len(sample.seeds), *_numbers(sample, deviation=True), point.reference or "", pairs, *_numbers(paired)
            ])  # fmt: skip
    return text.getvalue()


def _numbers(sample: Sample | None, deviation: bool = False) -> list[str]:
    """Return mean, deviation where asked for, and the interval's ends, empty where there is none."""
    if sample is None:
        return [""] * (4 if deviation else 3)
    middle = [sample.mean, sample.deviation] if deviation else [sample.mean]
    return [
        "" if value is None else f"{value:.6g}" for value in [*middle, *(sample.interval or (None, None))]
    ]


def _table(title: str, points: Sequence[Point], columns: Sequence[Column]) -> Table | None:
    """Return the points' rows under the columns in which some point has something; None if none has."""
    points = [point for point in points if any(column.cell(point) != NONE for column in columns)]
    shown = [column for column in columns if any(column.cell(point) != NONE for point in points)]
    if not shown:
        return None
    rows = tuple((point.label, *(column.cell(point) for column in shown)) for point in points)
    return Table(title, ("point", *(column.header for column in shown)), rows)


def _mean(name: str, header: str, digits: int = 2) -> Column:
    return Column(header, lambda point: spread(point.samples.get(name), digits))


def _plain(name: str, header: str, form: str) -> Column:
    return Column(
        header, lambda point: format(point.samples[name].mean, form) if name in point.samples else NONE
    )


def _difference(name: str, header: str) -> Column:
    return Column(header, lambda point: difference(point.differences.get(name)))


def _own(name: str, header: str) -> Column:
    """Return the column of a sample that is a difference within each trial."""
    return Column(header, lambda point: difference(point.samples.get(name)))


def _ratio(name: str, header: str, digits: int = 2) -> Column:
    return Column(header, lambda point: f"{point.ratios[name]:.{digits}f}" if name in point.ratios else NONE)


CHOSEN = Column("chosen", lambda point: NONE if point.chosen is None else "yes" if point.chosen else "no")


def accuracy(results: Results) -> Table | None:
    """Return the float networks: surrogate and hard spikes, the gap, and what training took."""
    published = results.experiment.published
    cost = (
        _plain("gradient evaluations", "gradient evaluations", ",.0f"),
        _plain("CPU seconds", "CPU seconds of training", ",.0f"),
    )
    return _table("Accuracy", results.points, [
        Column("seeds", lambda point: str(len(point.seeds))),
        _mean("surrogate", "surrogate, %"), _mean("hard", "hard, %"), _mean("gap", "gap, points"),
        _difference("hard", "hard less reference (95 %)"), _difference("gap", "gap less reference (95 %)"),
        _mean("validation hard", "validation hard, %"), CHOSEN,
        *(cost if results.experiment.select_by is None else ()),
        Column("published", lambda point: ", ".join(f"{v:g}" for v in published.get(point.label, [])) or NONE),
    ])  # fmt: skip


def compute(results: Results) -> Table | None:
    """Return what training every candidate of a choice took; None without a choice."""
    if results.experiment.select_by is None:
        return None
    columns = [CHOSEN]
    for name, digits in (("gradient evaluations", 0), ("wall-clock seconds", 1), ("CPU seconds", 1)):
        columns += [_mean(name, name, digits), _ratio(name, f"{name}, over the reference's")]
    return _table("Compute of every candidate (training alone)", results.points, columns)


def programs(results: Results) -> Table | None:
    """Return the integer programs: accuracy, kSynOps, r_ops to the reference, the architecture's maximum."""
    columns = []
    for profile in results.experiment.trials[0].profiles:

        def figure(point: Point, profile: str = profile) -> str:
            refused = len(point.refused.get(profile, ()))
            text = spread(point.samples.get(f"{profile} accuracy"))
            if not refused:
                return text
            note = f"refused ({refused} of {len(point.seeds)})"
            return note if text == NONE else f"{text}; {note}"

        columns += [
            Column(f"{profile}, %", figure), _difference(f"{profile} accuracy", f"{profile} less reference (95 %)"),
            _own(f"{profile} less hard", f"{profile} less float hard (95 %)"),
            _mean(f"{profile} kSynOps", f"{profile} kSynOps", 1), _ratio(f"{profile} kSynOps", f"{profile} r_ops", 3),
            _plain(f"{profile} maximum", f"{profile} architecture's maximum kSynOps", ",.0f"),
            _mean(f"{profile} overflows", f"{profile} membrane updates outside the format, %", 4),
        ]  # fmt: skip
    return _table("Integer programs", results.points, columns)


def activity(results: Results) -> Table | None:
    """Return spike rates, the surrogate's tail, and silent neurons."""
    layers = tuple(name.split(", ", 1)[1] for name in _names(results) if name.startswith("surrogate rate, "))

    def by_layer(kind: str) -> Column:
        def cell(point: Point) -> str:
            names = [f"{kind}, {layer}" for layer in layers]
            return " / ".join(f"{point.samples[n].mean:.1f}" for n in names if n in point.samples) or NONE

        return Column(f"{kind} by layer, %", cell)

    return _table("Spike rates and the surrogate's tail (validation recordings)", results.points, [
        by_layer("surrogate rate"), by_layer("hard rate"),
        _mean("tail", "tail: surrogate output from below threshold, %"), _mean("far tail", "from 0.5 and more below, %"),
        _mean("silent", "silent neurons, %"), _mean("never reaching", "never reaching the threshold, %"),
    ])  # fmt: skip


def margins(results: Results) -> Table | None:
    """Return the shares of membranes near their thresholds, over all and by layer."""
    columns = []
    for spikes in ("hard", "surrogate"):
        whole = f"near, {spikes}"
        columns.append(_mean(whole, f"within ±0.2 of the threshold, {spikes} spikes, all layers, %"))
        columns += [
            _mean(name, f"{spikes}, {name.removeprefix(f'{whole}, ')}, %")
            for name in _names(results) if name.startswith(f"{whole}, ")
        ]  # fmt: skip
        columns.append(_difference(whole, f"{spikes}, all layers, less reference (95 %)"))
    return _table("Margins (validation recordings)", results.points, columns)


def contraction(results: Results) -> Table | None:
    """Return the contraction diagnostic."""
    return _table("Contraction (validation recordings)", results.points, [
        _mean("gamma", "gamma-hat (maximum)", 3), _mean("gamma 50 %", "its median", 3), _mean("gamma 99 %", "its 99 %", 3),
        _difference("gamma 99 %", "its 99 % less reference (95 %)"), _mean("gamma 99.9 %", "its 99.9 %", 3),
        _mean("in band", "states where gamma < 1 allows none, %"),
    ])  # fmt: skip


def bounds(results: Results) -> Table | None:
    """Return the theory's bounds beside the largest values that were measured, as logarithms to base 10.

    A bound whose logarithm over its range or gradient is 0 or more says nothing (it is vacuous).
    """
    return _table("Bounds beside measured values (validation recordings)", results.points, [
        Column("seeds", lambda p: str(len(p.samples["bound gamma"].seeds)) if "bound gamma" in p.samples else NONE),
        _mean("bound gamma", "gamma used", 3),
        _mean("state bound factor", "state bound / largest visited (layer with the largest factor)"),
        _mean("log L_x", "log10 of L_x (local)"), _mean("log change", "log10 of the largest change found"),
        _mean("log L_x over change", "log10 of their ratio"), _mean("log L_x over range", "log10 of L_x for one event / range of the scores"),
        _mean("log beta", "log10 of beta (lower bound)"),
        _mean("log floor over gradient", "log10 of the convergence floor / squared gradient norm, own rho"),
        _mean("log default floor over gradient", "the same, the data set's default rho"),
        _mean("log learning rate over largest", "log10 of the learning rate / the largest that convergence allows"),
    ])  # fmt: skip


def calibration(results: Results) -> Table | None:
    """Return what factors chosen on validation recordings give on test recordings, with hard spikes."""

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
        _own("recovered", "chosen on validation less as trained (95 %)"),
        _own("left", "gap left (95 %)"),
    ]
    points = [point for point in results.points if "calibrated" in point.samples]
    return _table("Thresholds or input scaled after training (hard spikes, test recordings)", points, columns)


def slopes(results: Results) -> Table | None:
    """Return surrogate spikes at other slopes than the trained one."""
    ordered = sorted(
        (n for n in _names(results) if n.startswith("slope ")), key=lambda n: float(n.split()[1])
    )
    if not ordered:
        return None
    columns = [_mean(name, f"k = {name.split()[1]}, %") for name in ordered]
    return _table(
        "Surrogate spikes at other slopes k, weights unchanged (validation recordings)", results.points,
        [*columns, _mean("validation hard", "hard step, %")],
    )  # fmt: skip


def robustness(results: Results) -> list[Table]:
    """Return a grid of corruption and precision for each point that `ends` names, or every point where it names none.

    One row per corruption; for a point with a reference also the difference of hard spikes to it.
    """
    grids = []
    for point in ends(results) or results.points:
        rows = tuple(name.removesuffix(", hard") for name in point.samples if _corrupted(name))
        nets = [n for n in ("surrogate", "hard", *point.trial.profiles) if f"clean, {n}" in point.samples]
        if not rows:
            continue
        header = ("corruption", *(f"{net}, %" for net in nets), "hard less reference (95 %)")
        cells = tuple(
            (
                row,
                *(spread(point.samples.get(f"{row}, {net}")) for net in nets),
                difference(point.differences.get(f"{row}, hard")),
            )
            for row in rows
        )
        grids.append(Table(f"Corrupted test recordings: {point.label}", header, cells))
    return grids


def _corrupted(name: str) -> bool:
    return name.endswith(", hard") and (name.startswith("clean") or ":" in name)


def by_seed(results: Results) -> Table:
    """Return hard-spike accuracy and gap of every seed; of validation recordings where no test recording was read."""
    rows = []
    for point in results.points:
        tested = "hard" in point.samples
        names = ("hard", "gap") if tested else ("validation hard",)
        for name in names:
            sample = point.samples[name]
            values = dict(zip(sample.seeds, sample.values))
            rows.append(
                (point.label, name, *(f"{values[s]:.2f}" if s in values else NONE for s in _seeds(results)))
            )
    return Table("By seed", ("point", "figure", *(f"seed {seed}" for seed in _seeds(results))), tuple(rows))


def _seeds(results: Results) -> list[int]:
    return sorted({seed for point in results.points for seed in point.seeds})


def _names(results: Results) -> list[str]:
    """Return the names of all figures, in the order in which points have them."""
    return list(dict.fromkeys(name for point in results.points for name in point.samples))
