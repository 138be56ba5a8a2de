"""Every engine gives exactly the same integers: random programs, any number of threads, no JIT, checked bounds.

``SASTDEPLOY_PROGRAMS=5000 pytest tests/test_simulator_engines.py -s`` compares that many programs and says so.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program_strategies import frames_for, programs
from tiny_programs import counts, one_neuron, tiny_lif, tiny_program, tiny_readout

from sastdeploy.errors import InputError, SimulationError
from sastdeploy.program.check import check_program
from sastdeploy.program.records import ConvLif, DenseLif, SumPool
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine
from sastdeploy.simulator.numba_engine import plan, wiring
from sastdeploy.simulator.numba_engine.plan import make_plan
from sastdeploy.simulator.result import differences

PROGRAMS = int(os.environ.get("SASTDEPLOY_PROGRAMS", "60"))


def traced(program):
    return [layer.name for layer in program.layers if layer.lif is not None]


def assert_equal_runs(program, frames, **options):
    expected = engine.run(program, frames, engine="reference", trace=traced(program))
    for threads in (1, 2):
        result = engine.run(program, frames, threads=threads, trace=traced(program), **options)
        assert differences(expected, result) == []
    return expected


@st.composite
def cases(draw):
    program = draw(programs())
    return program, draw(frames_for(program))


def test_numba_equals_the_reference_on_random_programs():
    compared = {"programs": 0, "spikes": 0, "membranes": 0, "overflows": 0}

    @settings(
        max_examples=PROGRAMS,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(cases())
    def compare(case):
        result = assert_equal_runs(*case)
        compared["programs"] += 1
        compared["spikes"] += int(result.spikes.sum())
        compared["membranes"] += sum(trace.membranes.size for trace in result.traces.values())
        compared["overflows"] += int(result.overflow_low.sum() + result.overflow_high.sum())

    compare()
    print("\nequal on every integer:", compared)
    assert compared["programs"] >= PROGRAMS
    assert min(compared.values()) > 0


@pytest.mark.parametrize("environment", [{"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_BOUNDSCHECK": "1"}])
def test_numba_equals_the_reference_without_jit_and_with_bounds_checks(environment, tmp_path):
    """In a fresh interpreter each; the kernels of the bounds-checked run are not taken from the usual cache."""
    script = (
        "import test_simulator_engines as engines\n"
        "engines.PROGRAMS = 12\n"
        "engines.test_numba_equals_the_reference_on_random_programs()\n"
        "import numba; print('jit off:', bool(numba.config.DISABLE_JIT), 'bounds:', numba.config.BOUNDSCHECK)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env={**os.environ, **environment, "NUMBA_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "equal on every integer" in done.stdout
    wanted = "jit off: True" if "NUMBA_DISABLE_JIT" in environment else "bounds: 1"
    assert wanted in done.stdout


def dense_program(inputs, width, weight, **changes):
    layer = DenseLif("fc", np.full((width, inputs), weight, np.int8), 8, tiny_lif(width, **changes))
    return tiny_program([layer], tiny_readout(width), frame=(1, 1, inputs), time_bins=2, c_clip=127)


@pytest.mark.parametrize("weight", [127, -127, 3])
@pytest.mark.parametrize("inputs", [1, 7, 8, 9, 257, 258, 259, 1030])
@pytest.mark.parametrize("count", [1, 2, 127])
def test_the_narrow_partial_sum_never_overflows(weight, inputs, count):
    """Full inputs with extreme weights, around every multiple of the row group and of the 16-bit budget."""
    for clip in (1, 127):
        program = dense_program(inputs, 5, weight, shift=np.full(5, 10, np.int32))
        program = replace(
            program, preprocessing=replace(program.preprocessing, c_clip=clip, divisor=float(clip))
        )
        full = Frames.from_dense(np.full((1, 2, 1, 1, inputs), count))
        assert_equal_runs(program, full)


def test_the_plan_narrows_only_what_is_proven():
    def budget(weight, clip):
        program = dense_program(weight.shape[1], len(weight), 0)
        program = replace(
            program,
            layers=(replace(program.layers[0], weight=weight),),
            preprocessing=replace(program.preprocessing, c_clip=clip, divisor=float(clip)),
        )
        return make_plan(program).layers[0].wiring.budget

    full = np.full((3, 1000), 127, np.int8)
    # 258 weights of 127 are the most that 32767 holds; at values up to 127, two.
    assert budget(full, 1) == 258
    assert budget(full, 127) == 2
    assert budget(-full, 127) == 2
    assert budget(full, 6) == 42  # 43 rows would fit, but rows go in pairs
    # Only the heaviest weights of the heaviest neuron count: 40 of 127, then 100 times 2 and a bit.
    mixed = np.full((2, 1000), 2, np.int8)
    mixed[1, :40] = 127
    assert budget(mixed, 6) == 40 + (32767 // 6 - 40 * 127) // 2 // 2 * 2
    # Where all rows together fit, there is nothing to count.
    assert budget(np.ones((3, 258), np.int8), 127) > 10**6
    assert budget(np.full((3, 5), -128, np.int8), 127) == 2


@pytest.mark.parametrize("width", [15, 16, 17, 33, 65, 130, 200, 300])
@pytest.mark.parametrize("clip", [1, 6, 127])
def test_wide_layers_in_every_order_of_columns(width, clip):
    """Columns lie in another order in the tables than in the layer, by whole vectors: narrow layers do not show it."""
    rng = np.random.default_rng(width + clip)
    conv = ConvLif(
        "conv",
        rng.integers(-127, 128, (width, 2, 3, 3)).astype(np.int8),
        8,
        (2, 1),
        (1, 1),
        tiny_lif(width, shift=np.full(width, 6, np.int32)),
    )
    dense = DenseLif(
        "fc",
        rng.integers(-127, 128, (width, width * 3 * 5)).astype(np.int8),
        8,
        tiny_lif(width, shift=np.full(width, 6, np.int32)),
    )
    for density in (0.05, 0.9):
        program = tiny_program([conv, dense], tiny_readout(width), frame=(2, 5, 5), time_bins=3, c_clip=clip)
        counts = rng.integers(0, 2 * clip + 1, (4, 3, 2, 5, 5)) * (rng.random((4, 3, 2, 5, 5)) < density)
        result = assert_equal_runs(program, Frames.from_dense(np.minimum(counts, 255)))
        assert result.spikes.min(initial=1) > 0 or density < 0.5


@pytest.mark.parametrize("block_bytes", [1, 1000, 256 << 10])
@pytest.mark.parametrize("clip", [1, 127])
def test_convolutions_in_blocks_of_positions(monkeypatch, block_bytes, clip):
    """Every kind of source (frames, spikes, pooled counts), clipped runs, long runs, one gain per channel."""
    monkeypatch.setattr(wiring, "_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(plan, "_plans", {})
    rng = np.random.default_rng(block_bytes + clip)

    def conv(name, outputs, channels, kernel, stride, padding, shift):
        weight = rng.integers(-127, 128, (outputs, channels, *kernel)).astype(np.int8)
        lif = tiny_lif(outputs, shift=rng.integers(shift - 1, shift + 2, outputs).astype(np.int32))
        return ConvLif(name, weight, 8, stride, padding, lif)

    layers = [
        conv("one", 20, 2, (3, 2), (1, 2), (0, 3), 5),
        conv("two", 33, 20, (5, 4), (2, 1), (4, 0), 9),
        SumPool("pool", 2),
        conv("three", 17, 33, (1, 3), (3, 1), (2, 1), 9),
    ]
    program = tiny_program(layers, tiny_readout(17), frame=(2, 13, 14), time_bins=3, c_clip=clip)
    program = replace(program, readout=replace(program.readout, global_sum_pool=True))
    counts = rng.integers(0, 256, (3, 3, 2, 13, 14)) * (
        rng.random((3, 3, 2, 13, 14)) < [[[[[0.02]]]], [[[[0.4]]]], [[[[1]]]]]
    )
    result = assert_equal_runs(program, Frames.from_dense(counts))
    assert (result.spikes.sum(axis=0) > 0).all()


def test_tables_are_kept_by_content_not_by_identity():
    """A program whose arrays were changed in place is another program: nothing of the first may answer for it."""
    program = dense_program(12, 20, 3, shift=np.full(20, 2, np.int32))
    frames = Frames.from_dense(np.full((2, 2, 1, 1, 12), 9))
    first = assert_equal_runs(program, frames)
    program.layers[0].weight[:] = -3
    second = assert_equal_runs(program, frames)
    assert differences(first, second) != []
    program.layers[0].weight[0, 0] = -128
    with pytest.raises(InputError, match="is -128"):
        engine.run(program, frames)


def test_chunks_and_threads_change_nothing(monkeypatch):
    monkeypatch.setattr(engine, "usable_cores", lambda: 5)
    rng = np.random.default_rng(3)
    conv = ConvLif("conv", rng.integers(-7, 8, (6, 2, 3, 2)).astype(np.int8), 4, (2, 1), (1, 1), tiny_lif(6))
    dense = DenseLif("fc", rng.integers(-7, 8, (5, 6 * 3 * 3)).astype(np.int8), 4, tiny_lif(5))
    program = tiny_program([conv, SumPool("pool", 2), dense], tiny_readout(5), frame=(2, 12, 5), time_bins=3)
    frames = Frames.from_dense(rng.integers(0, 3, (23, 3, 2, 12, 5)))
    expected = engine.run(program, frames, engine="reference")
    for chunk in (1, 2, 7, 23, 100):
        for threads in (1, 2, 5):
            assert differences(expected, engine.run(program, frames, chunk=chunk, threads=threads)) == []


def test_no_more_threads_are_started_than_there_are_cores(monkeypatch):
    monkeypatch.setattr(engine, "usable_cores", lambda: 2)
    started = []
    pool = engine.ThreadPoolExecutor
    monkeypatch.setattr(
        engine, "ThreadPoolExecutor", lambda max_workers: started.append(max_workers) or pool(max_workers)
    )
    program, frames, remarks = one_neuron(), Frames.from_dense(np.ones((30, 5, 1, 1, 1), np.int64)), []
    result = engine.run(program, frames, threads=np.int64(10_000), chunk=1, say=remarks.append)
    assert result.threads == 2 and type(result.threads) is int and started == [2]
    engine.run(program, frames, threads=2, say=remarks.append)
    engine.run(program, frames, threads=10_000, engine="reference", say=remarks.append)
    remarks = [text for text in remarks if not text.startswith("compiling kernels")]
    assert remarks == ["threads 10000: 2 used, one for each usable core; the result is the same."]


def test_no_recordings_give_an_empty_result():
    frames = Frames.from_dense(np.zeros((0, 5, 1, 1, 1), np.int64))
    for name in ("numba", "reference"):
        result = engine.run(one_neuron(), frames, engine=name)
        assert len(result) == 0 and result.scores.shape == (0, 2)


def test_progress_counts_every_recording_once():
    frames = Frames.from_dense(np.ones((11, 5, 1, 1, 1), np.int64))
    for name in ("numba", "reference"):
        seen = []
        engine.run(one_neuron(), frames, engine=name, progress=seen.append, chunk=4)
        assert sum(seen) == 11


def test_a_failing_callback_stops_the_run():
    def stop(_):
        raise KeyboardInterrupt

    frames = Frames.from_dense(np.ones((64, 5, 1, 1, 1), np.int64))
    with pytest.raises(KeyboardInterrupt):
        engine.run(one_neuron(), frames, progress=stop, chunk=1)


REFUSED = {
    "engine": ({"engine": "numbra"}, "engine 'numbra': unknown. Did you mean 'numba'? Allowed: numba, reference, onnxruntime."),
    "threads": ({"threads": 0}, "threads 0: must be at least 1. Leave it out to use every core."),
    "half a thread": ({"threads": 1.5}, "threads 1.5: is not a whole number. Leave it out to use every core."),
    "chunk": ({"chunk": 0}, "chunk 0: must be at least 1 recording. Leave it out for the default."),
    "trace": ({"trace": "fcc"}, "trace 'fcc': not a layer with membranes. Did you mean 'fc'? Allowed: fc."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_options_are_refused(case):
    options, text = REFUSED[case]
    with pytest.raises(InputError) as caught:
        engine.run(one_neuron(), counts(1, 4, 0, 2, 5), **options)
    assert str(caught.value) == text


def test_frames_of_another_shape_are_refused():
    with pytest.raises(InputError) as caught:
        engine.run(one_neuron(), Frames.from_dense(np.ones((1, 4, 1, 2, 1), np.int64)))
    assert str(caught.value) == (
        "frames: 1x2x1 in 4 bins, but program tiny.test takes 1x1x1 in 5 bins. "
        "Use the data set it was trained on (nmnist-sim), or compile a program for this one."
    )


def test_a_width_that_cannot_be_proven_is_refused_by_the_plan():
    layer = DenseLif("fc", np.full((1, 140_000), 127, np.int8), 8, tiny_lif())
    program = tiny_program([layer], tiny_readout(), frame=(1, 1, 140_000), c_clip=127)
    with pytest.raises(SimulationError) as caught:
        make_plan(program)
    assert str(caught.value) == "layer fc: a weighted sum of 2258060000 does not fit 32 bits."


def test_a_layer_whose_signs_cancel_runs_on_every_engine():
    """140,000 weights, half of each sign: the sum of all magnitudes leaves 32 bits, no sum that inputs can make does."""
    weight = np.full((1, 140_000), 127, np.int8)
    weight[0, 70_000:] = -127
    layer = DenseLif("fc", weight, 8, tiny_lif(multiplier=np.array([1], np.int32)))
    program = tiny_program([layer], tiny_readout(), frame=(1, 1, 140_000), c_clip=127)
    check_program(program)
    counts = np.zeros((3, 5, 1, 1, 140_000), np.uint8)
    counts[0, :, :, :, :70_000] = counts[1, :, :, :, 70_000:] = counts[2] = 127
    frames = Frames.from_dense(counts)
    results = [engine.run(program, frames, engine=name, trace=["fc"]) for name in engine.ENGINES]
    assert differences(results[0], results[1]) == [] and differences(results[1], results[2]) == []
    assert results[0].predicted.tolist() == results[1].predicted.tolist()
    assert results[0].spikes[:, 0].tolist() == [5, 0, 0]
    full = replace(layer, weight=np.full((1, 140_000), 127, np.int8))
    with pytest.raises(InputError, match="the weighted sum of output 0 can reach 2258060000"):
        engine.run(replace(program, layers=(full,)), frames)
