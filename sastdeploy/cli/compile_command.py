"""``sastdeploy compile``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sastdeploy.cli.arguments import folder, pasted, stated, wrote
from sastdeploy.cli.options import DATA, FORCE, JSON

if TYPE_CHECKING:
    pass


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
    help="What to do with an imported network whose neuron is not the profile's: refuse it (network), or follow the profile.",
)
@click.option(
    "--all-profiles",
    is_flag=True,
    help="Write no program: print for every built-in profile, and one of yours (--profile), whether the network fits, and what it takes there.",
)
@click.option(
    "--dataset",
    default=None,
    help="With --all-profiles: also accuracy, SynOps and energy on this data set's test recordings.  [default: none]",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=None,
    help="With --dataset: use this many recordings, classes in proportion.  [default: all]",
)
@DATA
@FORCE
@JSON
def command(
    checkpoint: str, profile: str, out: str | None, dump_passes: str | None, neuron: str, all_profiles: bool,
    dataset: str | None,
    limit: int | None, data: str | None, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Turn CHECKPOINT into an integer program (a standard ONNX file) for a hardware profile.

    The same checkpoint and profile give the same bytes. Prints per layer what a port must provide.
    """
    import json

    from sastdeploy import compile, load_network, load_profile, save_program
    from sastdeploy._files import atomic
    from sastdeploy.cli.program_tables import print_report
    from sastdeploy.program.file import meaning_hash, program_hash
    from sastdeploy.program.records import NOT_STATED

    if all_profiles:
        if out or dump_passes:
            raise click.UsageError("--all-profiles writes no program; leave out --out and --dump-passes.")
        _all_profiles(
            checkpoint, profile if stated("profile") else None, neuron, dataset, limit, data, as_json
        )
        return
    if dataset or limit:
        raise click.UsageError("--dataset and --limit are for --all-profiles; leave them out.")
    hardware = load_profile(profile)
    trained = load_network(checkpoint)
    path = Path(out) if out else Path(f"{checkpoint.removesuffix('.pt')}.{hardware.name}.onnx")
    atomic.check_writable(path, inputs=(checkpoint, profile))
    if dump_passes and folder(dump_passes, "--dump-passes").resolve() == path.resolve():
        raise click.UsageError(f"--dump-passes and the program would both be {path}. Name another folder.")
    if dump_passes:
        atomic.check_writable(Path(dump_passes) / "tensors.npz", inputs=(checkpoint, profile))
    compilation = compile(trained, hardware, neuron=neuron, dump=dump_passes, force=force)
    program, report = compilation.program, compilation.report
    was_there = path.is_file()
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
    print_report(program, report.to_dict())
    data = "FOLDER" if program.dataset == NOT_STATED else shlex.quote(program.dataset)
    click.echo(
        f"{wrote(path, was_there, force, f' (hash {program_hash(program)[:16]})')}\n"
        + (
            "Weights of 2 to 4 bits are INT4 in the file: ONNX Runtime runs it from version 1.23 on.\n"
            if hardware.weight_bits <= 4
            else ""
        )
        + f"Next: sastdeploy simulate {pasted(path)} --dataset {data}"
    )


def _all_profiles(
    checkpoint: str, own: str | None, neuron: str, dataset: str | None, limit: int | None, data: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    import json

    from sastdeploy import load_network, load_profile
    from sastdeploy.analysis.profile_fits import SCHEMA, profile_fits
    from sastdeploy.cli.options import load_data_for
    from sastdeploy.cli.terminal import percent, print_table
    from sastdeploy.compiler.profiles import builtin_profiles

    trained = load_network(checkpoint)
    recordings = None
    if dataset is not None:
        _, recordings, _ = load_data_for(trained, checkpoint, dataset, "test", data, limit, False)
    elif limit:
        raise click.UsageError("--limit chooses recordings of a data set; name one with --dataset.")
    known = builtin_profiles()
    profiles = [load_profile(each) for each in (*([own] if own and own not in known else []), *known)]
    fits = profile_fits(trained, profiles, recordings, neuron)
    if as_json:
        content = {"schema": SCHEMA, "checkpoint": checkpoint, "profiles": [fit.to_dict() for fit in fits]}
        click.echo(json.dumps(content, indent=2))
        return
    rows = [
        (
            fit.profile, f"no ({len(fit.reasons)})" if fit.reasons else "yes", percent(fit.accuracy),
            _number(fit.ksynops, 1), _number(fit.largest_ksynops, 1),
            _number(None if fit.energy_pj is None else fit.energy_pj / 1e6, 3), _number(fit.memory_bytes, 0),
            _number(fit.cores, 0), fit.reasons[0].partition(" [pass")[0] if fit.reasons else "",
        )
        for fit in fits
    ]  # fmt: skip
    columns = ("profile", "fits", "accuracy %", "kSynOps", "max kSynOps", "energy uJ", "bytes", "cores")
    print_table((*columns, "first reason"), rows, title=checkpoint)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
