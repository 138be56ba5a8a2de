"""verify: run a program on every engine, compare every integer, and name the first that differs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError, SimulationError
from sastdeploy.program.check import check_program
from sastdeploy.program.file import program_hash
from sastdeploy.program.records import NOT_STATED, Program
from sastdeploy.recordings.frames import Frames, LabelledFrames, frames_of, require_fit
from sastdeploy.simulator.result import RunResult
from sastdeploy.verification.engines import Engine, all_engines, reference
from sastdeploy.verification.inputs import check_size, made_inputs, ties

SCHEMA = "sastdeploy.verification/1"
VERILOG_CLOCKS = 25_000
"""Of one recording: Icarus simulates some ten thousand clocks of a core in a second."""
TRACE_BYTES = 64 << 20
"""Memory that the traces of the recordings compared together may take, per engine."""


@dataclass(frozen=True)
class Difference:
    """The first integer in which an engine differs from the reference: earliest recording, step, layer, neuron.

    Args:
        inputs: kind of recordings. recording: its number there, from 0.
        what: ``membrane``, ``spike``, or the result's field. layer: None for a score. step: None for a field without steps.
        place: neuron, class, or other position in the field.
    """

    engine: str
    inputs: str
    recording: int | None
    what: str
    layer: str | None
    step: int | None
    place: int
    expected: int
    got: int

    def __str__(self) -> str:
        parts = [f"{self.inputs} recording {self.recording}" if self.recording is not None else self.inputs]
        parts += [f"layer {self.layer}"] if self.layer is not None else []
        parts += [f"step {self.step}"] if self.step is not None else []
        unit = {"membrane": "neuron", "spike": "neuron", "neuron_spikes": "neuron", "scores": "class"}
        parts.append(f"{self.what} of {unit.get(self.what, 'place')} {self.place}")
        return f"{self.engine}: {', '.join(parts)}: {self.got}, where the reference has {self.expected}"


@dataclass(frozen=True)
class EngineProof:
    """One engine beside the reference. ``values``: integers compared. ``absent``: why it was not run, if so."""

    engine: str
    recordings: int
    values: int
    seconds: float
    difference: Difference | None
    absent: str | None


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Args:
        program, program_hash: which program, by its name and by the hash of its content.
        inputs: recordings per kind.
        ties: membranes that met their threshold exactly. overflows: updates beyond the membrane's format. spikes: of all layers.
        engines: one row for each way to run the program.
    """

    program: str
    program_hash: str
    inputs: dict[str, int]
    ties: int
    overflows: int
    spikes: int
    engines: tuple[EngineProof, ...]

    @property
    def equal(self) -> bool:
        """Whether every engine that was run gave the reference's integers."""
        return all(proof.difference is None for proof in self.engines)

    @property
    def first_difference(self) -> Difference | None:
        """The difference of the first engine that has one."""
        return next((proof.difference for proof in self.engines if proof.difference), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values."""
        return {"schema": SCHEMA, "equal": self.equal, **asdict(self)}


def verify(
    program: Program,
    recordings: Mapping[str, Frames | LabelledFrames]
    | Frames
    | LabelledFrames
    | NDArray[np.integer]
    | None = None,
    *,
    random: int = 8,
    seed: int = 0,
    verilog_clocks: int = VERILOG_CLOCKS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Compare every membrane, spike, score, operation and overflow of a program on every engine with the reference engine.

    Engines: Numba (one thread, several, without traces, widest arithmetic), ONNX Runtime, the exported C where a C compiler
    is found, and the exported Verilog where Icarus is. Inputs: random ones, adversarial ones (empty, all ones, saturating,
    single events), random ones chosen for membranes that meet their threshold exactly, and ``recordings``.

    Args:
        program: checked before it runs.
        recordings: of your own: frames, counts ``[N, T, P, H, W]``, or several of them by name.
        random: how many random recordings, 1 to 10,000. seed: of all recordings that are made here.
        verilog_clocks: simulate the Verilog where a recording takes no more; 0 leaves it out.
        progress: called with (recordings compared, in all).

    Returns:
        One row per engine, with the first difference where there is one.

    Raises:
        InputError: the program is invalid, recordings do not fit it, or those to be made would take too much memory.
        SimulationError: an engine cannot run the program at all.

    Example::

        verification = verify(load_program("program.onnx"))
        print(verification.equal, sum(proof.values for proof in verification.engines))
    """
    check_program(program)
    if not 1 <= random <= 10_000:
        raise InputError(f"random {random}: outside 1 to 10,000. Choose how many random recordings to make.")
    check_size(program, random)
    own = {} if recordings is None else recordings if isinstance(recordings, Mapping) else {"own": recordings}
    inputs = made_inputs(program, random, seed)
    inputs |= {name: _fitting(program, name, value) for name, value in own.items()}
    with all_engines(program, verilog_clocks) as engines:
        return _compared(program, inputs, engines, progress)


def _fitting(program: Program, name: str, recordings: Any) -> Frames:
    frames = frames_of(recordings)
    own = program.preprocessing
    trained = "" if program.dataset == NOT_STATED else f" ({program.dataset})"
    require_fit(
        frames, own.frame_shape, own.time_bins, f"program {program.name}",
        f"Give '{name}' recordings of its own data set{trained}.",
    )  # fmt: skip
    return frames


def _compared(
    program: Program,
    inputs: dict[str, Frames],
    engines: tuple[Engine, ...],
    progress: Callable[[int, int], None],
) -> Verification:
    names, total = tuple(program.neurons()), sum(map(len, inputs.values()))
    size = _recordings_at_once(program)
    differences: dict[str, Difference] = {}
    seconds, values = (
        dict.fromkeys((e.name for e in engines), 0.0),
        dict.fromkeys((e.name for e in engines), 0),
    )
    met = overflows = spikes = done = 0
    for kind, frames in inputs.items():
        for start in range(0, len(frames), size):
            part = frames.select(slice(start, min(start + size, len(frames))))
            expected = reference(program, part, names)
            met += ties(program, expected)
            overflows += int(expected.overflow_low.sum() + expected.overflow_high.sum())
            spikes += int(expected.spikes.sum())
            for engine in engines:
                if engine.absent or engine.name in differences:
                    continue
                begin = time.perf_counter()
                result = _run(engine, program, part, names)
                seconds[engine.name] += time.perf_counter() - begin
                values[engine.name] += _size(expected, engine.fields)
                if difference := first_difference(engine, kind, start, expected, result):
                    differences[engine.name] = difference
            done += len(part)
            progress(done, total)
    proofs = (
        EngineProof(
            e.name,
            0 if e.absent else total,
            values[e.name],
            seconds[e.name],
            differences.get(e.name),
            e.absent,
        )
        for e in engines
    )
    kinds = {kind: len(frames) for kind, frames in inputs.items()}
    return Verification(
        program.name, program_hash(program), kinds, met, overflows, spikes, tuple(proofs)
    )  # fmt: skip


def _run(engine: Engine, program: Program, frames: Frames, names: tuple[str, ...]) -> RunResult:
    try:
        return engine.run(program, frames, names)
    except SimulationError as error:
        raise SimulationError(f"engine {engine.name}: {error}") from error


def _recordings_at_once(program: Program) -> int:
    neurons = sum(int(np.prod(s)) for layer, s in zip(program.layers, program.shapes()[1:]) if layer.lif)
    return max(1, min(64, TRACE_BYTES // (5 * neurons * program.preprocessing.time_bins)))


def _arrays(result: RunResult, field: str) -> list[tuple[str | None, NDArray[np.integer]]]:
    """Return a field's arrays with the layer that each is of, where it is one layer's."""
    value = getattr(result, field)
    return list(zip(result.layers, value)) if isinstance(value, tuple) else [(None, value)]


def _size(result: RunResult, fields: tuple[str, ...]) -> int:
    plain = sum(array.size for field in fields if field != "traces" for _, array in _arrays(result, field))
    if "traces" not in fields:
        return plain
    return plain + sum(trace.membranes.size + trace.spikes.size for trace in result.traces.values())


def first_difference(
    engine: Engine, kind: str, start: int, expected: RunResult, result: RunResult
) -> Difference | None:
    """Return the earliest integer in which a result differs; membranes and spikes come before what follows from them."""
    if "traces" in engine.fields and (difference := _in_traces(engine.name, kind, start, expected, result)):
        return difference
    for field in engine.fields:
        if field == "traces":
            continue
        for (layer, a), (_, b) in zip(_arrays(expected, field), _arrays(result, field)):
            if np.array_equal(a, b):
                continue
            place = tuple(int(i) for i in np.argwhere(a != b)[0])
            # Counts of a layer's neurons are over all recordings.
            recording, last = (None, place[0]) if layer is not None else (start + place[0], place[-1])
            last = 0 if layer is None and a.ndim == 1 else last
            return Difference(
                engine.name, kind, recording, field, layer, None, last, int(a[place]), int(b[place])
            )
    return None


def _in_traces(name: str, kind: str, start: int, expected: RunResult, result: RunResult) -> Difference | None:
    first: tuple[Any, ...] | None = None
    for number, layer in enumerate(expected.traces):
        for order, (what, part) in enumerate((("membrane", "membranes"), ("spike", "spikes"))):
            a = getattr(expected.traces[layer], part)
            b = getattr(result.traces[layer], part)
            if np.array_equal(a, b):
                continue
            recording, step, neuron = (int(i) for i in np.unravel_index(int(np.argmax(a != b)), a.shape))
            place = (recording, step, neuron)
            difference = ((recording, step, number, neuron, order), what, layer, int(a[place]), int(b[place]))
            first = difference if first is None or difference[0] < first[0] else first
    if first is None:
        return None
    (recording, step, _, neuron, _), what, layer, wanted, got = first
    return Difference(name, kind, start + recording, what, layer, step, neuron, wanted, got)
