"""``sastdeploy data list | fetch | make | check | show``."""

from __future__ import annotations

import json as json_module
from pathlib import Path

import click

from sastdeploy.cli.options import DATA, JSON, data_folder


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
    here = {name: (root / name).is_dir() for name in CATALOG}
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
         f"{facts.recordings[0]:,} + {facts.recordings[1]:,}", len(facts.classes), facts.size, facts.licence, facts.install_command)
        for name, facts in CATALOG.items()
    ]  # fmt: skip
    print_table(("name", "here", "kind", "train + test", "classes", "size", "licence", "get it with"), rows)
    for facts in CATALOG.values():
        click.echo(f"{facts.name}: {facts.title}. Source: {facts.source}. Cite: {facts.citation}.")
    click.echo(f"\nData folder: {root}")


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
    manifest = json_module.loads((folder / "simulated.json").read_text("utf-8"))
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
    """Read every recording of data set NAME and list the bad files."""
    from sastdeploy.cli.terminal import progress
    from sastdeploy.errors import InputError
    from sastdeploy.recordings.catalog import dataset
    from sastdeploy.recordings.reading import list_sources, read_split

    facts, root = dataset(name), data_folder(data)
    bad: list[str] = []
    segments = events = 0
    with progress() as bar:
        for split in ("train", "test"):
            sources = list_sources(facts, root, split)
            task = bar.add_task(f"{name} {split}", total=len(sources))
            for source in sources:
                for segment in read_split([source], skip_bad=True, on_bad=bad.append):
                    segments, events = segments + 1, events + len(segment.events)
                bar.advance(task)
    if as_json:
        click.echo(
            json_module.dumps(
                {"dataset": name, "recordings": segments, "events": events, "bad": bad}, indent=2
            )
        )
    else:
        click.echo(f"{name}: {segments:,} good recordings, {events:,} events, {len(bad)} bad files.")
        for message in bad:
            click.echo(f"  {message}")
    if bad:
        raise InputError(
            f"data set '{name}': {len(bad)} bad files, listed above. Get them again, or use --skip-bad."
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
@JSON
def show(recording: str, out: str | None, time_bins: int, as_json: bool) -> None:
    """Draw one RECORDING (.bin, .aedat or .npy) as PNG or GIF and print what it is like."""
    from sastdeploy.cli.terminal import print_table
    from sastdeploy.recordings.describe import describe_recording
    from sastdeploy.recordings.reading import SUFFIXES, read_events
    from sastdeploy.report.recording_figures import draw_recording

    path = Path(recording)
    events = read_events(path)
    size = SUFFIXES[path.suffix]
    facts = describe_recording(events, size, time_bins)
    picture = draw_recording(events, size, Path(out) if out else Path(f"{path.stem}.png"), title=path.name)
    if as_json:
        click.echo(json_module.dumps({"recording": str(path), "picture": str(picture), **facts}, indent=2))
        return
    texts = {
        key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in facts.items()
    }
    print_table(
        ("what", "value"), [(key.replace("_", " "), value) for key, value in texts.items()], title=path.name
    )
    click.echo(f"Picture: {picture}")
