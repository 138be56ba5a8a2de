"""Event-driven integer kernels (Numba); one file above 400 lines, because Numba compiles and caches them together.

From inside out: a block of lanes, one group of neurons, one block of recordings. A dense layer is one output position
whose neurons all see the same active inputs; a convolution is many positions, each with its own list, copied from the
source's in a few runs. So both are: gather the weight rows of the active inputs, add them, take one LIF step.

Rules that keep them exact: every width is proven sufficient before a kernel is called (`sastdeploy.simulator.numba_engine.plan`),
no unsigned operands, every index was checked when its `Frames` were made, and no kernel raises, prints or allocates per step. They
release the interpreter lock and touch only their own recordings, so the number of threads cannot change a result.
Records of arrays are taken apart outside the loops: passing one on costs an atomic count per array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy._kernels.jit import kernel
from sastdeploy._kernels.lanes import (
    append,
    at_least,
    below,
    bits,
    load,
    narrow,
    population,
    put,
    quotient,
    sized,
    spread,
    wide,
)
from sastdeploy._kernels.vectors import add_pair, add_scaled, int32_sums, paired_sums, shape, store

if TYPE_CHECKING:
    from sastdeploy.simulator.numba_engine.tables import Emitted, Rows, Scratch, Step, Wiring

Int32s = NDArray[np.int32]
Lanes = Any
"""Numbers in one register, as `load` gives them: no type for the type checker."""
Zeros = tuple[int, ...]
"""Carries a number into a kernel's type by its length, see `shape`."""

LISTED = shape(1, 16)[1]
"""As many inputs are listed at once as fit one 512-bit register."""


@kernel()
def sum_narrow(
    weight: NDArray[np.int8], budget: int, vectors: Zeros, eighths: Zeros, rows: NDArray[np.integer],
    values: NDArray[np.integer], bounds: NDArray[np.int64], graded: bool, acc: Int32s,
) -> None:  # fmt: skip
    """Leave in ``acc`` the sum of the weight rows ``rows[bounds[p] : bounds[p + 1]]``, one sum behind the other.

    Each row is multiplied by its value if ``graded``; int16 inside, int32 in ``acc``.
    """
    width = weight.shape[1]
    for p in range(len(bounds) - 1):
        start, stop = bounds[p], bounds[p + 1]
        for column in range(0, width, len(vectors) * len(eighths) * 8):
            place_of_sum = p * width + column
            if stop - start > budget:
                store(paired_sums(vectors, eighths), acc, place_of_sum, False)
            for first in range(start, max(stop, start + 1), budget):
                sums = paired_sums(vectors, eighths)
                end = min(stop, first + budget)
                k = first
                while k + 1 < end:
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
                    sums = add_pair(
                        sums, weight, place, place, np.int16(values[last]) if graded else np.int16(1)
                    )
                if stop - start > budget:
                    store(sums, acc, place_of_sum, True)
                else:
                    store(sums, acc, place_of_sum, False)


@kernel()
def sum_wide(
    weight: NDArray[np.int8], vectors: Zeros, eighths: Zeros, rows: NDArray[np.integer],
    values: NDArray[np.integer], bounds: NDArray[np.int64], graded: bool, acc: Int32s,
) -> None:  # fmt: skip
    """Like `sum_narrow`, int32 inside: for values or weights too large for 16 bits."""
    width = weight.shape[1]
    for p in range(len(bounds) - 1):
        for column in range(0, width, len(vectors) * len(eighths) * 8):
            sums = int32_sums(vectors, eighths)
            for k in range(bounds[p], bounds[p + 1]):
                value = np.int32(values[k]) if graded else np.int32(1)
                sums = add_scaled(sums, weight, np.int64(rows[k]) * width + column, value)
            store(sums, acc, p * width + column, False)


@kernel()
def sum_rows(
    weight: NDArray[np.int8], budget: int, vectors: Zeros, eighths: Zeros, rows: NDArray[np.integer],
    values: NDArray[np.integer], bounds: NDArray[np.int64], graded: bool, acc: Int32s,
) -> None:  # fmt: skip
    """Leave in ``acc`` the sums of the named weight rows, in the width that was proven to hold them."""
    if budget > 0:
        sum_narrow(weight, budget, vectors, eighths, rows, values, bounds, graded, acc)
    else:
        sum_wide(weight, vectors, eighths, rows, values, bounds, graded, acc)


