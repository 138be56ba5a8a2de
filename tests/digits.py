"""Simulated digits, a program on them, and the simulate command beside both, for tests."""

from itertools import pairwise

import numpy as np

from sastdeploy.program.file import save_program
from sastdeploy.program.fixedpoint import QFormat
from sastdeploy.program.records import DenseLif
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim
from tests.command_line import cli
from tests.tiny_programs import tiny_lif, tiny_program, tiny_readout


def digits_program(seed=0, dataset="nmnist-sim", frame=(2, 34, 34), classes=10):
    """Return a random program on N-MNIST's frames with some spikes in every layer."""
    rng = np.random.default_rng(seed)
    sizes = (int(np.prod(frame)), 12, 8)
    layers = [
        DenseLif(
            f"fc{k + 1}",
            np.clip(np.rint(rng.normal(4, 30, (after, before))), -127, 127).astype(np.int8),
            8,
            tiny_lif(
                after,
                multiplier=np.full(after, 20000, np.int32),
                shift=np.full(after, 16, np.int32),
                threshold=np.full(after, 16, np.int32),
                membrane=QFormat(8, 8),
            ),
        )
        for k, (before, after) in enumerate(pairwise(sizes))
    ]
    weight = rng.integers(-127, 128, (classes, sizes[-1])).astype(np.int8)
    readout = tiny_readout(sizes[-1], classes, weight=weight, weight_bits=8)
    return tiny_program(layers, readout, frame, 10, 2, dataset, classes)


def recording_of(root):
    """Return the first test recording of the digits in ``root``."""
    return sorted((root / "nmnist-sim").glob("Test/*/*.bin"))[0]


def small_digits(folder, train=20):
    """Write a small data set of simulated digits and return its folder."""
    make_nmnist_sim(folder, train=train, test=30, seed=1, processes=1)
    return folder


def beside_program(folder, monkeypatch, root):
    """Go to a folder with the program ``net.onnx`` and the digits of ``root`` as its data."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SASTDEPLOY_DATA", str(root))
    save_program("net.onnx", digits_program())
    return folder


def simulate(capsys, *arguments):
    """Return the exit code, the output and the errors of ``sastdeploy simulate``."""
    return cli(capsys, "simulate", *arguments)
