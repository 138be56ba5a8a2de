"""Which figures an experiment's points give, and what each shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sastdeploy.experiments.results import Point, Results, ends
from sastdeploy.experiments.spec import LINE, label, varied
from sastdeploy.report.curve_figures import Learning, learning_curves
from sastdeploy.report.figures import BASELINE, SAST, Bar, accuracy_bars, margin_histograms
from sastdeploy.report.sample_figures import Curve, Level, Panel, Row, curves, dots, grid
from sastdeploy.statistics import Sample

METHODS = {"baseline": BASELINE, "sast": SAST, "asam": "#009e73", "random": "#cc79a7"}
NETS = ("#cc79a7", "black", "#d55e00", "#009e73")
"""Surrogate spikes, hard spikes, integer programs."""
RADII = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of SAST's radii in one figure, ascending."""
LONGER = ("#d55e00", "#f0e442")
"""Of trainings without a radius in one figure, those of more epochs, ascending."""
OTHER = "#d55e00"
"""Of points that change something else than the method."""
PANELS = 4
"""Points of one figure of corruption, beyond which it shows hard spikes alone."""
SCALES = 3
"""Input scales from which on a line is drawn over them."""


@dataclass(frozen=True)
class Picture:
    """One figure that was written, and its caption."""

    file: str
    caption: str


def draw(results: Results, folder: Path) -> tuple[Picture, ...]:
    """Write the figures that the experiment's points give as ``folder/NAME-KIND.svg``; those without data are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds: dict[str, Callable[[Results, Path], str]] = {
        "scale": _scale, "points": _points, "margins": _margins, "bars": _bars, "robustness": _robustness, "learning": _learning,
    }  # fmt: skip
    drawn = []
    for kind, drawer in kinds.items():
        path = folder / f"{results.experiment.name}-{kind}.svg"
        caption = drawer(results, path)
        if caption:
            drawn.append(Picture(path.name, caption))
    return tuple(drawn)


def embed(drawn: Sequence[Picture], folder: Path, page: Path) -> str:
    """Return the Markdown that shows pictures of ``folder`` on a page, by relative links."""
    place = Path(os.path.relpath(folder, page.parent)).as_posix()
    return "\n".join(f"![{p.caption}]({place}/{p.file})\n\n{p.caption}\n" for p in drawn)


def seeds(points: Sequence[Point], key: str | None = None) -> str:
    """Return how many seeds the points have, or have the figure ``key`` of: ``n = 3`` or ``n = 2 to 3``."""
    counts = sorted({len(p.seeds if key is None else p.samples[key].seeds) for p in points})
    return f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"


def over_scale(results: Results) -> dict[str, list[Point]]:
    """Return by what else is varied the tested points at ascending divisor_factor, where there are `SCALES` or more."""
    lines: dict[str, list[Point]] = {}
    for point in results.points:
        if "gap" in point.samples:
            lines.setdefault(label(point.trial, LINE).removeprefix("method "), []).append(point)
    return {
        name: sorted(points, key=lambda point: point.trial.divisor_factor)
        for name, points in lines.items() if len({p.trial.divisor_factor for p in points}) >= SCALES
    }  # fmt: skip


def is_over_scale(results: Results) -> bool:
    """Return whether the experiment varies the input's scale, at `SCALES` values or more, and nothing but the method."""
    trials = [group[0] for group in results.experiment.groups]
    scales = {trial.divisor_factor for trial in trials}
    return len(scales) >= SCALES and len({(t.method, t.rho, t.divisor_factor) for t in trials}) == len(trials)


