"""``sastdeploy analyse``."""

from __future__ import annotations

import click

from sastdeploy.cli.arguments import folder, stated
from sastdeploy.cli.options import DATA, DATASET, FORCE, JSON, LIMIT, SKIP_BAD


@click.command()
@click.argument("checkpoint", type=click.Path())
@DATASET
@click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="Which recordings.",
)
@LIMIT
@click.option(
    "--bounds",
    "with_bounds",
    is_flag=True,
    help="Also the theory's bounds beside what an attack finds: seconds for fc_0p40m, many minutes for conv_0p42m.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the attack and the draws of --bounds.",
)
@click.option(
    "--figures",
    type=click.Path(),
    default=None,
    help="Folder for margins.png and margins.svg.  [default: none]",
)
@FORCE
@DATA
@SKIP_BAD
@JSON
def command(checkpoint: str, dataset: str | None, split: str, limit: int | None, with_bounds: bool, seed: int,
            figures: str | None, force: bool, data: str | None, skip_bad: bool, as_json: bool) -> None:  # fmt: skip
    """Measure what CHECKPOINT's neurons do: margins around the threshold, contraction, activity, bounds."""
    import json
    from pathlib import Path
    from typing import Any

    from sastdeploy import load_checkpoint
    from sastdeploy._files.reading import shown
    from sastdeploy.cli.options import load_data_for
    from sastdeploy.networks.checkpoint import checkpoint_hash

    if not with_bounds and stated("seed"):
        raise click.UsageError("--seed is for --bounds; leave it out.")
    if figures:
        folder(figures, "--figures")
    trained = load_checkpoint(checkpoint)
    name, frames, simulated = load_data_for(trained, checkpoint, dataset, split, data, limit, skip_bad)
    from sastdeploy.analysis.activity import activity
    from sastdeploy.analysis.bounds import bounds
    from sastdeploy.analysis.contraction import contraction
    from sastdeploy.analysis.margins import margins

    record: dict[str, Any] = {
        "schema": "sastdeploy.analysis/1", "checkpoint": checkpoint, "checkpoint_hash": checkpoint_hash(trained),
        "dataset": name, "split": split, "simulated": simulated, "data_hash": frames.data_hash,
        "recordings": len(frames),
        "margins": {"hard": margins(trained, frames), "surrogate": margins(trained, frames, hard=False)},
        "contraction": contraction(trained, frames),
        "activity": activity(trained, frames),
        "bounds": None,
    }  # fmt: skip
    if with_bounds:
        from sastdeploy.analysis.bounds import STAGES
        from sastdeploy.cli.terminal import progress

        with progress() as bar:
            task = bar.add_task("bounds", total=len(STAGES))
            record["bounds"] = bounds(
                trained, frames, seed,
                stage=lambda name: bar.update(task, description=f"bounds: {name}", completed=STAGES.index(name)),
            )  # fmt: skip
            bar.update(task, description="bounds", completed=len(STAGES))
    kind = "simulated recordings" if simulated else "recordings"
    what = f"{len(frames):,} {split} {kind} of {name}"
    if as_json:
        click.echo(json.dumps(record, indent=2))
    else:
        from sastdeploy.cli.analysis_tables import print_analysis
        from sastdeploy.cli.terminal import print_text

        scale = trained.preprocessing
        print_text(f"{checkpoint} on {what}; frame value = min(count, {scale.c_clip}) / {scale.divisor:g}\n")
        print_analysis(record)
    if figures:
        from sastdeploy._files import atomic
        from sastdeploy.report.figures import margin_histograms

        outlines = {f"{spikes} spikes": outline for spikes, outline in record["margins"].items()}
        with atomic.adding_files(figures, force=force, inputs=[checkpoint]) as fresh:
            for suffix in ("png", "svg"):
                title = f"{shown(Path(checkpoint).name)} on\n{what}"
                margin_histograms({"": outlines}, fresh / f"margins.{suffix}", title)
        for suffix in ("png", "svg"):
            click.echo(f"Wrote {Path(figures) / f'margins.{suffix}'}.", err=True)
