"""Learning curves: accuracy against the gradients that were taken, one line per seed and one for their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sastdeploy.report.figures import save


@dataclass(frozen=True)
class Learning:
    """One method over its seeds.

    Args:
        gradients: evaluations after each epoch, ascending. hard, surrogate: accuracies in percent ``[seeds][epochs]``.
    """

    name: str
    colour: str
    gradients: tuple[int, ...]
    hard: tuple[tuple[float, ...], ...]
    surrogate: tuple[tuple[float, ...], ...]


def learning_curves(lines: Sequence[Learning], path: Path, title: str) -> None:
    """Write hard accuracies as full lines, surrogate ones dashed; seeds thin, means thick."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    axes = figure.subplots()
    for line in lines:
        for values, style in ((line.hard, "-"), (line.surrogate, "--")):
            for seed in values:
                axes.plot(line.gradients, seed, style, color=line.colour, linewidth=0.6, alpha=0.35)
            axes.plot(line.gradients, np.mean(values, axis=0), style, color=line.colour, linewidth=1.8)
    axes.set(
        xlabel="gradient evaluations",
        ylabel="validation accuracy (%)",
        title=f"{title}; thin: seeds, thick: means",
    )
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    # Colours say what was trained, styles which spikes: two short lists instead of one of all pairs.
    entries = [
        Line2D([], [], color=line.colour, linewidth=1.8, label=f"{line.name} (n = {len(line.hard)})")
        for line in lines
    ]
    entries.append(Line2D([], [], color="black", linestyle="-", linewidth=1.2, label="hard spikes"))
    entries.append(Line2D([], [], color="black", linestyle="--", linewidth=1.2, label="surrogate spikes"))
    figure.legend(handles=entries, frameon=False, fontsize=8, loc="outside right center")
    save(figure, path)
