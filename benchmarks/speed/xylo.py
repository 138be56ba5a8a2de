"""This simulator against XyloSim, SynSense's bit-accurate C++ simulator of Xylo, each on its own exact integers.

    python benchmarks/speed/xylo.py [--turns 3]

The chip's rules differ (its leak, its spike test), so the two nets cannot be equal number for number; the form is the
same: 16 inputs, 63 hidden neurons, 8 outputs, 8-bit weights, 100 steps, the same random input spikes. Xylo takes
16 inputs, so this is a net that both can run.
"""

from __future__ import annotations

import argparse

import numpy as np
from timing import interleaved, one_thread, save

from sastdeploy.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.frames import Frames, Preprocessing
from sastdeploy.program import DenseLif, Lif, Program, Readout
from sastdeploy.simulator import engine

INPUTS, HIDDEN, OUTPUTS, STEPS, SEED = 16, 63, 8, 100, 0


def our_program(hidden: np.ndarray, out: np.ndarray) -> Program:
    def lif(width: int) -> Lif:
        def full(value: int) -> np.ndarray:
            return np.full(width, value, np.int32)

        return Lif(
            multiplier=full(1), shift=full(0), bias=full(0), threshold=full(400), membrane=QFormat(16, 0),
            leak_multiplier=15, leak_shift=4, leak_rounding=Rounding.FLOOR, overflow=Overflow.SATURATE,
            spike_test=">=", reset="subtract", reset_delay=0,
        )  # fmt: skip

    readout = Readout(
        "readout", np.eye(OUTPUTS, dtype=np.int8), 8, np.ones(OUTPUTS, np.int32), np.zeros(OUTPUTS, np.int32),
        np.zeros(OUTPUTS, np.int32), 0, False,
    )  # fmt: skip
    return Program(
        name="xylo-sized",
        preprocessing=Preprocessing((INPUTS, 1, 1), (INPUTS, 1), STEPS, 15, 15.0),
        layers=(DenseLif("hidden", hidden, 8, lif(HIDDEN)), DenseLif("out", out, 8, lif(OUTPUTS))),
        readout=readout, classes=tuple(str(k) for k in range(OUTPUTS)), dataset="random", profile={"name": "none"},
        provenance={}, costs={},
    )  # fmt: skip


def xylo_parts(hidden: np.ndarray, out: np.ndarray) -> dict:
    """Return the arguments of a Xylo layer. It keeps pointers to the synapses: they must outlive it."""
    from xylosim.v2 import XyloSynapse

    def synapses(weight: np.ndarray) -> list:
        return [[XyloSynapse(j, 0, int(w)) for j, w in enumerate(row) if w] for row in weight.T]

    return {
        "synapses_in": synapses(hidden), "synapses_rec": [[] for _ in range(HIDDEN)], "synapses_out": synapses(out),
        "aliases": [[] for _ in range(HIDDEN)], "threshold": [400] * HIDDEN, "threshold_out": [400] * OUTPUTS, "has_bias": False,
        "bias": [0] * HIDDEN, "bias_out": [0] * OUTPUTS, "weight_shift_inp": 0, "weight_shift_rec": 0, "weight_shift_out": 0,
        "dash_mem": [4] * HIDDEN, "dash_mem_out": [4] * OUTPUTS, "dash_syns": [[1, 1]] * HIDDEN, "dash_syns_out": [[1]] * OUTPUTS,
        "name": "net",
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--recordings", type=int, default=20000)
    options = parser.parse_args()
    one_thread()
    rng = np.random.default_rng(SEED)
    hidden = rng.integers(-127, 128, (HIDDEN, INPUTS)).astype(np.int8)
    out = rng.integers(-127, 128, (OUTPUTS, HIDDEN)).astype(np.int8)
    few = 20
    counts = rng.poisson(0.4, (options.recordings, STEPS, 1, 1, INPUTS)).clip(0, 15).astype(np.uint8)
    frames, program = Frames.from_dense(counts), our_program(hidden, out)
    lists = [recording.reshape(STEPS, INPUTS).tolist() for recording in counts[:few]]

    from xylosim.v2 import XyloLayer

    parts = xylo_parts(hidden, out)
    layer = XyloLayer(**parts)

    def xylo() -> None:
        # Ready-made and never reset, the kindest way to time it.
        for recording in lists:
            layer.evolve(recording)

    measured = interleaved(
        {"XyloSim": xylo, "sastdeploy": lambda: engine.run(program, frames, threads=1)},
        options.turns,
    )
    each = {n: m["min"] / (options.recordings if n == "sastdeploy" else few) for n, m in measured.items()}
    run = engine.run(program, frames, threads=1)
    save("xylo", {
        "net": f"{INPUTS}-{HIDDEN}-{OUTPUTS}, T = {STEPS}, 8-bit weights", "seed": SEED, "seconds": measured,
        "recordings": {"sastdeploy": options.recordings, "XyloSim": few}, "seconds_per_recording": each,
        "spikes_per_recording": run.spikes.mean(axis=0).tolist(),
        "ratio": each["XyloSim"] / each["sastdeploy"],
    }, "xylosim")  # fmt: skip


if __name__ == "__main__":
    main()
