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
    """Measure the accuracy of CHECKPOINT with surrogate and with hard spikes, and the gap, with 95 % intervals.

    An imported network has one accuracy: in float64, with its own spikes.
    """
    import json
    from dataclasses import asdict

    from sastdeploy import ImportedNetwork, load_network
    from sastdeploy.cli.options import load_data_for
    from sastdeploy.cli.terminal import print_table
    from sastdeploy.networks.checkpoint import checkpoint_hash, silence
    from sastdeploy.program.records import NOT_STATED

    trained = load_network(checkpoint)
    if isinstance(trained, ImportedNetwork) and dataset is None and trained.dataset == NOT_STATED:
        raise click.UsageError(f"{checkpoint} does not state its recordings. Name a data set with --dataset.")
    name, frames, simulated = load_data_for(trained, checkpoint, dataset, split, data, limit, skip_bad)
    kind = "simulated recordings" if simulated else "recordings"
    title = f"{checkpoint} on {len(frames):,} {split} {kind} of {name}"
    if isinstance(trained, ImportedNetwork):
        from sastdeploy.compiler.imported import network_hash
        from sastdeploy.exchange.evaluation import evaluate_network, order_warning

        answer = evaluate_network(trained, frames)
        if message := order_warning(answer, frames.classes):
            click.echo(f"WARNING: {message}", err=True)
        if as_json:
            click.echo(json.dumps({
                "schema": "sastdeploy.network_evaluation/1", "network": checkpoint, "network_hash": network_hash(trained),
                "dataset": name, "split": split, "simulated": simulated, "data_hash": frames.data_hash, **asdict(answer),
            }, indent=2))  # fmt: skip
            return
        low, high = answer.interval
        row = (
            "float64, its own spikes",
            f"{100 * answer.accuracy:.2f}",
            f"{100 * low:.2f} to {100 * high:.2f}",
        )
        print_table(("accuracy", "%", "95 % interval"), [row], title=title)
        return
    from sastdeploy import evaluate

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
    print_table(("accuracy", "%", "95 % interval"), rows, title=title)
