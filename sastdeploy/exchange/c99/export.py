"""Export to C99: names, the folder, and recordings with the simulator's scores to check the compiled program with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sastdeploy
from sastdeploy.errors import InputError
from sastdeploy.exchange.c99.source import Source, index_type, write_source
from sastdeploy.exchange.c99.tables import filled
from sastdeploy.exchange.folder import check_folder, write_folder
from sastdeploy.exchange.names import checked_name, default_name, plain
from sastdeploy.exchange.recordings import Recordings, chosen_frames
from sastdeploy.program.check import check_program
from sastdeploy.program.file import program_hash
from sastdeploy.program.layers.weights import stored_bits
from sastdeploy.program.records import Program
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine

SCHEMA = "sastdeploy.c_export/1"
MAX_TABLE_BYTES = 64 << 20
"""Of constants: beyond it, compilers take minutes and gigabytes, and 32-bit indices would end."""
CHECK_BYTES = 4 << 20
"""Of the random recordings that are written beside the source."""
MAX_RECORDING_BYTES = 64 << 20
"""Of recordings of one's own."""

_WRITTEN = ("main.c", "cortex_m.c", "cortex_m.ld", "Makefile", "README.md")
_RECORDINGS, _LINES = "recordings.bin", "expected.txt"
_MADE = ("example", "cortex_m.elf", "cortex_m.o", "cortex_m.txt")
"""What ``make`` adds beside the object file under the program's name."""
_TAKEN = ("main", "cortex_m", "string", "stdint", "stdio", "makefile", "gnumakefile")
"""Names whose files would take the place of others, or from which make would build one of its own."""


@dataclass(frozen=True)
class ExportedLayer:
    """What one layer takes. ``weights``: ``INT8``, ``INT4``, or None. ``own_bytes``: its membranes, or a pool's sums."""

    name: str
    kind: str
    weights: str | None
    table_bytes: int
    own_bytes: int


@dataclass(frozen=True)
class CExport:
    """A program as C source on disk.

    Args:
        name: what its functions, types and files begin with.
        folder: where they are. files: names in the folder. layers: first to last, then the readout.
        table_bytes: constants (flash). state_bytes: ``sizeof`` the state (RAM) on common machines.
        shared_bytes: the part of the state that holds the sums of one layer at a time, so that all layers share it.
        recordings: how many ``make check`` runs.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    layers: tuple[ExportedLayer, ...]
    table_bytes: int
    state_bytes: int
    shared_bytes: int
    recordings: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values."""
        return {"schema": SCHEMA, **asdict(self), "folder": str(self.folder)}


def export_c(
    program: Program,
    folder: Path | str,
    recordings: Recordings | None = None,
    *,
    name: str | None = None,
    force: bool = False,
) -> CExport:
    """Write the program as C99 source with an example, a Makefile, a README and recordings to check it with.

    Args:
        program: what is written; it is checked first.
        folder: appears whole or not at all. recordings: to check it with, frames or counts ``[N, T, P, H, W]``; by default
            three random ones: sparse, dense, and every count at its largest.
        name: what functions and types begin with; by default the program's name.
        force: replace an export of something else that is there; a folder with any other file is never touched.

    Returns:
        What was written, and the bytes of tables and state.

    Raises:
        InputError: the program is invalid or too large, recordings do not fit it or are too many, the name is no
            identifier, or the folder holds something else.

    Example::

        export = export_c(program, "network_c")
        print(export.table_bytes, export.state_bytes)
    """
    check_program(program)
    identifier = default_name(program.name, _TAKEN) if name is None else _checked_name(name)
    files = (f"{identifier}.h", f"{identifier}.c", *_WRITTEN, _RECORDINGS, _LINES)
    target = Path(folder)
    check_folder(target, files, (*_MADE, f"{identifier}.o"), identifier)
    _check_size(program)
    source = write_source(program, identifier)
    frames = chosen_frames(program, recordings, CHECK_BYTES)
    _check_recordings(program, frames)
    contents = dict(zip(files, _contents(program, identifier, source, frames)))
    write_folder(target, contents, force)
    return CExport(
        name=identifier,
        folder=target,
        files=files,
        layers=_layers(program, source),
        table_bytes=source.table_bytes,
        state_bytes=source.state.bytes,
        shared_bytes=source.state.shared_bytes,
        recordings=len(frames),
    )


