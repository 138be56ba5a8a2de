"""``sastdeploy robustness``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sastdeploy.cli.options import DATA, JSON, SKIP_BAD


@click.command()
@click.argument("checkpoint", type=click.Path())
@click.option(
    "--dataset", default=None, help="Data set.  [default: the one that the checkpoint was trained on]"
)
@click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="test",
    show_default=True,
    help="Which recordings.",
)
@click.option(
    "--limit", type=int, default=None, help="Use this many recordings, classes in proportion.  [default: all]"
)
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    help="Hardware profile whose integer program is run too; repeat for several.  [default: none]",
)
@click.option(
    "--corruption",
    "corruptions",
    multiple=True,
    help="Kind and level, as in drop:0.3, hot_pixels:5, jitter:2ms, noise:1Hz, flip:0.5; repeat for several."
    "  [default: three or four levels of each]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the corruptions.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=None,
    help="Threads of the integer programs; the result does not depend on it.  [default: every core]",
)
@click.option(
    "--figures",
    type=click.Path(file_okay=False),
    default=None,
    help="Draw accuracy against level into this folder, a file per kind.  [default: none]",
)
@DATA
@SKIP_BAD
@JSON
def command(
    checkpoint: str,
    dataset: str | None,
    split: str,
    limit: int | None,
    profiles: tuple[str, ...],
    corruptions: tuple[str, ...],
    seed: int,
    threads: int | None,
    figures: str | None,
    data: str | None,
    skip_bad: bool,
    as_json: bool,
) -> None:
    """Accuracy of CHECKPOINT on corrupted recordings: surrogate spikes, hard spikes, integer programs.

    Events are lost, added, moved in time or mirrored before they are counted; every level sees the same recordings.
    """
    import json
    from functools import partial

    from sastdeploy.analysis.robustness import DEFAULT, grid
    from sastdeploy.checkpoint import checkpoint_hash, load_checkpoint
    from sastdeploy.cli.options import check_fits, data_folder, load_data, note_simulated
    from sastdeploy.events.catalog import dataset as facts_of
    from sastdeploy.events.corrupted_frames import corrupted_frames
    from sastdeploy.events.corruption import Corruption
    from sastdeploy.report.terminal import progress

    chosen = tuple(dict.fromkeys(Corruption.parse(text) for text in corruptions)) or DEFAULT
    trained = load_checkpoint(checkpoint)
    name = dataset or trained.dataset
    check_fits(trained, checkpoint, name)
    clean = load_data(
        name, split, data, time_bins=trained.preprocessing.time_bins, limit=limit,
        seed=trained.training.get("seed", 0), skip_bad=skip_bad,
    )  # fmt: skip
    simulated = note_simulated(name, data) or facts_of(name).simulated
    corrupt = partial(corrupted_frames, clean, name, split, root=data_folder(data), seed=seed)
    with progress() as bar:
        task = bar.add_task("corrupting, running", total=1 + len(chosen))
        records = grid(
            trained, clean, corrupt, chosen, profiles, threads=threads,
            progress=lambda done, total: bar.update(task, completed=done),
        )  # fmt: skip
    kind = "simulated recordings" if simulated else "recordings"
    title = f"{checkpoint} on {len(clean):,} {split} {kind} of {name}, corrupted"
    if figures:
        for path in draw(records, Path(figures), f"{Path(checkpoint).name}: {len(clean):,} {kind} of {name}"):
            click.echo(f"wrote {path}", err=True)
    if as_json:
        click.echo(json.dumps({
            "schema": "sastdeploy.robustness/1", "checkpoint": checkpoint, "checkpoint_hash": checkpoint_hash(trained),
            "dataset": name, "split": split, "simulated": simulated, "limit": limit, "seed": seed, "records": records,
        }, indent=2, allow_nan=False))  # fmt: skip
        return
    print_records(records, title)


def answers_of(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a record's answers by the names that people read."""
    return {"surrogate": record["surrogate"], "hard": record["hard"], **record["programs"]}


def print_records(records: list[dict[str, Any]], title: str) -> None:
    """Print accuracies with their intervals, then what each corruption costs, as tables on stdout."""
    from sastdeploy.report.terminal import print_table

    names, profiles = list(answers_of(records[0])), list(records[0]["programs"])
    print_table(
        ("corruption", "events", *(f"{name}, %" for name in names), *(f"{p}, kSynOps" for p in profiles)),
        [
            (
                record["corruption"],
                f"{record['events']:,.0f}",
                *(_percent(answer) for answer in answers_of(record).values()),
                *(f"{record['programs'][profile]['ksynops']:,.1f}" for profile in profiles),
            )
            for record in records
        ],
        title=f"{title}: accuracy and its 95 % interval",
    )
    print_table(
        ("corruption", *names),
        [
            (record["corruption"], *(_percent(answer["loss"]) for answer in answers_of(record).values()))
            for record in records[1:]
        ],
        title="points lost against clean, with the 95 % interval of the paired differences",
    )


def _percent(figure: dict[str, float]) -> str:
    return f"{100 * figure['value']:.2f} ({100 * figure['low']:.2f} to {100 * figure['high']:.2f})"


def draw(records: list[dict[str, Any]], folder: Path, title: str) -> list[Path]:
    """Write a figure per kind of corruption, ``robustness_KIND.png``, level 0 being clean; return their paths."""
    from sastdeploy.events.corruption import KINDS
    from sastdeploy.report.figures import Line, accuracy_lines

    paths = []
    for kind in dict.fromkeys(record["kind"] for record in records[1:]):
        points = sorted((r["level"], answers_of(r)) for r in records if r["kind"] == kind and r["level"] > 0)
        points = [(0.0, answers_of(records[0])), *points]
        lines = [
            Line(
                name,
                tuple(level for level, _ in points),
                *(tuple(answers[name][part] for _, answers in points) for part in ("value", "low", "high")),
            )
            for name in points[0][1]
        ]
        unit = f" ({KINDS[kind].unit})" if KINDS[kind].unit else ""
        path = folder / f"robustness_{kind}.png"
        accuracy_lines(lines, path, f"{title}, corrupted", f"{KINDS[kind].meaning}{unit}")
        paths.append(path)
    return paths
