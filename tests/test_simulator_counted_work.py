"""The work that a run does, counted: what makes it fast, checked without a clock."""

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from kernel_allocations import counted_allocations
from tiny_programs import tiny_lif, tiny_program, tiny_readout
from without_jit import JIT_ONLY

from sastdeploy._kernels.vectors import aligned_zeros
from sastdeploy.errors import InputError
from sastdeploy.program.fixedpoint import QFormat, Rounding
from sastdeploy.program.records import ConvLif, DenseLif, SumPool
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine
from sastdeploy.simulator.numba_engine.chunks import Chunks
from sastdeploy.simulator.numba_engine.plan import make_plan
from sastdeploy.simulator.result import differences, empty_result


def digits_net(bits=8, clip=6):
    """Return fc_0p40m's layers with weights as a trained net has them."""
    rng, top = np.random.default_rng(0), 2 ** (bits - 1) - 1
    sizes, layers = (2312, 168, 64), []
    for k, (before, after) in enumerate(pairwise(sizes)):
        weight = np.clip(np.rint(rng.normal(0, top / 4, (after, before))), -top, top).astype(np.int8)
        layers.append(DenseLif(f"fc{k}", weight, bits, tiny_lif(after, shift=np.full(after, 10, np.int32))))
    return tiny_program(layers, tiny_readout(64), frame=(2, 34, 34), time_bins=10, c_clip=clip)


def test_weight_rows_are_whole_cache_lines_and_as_few_as_can_be():
    for bits in (4, 8):
        first, second = (layer.wiring for layer in make_plan(digits_net(bits)).layers)
        # 168 and 64 neurons in 3 and 1 lines of 64 bytes: bytes moved per event and per hidden spike.
        assert [w.weight.shape[1] for w in (first, second)] == [192, 64]
        assert [len(w.vectors) * len(w.eighths) * 8 for w in (first, second)] == [192, 64]
        assert all(w.weight.ctypes.data % 64 == 0 for w in (first, second))


def rows_that_fit(weight, clip):
    heaviest = -np.sort(-np.abs(weight.astype(int)), axis=1)
    fits = int((np.cumsum(heaviest, axis=1) * clip <= 32767).sum(axis=1).min())
    return weight.shape[1] if fits == weight.shape[1] else fits // 2 * 2


def test_sums_are_widened_as_seldom_as_is_proven_safe():
    """Rows added in 16 bits before they are widened: the heaviest weights of the heaviest neuron decide."""
    for bits, least in ((8, 50), (4, 1000)):
        program = digits_net(bits)
        first, second = (layer.wiring.budget for layer in make_plan(program).layers)
        assert min(first, 2312) == rows_that_fit(program.layers[0].weight, 6) >= least
        # Hidden spikes are 0 or 1: all of them fit, nothing is counted.
        assert rows_that_fit(program.layers[1].weight, 1) == 168 < second


def test_a_convolution_looks_up_one_run_per_kernel_row():
    layer = ConvLif("conv", np.ones((68, 2, 3, 3), np.int8), 8, (2, 2), (1, 1), tiny_lif(68))
    program = tiny_program([layer], tiny_readout(68 * 289), frame=(2, 34, 34))
    wiring = make_plan(program).layers[0].wiring
    # 17 rows of 17 positions; all but the first row see three rows of pixels, all but the first column three pixels.
    assert len(wiring.run_low) == wiring.run_start[-1] == 17 * (17 * 3 - 1)
    assert (wiring.run_high - wiring.run_low).sum() == (17 * 3 - 1) ** 2
    # Sums and membranes of 704 bytes per position: all of them fit the level-2 cache, a frame's of four times the sides not.
    assert (wiring.weight.shape[1], wiring.block) == (96, 289)
    program = tiny_program([layer], tiny_readout(68 * 68 * 68), frame=(2, 136, 136))
    assert make_plan(program).layers[0].wiring.block == 256 * 1024 // (4 * 96 + 4 * 80)


