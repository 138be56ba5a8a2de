"""Event-driven integer kernels (Numba): scalar step -> one neuron group -> one block of recordings.

A dense layer is one output position whose neurons all see the same active inputs; a convolution is many positions,
each with its own list. So both are: gather the weight rows of the active inputs, add them, take one LIF step.

Rules that keep them exact: every width is proven sufficient before a kernel is called (`sastdeploy.simulator.plan`),
no unsigned operands, every index was checked at load, and no kernel raises, prints or allocates per step. They
release the interpreter lock and touch only their own recordings, so the number of threads cannot change a result.
"""

from __future__ import annotations

import numpy as np
from numba import njit

GROUP = 8
"""Weight rows added at a time: one load and store of the sums per eight loads of weights."""


@njit(cache=True, nogil=True)
def add_spike_rows(weight, rows, count, partial, acc, budget):
    """Add the named weight rows to ``acc``; ``count`` is a multiple of `GROUP`."""
    width = acc.shape[0]
    for o in range(width):
        partial[o] = 0
    used = 0
    for r in range(0, count, GROUP):
        a, b, c, d = weight[rows[r]], weight[rows[r + 1]], weight[rows[r + 2]], weight[rows[r + 3]]
        e, f, g, h = weight[rows[r + 4]], weight[rows[r + 5]], weight[rows[r + 6]], weight[rows[r + 7]]
        for o in range(width):
            partial[o] += (
                np.int64(a[o]) + np.int64(b[o]) + np.int64(c[o]) + np.int64(d[o])
                + np.int64(e[o]) + np.int64(f[o]) + np.int64(g[o]) + np.int64(h[o])
            )  # fmt: skip
        used += GROUP
        if used + GROUP > budget:
            for o in range(width):
                acc[o] += partial[o]
                partial[o] = 0
            used = 0
    for o in range(width):
        acc[o] += partial[o]


@njit(cache=True, nogil=True)
def add_graded_rows(weight, rows, values, count, partial, acc, budget):
    """Add the named weight rows, each multiplied by its value, to ``acc``; ``count`` is a multiple of `GROUP`."""
    width = acc.shape[0]
    for o in range(width):
        partial[o] = 0
    used = 0
    for r in range(0, count, GROUP):
        a, b, c, d = weight[rows[r]], weight[rows[r + 1]], weight[rows[r + 2]], weight[rows[r + 3]]
        e, f, g, h = weight[rows[r + 4]], weight[rows[r + 5]], weight[rows[r + 6]], weight[rows[r + 7]]
        va, vb, vc, vd = values[r], values[r + 1], values[r + 2], values[r + 3]
        ve, vf, vg, vh = values[r + 4], values[r + 5], values[r + 6], values[r + 7]
        for o in range(width):
            partial[o] += (
                np.int64(va) * np.int64(a[o]) + np.int64(vb) * np.int64(b[o])
                + np.int64(vc) * np.int64(c[o]) + np.int64(vd) * np.int64(d[o])
                + np.int64(ve) * np.int64(e[o]) + np.int64(vf) * np.int64(f[o])
                + np.int64(vg) * np.int64(g[o]) + np.int64(vh) * np.int64(h[o])
            )  # fmt: skip
        used += GROUP
        if used + GROUP > budget:
            for o in range(width):
                acc[o] += partial[o]
                partial[o] = 0
            used = 0
    for o in range(width):
        acc[o] += partial[o]


@njit(cache=True, nogil=True)
def add_rows(wiring, graded, scratch, count):
    """Leave in ``acc`` the sum of the ``count`` listed rows, each multiplied by its value if ``graded``."""
    scratch.acc[:] = 0
    # The last row of the weights is zero: filling a group up with it costs less than a loop over the remainder.
    while count % GROUP:
        scratch.rows[count] = wiring.weight.shape[0] - 1
        scratch.values[count] = 0
        count += 1
    if count == 0:
        return
    if graded:
        add_graded_rows(
            wiring.weight, scratch.rows, scratch.values, count, scratch.partial, scratch.acc, wiring.budget
        )
    else:
        add_spike_rows(wiring.weight, scratch.rows, count, scratch.partial, scratch.acc, wiring.budget)


