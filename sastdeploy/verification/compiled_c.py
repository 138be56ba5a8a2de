"""The engine that is the exported C: written, compiled and run on this machine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import SimulationError
from sastdeploy.exchange.c99 import source as c99
from sastdeploy.program.records import Program
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator.result import RunResult, empty_result

FLAGS = ("-std=c99", "-O1")
FIELDS = ("scores", "predicted", "synops", "synops_events", "overflow_low", "overflow_high", "traces")
"""What of a `RunResult` the C gives; it does not count the synapses whose weight is 0."""

_MAIN = """
#define NET_COUNT
#define NET_TRACE(layer, neuron, membrane, spike) trace(membrane, spike)
#include <stdint.h>
#include <stdio.h>
static FILE *results;
static void trace(int32_t membrane, int32_t spike)
{
    const int32_t row[2] = {membrane, spike};
    fwrite(row, sizeof row, 1, results);
}
#include "net.c"
#define WRITE(array) fwrite(array, sizeof array, 1, results)
static uint8_t counts[NET_INPUTS];
static net_state state;
int main(int argc, char **argv)
{
    FILE *recordings = argc == 3 ? fopen(argv[1], "rb") : NULL;
    int64_t predicted;
    int32_t scores[NET_CLASSES];
    results = argc == 3 ? fopen(argv[2], "wb") : NULL;
    if (recordings == NULL || results == NULL) return 1;
    net_reset(&state);
    while (fread(counts, 1, sizeof counts, recordings) == sizeof counts) {
        if (net_step_counts(&state, counts) != 0) return 2;
        if (state.steps < NET_TIME_BINS) continue;
        net_scores(&state, scores);
        predicted = net_predicted(scores);
        WRITE(scores);
        fwrite(&predicted, sizeof predicted, 1, results);
        WRITE(state.synops);
        WRITE(state.synops_events);
        WRITE(state.overflow_low);
        WRITE(state.overflow_high);
        net_reset(&state);
    }
    return fclose(results) != 0;
}
"""


def compiler() -> str | None:
    """Return the C compiler of this machine: ``$CC``, or the first of cc, gcc, clang; None where there is none."""
    named = shlex.split(os.environ.get("CC", ""))[:1]
    return next((path for path in map(shutil.which, [*named, "cc", "gcc", "clang"]) if path), None)


class CompiledC:
    """A program as an executable, kept until `close`; `run` as the other engines', with the `FIELDS` filled.

    Raises:
        SimulationError: the compiler refuses the source.
    """

    def __init__(self, program: Program, command: str) -> None:
        self._program = program
        self._folder = tempfile.TemporaryDirectory(prefix="sastdeploy-verify-")
        home = Path(self._folder.name)
        written = c99.write_source(program, "net")
        for name, text in (("net.h", written.header), ("net.c", written.source), ("main.c", _MAIN)):
            (home / name).write_text(text)
        done = subprocess.run(
            [command, *FLAGS, "main.c", "-o", "net"], cwd=home, capture_output=True, text=True
        )
        if done.returncode != 0:
            self.close()
            raise SimulationError(
                f"program {program.name}: {command} refuses the exported C: {done.stderr.strip()[:500]}. "
                "Name another compiler with the environment variable CC."
            )

    def close(self) -> None:
        self._folder.cleanup()

    def run(self, program: Program, frames: Frames, trace: tuple[str, ...]) -> RunResult:
        """Return what the executable gives on every recording; ``program`` is the one it was made of.

        Raises:
            SimulationError: it fails, or writes another number of values.
        """
        home = Path(self._folder.name)
        (home / "recordings").write_bytes(frames.dense().tobytes())
        done = subprocess.run([home / "net", "recordings", "results"], cwd=home, capture_output=True)
        content = (home / "results").read_bytes() if done.returncode == 0 else b""
        if len(content) != len(frames) * self._row().itemsize:
            raise SimulationError(
                f"program {program.name}: its compiled C ended with {done.returncode} and wrote {len(content):,} bytes of "
                f"{len(frames) * self._row().itemsize:,}. Export it ('sastdeploy export --to c') and look there with 'make check'."
            )
        return self._result(np.frombuffer(content, self._row()), trace)

    def _row(self) -> np.dtype[np.void]:
        """Return what is written for one recording."""
        program = self._program
        layers, sources = len(program.layers), len(program.layers) + 1
        return np.dtype([
            ("traces", np.int32, (program.preprocessing.time_bins, sum(program.neurons().values()), 2)),
            ("scores", np.int32, (len(program.classes),)), ("predicted", np.int64),
            ("synops", np.int64, (sources,)), ("synops_events", np.int64, (sources,)),
            ("overflow_low", np.int64, (layers,)), ("overflow_high", np.int64, (layers,)),
        ])  # fmt: skip

    def _result(self, rows: NDArray[np.void], trace: tuple[str, ...]) -> RunResult:
        result = empty_result(self._program, len(rows), trace)
        begin = 0
        for name, neurons in self._program.neurons().items():
            if name in result.traces:
                part = rows["traces"][:, :, begin : begin + neurons]
                kept = result.traces[name]
                kept.membranes[:], kept.spikes[:] = part[..., 0], part[..., 1]
            begin += neurons
        return replace(
            result,
            scores=rows["scores"].copy(),
            predicted=rows["predicted"].copy(),
            synops=rows["synops"].copy(),
            synops_events=rows["synops_events"].copy(),
            overflow_low=rows["overflow_low"].copy(),
            overflow_high=rows["overflow_high"].copy(),
        )
