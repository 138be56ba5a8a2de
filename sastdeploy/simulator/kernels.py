"""Event-driven integer kernels (Numba): a block of lanes -> one neuron group -> one block of recordings.

A dense layer is one output position whose neurons all see the same active inputs; a convolution is many positions,
each with its own list. So both are: gather the weight rows of the active inputs, add them, take one LIF step.

Rules that keep them exact: every width is proven sufficient before a kernel is called (`sastdeploy.simulator.plan`),
no unsigned operands, every index was checked at load, and no kernel raises, prints or allocates per step. They
release the interpreter lock and touch only their own recordings, so the number of threads cannot change a result.
"""

from __future__ import annotations

import numpy as np

from sastdeploy.jit import kernel
from sastdeploy.lanes import at_least, below, bits, load, lowest, narrow, population, put, spread, wide
from sastdeploy.vectors import add_pair, add_scaled, int32_sums, paired_sums, store


@kernel()
def sum_narrow(wiring, rows, values, start, count, graded, acc, origin):
    """Leave in ``acc`` from ``origin`` on the sum of the weight rows that ``rows[start : start + count]`` names.

    Each is multiplied by its value if ``graded``; int16 inside, int32 in ``acc``.
    """
    weight, vectors, eighths, budget = wiring.weight, wiring.vectors, wiring.eighths, wiring.budget
    width = weight.shape[1]
    for column in range(0, width, len(vectors) * len(eighths) * 8):
        store(paired_sums(vectors, eighths), acc, origin + column, False)
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
            store(sums, acc, origin + column, True)


@kernel()
def sum_wide(wiring, rows, values, start, count, graded, acc, origin):
    """Like `sum_narrow`, int32 inside: for values or weights too large for 16 bits."""
    weight, vectors, eighths = wiring.weight, wiring.vectors, wiring.eighths
    width = weight.shape[1]
    for column in range(0, width, len(vectors) * len(eighths) * 8):
        sums = int32_sums(vectors, eighths)
        for k in range(start, start + count):
            value = np.int32(values[k]) if graded else np.int32(1)
            sums = add_scaled(sums, weight, np.int64(rows[k]) * width + column, value)
        store(sums, acc, origin + column, False)


@kernel()
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


@kernel()
def lif_step(step, scratch, position, width, active, end):
    """Take one step for every neuron of a position; return (new end, membranes that overflowed below, and above).

    Appends to ``active`` the numbers of the neurons that fired, ``width`` of them per position. A verified program's
    update fits 32 bits; only the products may need 64.
    """
    acc, membrane, counts, eighths = scratch.acc, scratch.membrane, scratch.counts, step.eighths
    gathered = position * scratch.pitch
    origin = position * step.bias.shape[0]
    first = position * width
    low = np.int64(0)
    high = np.int64(0)
    for o in range(0, step.bias.shape[0], len(eighths) * 8):
        before = load(membrane, origin + o, eighths)
        # Where all channels share a number, the mask 0 leads every block to the first: it stays in the cache.
        gain, own = o & step.gain_mask, o & step.threshold_mask
        test = load(step.test, own, eighths)
        spiked = at_least(before, test)
        leak = leaked(step, before) & ~(spiked & spread(spiked, np.int32(step.zero_before)))
        gained = wide(load(acc, gathered + o, eighths)) * load(step.multiplier, gain, eighths)
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


@kernel()
def list_rows(source, row, wiring, scratch):
    """List for every output position the weight rows (and values) of the active inputs that it sees.

    Position p's list begins at ``p * room`` and holds ``listed[p]`` rows.
    """
    scratch.listed[:] = 0
    room = wiring.room
    for e in range(source.starts[row], source.stops[row]):
        j = np.int64(source.active[np.uint64(e)])
        pixel, channel = np.uint64(wiring.pixel[j]), wiring.channel[j]
        for k in range(wiring.reach_start[pixel], wiring.reach_start[pixel + np.uint64(1)]):
            position = np.int64(wiring.reach_position[np.uint64(k)])
            slot = np.uint64(position * room + scratch.listed[np.uint64(position)])
            scratch.rows[slot] = wiring.reach_row[np.uint64(k)] + channel
            if source.graded:
                scratch.values[slot] = source.value[np.uint64(e)]
            scratch.listed[np.uint64(position)] += 1


