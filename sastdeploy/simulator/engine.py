"""run: check that program and frames fit together, then compute on the chosen engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral

from sastdeploy.errors import InputError, did_you_mean
from sastdeploy.program.records import Program, require_frames
from sastdeploy.provenance import usable_cores
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator.result import RunResult, empty_result

ENGINES = ("numba", "reference", "onnxruntime")
CHUNK_BYTES = 40 << 20
"""Working memory that one thread may take for the spikes of its recordings."""

COMPILING = "compiling kernels for this kind of program, once on this machine: about 15 s"
COMPILING_AGAIN = (
    "compiling kernels for this run only, about 15 s: {} cannot be written to. "
    "Set NUMBA_CACHE_DIR to a folder that can, to keep them."
)


def run(
    program: Program,
    frames: Frames,
    *,
    engine: str = "numba",
    threads: int | None = None,
    trace: str | Sequence[str] | None = None,
    progress: Callable[[int], None] | None = None,
    say: Callable[[str], None] | None = None,
    chunk: int | None = None,
) -> RunResult:
    """Return the exact result of ``program`` on every recording of ``frames``; the same on every engine.

    Args:
        engine: one of `ENGINES`. threads: one for each usable core by default, and at most; reference takes one. Results never depend on it.
        trace: names of LIF layers whose membranes and spikes are kept at every step.
        progress: called with the number of recordings just finished. say: called with remarks for the user.
        chunk: recordings computed together by one thread; by default as many as fit `CHUNK_BYTES`.

    Raises:
        InputError: the program is invalid, the frames do not fit it, or an option is out of range.
        SimulationError: a width that the kernels need cannot be proven sufficient.
    """
    if chunk is not None and chunk < 1:
        raise InputError(f"chunk {chunk}: must be at least 1 recording. Leave it out for the default.")
    digest = _verified(program)
    names = check_options(program, engine, threads, trace)
    require_frames(program, frames)
    begin = time.perf_counter()
    if engine == "reference":
        from sastdeploy.simulator import reference

        threads = 1
        result = reference.run(program, frames, names, progress)
    elif engine == "onnxruntime":
        from sastdeploy.simulator import onnxruntime_engine

        threads = usable_threads(threads, say)
        result = onnxruntime_engine.run(program, frames, trace=names, threads=threads, progress=progress)
    else:
        threads = usable_threads(threads, say)
        return _run_numba(program, digest, frames, names, threads, progress, say, chunk)
    return replace(result, engine=engine, threads=threads, seconds=time.perf_counter() - begin)


def check_options(
    program: Program, engine: str, threads: int | None, trace: str | Sequence[str] | None
) -> tuple[str, ...]:
    """Return the names of the layers to trace; guarantee that a run of a verified program accepts the options.

    Raises:
        InputError: an option is out of range.
    """
    if engine not in ENGINES:
        raise InputError(
            f"engine '{engine}': unknown.{did_you_mean(engine, ENGINES)} Allowed: {', '.join(ENGINES)}."
        )
    _check_threads(threads)
    return _traced(program, trace)


def usable_threads(threads: int | None, say: Callable[[str], None] | None = None) -> int:
    """Return how many threads to start: at most one for each usable core, which is the default.

    Args:
        say: told where that is less than ``threads``.

    Raises:
        InputError: ``threads`` is no whole number, or below 1.
    """
    _check_threads(threads)
    cores = usable_cores()
    if threads is not None and threads > cores and say:
        say(f"threads {threads}: {cores} used, one for each usable core; the result is the same.")
    return cores if threads is None else min(int(threads), cores)


def _check_threads(threads: int | None) -> None:
    if threads is None:
        return
    if isinstance(threads, bool) or not isinstance(threads, Integral):
        raise InputError(f"threads {threads!r}: is not a whole number. Leave it out to use every core.")
    if threads < 1:
        raise InputError(f"threads {threads}: must be at least 1. Leave it out to use every core.")


def _traced(program: Program, trace: str | Sequence[str] | None) -> tuple[str, ...]:
    names = () if trace is None else (trace,) if isinstance(trace, str) else tuple(trace)
    allowed = [layer.name for layer in program.layers if layer.lif is not None]
    for name in names:
        if name not in allowed:
            raise InputError(
                f"trace '{name}': not a layer with membranes.{did_you_mean(name, allowed)} "
                f"Allowed: {', '.join(allowed)}."
            )
    return names


def _verified(program: Program) -> str:
    """Return the hash of a verified program; a program with the same content is not looked at twice.

    Raises:
        InputError: the program is invalid.
    """
    from sastdeploy.program.check import check_program
    from sastdeploy.program.file import program_hash

    try:
        digest = program_hash(program)
    except Exception:  # what cannot be hashed is not valid, and the check says why
        check_program(program)
        raise
    if digest not in _seen:
        check_program(program)
        _seen.add(digest)
    return digest


_seen: set[str] = set()
"""Hashes of programs that were found valid."""


_warm: set[tuple[str, str]] = set()
"""Programs, by hash and type of index, whose kernels are compiled and loaded."""


@contextmanager
def notice_of_compiling(say: Callable[[], None], seconds: float = 1.0) -> Iterator[None]:
    """Call ``say`` once if kernels are compiled within this context for longer than ``seconds``; loading them is silent."""
    from numba.core import event

    timer = threading.Timer(seconds, say)
    timer.daemon = True

    class Compiling(event.Listener):  # type: ignore[misc]  # Numba is Any
        def on_start(self, event: object) -> None:
            if timer.ident is None:
                timer.start()

        def on_end(self, event: object) -> None:
            """Many kernels follow one another: the timer runs on."""

    try:
        with event.install_listener("numba:compile", Compiling()):
            yield
    finally:
        timer.cancel()


def _run_numba(
    program: Program,
    digest: str,
    frames: Frames,
    names: tuple[str, ...],
    threads: int,
    progress: Callable[[int], None] | None,
    say: Callable[[str], None] | None,
    chunk: int | None,
) -> RunResult:
    """Share the recordings out among threads, a chunk at a time, so that memory stays flat."""
    from sastdeploy._kernels.jit import cache_folder, cache_place
    from sastdeploy.simulator.numba_engine.chunks import Chunks
    from sastdeploy.simulator.numba_engine.plan import plan_of

    remark = COMPILING if cache_folder() else COMPILING_AGAIN.format(cache_place())
    kind = digest, frames.index.dtype.str
    chunks = Chunks(program, plan_of(program, digest), frames, empty_result(program, len(frames), names))
    if kind not in _warm:
        with notice_of_compiling(lambda: say(remark) if say else None):
            chunks.warm_up()
        _warm.add(kind)
    begin = time.perf_counter()
    size = chunk or chunks.recordings_in(CHUNK_BYTES, threads)
    parts = [(start, min(start + size, len(frames))) for start in range(0, len(frames), size)]
    if threads == 1:
        for start, stop in parts:
            finished = chunks.run(start, stop)
            if progress:
                progress(finished)
        parts = []
    with ThreadPoolExecutor(max_workers=max(1, min(threads, len(parts)))) as pool:
        pending = [pool.submit(chunks.run, start, stop) for start, stop in parts]
        try:
            for done in as_completed(pending):
                finished = done.result()
                if progress:
                    progress(finished)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return replace(
        chunks.result(),
        engine="numba",
        threads=threads,
        seconds=time.perf_counter() - begin,
        stages=chunks.stages,
    )
