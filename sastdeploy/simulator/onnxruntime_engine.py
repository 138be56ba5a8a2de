"""The third engine: ONNX Runtime computes the program's own graph; NumPy counts what its spikes trigger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import SimulationError
from sastdeploy.program.onnx_graph import build_model
from sastdeploy.program.records import ConvLif, Program, ProgramLayer, Readout, SumPool
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator.result import RunResult, empty_result

CHUNK_BYTES = 64 << 20
"""Memory that the runtime may take for the outputs of the recordings computed together."""

Counts = NDArray[np.int64]
Shape = tuple[int, int, int]


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
    shapes = program.shapes()
    targets = (*program.layers, program.readout)
    tables = [fan_out(target, shape) for target, shape in zip(targets, shapes)]
    size = max(1, min(64, CHUNK_BYTES // _bytes_per_recording(program)))
    for start in range(0, len(frames), size):
        rows = slice(start, min(start + size, len(frames)))
        counts = frames.select(rows).dense()
        outputs = _outputs(session, program, counts, trace)
        _fill(result, program, rows, counts, outputs, tables)
        if progress:
            progress(rows.stop - start)
    return result


def fan_out(target: ProgramLayer | Readout, shape: Shape) -> tuple[Counts, Counts]:
    """Return how many operations one non-zero value at each input of ``target`` triggers, int64 ``[C * H * W]``.

    Returns:
        One per synapse (pool: 1 inside a whole window), and the same without the synapses whose weight is 0.
    """
    channels, height, width = shape
    if isinstance(target, SumPool):
        kept = np.zeros(shape, np.int64)
        kernel = target.kernel
        kept[:, : height // kernel * kernel, : width // kernel * kernel] = 1
        return kept.reshape(-1), kept.reshape(-1)
    if isinstance(target, ConvLif):
        nonzero = (target.weight != 0).sum(axis=0)
        return (
            _reached(target, shape, np.full_like(nonzero, len(target.weight))),
            _reached(target, shape, nonzero),
        )
    nonzero = (target.weight != 0).sum(axis=0)
    if isinstance(target, Readout) and target.global_sum_pool:
        nonzero = np.repeat(nonzero, height * width)
    return np.full(channels * height * width, len(target.weight), np.int64), nonzero.astype(np.int64)


def _reached(layer: ConvLif, shape: Shape, per_element: Counts) -> Counts:
    """Scatter ``per_element`` ``[C, KH, KW]`` to the inputs that each kernel element meets, and sum."""
    (pad_y, pad_x), (step_y, step_x) = layer.padding, layer.stride
    kernel_y, kernel_x = layer.weight.shape[2:]
    channels, height, width = shape
    padded = np.zeros((channels, height + 2 * pad_y, width + 2 * pad_x), np.int64)
    rows = (height + 2 * pad_y - kernel_y) // step_y + 1
    columns = (width + 2 * pad_x - kernel_x) // step_x + 1
    for ky in range(kernel_y):
        for kx in range(kernel_x):
            last_y, last_x = ky + (rows - 1) * step_y + 1, kx + (columns - 1) * step_x + 1
            padded[:, ky:last_y:step_y, kx:last_x:step_x] += per_element[:, ky, kx, None, None]
    return padded[:, pad_y : pad_y + height, pad_x : pad_x + width].reshape(-1)


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
) -> dict[str, NDArray]:
    names = ["scores", "predicted", *(f"{name}/membrane" for name in trace)]
    for layer in program.layers:
        if not isinstance(layer, SumPool):
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
    outputs: dict[str, NDArray],
    tables: list[tuple[Counts, Counts]],
) -> None:
    """Fill the result's rows from the runtime's outputs for these recordings."""
    result.scores[rows] = outputs["scores"]
    result.predicted[rows] = outputs["predicted"]
    values = np.minimum(counts, np.uint8(program.preprocessing.c_clip))
    _count(result, rows, 0, values, tables[0])
    for position, layer in enumerate(program.layers):
        if isinstance(layer, SumPool):
            values = _pooled(values, layer.kernel)
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


def _pooled(values: NDArray[np.uint8], kernel: int) -> NDArray[np.uint8]:
    """Return the sums of whole windows of ``[N, T, C, H, W]``; a verified program keeps them within 8 bits."""
    n, steps, channels, height, width = values.shape
    rows, columns = height // kernel, width // kernel
    whole = values[..., : rows * kernel, : columns * kernel]
    split = whole.reshape(n, steps, channels, rows, kernel, columns, kernel)
    return split.sum(axis=(4, 6), dtype=np.uint8)


def _count(
    result: RunResult, rows: slice, source: int, values: NDArray[np.uint8], tables: tuple[Counts, Counts]
) -> None:
    """Add the activity of ``values`` ``[N, T, C, H, W]`` and the operations it triggers in the next layer."""
    every, nonzero = tables
    active = np.count_nonzero(values, axis=1).astype(np.int64).reshape(len(values), -1)
    events = values.sum(axis=1, dtype=np.int64).reshape(len(values), -1)
    result.active[rows, source] = active.sum(axis=1)
    result.events[rows, source] = events.sum(axis=1)
    result.synops[rows, source] = active @ every
    result.synops_events[rows, source] = events @ every
    result.synops_nonzero[rows, source] = active @ nonzero
