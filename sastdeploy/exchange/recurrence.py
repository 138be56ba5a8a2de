"""What the spikes of somebody's layer add to its own sums."""

from __future__ import annotations

import numpy as np

from sastdeploy.compiler.ir.nodes import Synapses
from sastdeploy.exchange.parts import Array, Linear


def own_weights(name: str, own: Linear, node: Synapses, reasons: list[str]) -> tuple[Array, Array]:
    """Return weights ``[N, N]`` and bias ``[N]`` of what a layer's own spikes add; add to ``reasons`` where no engine does it."""
    neurons = len(node.weight)
    weight, bias = own.weight, np.zeros(neurons) if own.bias is None else own.bias.reshape(-1)
    if node.weight.ndim != 2:
        reasons.append(
            f"{name}: recurrent behind the convolution {node.name}; engines compute recurrent layers that are fully connected."
        )
    elif weight.ndim < 2 and weight.size in (1, neurons):
        weight = np.diag(np.broadcast_to(weight.reshape(-1), neurons))
    elif weight.shape != (neurons, neurons):
        reasons.append(f"{name}: a recurrent weight {weight.shape} for {neurons} neurons.")
    if bias.size != neurons:
        reasons.append(f"{name}: a recurrent bias of {bias.size} values for {neurons} neurons.")
        bias = np.zeros(neurons)
    return weight, bias
