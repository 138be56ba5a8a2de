"""Programs on disk that are damaged, edited or of another version: refused with the reason."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sastdeploy import __version__
from sastdeploy.errors import InputError
from sastdeploy.program.file import (
    HASH_KEY,
    MANIFEST_KEY,
    VERSION_KEY,
    load_program,
    program_hash,
    program_model,
    read_manifest,
    save_program,
)
from sastdeploy.program.records import Program
from tests.small_programs import conv_program, int32, save_small_program, small_program


@pytest.fixture
def saved(tmp_path):
    return save_small_program(tmp_path)


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
            "8",
            f"has format version 8; this version reads 1 to 7. Install a newer sastdeploy than {__version__}, "
            "or compile the checkpoint again with this one.",
        ),
        ("0", "has format version 0; this version reads 1 to 7." + AGAIN),
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