@njit(cache=True, nogil=True)
def lif_step(step, acc, membrane, fired, counts):
    """Take one step for every neuron of a position; return how many membranes overflowed below and above.

    A verified program's update fits 32 bits; only the two products need 64.
    """
    low = np.int32(0)
    high = np.int32(0)
    q_min = np.int32(step.q_min)
    q_max = np.int32(step.q_max)
    mask = np.int32(step.q_max - step.q_min)
    zero_before = np.int32(step.zero_before)
    zero_after = np.int32(step.zero_after)
    for o in range(acc.shape[0]):
        before = membrane[o]
        spiked = np.int32(-np.int32(before >= step.test[o]))
        product = np.int64(before) * np.int64(step.leak_multiplier)
        product += step.leak_half + ((product >> np.int64(63)) & step.leak_negative)
        leak = np.int32(product >> step.leak_shift) & ~np.int32(zero_before & spiked)
        gained = np.int64(acc[o]) * np.int64(step.multiplier[o]) + step.half[o]
        current = np.int32(gained >> np.int64(step.shift[o]))
        v = np.int32(leak + current + step.bias[o] - np.int32(step.subtract_before[o] & spiked))
        low = np.int32(low + np.int32(v < q_min))
        high = np.int32(high + np.int32(v > q_max))
        if step.wrap:
            # In 64 bits: the difference to the lower end can leave 32.
            w = np.int32(((np.int64(v) - np.int64(q_min)) & np.int64(mask)) + np.int64(q_min))
        else:
            w = np.int32(min(max(v, q_min), q_max))
        spikes = np.int32(w >= step.test[o])
        now = np.int32(-spikes)
        membrane[o] = np.int32(w & ~np.int32(zero_after & now)) - np.int32(step.subtract_after[o] & now)
        fired[o] = spikes
        counts[o] += spikes
    return low, high


@njit(cache=True, nogil=True)
def emit(fired, first, index, position):
    """Append ``first + o`` for every neuron o that fired; return the new end. Writes at most one slot past it."""
    for o in range(fired.shape[0]):
        index[position] = first + o
        position += np.int64(fired[o])
    return position


@njit(cache=True, nogil=True)
def fill_buckets(source, row, wiring, scratch):
    """Sort one row's active inputs by pixel: ``bucket[pixel * C + k]`` is the k-th active channel there."""
    scratch.filled[:] = 0
    for e in range(source.starts[row], source.stops[row]):
        j = source.active[e]
        pixel = np.int64(wiring.pixel[j])
        slot = pixel * wiring.channels + scratch.filled[pixel]
        scratch.bucket[slot] = wiring.channel[j]
        if source.graded:
            scratch.bucket_values[slot] = source.value[e]
        scratch.filled[pixel] += 1


@njit(cache=True, nogil=True)
def list_all_rows(source, row, scratch):
    """List the weight rows (and values) of all active inputs of a dense layer; return their number."""
    start = source.starts[row]
    count = source.stops[row] - start
    for k in range(count):
        scratch.rows[k] = source.active[start + k]
    if source.graded:
        for k in range(count):
            scratch.values[k] = source.value[start + k]
    return count


@njit(cache=True, nogil=True)
def list_seen_rows(position, graded, wiring, scratch):
    """List the weight rows (and values) that one output position sees; return their number."""
    count = np.int64(0)
    for tap in range(wiring.tap_start[position], wiring.tap_start[position + 1]):
        pixel = np.int64(wiring.tap_pixel[tap])
        first = np.int64(wiring.tap_row[tap])
        start = pixel * wiring.channels
        here = np.int64(scratch.filled[pixel])
        for k in range(here):
            scratch.rows[count + k] = first + scratch.bucket[start + k]
        if graded:
            for k in range(here):
                scratch.values[count + k] = scratch.bucket_values[start + k]
        count += here
    return count


