"""A command line for tests: how it ends and what it prints."""

import subprocess
import sys

import pytest

from sastdeploy.cli import main as main_module


def cli(capsys, *words):
    """Return the exit code, the output and the errors of a command that runs in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main_module.main([str(word) for word in words])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def run(*line, **options):
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sastdeploy", *line], text=True, timeout=300, stderr=subprocess.PIPE, **options
    )
