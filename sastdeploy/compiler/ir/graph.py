"""Graph: a chain of nodes from the input to the readout, with skips into weighted nodes, and the check that keeps it meaningful."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, cast

import numpy as np

from sastdeploy.compiler.ir.nodes import Input, Integrator, Lif, Node, Shape, Synapses, require
from sastdeploy.errors import CompileError


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in order of data flow; `check_graph` says what order and contents are valid. Equal where every field is.

    Each node takes what the node before it gives; what weighted nodes take from farther back stands in their ``further``.
    """

    name: str
    nodes: tuple[Node, ...]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph) or self.name != other.name or len(self.nodes) != len(other.nodes):
            return False
        return all(_same(a, b) for a, b in zip(self.nodes, other.nodes))

    __hash__ = None  # type: ignore[assignment]  # an object with == but no hash

    @property
    def input(self) -> Input:
        """The first node of a valid graph."""
        return cast(Input, self.nodes[0])

    def replace(self, nodes: tuple[Node, ...]) -> Graph:
        """Return the graph with other nodes."""
        return Graph(self.name, nodes)

    def map(self, fits: Mapping[type, Callable[[Any], Node]]) -> Graph:
        """Return the graph of ``fits[kind](node)`` for every node of a kind in ``fits``, a more special kind first.

        Raises:
            CompileError: the reasons of all nodes that are refused, not of the first alone.
        """
        nodes: list[Node] = []
        reasons: list[str] = []
        for node in self.nodes:
            fit = next((fits[kind] for kind in type(node).__mro__ if kind in fits), None)
            try:
                nodes.append(node if fit is None else fit(node))
            except CompileError as error:
                reasons += error.reasons
        if reasons:
            raise CompileError(*reasons)
        return self.replace(tuple(nodes))

    def map_spiking(self, change: Callable[[Lif], Lif]) -> Graph:
        """Return the graph with its neurons that spike changed; integrators stay as they are."""
        return self.map({Integrator: lambda node: node, Lif: change})


@dataclass(frozen=True)
class Stage:
    """A weighted node of a valid graph, and what stands around it.

    Args:
        lif: the neurons behind it; None of the readout.
        before, after: shapes ``(C, H, W)`` of its inputs and outputs. largest: of its sum's inputs, as integers from 0.
        further: shape and largest value of each of its further inputs.
    """

    node: Synapses
    lif: Lif | None
    before: Shape
    after: Shape
    largest: int
    further: tuple[tuple[Shape, int], ...] = ()

    @property
    def inputs(self) -> tuple[tuple[Synapses, Shape], ...]:
        """Its weights with the shape of what they take: its own, then its further ones."""
        return ((self.node, self.before), *zip(self.node.further, (before for before, _ in self.further)))

    @property
    def most_spikes(self) -> int:
        """The most spikes that a neuron behind it sends in a step."""
        return 1 if self.lif is None else self.lif.max_spikes

    @property
    def spiking(self) -> Lif | None:
        """The neurons behind it, where they send spikes."""
        return self.lif if self.lif is not None and self.lif.gives == "spikes" else None


def stages(graph: Graph) -> tuple[Stage, ...]:
    """Return every weighted node, first to last.

    The largest input is ``c_clip`` (counts), the most spikes of a neuron in a step, times the window's size (a pool of either), and for the readout a
    count over all steps, and over all positions of a channel where it pools.
    """
    result: list[Stage] = []
    largest, before, time_bins = 1, (0, 0, 0), graph.input.time_bins
    sent: dict[str, tuple[Shape, int]] = {}
    for node, follower, after in zip(graph.nodes, (*graph.nodes[1:], None), shapes(graph)):
        if isinstance(node, Synapses):
            lif = follower if isinstance(follower, Lif) else None
            most = node.largest_input(largest, before, time_bins)
            further = tuple(sent[each.name] for each in node.further)
            result.append(Stage(node, lif, before, after, most, further))
        largest, before = node.largest_output(largest), after
        sent[node.name] = after, largest
    return tuple(result)


def _same(a: Node, b: Node) -> bool:
    if type(a) is not type(b):
        return False
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
            if type(x) is not type(y) or x.dtype != y.dtype or not np.array_equal(x, y):
                return False
        elif field.name == "further":
            if len(x) != len(y) or not all(map(_same, x, y)):
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


def check_graph(graph: Graph) -> None:
    """Accept a graph that means something: order, shapes, finite values, known semantics, integers in range.

    Raises:
        InputError: naming the node and the rule.
    """
    nodes = graph.nodes
    require(
        bool(nodes) and not nodes[0].takes,
        nodes[0] if nodes else None,
        "must begin with an input",
    )
    require(nodes[-1].gives == "scores", nodes[-1], "must end with a readout")
    names = [node.name for node in nodes]
    for node, name in zip(nodes, names):
        require(bool(name) and names.count(name) == 1, node, "names must be unique and not empty")
    for before, node in pairwise(nodes):
        require(before.gives in node.takes, node, f"may not follow {before.kind} {before.name}")
    earlier: dict[str, tuple[str, Shape]] = {}
    for node, shape in zip(nodes, shapes(graph)):
        if isinstance(node, Synapses):
            _check_further(node, shape, earlier)
        node.check(shape)
        earlier[node.name] = node.gives, shape


def _check_further(node: Synapses, shape: Shape, earlier: Mapping[str, tuple[str, Shape]]) -> None:
    """Accept further inputs from the input or from neurons that spike, with weights that give sums of ``shape``."""
    for each in node.further:
        kind = node.further_kind
        require(bool(kind), node, "takes no further inputs; dense, recurrent and conv2d nodes do")
        require(
            each.kind == kind and not each.further, node, f"a further input must be a {kind} without others"
        )
        gives, before = earlier.get(each.name, ("nothing", shape))
        require(
            gives in ("values", "spikes"),
            node,
            f"further input '{each.name}': no input or spiking neurons of that name before it",
        )
        own = each.output_shape(before)
        require(own == shape, node, f"further input '{each.name}' gives {own}, not {shape}")
