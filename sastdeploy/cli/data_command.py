"""``sastdeploy data list | fetch | make | check | show``."""

from __future__ import annotations

import json as json_module
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sastdeploy.cli.options import (
    BEGIN,
    COLUMNS,
    DATA,
    FORCE,
    JSON,
    UNIT,
    data_folder,
    window_option,
    window_us,
)

if TYPE_CHECKING:
    from sastdeploy.recordings.catalog import Dataset


@click.group()
def command() -> None:
    """List, fetch, make, check and show event recordings."""


@command.command("list")
@DATA
@JSON
def list_(data: str | None, as_json: bool) -> None:
    """List the data sets: what they are, where they come from, which are here."""
    from dataclasses import asdict

    from sastdeploy.cli.terminal import print_table
    from sastdeploy.recordings.catalog import CATALOG

    root = data_folder(data)
    here = {name: os.path.isdir(root / name) for name in CATALOG}
    if as_json:
        sets = [{**asdict(facts), "here": here[name]} for name, facts in CATALOG.items()]
        click.echo(
            json_module.dumps(
                {"schema": "sastdeploy.datasets/1", "root": str(root), "datasets": sets}, indent=2
            )
        )
        return
    rows = [
        (facts.name, "yes" if here[name] else "no", "simulated" if facts.simulated else "real",
         _counts(facts), len(facts.classes), facts.size, facts.licence, facts.install_command)
        for name, facts in CATALOG.items()
    ]  # fmt: skip
    print_table(("name", "here", "kind", "train + test", "classes", "size", "licence", "get it with"), rows)
    for facts in CATALOG.values():
        click.echo(f"{facts.name}: {facts.title}. Source: {facts.source}. Cite: {facts.citation}.")
    click.echo(f"\nData folder: {root}")


def _counts(facts: Dataset) -> str:
    counts = f"{facts.recordings[0]:,} + {facts.recordings[1]:,}"
    return counts + (f" (re-packed {facts.repacked[0]:,} + {facts.repacked[1]:,})" if facts.repacked else "")


@command.command()
@click.argument("name")
@DATA
def fetch(name: str, data: str | None) -> None:
    """Download the official files of data set NAME, check their hashes, and keep what is already whole."""
    from sastdeploy.cli.terminal import download_bar
    from sastdeploy.errors import InputError, did_you_mean
    from sastdeploy.recordings.catalog import CATALOG
    from sastdeploy.recordings.download import fetch as download

    if name not in CATALOG:
        raise InputError(
            f"data set '{name}': unknown.{did_you_mean(name, CATALOG)} Known: {', '.join(CATALOG)}."
        )
    click.echo(download(CATALOG[name], data_folder(data), download_bar()))