@kernel()
def leaked(before: Lanes, multiplier: int, shift: int, half: int, negative_half: int, long: bool) -> Lanes:
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
def leaked_each(
    before: Lanes, multipliers: Lanes, shift: int, half: int, negative_half: int, long: bool
) -> Lanes:
    """Like `leaked`, with a multiplier for every lane."""
    if long:
        product = wide(before) * wide(multipliers)
        negative = below(product, spread(product, np.int64(0)))
        product = product + spread(product, np.int64(half))
        product = product + (negative & spread(product, np.int64(negative_half)))
        return narrow(product >> spread(product, np.int64(shift)))
    short = before * multipliers
    negative_short = below(short, spread(short, np.int32(0)))
    short = short + spread(short, np.int32(half)) + (negative_short & spread(short, np.int32(negative_half)))
    return short >> spread(short, np.int32(shift))


@kernel()
def limited(v: Lanes, q_min: Lanes, q_max: Lanes, wrap: bool) -> Lanes:
    """Return ``v`` brought into the membrane's range, by wrapping or by saturation."""
    if wrap:
        # In 64 bits: the difference to the floor can leave 32.
        long = wide(v) - wide(q_min)
        return narrow((long & (wide(q_max) - wide(q_min))) + wide(q_min))
    under, over = below(v, q_min), below(q_max, v)
    return (v & ~(under + over)) + (q_min & under) + (q_max & over)


@kernel(inline="always")
def lif_step(
    step: Step, acc: Int32s, membrane: Int32s, currents: Int32s, sent: Int32s, begin: int, stop: int, pitch: int, width: int,
    active: Int32s, value: NDArray[np.int16], end: np.int64, first: Int32s, row: int, start: int,
) -> tuple[np.int64, np.int64, np.int64]:  # fmt: skip
    """Take one step for the neurons of positions ``begin`` up to ``stop``; return (new end, overflows below, above).

    Appends to ``active`` the numbers of the neurons that fired, ``width`` of them per position (to ``value`` how often, where
    they can several times in a step), and notes in ``first`` how many fired since ``start`` before each position. A verified program's update fits 32 bits; only the
    products may need 64.
    """
    eighths = step.eighths
    multipliers, halves, shifts, biases, tests = step.multiplier, step.half, step.shift, step.bias, step.test
    subtract_before, subtract_after = step.subtract_before, step.subtract_after
    padded = multipliers.shape[0]
    low = np.int64(0)
    high = np.int64(0)
    for position in range(begin, stop):
        first[row, position] = end - start
        sums, neurons = (position - begin) * pitch, (position - begin) * padded
        # Where neurons of a channel differ, every position has numbers of its own.
        table = position * padded if len(step.apart) > 0 else 0
        for o in range(0, padded, len(eighths) * 8):
            place = neurons + o
            # Where all channels share a number, the mask 0 leads every block to the first: it stays in the cache.
            gain, own, each = o & step.gain_mask, table + (o & step.threshold_mask), table + o
            before = load(membrane, place, eighths)
            test = load(tests, own, eighths)
            if len(step.own_decays) > 0:
                leak = leaked_each(
                    before,
                    load(step.leaks, each, eighths),
                    step.leak_shift,
                    step.leak_half,
                    step.leak_negative,
                    step.wide_leak,
                )
            else:
                leak = leaked(
                    before,
                    step.leak_multiplier,
                    step.leak_shift,
                    step.leak_half,
                    step.leak_negative,
                    step.wide_leak,
                )
            multiplier = load(multipliers, gain, eighths)
            gained = sized(load(acc, sums + o, eighths), multiplier) * multiplier
            current = sized((gained + load(halves, gain, eighths)) >> load(shifts, gain, eighths), before)
            v = current + load(biases, each, eighths)
            if len(step.synaptic) > 0:
                if len(step.own_decays) > 0:
                    v = v + leaked_each(
                        load(currents, place, eighths),
                        load(step.current_leaks, each, eighths),
                        step.current_shift,
                        step.current_half,
                        step.current_negative,
                        step.wide_current,
                    )
                else:
                    v = v + leaked(
                        load(currents, place, eighths),
                        step.current_multiplier,
                        step.current_shift,
                        step.current_half,
                        step.current_negative,
                        step.wide_current,
                    )
                i_min, i_max = spread(v, np.int32(step.q_min)), spread(v, np.int32(step.q_max))
                beneath, above = bits(below(v, i_min)), bits(below(i_max, v))
                if beneath | above != 0:
                    low += population(beneath)
                    high += population(above)
                    v = limited(v, i_min, i_max, step.wrap)
                put(v, currents, place)
            if step.delayed:
                spiked = at_least(before, test)
                leak = leak & ~(spiked & spread(spiked, np.int32(step.zero_before)))
                if len(step.refractory) > 0:
                    v = v & ~spiked
                if len(step.several) > 0:
                    v = v - load(subtract_before, own, eighths) * load(sent, place, eighths)
                else:
                    v = v - (load(subtract_before, own, eighths) & spiked)
            v = v + leak
            q_min = spread(v, np.int32(step.q_min))
            q_max = spread(v, np.int32(step.q_max))
            under, over = bits(below(v, q_min)), bits(below(q_max, v))
            if under | over != 0:
                low += population(under)
                high += population(over)
                v = limited(v, q_min, q_max, step.wrap)
            now = at_least(v, test)
            fired, end = end, append(now, position * width + o, active, end)
            if len(step.several) > 0:
                spikes = (
                    quotient(v - spread(v, np.int32(step.beyond)), load(step.divisor, own, eighths)) & now
                )
                most = spread(v, np.int32(step.most))
                above_most = below(most, spikes)
                spikes = (spikes & ~above_most) + (most & above_most)
                put(spikes, sent, place)
                for e in range(fired, end):
                    value[e] = np.int16(sent[neurons + active[e] - position * width])
                if not step.delayed:
                    v = v & ~(now & spread(now, np.int32(step.zero_after)))
                    v = v - load(subtract_after, own, eighths) * spikes
            elif not step.delayed:
                v = v & ~(now & spread(now, np.int32(step.zero_after)))
                v = v - (load(subtract_after, own, eighths) & now)
            if len(step.floored) > 0:
                lowest = load(step.floor, each, eighths)
                beneath_it = below(v, lowest)
                v = (v & ~beneath_it) + (lowest & beneath_it)
            put(v, membrane, place)
    first[row, stop] = end - start
    return end, low, high


