"""Graph: a chain of nodes from the input to the readout, and the verifier that keeps it meaningful."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from sastdeploy.compiler.ir.nodes import Input, Node, Readout, Shape, require
from sastdeploy.errors import CompileError


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in order of data flow; `verify` says what order and contents are valid. Equal where every field is."""

    name: str
    nodes: tuple[Node, ...]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph) or self.name != other.name or len(self.nodes) != len(other.nodes):
            return False
        return all(_same(a, b) for a, b in zip(self.nodes, other.nodes))

    __hash__ = None  # type: ignore[assignment]  # an object with == but no hash

    def replace(self, nodes: tuple[Node, ...]) -> Graph:
        """Return the graph with other nodes."""
        return Graph(self.name, nodes)

    def map(self, fit: Callable[[Node], Node]) -> Graph:
        """Return the graph of ``fit(node)`` for every node.

        Raises:
            CompileError: the reasons of all nodes that are refused, not of the first alone.
        """
        nodes: list[Node] = []
        reasons: list[str] = []
        for node in self.nodes:
            try:
                nodes.append(fit(node))
            except CompileError as error:
                reasons += error.reasons
        if reasons:
            raise CompileError(*reasons)
        return self.replace(tuple(nodes))


def _same(a: Node, b: Node) -> bool:
    if type(a) is not type(b):
        return False
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
            if type(x) is not type(y) or x.dtype != y.dtype or not np.array_equal(x, y):
                return False
        elif x != y:
            return False
    return True


def shapes(graph: Graph) -> tuple[Shape, ...]:
    """Return the output shape ``(C, H, W)`` of every node.

    Raises:
        InputError: a node does not fit what precedes it.
    """
    shape: Shape = (0, 0, 0)
    result = []
    for node in graph.nodes:
        shape = node.output_shape(shape)
        result.append(shape)
    return tuple(result)


def verify(graph: Graph) -> None:
    """Accept a graph that means something: order, shapes, finite values, known semantics, integers in range.

    Raises:
        InputError: naming the node and the rule.
    """
    nodes = graph.nodes
    require(
        bool(nodes) and isinstance(nodes[0], Input),
        nodes[0] if nodes else None,
        "must begin with an input",
    )
    require(isinstance(nodes[-1], Readout), nodes[-1], "must end with a readout")
    names = [node.name for node in nodes]
    for node, name in zip(nodes, names):
        require(bool(name) and names.count(name) == 1, node, "names must be unique and not empty")
    for before, node in pairwise(nodes):
        require(before.gives in node.takes, node, f"may not follow {before.kind} {before.name}")
    for node, shape in zip(nodes, shapes(graph)):
        node.check(shape)
