"""Programs on disk: standard ONNX, the same bytes every time, the same integers in every engine."""

import dataclasses
import hashlib
import textwrap
import time

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from program_strategies import frames_for, programs

import sastdeploy.program.records
from sastdeploy import __version__
from sastdeploy.errors import InputError
from sastdeploy.program.arrays import from_raw, to_raw
from sastdeploy.program.file import (
    HASH_KEY,
    VERSION_KEY,
    load_program,
    meaning_hash,
    program_hash,
    program_model,
    read_manifest,
    save_program,
)
from sastdeploy.program.fixedpoint import QFormat
from sastdeploy.program.records import ConvLif, DenseLif, Readout
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.simulator import reference
from tests.small_programs import int32, lif, save_small_program, small_program

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def saved(tmp_path):
    return save_small_program(tmp_path)


@quick
@given(program=programs())
def test_save_then_load_gives_the_same_program_and_the_same_bytes(program, tmp_path):
    path = tmp_path / "p.onnx"
    save_program(path, program, force=True)
    first = path.read_bytes()
    loaded = load_program(path)
    assert program_hash(loaded) == program_hash(program)
    for ours, theirs in zip((*program.layers, program.readout), (*loaded.layers, loaded.readout)):
        assert type(ours) is type(theirs)
        if hasattr(ours, "weight"):
            assert ours.weight.dtype == theirs.weight.dtype == np.int8
            assert np.array_equal(ours.weight, theirs.weight)
    assert loaded.preprocessing == program.preprocessing
    assert (loaded.profile, loaded.provenance, loaded.costs) == (
        program.profile,
        program.provenance,
        program.costs,
    )
    save_program(path, loaded)
    assert path.read_bytes() == first


@quick
@given(data=st.data())
def test_plain_onnxruntime_gives_the_reference_engines_integers(data, tmp_path):
    program = data.draw(programs())
    frames = data.draw(frames_for(program))
    path = tmp_path / "p.onnx"
    save_program(path, program, force=True)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, {"counts": frames.dense()})))
    traced = tuple(layer.name for layer in program.layers if layer.lif is not None)
    expected = reference.run(program, frames, traced)
    assert np.array_equal(outputs["scores"], expected.scores)
    assert outputs["scores"].dtype == np.int32
    assert np.array_equal(outputs["predicted"], expected.predicted)
    for name in traced:
        trace, position = expected.traces[name], expected.layers.index(name)
        assert np.array_equal(outputs[f"{name}/membrane"].reshape(trace.membranes.shape), trace.membranes)
        assert np.array_equal(outputs[f"{name}/spikes"].reshape(trace.spikes.shape), trace.spikes)
        assert np.array_equal(outputs[f"{name}/overflow_low"], expected.overflow_low[:, position])
        assert np.array_equal(outputs[f"{name}/overflow_high"], expected.overflow_high[:, position])


@pytest.mark.skipif(
    tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 23),
    reason="the evaluator of onnx before 1.23 does not find a Scan's weights, which stand outside its body",
)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_onnx_own_evaluator_gives_the_same_integers(data):
    # A second runtime, written in NumPy by others: the graph leans on no habit of ONNX Runtime.
    program = data.draw(programs(largest_side=4))
    frames = data.draw(frames_for(program))
    last = program.layers[-1].name
    session = ReferenceEvaluator(program_model(program))
    scores, membrane = session.run(["scores", f"{last}/membrane"], {"counts": frames.dense()})
    expected = reference.run(program, frames, (last,))
    assert np.array_equal(scores, expected.scores)
    assert np.array_equal(
        membrane.reshape(expected.traces[last].membranes.shape), expected.traces[last].membranes
    )


def test_the_specifications_example_runs_as_written(tmp_path, monkeypatch):
    lines = sastdeploy.program.records.__doc__.split("line of ours::\n\n")[1].split("\n\n")[0]
    monkeypatch.chdir(tmp_path)
    save_program("ckpt.loihi_int8.onnx", small_program())
    names: dict = {}
    exec(textwrap.dedent(lines), names)
    # No event, no spike: bias only, 2 bins of (0, -7).
    assert names["scores"].tolist() == [[0, -14]]
    assert names["predicted"].tolist() == [0]


