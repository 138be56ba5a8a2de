"""The engine that is the exported Verilog: written, and simulated with Icarus Verilog on this machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import SimulationError
from sastdeploy.exchange.verilog import source as verilog
from sastdeploy.program.records import Program
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator.result import RunResult, empty_result

FIELDS = ("scores", "predicted", "traces")
"""What of a `RunResult` the core gives; it counts nothing."""


def simulator() -> str | None:
    """Return Icarus Verilog's compiler, or None where it is not installed."""
    return shutil.which("iverilog") if shutil.which("vvp") else None


class SimulatedVerilog:
    """A program's core and test bench, kept until `close`; `run` as the other engines', with the `FIELDS` filled.

    Raises:
        SimulationError: Icarus refuses the source.
    """

    def __init__(self, program: Program, source: verilog.VerilogSource, command: str) -> None:
        self._program = program
        self._folder = tempfile.TemporaryDirectory(prefix="sastdeploy-verify-")
        home = Path(self._folder.name)
        for name, text in source.files.items():
            (home / name).write_text(text)
        files = sorted(name for name in source.files if name.endswith(".v"))
        done = subprocess.run(
            [command, "-g2001", "-o", "bench", *files], cwd=home, capture_output=True, text=True
        )
        if done.returncode != 0:
            self.close()
            raise SimulationError(
                f"program {program.name}: {command} refuses the exported Verilog: {done.stderr.strip()[:500]}"
            )

    def close(self) -> None:
        self._folder.cleanup()

    def run(self, program: Program, frames: Frames, trace: tuple[str, ...]) -> RunResult:
        """Return what the core gives on every recording; ``program`` is the one it was made of.

        Raises:
            SimulationError: the simulation fails, or writes anything but the expected lines.
        """
        home = Path(self._folder.name)
        (home / "recordings.bin").write_bytes(frames.dense().tobytes())
        done = subprocess.run(["vvp", "-n", "bench"], cwd=home, capture_output=True, text=True)
        text = (home / "results.txt").read_text("ascii", "replace") if done.returncode == 0 else ""
        try:
            return self._result(text.split("\n")[:-1], len(frames), trace)
        except (ValueError, IndexError) as error:
            raise SimulationError(
                f"program {program.name}: its Verilog ended with {done.returncode} and wrote no results as they should be "
                f"({error}). Export it ('sastdeploy export --to verilog') and look there with 'make check'."
            ) from error

    def _result(self, lines: list[str], recordings: int, trace: tuple[str, ...]) -> RunResult:
        program = self._program
        result = empty_result(program, recordings, trace)
        sizes = program.neurons()
        layers = [
            (n, layer.name, sizes[layer.name])
            for n, layer in enumerate(program.layers)
            if layer.name in sizes
        ]
        steps = program.preprocessing.time_bins
        rows = steps * sum(neurons for _, _, neurons in layers)
        if len(lines) != recordings * (rows + 2):
            raise ValueError(f"{len(lines):,} lines of {recordings * (rows + 2):,}")
        scores, predicted = [], []
        for n in range(recordings):
            own = lines[n * (rows + 2) : (n + 1) * (rows + 2)]
            scores.append(_numbers(own[-2], "scores", len(program.classes)))
            predicted.append(_numbers(own[-1], "predicted", 1)[0])
            table = np.array([line.split(" ") for line in own[:rows]], np.int64).reshape(steps, -1, 4)
            begin = 0
            for number, name, neurons in layers:
                part = table[:, begin : begin + neurons]
                begin += neurons
                if (part[..., 0] != number).any() or (part[..., 1] != np.arange(neurons)).any():
                    raise ValueError(f"lines of layer {name} are out of order")
                if name in result.traces:
                    kept = result.traces[name]
                    kept.membranes[n], kept.spikes[n] = part[..., 2], part[..., 3]
        return replace(result, scores=_array(scores, np.int32), predicted=_array(predicted, np.int64))


def _numbers(line: str, word: str, count: int) -> list[int]:
    first, *numbers = line.split(" ")
    if first != word or len(numbers) != count:
        raise ValueError(f"'{line[:40]}' where {word} should be")
    return list(map(int, numbers))


def _array(values: list[int] | list[list[int]], dtype: type) -> NDArray[np.signedinteger]:
    return np.array(values, dtype)
