"""Programs on disk: standard ONNX, the same bytes every time, refused with the reason when anything is off."""

import dataclasses
import hashlib
import json
import textwrap
import time

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from program_strategies import frames_for, programs

import sastdeploy.program.records
from sastdeploy import __version__
from sastdeploy.errors import InputError
from sastdeploy.program.arrays import from_raw, to_raw
from sastdeploy.program.file import (
    HASH_KEY,
    MANIFEST_KEY,
    VERSION_KEY,
    load_program,
    meaning_hash,
    program_hash,
    program_model,
    read_manifest,
    save_program,
)
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.records import ConvLif, DenseLif, Lif, Program, Readout, SumPool
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.simulator import reference

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def int32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def lif(channels: int, **changes) -> Lif:
    fields = {
        "multiplier": np.full(channels, 3, np.int32),
        "shift": np.full(channels, 1, np.int32),
        "bias": np.zeros(channels, np.int32),
        "threshold": np.full(channels, 4, np.int32),
        "leak_multiplier": 1,
        "leak_shift": 1,
        "leak_rounding": Rounding.FLOOR,
        "membrane": QFormat(8, 8),
        "overflow": Overflow.SATURATE,
    }
    return Lif(**{**fields, **changes})


def small_program(**changes) -> Program:
    """One dense INT4 layer of two neurons on a 1 x 1 x 2 frame, two bins, two classes."""
    layer = DenseLif("hidden", np.array([[1, 2], [-3, 7]], np.int8), 4, lif(2))
    readout = Readout(
        "readout",
        np.array([[5, -6], [100, 127]], np.int8),
        8,
        int32(1, 1),
        int32(0, 1),
        int32(0, -7),
        8,
        False,
    )
    fields = {
        "name": "small.any",
        "preprocessing": Preprocessing((2, 1, 1), (2, 1), 2, 3, 3.0),
        "layers": (layer,),
        "readout": readout,
        "classes": ("left", "right"),
        "dataset": "nmnist-sim",
        "profile": {"name": "any"},
        "provenance": {"seed": 0},
        "costs": {},
    }
    return Program(**{**fields, **changes})


