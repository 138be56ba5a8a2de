"""This simulator against XyloSim, SynSense's bit-accurate C++ simulator of Xylo, each on its own exact integers.

    python benchmarks/speed/xylo.py [--turns 3]

The chip's rules differ (its leak, its spike test), so the two nets cannot be equal number for number; their form is the
same: random 8-bit weights, the same random input spikes. Two forms: one that fits the chip (16 inputs, 100 steps), and
the layers of fc_0p40m at N-MNIST's activity, which XyloSim's class also runs. The hand-written C run of our
integers takes its turns too: how much faster than XyloSim such layers can be run at all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from benchmarks.speed.timing import interleaved, one_thread, save
from benchmarks.speed.yardstick import Yardstick
from sastdeploy import Frames, Preprocessing, Program
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.records import DenseLif, Lif, Readout
from sastdeploy.simulator import engine

SEED = 0


class Form(NamedTuple):
    inputs: int
    hidden: int
    outputs: int
    steps: int
    events_per_input: float
    threshold: int
    recordings: int
    xylo_recordings: int


# So many recordings that a turn lasts some hundredths of a second: what disturbs the machine then leaves most turns alone.
FORMS = {
    "chip": Form(16, 63, 8, 100, 0.4, 400, 1000, 10),
    "fc_0p40m": Form(2312, 168, 64, 10, 0.09, 2000, 2000, 3),
}


def our_program(form: Form, hidden: np.ndarray, out: np.ndarray) -> Program:
    def lif(width: int) -> Lif:
        def full(value: int) -> np.ndarray:
            return np.full(width, value, np.int32)

        return Lif(
            multiplier=full(1), shift=full(0), bias=full(0), threshold=full(form.threshold), membrane=QFormat(16, 0),
            leak_multiplier=15, leak_shift=4, leak_rounding=Rounding.FLOOR, overflow=Overflow.SATURATE,
            spike_test=">=", reset="subtract", reset_delay=0,
        )  # fmt: skip

    readout = Readout(
        "readout", np.eye(form.outputs, dtype=np.int8), 8, np.ones(form.outputs, np.int32), np.zeros(form.outputs, np.int32),
        np.zeros(form.outputs, np.int32), 0, False,
    )  # fmt: skip
    return Program(
        name="xylo-sized",
        preprocessing=Preprocessing((form.inputs, 1, 1), (form.inputs, 1), form.steps, 15, 15.0),
        layers=(DenseLif("hidden", hidden, 8, lif(form.hidden)), DenseLif("out", out, 8, lif(form.outputs))),
        readout=readout, classes=tuple(str(k) for k in range(form.outputs)), dataset="random", profile={"name": "none"},
        provenance={}, costs={},
    )  # fmt: skip


def xylo_parts(form: Form, hidden: np.ndarray, out: np.ndarray) -> dict[str, Any]:
    """Return the arguments of a Xylo layer. It keeps pointers to the synapses: they must outlive it."""
    from xylosim.v2 import XyloSynapse

    def synapses(weight: np.ndarray) -> list[list[Any]]:
        return [[XyloSynapse(j, 0, int(w)) for j, w in enumerate(row) if w] for row in weight.T]

    return {
        "synapses_in": synapses(hidden), "synapses_rec": [[] for _ in range(form.hidden)], "synapses_out": synapses(out),
        "aliases": [[] for _ in range(form.hidden)], "threshold": [form.threshold] * form.hidden, "threshold_out": [form.threshold] * form.outputs, "has_bias": False,
        "bias": [0] * form.hidden, "bias_out": [0] * form.outputs, "weight_shift_inp": 0, "weight_shift_rec": 0, "weight_shift_out": 0,
        "dash_mem": [4] * form.hidden, "dash_mem_out": [4] * form.outputs, "dash_syns": [[1, 1]] * form.hidden, "dash_syns_out": [[1]] * form.outputs,
        "name": "net",
    }  # fmt: skip


def compared(form: Form, turns: int) -> dict[str, Any]:
    from xylosim.v2 import XyloLayer

    rng = np.random.default_rng(SEED)
    hidden = rng.integers(-127, 128, (form.hidden, form.inputs)).astype(np.int8)
    out = rng.integers(-127, 128, (form.outputs, form.hidden)).astype(np.int8)
    counts = rng.poisson(form.events_per_input, (form.recordings, form.steps, 1, 1, form.inputs)).clip(0, 15)
    frames, program = Frames.from_dense(counts.astype(np.uint8)), our_program(form, hidden, out)
    lists = [r.reshape(form.steps, form.inputs).tolist() for r in counts[: form.xylo_recordings]]
    parts = xylo_parts(form, hidden, out)
    layer = XyloLayer(**parts)

    def xylo() -> None:
        # Ready-made and never reset, the kindest way to time it.
        for recording in lists:
            layer.evolve(recording)

    calls: dict[str, Callable[[], object]] = {
        "XyloSim": xylo,
        "sastdeploy": lambda: engine.run(program, frames, threads=1),
    }
    run = engine.run(program, frames, threads=1)
    yard = Yardstick(program, frames)
    yard.check(run)
    calls["C yardstick"] = yard.run
    measured = interleaved(calls, turns)
    each = {
        name: times["min"] / (form.xylo_recordings if name == "XyloSim" else form.recordings)
        for name, times in measured.items()
    }
    return {
        **form._asdict(), "seconds": measured, "seconds_per_recording": each,
        "spikes_per_recording": run.spikes.mean(axis=0).tolist(), "ratio": each["XyloSim"] / each["sastdeploy"],
        "ratio_of_c": each["XyloSim"] / each["C yardstick"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    one_thread()
    save(
        "xylo",
        {"seed": SEED, "forms": {n: compared(f, options.turns) for n, f in FORMS.items()}},
        "xylosim",
    )


if __name__ == "__main__":
    main()
