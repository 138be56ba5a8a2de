"""``sastdeploy compile``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from sastdeploy.cli.options import FORCE, JSON


@click.command()
@click.argument("checkpoint", type=click.Path())
@click.option(
    "--profile",
    default="loihi_int8",
    show_default=True,
    help="A built-in profile, or a YAML file of your own.",
)
@click.option(
    "--out",
    type=click.Path(),
    default=None,
    help="Program to write.  [default: CHECKPOINT's name, the profile's 'name:', .onnx]",
)
@click.option(
    "--dump-passes", type=click.Path(), default=None, help="Folder for the graph as text after every pass."
)
@click.option(
    "--neuron",
    type=click.Choice(["network", "profile"]),
    default="network",
    show_default=True,
    help="Of an imported network whose neuron is not the profile's: refuse it, or follow the profile.",
)
@FORCE
@JSON
def command(
    checkpoint: str,
    profile: str,
    out: str | None,
    dump_passes: str | None,
    neuron: str,
    force: bool,
    as_json: bool,
) -> None:
    """Turn CHECKPOINT into an integer program (a standard ONNX file) for a hardware profile.

    The same checkpoint and profile give the same bytes. Prints per layer what a port must provide.
    """
    import json

    from sastdeploy import compile, load_network, load_profile, save_program
    from sastdeploy._files import atomic
    from sastdeploy.cli.arguments import folder
    from sastdeploy.cli.terminal import print_table
    from sastdeploy.compiler.imported import NOT_STATED
    from sastdeploy.program.file import meaning_hash, program_hash

    hardware = load_profile(profile)
    trained = load_network(checkpoint)
    path = Path(out) if out else Path(f"{checkpoint.removesuffix('.pt')}.{hardware.name}.onnx")
    atomic.check_writable(path, inputs=(checkpoint, profile))
    if dump_passes:
        folder(dump_passes, "--dump-passes")
    compilation = compile(trained, hardware, neuron=neuron, dump=dump_passes, force=force)
    program, report = compilation.program, compilation.report
    save_program(path, program, force=force)
    if profile.endswith((".yaml", ".yml")) and Path(profile).stem != hardware.name:
        click.echo(
            f"NOTE: the program is named after the line 'name: {hardware.name}' in {profile}, not after the file.",
            err=True,
        )
    for warning in report.warnings:
        click.echo(f"WARNING: {warning}", err=True)
    if as_json:
        click.echo(
            json.dumps(
                {
                    **report.to_dict(),
                    "program": str(path),
                    "program_hash": program_hash(program),
                    "meaning_hash": meaning_hash(program),
                },
                indent=2,
            )
        )
        return
    rows = [
        (layer.name, layer.kind, layer.weight_format, _span(layer.scale),
         "exact" if layer.signal_to_noise_db is None else f"{layer.signal_to_noise_db:.1f}",
         f"{100 * layer.zero_weights:.1f}", f"{layer.gain_relative_error:.1e}",
         "-" if layer.leak_relative_error is None else f"{layer.leak_relative_error:.1e}",
         layer.accumulator_bits, f"{layer.weight_bytes:,}", f"{layer.neurons:,}", f"{layer.fan_in:,}",
         f"{layer.fan_out:,}", f"{layer.largest_ksynops:,.1f}")
        for layer in report.layers
    ]  # fmt: skip
    columns = (
        "layer",
        "kind",
        "weights",
        "scale",
        "SNR dB",
        "zero %",
        "gain err.",
        "leak err.",
        "acc. bits",
        "bytes",
        "neurons",
        "fan-in",
        "fan-out",
        "max kSynOps",
    )
    print_table(
        columns, rows, title=f"{program.name}: membrane {hardware.membrane}, {hardware.overflow.value}"
    )
    memory = report.footprint_bytes
    data = "FOLDER" if program.dataset == NOT_STATED else shlex.quote(program.dataset)
    click.echo(
        f"Memory: {memory['total']:,} bytes = {memory['weights']:,} weights + {memory['parameters']:,} gains, biases, "
        f"thresholds + {memory['state']:,} state. {report.neurons:,} neurons.\n"
        f"At most {report.largest_ksynops:,.1f} kSynOps per recording.\n"
        f"Wrote {path} (hash {program_hash(program)[:16]}).\n"
        + (
            "Weights of 2 to 4 bits are INT4 in the file: ONNX Runtime runs it from version 1.23 on.\n"
            if hardware.weight_bits <= 4
            else ""
        )
        + f"Next: sastdeploy simulate {shlex.quote(str(path))} --dataset {data}"
    )


def _span(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.4g}" if pair[0] == pair[1] else f"{pair[0]:.3g} to {pair[1]:.3g}"
