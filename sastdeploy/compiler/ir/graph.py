"""Graph: a chain of nodes from the input to the readout, and the verifier that keeps it meaningful."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.nodes import (
    AvgPool,
    Conv2d,
    Dense,
    Input,
    Lif,
    Node,
    Pool,
    Readout,
    SumPool,
    Synapses,
)
from sastdeploy.errors import InputError
from sastdeploy.program.fixedpoint import weight_limit
from sastdeploy.program.limits import INT32_END, MAX_LEAK_SHIFT, MAX_MULTIPLIER, MAX_SHIFT
from sastdeploy.program.records import RESETS, SPIKE_TESTS
from sastdeploy.recordings.frames import MAX_COUNT
from sastdeploy.windows import window_count

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in order of data flow; `verify` says what order and contents are valid. Equal where every field is."""

    name: str
    nodes: tuple[Node, ...]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph) or self.name != other.name or len(self.nodes) != len(other.nodes):
            return False
        return all(_same(a, b) for a, b in zip(self.nodes, other.nodes))

    __hash__ = None  # type: ignore[assignment]

    def replace(self, nodes: tuple[Node, ...]) -> Graph:
        """Return the graph with other nodes."""
        return Graph(self.name, nodes)


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
        shape = _output_shape(node, shape)
        result.append(shape)
    return tuple(result)


def _output_shape(node: Node, shape: Shape) -> Shape:
    channels, height, width = shape
    if isinstance(node, Input):
        return node.shape
    if isinstance(node, Lif):
        return shape
    if isinstance(node, Pool):
        kernel, stride, padding = node.window
        rows, columns = (window_count(*axis) for axis in zip((height, width), kernel, stride, padding))
        _require(
            min(kernel) >= 1 and min(rows, columns) >= 1,
            node,
            f"kernel {node.kernel} does not fit {height} x {width}",
        )
        _require(
            min(stride) >= 1 and all(0 <= 2 * pad <= size for pad, size in zip(padding, kernel)),
            node,
            f"stride {node.stride} must be at least 1, padding {node.padding} 0 to half the kernel",
        )
        return (channels, rows, columns)
    axes = 4 if isinstance(node, Conv2d) else 2
    _require(node.weight.ndim == axes, node, f"weight has {node.weight.ndim} axes, not {axes}")
    _require(node.weight.size > 0, node, f"weight {node.weight.shape} is empty")
    if isinstance(node, Conv2d):
        _require(
            node.weight.shape[1] == channels,
            node,
            f"weight {node.weight.shape} for {channels} input channels",
        )
        _require(
            min(node.stride) >= 1 and min(node.padding) >= 0,
            node,
            f"stride {node.stride} must be at least 1, padding {node.padding} at least 0",
        )
        rows, columns = (
            window_count(*axis)
            for axis in zip((height, width), node.weight.shape[2:], node.stride, node.padding)
        )
        _require(
            rows >= 1 and columns >= 1,
            node,
            f"kernel {node.weight.shape[2:]} is larger than its padded input",
        )
        return (node.weight.shape[0], rows, columns)
    sources = channels if isinstance(node, Readout) and node.pool != "none" else channels * height * width
    _require(node.weight.shape[1] == sources, node, f"weight {node.weight.shape} for {sources} sources")
    return (node.weight.shape[0], 1, 1)


def verify(graph: Graph) -> None:
    """Accept a graph that means something: order, shapes, finite values, known semantics, integers in range.

    Raises:
        InputError: naming the node and the rule.
    """
    nodes = graph.nodes
    _require(
        bool(nodes) and isinstance(nodes[0], Input),
        nodes[0] if nodes else None,
        "must begin with an input",
    )
    _require(isinstance(nodes[-1], Readout), nodes[-1], "must end with a readout")
    names = [node.name for node in nodes]
    for node, name in zip(nodes, names):
        _require(bool(name) and names.count(name) == 1, node, "names must be unique and not empty")
    for before, node in pairwise(nodes):
        allowed: dict[type, tuple[type, ...]] = {
            Dense: (Input, Lif, Pool),
            Conv2d: (Input, Lif, Pool),
            Lif: (Dense, Conv2d),
            AvgPool: (Lif,),
            SumPool: (Lif,),
            Readout: (Lif,),
        }
        _require(
            isinstance(before, allowed.get(type(node), ())),
            node,
            f"may not follow {before.kind} {before.name}",
        )
    for node, shape in zip(nodes, shapes(graph)):
        _verify_node(node, shape)


