"""Figures of samples over seeds: every seed is a point, the mean a larger one, with its 95 % interval where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sastdeploy.report.figures import save
from sastdeploy.statistics import Sample


@dataclass(frozen=True)
class Curve:
    """One line: samples at ascending x."""

    name: str
    colour: str
    style: str
    x: tuple[float, ...]
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Level:
    """A figure that belongs to no place on the x axis: a line from edge to edge."""

    name: str
    colour: str
    value: float


@dataclass(frozen=True)
class Panel:
    """Curves and levels that share a frame; panels with the same y have the same limits."""

    title: str
    y: str
    curves: tuple[Curve, ...]
    levels: tuple[Level, ...] = ()

    @property
    def values(self) -> list[float]:
        sampled = [value for curve in self.curves for sample in curve.samples for value in sample.values]
        return sampled + [level.value for level in self.levels]


@dataclass(frozen=True)
class Row:
    """One line of `dots`: a sample per column, None where there is none."""

    label: str
    colour: str
    samples: tuple[Sample | None, ...]


@dataclass(frozen=True)
class Cloud:
    """Points of one colour: (x, y) each."""

    name: str
    colour: str
    mark: str
    points: tuple[tuple[float, float], ...]


def curves(panels: Sequence[Panel], path: Path, title: str, x: str, ticks: dict[float, str]) -> None:
    """Write panels side by side over one logarithmic x axis, curves a little apart; an interval is cut at the frame.

    Args:
        x: what the axis shows, with its unit. ticks: text by place.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.9 * len(panels), 4.5), layout="constrained")
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels):
        for number, curve in enumerate(panel.curves):
            aside = 1.08 ** (number - (len(panel.curves) - 1) / 2)
            middles = [sample.mean for sample in curve.samples]
            axes.plot(
                [aside * place for place in curve.x],
                middles,
                curve.style,
                color=curve.colour,
                linewidth=1.4,
                label=curve.name,
            )
            for place, sample in zip([aside * place for place in curve.x], curve.samples):
                axes.plot(
                    [place] * len(sample.values),
                    sample.values,
                    ".",
                    color=curve.colour,
                    markersize=3,
                    alpha=0.7,
                )
                if sample.interval:
                    low, high = sample.interval
                    axes.plot([place, place], [low, high], color=curve.colour, linewidth=2, alpha=0.35)
        for level in panel.levels:
            axes.axhline(level.value, color=level.colour, linestyle=":", linewidth=1.2, label=level.name)
        seen = [value for other in panels if other.y == panel.y for value in other.values]
        edge = 0.06 * max(max(seen) - min(seen), 1.0)
        axes.set(
            xscale="log",
            title=panel.title,
            xlabel=x,
            ylabel=panel.y,
            ylim=(min(seen) - edge, max(seen) + edge),
        )
        axes.set_xticks(
            list(ticks), list(ticks.values()), fontsize=8, rotation=90 if _close(list(ticks)) else 0
        )
        axes.minorticks_off()
        axes.grid(alpha=0.25)
        axes.legend(
            frameon=False,
            fontsize=8,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.24),
            ncols=2,
            columnspacing=1,
        )
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    save(figure, path)


def _close(places: Sequence[float]) -> bool:
    """Return whether two neighbours on a logarithmic axis leave no room for their text: less than a twelfth of it."""
    logs = np.sort(np.log(places))
    return len(logs) > 2 and bool(np.diff(logs).min() < (logs[-1] - logs[0]) / 12)


