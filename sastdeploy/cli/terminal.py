"""Tables and progress on the terminal (rich). Results go to stdout, progress to stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from sastdeploy._files.reading import printable

WIDTH = 200
"""Columns of a table that goes into a file or a pipe."""
_NARROWEST = 24
"""Columns that a wrapped text needs to be readable."""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print rows under column names to stdout; numbers align right, text left.

    A terminal too narrow for that gets the same figures in another form: the last column wrapped where it is long text,
    else a column for every row, else a block of lines for every row.
    """
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(width=WIDTH, markup=False, highlight=False)
    draw_table(console, columns, [[_cell(value) for value in row] for row in rows], title)


def draw_table(console: Console, columns: Sequence[str], rows: list[list[str]], title: str | None) -> None:
    """As `print_table`, on a given console, from the cells' texts."""
    if title:
        console.print(title, style="bold", soft_wrap=True)
    table = _table(columns, rows)
    if _width(console, table) <= console.width:
        console.print(table)
        return
    others = _width(console, _table([*columns[:-1], ""], [[*row[:-1], ""] for row in rows]))
    if console.width - others >= _NARROWEST:
        console.print(table)
        return
    names = [row[0] for row in rows]
    turned = _table(
        [columns[0], *names], [list(cells) for cells in zip(columns[1:], *(row[1:] for row in rows))]
    )
    if rows and len(set(names)) == len(names) and _width(console, turned) <= console.width:
        console.print(turned)
        return
    for row in rows:
        block = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        block.add_column(no_wrap=True)
        block.add_column(overflow="fold")
        for name, cell in zip(columns, row):
            block.add_row(name, cell)
        console.print()
        console.print(block)
    console.print()


def _table(columns: Sequence[str], rows: list[list[str]]) -> Table:
    """Return the table; only its last column wraps."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[position]) for row in rows)
        last = position == len(columns) - 1
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=not last)
    for row in rows:
        table.add_row(*row)
    return table


def _width(console: Console, table: Table) -> int:
    """Return the columns that a table takes when nothing is wrapped."""
    return Measurement.get(console, console.options.update(width=10_000), table).maximum


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


def _is_number(cell: str) -> bool:
    text = cell.strip().rstrip("%").replace(",", "").split(" ")[0]
    return bool(text) and (text == "-" or text.lstrip("+-").replace(".", "", 1).isdigit())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))


def print_text(text: str) -> None:
    """Print plain text to stdout, not wrapped."""
    Console(markup=False, highlight=False, soft_wrap=True).print(printable(text))


def percent(value: float | None) -> str:
    """Return a part of 1 in percent, as the tables show it; a dash for None."""
    return "-" if value is None else f"{100 * value:.2f}"
