"""Tables and progress on the terminal (rich). Results go to stdout, progress to stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print rows under column names to stdout; numbers align right, text left."""
    rows = [list(row) for row in rows]
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[position]) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(width=200, markup=False, highlight=False)
    console.print(table)


def progress(description: str = "") -> Progress:
    """Return a progress bar on stderr with time left; use as a context manager and call ``add_task(description, total=n)``."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=False,
    )


@contextmanager
def bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves a progress bar on stderr to how much of ``total`` is done."""
    with progress() as bars:
        task = bars.add_task(description, total=total)
        yield lambda done: bars.update(task, completed=done)


def download_bar() -> Callable[[int, int | None], None]:
    """Return a function that draws (bytes received, bytes in all or None)."""
    bars = progress()
    task = bars.add_task("downloading", total=None)

    def draw(received: int, total: int | None) -> None:
        bars.start()
        bars.update(task, completed=received, total=total)
        if received == total:
            bars.stop()

    return draw


def _is_number(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return True
    text = str(value).strip().rstrip("%").replace(",", "").split(" ")[0]
    return bool(text) and (text == "-" or text.lstrip("+-").replace(".", "", 1).isdigit())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_text(text: str) -> None:
    """Print plain text to stdout, not wrapped."""
    Console(markup=False, highlight=False, soft_wrap=True).print(text)
