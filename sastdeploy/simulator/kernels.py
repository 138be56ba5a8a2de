"""Event-driven integer kernels (Numba): a block of lanes -> one neuron group -> one block of recordings.

A dense layer is one output position whose neurons all see the same active inputs; a convolution is many positions,
each with its own list. So both are: gather the weight rows of the active inputs, add them, take one LIF step.

Rules that keep them exact: every width is proven sufficient before a kernel is called (`sastdeploy.simulator.plan`),
no unsigned operands, every index was checked at load, and no kernel raises, prints or allocates per step. They
release the interpreter lock and touch only their own recordings, so the number of threads cannot change a result.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sastdeploy.lanes import at_least, below, bits, load, lowest, narrow, population, put, spread, wide
from sastdeploy.vectors import add_pair, add_scaled, int32_sums, paired_sums, store


@njit(cache=True, nogil=True)
def sum_narrow(weight, rows, values, start, count, graded, budget, vectors, eighths, acc):
    """Leave in ``acc`` the sum of the weight rows that ``rows[start : start + count]`` names; int16 inside.

    Each is multiplied by its value if ``graded``. ``acc``: int32, its width a multiple of V x L. ``budget``: even,
    the number of rows whose sum was proven to fit 16 bits.
    """
    width = acc.shape[0]
    for column in range(0, width, len(vectors) * len(eighths) * 8):
        store(paired_sums(vectors, eighths), acc, column, False)
        for first in range(0, count, budget):
            sums = paired_sums(vectors, eighths)
            end = start + min(count, first + budget)
            k = start + first
            while k + 1 < end:
                # An unsigned index needs no look at its sign.
                one, two = np.uint64(k), np.uint64(k + 1)
                both = np.int16(257)
                if graded:
                    both = np.int16(values[one] | (values[two] << np.int16(8)))
                place = np.int64(rows[one]) * width + column
                sums = add_pair(sums, weight, place, np.int64(rows[two]) * width + column, both)
                k += 2
            if k < end:
                last = np.uint64(k)
                place = np.int64(rows[last]) * width + column
                sums = add_pair(sums, weight, place, place, np.int16(values[last]) if graded else np.int16(1))
            store(sums, acc, column, True)


@njit(cache=True, nogil=True)
def sum_wide(weight, rows, values, start, count, graded, vectors, eighths, acc):
    """Like `sum_narrow`, int32 inside: for values or weights too large for 16 bits."""
    width = acc.shape[0]
    for column in range(0, width, len(vectors) * len(eighths) * 8):
        sums = int32_sums(vectors, eighths)
        for k in range(start, start + count):
            value = np.int32(values[k]) if graded else np.int32(1)
            sums = add_scaled(sums, weight, np.int64(rows[k]) * width + column, value)
        store(sums, acc, column, False)


@njit(cache=True, nogil=True)
def leaked(step, before):
    """Return ``round(before * A / 2^k)``, rounded as the program says."""
    if step.wide_leak:
        long = wide(before)
        long = long * spread(long, np.int64(step.leak_multiplier))
        negative = below(long, spread(long, np.int64(0)))
        long = (
            long
            + spread(long, np.int64(step.leak_half))
            + (negative & spread(long, np.int64(step.leak_negative)))
        )
        return narrow(long >> spread(long, np.int64(step.leak_shift)))
    product = before * spread(before, np.int32(step.leak_multiplier))
    negative = below(product, spread(product, np.int32(0)))
    product = (
        product
        + spread(product, np.int32(step.leak_half))
        + (negative & spread(product, np.int32(step.leak_negative)))
    )
    return product >> spread(product, np.int32(step.leak_shift))


@njit(cache=True, nogil=True)
def lif_step(step, acc, membrane, counts, origin, first, eighths, active, end):
    """Take one step for every neuron of a position; return (new end, membranes that overflowed below, and above).

    Appends to ``active`` the number ``first + o`` of every neuron o that fired. The position's membranes and counts
    begin at ``origin``. A verified program's update fits 32 bits; only the products may need 64.
    """
    low = np.int64(0)
    high = np.int64(0)
    for o in range(0, acc.shape[0], len(eighths) * 8):
        before = load(membrane, origin + o, eighths)
        # Where all channels share a number, the mask 0 leads every block to the first: it stays in the cache.
        gain, own = o & step.gain_mask, o & step.threshold_mask
        test = load(step.test, own, eighths)
        spiked = at_least(before, test)
        leak = leaked(step, before) & ~(spiked & spread(spiked, np.int32(step.zero_before)))
        gained = wide(load(acc, o, eighths)) * load(step.multiplier, gain, eighths)
        current = narrow((gained + load(step.half, gain, eighths)) >> load(step.shift, gain, eighths))
        v = leak + current + load(step.bias, o, eighths) - (load(step.subtract_before, own, eighths) & spiked)
        q_min = spread(v, np.int32(step.q_min))
        q_max = spread(v, np.int32(step.q_max))
        under = below(v, q_min)
        over = below(q_max, v)
        low += population(bits(under))
        high += population(bits(over))
        if step.wrap:
            # In 64 bits: the difference to the lower end can leave 32.
            long = wide(v) - wide(q_min)
            w = narrow((long & spread(long, np.int64(step.q_max) - np.int64(step.q_min))) + wide(q_min))
        else:
            w = (v & ~(under + over)) + (q_min & under) + (q_max & over)
        now = at_least(w, test)
        zeroed = w & ~(now & spread(now, np.int32(step.zero_after)))
        put(zeroed - (load(step.subtract_after, own, eighths) & now), membrane, origin + o)
        put(load(counts, origin + o, eighths) - now, counts, origin + o)
        fired = bits(now)
        while fired != 0:
            active[end] = first + o + lowest(fired)
            fired &= fired - 1
            end += 1
    return end, low, high


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
def add_rows(wiring, rows, values, start, count, graded, acc):
    """Leave in ``acc`` the sum of ``count`` named weight rows, each times its value if ``graded``."""
    vectors, eighths = wiring.vectors, wiring.eighths
    if wiring.budget > 0:
        sum_narrow(wiring.weight, rows, values, start, count, graded, wiring.budget, vectors, eighths, acc)
    else:
        sum_wide(wiring.weight, rows, values, start, count, graded, vectors, eighths, acc)


@njit(cache=True, nogil=True)
def lif_layer(source, steps, wiring, step, scratch, emitted, traced, trace_membrane, trace_spikes):
    """Run one dense or convolutional layer over every step of a block of recordings."""
    padded = scratch.acc.shape[0]
    positions = wiring.tap_start.shape[0] - 1
    width = wiring.width
    for n in range(emitted.counts.shape[0]):
        scratch.membrane[:] = 0
        scratch.counts[:] = 0
        for t in range(steps):
            row = n * steps + t
            end = row * positions * width
            emitted.starts[row] = end
            if not wiring.dense:
                fill_buckets(source, row, wiring, scratch)
            for p in range(positions):
                if wiring.dense:
                    start = source.starts[row]
                    count = source.stops[row] - start
                    add_rows(wiring, source.active, source.value, start, count, source.graded, scratch.acc)
                else:
                    count = list_seen_rows(p, source.graded, wiring, scratch)
                    add_rows(wiring, scratch.rows, scratch.values, 0, count, source.graded, scratch.acc)
                end, low, high = lif_step(
                    step, scratch.acc, scratch.membrane, scratch.counts, p * padded, p * width, wiring.eighths,
                    emitted.active, end,
                )  # fmt: skip
                emitted.overflows[n, 0] += low
                emitted.overflows[n, 1] += high
            emitted.stops[row] = end
            if traced:
                for p in range(positions):
                    for o in range(width):
                        trace_membrane[n, t, p * width + o] = scratch.membrane[p * padded + o]
                for e in range(emitted.starts[row], end):
                    trace_spikes[n, t, emitted.active[e]] = 1
        for p in range(positions):
            for o in range(width):
                emitted.counts[n, p * width + o] = scratch.counts[p * padded + o]
                emitted.totals[p * width + o] += np.int64(scratch.counts[p * padded + o])


@njit(cache=True, nogil=True)
def pool_layer(source, steps, window, sums, emitted):
    """Add the spikes of every window; ``window[j]`` is the output that input j falls into, -1 where dropped."""
    outputs = sums.shape[0]
    for n in range(emitted.counts.shape[0]):
        for t in range(steps):
            row = n * steps + t
            end = row * outputs
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
                    emitted.totals[o] += 1
                    end += 1
            emitted.stops[row] = end


@njit(cache=True, nogil=True)
def clip_counts(index, count, clip, value):
    """Write ``min(count, clip)`` to ``value``; return the largest index, -1 where there is none."""
    largest = np.int64(-1)
    for e in range(len(index)):
        largest = max(largest, np.int64(index[e]))
    for e in range(len(count)):
        value[e] = min(count[e], clip)
    return largest


@njit(cache=True, nogil=True)
def tally(source, steps, fan_out, fan_out_nonzero, uniform, totals):
    """Write per recording: non-zero values, their sum, operations, event-weighted ones, those on non-zero weights.

    Args:
        fan_out, fan_out_nonzero: int32 ``[J]``. uniform: ``fan_out`` is the same for every input.
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
            for e in range(start, stop):
                nonzero += np.int64(fan_out_nonzero[source.active[np.uint64(e)]])
            if source.graded:
                for e in range(start, stop):
                    events += np.int64(source.value[np.uint64(e)])
            if not uniform:
                for e in range(start, stop):
                    operations += np.int64(fan_out[source.active[e]])
                if source.graded:
                    for e in range(start, stop):
                        weighted += np.int64(fan_out[source.active[e]]) * np.int64(source.value[e])
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
