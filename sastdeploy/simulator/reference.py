"""The plain, slow, readable engine: the living definition of the arithmetic. All others are tested against it.

One recording, one step, one layer at a time, in int64 NumPy; convolutions gather (the fast engine scatters), and
synaptic operations are counted synapse by synapse from that gather, not from fan-out tables.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.counting import count_synops, seen_by, sum_pool
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.records import ConvLif, DenseLif, Lif, Program, ProgramLayer, Readout, SumPool
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator.result import RunResult, empty_result, held_in_int32

Array = NDArray[np.int64]


def run(
    program: Program,
    frames: Frames,
    trace: tuple[str, ...] = (),
    progress: Callable[[int], None] | None = None,
) -> RunResult:
    """Return the program's exact result on every recording; the caller has checked that both fit together."""
    result = empty_result(program, len(frames), trace)
    clip = program.preprocessing.c_clip
    for n in range(len(frames)):
        counts = np.minimum(frames.select(slice(n, n + 1)).dense()[0].astype(np.int64), clip)
        _run_one(program, counts, n, result)
        if progress:
            progress(1)
    return result


def _run_one(program: Program, counts: Array, n: int, result: RunResult) -> None:
    """Run recording ``n``, whose clipped counts are ``[T, P, H, W]``, and fill its rows of the result."""
    shapes = program.shapes()
    membranes = [np.zeros(shape, np.int64) for shape in shapes[1:]]
    spikes = [np.zeros(shape, np.int64) for shape in shapes[1:]]
    output_counts = np.zeros(shapes[-1], np.int64)
    for t, x in enumerate(counts):
        for position, layer in enumerate(program.layers):
            _count(result, n, position, layer, x)
            if isinstance(layer, SumPool):
                x = sum_pool(x, layer.kernel)
            else:
                acc = accumulate(layer, x)
                u, x, low, high = lif_step(layer.lif, acc, membranes[position], spikes[position])
                membranes[position], spikes[position] = u, x
                result.overflow_low[n, position] += low
                result.overflow_high[n, position] += high
                if layer.name in result.traces:
                    result.traces[layer.name].membranes[n, t] = u.reshape(-1)
                    result.traces[layer.name].spikes[n, t] = x.reshape(-1)
            result.neuron_spikes[position][:] += x.reshape(-1) != 0
        _count(result, n, len(program.layers), program.readout, x)
        output_counts += x
    scores = class_scores(program.readout, output_counts, len(counts))
    result.scores[n] = held_in_int32(scores, program.readout.name)
    result.predicted[n] = np.argmax(scores)


def accumulate(layer: DenseLif | ConvLif, x: Array) -> Array:
    """Return the weighted sums ``[C, H, W]`` of the layer's neurons for input ``x`` ``[C, H, W]``."""
    weight = layer.weight.astype(np.int64)
    if isinstance(layer, DenseLif):
        return (weight @ x.reshape(-1)).reshape(-1, 1, 1)
    _, _, height, width = weight.shape
    return sum(
        np.einsum("oc,chw->ohw", weight[:, :, ky, kx], seen_by(layer, x, ky, kx))
        for ky in range(height)
        for kx in range(width)
    )


def lif_step(lif: Lif, acc: Array, u: Array, s: Array) -> tuple[Array, Array, int, int]:
    """Return ``u[t]``, ``s[t]`` and how many updates overflowed below and above (equations: `Lif`).

    Args:
        acc: weighted sums ``[C, H, W]``. u, s: membrane and spikes of the step before, same shape.
    """
    multiplier, shift, bias, threshold = (
        np.asarray(v, np.int64)[:, None, None] for v in (lif.multiplier, lif.shift, lif.bias, lif.threshold)
    )
    current = rounded_shift(acc * multiplier, shift)
    leak = rescale(u * int(lif.leak_multiplier), lif.leak_shift, lif.leak_rounding)
    if lif.reset_delay == 1:
        if lif.reset == "subtract":
            v = leak + current + bias - threshold * s
        elif lif.reset == "zero":
            v = np.where(s == 1, 0, leak) + current + bias
        else:
            v = leak + current + bias
        u, low, high = overflow(v, lif.membrane, lif.overflow)
        return u, spike_test(u, threshold, lif.spike_test), low, high
    w, low, high = overflow(leak + current + bias, lif.membrane, lif.overflow)
    s = spike_test(w, threshold, lif.spike_test)
    if lif.reset == "subtract":
        # A spike means w >= threshold >= 1, so the difference lies in the format and cannot overflow again.
        w = w - threshold * s
    elif lif.reset == "zero":
        w = np.where(s == 1, 0, w)
    return w, s, low, high


def spike_test(u: Array, threshold: Array, test: str) -> Array:
    """Return 1 where the membrane passes the test against the threshold, else 0."""
    return ((u > threshold) if test == ">" else (u >= threshold)).astype(np.int64)


def rounded_shift(product: Array, shift: Array) -> Array:
    """Return ``(product + 2^(shift-1)) >> shift``, and ``product`` where ``shift`` is 0: rounds half up."""
    half = np.where(shift > 0, np.left_shift(1, np.maximum(shift - 1, 0)), 0)
    return (product + half) >> shift


def rescale(product: Array, shift: int, rounding: Rounding) -> Array:
    """Return ``product / 2^shift`` rounded as named (`Rounding`); ``shift = 0`` changes nothing."""
    if shift == 0:
        return product
    if rounding == Rounding.FLOOR:
        return product >> shift
    if rounding == Rounding.TOWARD_ZERO:
        return np.sign(product) * (np.abs(product) >> shift)
    return (product + (1 << (shift - 1))) >> shift


def overflow(v: Array, membrane: QFormat, rule: Overflow) -> tuple[Array, int, int]:
    """Return ``v`` brought into the membrane's format, and how many values lay below and above it."""
    low, high = int((v < membrane.q_min).sum()), int((v > membrane.q_max).sum())
    if rule == Overflow.SATURATE:
        return np.clip(v, membrane.q_min, membrane.q_max), low, high
    return (v - membrane.q_min) % (1 << membrane.bits) + membrane.q_min, low, high


def class_scores(readout: Readout, counts: Array, steps: int) -> Array:
    """Return the scores int64 ``[K]`` for the last layer's spike counts ``[C, H, W]`` over ``steps`` steps."""
    inputs = counts.sum(axis=(1, 2)) if readout.global_sum_pool else counts.reshape(-1)
    acc = readout.weight.astype(np.int64) @ inputs
    gained = rounded_shift(acc * readout.multiplier.astype(np.int64), readout.shift.astype(np.int64))
    return gained + steps * readout.bias.astype(np.int64)


def _count(result: RunResult, n: int, source: int, target: ProgramLayer | Readout, x: Array) -> None:
    """Add one step's activity of ``source`` and the operations it triggers in ``target``."""
    total, weighted, nonzero = count_synops(target, x)
    result.active[n, source] += np.count_nonzero(x)
    result.events[n, source] += x.sum()
    result.synops[n, source] += total
    result.synops_events[n, source] += weighted
    result.synops_nonzero[n, source] += nonzero
