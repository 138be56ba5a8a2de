"""Where an artifact comes from, and on what it was made: versions, commit, cores. No time of day, so that equal inputs give equal bytes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

from sastdeploy import __version__


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of sastdeploy, Python, and the named packages (without importing them)."""
    numbers = {"sastdeploy": __version__, "python": platform.python_version()}
    return numbers | {name: importlib.metadata.version(name) for name in packages}


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def code_hash() -> str:
    """Return the hash of the package's source files, names and contents: equal where the same code would run."""
    home = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        digest.update(f"{path.relative_to(home).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """Return the commit of the checkout that this code runs from, with ``+`` where it was changed; None outside one.

    Asked once per process, before its work: what is committed meanwhile did not do the work.
    """
    home = Path(__file__).resolve().parents[1]
    if not (home / ".git").exists():
        return None
    try:
        commit = _git(home, "rev-parse", "HEAD")
        return commit + (
            "+" if _git(home, "--no-optional-locks", "status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _git(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(home), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
