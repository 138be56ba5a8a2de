"""Reading by a process of its own: for files on which a library may never end, or may end the process."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from sastdeploy._files.reading import MIB, open_regular, shown
from sastdeploy.errors import InputError

MAX_SECONDS, BYTES_PER_S = 20.0, 20 * MIB
"""Seconds of processor time that the reading may take, and a second more for so many bytes."""
WAITING = 10
"""Times as many seconds may pass on the clock, on a machine that is busy otherwise."""


def run_reader(
    module: str, path: Path | str, *, limit: int, library: str, advice: str
) -> subprocess.CompletedProcess[bytes]:
    """Return how ``python -m MODULE PATH`` ended, with its output.

    Args:
        limit: bytes of the file. library: its name in the message. advice: what to do with a damaged file, as a sentence.

    Raises:
        InputError: as `open_regular`; the process does not end in time, or a signal ends it.
    """
    with open_regular(path, limit=limit) as opened:
        seconds = MAX_SECONDS + opened.seek(0, 2) / BYTES_PER_S
    command = [sys.executable, "-m", module, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        with suppress(
            ImportError, AttributeError, OSError
        ):  # where there is no such limit, the clock's holds
            import resource

            most = math.ceil(seconds)
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (most, most + 1))
        try:
            output, errors = process.communicate(timeout=WAITING * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            reason = f"reading it did not end within {WAITING * seconds:.0f} s"
        else:
            if process.returncode >= 0:
                return subprocess.CompletedProcess(command, process.returncode, output, errors)
            late = -process.returncode == getattr(signal, "SIGXCPU", None)
            ending = f"reading it did not end within {seconds:.0f} s of processor time"
            reason = ending if late else f"{library} fails on it"
    raise InputError(f"{shown(path)}: is damaged ({reason}). {advice}")
