"""Feed a target mutated inputs; keep what is neither accepted nor refused in good order."""

from __future__ import annotations

import hashlib
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sastdeploy
from sastdeploy.errors import SastdeployError
from tests.fuzz.targets import Target

PACKAGE = Path(sastdeploy.__file__).parent
SLOW_S = 5.0
"""Processor time that one input may take."""
GROWTH = 512 << 20
"""Bytes by which one input may raise the largest memory held."""
ADDRESSES = 3 << 30
"""Bytes of addresses beyond those of the loaded program: a larger request is a MemoryError."""


@dataclass
class Tally:
    """``findings``: kind and place of each distinct finding, with the file that shows it."""

    seconds: float = 0.0
    count: int = 0
    accepted: int = 0
    refused: int = 0
    findings: dict[str, Path] = field(default_factory=dict)


class Slow(BaseException):
    """An input took too long; no `Exception`, so that no reader takes it for a damaged file."""


@contextmanager
def _timed(seconds: float) -> Iterator[None]:
    def stop(number, frame):
        raise Slow

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def limit_addresses() -> None:
    """Limit this process's addresses to those that it has now and `ADDRESSES` more (Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except OSError:
        return
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + ADDRESSES, resource.RLIM_INFINITY)
    )


def valid_inputs(target: Target) -> list[bytes]:
    """Return the target's valid inputs; each is read once, so that a fault of the target itself is seen."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = target.inputs(Path(folder))
    if not inputs:
        raise ValueError(f"target {target.name} has no valid input")
    for content in inputs:
        try:
            _read(target, content)
        except SastdeployError as error:  # a form that is not read, or not yet
            print(f"{target.name}: a valid input is refused: {error}", file=sys.stderr)
    return inputs


def _read(target: Target, content: bytes) -> object:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        return target.read(folder, content)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def finding(target: Target, content: bytes, slow_s: float = SLOW_S, growth: int = GROWTH) -> str | None:
    """Read one input; return what was found, None where it is accepted; raise `SastdeployError` where it is refused."""
    held = _largest_memory()
    try:
        with _timed(slow_s):
            try:
                _read(target, content)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
    except SastdeployError:
        if _largest_memory() - held <= growth:
            raise
    except Slow as error:
        return f"slow {_place(error)}"
    except Exception as error:
        return f"{type(error).__name__} {_place(error)}"
    return "memory" if _largest_memory() - held > growth else None


def _largest_memory() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _place(error: BaseException) -> str:
    """Return file and line of the innermost frame of the package, where there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)] or frames
    return f"{inside[-1].filename.removeprefix(f'{PACKAGE}/')}:{inside[-1].lineno}"


def fuzz(
    target: Target,
    folder: Path,
    *,
    seed: int = 0,
    inputs: int | None = None,
    seconds: float = 0.0,
    slow_s: float = SLOW_S,
    growth: int = GROWTH,
) -> Tally:
    """Try a number of inputs, or as many as the seconds allow; write the first input of each distinct finding to ``folder``."""
    valid, tally, began = valid_inputs(target), Tally(), time.monotonic()
    while tally.count < inputs if inputs is not None else time.monotonic() - began < seconds:
        rng = random.Random(f"{seed} {target.name} {tally.count}")
        content = target.mutate(rng, rng.choice(valid), rng.choice(valid))
        tally.count += 1
        try:
            seen = finding(target, content, slow_s, growth)
        except SastdeployError:
            tally.refused += 1
            continue
        if seen is None:
            tally.accepted += 1
        elif seen not in tally.findings:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{target.name}-{hashlib.sha256(content).hexdigest()[:12]}"
            path.write_bytes(content)
            tally.findings[seen] = path
            print(f"{target.name}: {seen}\n  python -m tests.fuzz {target.name} --replay {path}", flush=True)
    tally.seconds = time.monotonic() - began
    return tally


def replay(target: Target, path: Path) -> None:
    """Read a finding's input again, without limits; the exception comes out."""
    _read(target, path.read_bytes())