@command.command()
@click.argument("name", type=click.Choice(["nmnist-sim", "dvsgesture-sim"]))
@DATA
@click.option(
    "--seed",
    type=click.IntRange(0, (1 << 31) - 1),
    default=0,
    show_default=True,
    help="Seed of every random draw.",
)
@click.option(
    "--train",
    type=int,
    default=None,
    help="nmnist-sim: training recordings.  [default: 12000, or all of --images]",
)
@click.option(
    "--test", type=int, default=None, help="nmnist-sim: test recordings.  [default: 2000, or all of --images]"
)
@click.option(
    "--images",
    type=click.Path(),
    default=None,
    help="nmnist-sim: folder of the full MNIST IDX files.  [default: the 14,000 digits that ship with sastdeploy]",
)
@click.option(
    "--performers", type=int, default=29, show_default=True, help="dvsgesture-sim: performers, 2 to 29."
)
@click.option(
    "--lightings",
    type=int,
    default=3,
    show_default=True,
    help="dvsgesture-sim: recordings per performer, 1 to 5.",
)
@click.option(
    "--duration", type=float, default=4.0, show_default=True, help="dvsgesture-sim: seconds per gesture."
)
@click.option(
    "--processes",
    type=int,
    default=None,
    help="Processes; the result does not depend on it.  [default: every core]",
)
@click.option("--force", is_flag=True, help="Replace a set that was made with other parameters.")
@JSON
def make(name: str, data: str | None, seed: int, train: int | None, test: int | None, images: str | None, performers: int,
         lightings: int, duration: float, processes: int | None, force: bool, as_json: bool) -> None:  # fmt: skip
    """Make the simulated data set NAME in the official format; goes on where an interruption stopped it."""
    from sastdeploy.cli.terminal import progress

    root = data_folder(data)
    with progress() as bar:
        task = bar.add_task(f"simulating {name}", total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if name == "nmnist-sim":
            from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim

            folder = make_nmnist_sim(
                root, images=images, seed=seed, processes=processes,
                train=(60000 if images else 12000) if train is None else train,
                test=(10000 if images else 2000) if test is None else test, progress=report, force=force,
            )  # fmt: skip
        else:
            from sastdeploy.synthesis.dvsgesture_sim import make_dvsgesture_sim

            folder = make_dvsgesture_sim(
                root, seed=seed, performers=performers, lightings=lightings, duration=duration, processes=processes,
                progress=report, force=force,
            )  # fmt: skip
    from sastdeploy.synthesis.store import read_manifest

    manifest = read_manifest(folder)
    if as_json:
        click.echo(json_module.dumps({"folder": str(folder), **manifest}, indent=2))
    else:
        click.echo(
            f"{folder}: {manifest['recordings']:,} simulated recordings, {manifest['events']:,} events."
        )


@command.command()
@click.argument("name")
@DATA
@JSON
def check(name: str, data: str | None, as_json: bool) -> None:
    """Read every recording of data set NAME; list the bad files, and what is missing against the published set."""
    from sastdeploy.cli.terminal import progress
    from sastdeploy.errors import InputError
    from sastdeploy.recordings.check import check_dataset

    with progress() as bar:
        tasks: dict[str, Any] = {}

        def advance(split: str, done: int, total: int) -> None:
            if split not in tasks:
                tasks[split] = bar.add_task(f"{name} {split}", total=total)
            bar.update(tasks[split], completed=done)

        result = check_dataset(name, data_folder(data), advance)
    if as_json:
        click.echo(json_module.dumps(result.to_dict(), indent=2))
    else:
        click.echo(
            f"{name}: {result.recordings:,} good recordings, {result.events:,} events, {len(result.bad)} bad files."
        )
        if result.seconds:
            shortest, median, longest = result.seconds
            click.echo(
                f"Recordings last {shortest:.3g} to {longest:.3g} s, half of them up to {median:.3g} s."
            )
        for message in (*result.bad, *result.incomplete, *result.remarks):
            click.echo(f"  {message}")
    if result.bad:
        raise InputError(
            f"data set '{name}': {len(result.bad)} bad files, listed above. Get them again, or use --skip-bad."
        )
    if result.incomplete:
        raise InputError(
            f"data set '{name}': is incomplete, as listed above. Get the rest ('{result.install_command}'), or keep in mind "
            "that results are of a part."
        )


@command.command()
@click.argument("recording", type=click.Path())
@click.option(
    "--out",
    type=click.Path(),
    default=None,
    help="Picture to write, .png or .gif.  [default: the recording's name with .png, here]",
)
@click.option(
    "--time-bins", type=click.IntRange(1, 1000), default=10, show_default=True, help="Bins of the statistics."
)
@UNIT
@COLUMNS
@BEGIN
@window_option("show everything")
@FORCE
@JSON
def show(recording: str, out: str | None, time_bins: int, unit: str | None, columns: str | None, begin: str | None,
         window: float | None, force: bool, as_json: bool) -> None:  # fmt: skip
    """Draw one RECORDING (.bin, .aedat or .npy) as PNG or GIF and print what it is like."""
    from sastdeploy._files import atomic
    from sastdeploy._files.reading import shown
    from sastdeploy.cli.terminal import print_table
    from sastdeploy.recordings.describe import describe_recording
    from sastdeploy.recordings.npy import parse_columns
    from sastdeploy.recordings.reading import SUFFIXES, read_recording
    from sastdeploy.report.recording_figures import draw_recording

    path = Path(recording)
    picture = Path(out) if out else Path(f"{path.stem}.png")
    atomic.check_writable(picture, inputs=[path])
    read = read_recording(path, unit=unit, columns=columns and parse_columns(columns))
    size = SUFFIXES[path.suffix]
    segment = read.whole(begin or "zero").within(window_us(window))
    facts = {
        "unit": read.unit + (" (a guess; state it with --unit)" if read.guessed and not as_json else ""),
        **({"unit_guessed": read.guessed} if as_json else {}),
        "bins_begin_us": segment.start_us,
        **describe_recording(segment, size, time_bins),
        "labelled_gestures": len(read.gestures),
    }
    draw_recording(segment.events, size, picture, title=shown(path.name), force=force)
    if as_json:
        click.echo(json_module.dumps({"recording": str(path), "picture": str(picture), **facts}, indent=2))
        return
    texts = {
        key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in facts.items()
    }
    print_table(
        ("what", "value"),
        [(key.replace("_", " "), value) for key, value in texts.items()],
        title=shown(path.name),
    )
    click.echo(f"Picture: {shown(picture)}")
    if begin is None and facts["first_us"] > (facts["last_us"] + 1) / time_bins:
        click.echo(
            "NOTE: the bins begin at the file's time 0, long before its first event; see --begin.", err=True
        )
