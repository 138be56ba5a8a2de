"""``sastdeploy export``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sastdeploy.cli.options import DATA, FORCE, JSON

if TYPE_CHECKING:
    from sastdeploy.program.records import Program
    from sastdeploy.recordings.frames import LabelledFrames


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
    help="Recordings of this data set, or of a folder of your own, to check with.  [default: three made ones]",
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
    from sastdeploy import load_program

    if form in ("vectors", "nir") and name is not None:
        raise click.UsageError("--name is for --to c and --to verilog; leave it out.")
    if limit and not dataset:
        raise click.UsageError("--limit chooses recordings of a data set; name one with --dataset.")
    loaded = load_program(program)
    recordings = None if dataset is None else _recordings(loaded, dataset, limit or 3, data)
    if form == "c":
        _c(loaded, out, recordings, name, force, as_json)
    elif form == "verilog":
        _verilog(loaded, out, recordings, name, force, as_json)
    elif form == "nir":
        _nir(loaded, out, recordings, force, as_json)
    else:
        _vectors(loaded, out, recordings, force, as_json)


def _recordings(program: Program, dataset: str, limit: int, data: str | None) -> LabelledFrames:
    from sastdeploy.cli.options import dataset_facts, load_data
    from sastdeploy.simulator.simulate import check_fit

    name = dataset_facts(dataset).name
    for remark in check_fit(program, name):
        click.echo(f"{program.name}: {remark}", err=True)
    own = program.preprocessing
    return load_data(name, "test", data, **own.bins, limit=limit)


def _c(
    program: Program,
    out: str,
    recordings: LabelledFrames | None,
    name: str | None,
    force: bool,
    as_json: bool,
) -> None:
    import json
    import shlex

    from sastdeploy import export_c
    from sastdeploy.cli.terminal import print_table

    export = export_c(program, out, recordings, name=name, force=force)
    if as_json:
        click.echo(json.dumps(export.to_dict(), indent=2))
        return
    rows = [
        (layer.name, layer.kind, layer.weights or "-", f"{layer.table_bytes:,}", f"{layer.own_bytes:,}")
        for layer in export.layers
    ]
    print_table(("layer", "kind", "weights", "table bytes", "state bytes"), rows, title=export.name)
    click.echo(
        f"Flash: {export.table_bytes:,} bytes of constant tables. RAM: {export.state_bytes:,} bytes of state, "
        f"{export.shared_bytes:,} of them sums that layers share.\n"
        f"Wrote {out}: {', '.join(export.files)}.\n"
        f"Next: make -C {shlex.quote(out)} check"
    )


def _verilog(
    program: Program,
    out: str,
    recordings: LabelledFrames | None,
    name: str | None,
    force: bool,
    as_json: bool,
) -> None:
    import json
    import shlex

    from sastdeploy import export_verilog

    export = export_verilog(program, out, recordings, name=name, force=force)
    if as_json:
        click.echo(json.dumps(export.to_dict(), indent=2))
        return
    click.echo(
        f"{export.name}: {export.clocks:,} clocks for a recording. ROM: {export.rom_bits:,} bits of weights and numbers per channel. "
        f"RAM: {export.state_bits:,} bits of membranes and sums, and the layers' outputs.\n"
        f"Wrote {out}: {', '.join(export.files)}.\n"
        f"Next: make -C {shlex.quote(out)} check"
    )


def _nir(program: Program, out: str, recordings: LabelledFrames | None, force: bool, as_json: bool) -> None:
    import json

    from sastdeploy import export_nir

    export = export_nir(program, out, recordings, force=force)
    if as_json:
        click.echo(json.dumps(export.to_dict(), indent=2))
        return
    for line in export.lost:
        click.echo(f"lost: {line}")
    click.echo(
        f"Of {export.spikes:,} spikes in {export.recordings} recordings, {export.differing:,} are added or missing in float64.\n"
        f"Wrote {out}: {export.nodes} nodes. Next: sastdeploy import {out} -o net.pt"
    )


def _vectors(
    program: Program, out: str, recordings: LabelledFrames | None, force: bool, as_json: bool
) -> None:
    import json

    from sastdeploy import export_vectors
    from sastdeploy.cli.terminal import print_table

    export = export_vectors(program, out, recordings, force=force)
    if as_json:
        click.echo(json.dumps(export.to_dict(), indent=2))
        return
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
