"""The figures of PERFORMANCE.md: ratios, growth, and how far kernels are from what loading their rows allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def figures(by_question: dict[str, Any], folder: Path) -> None:
    """Draw all figures of the results into a folder."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "sastdeploy", "font.size": 9})
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    for name, draw, rows, columns, size, more in (
        ("speed-ratios", _ratios, 1, 2, (9, 3.8), {"width_ratios": (3, 2)}),
        ("speed-growth", _growth, 2, len(by_question["growth"]["curves"]), (11, 4.6), {"sharey": "row"}),
        ("speed-roofline", _roofline, 1, 2, (10, 3.6), {}),
    ):
        figure, axes = plt.subplots(rows, columns, figsize=size, **more)
        draw(by_question, axes)
        figure.tight_layout()
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)


def _ratios(by_question: dict[str, Any], axes: NDArray[np.object_]) -> None:
    left, right = axes
    ratios = by_question["inference-fc_0p40m"]["cases"]["real"]["ratio_to_fastest_float"]
    names = sorted(ratios, key=ratios.get)
    ours = [name.endswith(("_int8", "_int4")) for name in names]
    left.barh(names, [ratios[name] for name in names], color=["C1" if mine else "C0" for mine in ours])
    for row, name in enumerate(names):
        left.text(ratios[name], row, f" {ratios[name]:.1f}", va="center")
    left.set(
        xlabel="times the fastest float framework (orange: this simulator)",
        title="fc_0p40m, simulated N-MNIST, one thread",
        xlim=(0, 1.12 * max(ratios.values())),
    )
    conv = by_question["inference-conv_0p42m"]["cases"]
    cases = [(float(c), v["ratio_to_fastest_float"]) for c, v in conv.items() if c != "real"]
    for name in ("loihi_int8", "aggressive_int4", "C yardstick"):
        right.plot([100 * c for c, _ in cases], [r[name] for _, r in cases], "o-", label=name)
    right.axhline(1, color="0.5", lw=0.8)
    right.set(xscale="log", ylim=0, xlabel="active inputs, %", title="conv_0p42m, random frames")
    right.legend()


def _growth(by_question: dict[str, Any], axes: NDArray[np.object_]) -> None:
    for (upper, lower), (name, curve) in zip(axes.T, by_question["growth"]["curves"].items()):
        points = curve["points"]
        x, y = [p[name] for p in points], [p["seconds"] for p in points]
        upper.loglog(x, y, "o-")
        upper.loglog(x, [y[-1] * p["synops"] / points[-1]["synops"] for p in points], "--", color="0.6", lw=1)
        upper.set(title=f"exponent {curve['exponent']:.2f}")
        lower.loglog(x, [p["peak_bytes"] / 1e6 for p in points], "o-", color="C2")
        lower.set(xlabel=name)
    axes[0, 0].set(ylabel="seconds\n(dashed: as its SynOps)", ylim=(1e-3, 2))
    axes[1, 0].set(ylabel="MB")


def _roofline(by_question: dict[str, Any], axes: NDArray[np.object_]) -> None:
    left, right = axes
    real, limits = by_question["inference-fc_0p40m"]["cases"]["real"], by_question["limits"]["training"]
    facts, seconds = real["facts"], real["seconds"]
    loads = facts["row_bytes"] / seconds["C row loads only"]["min"] / 1e9
    operations = facts["loihi_int8"]["synops"]
    top = loads * operations / facts["row_bytes"]
    left.axhline(top, color="0.4", lw=1)
    left.text(1e-3, top * 0.99, f"loading rows at {loads:.0f} GB/s: {top:.0f} GSynOp/s", va="top")
    points = by_question["growth"]["curves"]["activity"]["points"]
    rates = [p["synops"] / p["seconds"] / 1e9 for p in points]
    left.semilogx([p["activity"] for p in points], rates, "o-", label="engine, whole net, binary frames")
    for name, mark in (("loihi_int8", "s"), ("C yardstick", "^")):
        left.plot(
            real["activity"], operations / seconds[name]["min"] / 1e9, mark, label=f"{name}, real recordings"
        )
    left.set(
        xlabel="share of active inputs",
        ylabel="GSynOp/s, one thread",
        title="whole runs",
        ylim=(0, 1.1 * top),
    )
    left.legend(loc="upper left", bbox_to_anchor=(0, 0.85))

    engine = facts["loihi_int8"]
    hidden = engine["spikes"][0] * 64
    training = [
        (f"training, {part}", limits["row_bytes"][part] / limits["seconds"][f"first layer, {part}"]["min"])
        for part in ("sum", "weight gradient")
    ]
    bars = [
        ("C, loads only", facts["row_bytes"] / seconds["C row loads only"]["min"]),
        ("C, loads and sums", facts["row_bytes"] / seconds["C, sums of the first layer only"]["min"]),
        ("engine, layer 1 with its neurons", facts["row_bytes"] / engine["stages"]["layers.0"]),
        ("engine, layer 2 with its neurons", hidden / engine["stages"]["layers.1"]),
        *training,
    ]
    right.barh(
        [name for name, _ in bars],
        [rate / 1e9 for _, rate in bars],
        color=["0.6", "0.6", "C1", "C1", "C2", "C2"],
    )
    for row, (_, rate) in enumerate(bars):
        right.text(rate / 1e9, row, f" {rate / 1e9:.0f}", va="center")
    right.set(
        xlabel="GB/s of weight rows, one thread", title="kernels (INT8 rows; training: float32)",
        xlim=(0, 1.15 * max(rate for _, rate in bars) / 1e9),
    )  # fmt: skip
    right.invert_yaxis()
