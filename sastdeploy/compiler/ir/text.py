"""The graph as text: one node per line, tensors by content hash (small ones written out); it parses back to the equal graph.

``layers.0 = dense {"weight": "f8[168,2312]@93ab...", "gain": 0.25, ...}``; the tensors travel beside the text. A further input stands
in its node's line, as a line of its own.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files.reading import reason
from sastdeploy.compiler.ir.graph import Graph, check_graph
from sastdeploy.compiler.ir.nodes import NODES, Node
from sastdeploy.errors import InputError

_INLINE = 16
_DTYPES = {"f8": np.float64, "i1": np.int8, "i4": np.int32}


def print_graph(graph: Graph) -> tuple[str, dict[str, NDArray[Any]]]:
    """Return the text and the tensors that it names, by hash. Fields at their default are left out."""
    tensors: dict[str, NDArray[Any]] = {}
    lines = [f"graph {graph.name}"]
    lines += [_print_node(node, tensors) for node in graph.nodes]
    return "\n".join(lines) + "\n", tensors


def _print_node(node: Node, tensors: dict[str, NDArray[Any]]) -> str:
    values = {}
    for field in fields(node):
        value = getattr(node, field.name)
        is_default = not isinstance(value, np.ndarray) and value == field.default
        if field.name != "name" and not is_default:
            values[field.name] = _print_value(value, tensors)
    return f"{node.name} = {node.kind} {json.dumps(values)}"


def _print_value(value: Any, tensors: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, tuple):
        return [_print_value(each, tensors) for each in value]
    if type(value) in NODES.values():
        return {"node": _print_node(value, tensors)}
    if not isinstance(value, np.ndarray):
        return value
    head = f"{value.dtype.str[1:]}[{','.join(map(str, value.shape))}]"
    if value.size <= _INLINE:
        return {head: value.reshape(-1).tolist()}
    digest = hashlib.sha256(head.encode() + np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
    tensors[digest] = value
    return f"{head}@{digest}"


def parse_graph(text: str, tensors: dict[str, NDArray[Any]], where: str = "graph") -> Graph:
    """Return the verified graph of a text and its tensors.

    Raises:
        InputError: naming the line: another form, an unknown kind or field, a missing tensor; or as `check_graph`.
    """
    lines = text.splitlines()
    if not lines or not lines[0].startswith("graph "):
        raise InputError(f"{where}: line 1: expected 'graph NAME'.")
    nodes = []
    for number, line in enumerate(lines[1:], 2):
        try:
            nodes.append(_parse_node(line, tensors))
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise InputError(f"{where}: line {number}: not a node ({reason(error)}).") from error
    graph = Graph(lines[0].removeprefix("graph "), tuple(nodes))
    try:
        check_graph(graph)
    except (TypeError, AttributeError, ValueError, LookupError, ArithmeticError) as error:
        raise InputError(f"{where}: a value has the wrong type ({error}).") from error
    return graph


def _parse_node(line: str, tensors: dict[str, NDArray[Any]]) -> Node:
    name, rest = line.split(" = ", 1)
    kind, values = rest.split(" ", 1)
    if kind not in NODES:
        raise ValueError(f"unknown kind '{kind}'; allowed: {', '.join(NODES)}")
    read = {
        key: _parse_value(value, tensors)
        for key, value in json.loads(values, object_pairs_hook=_once).items()
    }
    return NODES[kind](name=name, **read)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    once: dict[str, Any] = {}
    for name, value in pairs:
        if name in once:
            raise ValueError(f"'{name}' stands twice")
        once[name] = value
    return once


def _parse_value(value: Any, tensors: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, list):
        return tuple(_parse_value(each, tensors) for each in value)
    if isinstance(value, dict):
        ((head, items),) = value.items()
        if head == "node":
            return _parse_node(items, tensors)
        return np.array(items, _DTYPES[head[:2]]).reshape(_shape(head))
    if isinstance(value, str) and "@" in value:
        head, digest = value.split("@")
        if digest not in tensors:
            raise ValueError(f"tensor {digest} is missing")
        tensor = tensors[digest]
        if tensor.dtype != _DTYPES[head[:2]] or tensor.shape != _shape(head):
            raise ValueError(f"tensor {digest} is not {head}")
        return tensor
    return value


def _shape(head: str) -> tuple[int, ...]:
    return tuple(int(size) for size in head[3:-1].split(",") if size)
