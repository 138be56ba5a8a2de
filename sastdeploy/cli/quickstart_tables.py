"""The quickstart's summary on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sastdeploy.cli.arguments import pasted
from sastdeploy.cli.terminal import percent, print_table, print_text

FLOAT = ("method", "surrogate %", "hard %", "gap (points)", "95 % interval")


def print_summary(summary: dict[str, Any]) -> None:
    """Print Table 4's four rows and the float accuracies."""
    test = summary["settings"]["test"]
    rows = [
        (row["profile"], row["method"], percent(row["accuracy"]["value"]),
         f"{percent(row['accuracy']['low'])} to {percent(row['accuracy']['high'])}", f"{row['ksynops']:.1f}",
         f"{row['r_ops']:.3f}", f"{row['largest_ksynops']:,.0f}")
        for row in summary["table_4"]
    ]  # fmt: skip
    title = f"Table 4's form: integer programs on {test:,} simulated test recordings ({summary['dataset']})"
    print_table(
        ("profile", "method", "accuracy %", "95 % interval", "kSynOps", "r_ops", "largest kSynOps"),
        rows,
        title,
    )
    print_table(FLOAT, _floats(summary["float"]), "The float networks before compiling")


def print_small_values(summary: dict[str, Any]) -> None:
    """Print both methods on small frame values, with as many gradients."""
    made = summary["small_values"]
    epochs = made["settings"]["epochs"]
    title = (
        f"Frames with small values (counts divided by {made['settings']['divisor']:g}, as 8-bit images are), as many gradients: "
        f"baseline {2 * epochs} epochs, SAST {epochs}"
    )
    print_table(FLOAT, _floats(made["float"]), title)


def print_next(summary: dict[str, Any], out: Path) -> None:
    """Print where everything is, and the next three commands."""
    sast = pasted(out / "sast.pt")
    print_text(
        f"Pictures: {summary['figures']['recording']}, {summary['figures']['bars']}, {summary['small_values']['figure']}\n"
        f"Everything, with provenance: {out / 'summary.json'} ({sum(part['seconds']['all'] for part in (summary, summary['small_values'])):.0f} s)\n\n"
        f"Next:\n"
        f"  sastdeploy inspect {sast}\n"
        f"  sastdeploy profiles new mychip && sastdeploy compile {sast} --profile mychip.yaml\n"
        f"  sastdeploy data make dvsgesture-sim && sastdeploy train --dataset dvsgesture-sim"
    )


def _floats(methods: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (method, percent(f["surrogate"]), percent(f["hard"]), f"{100 * f['gap']:.2f}",
         f"{100 * f['gap_interval'][0]:.2f} to {100 * f['gap_interval'][1]:.2f}")
        for method, f in methods.items()
    ]  # fmt: skip
