"""``sastdeploy data list | fetch | make | describe | check | show``."""

from __future__ import annotations

import json as json_module
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sastdeploy.cli.arguments import stated
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
    """List, fetch, make, describe, check and show event recordings."""


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
        for each in sets:
            del each["own"]
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
    print_table(
        ("name", "here", "kind", "train + test, if whole", "classes", "size", "licence", "get it with"), rows
    )
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
    """Download the official files of data set NAME, check their hashes, and keep what is already whole.

    tonic:NAME takes a data set of tonic (pip install 'sastdeploy[tonic]'), for --dataset tonic:NAME.
    """
    from sastdeploy.cli.options import progress_of
    from sastdeploy.cli.terminal import download_bar
    from sastdeploy.recordings.catalog import catalogued
    from sastdeploy.recordings.download import fetch as download
    from sastdeploy.recordings.tonic_sets import PREFIX, fetch_tonic

    if name.startswith(PREFIX):
        with progress_of(f"reading {name}") as show_progress:
            folder = fetch_tonic(name, data_folder(data), show_progress)
        click.echo(
            f"{folder}: holds the recordings of {name}. Name it with --dataset {folder if data else name}."
        )
        return
    click.echo(download(catalogued(name), data_folder(data), download_bar()))


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

    if name == "nmnist-sim" and stated("performers", "lightings", "duration"):
        raise click.UsageError(
            "--performers, --lightings and --duration are for dvsgesture-sim; leave them out."
        )
    if name == "dvsgesture-sim" and stated("train", "test", "images"):
        raise click.UsageError("--train, --test and --images are for nmnist-sim; leave them out.")
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
    from sastdeploy.recordings.simulated import read_manifest

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
    """Read every recording of data set NAME, or of a folder of your own; list the bad files, and what is missing.

    A published set is compared with what was published, a simulated one with what was made, by SHA-256, and a folder of your own with
    the classes that it has.
    """
    from sastdeploy import InputError
    from sastdeploy.cli.options import dataset_facts
    from sastdeploy.cli.terminal import progress
    from sastdeploy.recordings.check import check_dataset

    facts = dataset_facts(name)
    name = facts.name
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
        again = (
            f"Remove them and make them again ('{result.install_command}')"
            if facts.simulated
            else "Get them again"
        )
        raise InputError(
            f"data set '{name}': {len(result.bad)} bad files, listed above. {again}, or use --skip-bad."
        )
    if result.changed:
        raise InputError(f"data set '{name}': {result.changed} ('{result.install_command}').")
    if result.incomplete:
        rest = f"Get the rest ('{result.install_command}')" if result.install_command else "Add recordings"
        raise InputError(
            f"data set '{name}': is incomplete, as listed above. {rest}, or keep in mind that results are of a part."
        )


@command.command()
@click.argument("folder", type=click.Path())
@click.option("--write", is_flag=True, help="Write what was found and stated as FOLDER/dataset.yaml.")
@click.option("--force", is_flag=True, help="With --write: replace a dataset.yaml that says something else.")
@JSON
def describe(folder: str, write: bool, force: bool, as_json: bool) -> None:
    """Say what a FOLDER of your own recordings holds, per class and part, and what of it was guessed or left out.

    FOLDER has a folder per class, or folders train, validation and test with one per class in each, or a manifest.csv.
    """
    from sastdeploy._files import atomic
    from sastdeploy.cli.options import progress_of
    from sastdeploy.recordings.own.declaration import declaration_text
    from sastdeploy.recordings.own.description import describe_folder
    from sastdeploy.recordings.own.folder import open_folder
    from sastdeploy.recordings.own.layout import DECLARATION

    with progress_of(f"reading {folder}") as show_progress:
        opened = open_folder(os.path.join(folder, ""), show_progress)
    path = Path(opened.dataset.name) / DECLARATION
    if write:
        atomic.write_text(path, declaration_text(opened.declaration), force=force)
    facts = describe_folder(opened)
    if as_json:
        click.echo(
            json_module.dumps(
                {**facts, "written": str(path) if write else None}, indent=2, ensure_ascii=False
            )
        )
        return
    _print_description(facts)
    if write:
        click.echo(f"Wrote {path}.")
    elif facts["guessed"]:
        click.echo("To keep what was found and chosen: the same command with --write.")


def _print_description(facts: dict[str, Any]) -> None:
    from sastdeploy.cli.terminal import print_table

    rows = [
        (name, *(each[part] for part in ("train", "validation", "test")), f"{each['events']:,}",
         _range(each["seconds"]), _range(each["events_per_ms"]),
         "-" if each["share_on"] is None else f"{100 * each['share_on']:.1f}")
        for name, each in facts["classes"].items()
    ]  # fmt: skip
    kind = "simulated recordings" if facts["simulated"] else "recordings"
    print_table(
        ("class", "train", "validation", "test", "events", "lasts, s", "events per ms", "ON %"),
        rows,
        title=f"{facts['name']}: {facts['recordings']:,} {kind} ({facts['format']}, {facts['layout']})",
    )
    (width, height, polarities), frame = facts["sensor_size"], facts["frame_size"]
    click.echo(
        f"Sensor {width} x {height}, {polarities} polarities; frames {frame[0]} x {frame[1]}; largest pixel found "
        f"({', '.join(map(str, facts['largest_pixel']))}); times in {facts['unit']}."
    )
    for title, key in (("Found, not stated", "guessed"), ("Left out", "left_out"), ("Bad", "bad")):
        if facts[key]:
            click.echo(f"{title}:")
            for line in facts[key]:
                click.echo(f"  {line}")


def _range(spread: dict[str, float] | None) -> str:
    if spread is None:
        return "-"
    return f"{spread['least']:.3g} to {spread['most']:.3g}, median {spread['median']:.3g}"


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
@click.option(
    "--dataset",
    default=None,
    help="Read it as this folder of your own recordings is read: its sensor, unit and columns.  [default: by its suffix]",
)
@UNIT
@COLUMNS
@BEGIN
@window_option("show everything")
@FORCE
@JSON
def show(recording: str, out: str | None, time_bins: int, dataset: str | None, unit: str | None, columns: str | None, begin: str | None,
         window: float | None, force: bool, as_json: bool) -> None:  # fmt: skip
    """Draw one RECORDING (.bin, .aedat, .npy, .csv, .h5, .raw or another of docs/data.md) as PNG or GIF and print what it is like."""
    from sastdeploy._files import atomic
    from sastdeploy._files.reading import shown
    from sastdeploy.cli.options import dataset_facts
    from sastdeploy.cli.terminal import print_table
    from sastdeploy.recordings.describe import describe_recording
    from sastdeploy.recordings.dvsgesture import labels_of
    from sastdeploy.recordings.npy import parse_columns
    from sastdeploy.recordings.reading import ARRAYS, SUFFIXES, read_recording
    from sastdeploy.report.recording_figures import draw_recording

    path = Path(recording)
    picture = Path(out) if out else Path(f"{path.stem}.png")
    atomic.check_writable(picture, inputs=[path, labels_of(recording)])
    columns, size = columns and parse_columns(columns), None
    if dataset:
        known = dataset_facts(dataset)
        size = known.sensor_size
        if known.own and path.suffix in ARRAYS:
            unit, columns = unit or known.own.unit, columns or known.own.columns
    read = read_recording(path, size, unit=unit, columns=columns)
    size = size or (SUFFIXES[path.suffix] if read.sensor is None else None) or read.smallest_sensor
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