@kernel()
def scatter_rows(source, row, wiring, scratch):
    """Add every active input's weight rows to the positions that see it: for steps with few events."""
    acc, width = scratch.acc, wiring.weight.shape[1]
    acc[:] = 0
    for e in range(source.starts[row], source.stops[row]):
        j = np.int64(source.active[np.uint64(e)])
        pixel, channel = np.uint64(wiring.pixel[j]), wiring.channel[j]
        value = np.int32(source.value[np.uint64(e)]) if source.graded else np.int32(1)
        for k in range(wiring.reach_start[pixel], wiring.reach_start[pixel + np.uint64(1)]):
            origin = np.int64(wiring.reach_position[np.uint64(k)]) * width
            place = np.int64(wiring.reach_row[np.uint64(k)] + channel) * width
            for column in range(0, width, len(wiring.vectors) * len(wiring.eighths) * 8):
                sums = int32_sums(wiring.vectors, wiring.eighths)
                sums = add_scaled(sums, wiring.weight, place + column, value)
                store(sums, acc, origin + column, True)


@kernel()
def sum_rows(wiring, rows, values, start, count, graded, acc, origin):
    """Leave in ``acc`` from ``origin`` on the sum of the named weight rows, in the width that was proven to hold it."""
    if wiring.budget > 0:
        sum_narrow(wiring, rows, values, start, count, graded, acc, origin)
    else:
        sum_wide(wiring, rows, values, start, count, graded, acc, origin)


@kernel()
def gather_rows(source, row, wiring, scratch):
    """Leave in ``acc`` every position's weighted sum of one row of inputs, by whichever way counts fewer memory touches.

    Few events: each adds its rows where they belong. Many: each position's rows are listed, then summed in registers.
    """
    events = source.stops[row] - source.starts[row]
    if wiring.dense:
        sum_rows(
            wiring, source.active, source.value, source.starts[row], events, source.graded, scratch.acc, 0
        )
    elif events < wiring.crowded:
        scatter_rows(source, row, wiring, scratch)
    else:
        list_rows(source, row, wiring, scratch)
        for p in range(wiring.positions):
            start, count = p * wiring.room, np.int64(scratch.listed[p])
            origin = p * wiring.weight.shape[1]
            sum_rows(wiring, scratch.rows, scratch.values, start, count, source.graded, scratch.acc, origin)


@kernel()
def lif_layer(source, steps, wiring, step, scratch, emitted, traced, trace_membrane, trace_spikes):
    """Run one dense or convolutional layer over every step of a block of recordings."""
    padded = step.bias.shape[0]
    positions = wiring.positions
    width = wiring.width
    for n in range(emitted.counts.shape[0]):
        scratch.membrane[:] = 0
        scratch.counts[:] = 0
        for t in range(steps):
            row = n * steps + t
            end = row * positions * width
            emitted.starts[row] = end
            gather_rows(source, row, wiring, scratch)
            for p in range(positions):
                end, low, high = lif_step(step, scratch, p, width, emitted.active, end)
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


@kernel()
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


@kernel()
def clip_counts(index, count, clip, value):
    """Write ``min(count, clip)`` to ``value``; return the largest index, -1 where there is none."""
    largest = np.int64(-1)
    for e in range(len(index)):
        largest = max(largest, np.int64(index[e]))
    for e in range(len(count)):
        value[e] = min(count[e], clip)
    return largest


@kernel()
def sum_named(table, names, start, stop):
    """Return the sum of ``table[names[e]]`` for e from ``start`` to ``stop``; four at a time, faster than a gather."""
    first, second, third, fourth = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    e = start
    while e + 3 < stop:
        first += np.int64(table[names[np.uint64(e)]])
        second += np.int64(table[names[np.uint64(e + 1)]])
        third += np.int64(table[names[np.uint64(e + 2)]])
        fourth += np.int64(table[names[np.uint64(e + 3)]])
        e += 4
    while e < stop:
        first += np.int64(table[names[np.uint64(e)]])
        e += 1
    return first + second + third + fourth


@kernel()
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
            nonzero += sum_named(fan_out_nonzero, source.active, start, stop)
            if source.graded:
                for e in range(start, stop):
                    events += np.int64(source.value[np.uint64(e)])
            if not uniform:
                operations += sum_named(fan_out, source.active, start, stop)
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