@kernel()
def by_pixel(source: Rows, pixel: Int32s, number: Int32s, sorted_source: Rows) -> None:
    """Sort every row of the network's inputs (channel, y, x) by pixel, channels side by side, as layers number theirs.

    ``pixel[j]``, ``number[j]``: where input j lies, and its new number. ``sorted_source.first`` is filled as well; its other fields are the source's.
    """
    first, active, value = sorted_source.first, sorted_source.active, sorted_source.value
    starts, stops, inputs, counts = source.starts, source.stops, source.active, source.value
    pixels = first.shape[1] - 1
    for row in range(first.shape[0]):
        begin, stop, at = starts[row], stops[row], np.uint64(row)
        first[row, :] = 0
        for e in range(begin, stop):
            first[at, np.uint64(pixel[np.uint64(inputs[np.uint64(e)])])] += np.int32(1)
        total = np.int32(0)
        for p in range(pixels + 1):
            total += first[at, np.uint64(p)]
            first[at, np.uint64(p)] = total
        # From the last input to the first, each before those of its pixel that were placed.
        for back in range(stop - begin):
            last = np.uint64(stop - 1 - back)
            j = np.uint64(inputs[last])
            place = np.uint64(pixel[j])
            first[at, place] -= np.int32(1)
            slot = np.uint64(begin + np.int64(first[at, place]))
            active[slot] = number[j]
            value[slot] = counts[last]


@kernel()
def join_rows(one: Rows, other: Rows, inputs: int, pixels: bool, joined: Rows) -> None:
    """Write to ``joined`` the values of two sources, row by row, those of ``other`` numbered from ``inputs`` on.

    pixels: fill ``joined.first`` too, the pixels of ``other`` behind those of ``one``.
    """
    starts, stops, active, value, first = (
        joined.starts,
        joined.stops,
        joined.active,
        joined.value,
        joined.first,
    )
    own = one.first.shape[1] - 1
    end = np.int64(0)
    for row in range(len(starts)):
        starts[row] = end
        for k in range(one.starts[row], one.stops[row]):
            active[end] = np.int32(one.active[k])
            value[end] = np.int16(one.value[k]) if one.graded else np.int16(1)
            end += 1
        listed = np.int32(end - starts[row])
        for k in range(other.starts[row], other.stops[row]):
            active[end] = np.int32(np.int64(other.active[k]) + inputs)
            value[end] = np.int16(other.value[k]) if other.graded else np.int16(1)
            end += 1
        stops[row] = end
        if pixels:
            for p in range(own):
                first[row, p] = one.first[row, p]
            for p in range(other.first.shape[1]):
                first[row, own + p] = listed + other.first[row, p]


