"""A program of which nothing is rounded for five steps, so that a framework that reads its NIR file can send every spike."""

from __future__ import annotations

import numpy as np

from sastdeploy import Preprocessing, Program, load_profile, simulate
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.records import DenseLif, Lif, Readout

_UNIT = 4**5
"""Every weighted sum is a multiple of it, and a step's leak divides by 4."""


def exact_program(spike_test: str, reset: str, reset_delay: int) -> Program:
    """Return two dense layers whose leak is 3/4, with the neuron named."""
    rng = np.random.default_rng(8)

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(-4, 6, shape).astype(np.int8)

    def neurons(count: int) -> Lif:
        ones = np.ones(count, np.int32)
        return Lif(
            _UNIT * ones, 0 * ones, _UNIT * (np.arange(count, dtype=np.int32) - 2), (4 * _UNIT + _UNIT // 2) * ones, 3, 2,
            Rounding.FLOOR, QFormat(10, 14), Overflow.SATURATE, spike_test, reset, reset_delay,
        )  # fmt: skip

    ones = np.ones(3, np.int32)
    return Program(
        name="exact",
        layers=(DenseLif("a", weights(6, 12), 4, neurons(6)), DenseLif("b", weights(5, 6), 4, neurons(5))),
        readout=Readout("readout", weights(3, 5), 4, ones, 0 * ones, 0 * ones, 0, False),
        profile=load_profile("loihi_int8").record,
        preprocessing=Preprocessing((12, 1, 1), (12, 1), 5, 4, 4.0),
        classes=("0", "1", "2"),
        dataset="not stated",
        provenance={},
        costs={},
    )


def recordings(program: Program) -> np.ndarray:
    """Return four random recordings of counts."""
    own = program.preprocessing
    return (
        np.random.default_rng(1)
        .integers(0, own.c_clip + 1, (4, own.time_bins, *own.frame_shape))
        .astype(np.uint8)
    )


def spikes_of(program: Program, counts: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Return the program's spikes ``[T, N]`` of both layers, by name, of every recording."""
    result = simulate(program, counts, engine="reference", trace=("a", "b"))
    return [{name: result.traces[name].spikes[n] for name in "ab"} for n in range(len(counts))]