def _verify_node(node: Node, shape: Shape) -> None:
    if isinstance(node, Input):
        _require(
            node.divisor >= node.c_clip or node.divisor == 1.0,
            node,
            f"divisor {node.divisor} below {node.c_clip}",
        )
        _require(
            1 <= node.c_clip <= MAX_COUNT and node.time_bins >= 1,
            node,
            "c_clip must be 1 to 127, time_bins at least 1",
        )
    elif isinstance(node, Synapses):
        _require(bool(np.isfinite(node.weight).all()), node, "a weight is not finite")
        _require(
            node.bias.shape == (shape[0],) and bool(np.isfinite(node.bias).all()),
            node,
            "bias must be finite [C]",
        )
        _require(np.isfinite(node.gain) and node.gain > 0, node, f"gain {node.gain} must be positive")
        _verify_synapse_integers(node)
    elif isinstance(node, Lif):
        _require(0 < node.alpha < 1, node, f"alpha {node.alpha} outside (0, 1)")
        _require(
            node.threshold.shape == (shape[0],),
            node,
            f"threshold {node.threshold.shape} for {shape[0]} channels",
        )
        _require(
            bool((np.isfinite(node.threshold) & (node.threshold > 0)).all()),
            node,
            "thresholds must be positive",
        )
        _require(node.spike_test in SPIKE_TESTS, node, f"spike test '{node.spike_test}'")
        _require(node.reset in RESETS, node, f"reset '{node.reset}'")
        _require(node.reset_delay in (0, 1), node, f"reset delay {node.reset_delay}")
        _verify_lif_integers(node)


def _verify_synapse_integers(node: Synapses) -> None:
    """Hold what passes have filled in against the ranges that a program allows; None is not yet filled."""
    channels = len(node.weight)
    if node.weight_q is not None:
        _require(node.weight_bits in range(2, 9), node, f"weight_bits is {node.weight_bits}, not 2 to 8")
        _require(
            node.weight_q.dtype == np.int8 and node.weight_q.shape == node.weight.shape,
            node,
            f"weight_q is {node.weight_q.dtype} {list(node.weight_q.shape)}, not int8 {list(node.weight.shape)}",
        )
        limit = weight_limit(node.weight_bits or 8)
        largest = int(np.abs(node.weight_q.astype(np.int16)).max())
        _require(largest <= limit, node, f"a weight code of {largest} exceeds {limit}")
        scale = node.weight_scale
        _require(
            scale is not None
            and scale.shape == (channels,)
            and bool((np.isfinite(scale) & (scale > 0)).all()),
            node,
            "weight_scale must be positive [C] beside weight_q",
        )
    _verify_codes(node, "multiplier", node.multiplier, channels, 1, MAX_MULTIPLIER)
    _verify_codes(node, "shift", node.shift, channels, 0, MAX_SHIFT)
    _verify_codes(node, "bias_q", node.bias_q, channels, -INT32_END, INT32_END - 1)


def _verify_lif_integers(node: Lif) -> None:
    _verify_codes(node, "threshold_q", node.threshold_q, len(node.threshold), 1, (1 << 23) - 1)
    a, k = node.leak_multiplier, node.leak_shift
    _require((a is None) == (k is None), node, "leak_multiplier and leak_shift go together")
    if a is not None and k is not None:
        _require(
            0 <= k <= MAX_LEAK_SHIFT and 0 <= a <= 1 << k, node, f"leak {a} / 2^{k} is no factor from 0 to 1"
        )


def _verify_codes(
    node: Node, name: str, codes: NDArray[np.int32] | None, channels: int, low: int, high: int
) -> None:
    if codes is None:
        return
    _require(
        codes.dtype == np.int32 and codes.shape == (channels,),
        node,
        f"{name} is {codes.dtype} {list(codes.shape)}, not int32 [{channels}]",
    )
    outside = (codes < low) | (codes > high)
    place = int(np.argmax(outside))
    _require(not outside.any(), node, f"{name}[{place}] is {codes[place]}, outside {low} to {high}")


def _require(condition: bool, node: Node | None, message: str) -> None:
    if not condition:
        raise InputError(f"graph: {node.kind + ' ' + node.name if node else 'empty'}: {message}.")
