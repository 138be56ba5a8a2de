"""``sastdeploy verify``."""

from __future__ import annotations

import click

from sastdeploy.cli.arguments import stated
from sastdeploy.cli.options import DATA, JSON, SKIP_BAD


@click.command()
@click.argument("program", type=click.Path())
@click.option(
    "--dataset",
    default=None,
    help="Also on recordings of this data set, or of a folder of your own.  [default: none]",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
    help="Which recordings of the data set.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="At most this many recordings of the data set, classes in proportion.",
)
@click.option(
    "--random",
    type=click.IntRange(1, 10_000),
    default=8,
    show_default=True,
    help="How many random recordings.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the recordings that are drawn.",
)
@click.option(
    "--verilog-clocks",
    type=click.IntRange(0),
    default=25_000,
    show_default=True,
    help="Simulate the Verilog where a recording takes no more clocks; 0 leaves it out.",
)
@DATA
@SKIP_BAD
@JSON
def command(program: str, dataset: str | None, split: str, limit: int, random: int, seed: int, verilog_clocks: int,
            data: str | None, skip_bad: bool, as_json: bool) -> None:  # fmt: skip
    """Compare every engine on PROGRAM: every membrane, spike, score, operation and overflow must be equal.

    Numba (one thread, several, with and without traces, narrow and wide arithmetic), ONNX Runtime, the exported C, compiled here,
    and the exported Verilog under Icarus are compared with the reference engine, on random recordings, adversarial ones and those
    of a data set. Exit code 5, and the first difference, where one differs.
    """
    import json

    from sastdeploy import SimulationError, load_program, verify
    from sastdeploy.cli.options import load_data_for_program, progress_of

    if dataset is None and stated("split", "limit", "skip_bad"):
        raise click.UsageError(
            "--split, --limit and --skip-bad choose recordings of a data set; name one with --dataset."
        )
    loaded = load_program(program)
    own = {}
    if dataset is not None:
        name, frames = load_data_for_program(loaded, dataset, split, data, limit, skip_bad)
        own = {name: frames}
    with progress_of("comparing") as show:
        verification = verify(
            loaded, own, random=random, seed=seed, verilog_clocks=verilog_clocks, progress=show
        )
    if as_json:
        click.echo(json.dumps(verification.to_dict(), indent=2))
    else:
        from sastdeploy.cli.terminal import print_table

        rows = [
            (
                proof.engine,
                f"{proof.recordings:,}",
                f"{proof.values:,}",
                proof.absent or ("differs" if proof.difference else "equal"),
            )
            for proof in verification.engines
        ]
        print_table(
            ("engine", "recordings", "integers", "beside the reference"), rows, title=verification.program
        )
        kinds = ", ".join(f"{count} {kind}" for kind, count in verification.inputs.items())
        click.echo(
            f"Recordings: {kinds}. In them {verification.spikes:,} spikes, {verification.ties:,} membranes exactly at their threshold, "
            f"{verification.overflows:,} beyond their format."
        )
    if verification.first_difference is not None:
        raise SimulationError(
            f"{program}: {verification.first_difference}. Do not deploy it; please report this with the program's file."
        )
