"""Where a graph of somebody's network ends: what becomes its scores."""

from __future__ import annotations

from math import prod

import numpy as np

from sastdeploy.compiler.ir.nodes import Counts, Membranes, Readout
from sastdeploy.errors import CompileError
from sastdeploy.exchange.growing import Chain

MAX_CLASSES = 4096
UNHEARD = (
    "a delay that neurons do not follow; engines read the spikes of the last neurons as they send them. Leave it out, "
    "and let the recordings end as many steps earlier."
)
"""Of a delay at the end."""


def finish(chain: Chain, reads: str | None) -> None:
    """End the graph: with spike counts, membranes (``reads``), or the mean over time of a weighted layer and what is summed with it.

    Raises:
        CompileError: the network ends in what no engine reads.
    """
    last = chain.nodes[-1]
    if reads is not None and last.gives != "membranes":
        raise CompileError(
            f"readout '{reads}': the network ends in {last.name}, not in neurons whose membranes are read (I, LI, CubaLI). Leave it out."
        )
    if not chain.spikes:
        raise CompileError("the network has no spiking neurons, so there is nothing to simulate.")
    if last.gives == "delayed":
        raise CompileError(f"{last.name}: {UNHEARD}")
    node = chain.waiting
    if node is None:
        if chain.pool is not None or chain.factor is not None:
            raise CompileError(
                f"{chain.pool.name if chain.pool else 'the last factor'}: nothing weighted follows; engines read spikes or a weighted layer."
            )
        classes = prod(chain.shape)
        if classes > MAX_CLASSES:
            raise CompileError(f"{last.name}: {classes:,} outputs; at most {MAX_CLASSES:,} are read out.")
        if last.gives == "membranes":
            chain.nodes.append(
                Membranes("readout", np.eye(classes), np.zeros(classes), reads=reads or "last")
            )
            return
        chain.nodes.append(Counts("readout", np.eye(classes), np.zeros(classes)))
        return
    if node.weight.ndim != 2:
        raise CompileError(
            f"{node.name}: the network ends in a convolution; engines read spikes or a fully connected layer."
        )
    pooled = "none"
    if chain.pool is not None:
        before = chain.before_pool
        if chain.pool.kernel != before[1:] or chain.pool.padding != (0, 0):
            raise CompileError(
                f"{chain.pool.name}: a pool before the last layer must cover its whole input, {before[1]} x {before[2]}."
            )
        pooled = "average" if chain.pool.mean else "sum"
    one = np.eye(len(node.weight))
    counted = node.further and all(np.array_equal(each.weight, one) for each in (node, *node.further))
    kind = Counts if counted and pooled == "none" and not node.bias.any() else Readout
    chain.nodes.append(kind("readout", node.weight, node.bias, pool=pooled, further=node.further))
