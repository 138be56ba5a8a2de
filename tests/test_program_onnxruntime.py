"""ONNX Runtime as an engine: every field of the result equals the reference engine's."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_strategies import frames_for, frames_from_dense, programs
from tiny_programs import counts, one_neuron

from sastdeploy import load_program
from sastdeploy.errors import SimulationError
from sastdeploy.program.check import check_program
from sastdeploy.program.file import program_hash, program_model
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.records import ConvLif, DenseLif, Lif, Program, Readout, SumPool
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.simulator import onnxruntime_engine, reference
from sastdeploy.simulator.result import differences


def lif_names(program: Program) -> tuple[str, ...]:
    return tuple(layer.name for layer in program.layers if layer.lif is not None)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_every_integer_equals_the_reference(data):
    program = data.draw(programs())
    frames = data.draw(frames_for(program))
    check_program(program)
    expected = reference.run(program, frames, lif_names(program))
    result = onnxruntime_engine.run(program, frames, lif_names(program))
    assert differences(expected, result) == []


def lif(channels: int) -> Lif:
    fields = [np.full(channels, value, np.int32) for value in (3, 2, 1, 9)]
    return Lif(*fields, 5, 3, Rounding.NEAREST, QFormat(4, 4), Overflow.SATURATE)


def conv_program() -> Program:
    rng = np.random.default_rng(3)
    first = ConvLif("first", rng.integers(-7, 8, (6, 2, 3, 3), dtype=np.int8), 4, (2, 2), (1, 1), lif(6))
    second = ConvLif("second", rng.integers(-9, 10, (5, 6, 3, 3), dtype=np.int8), 8, (1, 1), (1, 1), lif(5))
    third = DenseLif("third", rng.integers(-9, 10, (7, 20), dtype=np.int8), 8, lif(7))
    ones = np.ones(3, np.int32)
    weight = rng.integers(-9, 10, (3, 7), dtype=np.int8)
    return Program(
        "conv.any",
        Preprocessing((10, 9, 2), (10, 9), 5, 4, 4.0),
        (first, second, SumPool("pool", 2), third),
        Readout("readout", weight, 8, ones, 0 * ones, ones, 4, False),
        ("a", "b", "c"),
        "nmnist-sim",
        {},
        {},
        {},
    )


@pytest.fixture(scope="module")
def recordings():
    rng = np.random.default_rng(4)
    counts = rng.integers(0, 9, (23, 5, 2, 9, 10), dtype=np.uint8)
    return frames_from_dense(counts * (rng.random(counts.shape) < 0.3).astype(np.uint8))


@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_and_threads_change_nothing(recordings, threads, monkeypatch):
    program = conv_program()
    check_program(program)
    expected = reference.run(program, recordings, ("second",))
    assert expected.spikes.sum(axis=0).min() > 0
    monkeypatch.setattr(onnxruntime_engine, "CHUNK_BYTES", 60_000)
    done: list[int] = []
    result = onnxruntime_engine.run(program, recordings, ("second",), threads, done.append)
    assert differences(expected, result) == []
    assert sum(done) == 23
    assert len(done) > 1


def test_no_recording_gives_an_empty_result(recordings):
    result = onnxruntime_engine.run(conv_program(), recordings.select(slice(0, 0)))
    assert len(result) == 0
    assert result.scores.shape == (0, 3)


def test_fan_out_is_what_the_reference_counts_synapse_by_synapse():
    program = conv_program()
    for target, shape in zip((*program.layers, program.readout), program.shapes()):
        every, nonzero = target.fan_out(shape)
        for place in range(0, int(np.prod(shape)), 7):
            one = np.zeros(int(np.prod(shape)), np.int64)
            one[place] = 3
            total, weighted, without_zero = target.synops(one.reshape(shape))
            assert (every[place], 3 * every[place], nonzero[place]) == (total, weighted, without_zero)


def test_a_graph_that_the_runtime_refuses_is_a_simulation_error(recordings):
    program = conv_program()
    broken = dataclasses.replace(program.layers[3], weight=np.zeros((7, 21), np.int8))
    invalid = dataclasses.replace(program, layers=(*program.layers[:3], broken))
    with pytest.raises(SimulationError, match=r"program conv\.any: ONNX Runtime .* could not (load|run) it"):
        onnxruntime_engine.run(invalid, recordings)


def toward_zero(bias):
    """Return a neuron that keeps 257/512 of its membrane: the product takes more than 32 bits."""
    return one_neuron(
        multiplier=np.ones(1, np.int32), shift=np.zeros(1, np.int32), bias=np.full(1, bias, np.int32),
        threshold=np.full(1, 8388607, np.int32), leak_multiplier=257, leak_shift=9, leak_rounding=Rounding.TOWARD_ZERO,
        membrane=QFormat(12, 12), spike_test=">",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bias", "membranes"), [(8380000, [8380000, 8388607]), (-8380000, [-8380000, -8388608])]
)
def test_products_beyond_32_bits_round_toward_zero_by_hand(bias, membranes):
    # 8380000 * 257 = 2153660000 > 2^31; / 512 = 4206367.19: 4206367, and with the bias beyond the format's end.
    program = toward_zero(bias)
    result = onnxruntime_engine.run(program, counts(0, 0, 0, 0, 0), ("fc",))
    assert result.traces["fc"].membranes.reshape(-1)[:2].tolist() == membranes
    # From the end on: 8388607 * 257 >> 9 = 4210687, and the bias on top of it is beyond the end again.
    assert result.traces["fc"].membranes.reshape(-1)[4] == membranes[1]


def test_a_file_of_the_earlier_form_is_read_as_the_same_program(tmp_path):
    """Programs that round toward zero were written with the node Sign, which older runtimes give the low 32 bits."""
    program = toward_zero(1)
    earlier, today = program_model(program, sign_node=True), program_model(program)
    assert [any(node.op_type == "Sign" for f in model.functions for node in f.node) for model in (earlier, today)] == [
        True, False,
    ]  # fmt: skip
    path = tmp_path / "earlier.onnx"
    path.write_bytes(earlier.SerializeToString(deterministic=True))
    assert program_hash(load_program(path)) == program_hash(program)