def _scale(results: Results, path: Path) -> str:
    lines = over_scale(results)
    if not is_over_scale(results) or not lines:
        return ""
    profiles = results.experiment.trials[0].profiles
    nets = {"surrogate spikes": "surrogate", "hard spikes": "hard", **{p: f"{p} accuracy" for p in profiles}}
    published = {
        name: figures for name in lines if (figures := results.experiment.published.get(f"method {name}"))
    }
    panels = [
        Panel(name, "test accuracy (%)", tuple(
            curve for (text, key), colour in zip(nets.items(), NETS)
            if (curve := _curve(points, text, key, colour, "-" if key in ("surrogate", "hard") else "--"))
        ), tuple(Level(f"published, {text}", colour, value) for text, colour, value in zip(nets, NETS, published.get(name, ())[:2])))
        for name, points in lines.items()
    ]  # fmt: skip
    gaps = [
        _curve(points, name, "gap", METHODS[points[0].trial.method], "-") for name, points in lines.items()
    ]
    levels = tuple(
        Level(f"published, {name}", METHODS[lines[name][0].trial.method], figures[2])
        for name, figures in published.items()
        if len(figures) > 2
    )
    panels.append(
        Panel("gap: surrogate less hard", "gap (points)", tuple(curve for curve in gaps if curve), levels)
    )
    drawn = [point for points in lines.values() for point in points]
    ticks = {
        p.trial.divisor_factor: f"1/{p.trial.divisor_factor:g}" if p.trial.divisor_factor != 1 else "1"
        for p in drawn
    }
    title = f"{results.experiment.title}\n{seeds(drawn)} seeds (dots), lines through means (side by side), bars: 95 % intervals of the mean"
    curves(panels, path, title, "largest frame value", ticks)
    return "Accuracy and gap against the input's scale."  # fmt: skip


def _curve(points: Sequence[Point], name: str, key: str, colour: str, style: str) -> Curve | None:
    having = [point for point in points if key in point.samples]
    if not having:
        return None
    places = tuple(point.trial.divisor_factor for point in having)
    return Curve(name, colour, style, places, tuple(point.samples[key] for point in having))


def _points(results: Results, path: Path) -> str:
    tested = [point for point in results.points if "hard" in point.samples]
    if is_over_scale(results) or len(tested) < 2:
        return ""
    within = results.experiment.compare_within
    tested.sort(key=lambda p: ([getattr(p.trial, name) for name in within], -p.samples["hard"].mean))
    rows = [
        Row(_name(p, results), _colour(p, results), (p.samples["hard"], p.samples["gap"]))
        for p in tested
    ]  # fmt: skip
    title = f"{results.experiment.title}\n{seeds(tested)} seeds (dots), circles: means, bars: 95 % intervals (arrow: cut)"
    dots(rows, ("hard-spike test accuracy (%)", "gap (points)"), path, title)
    return (
        "Hard-spike accuracy and gap of every point, sorted by accuracy among points with the same reference."
    )


def _colour(point: Point, results: Results) -> str:
    first = next(p for p in results.points if p.trial.method == point.trial.method).trial
    same = (
        "forward",
        "slope",
        "slope_end",
        "weight_decay",
        "init",
        "init_scale",
        "quantize_bits",
        "alpha",
        "threshold",
        "time_bins",
        "window",
        "binning",
        "events_per_bin",
        "clip",
        "kernels",
        "arch",
    )
    changed = any(getattr(point.trial, name) != getattr(first, name) for name in same)
    return OTHER if changed else METHODS[point.trial.method]


def _name(point: Point, results: Results) -> str:
    """Return a point's label; a divisor_factor of 1 is said where other points have a larger one."""
    name = point.label.removeprefix("method ")
    others = any(p.trial.divisor_factor != 1 for p in results.points)
    return f"{name}, divisor_factor 1" if others and point.trial.divisor_factor == 1 else name


def _margins(results: Results, path: Path) -> str:
    pair = ends(results)
    if pair is None or any("near, hard" not in point.samples for point in pair):
        return ""
    panels: dict[str, dict[str, dict[str, Any]]] = {}
    for point in pair:
        parts = [r["measures"]["margins"]["hard"] for r in point.raw if "margins" in r.get("measures", {})]
        name = f"{point.label.removeprefix('method ')} (n = {len(parts)})"
        panels.setdefault("all layers", {})[name] = _pooled(parts, [part["overall"] for part in parts])
        for number, layer in enumerate(parts[0]["layers"]):
            layers = [part["layers"][number] for part in parts]
            panels.setdefault(layer["name"], {})[name] = _pooled(parts, layers)
    title = "Hard spikes, same weights: how far membranes are from their thresholds\n(all neurons, steps and validation recordings measured; seeds pooled)"
    margin_histograms(panels, path, title)
    return "Membrane margins of the baseline and of the SAST radius chosen on validation, over all layers and by layer."


