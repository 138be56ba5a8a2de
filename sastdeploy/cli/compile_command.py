"""``sastdeploy compile``."""

from __future__ import annotations

import click


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
    help="Program to write.  [default: CHECKPOINT's name with the profile's, .onnx]",
)
@click.option(
    "--dump-passes", type=click.Path(), default=None, help="Folder for the graph as text after every pass."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(checkpoint: str, profile: str, out: str | None, dump_passes: str | None, as_json: bool) -> None:
    """Turn CHECKPOINT into an integer program (a standard ONNX file) for a hardware profile.

    The same checkpoint and profile give the same bytes. Prints per layer what a port must provide.
    """
    import json
    from pathlib import Path

    from sastdeploy.checkpoint import load_checkpoint
    from sastdeploy.compiler import compile_checkpoint, compile_report
    from sastdeploy.hardware import load_profile
    from sastdeploy.program_file import program_hash, save_program
    from sastdeploy.report.terminal import print_table

    hardware = load_profile(profile)
    program = compile_checkpoint(
        load_checkpoint(checkpoint), hardware, dump=Path(dump_passes) if dump_passes else None
    )
    path = Path(out) if out else Path(checkpoint).with_suffix(f".{hardware.name}.onnx")
    save_program(path, program)
    report = compile_report(program)
    for warning in report["warnings"]:
        click.echo(f"WARNING: {warning}", err=True)
    if as_json:
        click.echo(
            json.dumps({**report, "program": str(path), "program_hash": program_hash(program)}, indent=2)
        )
        return
    rows = [
        (layer["name"], layer["kind"], f"{layer['weights']:,}", layer["weight_format"], _span(layer["scale"]),
         "exact" if layer["signal_to_noise_db"] is None else f"{layer['signal_to_noise_db']:.1f}",
         f"{100 * layer['zero_weights']:.1f}", f"{layer['gain_relative_error']:.1e}", layer["accumulator_bits"],
         f"{layer['weight_bytes']:,}")
        for layer in report["layers"]
    ]  # fmt: skip
    columns = (
        "layer",
        "kind",
        "weights",
        "format",
        "scale",
        "SNR dB",
        "zeros %",
        "gain error",
        "acc bits",
        "bytes",
    )
    print_table(
        columns, rows, title=f"{program.name}: membrane {hardware.membrane}, {hardware.overflow.value}"
    )
    click.echo(
        f"Leak error {report['leak_relative_error']:.1e}; {report['neurons']:,} neurons; {report['weight_bytes']:,} bytes of "
        f"weights.\n{path} ({program_hash(program)[:16]})\nNext: sastdeploy simulate {path} --dataset {program.dataset}"
    )


def _span(pair: list[float]) -> str:
    return f"{pair[0]:.4g}" if pair[0] == pair[1] else f"{pair[0]:.3g} to {pair[1]:.3g}"