@pytest.mark.parametrize("recordings", [32, 256])
def test_a_second_block_takes_no_new_memory_but_for_its_clipped_counts(recordings):
    program, rng = digits_net(), np.random.default_rng(1)
    counts = (rng.random((2 * recordings, 10, 2, 34, 34)) < 0.08).astype(np.uint8)
    frames = Frames.from_dense(counts)
    chunks = Chunks(program, make_plan(program), frames, empty_result(program, len(frames)))
    chunks.warm_up()
    chunks.run(0, recordings)
    tracemalloc.start()
    chunks.run(recordings, 2 * recordings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    events = int(frames.indptr[-1] - frames.indptr[recordings * 10])
    # Per recording besides: row pointers, tallies, readout.
    assert peak < events + recordings * 2000 + 50_000


def test_result_memory_per_recording_is_small_and_known():
    result = engine.run(digits_net(), Frames.from_dense(np.zeros((8, 10, 2, 34, 34), np.uint8)), threads=1)
    arrays = (result.scores, result.predicted, result.active, result.events, result.synops, result.synops_events,
              result.synops_nonzero, result.overflow_low, result.overflow_high)  # fmt: skip
    classes, sources, layers = result.scores.shape[1], 3, 2
    assert sum(a.nbytes for a in arrays) == 8 * (4 * classes + 8 + 5 * 8 * sources + 2 * 8 * layers)


def empty_frames(recordings):
    return Frames(
        (2, 34, 34),
        10,
        np.zeros(10 * recordings + 1, np.int64),
        np.zeros(0, np.uint16),
        np.zeros(0, np.uint8),
    )


@pytest.mark.parametrize(
    ("recordings", "threads", "size"),
    [
        # 232 outputs of 44 bytes and 2,312 inputs of 60: 281 recordings fit in 40 MiB, more than a call's 256, so 2,000 take 8 calls;
        # a thread takes at least four, so three threads take 12.
        (2000, 1, 250),
        (2000, 2, 250),
        (2000, 3, 167),
        (2100, 3, 175),
        (1000, 4, 63),
        (5, 2, 1),
        (0, 2, 1),
    ],
)
def test_every_thread_gets_as_many_blocks_as_the_others(recordings, threads, size):
    program, frames = digits_net(), empty_frames(recordings)
    chunks = Chunks(program, make_plan(program), frames, empty_result(program, recordings))
    assert chunks.recordings_in(engine.CHUNK_BYTES, threads) == size


def test_a_small_limit_still_takes_one_recording_at_a_time():
    program, frames = digits_net(), empty_frames(10)
    chunks = Chunks(program, make_plan(program), frames, empty_result(program, 10))
    assert chunks.recordings_in(1, 2) == 1


def ones_in(plan):
    """Return the plan of one layer with every byte of its weight table 1, padding included."""
    (layer,) = plan.layers
    ones = aligned_zeros(layer.wiring.weight.shape, np.int8)
    ones[:] = 1
    return replace(plan, layers=(replace(layer, wiring=layer.wiring._replace(weight=ones)),))


def bytes_added(layer, values):
    """Return how many bytes of weights the engine adds for frames 0 or 1, ``[N, C, H, W]``, per frame.

    Counted by the kernels themselves: with every byte 1, the sums of all columns together are the number of bytes.
    """
    shape, outputs = values.shape[1:], tiny_program([layer], tiny_readout(), values.shape[1:]).shapes()[1]
    program = tiny_program([layer], tiny_readout(int(np.prod(outputs))), shape, time_bins=1, c_clip=1)
    frames = Frames.from_dense(values[:, None].astype(np.uint8))
    plan = ones_in(make_plan(program))
    chunks = Chunks(program, plan, frames, empty_result(program, len(frames)))
    scratch = plan.layers[0].scratch()
    assert plan.layers[0].wiring.block == plan.layers[0].positions  # all sums are kept
    counts = []
    for n in range(len(frames)):
        emitted, _ = chunks._buffers(0, 1)
        scratch.acc[:] = 0
        chunks._lif(plan.layers[0], chunks._input_rows(n, n + 1), emitted, scratch, n, n + 1)
        counts.append(int(scratch.acc.sum(dtype=np.int64)))
    return np.array(counts)


def small_conv_net():
    rng = np.random.default_rng(2)
    layers, shape = [], (2, 8, 8)
    for k, (channels, stride, padding) in enumerate(((4, 2, 1), (6, 1, 0))):
        weight = rng.integers(-9, 20, (channels, shape[0], 3, 3)).astype(np.int8)
        layers.append(
            ConvLif(f"conv{k}", weight, 8, (stride, stride), (padding, padding), tiny_lif(channels))
        )
        shape = tiny_program(layers, tiny_readout(), (2, 8, 8)).shapes()[-1]
    return tiny_program(layers, tiny_readout(int(np.prod(shape))), (2, 8, 8), c_clip=6)


@pytest.mark.parametrize(("net", "widths"), [(digits_net, (192, 64)), (small_conv_net, (16, 16))])
def test_rows_touched_and_bytes_moved_are_those_of_the_active_inputs(net, widths):
    """Rows: one per active input, step and position that sees it, as the plain engine counts; bytes: rows times their width."""
    program, rng = net(), np.random.default_rng(4)
    shapes, bins = program.shapes(), program.preprocessing.time_bins
    share = rng.random((3, bins, *shapes[0])) < np.array([0.02, 0.08, 0.3]).reshape(3, 1, 1, 1, 1)
    counts = (share * rng.integers(1, 7, share.shape)).astype(np.uint8)
    names = [layer.name for layer in program.layers]
    plain = engine.run(program, Frames.from_dense(counts), engine="reference", trace=names)
    values = [
        counts > 0,
        *(plain.traces[name].spikes.reshape(3, bins, *s) for name, s in zip(names, shapes[1:])),
    ]
    for k, layer in enumerate(program.layers):
        rows = plain.synops[:, k] / len(layer.weight)
        if isinstance(layer, DenseLif):
            assert (rows == plain.active[:, k]).all()
        assert (rows > 0).all() and make_plan(program).layers[k].wiring.weight.shape[1] == widths[k]
        moved = bytes_added(layer, values[k].reshape(-1, *shapes[k])).reshape(3, bins).sum(axis=1)
        assert (moved == rows * widths[k]).all()


def worst_case(program):
    """Guarantee that the fast engine equals the plain one where every input has its largest count in every step."""
    p = program.preprocessing
    shape = (1, p.time_bins, p.sensor_size[2], *p.frame_size[::-1])
    frames = Frames.from_dense(np.full(shape, p.c_clip, np.uint8))
    names = [layer.name for layer in program.layers if layer.lif is not None]
    fast, plain = (engine.run(program, frames, engine=e, trace=names) for e in ("numba", "reference"))
    assert differences(fast, plain) == []
    assert plain.active[0, 0] == np.prod(shape)


def one_sum(weights, clip, **lif):
    weight = np.array([weights], np.int8)
    layer = DenseLif("fc", weight, 8, tiny_lif(**lif))
    return tiny_program([layer], tiny_readout(), (1, 1, weight.size), c_clip=clip)


@pytest.mark.parametrize(
    ("weights", "clip", "budget"),
    [
        # 258 x 127 + 1 is the largest int16: all rows fit whatever comes. One more, and an even number of rows is widened.
        ([127] * 258 + [1], 1, 2**30),
        ([127] * 258 + [2], 1, 258),
        ([-127] * 258 + [-2], 1, 258),
        ([127] * 4, 127, 2),
    ],
)
def test_the_narrow_sum_is_taken_up_to_the_last_row_that_fits(weights, clip, budget):
    program = one_sum(weights, clip)
    assert make_plan(program).layers[0].wiring.budget == budget
    worst_case(program)


def test_values_beyond_127_are_summed_in_32_bits():
    """The multiply-add of two rows takes no larger ones; a verified program has none, and can always add two rows in 16 bits."""
    conv = ConvLif("conv", np.full((1, 1, 1, 1), 9, np.int8), 8, (1, 1), (0, 0), tiny_lif())
    dense = DenseLif("fc", np.full((1, 4), 127, np.int8), 8, tiny_lif())
    programs = [
        tiny_program([conv, SumPool("pool", kernel), dense], tiny_readout(), (1, 12, 48))
        for kernel in (11, 12)
    ]
    assert [make_plan(program).layers[2].wiring.budget for program in programs] == [2, 0]
    worst_case(programs[0])
    with pytest.raises(InputError, match="sums up to 127"):
        worst_case(programs[1])


@pytest.mark.parametrize(("shift", "kind"), [(1, np.int32), (2, np.int64)])
def test_the_gain_takes_32_bits_up_to_the_last_product_that_fits(shift, kind):
    """65,538 x 32,767 is 2 below 2^31: with half of 2^1 added it fits, with half of 2^2 not."""
    lif = {"multiplier": np.array([32767], np.int32), "shift": np.array([shift], np.int32)}
    program = one_sum([127] * 86 + [1], 6, **lif)
    assert make_plan(program).layers[0].step.multiplier.dtype == kind
    worst_case(program)


@pytest.mark.parametrize(("threshold", "wide"), [(1, False), (2, True)])
def test_the_leak_takes_32_bits_up_to_the_last_product_that_fits(threshold, wide):
    """A membrane lies at most its threshold beyond 2^16: 65,537 x 32,767 + 32,767, rounded toward zero, is 2 below 2^31."""
    lif = {
        "threshold": np.array([threshold], np.int32), "membrane": QFormat(17, 0), "leak_multiplier": 32767,
        "leak_shift": 15, "leak_rounding": Rounding.TOWARD_ZERO,
    }  # fmt: skip
    for weight in (127, -127):
        program = one_sum([weight] * 87, 6, **lif)
        assert make_plan(program).layers[0].step.wide_leak is wide
        worst_case(program)


@JIT_ONLY
def test_kernels_ask_for_as_much_memory_for_many_recordings_and_steps_as_for_one():
    """Only a call's arguments are counted, once per call: nothing per recording, step, event or spike."""
    counts, rng = set(), np.random.default_rng(1)
    for bins in (1, 10):
        program = digits_net()
        program = replace(program, preprocessing=replace(program.preprocessing, time_bins=bins))
        frames = Frames.from_dense((rng.random((70, bins, 2, 34, 34)) < 0.08).astype(np.uint8))
        chunks = Chunks(program, make_plan(program), frames, empty_result(program, len(frames)))
        chunks.warm_up()
        with counted_allocations() as now:
            for start, stop in ((0, 1), (1, 2), (2, 10), (10, 70)):
                before = now()
                chunks.run(start, stop)
                counts.add(now() - before)
    (each,) = counts
    assert 0 < each < 200


@JIT_ONLY
def test_memory_that_a_kernel_asks_for_is_counted():
    from numba import njit

    @njit
    def takes(n):
        total = 0
        for i in range(n):
            total += len(np.zeros(i + 1))
        return total

    takes(1)
    with counted_allocations() as now:
        before = now()
        takes(7)
        assert now() - before == 7


def test_large_inputs_take_as_many_recordings_as_fit_the_limit():
    """232 outputs of 44 bytes and 2,312 inputs of 60: 148,928 bytes per recording."""
    program, frames = digits_net(), empty_frames(2000)
    chunks = Chunks(program, make_plan(program), frames, empty_result(program, 2000))
    assert chunks.recordings_in(10 * 148_928, 1) == 10
    assert chunks.recordings_in(10 * 148_928 - 1, 1) == 9


def test_the_seconds_of_reading_the_frames_are_booked_as_input(monkeypatch):
    from sastdeploy.simulator.numba_engine import chunks as module

    program, frames = digits_net(), Frames.from_dense(np.ones((1, 10, 2, 34, 34), np.uint8))
    chunks = Chunks(program, make_plan(program), frames, empty_result(program, 1))
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    read = chunks._input_rows

    def slow(start, stop):
        now[0] += 5.0
        return read(start, stop)

    monkeypatch.setattr(chunks, "_input_rows", slow)
    chunks.run(0, 1)
    assert chunks.stages == {"input": 5.0, "fc0": 0.0, "fc1": 0.0, "tally": 0.0, "readout": 0.0}