@kernel()
def list_rows(
    active: NDArray[np.integer], value: NDArray[np.integer], graded: bool, start: int, first: Int32s, row: int,
    run_start: Int32s, low: Int32s, high: Int32s, offset: Int32s, begin: int, stop: int, rows: Int32s,
    values: NDArray[np.int16], bounds: NDArray[np.int64],
) -> None:  # fmt: skip
    """List the weight rows (and values) of the active inputs that each position from ``begin`` to ``stop`` sees.

    Input numbers ascend with their pixels, so the active inputs among neighbouring pixels are neighbours in the
    source's list, and a constant leads from their numbers to their rows.
    """
    listed, at = np.int64(0), np.uint64(row)
    for p in range(begin, stop):
        bounds[p - begin] = listed
        for signed in range(run_start[p], run_start[p + 1]):
            # An unsigned index needs no look at its sign.
            r = np.uint64(signed)
            left = start + np.int64(first[at, np.uint64(low[r])])
            right = start + np.int64(first[at, np.uint64(high[r])])
            for k in range(left, right, len(LISTED) * 8):
                numbers = load(active, k, LISTED)
                put(numbers + spread(numbers, offset[r]), rows, listed + k - left)
            if graded:
                for k in range(left, right):
                    values[listed + k - left] = value[np.uint64(k)]
            listed += right - left
    bounds[stop - begin] = listed


@kernel()
def list_with_own(
    active: NDArray[np.integer], value: NDArray[np.integer], graded: bool, start: int, stop: int, fired: Int32s,
    sent: NDArray[np.int16], several: Zeros, begin: int, end: int, inputs: int, rows: Int32s, values: NDArray[np.int16],
    bounds: NDArray[np.int64],
) -> None:  # fmt: skip
    """List the weight rows (and values) of a step's active inputs, and behind them those of the neurons that fired before it.

    ``sent``: how often each of those fired, read where ``several`` says that it can be more than once.
    """
    listed = np.int64(0)
    for k in range(start, stop):
        rows[listed] = np.int32(active[k])
        if graded:
            values[listed] = value[k]
        elif len(several) > 0:
            values[listed] = np.int16(1)
        listed += 1
    for k in range(begin, end):
        rows[listed] = fired[k] + np.int32(inputs)
        if len(several) > 0:
            values[listed] = sent[k]
        elif graded:
            values[listed] = np.int16(1)
        listed += 1
    bounds[0], bounds[1] = 0, listed


