"""The doctor: what it sees, and what it calls missing."""

import importlib.metadata
import json
import shutil

import pytest

from sastdeploy._kernels import jit
from sastdeploy.cli import doctor
from sastdeploy.cli import main as main_module


def test_it_finds_what_is_needed(tmp_path):
    findings = {finding.what: finding for finding in doctor.examine(tmp_path)}
    assert {
        "sastdeploy",
        "python",
        "torch",
        "numba",
        "SIMD seen by Numba",
        "cores",
        "data set nmnist-sim",
    } <= set(findings)
    assert not [finding for finding in findings.values() if finding.status == "missing"]
    assert findings["data set nmnist"].detail == "not here: sastdeploy data fetch nmnist"


def test_a_missing_package_is_named_with_its_remedy(tmp_path, monkeypatch, capsys):
    real = importlib.metadata.version

    def version(name):
        if name == "onnx":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(SystemExit) as stop:
        main_module.main(["doctor", "--data", str(tmp_path), "--json"])
    captured = capsys.readouterr()
    assert stop.value.code == 1
    assert {"what": "onnx", "status": "missing", "detail": "not installed: pip install onnx"} in json.loads(
        captured.out
    )["findings"]
    assert captured.err == "Error: 1 missing: onnx. The table says how to mend each.\n"


def test_the_kernel_cache_is_shown_with_its_size_and_what_other_versions_left(tmp_path, monkeypatch):
    mine, other = tmp_path / "1234", tmp_path / "5678" / "kernels"
    for folder, size in ((mine, 1_500_000), (other, 2_000_000)):
        folder.mkdir(parents=True)
        (folder / "k.nbc").write_bytes(bytes(size))
    monkeypatch.setattr(jit, "cache_folder", lambda: mine)
    monkeypatch.setattr(jit, "cache_place", lambda: tmp_path)
    (cache,) = [f for f in doctor.examine(tmp_path) if f.what == "kernel cache"]
    beside = "; 1 folders of other versions beside it (2.0 MB) can be deleted"
    assert cache.detail == f"compiled kernels are kept in {mine} (1.5 MB){beside}"
    shutil.rmtree(other.parent)
    (cache,) = [f for f in doctor.examine(tmp_path) if f.what == "kernel cache"]
    assert cache.detail == f"compiled kernels are kept in {mine} (1.5 MB)"
    monkeypatch.setattr(jit, "cache_folder", lambda: None)
    (cache,) = [f for f in doctor.examine(tmp_path) if f.what == "kernel cache"]
    assert cache.status == "note" and "set NUMBA_CACHE_DIR" in cache.detail
