"""The work that a run does, counted: what makes it fast, checked without a clock."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from tiny_programs import tiny_lif, tiny_program, tiny_readout

from sastdeploy.frames import Frames
from sastdeploy.program import ConvLif, DenseLif
from sastdeploy.simulator import engine
from sastdeploy.simulator.chunks import Chunks
from sastdeploy.simulator.plan import make_plan
from sastdeploy.simulator.result import empty_result


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
