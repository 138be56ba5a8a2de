"""A checkpoint's analysis on the terminal."""

from __future__ import annotations

from typing import Any

from sastdeploy.report.terminal import print_table, print_text


def print_analysis(record: dict[str, Any]) -> None:
    """Print one table each for margins, contraction and activity, and the sentences that say what they mean."""
    hard, smooth = record["margins"]["hard"], record["margins"]["smooth"]
    print_table(
        ("spikes", "layer", "within ±0.2, %", "mean", "deviation", "1 %", "median", "99 %"),
        [
            (kind, name, f"{100 * part['near']:.3f}", f"{part['mean']:.4f}", f"{part['standard_deviation']:.4f}",
             *(f"{part['quantiles'][share]:.3f}" for share in ("0.01", "0.5", "0.99")))
            for kind, found in (("hard", hard), ("smooth", smooth)) for name, part in _parts(found)
        ],
        "Margins: membrane less threshold, u - theta",
    )  # fmt: skip
    contraction = record["contraction"]
    print_table(
        ("layer", "gamma-hat", "largest slope", "nearest", "in the band, %", "median", "99 %", "99.9 %"),
        [
            (name, f"{part['gamma_hat']:.5f}", f"{part['largest_slope']:.5f}", f"{part['nearest']:.3g}",
             f"{100 * part['in_band']:.3f}", *(f"{part['quantiles'][share]:.4f}" for share in ("0.5", "0.99", "0.999")))
            for name, part in _parts({"overall": contraction, "layers": contraction["layers"]})
        ],
        "Contraction: alpha + M_theta |sigma'| with smooth spikes",
    )  # fmt: skip
    print_text(contraction["sentence"] + "\n")
    print_table(
        ("layer", "neurons", "smooth rate", "hard rate", "silent, %", "never reaching, %", "tail, %", "far tail, %",
         "far below, %"),
        [
            (name, part["neurons"], f"{part['smooth_rate']:.4f}", f"{part['hard_rate']:.4f}",
             *(_percent(part[key]) for key in ("silent", "never_reaching", "tail", "far_tail", "far_below")))
            for name, part in _parts(record["activity"])
        ],
        "Activity: outputs per neuron and step, and the share of smooth output from below threshold",
    )  # fmt: skip


def _parts(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(layer["name"], layer) for layer in found["layers"]] + [("all", found["overall"])]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
