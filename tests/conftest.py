"""Fixtures shared by every test file."""

import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from tests.command_line import cli

# A busy machine can stop a process for longer than any deadline; how long an example takes is no property of the code.
settings.register_profile("sastdeploy", deadline=None)
settings.load_profile("sastdeploy")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real recordings and the full MNIST files; tests that need it skip where it is absent."""
    folder = Path(
        os.environ.get("SASTDEPLOY_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
    )
    if not (folder / "SHA256SUMS").exists():
        pytest.skip(f"real recordings not found at {folder}; set SASTDEPLOY_SHARED_DATA to their folder")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder; data sets are looked for inside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SASTDEPLOY_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def call(capsys):
    """Return a function that runs a command line and returns code, output and errors."""
    return partial(cli, capsys)