@njit(cache=True, nogil=True)
def lif_layer(source, steps, wiring, step, scratch, emitted, traced, trace_membrane, trace_spikes):
    """Run one dense or convolutional layer over every step of a block of recordings."""
    width = scratch.acc.shape[0]
    positions = wiring.tap_start.shape[0] - 1
    stride = positions * width + 1
    for n in range(emitted.counts.shape[0]):
        scratch.membrane[:] = 0
        for t in range(steps):
            row = n * steps + t
            end = row * stride
            emitted.starts[row] = end
            if not wiring.dense:
                fill_buckets(source, row, wiring, scratch)
            for p in range(positions):
                if wiring.dense:
                    count = list_all_rows(source, row, scratch)
                else:
                    count = list_seen_rows(p, source.graded, wiring, scratch)
                add_rows(wiring, source.graded, scratch, count)
                first = p * width
                membrane = scratch.membrane[first : first + width]
                counts = emitted.counts[n, first : first + width]
                low, high = lif_step(step, scratch.acc, membrane, scratch.fired, counts)
                emitted.overflows[n, 0] += low
                emitted.overflows[n, 1] += high
                end = emit(scratch.fired, first, emitted.active, end)
                if traced:
                    for o in range(width):
                        trace_membrane[n, t, first + o] = membrane[o]
                        trace_spikes[n, t, first + o] = scratch.fired[o]
            emitted.stops[row] = end


@njit(cache=True, nogil=True)
def pool_layer(source, steps, window, sums, emitted):
    """Add the spikes of every window; ``window[j]`` is the output that input j falls into, -1 where dropped."""
    outputs = sums.shape[0]
    for n in range(emitted.counts.shape[0]):
        for t in range(steps):
            row = n * steps + t
            end = row * (outputs + 1)
            emitted.starts[row] = end
            sums[:] = 0
            for e in range(source.starts[row], source.stops[row]):
                o = window[source.active[e]]
                if o >= 0:
                    sums[o] += np.int64(source.value[e]) if source.graded else np.int64(1)
            for o in range(outputs):
                if sums[o] != 0:
                    emitted.active[end] = o
                    emitted.value[end] = sums[o]
                    emitted.counts[n, o] += 1
                    end += 1
            emitted.stops[row] = end


@njit(cache=True, nogil=True)
def tally(source, steps, fan_out, fan_out_nonzero, uniform, totals):
    """Write per recording: non-zero values, their sum, operations, event-weighted ones, those on non-zero weights.

    Args:
        fan_out, fan_out_nonzero: int64 ``[J]``. uniform: ``fan_out`` is the same for every input.
        totals: int64 ``[n, 5]``.
    """
    for n in range(totals.shape[0]):
        active = np.int64(0)
        events = np.int64(0)
        operations = np.int64(0)
        weighted = np.int64(0)
        nonzero = np.int64(0)
        for row in range(n * steps, (n + 1) * steps):
            start, stop = source.starts[row], source.stops[row]
            active += stop - start
            if source.graded:
                for e in range(start, stop):
                    events += np.int64(source.value[e])
            for e in range(start, stop):
                nonzero += fan_out_nonzero[source.active[e]]
            if not uniform:
                for e in range(start, stop):
                    operations += fan_out[source.active[e]]
                if source.graded:
                    for e in range(start, stop):
                        weighted += fan_out[source.active[e]] * np.int64(source.value[e])
        if not source.graded:
            events = active
            weighted = operations
        if uniform:
            operations = active * fan_out[0]
            weighted = events * fan_out[0]
        totals[n, 0] = active
        totals[n, 1] = events
        totals[n, 2] = operations
        totals[n, 3] = weighted
        totals[n, 4] = nonzero