def _checked_name(name: str) -> str:
    checked_name(name, "C")
    if name.lower() in _TAKEN:
        raise InputError(
            f"name '{name}': {name.lower()}.c or {name.lower()}.h would get into the way of another file. Choose another name with --name."
        )
    return name


def _check_size(program: Program) -> None:
    parts = [layer for layer in program.layers if layer.lif is not None]
    size = sum(
        array.size * stored_bits(part.weight_bits) // 8
        for part in (*parts, program.readout)
        for array in part.weight_arrays
    )
    if size > MAX_TABLE_BYTES:
        raise InputError(
            f"program {program.name}: its weights take {size:,} bytes. Allowed: up to {MAX_TABLE_BYTES:,} in C source. "
            "Compile a smaller network, or one of fewer bits."
        )


def _check_recordings(program: Program, frames: Frames) -> None:
    each = program.preprocessing.time_bins * frames.inputs
    if each * len(frames) > MAX_RECORDING_BYTES:
        raise InputError(
            f"program {program.name}: {len(frames):,} recordings take {each * len(frames):,} bytes. Allowed: up to "
            f"{MAX_RECORDING_BYTES:,}. Use --limit {max(1, MAX_RECORDING_BYTES // each)} or less."
        )


def _contents(program: Program, name: str, source: Source, frames: Frames) -> list[bytes]:
    """Return the files of an export, in the order of their names there."""
    preprocessing = program.preprocessing
    polarities, rows, columns = preprocessing.frame_shape
    values = {
        "name": name, "NAME": name.upper(), "title": plain(program.name), "hash": program_hash(program),
        "version": sastdeploy.__version__, "time_bins": preprocessing.time_bins, "inputs": polarities * rows * columns,
        "rows": rows, "columns": columns, "clip": preprocessing.c_clip, "recordings": len(frames),
        "table_bytes": f"{source.table_bytes:,}", "state_bytes": f"{source.state.bytes:,}",
        "shared_bytes": f"{source.state.shared_bytes:,}",
        "classes": ",\n".join(map(_quoted, program.classes)), "index": index_type(polarities * rows * columns),
    }  # fmt: skip
    texts = [
        source.header,
        source.source,
        *(filled(file, **values) for file in _WRITTEN),
    ]
    return [text.encode() for text in texts] + [frames.dense().tobytes(), _expected(program, frames).encode()]


def _quoted(text: str) -> str:
    """Return a C string literal; every byte that C or a terminal could take for something else is an octal escape."""
    body = (
        chr(byte) if (byte < 128 and chr(byte).isalnum()) or byte in b" _.,:;()+-/" else f"\\{byte:03o}"
        for byte in text.encode("utf-8", "replace")
    )
    return f'"{"".join(body)}"'


def _expected(program: Program, frames: Frames) -> str:
    """Return what ``main.c`` and ``cortex_m.c`` print for the recordings."""
    if not len(frames):
        return ""
    result = engine.run(program, frames, engine="reference")
    return "".join(
        f"{best} {program.classes[best]}: {' '.join(map(str, scores.tolist()))}\n"
        for best, scores in zip(result.predicted.tolist(), result.scores)
    )


def _layers(program: Program, source: Source) -> tuple[ExportedLayer, ...]:
    return tuple(
        ExportedLayer(
            name=part.name,
            kind=part.kind,
            weights=code.weights,
            table_bytes=sum(table.bytes for table in code.tables),
            own_bytes=sum(field.bytes for field in code.fields if not field.shared),
        )
        for part, code in zip((*program.layers, program.readout), source.parts)
    )
