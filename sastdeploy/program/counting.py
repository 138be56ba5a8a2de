"""What a program costs: synaptic operations of given activity, their maximum, and the memory it needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.records import ConvLif, Program, ProgramLayer, Readout, SumPool

Array = NDArray[np.int64]


def count_synops(target: ProgramLayer | Readout, x: Array) -> tuple[int, int, int]:
    """Return the operations that the values ``x`` ``[C, H, W]`` trigger in ``target`` in one step.

    Returns:
        One per synapse of every non-zero value; the same weighted by the values; the first without zero weights.
    """
    active = (x != 0).astype(np.int64)
    if isinstance(target, SumPool):
        kept = sum_pool(active, target.kernel).sum()
        return int(kept), int(sum_pool(x, target.kernel).sum()), int(kept)
    if isinstance(target, ConvLif):
        return _conv_synops(target, x, active)
    if isinstance(target, Readout) and target.global_sum_pool:
        x, active = x.sum(axis=(1, 2)), active.sum(axis=(1, 2))
    neurons, nonzero = len(target.weight), (target.weight != 0).sum(axis=0)
    return int(neurons * active.sum()), int(neurons * x.sum()), int(nonzero @ active.reshape(-1))


def _conv_synops(layer: ConvLif, x: Array, active: Array) -> tuple[int, int, int]:
    """Count every meeting of a non-zero input with a kernel element at an output position."""
    total = weighted = nonzero = 0
    outputs, _, height, width = layer.weight.shape
    for ky in range(height):
        for kx in range(width):
            meetings = seen_by(layer, active, ky, kx).sum(axis=(1, 2))
            total += outputs * int(meetings.sum())
            weighted += outputs * int(seen_by(layer, x, ky, kx).sum())
            nonzero += int((layer.weight[:, :, ky, kx] != 0).sum(axis=0) @ meetings)
    return total, weighted, nonzero


def seen_by(layer: ConvLif, x: Array, ky: int, kx: int) -> Array:
    """Return the input values ``[C, OH, OW]`` that kernel element ``(ky, kx)`` meets at every output position."""
    (pad_y, pad_x), (step_y, step_x) = layer.padding, layer.stride
    padded = np.pad(x, ((0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    rows = (padded.shape[1] - layer.weight.shape[2]) // step_y + 1
    columns = (padded.shape[2] - layer.weight.shape[3]) // step_x + 1
    return padded[:, ky : ky + rows * step_y : step_y, kx : kx + columns * step_x : step_x][
        :, :rows, :columns
    ]


def sum_pool(x: Array, kernel: int) -> Array:
    """Return the sums over whole ``kernel`` x ``kernel`` windows of ``x`` ``[C, H, W]``."""
    channels, rows, columns = x.shape[0], x.shape[1] // kernel, x.shape[2] // kernel
    whole = x[:, : rows * kernel, : columns * kernel]
    return whole.reshape(channels, rows, kernel, columns, kernel).sum(axis=(2, 4))


def largest_synops(program: Program) -> NDArray[np.int64]:
    """Return the most operations one recording can cost: every value non-zero (and largest) at every step.

    Returns:
        int64 ``[3, L + 1]``: all synapses, event-weighted, without zero weights; per source as in `RunResult`.
    """
    largest, columns = program.preprocessing.c_clip, []
    targets = (*program.layers, program.readout)
    for shape, target in zip(program.shapes(), targets):
        columns.append(count_synops(target, np.full(shape, largest, np.int64)))
        largest = largest * target.kernel**2 if isinstance(target, SumPool) else 1
    return np.array(columns, np.int64).T * program.preprocessing.time_bins


def footprint_bytes(program: Program) -> dict[str, int]:
    """Return the bytes that the network needs on a device, every value packed at its own width.

    Returns:
        ``weights`` (weight bits), ``parameters`` (bias and threshold at the membrane's width, 15-bit multiplier,
        6-bit shift, per channel), ``state`` (one membrane and one spike bit per neuron,
        the readout's spike counters), and ``total``.
        Pools hold nothing; a layer's bits are rounded up to whole bytes.
    """
    weights = parameters = state = 0
    for layer, shape in zip(program.layers, program.shapes()[1:]):
        if isinstance(layer, SumPool):
            continue
        width, channels = layer.lif.membrane.bits, len(layer.weight)
        weights += _bytes(layer.weight.size * layer.weight_bits)
        parameters += _bytes(channels * (2 * width + 15 + 6))
        state += _bytes(int(np.prod(shape)) * (width + 1))
    readout = program.readout
    shape = program.shapes()[-1]
    counted = shape[1] * shape[2] if readout.global_sum_pool else 1
    counters = readout.weight.shape[1] * (program.preprocessing.time_bins * counted).bit_length()
    weights += _bytes(readout.weight.size * readout.weight_bits)
    parameters += _bytes(len(readout.weight) * (32 + 15 + 6))
    state += _bytes(counters)
    return {
        "weights": weights,
        "parameters": parameters,
        "state": state,
        "total": weights + parameters + state,
    }


def _bytes(bits: int) -> int:
    return -(-int(bits) // 8)
