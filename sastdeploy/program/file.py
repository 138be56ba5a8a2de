"""Programs on disk: one standard ONNX file each (the format is specified in `sastdeploy.program.records`)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sastdeploy import __version__
from sastdeploy._files.atomic import write_bytes
from sastdeploy._files.reading import bounded, read_bytes, reason
from sastdeploy.errors import InputError
from sastdeploy.program.arrays import from_raw, program_arrays, to_raw
from sastdeploy.program.check import check_program
from sastdeploy.program.onnx_graph import build_model
from sastdeploy.program.records import FORMAT_VERSION, KINDS, Program, Readout
from sastdeploy.recordings.preprocessing import Preprocessing

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

PRODUCER = "sastdeploy"
VERSION_KEY = "sastdeploy.format_version"
MANIFEST_KEY = "sastdeploy.manifest"
HASH_KEY = "sastdeploy.content_sha256"
MAX_BYTES = (1 << 31) - 1
AGAIN = "Compile the checkpoint again with 'sastdeploy compile'."


def save_program(path: Path | str, program: Program, *, force: bool = False) -> None:
    """Write the program as one ONNX file, whole or not at all; the same program gives the same bytes.

    Args:
        path: of the ONNX file.
        program: every range is proven before it is written.
        force: replace another file that is there.

    Raises:
        InputError: a range of the program cannot be proven, the path cannot be written, or without
            ``force`` another file is there.

    Example::

        save_program("mine.onnx", compile(checkpoint).program)
    """
    check_program(program)
    write_bytes(path, program_model(program).SerializeToString(deterministic=True), force=force)


def load_program(path: Path | str) -> Program:
    """Return the verified program in the file; nothing in the file is executed and no other file is read.

    Args:
        path: of a file that `save_program` or ``sastdeploy compile`` wrote.

    Raises:
        InputError: the file is missing, unreadable, not ONNX, not a program of this format version, or differs in
            any part of graph, manifest or arrays from what `save_program` writes.

    Example::

        program = load_program("program.onnx")
        print(program.name, program.classes, program.preprocessing.frame_shape)
    """
    path = Path(path)
    model = _read_model(path)
    manifest = _manifest_of(path, model)
    stored = _metadata_of(path, model)
    try:
        program = _program_from(manifest, _read_arrays(path, manifest, model))
        if stored.get(HASH_KEY) != program_hash(program):
            _refuse(path, "the content hash does not match the content, so the file is damaged or was edited")
        check_program(program)
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(f"{path}: ") else f"{path}: {text}") from error
    except Exception as error:  # whatever a value of another kind leads to
        _refuse(path, f"the file is damaged ({type(error).__name__}: {reason(error)})", cause=error)
    if all(model != program_model(program, model.producer_version, earlier) for earlier in (False, True)):
        _refuse(path, "the graph is not the one its manifest and arrays describe, so it was edited")
    return program


def read_manifest(path: Path | str) -> dict[str, Any]:
    """Return the manifest without checking arrays or graph: a cheap look at what a file claims to be.

    Raises:
        InputError: the file is missing, unreadable, not ONNX, or not a program of this format version.
    """
    path = Path(path)
    return _manifest_of(path, _read_model(path))


def program_hash(program: Program) -> str:
    """Return the SHA-256 (hex) of manifest and arrays; two programs are equal exactly when their hashes are.

    Raises:
        InputError: an array holds what its bits cannot.
    """
    digest = hashlib.sha256(canonical_manifest(program).encode("ascii"))
    for name, (array, bits) in program_arrays(program).items():
        digest.update(f"\n{name} {bits} {list(array.shape)}\n".encode("ascii"))
        digest.update(to_raw(array, bits))
    return digest.hexdigest()


def meaning_hash(program: Program) -> str:
    """Return the SHA-256 (hex) of what decides the integers: preprocessing, layers, readout and arrays.

    Names, texts, the profile, provenance and costs are left out: a reworded warning, another version of a library or
    another data set's name change `program_hash`, and not this. Equal here: the same integers on the same recordings.
    """
    parts = (*program.layers, program.readout)
    records = [{key: value for key, value in part.record().items() if key != "name"} for part in parts]
    digest = hashlib.sha256(
        _canonical({"preprocessing": program.preprocessing.to_dict(), "parts": records}).encode("ascii")
    )
    for number, part in enumerate(parts):
        for field, (array, bits) in part.arrays().items():
            digest.update(f"\n{number}/{field} {bits} {list(array.shape)}\n".encode("ascii"))
            digest.update(to_raw(array, bits))
    return digest.hexdigest()


def program_model(
    program: Program, producer_version: str = __version__, sign_node: bool = False
) -> ModelProto:
    """Return the complete ONNX model of a verified program: the graph and its metadata.

    ``sign_node``: in the earlier form of programs that round toward zero.
    """
    model = build_model(program, sign_node)
    model.producer_name, model.producer_version = PRODUCER, producer_version
    metadata = {
        VERSION_KEY: str(format_version(program)),
        MANIFEST_KEY: canonical_manifest(program),
        HASH_KEY: program_hash(program),
    }
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    return model


def format_version(program: Program) -> int:
    """Return the oldest format version that holds the program, in which it is written."""
    return max(part.since_format for part in (*program.layers, program.readout))


def canonical_manifest(program: Program) -> str:
    """Return every field that is no array as JSON text: ASCII, sorted keys, no spaces, shortest floats."""
    return _canonical(
        {
            "name": program.name,
            "dataset": program.dataset,
            "classes": list(program.classes),
            "preprocessing": program.preprocessing.to_dict(),
            "layers": [layer.record() for layer in program.layers],
            "readout": program.readout.record(),
            "profile": program.profile,
            "provenance": program.provenance,
            "costs": program.costs,
        }
    )


def _canonical(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _refuse(path: Path, fault: str, todo: str = AGAIN, cause: Exception | None = None) -> NoReturn:
    raise InputError(f"{path}: {fault}. {todo}") from cause


def _read_model(path: Path) -> ModelProto:
    import onnx

    try:
        content = read_bytes(path, limit=MAX_BYTES)
    except InputError as error:
        raise InputError(f"{error} Name a program written by 'sastdeploy compile' (.onnx).") from error
    if not content:
        _refuse(path, "is empty")
    try:
        model: ModelProto = onnx.ModelProto.FromString(content)
    except Exception as error:  # DecodeError, RuntimeError, ValueError, ...
        _refuse(path, "is not an ONNX file, or is cut off", cause=error)
    if not model.HasField("graph"):
        _refuse(path, "is not an ONNX file, or is cut off")
    return model


def _metadata_of(path: Path, model: ModelProto) -> dict[str, str]:
    stored = {entry.key: entry.value for entry in model.metadata_props}
    # protobuf hands over text that is not UTF-8 as bytes.
    if not all(isinstance(text, str) for text in (model.producer_version, *stored, *stored.values())):
        _refuse(path, "its metadata is not UTF-8 text, so the file is damaged")
    return stored


def _manifest_of(path: Path, model: ModelProto) -> dict[str, Any]:
    stored = _metadata_of(path, model)
    if VERSION_KEY not in stored or MANIFEST_KEY not in stored:
        _refuse(path, f"is an ONNX model but not a sastdeploy program (it has no {VERSION_KEY})")
    version = stored[VERSION_KEY]
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        _refuse(path, f"the format version is '{version[:80]}', not a whole number, so the file is damaged")
    if int(version) > FORMAT_VERSION:
        todo = (
            f"Install a newer sastdeploy than {__version__}, or compile the checkpoint again with this one."
        )
        _refuse(path, f"has format version {version}; this version reads 1 to {FORMAT_VERSION}", todo)
    if int(version) < 1:
        _refuse(path, f"has format version {version}; this version reads 1 to {FORMAT_VERSION}")
    try:
        manifest = json.loads(stored[MANIFEST_KEY])
        if (
            not isinstance(manifest, dict)
            or not bounded(manifest)
            or _canonical(manifest) != stored[MANIFEST_KEY]
        ):
            raise ValueError("not in the canonical form")
    except (ValueError, RecursionError) as error:
        _refuse(path, f"the manifest is damaged ({error})", cause=error)
    return manifest


def _read_arrays(
    path: Path, manifest: dict[str, Any], model: ModelProto
) -> dict[str, NDArray[np.signedinteger]]:
    """Return the initializers that the manifest asks for, each of the expected type, shape and size."""
    expected: dict[str, tuple[tuple[int, ...], int]] = {}
    kinds = [(record, _kind_of(record)) for record in manifest["layers"]]
    for record, kind in (*kinds, (manifest["readout"], Readout)):
        expected |= {f"{record['name']}/{field}": part for field, part in kind.array_shapes(record).items()}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in expected:
        if name not in tensors:
            _refuse(path, f"the array '{name}' is missing")
    if len(tensors) != len(model.graph.initializer) or set(tensors) != set(expected):
        extra = sorted(set(tensors) - set(expected)) or sorted(tensors)
        _refuse(path, f"there is an array too many ('{extra[0][:80]}')")
    return {name: _read_array(path, tensors[name], *expected[name]) for name in expected}


def _read_array(
    path: Path, tensor: TensorProto, shape: tuple[int, ...], bits: int
) -> NDArray[np.signedinteger]:
    from onnx import TensorProto

    kind = {4: "INT4", 8: "INT8", 32: "INT32"}[bits]
    where = f"the array '{tensor.name}'"
    if tensor.data_location != TensorProto.DEFAULT or tensor.external_data:
        _refuse(path, f"{where} lies in another file, which a program never does")
    if tensor.data_type != getattr(TensorProto, kind):
        _refuse(path, f"{where} has ONNX type {tensor.data_type}; allowed: {kind}")
    if tuple(tensor.dims) != shape:
        _refuse(path, f"{where} has shape {list(tensor.dims)}; the manifest says {list(shape)}")
    expected = (int(np.prod(shape, dtype=object)) * bits + 7) // 8
    if len(tensor.raw_data) != expected:
        _refuse(path, f"{where} has {len(tensor.raw_data)} bytes of raw data; allowed: {expected}")
    return from_raw(tensor.raw_data, shape, bits)


def _program_from(manifest: dict[str, Any], arrays: dict[str, NDArray[np.signedinteger]]) -> Program:
    layers, readout = manifest["layers"], manifest["readout"]
    return Program(
        name=manifest["name"],
        preprocessing=Preprocessing.from_dict(manifest["preprocessing"]),
        layers=tuple(_kind_of(record).from_record(record, _arrays_of(record, arrays)) for record in layers),
        readout=Readout.from_record(readout, _arrays_of(readout, arrays)),
        classes=tuple(manifest["classes"]),
        dataset=manifest["dataset"],
        profile=manifest["profile"],
        provenance=manifest["provenance"],
        costs=manifest["costs"],
    )


def _kind_of(record: dict[str, Any]) -> Any:
    kind = record["kind"]
    if kind not in KINDS:
        raise ValueError(f"layer kind {kind!r}")
    return KINDS[kind]


def _arrays_of(
    record: dict[str, Any], arrays: dict[str, NDArray[np.signedinteger]]
) -> dict[str, NDArray[np.signedinteger]]:
    prefix = f"{record['name']}/"
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
