"""The doctor: what it sees, and what it calls missing."""

import importlib.metadata
import json

import pytest

from sastdeploy import doctor
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
