"""Pictures of a recording: PNG (panels over time) or GIF (moving)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files import atomic
from sastdeploy.errors import InputError
from sastdeploy.recordings.events import Events

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

ON_COLOUR = "#0072B2"
OFF_COLOUR = "#D55E00"
"""Blue and vermilion of Okabe and Ito's palette: told apart under every common colour-blindness."""
_PANELS = 10


def draw_recording(
    events: Events,
    sensor_size: tuple[int, ...],
    path: Path | str,
    title: str | None = None,
    *,
    force: bool = False,
) -> Path:
    """Write a picture of ``events`` to ``path`` and return it: PNG or GIF by suffix.

    PNG: ten panels of equal duration (ON blue, OFF vermilion, stronger colour for more events) above the rate of both
    polarities over time. GIF: 40 frames of equal duration.

    Args:
        events: structured ``x y t p``, t in us. sensor_size: (W, H) or (W, H, P).
        force: replace another file that is there.

    Raises:
        InputError: no events, an event outside the sensor, another suffix, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".png", ".gif"):
        raise InputError(
            f"{path}: pictures are written as .png or .gif, not '{path.suffix}'. Choose one of these."
        )
    if len(events) == 0:
        raise InputError(f"{path}: the recording holds no events, so there is nothing to draw.")
    width, height = int(sensor_size[0]), int(sensor_size[1])
    if int(events["x"].max()) >= width or int(events["y"].max()) >= height:
        raise InputError(f"{path}: an event lies outside the sensor of {width}x{height}. Give its true size.")
    if suffix == ".png":
        figure = _panels(events, width, height, title)
        with atomic.replacing(path, force=force) as temporary:
            figure.savefig(temporary, format="png", dpi=130)
    else:
        images = _animation(events, width, height)
        with atomic.replacing(path, force=force) as temporary:
            images[0].save(
                temporary, format="GIF", save_all=True, append_images=images[1:], duration=80, loop=0
            )
    return path


def _counts(events: Events, width: int, height: int, bins: int) -> NDArray[np.int64]:
    """Return event counts ``[bins, 2, H, W]`` of equal durations from the first event to the last."""
    t = events["t"].astype(np.int64)
    span = int(t.max() - t.min()) + 1
    step = (t - t.min()) * bins // span
    counts = np.zeros((bins, 2, height, width), np.int64)
    np.add.at(counts, (step, events["p"].astype(int), events["y"].astype(int), events["x"].astype(int)), 1)
    return counts


def _colours(counts: NDArray[np.int64], full: float) -> NDArray[np.uint8]:
    """Return RGB ``[H, W, 3]`` of ``counts [2, H, W]``: white without events, mixed where both polarities
    occur."""
    rgb = np.ones((*counts.shape[1:], 3))
    for polarity, colour in ((1, ON_COLOUR), (0, OFF_COLOUR)):
        ink = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        strength = np.clip(counts[polarity] / full, 0, 1)[..., None] ** 0.7
        rgb *= 1 - strength * (1 - ink)
    return (255 * rgb).round().astype(np.uint8)


def _full(counts: NDArray[np.int64]) -> float:
    seen = counts[counts > 0]
    return max(2.0, float(np.quantile(seen, 0.95)))


def _panels(events: Events, width: int, height: int, title: str | None) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    counts = _counts(events, width, height, _PANELS)
    full = _full(counts)
    t_ms = events["t"] / 1000.0
    edges = np.linspace(t_ms.min(), t_ms.max(), _PANELS + 1)
    figure = Figure(figsize=(11, 7.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 5, height_ratios=(1, 1, 0.75))
    for panel in range(_PANELS):
        row, column = divmod(panel, 5)
        axes = figure.add_subplot(grid[row, column])
        axes.imshow(
            _colours(counts[panel], full),
            interpolation="nearest",
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        )
        axes.set_title(f"{edges[panel]:.0f} to {edges[panel + 1]:.0f} ms", fontsize=9)
        ticks = (0, (width - 1) // 2, width - 1)
        axes.set_xticks(ticks)
        axes.set_yticks((0, (height - 1) // 2, height - 1))
        axes.tick_params(labelsize=7)
        if row == 1:
            axes.set_xlabel("x (pixels)", fontsize=8)
        if column == 0:
            axes.set_ylabel("y (pixels)", fontsize=8)
    axes = figure.add_subplot(grid[2, :])
    bins = np.linspace(t_ms.min(), max(t_ms.max(), t_ms.min() + 1.0), 101)
    middle, milliseconds = (bins[1:] + bins[:-1]) / 2, float(bins[1] - bins[0])
    for polarity, colour, name, style in ((1, ON_COLOUR, "ON", "-"), (0, OFF_COLOUR, "OFF", "--")):
        rate = np.histogram(t_ms[events["p"] == polarity], bins)[0] / milliseconds
        axes.plot(middle, rate, style, color=colour, label=name, linewidth=1.5)
    axes.set_xlim(bins[0], bins[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("time (ms)", fontsize=9)
    axes.set_ylabel("events per ms", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    share = float((events["p"] == 1).mean())
    handles = [
        Patch(color=ON_COLOUR, label=f"ON ({share:.1%})"),
        Patch(color=OFF_COLOUR, label=f"OFF ({1 - share:.1%})"),
    ]
    figure.legend(handles=handles, loc="upper right", ncols=2, fontsize=9, frameon=False)
    heading = f"{len(events):,} events in {t_ms.max() - t_ms.min():,.0f} ms on {width}x{height} pixels"
    figure.suptitle(f"{title}: {heading}" if title else heading, fontsize=11, x=0.01, ha="left")
    return figure


def _animation(events: Events, width: int, height: int) -> list[Image.Image]:
    from PIL import Image

    counts = _counts(events, width, height, 40)
    full = _full(counts)
    zoom = max(1, 384 // max(width, height))
    size = (width * zoom, height * zoom)
    return [Image.fromarray(_colours(c, full)).resize(size, Image.Resampling.NEAREST) for c in counts]
