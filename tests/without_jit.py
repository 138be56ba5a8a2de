"""Running a test file's comparisons with NumPy again in an interpreter whose compiler is switched off."""

import os
import subprocess
import sys

import pytest

JIT_ONLY = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="this is the run without the compiler"
)


def assert_numpys_pass_without_the_compiler(file):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file, "-k", "numpys"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
