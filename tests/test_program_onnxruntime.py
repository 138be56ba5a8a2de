"""ONNX Runtime as an engine: every field of the result equals the reference engine's."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_strategies import frames_for, frames_from_dense, programs

from sastdeploy.errors import SimulationError
from sastdeploy.program.check import check_program
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.records import ConvLif, DenseLif, Lif, Program, Readout, SumPool
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.simulator import onnxruntime_engine, reference
from sastdeploy.simulator.result import differences


def lif_names(program: Program) -> tuple[str, ...]:
    return tuple(layer.name for layer in program.layers if not isinstance(layer, SumPool))


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
