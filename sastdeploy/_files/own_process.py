"""Reading by a process of its own: for files on which a library may never end, or may end the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sastdeploy._files.reading import MIB, open_regular, shown
from sastdeploy.errors import InputError

LONGEST_S, BYTES_PER_S = 20.0, 20 * MIB
"""Seconds that the reading may take, and a second more for so many bytes."""


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
        seconds = LONGEST_S + opened.seek(0, 2) / BYTES_PER_S
    command = [sys.executable, "-m", module, str(path)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        reason = f"reading it did not end within {seconds:.0f} s"
    else:
        if done.returncode >= 0:
            return done
        reason = f"{library} fails on it"
    raise InputError(f"{shown(path)}: is damaged ({reason}). {advice}")
