"""What several commands share: loading data with progress, and saying so where recordings are simulated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.progress import Progress

    from sastdeploy import Checkpoint, ImportedNetwork, LabelledFrames, Program
    from sastdeploy.recordings.catalog import Dataset

F = TypeVar("F", bound=Callable[..., Any])

DATA = click.option(
    "--data",
    type=click.Path(),
    default=None,
    help="Folder of the data sets.  [default: SASTDEPLOY_DATA, or the user's data folder]",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
DATASET = click.option(
    "--dataset",
    default=None,
    help="Data set, or folder of your own recordings.  [default: the one that the checkpoint was trained on]",
)
LIMIT = click.option(
    "--limit", type=int, default=None, help="Use this many recordings, classes in proportion.  [default: all]"
)
FORCE = click.option("--force", is_flag=True, help="Replace files that are there and are other ones.")
SKIP_BAD = click.option("--skip-bad", is_flag=True, help="Leave damaged recordings out and list them.")
UNIT = click.option(
    "--unit",
    type=click.Choice(["us", "ms", "s"]),
    default=None,
    help="Unit of the times in a .npy, .npz, .csv, .txt or .h5 file.  [default: guessed from fields and range, and printed]",
)
COLUMNS = click.option(
    "--columns",
    default=None,
    help="Order of the columns of plain numbers in such a file, as in xytp.  [default: xypt; names go before it]",
)
BEGIN = click.option(
    "--begin",
    type=click.Choice(["zero", "first-event"]),
    default=None,
    help="Where the bins of a recording begin: at the file's time 0, or at its first event.",
)


class _Range(click.FloatRange):
    """A range that nan lies outside of; click's own lets it through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{number} is not in the range {self.min}<=x<={self.max}.", param, ctx)
        return number


class _Milliseconds(_Range):
    """A number of milliseconds that are whole microseconds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number != round(number, 3):
            self.fail(f"{number} must be whole microseconds, so at most three decimals.", param, ctx)
        return number


def window_option(default: str) -> Callable[[F], F]:
    """Return the option ``--window``; `window_us` turns its value into microseconds."""
    return click.option(
        "--window",
        type=_Milliseconds(min=0.001, max=86_400_000.0),
        default=None,
        help="Leave out of a recording what comes this many ms or more after its start; the bins end with the last event "
        f"kept.  [default: {default}]",
    )


def binning_options(command: F) -> F:
    """Add the options ``--window``, ``--binning`` and ``--events-per-bin``: how recordings are divided into bins."""
    events = click.option(
        "--events-per-bin",
        type=int,
        default=None,
        help="With --binning events: events of a bin; those after the last bin are left out.",
    )
    binning = click.option(
        "--binning",
        type=click.Choice(["duration", "window", "events"]),
        default="duration",
        show_default=True,
        help="Bins are equal parts of a recording's own duration, equal parts of --window, or hold --events-per-bin events each.",
    )
    return window_option("keep everything")(binning(events(command)))


def window_us(window: float | None) -> int | None:
    """Return a window of ``--window`` in us."""
    return None if window is None else round(window * 1000)


def data_folder(data: str | None) -> Path:
    """Return the folder of the data sets: the option's, or the default."""
    from sastdeploy.recordings.catalog import data_root

    return Path(data) if data else data_root()


def load_data(dataset: str, split: str, data: str | None, **options: Any) -> LabelledFrames:
    """Return a split's frames with a progress bar on stderr while they are binned for the first time."""
    from sastdeploy import load_dataset

    with progress_of(f"binning {dataset}") as show:
        return load_dataset(
            dataset,
            split,
            root=data_folder(data),
            progress=show,
            say=lambda text: click.echo(text, err=True),
            **options,
        )