def conv_program() -> Program:
    weight = np.arange(-9, 9, dtype=np.int8).reshape(2, 1, 3, 3)
    return small_program(
        preprocessing=Preprocessing((4, 4, 1), (4, 4), 2, 1, 1.0),
        layers=(
            ConvLif("conv", weight, 8, (1, 1), (1, 1), lif(2)),
            SumPool("pool", 2),
            DenseLif("dense", np.ones((2, 8), np.int8), 2, lif(2)),
        ),
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "small.onnx"
    save_program(path, small_program())
    return path


def edit(path, change) -> None:
    """Apply ``change`` to the model in the file, as a tool that knows ONNX but not our rules would."""
    model = onnx.ModelProto.FromString(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def set_metadata(model, key: str, value: str) -> None:
    for entry in model.metadata_props:
        if entry.key == key:
            entry.value = value


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        load_program(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


AGAIN = " Compile the checkpoint again with 'sastdeploy compile'."


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
        if not isinstance(ours, SumPool):
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
    traced = tuple(layer.name for layer in program.layers if not isinstance(layer, SumPool))
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


def test_missing_folder_empty_and_foreign_files_are_refused(tmp_path):
    assert refusal(tmp_path / "no.onnx") == (
        "cannot be read (No such file or directory). Name a program written by 'sastdeploy compile' (.onnx)."
    )
    assert (
        refusal(tmp_path)
        == "is a folder. Name a file. Name a program written by 'sastdeploy compile' (.onnx)."
    )
    path = tmp_path / "p.onnx"
    path.write_bytes(b"")
    assert refusal(path) == "is empty." + AGAIN
    for junk in (b"hello, world\n" * 9, b"\x80\x04\x95pickle", b"PK\x03\x04", b"\x00" * 64):
        path.write_bytes(junk)
        assert refusal(path) == "is not an ONNX file, or is cut off." + AGAIN
    node = helper.make_node("Relu", ["x"], ["y"])
    values = [helper.make_tensor_value_info(v, TensorProto.FLOAT, [1]) for v in "xy"]
    onnx.save(helper.make_model(helper.make_graph([node], "g", values[:1], values[1:])), path)
    assert refusal(path) == (
        "is an ONNX model but not a sastdeploy program (it has no sastdeploy.format_version)." + AGAIN
    )


def test_an_unreadable_file_is_refused(saved, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sastdeploy._files.reading.os.open", denied)
    assert refusal(saved) == (
        "cannot be read (Permission denied). Name a program written by 'sastdeploy compile' (.onnx)."
    )


@pytest.mark.parametrize(
    "version, expected",
    [
        (
            "5",
            f"has format version 5; this version reads 1 to 4. Install a newer sastdeploy than {__version__}, "
            "or compile the checkpoint again with this one.",
        ),
        ("0", "has format version 0; this version reads 1 to 4." + AGAIN),
        ("one", "the format version is 'one', not a whole number, so the file is damaged." + AGAIN),
        ("-1", "the format version is '-1', not a whole number, so the file is damaged." + AGAIN),
    ],
)
def test_other_format_versions_are_refused(saved, version, expected):
    edit(saved, lambda model: set_metadata(model, VERSION_KEY, version))
    assert refusal(saved) == expected
    with pytest.raises(InputError):
        read_manifest(saved)


@pytest.mark.parametrize(
    "manifest, expected",
    [
        ("{", "the manifest is damaged (Expecting property name enclosed in double quotes: "),
        ("[]", "the manifest is damaged (not in the canonical form)." + AGAIN),
        ('{"a": 1}', "the manifest is damaged (not in the canonical form)." + AGAIN),
        ('{"a":1,"a":1}', "the manifest is damaged (not in the canonical form)." + AGAIN),
        ('{"a":NaN}', "the manifest is damaged (Out of range float values are not JSON compliant"),
        ("{}", "the file is damaged (KeyError: 'layers')." + AGAIN),
        ("[" * 100000, "the manifest is damaged ("),
    ],
)
def test_a_damaged_manifest_is_refused(saved, manifest, expected):
    edit(saved, lambda model: set_metadata(model, MANIFEST_KEY, manifest))
    assert refusal(saved).startswith(expected)


def _initializer(model, name: str):
    return next(t for t in model.graph.initializer if t.name == name)


def _external(model):
    tensor = _initializer(model, "hidden/weight")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


ARRAY_DAMAGE = {
    "missing": (
        lambda m: m.graph.initializer.remove(_initializer(m, "hidden/bias")),
        "the array 'hidden/bias' is missing.",
    ),
    "extra": (
        lambda m: m.graph.initializer.append(TensorProto(name="x/y", data_type=6, dims=[0])),
        "there is an array too many ('x/y').",
    ),
    "twice": (
        lambda m: m.graph.initializer.append(_initializer(m, "hidden/bias")),
        "there is an array too many ('hidden/bias').",
    ),
    "shape": (
        lambda m: _initializer(m, "hidden/weight").dims.__setitem__(1, 3),
        "the array 'hidden/weight' has shape [2, 3]; the manifest says [2, 2].",
    ),
    "type": (
        lambda m: setattr(_initializer(m, "hidden/shift"), "data_type", TensorProto.FLOAT),
        "the array 'hidden/shift' has ONNX type 1; allowed: INT32.",
    ),
    "short": (
        lambda m: setattr(_initializer(m, "hidden/shift"), "raw_data", b"\x00" * 7),
        "the array 'hidden/shift' has 7 bytes of raw data; allowed: 8.",
    ),
    "external": (_external, "the array 'hidden/weight' lies in another file, which a program never does."),
    "value": (
        lambda m: setattr(_initializer(m, "hidden/weight"), "raw_data", b"\x11\x11"),
        "the content hash does not match the content, so the file is damaged or was edited.",
    ),
}


@pytest.mark.parametrize("damage", ARRAY_DAMAGE)
def test_damaged_arrays_are_refused(saved, damage):
    change, expected = ARRAY_DAMAGE[damage]
    edit(saved, change)
    assert refusal(saved) == expected + AGAIN


GRAPH_EDITS = {
    "node": lambda m: m.graph.node.add(op_type="Identity", input=["scores"], output=["more"]),
    "attribute": lambda m: setattr(m.graph.node[0], "doc_string", "x"),
    "function": lambda m: setattr(m.functions[0].node[-1], "op_type", "Mul"),
    "opset": lambda m: setattr(m.opset_import[0], "version", 22),
    "output": lambda m: m.graph.output.pop(),
    "metadata": lambda m: m.metadata_props.add(key="note", value="x"),
    "producer": lambda m: setattr(m, "producer_name", "other"),
    "sparse": lambda m: m.graph.sparse_initializer.add(),
    "manifest hash": lambda m: m.metadata_props.add(key=HASH_KEY, value=program_hash(small_program())),
}


@pytest.mark.parametrize("change", GRAPH_EDITS)
def test_an_edited_graph_is_refused(saved, change):
    edit(saved, GRAPH_EDITS[change])
    assert refusal(saved) == (
        "the graph is not the one its manifest and arrays describe, so it was edited." + AGAIN
    )


def test_a_consistent_file_with_an_invalid_program_is_refused_by_the_verifier(tmp_path):
    # A tool that computes hash and graph itself gets past those checks, not past the check.
    wrong = dataclasses.replace(small_program().layers[0].lif, threshold=int32(4, 0))
    layer = dataclasses.replace(small_program().layers[0], lif=wrong)
    path = tmp_path / "p.onnx"
    path.write_bytes(program_model(small_program(layers=(layer,))).SerializeToString())
    assert refusal(path).startswith("layer 'hidden': threshold[1] is 0. Allowed: 1 to 32767.")


def _fuzzed(program: Program, path, rng, flips: int) -> int:
    """Return how many damaged versions of the file were refused; the others must be the same program."""
    save_program(path, program, force=True)
    good, wanted, refused = path.read_bytes(), program_hash(program), 0
    for case in range(flips):
        bad = bytearray(good)
        if case % 4 == 3:
            bad = bad[: rng.integers(len(bad))]
        else:
            for place in rng.integers(0, len(bad), case % 4 + 1):
                bad[place] ^= 1 << int(rng.integers(8)) if case % 2 else int(rng.integers(1, 256))
        path.write_bytes(bytes(bad))
        try:
            assert program_hash(load_program(path)) == wanted
        except InputError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
    return refused


def test_text_that_is_not_utf8_is_refused(saved):
    good = saved.read_bytes()
    damaged = "its metadata is not UTF-8 text, so the file is damaged." + AGAIN
    for text in (__version__.encode(), b"sastdeploy.content_sha256", b"sastdeploy.format_version"):
        saved.write_bytes(good.replace(text, b"\x8a" * len(text), 1))
        assert refusal(saved) == damaged
    saved.write_bytes(good.replace(b"hidden/bias", b"hidden/bia\x8a"))
    assert refusal(saved) == "the array 'hidden/bias' is missing." + AGAIN
    saved.write_bytes(good.replace(b"hidden/acc", b"hidden/ac\x8a"))
    assert refusal(saved).startswith("the graph is not the one its manifest and arrays describe")


@pytest.mark.slow
@pytest.mark.parametrize("make", [small_program, conv_program])
def test_flipped_bytes_and_cut_files_never_give_another_program(make, tmp_path):
    refused = _fuzzed(make(), tmp_path / "p.onnx", np.random.default_rng(7), 600)
    assert refused > 500


def _leaves(value, path=()):
    """Yield the path of every value in a manifest, containers included."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _leaves(item, (*path, key))


JUNK = (None, True, -1, 0, 2, 1 << 70, 1e300, "x", "Q99.9", "conv", [], [1, 1], {})


NOT_IN_GRAPH = {
    *("name", "dataset", "classes", "profile", "provenance", "costs"),
    *("sensor_size", "divisor", "fraction_bits", "weight_bits"),
}
"""Fields that the hash alone protects: they change no integer."""


@pytest.mark.parametrize("make", [small_program, conv_program])
def test_no_manifest_breaks_the_reader(make, tmp_path, monkeypatch):
    # The hash is held constant, so that every wrong value reaches the records, the verifier and the graph.
    monkeypatch.setattr("sastdeploy.program.file.program_hash", lambda program: "0")
    path = tmp_path / "p.onnx"
    save_program(path, make(), force=True)
    good = path.read_bytes()
    manifest = read_manifest(path)
    refused = accepted = 0
    for place in _leaves(manifest):
        for value in (*JUNK, KeyError):
            wrong = json.loads(json.dumps(manifest))
            holder = wrong
            for key in place[:-1]:
                holder = holder[key]
            if value is KeyError:
                del holder[place[-1]]
            else:
                holder[place[-1]] = value
            path.write_bytes(good)
            text = json.dumps(wrong, sort_keys=True, separators=(",", ":"))
            edit(path, lambda model, text=text: set_metadata(model, MANIFEST_KEY, text))
            try:
                load_program(path)
                accepted += 1
                assert wrong == manifest or NOT_IN_GRAPH & set(place), (place, value)
            except InputError as error:
                assert str(error).startswith(f"{path}: ")
                refused += 1
    assert refused > 5 * accepted


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
