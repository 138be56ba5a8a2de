"""Programs small enough to be worked out by hand."""

import numpy as np

from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.records import ConvLif, Delay, DenseLif, Lif, Program, Readout
from sastdeploy.recordings.frames import Frames
from sastdeploy.recordings.preprocessing import Preprocessing


def tiny_lif(channels=1, **changes):
    """Return I = (3 acc + 1) >> 1, bias -1, threshold 5, leak 5/8 (floor), Q5.0 = [-16, 15], delayed subtraction."""
    values = {
        "multiplier": np.full(channels, 3, np.int32),
        "shift": np.full(channels, 1, np.int32),
        "bias": np.full(channels, -1, np.int32),
        "threshold": np.full(channels, 5, np.int32),
        "leak_multiplier": 5,
        "leak_shift": 3,
        "leak_rounding": Rounding.FLOOR,
        "membrane": QFormat(5, 0),
        "overflow": Overflow.SATURATE,
    }
    return Lif(**{**values, **changes})


def tiny_readout(inputs=1, classes=2, **changes):
    """Return gains 5/4 with weights 2 and -3 and biases 1 and 0 (zero weights beyond two classes)."""
    weight = np.zeros((classes, inputs), np.int8)
    weight[0], weight[1] = 2, -3
    values = {
        "name": "readout",
        "weight": weight,
        "weight_bits": 4,
        "multiplier": np.full(classes, 5, np.int32),
        "shift": np.full(classes, 2, np.int32),
        "bias": np.array([1, *[0] * (classes - 1)], np.int32),
        "fraction_bits": 0,
        "global_sum_pool": False,
    }
    return Readout(**{**values, **changes})


def tiny_program(layers, readout, frame=(1, 1, 1), time_bins=5, c_clip=4, dataset="nmnist-sim", classes=2):
    """Return a program on frames ``(P, H, W)``."""
    polarities, height, width = frame
    preprocessing = Preprocessing(
        (width, height, polarities), (width, height), time_bins, c_clip, float(c_clip)
    )
    names = tuple(str(k) for k in range(classes))
    return Program("tiny.test", preprocessing, tuple(layers), readout, names, dataset, {}, {}, {})


def one_neuron(**changes):
    """Return the program of one neuron with weight 3, on five bins of one input."""
    return tiny_program([DenseLif("fc", np.array([[3]], np.int8), 4, tiny_lif(**changes))], tiny_readout())


def three_neurons(**changes):
    """Return the program of one channel of three neurons of weight 2: gain 1, leak 1/2, thresholds 9, 7 and 4, no bias."""
    one = np.ones(1, np.int32)
    values = {
        "multiplier": one, "shift": 0 * one, "bias": 0 * one, "threshold": np.array([[[9, 7, 4]]], np.int32),
        "leak_multiplier": 2, "leak_shift": 2,
    }  # fmt: skip
    layer = ConvLif(
        "conv", np.full((1, 1, 1, 1), 2, np.int8), 4, (1, 1), (0, 0), tiny_lif(1, **{**values, **changes})
    )
    return tiny_program([layer], tiny_readout(3), (1, 1, 3))


def two_delays(steps=(0, 2)):
    """Return two neurons that hear the input with 2, and behind delays one that hears them with 3 and -2."""
    first = DenseLif("a", np.array([[2], [2]], np.int8), 4, tiny_lif(2))
    second = DenseLif("b", np.array([[3, -2]], np.int8), 4, tiny_lif())
    wait = Delay("wait", np.array(steps, np.int32) if isinstance(steps, tuple) else steps)
    return tiny_program([first, wait, second], tiny_readout())


def counts(*values):
    """Return one recording of one input with these counts."""
    return Frames.from_dense(np.array(values, np.int64).reshape(1, -1, 1, 1, 1))