@contextmanager
def progress_of(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what takes (done, total) and shows a bar on stderr from its first call on."""
    from sastdeploy.cli.terminal import progress

    bars: list[Progress] = []

    def show(done: int, total: int) -> None:
        if not bars:
            bars.append(progress())
            bars[0].start()
            bars[0].add_task(what, total=total)
        bars[0].update(bars[0].task_ids[0], completed=done)

    try:
        yield show
    finally:
        for bar in bars:
            bar.stop()


def dataset_facts(name: str) -> Dataset:
    """Return the facts about a data set, with a progress bar while a folder of one's own is read for the first time."""
    from sastdeploy.recordings.datasets import dataset

    with progress_of(f"reading {name}") as show:
        return dataset(name, show)


def load_data_for(
    checkpoint: Checkpoint | ImportedNetwork,
    path: str,
    dataset: str | None,
    split: str,
    data: str | None,
    limit: int | None,
    skip_bad: bool,
) -> tuple[str, LabelledFrames, bool]:
    """Return the data set's name, a split's frames as the checkpoint wants them, and whether they are simulated.

    Recordings that last much longer or shorter than those trained on are warned of on stderr.

    Raises:
        InputError: the data set does not fit the checkpoint, or cannot be read.
    """
    facts = dataset_facts(dataset or checkpoint.dataset)
    from sastdeploy.recordings.splits import labelled_by_name

    name = facts.name
    check_fits(checkpoint, path, facts)
    frames = load_data(
        name,
        split,
        data,
        **checkpoint.preprocessing.bins,
        limit=limit,
        seed=getattr(checkpoint, "training", {}).get("seed", 0),
        skip_bad=skip_bad,
    )
    if frames.seconds is not None:
        from sastdeploy.simulator.durations import DATA_SET_ADVICE, far_durations

        for remark in far_durations(
            path, checkpoint.provenance, checkpoint.dataset, frames.binning, frames.seconds, DATA_SET_ADVICE
        ):
            click.echo(f"{name}: {remark}", err=True)
    frames = labelled_by_name(frames, checkpoint.classes)
    return name, frames, note_simulated(facts, data) or facts.simulated


def load_data_for_program(
    program: Program, dataset: str, split: str, data: str | None, limit: int, skip_bad: bool = False
) -> tuple[str, LabelledFrames]:
    """Return the data set's name and a split's frames as the program takes them, with remarks on stderr.

    The split and ``limit`` are drawn as ``simulate`` draws them, with the training's seed.

    Raises:
        InputError: the data set does not fit the program, or cannot be read.
    """
    from sastdeploy.recordings.splits import labelled_by_name
    from sastdeploy.simulator.simulate import check_fit, training_seed

    name = dataset_facts(dataset).name
    for remark in check_fit(program, name):
        click.echo(f"{program.name}: {remark}", err=True)
    seed = training_seed(program)
    frames = load_data(
        name, split, data, **program.preprocessing.bins, limit=limit, seed=seed, skip_bad=skip_bad
    )
    return name, labelled_by_name(frames, program.classes)


def note_simulated(facts: Dataset, data: str | None) -> bool:
    """Say on stderr where files under a real data set's name came from the simulator; return whether they did."""
    from sastdeploy.recordings.catalog import simulated_marker

    stands_in = not facts.simulated and simulated_marker(facts, data_folder(data))
    if stands_in:
        click.echo(
            f"NOTE: the files of '{facts.name}' in {data_folder(data)} are SIMULATED recordings, not the real ones.",
            err=True,
        )
    return stands_in


def check_fits(trained: Checkpoint | ImportedNetwork, path: str, facts: Dataset) -> None:
    """Accept a data set that has the sensor and the number of classes that the checkpoint in ``path`` was trained for.

    A folder of one's own must have its frames and its very classes.

    Raises:
        InputError: it has not; the message says what differs.
    """
    from sastdeploy import ImportedNetwork, InputError

    own, imported = trained.preprocessing, isinstance(trained, ImportedNetwork)
    made = "is for" if imported else "was trained on"
    if facts.own:
        from sastdeploy.recordings.own.folder import differences

        if parts := differences(facts, own.sensor_size, own.frame_size, trained.classes, imported):
            raise InputError(
                f"{path}: {made} {trained.dataset}; {facts.name} has {'; '.join(parts)}. Use the data set that it {made}, "
                "or state these in dataset.yaml as they were."
            )
        return
    if facts.sensor_size != trained.preprocessing.sensor_size or len(facts.classes) != len(trained.classes):
        raise InputError(
            f"{path}: {made} {trained.dataset} (sensor {trained.preprocessing.sensor_size}, "
            f"{len(trained.classes)} classes) and does not fit {facts.name} ({facts.sensor_size}, {len(facts.classes)})."
        )
