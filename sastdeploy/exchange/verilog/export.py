"""Export to Verilog: the folder with the core, a test bench, recordings, and the simulator's integers to check it with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sastdeploy
from sastdeploy.errors import InputError
from sastdeploy.exchange.folder import check_folder, write_folder
from sastdeploy.exchange.names import checked_name, default_name, plain
from sastdeploy.exchange.recordings import Recordings, chosen_frames
from sastdeploy.exchange.templates import filled
from sastdeploy.exchange.verilog.source import TEMPLATES, VerilogSource, write_verilog
from sastdeploy.program.check import check_program
from sastdeploy.program.file import program_hash
from sastdeploy.program.records import Program
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine

SCHEMA = "sastdeploy.verilog_export/1"
MAX_WEIGHTS = 4 << 20
"""Beyond it, synthesis takes hours, and no device for such a core holds them."""
MAX_TRACED = 4_000_000
"""Membranes of all recordings together, a line of text each."""
_MADE = (
    "bench",
    "results.txt",
    *(f"size-{device}.{end}" for device in ("ice40", "ecp5") for end in ("txt", "rams", "left", "stat")),
)


@dataclass(frozen=True)
class VerilogExport:
    """A program as a Verilog core on disk.

    Args:
        name: what its modules and files begin with.
        folder: where they are. files: names in the folder.
        clocks: of one recording. rom_bits: weights and numbers per channel. state_bits: membranes and the readout's sums.
        recordings: how many ``make check`` replays.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    clocks: int
    rom_bits: int
    state_bits: int
    recordings: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values."""
        return {"schema": SCHEMA, **asdict(self), "folder": str(self.folder)}


def export_verilog(
    program: Program,
    folder: Path | str,
    recordings: Recordings | None = None,
    *,
    name: str | None = None,
    force: bool = False,
) -> VerilogExport:
    """Write the program as a synthesizable Verilog-2001 core with its memories, a test bench, a Makefile and a README.

    Args:
        program: what is written; it is checked first.
        folder: appears whole or not at all. recordings: to check it with, frames or counts ``[N, T, P, H, W]``; by default
            three random ones: sparse, dense, and every count at its largest.
        name: what modules and files begin with; by default the program's name.
        force: replace an export of something else that is there; a folder with any other file is never touched.

    Raises:
        InputError: the program is invalid or too large, the core does not hold one of its layers, recordings do not fit it or
            are too many, the name is no identifier, or the folder holds something else.

    Example::

        export = export_verilog(program, "network_verilog")
        print(export.clocks, export.rom_bits)
    """
    check_program(program)
    identifier = default_name(program.name) if name is None else checked_name(name, "Verilog")
    _check_size(program)
    source = write_verilog(program, identifier)
    frames = chosen_frames(program, recordings, MAX_TRACED)
    _check_recordings(program, source, frames)
    texts = {
        **source.files,
        **dict(_texts(program, identifier, source, len(frames))),
        "expected.txt": expected(program, frames),
    }
    contents = {file: text.encode() for file, text in texts.items()}
    contents["recordings.bin"] = frames.dense().tobytes()
    target = Path(folder)
    check_folder(target, contents, _MADE, identifier)
    write_folder(target, contents, force)
    return VerilogExport(
        identifier, target, tuple(contents), source.clocks, source.rom_bits, source.state_bits, len(frames)
    )  # fmt: skip


def expected(program: Program, frames: Frames) -> str:
    """Return what the test bench writes for the recordings: every neuron at every step, then scores and class."""
    layers = [(n, layer.name) for n, layer in enumerate(program.layers) if layer.lif is not None]
    if not len(frames):
        return ""
    result = engine.run(program, frames, engine="reference", trace=tuple(name for _, name in layers))
    lines: list[str] = []
    for n, scores in enumerate(result.scores.tolist()):
        for t in range(frames.time_bins):
            for number, name in layers:
                trace = result.traces[name]
                rows = zip(trace.membranes[n, t].tolist(), trace.spikes[n, t].tolist())
                lines += [f"{number} {neuron} {u} {s}" for neuron, (u, s) in enumerate(rows)]
        lines += [f"scores {' '.join(map(str, scores))}", f"predicted {result.predicted[n]}"]
    return "\n".join(lines) + "\n"


def _check_size(program: Program) -> None:
    parts = [layer for layer in program.layers if layer.lif is not None]
    weights = sum(array.size for part in (*parts, program.readout) for array in part.weight_arrays)
    if weights > MAX_WEIGHTS:
        raise InputError(
            f"program {program.name}: it has {weights:,} weights. Allowed: up to {MAX_WEIGHTS:,} in a Verilog core. "
            "Compile a smaller network."
        )


def _check_recordings(program: Program, source: VerilogSource, frames: Frames) -> None:
    neurons = sum(part.outputs for part in source.parts)
    each = program.preprocessing.time_bins * max(neurons, frames.inputs)
    if each * len(frames) > MAX_TRACED:
        raise InputError(
            f"program {program.name}: {len(frames):,} recordings make {each * len(frames):,} values. Allowed: up to "
            f"{MAX_TRACED:,}. Use --limit {max(1, MAX_TRACED // each)} or less."
        )


def _texts(program: Program, name: str, source: VerilogSource, recordings: int) -> Iterator[tuple[str, str]]:
    values = {
        "name": name, "title": plain(program.name), "version": sastdeploy.__version__, "hash": program_hash(program),
        "clocks": f"{source.clocks:,}", "rom_bits": f"{source.rom_bits:,}", "state_bits": f"{source.state_bits:,}",
        "recordings": recordings, "inputs": f"{program.preprocessing.frame_shape}", "time_bins": program.preprocessing.time_bins,
    }  # fmt: skip
    for file in ("Makefile", "README.md"):
        yield file, filled(TEMPLATES / file, **values)
