"""From a checkpoint to the graph of its hard network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.graph import Graph, check_graph
from sastdeploy.compiler.ir.nodes import AvgPool, Conv2d, Dense, Input, Lif, Node, Readout, Synapses
from sastdeploy.networks import layers
from sastdeploy.networks.checkpoint import Checkpoint

Arrays = dict[str, NDArray[np.float64]]


def graph_from_checkpoint(checkpoint: Checkpoint) -> Graph:
    """Return the graph that means what the checkpoint's network computes with hard spikes (paper, equation 1).

    Where the chosen epoch held its weights at a few bits, the checkpoint holds these integers times their scale, and the nodes say so.

    Raises:
        InputError: the checkpoint's parts do not fit each other.
    """
    architecture, frames = checkpoint.architecture, checkpoint.preprocessing
    bits = _trained_bits(checkpoint.training)
    nodes: list[Node] = [Input("input", frames.frame_shape, frames.time_bins, frames.c_clip, frames.divisor)]
    for i, layer in enumerate(architecture.layers):
        name = f"layers.{i}"
        arrays = _arrays(checkpoint, name)
        nodes.append(_NODES[layer.kind](name, layer, arrays))
        if layer.has_neurons:
            nodes.append(Lif(f"{name}.lif", architecture.neuron.alpha, arrays["threshold"]))
    pool = "average" if architecture.readout.global_average_pool else "none"
    arrays = _arrays(checkpoint, "readout")
    nodes.append(Readout("readout", arrays["weight"], arrays["bias"], pool=pool))
    graph = Graph(architecture.name, tuple(nodes)).map(
        {Synapses: lambda node: replace(node, trained_bits=bits)}
    )
    check_graph(graph)
    return graph


def _trained_bits(training: dict[str, Any]) -> int | None:
    """Return the bits at which the chosen epoch held the weights, by the training's facts; None where it did not."""
    bits, epochs = training.get("quantize_bits"), training.get("quantize_epochs")
    if type(bits) is not int or type(epochs) is not int or not 2 <= bits <= 8:
        return None
    return bits if training["selected"]["epoch"] >= training["epochs"] - epochs else None


def _arrays(checkpoint: Checkpoint, name: str) -> Arrays:
    """Return a layer's parameters in float64, as in ``weight``."""
    start = f"{name}."
    return {
        key.removeprefix(start): value.astype(np.float64)
        for key, value in checkpoint.parameters.items()
        if key.startswith(start)
    }


def _dense(name: str, layer: layers.Dense, arrays: Arrays) -> Node:
    return Dense(name, arrays["weight"], arrays["bias"])


def _conv(name: str, layer: layers.Conv, arrays: Arrays) -> Node:
    window = layer.window
    return Conv2d(name, arrays["weight"], arrays["bias"], stride=window.stride, padding=window.padding)


def _avg_pool(name: str, layer: layers.AvgPool, arrays: Arrays) -> Node:
    return AvgPool(name, layer.kernel, layer.stride, layer.padding)


_NODES: dict[str, Callable[[str, Any, Arrays], Node]] = {
    "dense": _dense,
    "conv": _conv,
    "avg_pool": _avg_pool,
}
"""The node that computes a layer's sums, by the layer's kind."""
