"""The same work in processes of their own, at once or alone: how much of its speed the machine keeps when all cores work."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any


def _serve(make: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...], pipe: Connection) -> None:
    call = make(*arguments)
    call()
    pipe.send("ready")
    while pipe.recv():
        call()
        pipe.send("done")


@contextmanager
def _process(make: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...]) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=_serve, args=(make, arguments, other), daemon=True)
    process.start()
    other.close()
    try:
        pipe.recv()  # EOFError where the process could not make its work
        yield pipe
        pipe.send(False)
    finally:
        process.join(timeout=10)


@contextmanager
def at_once(
    count: int, make: Callable[..., Callable[[], Any]], *arguments: Any
) -> Iterator[Callable[[int], None]]:
    """Yield a call that lets the first n of ``count`` processes do their work once, all at once, and waits for the last.

    ``make(*arguments)``, a function of a module, is called once in each process and returns the work.
    """
    with ExitStack() as stack:
        pipes = [stack.enter_context(_process(make, arguments)) for _ in range(count)]

        def run(n: int) -> None:
            for pipe in pipes[:n]:
                pipe.send(True)
            for pipe in pipes[:n]:
                pipe.recv()

        yield run
