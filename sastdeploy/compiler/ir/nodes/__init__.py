"""Kinds of nodes: one frozen record each, whose docstring gives its equation. Tensors are float64 or integer arrays.

A new kind of layer is a class here, in `NODES`, and in `sastdeploy.compiler.ir.importer` where networks have it. Beside its
fields it has

- ``takes`` and ``gives``: what comes from the node before it and what goes to the next;
- ``output_shape(before)`` after an input ``[C, H, W]``, and ``check(after)``, which accepts only a valid record;
- ``meaning(x)``: what it makes of ``x`` ``[N, T, C, H, W]``, and its neurons' membranes, None where it has none; neurons also take
  the ``feedback`` of the weighted node before them;
- ``source``, the name of the node that it hears in place of the one before it; None where that is it;
- ``waits``, the most steps that values wait in it: 0, unless it is a delay;
- ``largest_output(largest)`` for integer inputs from 0 to ``largest``;
- ``folded(unit, before)``: the node on integer inputs, one unit of which is worth ``unit``, and what one of its outputs is;
- ``assembled(lif)``: the program's records that it becomes, ``lif`` being the neurons behind it.

A weighted kind (`Synapses`) also has ``sums``, ``largest_input``, ``fan_in`` and ``fan_out``. Passes know nodes by their part
alone: `Synapses`, `Lif`, and the `Readout` at the end. Fields that end in ``_q`` and the other integer fields are None until a
pass fills them.
"""

from __future__ import annotations

from sastdeploy.compiler.ir.nodes.checks import Shape, require
from sastdeploy.compiler.ir.nodes.delay import Delay
from sastdeploy.compiler.ir.nodes.input import Input
from sastdeploy.compiler.ir.nodes.lif import Integrator, Lif, RecordedSpikes, run_lif
from sastdeploy.compiler.ir.nodes.pools import AvgPool, Pool, SumPool
from sastdeploy.compiler.ir.nodes.readout import Counts, Membranes, Readout
from sastdeploy.compiler.ir.nodes.recurrent import Recurrent
from sastdeploy.compiler.ir.nodes.synapses import Conv2d, Dense, Synapses

__all__ = [
    "NODES",
    "AvgPool",
    "Conv2d",
    "Counts",
    "Delay",
    "Dense",
    "Input",
    "Integrator",
    "Lif",
    "Membranes",
    "Node",
    "Pool",
    "Readout",
    "RecordedSpikes",
    "Recurrent",
    "Shape",
    "SumPool",
    "Synapses",
    "require",
    "run_lif",
]  # fmt: skip

Node = Input | Synapses | Lif | Pool | Delay
NODES: dict[str, type[Node]] = {
    kind.kind: kind
    for kind in (
        Input, Dense, Conv2d, Lif, AvgPool, SumPool, Readout, Counts, Integrator, Membranes, Recurrent, Delay,
    )
}  # fmt: skip
"""Every kind of node by its name in a graph's text."""
