"""Figures for people who would rather look than read (matplotlib, without a screen)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sastdeploy._files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASELINE, SAST = "#7a7a7a", "#0072b2"
COLOURS = (BASELINE, SAST, "#d55e00", "#009e73", "#cc79a7")
"""Colours that stay apart for colour-blind readers and in grey print."""


@dataclass(frozen=True)
class Bar:
    """One bar: accuracy, its interval, and what it is the mean of (drawn as dots), each in [0, 1]."""

    group: str
    method: str
    accuracy: float
    low: float
    high: float
    parts: tuple[float, ...] = ()


def accuracy_bars(bars: Sequence[Bar], path: Path, title: str, axis: str = "hard-spike accuracy (%)") -> None:
    """Write accuracies in groups, one bar per method, with intervals (by hardware profile: the form of the paper's Figure 2b).

    The file's suffix chooses the format (.png, .svg, .pdf).
    """
    figure, axes = _figure(6.4, 3.8)
    groups = list(dict.fromkeys(bar.group for bar in bars))
    methods = list(dict.fromkeys(bar.method for bar in bars))
    width = 0.8 / len(methods)
    colours = dict(zip(methods, COLOURS))
    for position, method in enumerate(methods):
        chosen = [bar for bar in bars if bar.method == method]
        x = [groups.index(bar.group) + (position - (len(methods) - 1) / 2) * width for bar in chosen]
        heights = [100 * bar.accuracy for bar in chosen]
        errors = [
            [100 * (bar.accuracy - bar.low) for bar in chosen],
            [100 * (bar.high - bar.accuracy) for bar in chosen],
        ]
        axes.bar(x, heights, width * 0.94, color=colours[method], label=method)
        axes.errorbar(x, heights, errors, fmt="none", ecolor="black", elinewidth=1, capsize=3)
        for left, bar in zip(x, chosen):
            across = left + width * np.linspace(-0.2, 0.2, len(bar.parts))
            axes.plot(across, [100 * part for part in bar.parts], ".", color="black", markersize=4)
            axes.text(
                left, 2, f"{100 * bar.accuracy:.1f}", ha="center", va="bottom", color="white", fontsize=9
            )
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylim(0, 100)
    axes.set_ylabel(axis)
    axes.set_title(title, fontsize=10)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=len(methods), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def margin_histograms(panels: Mapping[str, Mapping[str, dict[str, Any]]], path: Path, title: str) -> None:
    """Write how far membranes lie from their thresholds, one outline per record (the form of the paper's Figure 2a).

    Args:
        panels: by the panel's title (empty: none) and label, what `sastdeploy.analysis.margins.margins` returns; ``overall`` is drawn.
        path: its suffix chooses the format (.png, .svg, .pdf).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 if len(panels) == 1 else 4.6 * len(panels), 4.4), layout="constrained")
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    if len(panels) == 1:
        drawn[0].set_title(title, fontsize=10)
    else:
        figure.suptitle(title, fontsize=10)
    for axes, (name, records) in zip(drawn, panels.items()):
        _margins(axes, records)
        if name:
            axes.set_title(name, fontsize=10)
    figure.draw_without_rendering()  # the layout has room for legends below the panels from its second pass on
    save(figure, path)


def _margins(axes: Axes, records: Mapping[str, dict[str, Any]]) -> None:
    styles = zip(records.items(), ((BASELINE, "-"), (SAST, "-"), ("#d55e00", "--"), ("#009e73", "--")))
    for (label, record), (colour, line) in styles:
        bins, overall, near = record["bins"], record["overall"], record["near_width"]
        counts = np.array(overall["histogram"]["counts"])
        edges = np.linspace(bins["low"], bins["high"], len(counts) + 1)
        shares = 100 * counts / overall["states"]
        text = f"{label}: {100 * overall['near']:.2f} % within ±{near:g}"
        axes.stairs(shares, edges, baseline=None, color=colour, linestyle=line, linewidth=1.4, label=text)
        beyond = overall["histogram"]["below"] + overall["histogram"]["above"]
        if beyond:
            axes.plot(
                [],
                [],
                " ",
                label=f"(not drawn: {100 * beyond / overall['states']:.2f} % beyond ±{bins['high']:g})",
            )
    axes.axvspan(-near, near, color="#f0e442", alpha=0.35, linewidth=0, zorder=0)
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_xlim(bins["low"], bins["high"])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("membrane less threshold, u − θ")
    axes.set_ylabel(f"share of states per {bins['width']:g} (%)")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    axes.spines[["top", "right"]].set_visible(False)


@dataclass(frozen=True)
class Line:
    """Accuracies of one network at ascending levels, and their intervals, each in [0, 1]."""

    name: str
    levels: tuple[float, ...]
    accuracy: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def accuracy_lines(lines: Sequence[Line], path: Path, title: str, level: str) -> None:
    """Write accuracies against a level, one line per network with its interval as a band; see `accuracy_bars`.

    Args:
        level: what the levels are, with their unit. Lines beyond the number of `COLOURS` repeat them with other marks.
    """
    figure, axes = _figure(6.4, 4.2)
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        mark = "osD^vP"[number % 6]
        low, middle, high = ([100 * value for value in part] for part in (line.low, line.accuracy, line.high))
        axes.fill_between(line.levels, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.plot(
            line.levels, middle, color=colour, marker=mark, markersize=5, linewidth=1.5, label=line.name
        )
    axes.set_xlabel(level)
    axes.set_ylabel("accuracy (%)")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, fontsize=9)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the file's suffix; the same figure gives the same bytes."""
    from matplotlib import rc_context

    with atomic.replacing(path) as temporary, rc_context({"svg.hashsalt": "sastdeploy"}):
        figure.savefig(temporary, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
