"""``sastdeploy export``."""

from __future__ import annotations

import click

from sastdeploy.cli.options import FORCE, JSON


@click.command()
@click.argument("program", type=click.Path())
@click.option("--to", "form", type=click.Choice(["c"]), required=True, help="What to write: c is C99 source.")
@click.option("--out", type=click.Path(), required=True, help="Folder to write.")
@click.option(
    "--name",
    default=None,
    help="What functions, types and files begin with.  [default: the program's name]",
)
@FORCE
@JSON
def command(program: str, form: str, out: str, name: str | None, force: bool, as_json: bool) -> None:
    """Write PROGRAM in another form: integer C99 source for a device without anything else.

    The same program gives the same bytes. Prints what the tables take in flash and the state in RAM; code comes on top.
    """
    import json
    import shlex

    from sastdeploy import export_c, load_program
    from sastdeploy.cli.terminal import print_table

    export = export_c(load_program(program), out, name=name, force=force)
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
