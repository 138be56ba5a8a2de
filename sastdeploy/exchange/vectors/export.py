"""Export of test vectors: the folder with arrays, hexadecimal words, tables, and a README for the hardware colleague."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sastdeploy
from sastdeploy._files.reading import open_regular, parsing, read_text, shown
from sastdeploy.errors import InputError
from sastdeploy.exchange.folder import is_there, write_folder
from sastdeploy.exchange.recordings import Recordings, chosen_frames
from sastdeploy.exchange.vectors.values import Signal, signals, words
from sastdeploy.program.check import check_program
from sastdeploy.program.file import program_hash
from sastdeploy.program.layers.current import Decay
from sastdeploy.program.layers.further import Further
from sastdeploy.program.records import Program
from sastdeploy.recordings.frames import Frames

SCHEMA = "sastdeploy.vectors/1"
MAX_VALUES = 20_000_000
"""Of all signals and recordings together: as text they take some hundred megabytes."""
_INDEX = "vectors.json"
_MAX_FILE = 1 << 30
"""Of a file of earlier vectors, in bytes: an integer takes up to 12 as text."""


@dataclass(frozen=True)
class VectorsExport:
    """Test vectors on disk.

    Args:
        folder: where they are. files: names in the folder. recordings: how many. values: integers in all.
        layers: per signal its layer, kind, shape of a step, and bits of a word.
    """

    folder: Path
    files: tuple[str, ...]
    recordings: int
    values: int
    layers: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values."""
        return {"schema": SCHEMA, **asdict(self), "folder": str(self.folder)}


def export_vectors(
    program: Program,
    folder: Path | str,
    recordings: Recordings | None = None,
    *,
    force: bool = False,
) -> VectorsExport:
    """Write what the program computes at every step: counts, weighted sums, membranes, spikes, scores.

    As ``vectors.npz``, as words for ``$readmemh`` (``.hex``) and as tables (``.csv``), with a README that says what each file is.

    Args:
        program: what is run; it is checked first.
        folder: appears whole or not at all. recordings: frames or counts ``[N, T, P, H, W]``; by default three random
            ones: sparse, dense, and every count at its largest.
        force: replace other vectors that are there; a folder with any other file is never touched.

    Raises:
        InputError: the program is invalid, recordings do not fit it or are too many, or the folder holds something else.

    Example::

        export = export_vectors(program, "vectors")
        print(export.recordings, export.values)
    """
    check_program(program)
    frames = chosen_frames(program, recordings, MAX_VALUES)
    _check_size(program, frames)
    recorded, target = signals(program, frames), Path(folder)
    contents = dict(_contents(program, frames, recorded))
    _check_earlier(target)
    write_folder(target, contents, force, ("other vectors", "them"))
    values = sum(signal.values.size for signal in recorded)
    return VectorsExport(target, tuple(contents), len(frames), values, tuple(map(_facts, recorded)))


def _check_size(program: Program, frames: Frames) -> None:
    per_step = sum(int(np.prod(shape)) * 3 for shape in program.shapes())
    each = per_step * program.preprocessing.time_bins
    if each > MAX_VALUES:
        raise InputError(
            f"program {program.name}: vectors of one recording would hold {each:,} integers; at most {MAX_VALUES:,} are allowed. "
            "Train with fewer bins or smaller frames."
        )
    if len(frames) == 0 or each * len(frames) > MAX_VALUES:
        raise InputError(
            f"program {program.name}: vectors of {len(frames):,} recordings would hold {each * len(frames):,} integers. "
            f"Allowed: 1 to {MAX_VALUES:,}. Use --limit {max(1, MAX_VALUES // each)} or less."
        )


def _check_earlier(folder: Path) -> None:
    """Accept a new or empty folder, and one with nothing but the files of earlier vectors.

    Raises:
        InputError: it is a file, or holds anything else.
    """
    if not is_there(folder):
        return
    if not folder.is_dir():
        raise InputError(f"{shown(folder)}: is a file. Choose a folder with --out DIR.")
    names = sorted(entry.name for entry in folder.iterdir())
    known: Any = {}
    if _INDEX in names:
        text = read_text(folder / _INDEX)
        with parsing(folder / _INDEX, "list of vectors", "Choose a new folder with --out DIR."):
            known = json.loads(text)
    files = known.get("files") if isinstance(known, dict) and known.get("schema") == SCHEMA else []
    foreign = sorted(set(names) - set(files if isinstance(files, list) else []))
    if foreign:
        raise InputError(
            f"{shown(folder)}: holds '{foreign[0]}', which is no part of vectors; nothing was written. "
            "Choose a new folder with --out DIR."
        )
    for name in names:
        with open_regular(folder / name, limit=_MAX_FILE):
            pass


