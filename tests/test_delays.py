"""Delays: by hand, in files, in every engine, in C and vectors, and from the graph to the program."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neuron_checks import assert_edited_manifest_refused, assert_every_engine_agrees, assert_program_refused
from tiny_programs import counts, one_neuron, tiny_lif, tiny_program, tiny_readout, two_delays

from sastdeploy import (
    InputError,
    export_c,
    export_verilog,
    load_program,
    save_program,
    verify,
)
from sastdeploy.exchange.vectors.values import signals
from sastdeploy.program.counting import footprint_bytes, largest_synops
from sastdeploy.program.file import format_version, meaning_hash
from sastdeploy.program.fixedpoint import QFormat
from sastdeploy.program.layers.delay import MAX_DELAY, each_steps, smallest_steps
from sastdeploy.program.records import ConvLif, DenseLif, FurtherDense, RecurrentLif, SumPool
from sastdeploy.program.records import Delay as ProgramDelay
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine, reference
from sastdeploy.simulator.neurobench import neurobench, synops_by_definition
from sastdeploy.simulator.result import differences

# Counts 1, 4, 0, 2, 5 (5 clips to 4). I = (3 acc + 1) >> 1, bias -1, threshold 5, leak u * 5 >> 3, -16 to 15, reset a step later.
COUNTS = (1, 4, 0, 2, 5)
# A step later acc = 3 x = 0, 3, 12, 0, 6; I = 0, 5, 18, 0, 9; u = 0-1 | -1+5-1 | 1+18-1, beyond 15 | 9+0-1-5 | 1+9-1
LATER = (-1, 3, 15, 3, 9), (0, 0, 1, 0, 1)


def steps_of(*values):
    return np.array(values, np.int32)


def test_delayed_counts_by_hand():
    layer = one_neuron().layers[0]
    program, shown = tiny_program([ProgramDelay("wait", 1), layer], tiny_readout()), counts(*COUNTS)
    result = reference.run(program, shown, trace=("fc",))
    assert result.traces["fc"].membranes[0].squeeze().tolist() == list(LATER[0])
    assert result.traces["fc"].spikes[0].squeeze().tolist() == list(LATER[1])
    # Four bins with counts leave the input, and cost nothing there; 1, 4 and 2 arrive in three.
    assert (result.active.tolist(), result.events.tolist()) == ([[4, 3, 2]], [[11, 7, 2]])
    assert result.synops.tolist() == [[0, 3, 4]] and result.synops_events.tolist() == [[0, 7, 4]]
    for name in ("numba", "onnxruntime"):
        assert differences(result, engine.run(program, shown, engine=name, trace=("fc",))) == []


def test_delays_of_each_neuron_by_hand():
    """Both neurons spike in bins 1, 3 and 4; of the second, two steps later, only the first spike arrives."""
    program, shown = two_delays(), counts(*COUNTS)
    found = {(signal.layer, signal.kind): signal.values[0].tolist() for signal in signals(program, shown)}
    assert found["a", "spikes"] == [[0, 0], [1, 1], [0, 0], [1, 1], [1, 1]]
    assert found["wait", "delayed"] == [[0, 0], [1, 0], [0, 0], [1, 1], [1, 0]]
    assert found["b", "sums"] == [[0], [3], [0], [1], [3]]
    # I = 0, 5, 0, 2, 5: u = 0-1 | -1+5-1 | 1+0-1 | 0+2-1 | 0+5-1
    assert found["b", "membranes"] == [[-1], [3], [0], [1], [4]]
    result = reference.run(program, shown, trace=("a", "b"))
    assert result.synops.tolist() == [[4 * 2, 0, 4 * 1, 0]]
    assert [spikes.tolist() for spikes in result.neuron_spikes] == [[3, 3], [3, 1], [0]]
    for name in ("numba", "onnxruntime"):
        assert differences(result, engine.run(program, shown, engine=name, trace=("a", "b"))) == []


def test_what_delays_cost():
    program = two_delays()
    assert largest_synops(program).tolist() == [
        [5 * 2, 0, 5 * 2, 5 * 2],
        [5 * 2 * 4, 0, 5 * 2, 5 * 2],
        [5 * 2, 0, 5 * 2, 5 * 2],
    ]
    without = replace(program, layers=(program.layers[0], program.layers[2]))
    more = {key: value - footprint_bytes(without)[key] for key, value in footprint_bytes(program).items()}
    # Two spikes wait, two numbers of two bits say so; what waits for ever is no more than a recording holds.
    assert more == {"weights": 0, "parameters": 1, "state": 1, "total": 2}
    assert footprint_bytes(two_delays(9))["state"] - footprint_bytes(without)["state"] == 2
    counted = tiny_program([ProgramDelay("wait", 4), one_neuron().layers[0]], tiny_readout())
    assert (
        footprint_bytes(counted)["state"] - footprint_bytes(one_neuron())["state"] == 2
    )  # 4 counts of 3 bits


def several_layers():
    """Delays of every form behind the input, maps, a pool and rows, and skips past them."""
    rng = np.random.default_rng(3)

    def weights(*shape, most=7):
        return rng.integers(-most, most + 1, shape).astype(np.int8)

    def neurons(channels, most):
        return tiny_lif(
            channels, membrane=QFormat(8, 8), multiplier=np.full(channels, 9, np.int32), threshold=np.full(channels, most, np.int32)
        )  # fmt: skip

    layers = [
        ProgramDelay("d0", rng.integers(0, 3, 72).astype(np.int32)),
        ConvLif("c0", weights(3, 2, 3, 3), 4, (1, 1), (1, 1), neurons(3, 60)),
        ProgramDelay("d1", steps_of(0, 2, 1)),
        SumPool("pool", 2),
        ProgramDelay("d2", 1),
        ProgramDelay("d3", rng.integers(0, 7, 27).astype(np.int32)),
        ConvLif("c1", weights(4, 3, 1, 1), 4, (1, 1), (0, 0), neurons(4, 60)),
        RecurrentLif(
            "r", weights(30, 36), 4, neurons(30, 90), weights(30, 30, most=2),
            further=(FurtherDense(2, weights(30, 3 * 36, most=2)), FurtherDense(0, weights(30, 2 * 36, most=2))),
        ),
        ProgramDelay("d4", np.arange(30, dtype=np.int32) % 4),
        DenseLif("d", weights(6, 30), 4, neurons(6, 60), further=(FurtherDense(7, weights(6, 36)),)),
    ]  # fmt: skip
    return tiny_program(layers, tiny_readout(6), (2, 6, 6), time_bins=6)


def test_every_engine_gives_the_same_integers(tmp_path):
    program = several_layers()
    _, again = assert_every_engine_agrees(program, tmp_path, version=6, spikes=1000)
    assert again.layers[4].steps == 1 and again.layers[0].steps.dtype == np.int32
    other = replace(program, layers=(*program.layers[:4], ProgramDelay("d2", 2), *program.layers[5:]))
    renamed = replace(program, layers=(replace(program.layers[0], name="x"), *program.layers[1:]))
    assert meaning_hash(renamed) == meaning_hash(program) != meaning_hash(other)


def test_several_spikes_of_a_step_wait_together():
    first, wait, second = two_delays().layers
    many = replace(
        first,
        lif=replace(first.lif, max_spikes=3, membrane=QFormat(8, 0), threshold=np.array([3, 2], np.int32)),
    )
    program = replace(two_delays(), layers=(many, wait, second))
    found = {(signal.layer, signal.kind): signal.values[0] for signal in signals(program, counts(*COUNTS))}
    sent, arrived = found["a", "spikes"], found["wait", "delayed"]
    assert sent.max() == 3 and np.array_equal(arrived[:, 0], sent[:, 0])
    assert arrived[2:, 1].tolist() == sent[:-2, 1].tolist() and not arrived[:2, 1].any()
    compared = verify(program, {"own": counts(*COUNTS)}, random=4)
    assert compared.equal, compared.first_difference
    # Two values of two bits wait.
    assert (
        footprint_bytes(program)["state"] - footprint_bytes(replace(program, layers=(many, second)))["state"]
        == 1
    )
    assert format_version(program) == 6


def test_chunks_and_threads_do_not_matter():
    program = several_layers()
    shown = Frames.from_dense(np.random.default_rng(1).integers(0, 4, (7, 6, 2, 6, 6)))
    whole = reference.run(program, shown)
    for chunk, threads in ((1, 1), (3, 2), (7, 1)):
        assert differences(whole, engine.run(program, shown, chunk=chunk, threads=threads)) == []


def test_neurobench_counts_what_goes_past_a_delay():
    """The input's counts go through a delay, where they cost nothing, and past it into the recurrent layer."""
    program = several_layers()
    shown = Frames.from_dense(np.random.default_rng(0).integers(0, 4, (3, 6, 2, 6, 6)))
    result = reference.run(program, shown)
    assert result.synops[:, 0].tolist() == (30 * result.active[:, 0]).tolist()
    into_pool = int(result.neuron_spikes[2].sum())
    assert into_pool > 100 and (result.synops[:, 3] == result.active[:, 3]).all()
    figures = synops_by_definition(program, result)
    assert figures["neurobench"] * 3 == pytest.approx(result.synops_nonzero.sum() - into_pool)
    assert figures["sinabs"] * 3 == pytest.approx(result.synops_events.sum() - into_pool)
    operations = neurobench(program, result)["synaptic_operations"]
    assert operations["dense"] == largest_synops(program)[0].sum() - 6 * 3 * 36


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(((2, 3, 4), (5, 1, 1), (1, 2, 2))),
    st.integers(1, 7),
    st.data(),
)
def test_delays_shift(seed, shape, bins, data):
    """Against a shift by hand; none is no delay; one after another are their sum; every step alone as all together."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 128, (2, bins, *shape)).astype(np.uint8)
    sizes = data.draw(st.sampled_from(((1, 1, 1), (shape[0], 1, 1), shape)))
    one, two = (np.broadcast_to(rng.integers(0, bins + 2, sizes), shape) for _ in range(2))
    shifted = np.zeros_like(x)
    for place in np.ndindex(shape):
        for t in range(bins - one[place]):
            shifted[(slice(None), t + one[place], *place)] = x[(slice(None), t, *place)]
    first, second, both = (ProgramDelay("d", smallest_steps(steps)) for steps in (one, two, one + two))
    for delay in (first, second, both):
        delay.check("here", shape, 127)
    assert np.array_equal(each_steps(first.steps, shape), one)
    assert np.array_equal(first.sent(x), shifted) and first.sent(x).dtype == np.uint8
    assert np.array_equal(ProgramDelay("d", 0).sent(x), x)
    assert np.array_equal(second.sent(first.sent(x)), both.sent(x))
    line = np.zeros((first.reach(bins), *shape), np.int64)
    for t in range(bins):
        arrived, line = first.step(x[0, t].astype(np.int64), line)
        assert np.array_equal(arrived, shifted[0, t])
        assert len(line) == first.reach(bins)


@pytest.mark.parametrize("steps", [5, 6, MAX_DELAY])
def test_what_waits_as_long_as_a_recording_never_arrives(steps):
    result = reference.run(two_delays(steps), counts(*COUNTS), trace=("b",))
    assert result.active[0, 2] == 0 and not result.traces["b"].spikes.any()
    assert two_delays(steps).layers[1].reach(5) == 5
    for name in ("numba", "onnxruntime"):
        assert (
            differences(result, engine.run(two_delays(steps), counts(*COUNTS), engine=name, trace=("b",)))
            == []
        )


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        (-1, "steps is -1. Allowed: a whole number, 0 to 1000, or int32 of one per channel or value"),
        (1001, "steps is 1001. Allowed: a whole number, 0 to 1000, or int32 of one per channel or value"),
        (True, "steps is True. Allowed: a whole number, 0 to 1000, or int32 of one per channel or value"),
        (1.0, "steps is 1.0. Allowed: a whole number, 0 to 1000, or int32 of one per channel or value"),
        (np.array([0, 1]), "steps is int64 of shape [2]. Allowed: int32 of shape [2] or [2], one per channel or value"),
        (steps_of(0, 1, 2), "steps is int32 of shape [3]. Allowed: int32 of shape [2] or [2], one per channel or value"),
        (steps_of(3, -2), "steps[1] is -2. Allowed: 0 to 1000"),
        (steps_of(3, 1001), "steps[1] is 1001. Allowed: 0 to 1000"),
        (steps_of(3, 3), "steps is 3 for every value. Allowed: one number for all, or numbers that differ"),
    ],
)  # fmt: skip
def test_steps_that_are_none_are_refused(steps, fault):
    assert_program_refused(two_delays(steps), f"layer 'wait': {fault}.")


def test_steps_of_channels_are_said_once():
    layer = replace(one_neuron().layers[0], weight=np.ones((1, 4), np.int8))
    program = tiny_program([ProgramDelay("wait", steps_of(1, 1, 2, 2)), layer], tiny_readout(), (2, 1, 2))
    assert_program_refused(
        program,
        "layer 'wait': steps are one number in each channel. Allowed: int32 of shape [2], one per channel.",
    )


def test_a_delay_may_be_first_and_never_last():
    wait = ProgramDelay("wait", 1)
    assert_program_refused(
        replace(one_neuron(), layers=(*one_neuron().layers, wait)),
        "layer 'wait': a delay is the last layer. Allowed: dense, conv or recurrent there.",
    )
    further = (FurtherDense(2, np.array([[1, 1]], np.int8)),)
    *layers, last = two_delays().layers
    assert_program_refused(
        replace(two_delays(), layers=(*layers, replace(last, further=further))),
        "layer 'b', further input 0: source is 2. Allowed: 0, 1 (0 for the input, l + 1 for an earlier layer l with neurons).",
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"steps_bits":8', '"steps_bits":16'), ('"steps_shape":[2]', '"steps_shape":[2,1]'), ('"steps_shape":[2]', '"steps_shape":[0]'),
        ('"steps_bits":8,', ""), ('"steps_bits":8,"steps_shape":[2]', '"steps":2'), ('"steps_bits":8', '"steps_bits":32'),
        ('"kind":"delay"', '"kind":"delays"'),
    ],
)  # fmt: skip
def test_manifests_that_say_other_delays_are_refused(tmp_path, old, new):
    assert_edited_manifest_refused(two_delays(), tmp_path, old, new, r"damaged|array too many|ONNX type")


def test_steps_are_stored_in_a_byte_where_they_fit(tmp_path):
    import onnx

    for last, kind in ((127, onnx.TensorProto.INT8), (128, onnx.TensorProto.INT32)):
        save_program(tmp_path / "p.onnx", two_delays(steps_of(0, last)), force=True)
        (stored,) = (t for t in onnx.load(tmp_path / "p.onnx").graph.initializer if t.name == "wait/steps")
        assert stored.data_type == kind
        assert load_program(tmp_path / "p.onnx").layers[1].steps.tolist() == [0, last]


def test_the_ring_of_c_is_as_long_as_the_longest_delay(tmp_path):
    export = export_c(two_delays(), tmp_path / "c", name="net")
    assert "uint8_t waiting1[6];" in (tmp_path / "c" / "net.h").read_text()
    assert [(layer.kind, layer.own_bytes, layer.table_bytes) for layer in export.layers][1] == ("delay", 6, 2)
    # Never more slots than steps, and one: what waits longer falls into one that is not reached.
    assert export_c(two_delays(900), tmp_path / "long", name="net").layers[1].own_bytes == 2 * 6
    assert export_c(two_delays(0), tmp_path / "none", name="net").layers[1].own_bytes == 2


def test_verilog_refuses_delays_by_name(tmp_path):
    with pytest.raises(InputError) as error:
        export_verilog(two_delays(), tmp_path / "v")
    assert str(error.value) == (
        "layer wait: a delay layer is nothing the Verilog core holds. Allowed: dense, conv, sum_pool. Export it with --to c."
    )
