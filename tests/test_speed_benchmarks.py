"""The speed benchmarks run, and their page can be made from what a machine without other frameworks measures."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite import binding
from without_jit import JIT_ONLY

from sastdeploy.networks.builtin import builtin
from sastdeploy.networks.checkpoint import save_checkpoint
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim
from tests.small_networks import checkpoint_of

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

YARDSTICK = shutil.which("cc") is not None and binding.get_host_cpu_features().get("avx512bw", False)
"""The hand-written C run needs a C compiler and AVX-512."""
TONIC = importlib.util.find_spec("tonic") is not None
"""The data path is timed against tonic."""

TINY = {
    "training-fc_0p40m": (True, "training.py", "--batch", "8", "--turns", "2", "--steps", "1"),
    "inference-fc_0p40m": (YARDSTICK, "inference.py", "--recordings", "40", "--turns", "2"),
    "data-path": (TONIC, "data_path.py", "--files", "40", "--turns", "2"),
}
"""By result: whether this machine can measure it, and the script with its smallest sizes."""


@pytest.fixture
def work(tmp_path):
    """Return a working folder that holds what the scripts would make: few recordings, and a network that was never trained."""
    folder = tmp_path / "work"
    make_nmnist_sim(folder / "data", train=10, test=40, seed=0, processes=1)
    network = checkpoint_of(builtin("fc_0p40m", (2, 34, 34), 10), time_bins=10, spread=0.05)
    save_checkpoint(folder / "fc_0p40m.pt", network)
    return folder


@pytest.fixture
def copied(tmp_path):
    """Return a copy of the benchmarks with the committed results, so that nothing of the repository is written to."""
    folder = tmp_path / "benchmarks"
    shutil.copytree(BENCHMARKS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run(script, *words, **environment):
    done = subprocess.run(
        [sys.executable, str(script), *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr + done.stdout


@JIT_ONLY
def test_scripts_measure_without_other_frameworks_and_the_page_takes_their_results(work, copied):
    results = copied / "speed" / "results"
    for question, (possible, script, *words) in TINY.items():
        if possible:
            committed = (results / f"{question}.json").read_bytes()
            call = [copied / "speed" / script, "--work", work, *words]
            run(*map(str, call), SASTDEPLOY_BENCH_RESULTS=str(results))
            written = (results / f"{question}.json").read_bytes()
            assert written != committed and json.loads(written)
    run(str(copied / "speed" / "report.py"))
    page = (copied / "speed" / "PERFORMANCE.md").read_text("utf-8")
    assert page.startswith("# Speed\n") and "| method baseline | 5 |" in page
    assert list((copied / "speed" / "figures").glob("speed-*.svg"))
