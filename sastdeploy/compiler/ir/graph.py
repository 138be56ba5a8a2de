"""Graph: nodes from the input to the readout, one after another or side by side, with skips into weighted nodes, and the check that keeps it meaningful."""

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

    Each node takes what the node before it gives, or what its ``source`` does; what weighted nodes take beside that stands in their
    ``further``.
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
        heard: the names of the input or the weighted nodes whose values, or neurons' spikes, it takes: first its own, then the
            further ones; past pools and delays.
    """

    node: Synapses
    lif: Lif | None
    before: Shape
    after: Shape
    largest: int
    further: tuple[tuple[Shape, int], ...] = ()
    heard: tuple[str, ...] = ()

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

    The largest input is ``c_clip`` (counts), the most spikes of a neuron in a step, times the window's size (a pool of either), and for the readout and its further inputs a
    count over all steps, and over all positions of a channel where it pools.
    """
    result: list[Stage] = []
    time_bins = graph.input.time_bins
    sent: dict[str, tuple[Shape, int]] = {}
    origins: dict[str, str] = {}
    for node, own, follower, after in zip(graph.nodes, heard(graph), (*graph.nodes[1:], None), shapes(graph)):
        before, largest = sent.get(own, ((0, 0, 0), 1))
        origins[node.name] = origins.get(own, node.name)
        if isinstance(node, Synapses):
            lif = follower if isinstance(follower, Lif) else None
            most = node.largest_input(largest, before, time_bins)
            inputs = [sent[each.name] for each in node.further]
            further = tuple((shape, node.largest_further(value, time_bins)) for shape, value in inputs)
            names = tuple(origins[name] for name in (own, *(each.name for each in node.further)))
            result.append(Stage(node, lif, before, after, most, further, names))
            origins[node.name] = node.name
        sent[node.name] = after, node.largest_output(largest)
    return tuple(result)


def heard(graph: Graph) -> tuple[str, ...]:
    """Return for every node the name of the node that it hears: its source, or the one before it; empty of the input.

    Raises:
        InputError: a source is no node before it.
    """
    names, result = [node.name for node in graph.nodes], []
    for place, node in enumerate(graph.nodes):
        known = node.source is None or node.source in names[:place]
        require(known, node, f"source '{node.source}': no input or spiking neurons of that name before it")
        result.append(node.source or (names[place - 1] if place else ""))
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
    result: dict[str, Shape] = {"": (0, 0, 0)}
    for node, own in zip(graph.nodes, heard(graph)):
        result[node.name] = node.output_shape(result[own])
    return tuple(result[node.name] for node in graph.nodes)


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
        if node.source is None:
            require(before.gives in node.takes, node, f"may not follow {before.kind} {before.name}")
    _check_sources(graph)
    earlier: dict[str, tuple[str, Shape]] = {}
    for node, shape in zip(nodes, shapes(graph)):
        if isinstance(node, Synapses):
            _check_further(node, shape, earlier)
        node.check(shape)
        earlier[node.name] = node.gives, shape


def _check_sources(graph: Graph) -> None:
    """Accept sources that are the input or neurons before the node, and none but the one before it; and nodes that something hears."""
    nodes, by_name = graph.nodes, {node.name: node for node in graph.nodes}
    every = heard(graph)
    for before, node in pairwise(nodes):
        if node.source is None:
            continue
        gives = by_name[node.source].gives
        require(
            gives in ("values", "spikes"),
            node,
            f"source '{node.source}': no input or spiking neurons of that name before it",
        )
        require(gives in node.takes, node, f"source '{node.source}' is the input, which it cannot take")
        require(
            node.source != before.name, node, f"source '{node.source}' stands before it; leave it out there"
        )
        require(node.gives != "scores", node, "a readout hears the node before it; it has no source")
    hearing = {*every, *(each.name for node in nodes if isinstance(node, Synapses) for each in node.further)}
    for node in nodes[:-1]:
        require(node.name in hearing, node, "nothing hears it, neither a node behind it nor a further input")


def _check_further(node: Synapses, shape: Shape, earlier: Mapping[str, tuple[str, Shape]]) -> None:
    """Accept further inputs from the input or from neurons that spike, with weights that give sums of ``shape``."""
    for each in node.further:
        kind = node.further_kind
        require(
            bool(kind), node, "takes no further inputs; dense, recurrent, conv2d, readout and counts nodes do"
        )
        require(
            each.kind == kind and not each.further, node, f"a further input must be a {kind} without others"
        )
        require(
            each.source is None,
            node,
            f"further input '{each.name}' has a source; its name says what it takes",
        )
        gives, before = earlier.get(each.name, ("nothing", shape))
        require(
            gives in ("values", "spikes"),
            node,
            f"further input '{each.name}': no input or spiking neurons of that name before it",
        )
        own = each.output_shape(before)
        require(own == shape, node, f"further input '{each.name}' gives {own}, not {shape}")
