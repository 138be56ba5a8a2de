"""The quickstart's summary on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sastdeploy.cli.terminal import percent, print_table, print_text


def print_summary(summary: dict[str, Any], out: Path) -> None:
    """Print Table 4's four rows, the float accuracies, the pictures, and the next three commands."""
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
    floats = [
        (method, percent(f["surrogate"]), percent(f["hard"]), f"{100 * f['gap']:.2f}",
         f"{100 * f['gap_interval'][0]:.2f} to {100 * f['gap_interval'][1]:.2f}")
        for method, f in summary["float"].items()
    ]  # fmt: skip
    columns = ("method", "surrogate %", "hard %", "gap (points)", "95 % interval")
    print_table(columns, floats, "The float networks before compiling")
    print_text(
        f"Pictures: {summary['figures']['recording']}, {summary['figures']['bars']}\n"
        f"Everything, with provenance: {out / 'summary.json'} ({summary['seconds']['all']:.0f} s)\n\n"
        f"Next:\n"
        f"  sastdeploy inspect {out / 'sast.pt'}\n"
        f"  sastdeploy profiles new mychip && sastdeploy compile {out / 'sast.pt'} --profile mychip.yaml\n"
        f"  sastdeploy data make dvsgesture-sim && sastdeploy train --dataset dvsgesture-sim"
    )
