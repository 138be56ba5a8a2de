"""Whether a graph spikes as the module does that it was made from, layer by layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn

from sastdeploy.compiler.ir.graph import Graph, stages
from sastdeploy.compiler.ir.nodes import Integrator, Lif
from sastdeploy.errors import InputError
from sastdeploy.exchange.parts import Array

_STEPS, _SAMPLES = 12, 4


def require_agreement(
    graph: Graph, net: nn.Module, neurons: Sequence[nn.Module], shape: tuple[int, ...]
) -> dict[str, Any]:
    """Return how many spikes of how many layers were compared; all agree.

    Both run in float64 on the same random values from 0 to 3, the module as a copy in evaluation mode.

    Raises:
        InputError: the first difference: layer, step, neuron, both values, the membrane, and the likely cause.
    """
    x = np.random.default_rng(0).integers(0, 4, (_SAMPLES, _STEPS, *shape)).astype(np.float64)
    return require_spikes(graph, x, _spikes_of(net, neurons, x), "the module")


def require_spikes(graph: Graph, x: Array, theirs: Sequence[Array], whose: str) -> dict[str, Any]:
    """As `require_agreement`, with the spikes ``[N, T, ...]`` that every layer sent for the values ``x [N, T, ...]``."""
    names = [neurons.name for neurons in lifs(graph)]
    ours, membranes = _run(graph, x)
    for name, spikes, membrane, wanted in zip(names, ours, membranes, theirs):
        wanted = wanted.reshape(spikes.shape)
        if np.array_equal(spikes, wanted):
            continue
        step = int(np.argmax((spikes != wanted).any((0, 2, 3, 4))))
        sample, *place = np.argwhere(spikes[:, step] != wanted[:, step])[0]
        at = (sample, step, *place)
        raise InputError(
            f"{name}: the first difference is at step {step}, neuron {[int(i) for i in place]}: the graph sends {spikes[at]:g} with a "
            f"membrane of {membrane[at]:.9g}, {whose} {wanted[at]:g}. {_cause(graph, x, theirs)}"
        )
    total = int(sum(spikes.sum() for spikes in ours))
    return {
        "layers": len(names), "recordings": x.shape[0], "steps": x.shape[1], "spikes": total, "differences": 0,
    }  # fmt: skip


def lifs(graph: Graph) -> list[Lif]:
    """Return the nodes of neurons that spike, first to last."""
    return [stage.spiking for stage in stages(graph) if stage.spiking]


def _run(graph: Graph, x: Array) -> tuple[list[Array], list[Array]]:
    """Return spikes and membranes of every LIF node for values that stand behind the input node."""
    values: Any = x.reshape(*x.shape[:2], *graph.input.shape)
    spikes, membranes = [], []
    for node in graph.nodes[1:]:
        values, membrane = node.meaning(values)
        if membrane is not None:
            spikes.append(values)
            membranes.append(membrane)
    return spikes, membranes


def _spikes_of(net: nn.Module, neurons: Sequence[nn.Module], x: Array) -> list[Array]:
    """Return the spikes of every neuron module ``[N, T, ...]``, from a fresh state."""
    double, twins = copy.deepcopy((net, list(neurons)))
    double.double().eval()
    sent: list[list[Array]] = [[] for _ in twins]

    def keep(rows: list[Array]) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            spikes, *others = output if isinstance(output, tuple) else (output,)
            rows.append(spikes.detach().double().numpy())
            # snnTorch's spikes are float32 always, which the next layer would refuse.
            return (spikes.double(), *others) if isinstance(output, tuple) else spikes.double()

        return hook

    for twin, rows in zip(twins, sent):
        twin.register_forward_hook(keep(rows))
        for fresh in ("reset_mem", "reset"):
            if hasattr(twin, fresh):
                getattr(twin, fresh)()
                break
    with torch.no_grad():
        for t in range(x.shape[1]):
            double(torch.from_numpy(x[:, t]))
    return [np.stack(rows, 1) for rows in sent]


def _cause(graph: Graph, x: Array, theirs: Sequence[Array]) -> str:
    """Return which other neuron would have sent their spikes, if one would: the one that differs least."""
    own = lifs(graph)[0]
    others = sorted(
        product((">=", ">"), ("subtract", "zero", "none"), (0, 1)),
        key=lambda rules: sum(a != b for a, b in zip(rules, (own.spike_test, own.reset, own.reset_delay))),
    )
    for test, reset, delay in others:
        changes: dict[str, Any] = {"spike_test": test, "reset": reset, "reset_delay": delay}
        other = graph.map({Integrator: lambda node: node, Lif: partial(replace, **changes)})
        ours, _ = _run(other, x)
        if all(np.array_equal(a, b.reshape(a.shape)) for a, b in zip(ours, theirs)):
            return f"Spike test '{test}', reset '{reset}' and reset delay {delay} would agree."
    return "No other spike test, reset or delay agrees: look at decay, gain and threshold."
