"""Small checkpoints with known parts, for tests of several rooms."""

import numpy as np

from sastdeploy.networks.architecture import Architecture, AvgPool, Conv, Dense, Neuron, Readout
from sastdeploy.networks.builtin import parameter_shapes
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.frames import Frames, LabelledFrames
from sastdeploy.recordings.preprocessing import Preprocessing

DENSE = Architecture("tiny_fc", (2, 4, 4), (Dense(12), Dense(8)), Readout(), 3)
CONV = Architecture("tiny_conv", (2, 9, 9), (Conv(4, 3, 2, 1), Conv(5, 3, 1, 0)), Readout(True), 3)
POOL = Architecture("tiny_pool", (1, 8, 8), (Conv(3, 3, 1, 1), AvgPool(2), Dense(6)), Readout(), 2)


def checkpoint_of(
    architecture=DENSE, seed=0, spread=0.6, c_clip=3, divisor=3.0, time_bins=6, **changes
) -> Checkpoint:
    """Return a checkpoint with random weights, large enough that neurons fire."""
    rng = np.random.default_rng(seed)
    parameters = {}
    for name, shape in parameter_shapes(architecture).items():
        values = (
            rng.normal(0, spread, shape)
            if not name.endswith("threshold")
            else np.full(shape, architecture.neuron.threshold)
        )
        parameters[name] = values.astype(np.float32)
    p, h, w = architecture.input_shape
    preprocessing = Preprocessing((w, h, p), (w, h), time_bins, c_clip, divisor)
    parts = {
        "architecture": architecture, "parameters": parameters, "preprocessing": preprocessing,
        "classes": tuple(f"class{k}" for k in range(architecture.classes)), "dataset": "nmnist-sim",
        "training": {"method": "baseline", "rho": 0.0, "seed": 0, "epochs": 1, "selected": {"epoch": 0}},
        "provenance": {"command": "test"},
    }  # fmt: skip
    return Checkpoint(**{**parts, **changes})


def labelled(architecture=DENSE, count=40, seed=0, time_bins=6, share=0.3) -> LabelledFrames:
    """Return random frames whose class shows in where the events lie."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % architecture.classes
    counts = rng.poisson(share, (count, time_bins, *architecture.input_shape)).astype(np.uint8)
    for n, label in enumerate(labels):
        counts[n, :, :, label] += rng.poisson(1.5, counts[n, :, :, label].shape).astype(np.uint8)
    names = tuple(f"recording{n}" for n in range(count))
    classes = tuple(f"class{k}" for k in range(architecture.classes))
    return LabelledFrames(
        Frames.from_dense(counts), labels, np.full(count, -1), names, classes, f"hash{seed}"
    )


def one_neuron(counts, **neuron):
    """Return a neuron that adds its input's count, no bias, and one recording with these counts per step."""
    architecture = Architecture("one", (1, 1, 1), (Dense(1),), Readout(), 2, Neuron(**neuron))
    checkpoint = checkpoint_of(architecture, c_clip=4, divisor=4.0, time_bins=len(counts))
    for name, value in (("weight", 4.0), ("bias", 0.0)):
        checkpoint.parameters[f"layers.0.{name}"][:] = value
    frames = Frames.from_dense(np.array(counts, np.uint8).reshape(1, -1, 1, 1, 1))
    return checkpoint, LabelledFrames(
        frames, np.zeros(1, np.int64), np.zeros(1, np.int64), ("r",), ("a", "b"), "hash"
    )
