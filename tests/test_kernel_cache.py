"""Damaged files in the kernel cache: compiled anew, without a word, with the same result; the doctor names them."""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest
from tiny_programs import one_neuron
from without_jit import JIT_ONLY

from sastdeploy._kernels import jit
from sastdeploy._kernels.cache_files import CheckedFiles, damaged_files
from sastdeploy.cli.doctor import examine
from sastdeploy.program.file import save_program

pytestmark = JIT_ONLY

DAMAGE = {
    "emptied": lambda content: b"",
    "cut within the checksum": lambda content: content[:7],
    "cut after the checksum": lambda content: content[:32],
    "cut in half": lambda content: content[: len(content) // 2],
    "last byte lost": lambda content: content[:-1],
    "one bit of machine code changed": lambda content: (
        content[:-2000] + bytes([content[-2000] ^ 1]) + content[-1999:]
    ),
    "other content": lambda content: b"no kernel at all\n" * 20,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_counts_as_absent_and_is_removed(tmp_path, kind):
    files, code = CheckedFiles(tmp_path, "kernel"), bytes(range(256)) * 20
    files.save("key", code)
    assert files.load("key") == code and damaged_files(tmp_path) == []
    (file,) = tmp_path.iterdir()
    file.write_bytes(DAMAGE[kind](file.read_bytes()))
    assert damaged_files(tmp_path) == [file]
    assert files.load("key") is None and not file.exists()
    files.save("key", code)
    assert files.load("key") == code


def test_a_program_is_simulated_with_emptied_cut_and_changed_files(tmp_path):
    program, recording, cache = tmp_path / "p.onnx", tmp_path / "events.bin", tmp_path / "cache"
    save_program(program, one_neuron())
    recording.write_bytes(b"".join(bytes([0, 0, t >> 8, t & 255, 0]) for t in range(40)))
    command = (
        sys.executable,
        "-m",
        "sastdeploy",
        "simulate",
        program,
        "--recording",
        recording,
        "--engine",
        "numba",
    )

    def simulated():
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "NUMBA_CACHE_DIR": str(cache)}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[:-1], done.stderr  # the last line tells the speed

    kept = jit.cache_folder()
    if kept:  # what other tests have compiled
        shutil.copytree(kept, cache / kept.name)
    simulated()  # Compiles what no other test has, and says so.
    first = simulated()
    files = sorted(cache.rglob("*.kernel"), key=lambda file: file.stat().st_size)
    assert len(files) > 3 and damaged_files(cache) == []
    for file, kind in zip(files, ("emptied", "cut in half", "one bit of machine code changed")):
        file.write_bytes(DAMAGE[kind](file.read_bytes()))
    assert len(damaged_files(cache)) == 3
    assert simulated() == first


def test_a_cache_that_cannot_be_written_or_read_is_none(tmp_path):
    files = CheckedFiles(tmp_path / "absent", "kernel")
    files.save("key", 1)
    assert files.load("key") is None and not list(tmp_path.iterdir())


def test_what_cannot_be_unpickled_is_removed(tmp_path):
    files, content = CheckedFiles(tmp_path, "kernel"), b"whole, and no pickle"
    files.save("key", 1)
    (file,) = tmp_path.iterdir()
    file.write_bytes(hashlib.sha256(content).digest() + content)
    assert files.load("key") is None and not file.exists()


def test_flush_removes_the_files_of_one_function(tmp_path):
    one, other = CheckedFiles(tmp_path, "one"), CheckedFiles(tmp_path, "other")
    for files in (one, other):
        files.save("key", [1, 2])
    one.flush()
    assert one.load("key") is None and other.load("key") == [1, 2]


def test_the_doctor_names_damaged_files(tmp_path, monkeypatch):
    monkeypatch.setattr(jit, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(jit, "cache_place", lambda: tmp_path)
    folder = tmp_path / "cache"
    folder.mkdir()
    files = CheckedFiles(folder, "clip_counts")
    for key in range(5):
        files.save(key, "machine code")

    def cache():
        (finding,) = [finding for finding in examine(tmp_path) if finding.what == "kernel cache"]
        return finding.status, finding.detail.partition("; ")[2]

    assert cache() == ("ok", "")
    paths = sorted(folder.iterdir())
    paths[0].write_bytes(b"")
    assert cache() == ("note", f"damaged: {paths[0].name}, compiled anew when next used")
    for path in paths:
        path.write_bytes(path.read_bytes()[:-1])
    names = ", ".join(path.name for path in paths[:3])
    assert cache() == ("note", f"damaged: {names} and 2 more, compiled anew when next used")
