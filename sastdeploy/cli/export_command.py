"""``sastdeploy export``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from sastdeploy.cli.arguments import pasted
from sastdeploy.cli.options import DATA, FORCE, JSON

if TYPE_CHECKING:
    from sastdeploy import CExport, LabelledFrames, NirExport, Program, VectorsExport, VerilogExport


@click.command()
@click.argument("program", type=click.Path())
@click.option(
    "--to",
    "form",
    type=click.Choice(["c", "verilog", "vectors", "nir"]),
    required=True,
    help="What to write: c is C99 source, verilog a synthesizable core, vectors are the integers of every step, nir is a NIR file of floats.",
)
@click.option("--out", type=click.Path(), required=True, help="Folder to write; a file with --to nir.")
@click.option(
    "--name",
    default=None,
    help="What functions, types, modules and files begin with (c, verilog).  [default: the program's name]",
)
@click.option(
    "--dataset",
    default=None,
    help="Recordings of this data set, or of a folder of your own, to check with.  [default: three random recordings]",
)
@click.option(
    "--limit", type=click.IntRange(1), default=None, help="This many test recordings.  [default: 3]"
)
@DATA
@FORCE
@JSON
def command(program: str, form: str, out: str, name: str | None, dataset: str | None, limit: int | None,
            data: str | None, force: bool, as_json: bool) -> None:  # fmt: skip
    """Write PROGRAM in another form: integer C99 source, a Verilog core, test vectors for whoever builds it in hardware, or NIR.

    The same program gives the same bytes. For C, prints what the tables take in flash and the state in RAM; code comes on top.
    For Verilog, prints clocks of a recording and bits of memory. For NIR, prints what its floats leave out, and how many spikes
    that changes.
    """
    import json

    from sastdeploy import load_program
    from sastdeploy._files.atomic import check_writable
    from sastdeploy.cli.options import load_data_for_program

    if form in ("vectors", "nir") and name is not None:
        raise click.UsageError("--name is for --to c and --to verilog; leave it out.")
    if limit and not dataset:
        raise click.UsageError("--limit chooses recordings of a data set; name one with --dataset.")
    loaded = load_program(program)
    if form == "nir":
        check_writable(out, inputs=(program,))
    recordings: LabelledFrames | None = None
    if dataset is not None:
        _, recordings = load_data_for_program(loaded, dataset, "test", data, limit or 3)
    export: CExport | VerilogExport | NirExport | VectorsExport
    if form == "c":
        from sastdeploy import export_c

        export = export_c(loaded, out, recordings, name=name, force=force)
    elif form == "verilog":
        from sastdeploy import export_verilog

        export = export_verilog(loaded, out, recordings, name=name, force=force)
    elif form == "nir":
        from sastdeploy import export_nir

        export = export_nir(loaded, out, recordings, force=force)
    else:
        from sastdeploy import export_vectors

        export = export_vectors(loaded, out, recordings, force=force)
    if as_json:
        click.echo(json.dumps(export.to_dict(), indent=2))
    else:
        _PRINTED[form](export, loaded, out)


def _print_c(export: CExport, program: Program, out: str) -> None:
    from sastdeploy.cli.terminal import print_table

    rows = [
        (layer.name, layer.kind, layer.weights or "-", f"{layer.table_bytes:,}", f"{layer.own_bytes:,}")
        for layer in export.layers
    ]
    print_table(("layer", "kind", "weights", "table bytes", "state bytes"), rows, title=export.name)
    click.echo(
        f"Flash: {export.table_bytes:,} bytes of constant tables. RAM: {export.state_bytes:,} bytes of state, "
        f"{export.shared_bytes:,} of them sums that layers share."
    )
    _print_folder(export, out)


def _print_verilog(export: VerilogExport, program: Program, out: str) -> None:
    click.echo(
        f"{export.name}: {export.clocks:,} clocks for a recording. ROM: {export.rom_bits:,} bits of weights and numbers per channel. "
        f"RAM: {export.state_bits:,} bits of membranes and sums, and the layers' outputs."
    )
    _print_folder(export, out)


def _print_folder(export: CExport | VerilogExport, out: str) -> None:
    click.echo(f"Wrote {out}: {', '.join(export.files)}.\nNext: make -C {pasted(out)} check")


def _print_nir(export: NirExport, program: Program, out: str) -> None:
    for line in export.lost:
        click.echo(f"lost: {line}")
    click.echo(
        f"Of {export.spikes:,} spikes in {export.recordings} recordings, {export.differing:,} are added or missing in float64.\n"
        f"Wrote {out}: {export.nodes} nodes. Next: sastdeploy import {pasted(out)} -o net.pt"
    )


def _print_vectors(export: VectorsExport, program: Program, out: str) -> None:
    from sastdeploy.cli.terminal import print_table

    rows = [
        (
            row["layer"],
            row["kind"],
            " x ".join(map(str, row["shape"])),
            f"{row['bits']}{' signed' if row['signed'] else ''}",
        )
        for row in export.layers
    ]
    print_table(("layer", "signal", "shape of a step", "bits"), rows, title=program.name)
    click.echo(
        f"Wrote {out}: {export.values:,} integers of {export.recordings} recordings in {len(export.files)} files; README.md says what each is."
    )


_PRINTED: dict[str, Callable[[Any, Program, str], None]] = {
    "c": _print_c, "verilog": _print_verilog, "nir": _print_nir, "vectors": _print_vectors,
}  # fmt: skip
