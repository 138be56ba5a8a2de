"""The third engine: ONNX Runtime computes the program's own graph; NumPy counts what its spikes trigger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import SimulationError
from sastdeploy.program.onnx_graph import build_model
from sastdeploy.program.records import Program
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator.result import RunResult, empty_result

CHUNK_BYTES = 64 << 20
"""Memory that the runtime may take for the outputs of the recordings computed together."""

Counts = NDArray[np.int64]


def run(
    program: Program,
    frames: Frames,
    trace: tuple[str, ...] = (),
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> RunResult:
    """Return the program's exact result on every recording; the caller has checked that both fit together.

    Raises:
        SimulationError: ONNX Runtime refuses the graph or fails on it.
    """
    result = empty_result(program, len(frames), trace)
    if not len(frames):
        return result
    session = _session(program, threads)
    tables = program.fan_outs()
    size = max(1, min(64, CHUNK_BYTES // _bytes_per_recording(program)))
    for start in range(0, len(frames), size):
        rows = slice(start, min(start + size, len(frames)))
        counts = frames.select(rows).dense()
        outputs = _outputs(session, program, counts, trace)
        _fill(result, program, rows, counts, outputs, tables)
        if progress:
            progress(rows.stop - start)
    return result


def _session(program: Program, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = build_model(program).SerializeToString(deterministic=True)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common class
        raise SimulationError(_failure(program, "load", error)) from error


def _failure(program: Program, what: str, error: Exception) -> str:
    import onnxruntime

    return (
        f"program {program.name}: ONNX Runtime {onnxruntime.__version__} could not {what} it ({error}). "
        "Use --engine numba, or update onnxruntime."
    )


def _bytes_per_recording(program: Program) -> int:
    """Spikes (1 byte) and membranes (4) of every step, and ten int64 temporaries of the step in hand."""
    steps, shapes = program.preprocessing.time_bins, program.shapes()
    values = sum(int(np.prod(shape)) for shape in shapes[1:])
    return values * (5 * steps + 80) + int(np.prod(shapes[0])) * steps


def _outputs(
    session: Any, program: Program, counts: NDArray[np.uint8], trace: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    names = ["scores", "predicted", *(f"{name}/membrane" for name in trace)]
    for layer in program.layers:
        if layer.lif is not None:
            names += [f"{layer.name}/{part}" for part in ("spikes", "overflow_low", "overflow_high")]
    try:
        return dict(zip(names, session.run(names, {"counts": counts})))
    except Exception as error:  # onnxruntime's own exceptions have no common class
        raise SimulationError(_failure(program, "run", error)) from error


def _fill(
    result: RunResult,
    program: Program,
    rows: slice,
    counts: NDArray[np.uint8],
    outputs: dict[str, NDArray[Any]],
    tables: tuple[tuple[Counts, Counts], ...],
) -> None:
    """Fill the result's rows from the runtime's outputs for these recordings."""
    result.scores[rows] = outputs["scores"]
    result.predicted[rows] = outputs["predicted"]
    values = np.minimum(counts, np.uint8(program.preprocessing.c_clip))
    _count(result, rows, 0, values, tables[0])
    sent = [values]
    for position, (layer, source) in enumerate(zip(program.layers, program.sources())):
        if layer.lif is None:
            # A verified program keeps these values within 8 bits.
            values = layer.sent(sent[source])
        else:
            values = outputs[f"{layer.name}/spikes"]
            result.overflow_low[rows, position] = outputs[f"{layer.name}/overflow_low"]
            result.overflow_high[rows, position] = outputs[f"{layer.name}/overflow_high"]
            if layer.name in result.traces:
                kept = result.traces[layer.name]
                kept.membranes[rows] = outputs[f"{layer.name}/membrane"].reshape(kept.membranes[rows].shape)
                kept.spikes[rows] = values.reshape(kept.spikes[rows].shape)
        active = np.count_nonzero(values, axis=(0, 1))
        result.neuron_spikes[position][:] += np.asarray(active).reshape(-1)
        _count(result, rows, position + 1, values, tables[position + 1])
        sent.append(values)


def _count(
    result: RunResult, rows: slice, source: int, values: NDArray[np.uint8], tables: tuple[Counts, Counts]
) -> None:
    """Add the activity of ``values`` ``[N, T, C, H, W]`` and the operations it triggers wherever it is heard."""
    every, nonzero = tables
    active = np.count_nonzero(values, axis=1).astype(np.int64).reshape(len(values), -1)
    events = values.sum(axis=1, dtype=np.int64).reshape(len(values), -1)
    result.active[rows, source] = active.sum(axis=1)
    result.events[rows, source] = events.sum(axis=1)
    result.synops[rows, source] = active @ every
    result.synops_events[rows, source] = events @ every
    result.synops_nonzero[rows, source] = active @ nonzero