def _pooled(parts: list[dict[str, Any]], overall: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the margins of several networks, or of one layer of each, as one: counts added, shares weighted by states."""
    states = sum(one["states"] for one in overall)
    histograms = [one["histogram"] for one in overall]
    return {
        "bins": parts[0]["bins"], "near_width": parts[0]["near_width"],
        "overall": {
            "states": states, "near": sum(one["near"] * one["states"] for one in overall) / states,
            "histogram": {
                "below": sum(h["below"] for h in histograms), "above": sum(h["above"] for h in histograms),
                "counts": [sum(column) for column in zip(*(h["counts"] for h in histograms))],
            },
        },
    }  # fmt: skip


def _bars(results: Results, path: Path) -> str:
    pair = ends(results)
    profiles = results.experiment.trials[0].profiles
    if pair is None or not profiles:
        return ""
    bars = []
    for point in pair:
        for group, name in (("float", "hard"), *((p, f"{p} accuracy") for p in profiles)):
            sample = point.samples.get(name)
            if sample is not None:
                low, high = sample.interval or (sample.mean, sample.mean)
                bars.append(Bar(
                    group, point.label.removeprefix("method "), sample.mean / 100, max(low, 0.0) / 100, min(high, 100.0) / 100,
                    tuple(value / 100 for value in sample.values),
                ))  # fmt: skip
    radii = {point.trial.rho for point in results.points if point.trial.rho}
    chosen = ", radius chosen on validation recordings" if len(radii) > 1 else ""
    title = f"Hard-spike test accuracy, {results.experiment.trials[0].dataset}{chosen}\n{seeds(pair)} seeds (dots), 95 % intervals of the mean"
    accuracy_bars(bars, path, title)
    return "Hard-spike accuracy in floating point and as integer programs."


def _robustness(results: Results, path: Path) -> str:
    points = [point for point in ends(results) or results.points if "clean, hard" in point.samples]
    if not points:
        return ""
    grids = [
        record["measures"]["robustness"]
        for record in points[0].raw
        if "robustness" in record.get("measures", {})
    ]
    rows = [row["corruption"] for row in grids[0]]
    cells: list[list[list[Sample | None]]]
    counted = f"{seeds(points, 'clean, hard')} seeds: mean ± standard deviation"
    if len(points) > PANELS:
        within = results.experiment.compare_within
        points.sort(key=lambda point: [getattr(point.trial, name) for name in within])
        cells = [[[point.samples.get(f"{row}, hard") for point in points] for row in rows]]
        headers = [_name(point, results).replace(", ", "\n").replace("_", "\n") for point in points]
        grid(
            rows,
            [""],
            headers,
            cells,
            path,
            f"Hard-spike accuracy under corruption, {counted}",
            "accuracy (%)",
        )
        return "Hard-spike accuracy of every point on corrupted test recordings."
    nets = ("surrogate", "hard", *points[0].trial.profiles)
    cells = [[[point.samples.get(f"{row}, {net}") for net in nets] for row in rows] for point in points]
    headers = [net.replace("_", "\n") for net in nets]
    title = f"Accuracy under corruption and precision, {counted}"
    grid(rows, [p.label.removeprefix("method ") for p in points], headers, cells, path, title, "accuracy (%)")
    return "Corruption x precision: the float network and its integer programs on corrupted test recordings."


def _learning(results: Results, path: Path) -> str:
    if not set(varied(results.experiment)) <= {"method", "rho", "epochs"}:
        return ""
    radii = sorted({point.trial.rho for point in results.points if point.trial.rho}, reverse=True)
    lengths = sorted({point.trial.epochs for point in results.points if not point.trial.rho})
    lines = []
    for point in results.points:
        having = [record for record in point.raw if "curve" in record]
        if not having:
            continue
        epochs, total = point.trial.epochs, having[0]["gradient_evaluations"]
        part = {
            name: tuple(tuple(100 * a for a in r["curve"][name]) for r in having)
            for name in ("hard", "surrogate")
        }
        shade = (
            RADII[radii.index(point.trial.rho) % len(RADII)]
            if point.trial.rho
            else (METHODS[point.trial.method], *LONGER)[lengths.index(point.trial.epochs) % (1 + len(LONGER))]
        )
        lines.append(Learning(
            point.label.removeprefix("method "), shade, tuple(total * (e + 1) // epochs for e in range(epochs)), **part
        ))  # fmt: skip
    if not lines:
        return ""
    learning_curves(
        lines,
        path,
        f"{results.experiment.name}: {results.experiment.trials[0].dataset} validation recordings",
    )
    return "Validation accuracy with hard and with surrogate spikes against gradient evaluations."
