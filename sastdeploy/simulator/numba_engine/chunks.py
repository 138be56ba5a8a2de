"""Chunks: the fast engine's loop over blocks of recordings, each layer by layer through the kernels."""

from __future__ import annotations

import threading
import time
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.records import Program
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator.numba_engine.events import delayed, summed
from sastdeploy.simulator.numba_engine.kernels import (
    by_pixel,
    clip_counts,
    join_rows,
    lif_layer,
    pool_layer,
    tally,
    tally_counts,
)
from sastdeploy.simulator.numba_engine.plan import LayerPlan, Plan
from sastdeploy.simulator.numba_engine.tables import Emitted, Rows, Scratch
from sastdeploy.simulator.numba_engine.wiring import MAX_LANES
from sastdeploy.simulator.result import RunResult, held_in_int32

_Integer = TypeVar("_Integer", bound=np.integer)

_NO_MEMBRANE = np.zeros((1, 1, 1), np.int32)
_NO_STARTS = np.zeros((1, 1), np.int32)
_NO_SPIKES = np.zeros((1, 1, 1), np.uint8)


class _Clock:
    """Adds up the seconds since the last stop under the name of what was done in them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


class Chunks:
    """A program bound to frames and to the result being filled; `run` may be called from several threads.

    Every call writes only its own recordings' rows; the totals over all recordings are sums of integers, added
    under a lock, so neither the order nor the number of threads can change them.
    """

    def __init__(self, program: Program, plan: Plan, frames: Frames, result: RunResult) -> None:
        self._program, self._frames, self._result = program, frames, result
        self._plan, self._heard = plan, program.sources()
        self._steps, self._inputs = program.preprocessing.time_bins, frames.inputs
        # What each tally and the readout need, looked at once: a block's Python holds up the other threads.
        fans = [
            *((layer.fan_out, layer.fan_out_nonzero) for layer in plan.layers),
            (plan.fan_out, plan.fan_out_nonzero),
        ]
        self._fans = [(fan, nonzero, fan.size > 0 and bool((fan == fan[0]).all())) for fan, nonzero in fans]
        largest = program.readout.summed(program.shapes()[-1], self._steps, program.largest_values()[-1])
        self._readout_weight = _exact_columns(plan.readout_weight, largest)
        most = program.largest_values()
        self._further = [
            (source, _exact_columns(weight, self._steps * most[source])) for source, weight in plan.further
        ]
        self._read = plan.layers[-1].name if program.readout.reads != "counts" else None
        self._lock = threading.Lock()
        self._own = threading.local()
        self.stages = dict.fromkeys(("input", *result.layers, "tally", "readout"), 0.0)

    def result(self) -> RunResult:
        """Return the result as filled so far."""
        return self._result

    def recordings_in(self, limit: int, threads: int) -> int:
        """Return how many recordings one call may take within ``limit`` bytes, leaving work for every thread."""
        outputs = sum(layer.outputs for layer in self._plan.layers)
        each = outputs * (self._steps * 4 + 4) + self._inputs * self._steps * 6
        most = max(1, min(256, limit // each))
        # Every thread gets as many calls as the others, and at least four.
        calls = threads * max(4, -(-len(self._frames) // (threads * most)))
        return max(1, -(-len(self._frames) // calls))

    def warm_up(self) -> None:
        """Compile (or load from the cache) every kernel that this program needs."""
        self.run(0, 0)
        self.stages = dict.fromkeys(self.stages, 0.0)

    def run(self, start: int, stop: int) -> int:
        """Compute recordings ``start`` up to ``stop``; return their number."""
        n, steps, result = stop - start, self._steps, self._result
        clock = _Clock()
        sources, counts = [self._input_rows(start, stop)], None
        membrane = _NO_MEMBRANE
        clock.stop("input")
        for position, layer in enumerate(self._plan.layers):
            self._tally(sources[position], counts, position, start, stop)
            clock.stop("tally")
            source = sources[self._heard[position]]
            if layer.delays is not None:
                source, arrived = delayed(source, n, steps, layer.delays)
                with self._lock:
                    result.neuron_spikes[position][layer.c_order] += arrived
                sources.append(source)
                counts = None
                clock.stop(layer.name)
                continue
            emitted, scratch = self._buffers(position, n)
            if layer.windows is not None:
                pool_layer(source, steps, layer.windows, np.zeros(layer.outputs, np.int32), emitted)
            elif scratch is not None:
                reads = self._joined(position, sources, n) if layer.further else source
                membrane = self._lif(layer, reads, emitted, scratch, start, stop)
            result.overflow_low[start:stop, position] = emitted.overflows[:, 0]
            result.overflow_high[start:stop, position] = emitted.overflows[:, 1]
            with self._lock:
                result.neuron_spikes[position][layer.c_order] += emitted.totals
            source = Rows(
                emitted.starts,
                emitted.stops,
                _read_only(emitted.active),
                _read_only(emitted.value),
                layer.graded,
                emitted.first,
            )
            sources.append(source)
            counts = None if layer.graded else emitted.counts
            clock.stop(layer.name)
        self._tally(sources[-1], counts, len(self._plan.layers), start, stop)
        clock.stop("tally")
        spikes = emitted.sums if self._plan.layers[-1].graded else emitted.counts
        read = spikes if self._read is None else self._membranes(membrane)
        more = self._further_sums(sources, n)
        scores = held_in_int32(self._scores(read, more), self._program.readout.name)
        result.scores[start:stop], result.predicted[start:stop] = scores, scores.argmax(axis=1)
        clock.stop("readout")
        with self._lock:
            for name, seconds in clock.seconds.items():
                self.stages[name] += seconds
        return n

    def _lif(
        self, layer: LayerPlan, source: Rows, emitted: Emitted, scratch: Scratch, start: int, stop: int
    ) -> NDArray[np.int32]:
        """Run a layer; return its membranes ``[n, T, outputs]`` where they are recorded or read."""
        wiring, step = layer.neurons()
        trace = self._result.traces.get(layer.name)
        if trace is None and layer.name != self._read:
            lif_layer(
                source, self._steps, wiring, step, scratch, emitted, False, _NO_MEMBRANE, _NO_SPIKES,
            )  # fmt: skip
            return _NO_MEMBRANE
        membrane = np.zeros((stop - start, self._steps, layer.outputs), np.int32)
        spikes = np.zeros(membrane.shape, np.uint8)
        lif_layer(source, self._steps, wiring, step, scratch, emitted, True, membrane, spikes)
        if trace is not None:
            trace.membranes[start:stop, :, layer.c_order] = membrane
            trace.spikes[start:stop, :, layer.c_order] = spikes
        return membrane

    def _joined(self, position: int, sources: list[Rows], n: int) -> Rows:
        """Return a layer's own inputs and its further ones as those of one source."""
        layer, rows, own = self._plan.layers[position], n * self._steps, self._heard[position]
        reads, inputs = sources[own], self._values(own)
        for number in layer.further:
            other = sources[number]
            size = sum(int((part.stops[:rows] - part.starts[:rows]).sum()) for part in (reads, other))
            pixels = (
                (rows, reads.first.shape[1] + other.first.shape[1] - 1) if layer.joined_pixels else (1, 1)
            )
            joined = Rows(
                np.zeros(rows, np.int64),
                np.zeros(rows, np.int64),
                np.zeros(size + MAX_LANES, np.int32),
                np.empty(size, np.int16),
                reads.graded or other.graded,
                np.zeros(pixels, np.int32),
            )
            join_rows(reads, other, inputs, layer.joined_pixels, joined)
            reads = joined._replace(active=_read_only(joined.active), value=_read_only(joined.value))
            inputs += self._values(number)
        return reads

    def _values(self, source: int) -> int:
        """Return how many values a source has; 0: the network's input."""
        return self._inputs if source == 0 else self._plan.layers[source - 1].outputs

    def _membranes(self, membrane: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return what a readout of membranes reads, ``[n, outputs]``."""
        last: NDArray[np.int32] = membrane[:, -1]
        return membrane.max(axis=1) if self._program.readout.reads == "max" else last

    def _buffers(self, position: int, n: int) -> tuple[Emitted, Scratch | None]:
        """Return a layer's output buffers for n recordings and its working memory, kept by each thread from call to call."""
        buffers = self._own.__dict__.setdefault("buffers", {})
        if position not in buffers or len(buffers[position][0].counts) < n:
            layer = self._plan.layers[position]
            buffers[position] = (
                _emitted(layer, n, self._steps),
                None if layer.windows is not None else layer.scratch(),
            )
        emitted, scratch = buffers[position]
        emitted = emitted._replace(
            counts=emitted.counts[:n], sums=emitted.sums[:n], overflows=emitted.overflows[:n]
        )
        for array in (emitted.counts, emitted.sums, emitted.totals, emitted.overflows):
            array[:] = 0
        return emitted, scratch

    def _input_rows(self, start: int, stop: int) -> Rows:
        indptr = np.asarray(self._frames.indptr[start * self._steps : stop * self._steps + 1], np.int64)
        first, last = (indptr[0], indptr[-1]) if stop > start else (0, 0)
        index = _read_only(np.asarray(self._frames.index[first:last]))
        if index.dtype != np.uint16:
            index = _read_only(index.astype(np.int64))
        clip = self._program.preprocessing.c_clip
        value = np.empty(len(index), np.uint8)
        count = _read_only(np.asarray(self._frames.count[first:last]))
        clip_counts(count, np.uint8(clip), value)
        starts, stops = indptr[:-1] - first, indptr[1:] - first
        source = Rows(starts, stops, index, _read_only(value), clip > 1, _NO_STARTS)
        return source if self._plan.input_order is None else self._by_pixel(source, self._plan.input_order)

    def _by_pixel(self, source: Rows, order: NDArray[np.int32]) -> Rows:
        """Return the network's inputs as layers number theirs: pixel first, channel second."""
        _, height, width = self._frames.shape
        events, rows = len(source.active), len(source.starts)
        target = source._replace(
            active=np.zeros(events + MAX_LANES, np.int32),
            value=np.empty(events, np.uint8),
            first=np.zeros((rows, height * width + 1), np.int32),
        )
        by_pixel(source, order[0], order[1], target)
        return target._replace(active=_read_only(target.active), value=_read_only(target.value))

    def _tally(
        self, source: Rows, counts: NDArray[np.int32] | None, position: int, start: int, stop: int
    ) -> None:
        """Note what ``source`` triggers wherever it is heard; ``counts``: its spikes per output, where each is 1."""
        totals = np.empty((stop - start, 5), np.int64)
        fan_out, nonzero, uniform = self._fans[position]
        if counts is not None:
            tally_counts(counts, fan_out, nonzero, totals)
        else:
            tally(source, self._steps, fan_out, nonzero, uniform, totals)
        result, rows = self._result, slice(start, stop)
        for column, array in enumerate(
            (result.active, result.events, result.synops, result.synops_events, result.synops_nonzero)
        ):
            array[rows, position] = totals[:, column]

    def _further_sums(self, sources: list[Rows], n: int) -> NDArray[np.int64] | int:
        """Return what further inputs add to the readout's sums ``[n, K]``."""
        sums = [
            (summed(sources[source], n, self._steps, len(weight)).astype(weight.dtype) @ weight).astype(np.int64)
            for source, weight in self._further
        ]  # fmt: skip
        return sum(sums)

    def _scores(self, counts: NDArray[np.int32], further: NDArray[np.int64] | int) -> NDArray[np.int64]:
        readout = self._program.readout
        weight, summed = self._readout_weight, self._plan.summed
        if summed > 1:
            # Outputs are numbered position first, channel second.
            counts = counts.reshape(len(counts), summed, len(weight)).sum(axis=1, dtype=np.int64)
        acc = (counts.astype(weight.dtype) @ weight).astype(np.int64) + further
        shift = readout.shift.astype(np.int64)
        gained = (acc * readout.multiplier.astype(np.int64) + (np.left_shift(1, shift) >> 1)) >> shift
        return gained + self._steps * readout.bias.astype(np.int64)


def _exact_columns(columns: NDArray[np.int64], largest: int) -> NDArray[np.float64] | NDArray[np.int64]:
    """Return ``columns`` in the type in which counts up to ``largest`` times them are exact: float64, which has the fast product, or int64."""
    exact = largest * np.abs(columns).sum(axis=0, dtype=np.float64).max(initial=0) < 2**53
    return columns.astype(np.float64) if exact else columns


def _emitted(layer: LayerPlan, n: int, steps: int) -> Emitted:
    rows = n * steps
    slots = rows * (layer.outputs + MAX_LANES)
    return Emitted(
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(slots, np.int32),
        np.empty(slots if layer.graded else 1, np.int16),
        np.zeros((rows, layer.positions + 1), np.int32),
        np.zeros((n, layer.outputs), np.int32),
        np.zeros((n, layer.outputs if layer.graded and layer.windows is None else 1), np.int32),
        np.zeros(layer.outputs, np.int64),
        np.zeros((n, 2), np.int64),
        MAX_LANES,
    )


def _read_only(array: NDArray[_Integer]) -> NDArray[_Integer]:
    """Return a view that Numba types the same for memory-mapped and other arrays: one kernel for both."""
    view = array.view()
    view.flags.writeable = False
    return view