def _facts(signal: Signal) -> dict[str, Any]:
    return {
        "layer": signal.layer,
        "kind": signal.kind,
        "shape": list(signal.shape),
        "bits": signal.bits,
        "signed": signal.signed,
    }


def _contents(program: Program, frames: Frames, recorded: list[Signal]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file; the index, which lists them, last."""
    files = [("vectors.npz", _npz(recorded)), ("README.md", _readme(program, len(frames), recorded).encode())]
    *stepped, scores = recorded
    for n in range(len(frames)):
        for signal in recorded:
            head = f"// {signal.layer} {signal.kind}, recording {n}: {signal.bits} bits{', signed' if signal.signed else ''}\n"
            text = head + "\n".join(words(signal, n)) + "\n"
            files.append((f"{n}.{_stem(signal)}.hex", text.encode()))
        for layer in dict.fromkeys(signal.layer for signal in stepped):
            own = [signal for signal in stepped if signal.layer == layer]
            files.append((f"{n}.{layer}.csv", _csv(own, n).encode()))
    rows = [",".join(["recording", *(f"class_{k}" for k in range(len(program.classes)))])]
    rows += [",".join(map(str, [n, *row.tolist()])) for n, row in enumerate(scores.values)]
    files.append(("scores.csv", ("\n".join(rows) + "\n").encode()))
    yield from files
    index = {
        "schema": SCHEMA, "program": program.name, "program_hash": program_hash(program), "recordings": len(frames),
        "signals": list(map(_facts, recorded)), "files": [*(name for name, _ in files), _INDEX],
    }  # fmt: skip
    yield _INDEX, (json.dumps(index, indent=2) + "\n").encode()


def _stem(signal: Signal) -> str:
    return signal.layer if signal.layer == signal.kind else f"{signal.layer}.{signal.kind}"


def _npz(recorded: list[Signal]) -> bytes:
    """Return the arrays, a step's values in their shape; no time is written, so that equal arrays give equal bytes."""
    content = io.BytesIO()
    arrays = {
        _stem(signal): signal.values.reshape(*signal.values.shape[:-1], *signal.shape) for signal in recorded
    }
    np.savez(content, **arrays)  # type: ignore[arg-type]  # a keyword for every array
    return content.getvalue()


def _csv(own: list[Signal], recording: int) -> str:
    """Return a layer's table: a row for every step and value."""
    columns = [signal.values[recording] for signal in own]
    steps, values = columns[0].shape
    place = np.indices((steps, values)).reshape(2, -1)
    rows = np.stack([*place, *(column.reshape(-1) for column in columns)], axis=1).tolist()
    head = ",".join(["step", "number", *(signal.kind for signal in own)])
    return "\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n"


def _readme(program: Program, recordings: int, recorded: list[Signal]) -> str:
    rows = "\n".join(
        f"| {signal.layer} | {signal.kind} | {' x '.join(map(str, signal.shape))} | "
        f"{signal.bits}{' signed' if signal.signed else ''} |"
        for signal in recorded
    )
    own = program.preprocessing
    names = ("input", *(layer.name for layer in program.layers))
    lines = [
        *(f"- {_plain(layer.name)}: hears {_plain(names[layer.source])}." for layer in program.layers if layer.source is not None),
        *(_lif_line(layer, names) for layer in program.layers if layer.lif is not None),
    ]  # fmt: skip
    readout = program.readout
    beside = f"; of {_beside(readout.further, names)} too" if readout.further else ""
    read = f"scores from the spikes of all steps, {'summed over positions, ' if readout.global_sum_pool else ''}with weights of {readout.weight_bits} bits{beside}."
    if readout.reads != "counts":
        when = "at the last step" if readout.reads == "last" else "at their largest over time"
        read = f"the scores are the membranes of {_plain(program.layers[-1].name)} {when}."
    delays = any(signal.kind == "delayed" for signal in recorded)
    elsewhere = (
        ", where nothing else is said below,"
        if any(layer.lif and layer.lif.starts() for layer in program.layers)
        else ""
    )
    waits = " Or it is a delay: delayed, what arrives in the step." if delays else ""
    return f"""# Test vectors

What the program computes, integer by integer, on {recordings} recordings of {own.time_bins} steps each. Written by sastdeploy {sastdeploy.__version__}; program hash
`{program_hash(program)}`.

| layer | signal | shape of a step (channels x rows x columns) | bits |
|---|---|---|---|
{rows}

- counts: the input of a step, already clipped to {own.c_clip}. sums: of weights times inputs, before the gain. membranes: after the step (and
  after a reset that acts at once). spikes: of the step. A layer without membranes is a pool: its sums are sent on.{waits} scores: after the last step.
- `vectors.npz`: the arrays `[recording, step, channel, row, column]`, named `LAYER.SIGNAL`; `scores` is `[recording, class]`.
- `N.LAYER.SIGNAL.hex`: recording N, one word a line, two's complement where signed; all values of step 0 (channel by channel, row by row), then of
  step 1. `$readmemh` reads them; the first line is a comment.
- `N.LAYER.csv`: the same as numbers, a line for each step and value. `scores.csv`: all recordings.
- `vectors.json`: this table for programs.

Every membrane is 0{elsewhere} and no neuron has fired when a recording begins. A step of a neuron, `>>` rounding down and s[t - 1] the spikes of the step before:

    v = leak(u[t - 1]) + ((sum * multiplier + half) >> shift) + bias        half = 2^(shift - 1), or 0 where shift is 0

{chr(10).join(lines)}
- {_plain(readout.name)}: {read}

Multipliers, shifts, biases, thresholds and weights are in the program's ONNX file; docs/arithmetic.md of sastdeploy gives every operation.
"""


def _beside(further: Sequence[Further], names: tuple[str, ...]) -> str:
    """Return the names of what is summed beside a part's own input."""
    return ", ".join(_plain(names[each.source]) for each in further)


def _lif_line(layer: Any, names: tuple[str, ...]) -> str:
    lif, current = layer.lif, ""
    if layer.further:
        current = f" sums are of {_beside(layer.further, names)} too, in the same step;"
    if layer.own_weights:
        current += " sums are of its own spikes s[t - 1] too, times the recurrent weights;"
    if lif.current is not None:
        decay = f"i[t - 1] * {_factor(lif.current.multiplier)} / 2^{lif.current.shift}, rounded {lif.current.rounding.value}"
        current += f" a current i[t] = {decay}, plus the sum with its gain and bias, {lif.overflow.value}, takes their place;"
    starts = [f" {_STATES[name]} start at {_numbers(start)};" for name, start in lif.starts().items()]
    fired = f"spike where v {lif.spike_test} threshold"
    if lif.max_spikes > 1:
        number = "floor(v / threshold)" if lif.spike_test == ">=" else "ceil(v / threshold) - 1"
        fired = f"{number} spikes where v {lif.spike_test} threshold, {lif.max_spikes} at most, each taking a threshold where the reset subtracts"
    when = "in the next step" if lif.reset_delay else "in the step of the spike"
    if lif.reset == "refractory":
        when += ": v is 0 there, whatever arrives"
    if lif.floor is not None:
        when += f"; after the step, u is at least {_numbers(lif.floor)}"
    return (
        f"- {_plain(layer.name)}:{''.join(starts)}{current} leak is u * {_factor(lif.leak_multiplier)} / 2^{lif.leak_shift}, rounded {lif.leak_rounding.value}; membrane {lif.membrane}, "
        f"{lif.overflow.value}; {fired}; reset {lif.reset}, {when}."
    )


def _factor(decay: Decay) -> str:
    """Return a decay's multiplier; of channels that differ all, of neurons that do, where theirs stand."""
    if not isinstance(decay, np.ndarray):
        return str(decay)
    if decay.ndim == 3:
        return "A[neuron] (A: in the program's ONNX file)"
    return f"A[channel] (A: {_numbers(decay)})"


_STATES = {"start": "membranes", "current_start": "currents"}


def _numbers(values: NDArray[np.int32]) -> str:
    """Return a number for each channel, or the one that all share; of neurons that differ, where theirs stand."""
    if values.ndim == 3:
        return "a number of each neuron (in the program's ONNX file)"
    return ", ".join(map(str, values[:1] if (values == values[0]).all() else values))


def _plain(text: str) -> str:
    return text.replace("|", " ")
