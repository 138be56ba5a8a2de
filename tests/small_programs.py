"""Programs of a few neurons whose every field is known, for tests of the program's file."""

import numpy as np

from sastdeploy.program.file import save_program
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.records import ConvLif, DenseLif, Lif, Program, Readout, SumPool
from sastdeploy.recordings.preprocessing import Preprocessing


def int32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def lif(channels: int, **changes) -> Lif:
    fields = {
        "multiplier": np.full(channels, 3, np.int32),
        "shift": np.full(channels, 1, np.int32),
        "bias": np.zeros(channels, np.int32),
        "threshold": np.full(channels, 4, np.int32),
        "leak_multiplier": 1,
        "leak_shift": 1,
        "leak_rounding": Rounding.FLOOR,
        "membrane": QFormat(8, 8),
        "overflow": Overflow.SATURATE,
    }
    return Lif(**{**fields, **changes})


def small_program(**changes) -> Program:
    """One dense INT4 layer of two neurons on a 1 x 1 x 2 frame, two bins, two classes."""
    layer = DenseLif("hidden", np.array([[1, 2], [-3, 7]], np.int8), 4, lif(2))
    readout = Readout(
        "readout",
        np.array([[5, -6], [100, 127]], np.int8),
        8,
        int32(1, 1),
        int32(0, 1),
        int32(0, -7),
        8,
        False,
    )
    fields = {
        "name": "small.any",
        "preprocessing": Preprocessing((2, 1, 1), (2, 1), 2, 3, 3.0),
        "layers": (layer,),
        "readout": readout,
        "classes": ("left", "right"),
        "dataset": "nmnist-sim",
        "profile": {"name": "any"},
        "provenance": {"seed": 0},
        "costs": {},
    }
    return Program(**{**fields, **changes})


def conv_program() -> Program:
    weight = np.arange(-9, 9, dtype=np.int8).reshape(2, 1, 3, 3)
    return small_program(
        preprocessing=Preprocessing((4, 4, 1), (4, 4), 2, 1, 1.0),
        layers=(
            ConvLif("conv", weight, 8, (1, 1), (1, 1), lif(2)),
            SumPool("pool", 2),
            DenseLif("dense", np.ones((2, 8), np.int8), 2, lif(2)),
        ),
    )


def save_small_program(folder):
    """Write the small program into a folder and return its path."""
    path = folder / "small.onnx"
    save_program(path, small_program())
    return path
