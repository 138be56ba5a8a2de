"""``sastdeploy inspect``."""

from __future__ import annotations

from typing import Any

import click

from sastdeploy.cli.arguments import stated
from sastdeploy.cli.options import JSON


@click.command()
@click.argument("checkpoint", type=click.Path(), required=False)
@click.option(
    "--arch", default=None, help="Inspect an architecture instead: fc_0p40m, conv_0p42m, or a YAML file."
)
@click.option(
    "--dataset",
    default="nmnist",
    show_default=True,
    help="With --arch: the data set that gives input and classes.",
)
@click.option(
    "--time-bins",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="With --arch: time bins T.",
)
@JSON
def command(checkpoint: str | None, arch: str | None, dataset: str, time_bins: int, as_json: bool) -> None:
    """Show layers, learnable parameters, thresholds, fan-outs and the largest kSynOps of CHECKPOINT (or of --arch).

    Of a program (.onnx), show what compiling it found, as `compile` printed it.
    """
    import json
    from dataclasses import asdict

    from sastdeploy import load_architecture
    from sastdeploy.cli.network_tables import bins_words
    from sastdeploy.cli.terminal import print_table
    from sastdeploy.networks.builtin import architecture_to_dict, describe

    if (checkpoint is None) == (arch is None):
        raise click.UsageError("Name a checkpoint, or an architecture with --arch.")
    if checkpoint is not None and stated("dataset", "time_bins"):
        raise click.UsageError(
            "--dataset and --time-bins are for --arch; a checkpoint has its own. Leave them out."
        )
    facts: dict[str, Any] = {}
    if checkpoint is not None and checkpoint.endswith(".onnx"):
        from sastdeploy import load_program
        from sastdeploy.cli.program_tables import print_program, program_record

        program = load_program(checkpoint)
        if as_json:
            click.echo(json.dumps(program_record(program), indent=2))
        else:
            print_program(program, checkpoint)
        return
    if checkpoint is not None:
        from sastdeploy import ImportedNetwork, load_network
        from sastdeploy.networks.checkpoint import checkpoint_hash
        from sastdeploy.training.settings import shown_training

        trained = load_network(checkpoint)
        if isinstance(trained, ImportedNetwork):
            from sastdeploy.cli.network_tables import network_record, print_network

            if as_json:
                click.echo(json.dumps(network_record(trained), indent=2))
            else:
                print_network(trained, checkpoint)
            return
        architecture, time_bins = trained.architecture, trained.preprocessing.time_bins
        facts = {
            "dataset": trained.dataset,
            "preprocessing": trained.preprocessing.to_dict(),
            "classes": list(trained.classes),
            "training": shown_training(trained.training),
            "provenance": trained.provenance,
            "hash": checkpoint_hash(trained),
        }
    else:
        from sastdeploy.cli.options import dataset_facts

        known = dataset_facts(dataset)
        shape = known.frame_shape
        architecture = load_architecture(arch or "", shape, len(known.classes))
    layers = describe(architecture, time_bins)
    learnable, thresholds = sum(f.learnable for f in layers), sum(f.thresholds for f in layers)
    largest = sum(f.largest_synops for f in layers)
    if as_json:
        click.echo(json.dumps({
            "schema": "sastdeploy.inspection/1", "architecture": architecture_to_dict(architecture),
            "learnable_parameters": learnable, "thresholds": thresholds, "largest_ksynops": largest / 1000,
            "layers": [asdict(f) for f in layers], **facts,
        }, indent=2))  # fmt: skip
        return
    rows = [
        (f.name, f.kind, "x".join(map(str, f.input_shape)), "x".join(map(str, f.output_shape)), f"{f.learnable:,}",
         f.thresholds, f.fan_in, str(f.fan_out[0]) if f.fan_out[0] == f.fan_out[1] else f"{f.fan_out[0]} to {f.fan_out[1]}",
         f"{f.largest_synops / 1000:,.1f}")
        for f in layers
    ]  # fmt: skip
    columns = (
        "layer",
        "kind",
        "input",
        "output",
        "learnable",
        "thresholds",
        "fan-in",
        "fan-out",
        "largest kSynOps",
    )
    print_table(columns, rows, title=checkpoint or architecture.name)
    click.echo(
        f"{architecture.name}: {learnable:,} learnable parameters + {thresholds:,} fixed thresholds = {learnable + thresholds:,} stored."
    )
    click.echo(
        f"Largest possible kSynOps per recording of {time_bins} bins (everything active at every step): {largest / 1000:,.2f}."
    )
    neuron = architecture.neuron
    click.echo(
        f"Neuron: alpha {neuron.alpha:g}, threshold {neuron.threshold:g}, surrogate slope {neuron.slope:g}, delayed reset by subtraction."
    )
    if checkpoint is not None:
        pre, training = facts["preprocessing"], facts["training"]
        click.echo(
            f"Frames: {pre['time_bins']} bins, value min(count, {pre['c_clip']}) / {pre['divisor']:g}, normalisation {pre['normalisation']}, "
            + "".join(f"{words}, " for words in bins_words(pre))
            + f"trained on {facts['dataset']}."
        )
        click.echo(
            f"Training: {training['method']}, rho {training['rho']:g}, seed {training['seed']}, epoch {training['selected']['epoch'] + 1} of {training['epochs']}."
        )
        click.echo(f"Hash: {facts['hash']}")
