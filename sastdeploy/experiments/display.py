"""A sweep on the terminal while it runs: a live table, or plain lines now and then where stderr is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sastdeploy.experiments.progress import State, seconds_left
from sastdeploy.experiments.spec import label

QUIET = 30.0
"""Seconds between two plain lines."""


def duration(seconds: float | None) -> str:
    """Return ``h:mm:ss``; ``-`` for None."""
    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))


def summary(name: str, states: Sequence[State], running: set[str], elapsed: float, left: float | None) -> str:
    """Return one line: trials done, running (by address; also one with a record, of which a measure is taken) and left, epochs, seconds elapsed and estimated."""
    done = sum(state.state == "done" and state.address not in running for state in states)
    waiting = len(states) - done - len(running)
    epochs, total = sum(s.epochs.count for s in states), sum(s.trial.epochs for s in states)
    return (
        f"{name}: {done} of {len(states)} trials done, {len(running)} running, {waiting} waiting; "
        f"{epochs:,} of {total:,} epochs; elapsed {duration(elapsed)}, left about {duration(left)}"
    )


class SweepDisplay:
    """Show a sweep on stderr; a context manager.

    Args:
        name: the experiment's. varied: the settings that tell its points apart. console, clock: for tests.
    """

    def __init__(
        self,
        name: str,
        varied: tuple[str, ...],
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.varied, self.clock = name, varied, clock
        self.console = console or Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
        self._live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        self._began, self._said = clock(), -QUIET

    def __enter__(self) -> SweepDisplay:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, states: Sequence[State], running: set[str], processes: int) -> None:
        """Show where the trials stand; without a terminal at most every `QUIET` seconds."""
        now = self.clock()
        if not self._live and now - self._said < QUIET:
            return
        line = summary(self.name, states, running, now - self._began, seconds_left(states, processes))
        if self._live:
            self._live.update(self._table([s for s in states if s.address in running], line), refresh=True)
        else:
            self._said = now
            self.console.print(line)

    def say(self, text: str) -> None:
        """Print a line that stays, above the table."""
        self.console.print(text)

    def _table(self, running: list[State], line: str) -> Group:
        table = Table(box=None, pad_edge=False)
        for column in ("running", "seed", "epochs", "hard, %"):
            table.add_column(column, justify="left" if column == "running" else "right")
        shown = running[: max(1, self.console.height - 5)]
        for state in shown:
            hard = state.epochs.hard_accuracy
            table.add_row(
                label(state.trial, self.varied), str(state.trial.seed), f"{state.epochs.count}/{state.trial.epochs}",
                "-" if hard is None else f"{100 * hard:.2f}",
            )  # fmt: skip
        more = [Text(f"and {len(running) - len(shown)} more")] if len(running) > len(shown) else []
        return Group(*([table] if running else []), *more, Text(line))
