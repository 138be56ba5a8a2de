"""Figures for people who would rather look than read (matplotlib, without a screen)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sastdeploy import atomic

BASELINE, SAST = "#7a7a7a", "#0072b2"
"""Colours that stay apart for colour-blind readers and in grey print."""


@dataclass(frozen=True)
class Bar:
    """One bar: accuracy and its interval, each in [0, 1]."""

    group: str
    method: str
    accuracy: float
    low: float
    high: float


def accuracy_bars(bars: Sequence[Bar], path: Path, title: str) -> None:
    """Write accuracies grouped by hardware profile, one bar per method, with intervals (the form of the paper's Figure 2b).

    The file's suffix chooses the format (.png, .svg, .pdf).
    """
    figure, axes = _figure(6.4, 3.8)
    groups = list(dict.fromkeys(bar.group for bar in bars))
    methods = list(dict.fromkeys(bar.method for bar in bars))
    width = 0.8 / len(methods)
    colours = dict(zip(methods, (BASELINE, SAST, "#d55e00", "#009e73", "#cc79a7")))
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
            axes.text(
                left, 2, f"{100 * bar.accuracy:.1f}", ha="center", va="bottom", color="white", fontsize=9
            )
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylim(0, 100)
    axes.set_ylabel("hard-spike accuracy (%)")
    axes.set_title(title, fontsize=10)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=len(methods), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _figure(width: float, height: float):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _save(figure, path: Path) -> None:
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
