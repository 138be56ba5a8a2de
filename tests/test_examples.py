"""The scripts in examples/ run as their first lines say."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    make_nmnist_sim(folder / "data", train=130, test=30, seed=0, processes=1)
    return folder


def run(work, script, *words):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *map(str, words)], cwd=work, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_train_and_compare_then_a_profile_of_ones_own(work):
    out = run(work, "train_and_compare.py", "--data", "data", "--work", "results", "--epochs", 2)
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["baseline", "sast"]
    assert out.splitlines()[-1].count("%") == 5
    options = ("--work", "results", "--data", "data", "--limit", 20)
    out = run(work, "own_profile.py", "results/baseline.pt", *options)
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["8", "7", "6", "5", "4", "3", "2"]


def test_a_network_and_a_recording_of_ones_own(work):
    out = run(work, "own_network.py", "--data", "data", "--work", "own", "--epochs", 1)
    assert "epoch 1: loss" in out and "simulated recordings" in out.splitlines()[-1]
    assert "events -> class" in run(work, "own_recording.py", "own/own.onnx")
    recording = next((work / "data" / "nmnist-sim" / "Test" / "3").glob("*.bin"))
    assert "synaptic operations" in run(work, "own_recording.py", "own/own.onnx", recording)


def test_arrays_of_ones_own(work):
    lines = run(work, "own_arrays.py", "--epochs", 1).splitlines()
    assert lines[0].startswith("INT4 accuracy") and "spikes uint8 [40, 8, 576]" in lines[2]


def test_every_example_is_run_here_and_uses_the_public_api_alone():
    text = Path(__file__).read_text("utf-8")
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert len(scripts) == 5
    for script in scripts:
        assert f'"{script.name}"' in text
        code = script.read_text("utf-8")
        assert len(code.splitlines()) <= 80, f"{script.name}: longer than a page"
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sastdeploy"):
                assert node.module == "sastdeploy", f"{script.name}: imports {node.module}"
