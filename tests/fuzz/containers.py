"""Mutations that know a file's container: zip, tar, .npy, tensors, ONNX. What lies inside is changed, and packed anew."""

from __future__ import annotations

import ast
import gzip
import io
import random
import tarfile
import warnings
import zipfile
from collections.abc import Callable

import numpy as np
import torch

from tests.fuzz.mutation import MAX_BYTES, encoded, mutated_bytes, mutated_text, mutated_tree

Inner = Callable[[random.Random, str, bytes], bytes]
_NAMES = (
    "",
    "../x",
    "/x",
    "a\\b.bin",
    "Train/x/1.bin",
    "Train/\u00b2/1.bin",
    "Train/\u0661/1.bin",
    "Train/9/" + "x" * 300 + ".bin",
    "nul\0.bin",
    "__MACOSX/._1.bin",
    "Train/5/",
)


def mutated_zip(rng: random.Random, content: bytes, other: bytes, inner: Inner) -> bytes:
    """Change a member, its name, its packing or its number of copies; or the archive's bytes."""
    if rng.random() < 0.3:
        return mutated_bytes(rng, content, other)
    members = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = rng.randrange(len(members))
    name, data = members[at]
    kind = rng.randrange(10)
    if kind == 0:
        del members[at]
    elif kind == 1:
        members[at] = (rng.choice(_NAMES) or members[0][0], data)
    elif kind == 2:
        members.append((name, data[: len(data) // 2]))
    elif kind == 3:
        members[at] = (name, bytes(rng.choice((0, 5, 1 << 20, 64 << 20))))
    else:
        members[at] = (name, inner(rng, name, data))
    packing = rng.choice(
        (zipfile.ZIP_STORED,) * 4 + (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
    )
    if kind == 3:
        packing = zipfile.ZIP_DEFLATED
    target = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(target, "w", packing) as archive:
        warnings.simplefilter("ignore")  # of two members with one name
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name) if name else "x", data, packing)
    packed = target.getvalue()
    return mutated_bytes(rng, packed, other) if rng.random() < 0.15 else packed


def mutated_tar(rng: random.Random, content: bytes, other: bytes, inner: Inner) -> bytes:
    """As `mutated_zip`, for a tar.gz; also a member's kind, size, time and owner, and the headers' bytes."""
    if rng.random() < 0.15:
        return mutated_bytes(rng, content, other)
    plain = gzip.decompress(content)
    if rng.random() < 0.4:
        return gzip.compress(mutated_bytes(rng, plain, gzip.decompress(other)), 1)
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        members = [(info, (archive.extractfile(info).read() if info.isfile() else b"")) for info in archive]
    at = rng.randrange(len(members))
    info, data = members[at]
    kind = rng.randrange(7)
    if kind == 0:
        del members[at]
    elif kind == 1:
        info.name = rng.choice((*_NAMES[1:], "DvsGesture", "DvsGesture/trials_to_train.txt/x"))
    elif kind == 2:
        info.type = rng.choice(
            (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, b"?")
        )
        info.linkname = rng.choice(("/dev/zero", "../x", info.name, "DvsGesture"))
    elif kind == 3:
        info.mtime = rng.choice((-1, 2**40, 2**63 - 1, 0))
        info.mode = rng.choice((0, 0o7777, 0o444))
    else:
        members[at] = (info, inner(rng, info.name, data))
    target = io.BytesIO()
    with tarfile.open(
        fileobj=target, mode="w", format=rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    ) as archive:
        for info, data in members:
            info.size = len(data) if info.isfile() else 0
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(target.getvalue(), 1)


_KINDS = (
    "<i8",
    "<f8",
    "<f4",
    "|u1",
    ">i4",
    "|O",
    "|b1",
    "<c16",
    "<U5",
    "|V3",
    "<M8[s]",
    "<f2",
    "|S0",
    "?x",
    "<i8,<i8",
)
_SHAPES = (
    (),
    (0,),
    (0, 4),
    (4, 0),
    (-1, 4),
    (1, 4),
    (2**31, 4),
    (2**40, 4),
    (2**63, 4),
    (4,),
    (1, 1, 1, 4),
    (10**6, 10**6),
)


def mutated_npy(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Change the header's shape, type, order or text, or the numbers, or the bytes."""
    if rng.random() < 0.25 or content[:6] != b"\x93NUMPY":
        return mutated_bytes(rng, content, other)
    file = io.BytesIO(content)
    array = np.load(file, allow_pickle=False)
    if rng.random() < 0.4 and array.size:
        flat = (
            array.reshape(-1).copy() if array.dtype.names is None else array.copy().view(np.uint8).reshape(-1)
        )
        kind = flat.dtype
        for _ in range(rng.choice((1, 1, 5))):
            with np.errstate(all="ignore"):
                number = rng.choice(
                    (-1, 0.5, np.nan, np.inf, 1e15, 9.9e14, 2**62, 2**63 - 1, 32767, 32768, 128, 65535, 1e300)
                )
                if kind.kind != "f":
                    bits = np.iinfo(kind)
                    number = int(min(max(number, bits.min), bits.max)) if number == number else 0
                flat[rng.randrange(len(flat))] = number
        changed = flat.reshape(array.shape) if array.dtype.names is None else flat.view(array.dtype)
        target = io.BytesIO()
        if array.dtype.names is None:
            with np.errstate(all="ignore"):
                changed = changed.astype(rng.choice((kind, "<f8", "<f4", "<i8", "<u2", ">i4")))
        np.save(target, changed)
        return target.getvalue()
    size = int.from_bytes(content[8:10], "little")
    header, body = content[10 : 10 + size].decode("latin-1"), content[10 + size :]
    facts = ast.literal_eval(header.strip())
    kind = rng.randrange(5)
    if kind == 0:
        facts["shape"] = rng.choice(_SHAPES)
    elif kind == 1:
        facts["descr"] = rng.choice(
            (*_KINDS, [("x", "<i8"), ("y", "<i8")], [("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "|b1")])
        )
    elif kind == 2:
        facts["fortran_order"] = rng.choice((True, 1, None))
    elif kind == 3:
        facts.pop(rng.choice(list(facts)))
    text = repr(facts) if kind < 4 else mutated_text(rng, header)
    text = text.encode("utf-8", "replace")[: rng.choice((60_000, 60_000, 30))] + b"\n"
    return (
        content[:8] + len(text).to_bytes(2, "little") + text + body[: rng.choice((len(body), len(body), 7))]
    )


def _other_tensor(rng: random.Random, value: object) -> object:
    """Return a tensor of another type, shape, layout or with extreme numbers; a number as a tensor."""
    if not isinstance(value, torch.Tensor):
        return torch.tensor(1.5) if isinstance(value, (int, float)) and rng.random() < 0.2 else value
    # Changed before: few operations know such a layout, and an expanded tensor of 10^11 numbers fits no memory.
    if value.layout != torch.strided or value.numel() > 10**7:
        return value
    plain = value.detach().clone()
    kind = rng.randrange(10)
    if kind == 0:
        return plain.to(
            rng.choice(
                (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64)
            )
        )
    if kind == 1:
        return plain.reshape(-1)[: rng.choice((0, 1, 5))]
    if kind == 2:
        return plain[None]
    if kind == 3 and plain.dim() == 2:
        return plain.t()
    if kind == 4:
        return plain.to_sparse()
    if kind == 5:
        return torch.zeros(1).expand(rng.choice((10, 10**6, 10**11)))
    if kind == 6:
        return torch.nn.Parameter(plain.float())
    if kind == 7:
        return plain.tolist()
    if plain.numel() and plain.is_floating_point():
        plain.reshape(-1)[rng.randrange(plain.numel())] = rng.choice(
            (np.nan, np.inf, -np.inf, 3e38, -1.0, 0.0, 1e-45)
        )
    return plain


def mutated_tensors(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Change a checkpoint's values, its archive's members, or its bytes."""
    if rng.random() < 0.35:
        return mutated_zip(
            rng, content, other, lambda rng, name, data: mutated_bytes(rng, data, other[:1000])
        )
    tree = torch.load(io.BytesIO(content), weights_only=True)
    target = io.BytesIO()
    torch.save(mutated_tree(rng, tree, _other_tensor), target)
    return target.getvalue()[: 4 * MAX_BYTES]


def mutated_onnx(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Change a program's nodes, arrays, shapes, texts and manifest, or its bytes."""
    import onnx

    if rng.random() < 0.3:
        return mutated_bytes(rng, content, other)
    model = onnx.ModelProto.FromString(content)
    for _ in range(rng.choice((1, 1, 2))):
        _change_model(rng, model)
    return model.SerializeToString()[: 4 * MAX_BYTES]


def _change_model(rng: random.Random, model) -> None:
    graph, kind = model.graph, rng.randrange(9)
    if kind <= 2 and model.metadata_props:
        entry = rng.choice(model.metadata_props)
        entry.value = mutated_text(rng, entry.value).encode("utf-8", "replace").decode("utf-8")
        return
    if kind == 3 and graph.initializer:
        array = rng.choice(graph.initializer)
        array.raw_data = mutated_bytes(rng, array.raw_data, b"\xff" * 16)
    elif kind == 4 and graph.initializer:
        array = rng.choice(graph.initializer)
        if array.dims:
            array.dims[rng.randrange(len(array.dims))] = rng.choice((0, -1, 1, 2**31, 2**40, 2**62))
        else:
            array.dims.append(rng.choice((0, 5, 2**40)))
    elif kind == 5 and graph.initializer:
        rng.choice(graph.initializer).data_type = rng.choice((0, 1, 3, 7, 8, 9, 16, 22, 99))
    elif kind == 6 and graph.node:
        node = rng.choice(graph.node)
        field = rng.choice(("op_type", "name", "domain"))
        setattr(node, field, rng.choice(("", "Add", "Loop", "x" * 300, "\n")))
    elif kind == 7 and graph.node:
        nodes = rng.choice((graph.node, graph.initializer, model.opset_import, graph.input, graph.output))
        if nodes:
            at = rng.randrange(len(nodes))
            if rng.random() < 0.5:
                del nodes[at]
            else:
                nodes.add().CopyFrom(nodes[at])
    else:
        nodes = [node for function in model.functions for node in function.node] + list(graph.node)
        attributes = [attribute for node in nodes for attribute in node.attribute]
        if attributes:
            attribute = rng.choice(attributes)
            attribute.i = rng.choice((0, -1, 2**31, 2**62))
            if attribute.ints:
                attribute.ints[0] = rng.choice((0, -1, 2**31, 2**62))


def text_inside(rng: random.Random, name: str, data: bytes) -> bytes:
    """Change a member that holds text as text, any other as bytes."""
    if name.endswith((".csv", ".txt", ".json")):
        return encoded(rng, mutated_text(rng, data.decode("utf-8", "replace")))
    return mutated_bytes(rng, data, data)
