"""Compiled kernels: the cache belongs to the code, and nothing needs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sastdeploy
from sastdeploy import jit

PACKAGE = Path(sastdeploy.__file__).parent

USE = (
    "import numpy as np; from sastdeploy.simulator.kernels import clip_counts as k; from sastdeploy.jit import cache_folder\n"
    "v = np.zeros(2, np.uint8); a = np.array([3, 9], np.uint16); c = np.array([1, 9], np.uint8)\n"
    "print(k(a, c, np.uint8(4), v), v.tolist(), sum(k.stats.cache_hits.values()), cache_folder() is not None)"
)


def used(**environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", USE],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_file_with_kernels_is_hashed():
    named = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(
            word in path.read_text("utf-8")
            for word in ("@kernel", "@njit", "import intrinsic", "lower_builtin")
        )
    }
    assert named | {"jit.py"} == set(jit.SOURCES)


def test_the_second_process_takes_the_kernel_from_the_cache(tmp_path):
    folder = tmp_path / "cache"
    assert used(NUMBA_CACHE_DIR=str(folder)) == ["9", "[1,", "4]", "0", "True"]
    assert used(NUMBA_CACHE_DIR=str(folder)) == ["9", "[1,", "4]", "1", "True"]
    assert [path.name for path in folder.iterdir()] == [jit.content_hash()]


def test_without_a_folder_to_write_to_kernels_are_compiled_every_time(tmp_path):
    file = tmp_path / "file"
    file.write_text("", "utf-8")
    assert used(NUMBA_CACHE_DIR=str(file)) == ["9", "[1,", "4]", "0", "False"]


def test_a_change_in_any_file_gives_another_folder(tmp_path, monkeypatch):
    before = jit.content_hash()
    for name in jit.SOURCES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((PACKAGE / name).read_bytes())
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    assert jit.content_hash() == before
    with (tmp_path / "vectors.py").open("a") as file:
        file.write("#")
    assert jit.content_hash() != before


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="needs the compiler")
def test_the_users_own_setting_of_numba_is_left_alone():
    import numba

    import sastdeploy.simulator.kernels  # noqa: F401

    assert (numba.config.CACHE_DIR or "") == os.environ.get("NUMBA_CACHE_DIR", "")
