"""The scripts in examples/ run as their first lines say."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("examples")


def run(work, script, *words):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *map(str, words)], cwd=work, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_train_and_compare_then_a_profile_of_ones_own(work):
    out = run(work, "train_and_compare.py", "--work", "results", "--train", 120, "--epochs", 2)
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["baseline", "sast"]
    assert out.splitlines()[-1].count("%") == 5
    out = run(
        work,
        "own_profile.py",
        "results/baseline.pt",
        "--work",
        "results",
        "--data",
        "results/data",
        "--limit",
        20,
    )
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["8", "7", "6", "5", "4", "3", "2"]


def test_a_network_and_a_recording_of_ones_own(work):
    out = run(work, "own_network.py", "--work", "own", "--train", 120, "--epochs", 1)
    assert "epoch 1: loss" in out and "simulated recordings" in out.splitlines()[-1]
    out = run(work, "own_recording.py", "own/own.onnx", "--work", "own")
    assert "events -> class" in out and (work / "own" / "bar.bin").exists()


def test_every_example_is_run_here():
    text = Path(__file__).read_text("utf-8")
    for script in EXAMPLES.glob("*.py"):
        assert f'"{script.name}"' in text
