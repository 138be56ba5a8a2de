"""Fixtures shared by every test file."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