def test_loading_a_program_of_400_000_parameters_is_quick(tmp_path):
    rng = np.random.default_rng(0)
    layer = DenseLif("hidden", rng.integers(-127, 128, (86, 4608), dtype=np.int8), 8, lif(86))
    readout = dataclasses.replace(small_program().readout, weight=np.ones((2, 86), np.int8))
    frame = Preprocessing((48, 48, 2), (48, 48), 10, 1, 1.0)
    save_program(tmp_path / "p.onnx", small_program(preprocessing=frame, layers=(layer,), readout=readout))
    begin = time.perf_counter()
    load_program(tmp_path / "p.onnx")
    assert time.perf_counter() - begin < 0.2  # 0.01 s on an idle core


def test_integers_worked_out_by_hand(saved):
    # Counts (1, 9) clip to (1, 3): acc = (1 + 6, -3 + 21) = (7, 18). I = (3 acc + 1) >> 1 = (11, 27).
    # t = 0: u = (11, 27), s = (1, 1). t = 1, no input: u = floor(u / 2) - 4 = (1, 9), s = (0, 1).
    # Counts of spikes (1, 2): acc = (5 - 12, 100 + 254) = (-7, 354).
    # Scores: (-7 * 1) >> 0 + 2 * 0 = -7, and (354 + 1) >> 1 + 2 * -7 = 177 - 14 = 163.
    session = onnxruntime.InferenceSession(saved)
    counts = np.array([1, 9, 0, 0], np.uint8).reshape(1, 2, 1, 1, 2)
    scores, predicted, membrane, spikes = session.run(
        ["scores", "predicted", "hidden/membrane", "hidden/spikes"], {"counts": counts}
    )
    assert membrane.reshape(2, 2).tolist() == [[11, 27], [1, 9]]
    assert spikes.reshape(2, 2).tolist() == [[1, 1], [0, 1]]
    assert scores.tolist() == [[-7, 163]]
    assert predicted.tolist() == [1]


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("count", [126, 127])
def test_the_largest_counts_and_weights_are_exact(kind, sign, count, tmp_path):
    # x86 kernels that add two products of 8 bits in 16 bits stay exact: 2 * 127 * 127 = 32258 < 32768.
    rng = np.random.default_rng(1)
    shape = (2, 9, 8)
    if kind == "dense":
        weight = np.full((33, 144), 127 * sign, np.int8)
    else:
        weight = np.full((33, 2, 5, 5), 127 * sign, np.int8)
    weight[16:] = 127 * rng.choice([-1, 1], weight[16:].shape)
    wide = lif(33, membrane=QFormat(24, 0), multiplier=np.ones(33, np.int32), shift=np.zeros(33, np.int32))
    layer = (
        DenseLif("l", weight, 8, wide) if kind == "dense" else ConvLif("l", weight, 8, (2, 1), (2, 3), wide)
    )
    readout = Readout("readout", np.ones((2, 33), np.int8), 2, int32(1, 1), int32(0, 0), int32(0, 0), 0, True)
    program = small_program(
        preprocessing=Preprocessing((8, 9, 2), (8, 9), 2, 127, 127.0), layers=(layer,), readout=readout
    )
    save_program(tmp_path / "p.onnx", program)
    counts = np.full((5, 2, *shape), count, np.uint8)
    counts[1:] = rng.choice(np.array([0, 1, count], np.uint8), counts[1:].shape)
    session = onnxruntime.InferenceSession(tmp_path / "p.onnx")
    (membrane,) = session.run(["l/membrane"], {"counts": counts})
    for n in range(5):
        acc = layer.sums(counts[n, 0].astype(np.int64))
        assert np.abs(acc).max() > 127 * 127
        assert np.array_equal(membrane[n, 0], acc)


def test_weights_of_four_bits_are_stored_as_int4(saved):
    model = onnx.load(saved)
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert kinds["hidden/weight"] == TensorProto.INT4
    assert kinds["readout/weight"] == TensorProto.INT8
    assert kinds["hidden/threshold"] == TensorProto.INT32
    tensor = next(t for t in model.graph.initializer if t.name == "hidden/weight")
    assert np.array_equal(
        onnx.numpy_helper.to_array(tensor).astype(np.int8), small_program().layers[0].weight
    )
    assert len(tensor.raw_data) == 2


