"""Event-driven integer kernels (Numba): a block of lanes -> one neuron group -> one block of recordings.

A dense layer is one output position whose neurons all see the same active inputs; a convolution is many positions,
each with its own list. So both are: gather the weight rows of the active inputs, add them, take one LIF step.

Rules that keep them exact: every width is proven sufficient before a kernel is called (`sastdeploy.simulator.plan`),
no unsigned operands, every index was checked at load, and no kernel raises, prints or allocates per step. They
release the interpreter lock and touch only their own recordings, so the number of threads cannot change a result.
Records of arrays are taken apart outside the loops: passing one on costs an atomic count per array.
"""

from __future__ import annotations

import numpy as np

from sastdeploy.jit import kernel
from sastdeploy.lanes import at_least, below, bits, load, lowest, narrow, population, put, spread, wide
from sastdeploy.vectors import add_pair, add_scaled, int32_sums, paired_sums, store


@kernel()
def sum_narrow(weight, budget, vectors, eighths, rows, values, start, count, graded, acc, origin):
    """Leave in ``acc`` from ``origin`` on the sum of the weight rows that ``rows[start : start + count]`` names.

    Each is multiplied by its value if ``graded``; int16 inside, int32 in ``acc``.
    """
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
def sum_wide(weight, vectors, eighths, rows, values, start, count, graded, acc, origin):
    """Like `sum_narrow`, int32 inside: for values or weights too large for 16 bits."""
    width = weight.shape[1]
    for column in range(0, width, len(vectors) * len(eighths) * 8):
        sums = int32_sums(vectors, eighths)
        for k in range(start, start + count):
            value = np.int32(values[k]) if graded else np.int32(1)
            sums = add_scaled(sums, weight, np.int64(rows[k]) * width + column, value)
        store(sums, acc, origin + column, False)


@kernel()
def leaked(before, multiplier, shift, half, negative_half, long):
    """Return ``round(before * A / 2^k)``, rounded as the program says; ``long``: the product can leave 32 bits."""
    if long:
        product = wide(before)
        product = product * spread(product, np.int64(multiplier))
        negative = below(product, spread(product, np.int64(0)))
        product = product + spread(product, np.int64(half))
        product = product + (negative & spread(product, np.int64(negative_half)))
        return narrow(product >> spread(product, np.int64(shift)))
    short = before * spread(before, np.int32(multiplier))
    negative_short = below(short, spread(short, np.int32(0)))
    short = short + spread(short, np.int32(half)) + (negative_short & spread(short, np.int32(negative_half)))
    return short >> spread(short, np.int32(shift))


@kernel()
def lif_step(step, scratch, positions, width, active, end):
    """Take one step for every neuron; return (new end, membranes that overflowed below, and above).

    Appends to ``active`` the numbers of the neurons that fired, ``width`` of them per position. A verified program's
    update fits 32 bits; only the products may need 64.
    """
    acc, membrane, counts, eighths, pitch = (
        scratch.acc,
        scratch.membrane,
        scratch.counts,
        step.eighths,
        scratch.pitch,
    )
    multipliers, halves, shifts, biases, tests = step.multiplier, step.half, step.shift, step.bias, step.test
    subtract_before, subtract_after = step.subtract_before, step.subtract_after
    padded = biases.shape[0]
    low = np.int64(0)
    high = np.int64(0)
    for place in range(0, positions * padded, len(eighths) * 8):
        # One loop over all neurons: o is the channel, the padding of a position's sums is passed over.
        position = place // padded
        o = place - position * padded
        # Where all channels share a number, the mask 0 leads every block to the first: it stays in the cache.
        gain, own = o & step.gain_mask, o & step.threshold_mask
        before = load(membrane, place, eighths)
        test = load(tests, own, eighths)
        spiked = at_least(before, test)
        leak = leaked(
            before, step.leak_multiplier, step.leak_shift, step.leak_half, step.leak_negative, step.wide_leak
        )
        leak = leak & ~(spiked & spread(spiked, np.int32(step.zero_before)))
        gained = wide(load(acc, position * pitch + o, eighths)) * load(multipliers, gain, eighths)
        current = narrow((gained + load(halves, gain, eighths)) >> load(shifts, gain, eighths))
        v = leak + current + load(biases, o, eighths) - (load(subtract_before, own, eighths) & spiked)
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
        put(zeroed - (load(subtract_after, own, eighths) & now), membrane, place)
        put(load(counts, place, eighths) - now, counts, place)
        fired = bits(now)
        while fired != 0:
            active[end] = position * width + o + lowest(fired)
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
def sum_rows(weight, budget, vectors, eighths, rows, values, start, count, graded, acc, origin):
    """Leave in ``acc`` from ``origin`` on the sum of the named weight rows, in the width that was proven to hold it."""
    if budget > 0:
        sum_narrow(weight, budget, vectors, eighths, rows, values, start, count, graded, acc, origin)
    else:
        sum_wide(weight, vectors, eighths, rows, values, start, count, graded, acc, origin)


@kernel()
def gather_rows(source, row, wiring, scratch):
    """Leave in ``acc`` every position's weighted sum of one row of inputs, whichever way touches less memory.

    Few events: each adds its rows where they belong. Many: each position's rows are listed, then summed in registers.
    """
    if source.stops[row] - source.starts[row] < wiring.crowded:
        scatter_rows(source, row, wiring, scratch)
        return
    list_rows(source, row, wiring, scratch)
    weight, budget, vectors, eighths = wiring.weight, wiring.budget, wiring.vectors, wiring.eighths
    rows, values, listed, acc = scratch.rows, scratch.values, scratch.listed, scratch.acc
    for p in range(wiring.positions):
        start, count, origin = p * wiring.room, np.int64(listed[p]), p * weight.shape[1]
        sum_rows(weight, budget, vectors, eighths, rows, values, start, count, source.graded, acc, origin)


@kernel()
def lif_layer(source, steps, wiring, step, scratch, emitted, traced, trace_membrane, trace_spikes):
    """Run one dense or convolutional layer over every step of a block of recordings."""
    padded = step.bias.shape[0]
    positions = wiring.positions
    width = wiring.width
    weight, budget, vectors, eighths = wiring.weight, wiring.budget, wiring.vectors, wiring.eighths
    starts, stops, rows, values, graded = (
        source.starts,
        source.stops,
        source.active,
        source.value,
        source.graded,
    )
    for n in range(emitted.counts.shape[0]):
        scratch.membrane[:] = 0
        scratch.counts[:] = 0
        for t in range(steps):
            row = n * steps + t
            end = row * positions * width
            emitted.starts[row] = end
            if wiring.dense:
                start, count = starts[row], stops[row] - starts[row]
                sum_rows(weight, budget, vectors, eighths, rows, values, start, count, graded, scratch.acc, 0)
            else:
                gather_rows(source, row, wiring, scratch)
            end, low, high = lif_step(step, scratch, positions, width, emitted.active, end)
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


@kernel()
def tally_counts(counts, fan_out, fan_out_nonzero, totals):
    """Like `tally`, for sources of spikes, from the number of spikes per output and recording: ``[n, outputs]``."""
    for n in range(totals.shape[0]):
        active = np.int64(0)
        operations = np.int64(0)
        nonzero = np.int64(0)
        for o in range(counts.shape[1]):
            spikes = np.int64(counts[n, o])
            active += spikes
            operations += spikes * np.int64(fan_out[o])
            nonzero += spikes * np.int64(fan_out_nonzero[o])
        totals[n, 0] = active
        totals[n, 1] = active
        totals[n, 2] = operations
        totals[n, 3] = operations
        totals[n, 4] = nonzero