@kernel()
def lif_layer(
    source: Rows, steps: int, wiring: Wiring, step: Step, scratch: Scratch, emitted: Emitted, traced: bool,
    trace_membrane: Int32s, trace_spikes: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Run one layer with neurons over every step of a block of recordings.

    A few positions at a time go through all steps, so that their sums and membranes stay in the nearest cache.
    """
    padded = step.multiplier.shape[0]
    positions, block, width = wiring.positions, wiring.block, wiring.width
    capacity = positions * width + emitted.slack
    membrane, currents, last_sent, acc, rows, values, bounds = (
        scratch.membrane,
        scratch.current,
        scratch.sent,
        scratch.acc,
        scratch.rows,
        scratch.values,
        scratch.bounds,
    )
    weight, budget, vectors, eighths, dense = (
        wiring.weight,
        wiring.budget,
        wiring.vectors,
        wiring.eighths,
        wiring.dense,
    )
    run_start, low, high, offset = wiring.run_start, wiring.run_low, wiring.run_high, wiring.run_offset
    source_starts, source_stops, source_first = source.starts, source.stops, source.first
    active, value, graded = source.active, source.value, source.graded
    fired, starts, stops, first = emitted.active, emitted.starts, emitted.stops, emitted.first
    counts, totals, overflows = emitted.counts, emitted.totals, emitted.overflows
    recurrent, inputs, several = wiring.recurrent, wiring.inputs, step.several
    sent, spike_sums = emitted.value, emitted.sums
    start_membrane, start_current = step.start, step.current_start
    weighted = graded or (len(recurrent) > 0 and len(several) > 0)
    # Where one block holds all positions, a step's list begins where the last one ended: less memory to walk through.
    packed, here = block >= positions, np.int64(0)
    for n in range(counts.shape[0]):
        for t in range(steps):
            row = n * steps + t
            starts[row] = row * capacity
            stops[row] = row * capacity
        for begin in range(0, positions, block):
            stop = min(begin + block, positions)
            membrane[:] = 0
            currents[:] = 0
            last_sent[:] = 0
            if len(start_membrane) > 1:
                membrane[: (stop - begin) * padded] = start_membrane[begin * padded : stop * padded]
            if len(start_current) > 1:
                currents[: (stop - begin) * padded] = start_current[begin * padded : stop * padded]
            for t in range(steps):
                row = n * steps + t
                start = source_starts[row]
                if packed:
                    starts[row] = here
                    stops[row] = here
                if dense:
                    bounds[0], bounds[1] = start, source_stops[row]
                    sum_rows(weight, budget, vectors, eighths, active, value, bounds, graded, acc)
                else:
                    if len(recurrent) > 0:
                        before = row - 1 if t > 0 else row
                        list_with_own(
                            active, value, graded, start, source_stops[row], fired, sent, several, starts[before],
                            stops[before], inputs, rows, values, bounds,
                        )  # fmt: skip
                    else:
                        list_rows(
                            active, value, graded, start, source_first, row, run_start, low, high, offset, begin,
                            stop, rows, values, bounds,
                        )  # fmt: skip
                    sum_rows(
                        weight,
                        budget,
                        vectors,
                        eighths,
                        rows,
                        values,
                        bounds[: stop - begin + 1],
                        weighted,
                        acc,
                    )
                end, below, above = lif_step(
                    step, acc, membrane, currents, last_sent, begin, stop, weight.shape[1], width, fired, sent, stops[row],
                    first, row, starts[row],
                )  # fmt: skip
                overflows[n, 0] += below
                overflows[n, 1] += above
                if traced:
                    for p in range(begin, stop):
                        for o in range(width):
                            trace_membrane[n, t, p * width + o] = membrane[(p - begin) * padded + o]
                    for e in range(stops[row], end):
                        if len(several) > 0:
                            trace_spikes[n, t, fired[e]] = np.uint8(sent[e])
                        else:
                            trace_spikes[n, t, fired[e]] = 1
                stops[row] = end
                here = end
        own = np.uint64(n)
        for row in range(n * steps, (n + 1) * steps):
            for e in range(starts[row], stops[row]):
                counts[own, np.uint64(fired[np.uint64(e)])] += np.int32(1)
                if len(several) > 0:
                    spike_sums[own, np.uint64(fired[np.uint64(e)])] += np.int32(sent[np.uint64(e)])
        for o in range(counts.shape[1]):
            totals[o] += np.int64(counts[n, o])


@kernel()
def pool_layer(source: Rows, steps: int, windows: Int32s, sums: Int32s, emitted: Emitted) -> None:
    """Add the spikes of every window; ``windows[j]`` are the outputs that input j is added to, -1 behind the last."""
    outputs = sums.shape[0]
    positions = emitted.first.shape[1] - 1
    width = outputs // max(1, positions)
    for n in range(emitted.counts.shape[0]):
        for t in range(steps):
            row = n * steps + t
            end = row * (outputs + emitted.slack)
            emitted.starts[row] = end
            sums[:] = 0
            for e in range(source.starts[row], source.stops[row]):
                j = source.active[e]
                for w in range(windows.shape[1]):
                    o = windows[j, w]
                    if o < 0:
                        break
                    sums[o] += np.int64(source.value[e]) if source.graded else np.int64(1)
            for position in range(positions):
                emitted.first[row, position] = end - emitted.starts[row]
                for o in range(position * width, (position + 1) * width):
                    if sums[o] != 0:
                        emitted.active[end] = o
                        emitted.value[end] = sums[o]
                        emitted.counts[n, o] += 1
                        emitted.totals[o] += 1
                        end += 1
            emitted.first[row, positions] = end - emitted.starts[row]
            emitted.stops[row] = end


@kernel()
def clip_counts(count: NDArray[np.uint8], clip: np.uint8, value: NDArray[np.uint8]) -> None:
    """Write ``min(count, clip)`` to ``value``."""
    for e in range(len(count)):
        value[e] = min(count[e], clip)


@kernel()
def sum_named(table: Int32s, names: NDArray[np.integer], start: int, stop: int) -> np.int64:
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
def tally(
    source: Rows,
    steps: int,
    fan_out: Int32s,
    fan_out_nonzero: Int32s,
    uniform: bool,
    totals: NDArray[np.int64],
) -> None:
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
def tally_counts(counts: Int32s, fan_out: Int32s, fan_out_nonzero: Int32s, totals: NDArray[np.int64]) -> None:
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