@pytest.mark.parametrize("bits", [4, 8, 32])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_raw_bytes_give_back_every_value(bits, length):
    values = np.arange(-length, length) % 15 - 7
    array = values.astype(np.int32 if bits == 32 else np.int8)[: 2 * length - 1]
    assert np.array_equal(from_raw(to_raw(array, bits), array.shape, bits), array)


def test_the_file_names_its_producer_and_its_content(saved):
    model = onnx.load(saved)
    assert (model.producer_name, model.producer_version) == ("sastdeploy", __version__)
    stored = {entry.key: entry.value for entry in model.metadata_props}
    assert stored[VERSION_KEY] == "1"
    assert stored[HASH_KEY] == program_hash(small_program())
    assert read_manifest(saved)["classes"] == ["left", "right"]
    operators = {node.op_type for node in model.graph.node}
    assert "Scan" in operators
    assert [f.name for f in model.functions] == ["RoundedShift", "Lif_floor_saturate_ge_subtract_delayed"]


def test_an_invalid_program_is_not_written(tmp_path):
    path = tmp_path / "p.onnx"
    with pytest.raises(InputError, match="classes"):
        save_program(path, small_program(classes=("one",)))
    assert list(tmp_path.iterdir()) == []


def test_the_hash_sees_every_part():
    program = small_program()
    layer = program.layers[0]
    weight = layer.weight.copy()
    weight[0, 0] = 3
    changed = [
        dataclasses.replace(program, name="other.any"),
        dataclasses.replace(program, costs={"a": 1}),
        dataclasses.replace(program, layers=(dataclasses.replace(layer, weight=weight),)),
        dataclasses.replace(program, layers=(dataclasses.replace(layer, lif=lif(2, spike_test=">")),)),
        dataclasses.replace(program, layers=(dataclasses.replace(layer, lif=lif(2, bias=int32(0, 1))),)),
    ]
    assert len({program_hash(p) for p in [program, *changed]}) == 6
    assert program_hash(small_program()) == program_hash(program)
    assert len(program_hash(program)) == len(hashlib.sha256().hexdigest())


def test_the_hash_of_meaning_outlives_words_and_versions():
    program = small_program()
    reworded = dataclasses.replace(
        program,
        name="other.name",
        dataset="other",
        costs={"warnings": ["in other words"]},
        provenance={"onnx": "9"},
    )
    assert program_hash(reworded) != program_hash(program)
    assert meaning_hash(reworded) == meaning_hash(program)
    first = program.layers[0]
    renamed = dataclasses.replace(
        program, layers=(dataclasses.replace(first, name="renamed"), *program.layers[1:])
    )
    assert meaning_hash(renamed) == meaning_hash(program)
    changed = first.weight.copy()
    changed.flat[0] = -changed.flat[0] or 1
    for change in (
        {"layers": (dataclasses.replace(first, weight=changed), *program.layers[1:])},
        {"preprocessing": dataclasses.replace(program.preprocessing, time_bins=9)},
    ):
        assert meaning_hash(dataclasses.replace(program, **change)) != meaning_hash(program)


def test_numbers_that_their_bits_cannot_hold_have_no_hash():
    for array, bits, message in (
        (np.array([9], np.int8), 4, "array: holds 9, which 4 bits cannot. Allowed: -8 to 7."),
        (np.array([-9], np.int8), 4, "array: holds -9, which 4 bits cannot. Allowed: -8 to 7."),
        (np.array([300], np.int16), 8, "array: is int16, but 8-bit numbers are kept as int8."),
        (np.array([1 << 32], np.int64), 32, "array: is int64, but 32-bit numbers are kept as int32."),
    ):
        with pytest.raises(InputError) as caught:
            to_raw(array, bits)
        assert str(caught.value) == message
    program = small_program()
    nine = np.full((2, 1), 9, np.int8)
    with pytest.raises(InputError):
        program_hash(
            dataclasses.replace(
                program, readout=dataclasses.replace(program.readout, weight=nine, weight_bits=4)
            )
        )
