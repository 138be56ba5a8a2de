"""``sastdeploy evaluate``."""

from __future__ import annotations

import click

from sastdeploy.cli.options import DATA, DATASET, JSON, LIMIT, SKIP_BAD


@click.command()
@click.argument("checkpoint", type=click.Path())
@DATASET
@click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="test",
    show_default=True,
    help="Which recordings.",
)
@LIMIT
@DATA
@SKIP_BAD
@JSON
def command(checkpoint: str, dataset: str | None, split: str, limit: int | None, data: str | None, skip_bad: bool,
            as_json: bool) -> None:  # fmt: skip
    """Accuracy of CHECKPOINT with surrogate and with hard spikes, and the gap, with 95 % intervals."""
    import json
    from dataclasses import asdict

    from sastdeploy.cli.options import load_data_for
    from sastdeploy.cli.terminal import print_table
    from sastdeploy.networks.checkpoint import checkpoint_hash, load_checkpoint, silence

    trained = load_checkpoint(checkpoint)
    name, frames, simulated = load_data_for(trained, checkpoint, dataset, split, data, limit, skip_bad)
    from sastdeploy.training.inference import evaluate

    result = evaluate(trained, frames)
    if message := silence(result.silent_layers):
        click.echo(f"WARNING: {message}", err=True)
    if as_json:
        click.echo(json.dumps({
            "schema": "sastdeploy.evaluation/1", "checkpoint": checkpoint, "checkpoint_hash": checkpoint_hash(trained),
            "dataset": name, "split": split, "simulated": simulated, "data_hash": frames.data_hash, **asdict(result),
        }, indent=2))  # fmt: skip
        return
    rows = [
        (label, f"{100 * value:.2f}", f"{100 * low:.2f} to {100 * high:.2f}")
        for label, value, (low, high) in (
            ("surrogate spikes", result.surrogate, result.surrogate_interval),
            ("hard spikes", result.hard, result.hard_interval),
            ("gap (points)", result.gap, result.gap_interval),
        )
    ]
    kind = "simulated recordings" if simulated else "recordings"
    print_table(
        ("accuracy", "%", "95 % interval"),
        rows,
        title=f"{checkpoint} on {result.recordings:,} {split} {kind} of {name}",
    )