def dots(rows: Sequence[Row], columns: Sequence[str], path: Path, title: str) -> None:
    """Write one line per row and one panel per column.

    A panel is at most three times as wide as its values; an interval that leaves it is cut at its edge, where an arrow says so.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 + 3.1 * len(columns), 1.3 + 0.27 * len(rows)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(columns), sharey=True))
    for number, (axes, column) in enumerate(zip(panels, columns)):
        seen: list[float] = []
        ends: list[float] = []
        for height, row in enumerate(reversed(rows)):
            sample = row.samples[number]
            if sample is None:
                continue
            seen += sample.values
            ends += sample.interval or ()
            if sample.interval:
                axes.plot(sample.interval, [height, height], color=row.colour, linewidth=4, alpha=0.3)
            axes.plot(sample.values, [height] * len(sample.values), ".", color=row.colour, markersize=4)
            axes.plot([sample.mean], [height], "o", color=row.colour, markersize=7, markerfacecolor="none")
        if seen:
            span = max(max(seen) - min(seen), 0.5)
            low = max(min(seen + ends), min(seen) - span) - 0.06 * span
            high = min(max(seen + ends), max(seen) + span) + 0.06 * span
            axes.set_xlim(low, high)
            for height, row in enumerate(reversed(rows)):
                sample = row.samples[number]
                begin, end = (low, high) if sample is None else sample.interval or (low, high)
                for place, mark, cut in ((low, "<", begin < low), (high, ">", end > high)):
                    if cut:
                        axes.plot([place], [height], mark, color=row.colour, markersize=6, clip_on=False)
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel(column)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(rows)), [row.label for row in reversed(rows)], fontsize=8)
    figure.suptitle(title, fontsize=10)
    save(figure, path)


def scatter(clouds: Sequence[Cloud], path: Path, title: str, x: str, y: str) -> None:
    """Write clouds of points over one pair of linear axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for cloud in clouds:
        axes.plot(
            *zip(*cloud.points), cloud.mark, color=cloud.colour, markersize=5, alpha=0.7,
            label=f"{cloud.name} ({len(cloud.points)})", markeredgewidth=1 if cloud.mark == "x" else 0,
        )  # fmt: skip
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="best")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


_ACROSS = 4
"""Panels of a grid side by side."""


def grid(
    rows: Sequence[str], panels: Sequence[str], columns: Sequence[str], samples: Sequence[Sequence[Sequence[Sample | None]]],
    path: Path, title: str, unit: str,
) -> None:  # fmt: skip
    """Write one table of coloured cells per panel: ``samples[panel][row][column]``, mean and deviation in every cell."""
    from matplotlib.figure import Figure

    across = min(len(panels), _ACROSS)
    down = -(-len(panels) // across)
    figure = Figure(
        figsize=(1.5 + 0.95 * len(columns) * across, 0.6 + down * (0.9 + 0.27 * len(rows))),
        layout="constrained",
    )
    means = [s.mean for panel in samples for row in panel for s in row if s is not None]
    low, high = min(means), max(max(means), min(means) + 1e-9)
    all_axes = figure.subplots(down, across, sharey=True, squeeze=False).reshape(-1)
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    for axes, name, panel in zip(all_axes, panels, samples):
        values = np.array([[np.nan if s is None else s.mean for s in row] for row in panel])
        image = axes.imshow(values, cmap="cividis", vmin=low, vmax=high, aspect="auto")
        for i, row in enumerate(panel):
            for j, sample in enumerate(row):
                if sample is not None:
                    text = f"{sample.mean:.1f}" + (
                        "" if sample.deviation is None else f" ±{sample.deviation:.1f}"
                    )
                    dark = sample.mean < (low + high) / 2
                    axes.text(
                        j, i, text, ha="center", va="center", fontsize=7, color="white" if dark else "black"
                    )
        axes.set_xticks(range(len(columns)), columns, fontsize=8)
        axes.set_title(name, fontsize=9)
    for axes in all_axes[::across]:
        axes.set_yticks(range(len(rows)), rows, fontsize=8)
    figure.colorbar(image, ax=all_axes, label=unit, fraction=0.03, pad=0.01)
    figure.suptitle(title if across > 1 else title.replace(": ", ":\n"), fontsize=10)
    save(figure, path)
