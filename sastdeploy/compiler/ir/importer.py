"""From a checkpoint to the graph of its hard network."""

from __future__ import annotations

import numpy as np

from sastdeploy.compiler.ir.graph import Graph, verify
from sastdeploy.compiler.ir.nodes import AvgPool as AvgPoolNode
from sastdeploy.compiler.ir.nodes import Conv2d, Dense, Input, Lif, Node, Readout
from sastdeploy.networks.architecture import AvgPool, Conv
from sastdeploy.networks.checkpoint import Checkpoint


def graph_from_checkpoint(checkpoint: Checkpoint) -> Graph:
    """Return the graph that means what the checkpoint's network computes with hard spikes (paper, equation 1).

    Raises:
        InputError: the checkpoint's parts do not fit each other.
    """
    architecture, frames = checkpoint.architecture, checkpoint.preprocessing
    nodes: list[Node] = [Input("input", frames.frame_shape, frames.time_bins, frames.c_clip, frames.divisor)]
    for i, layer in enumerate(architecture.layers):
        name = f"layers.{i}"
        if isinstance(layer, AvgPool):
            nodes.append(AvgPoolNode(name, *layer.window))
            continue
        weight, bias, threshold = (
            _real(checkpoint, f"{name}.{part}") for part in ("weight", "bias", "threshold")
        )
        if isinstance(layer, Conv):
            stride, padding = (layer.stride, layer.stride), (layer.padding, layer.padding)
            nodes.append(Conv2d(name, weight, bias, stride=stride, padding=padding))
        else:
            nodes.append(Dense(name, weight, bias))
        nodes.append(Lif(f"{name}.lif", architecture.neuron.alpha, threshold))
    pool = "average" if architecture.readout.global_average_pool else "none"
    nodes.append(
        Readout("readout", _real(checkpoint, "readout.weight"), _real(checkpoint, "readout.bias"), pool=pool)
    )
    graph = Graph(architecture.name, tuple(nodes))
    verify(graph)
    return graph


def _real(checkpoint: Checkpoint, name: str) -> np.ndarray:
    return checkpoint.parameters[name].astype(np.float64)
