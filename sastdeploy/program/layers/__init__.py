"""Kinds of layers of a program, one file each: record, shape, checks, fan-out, operations, ONNX form, meaning.

A new kind is a file here, a line in `KINDS`, its tables in `sastdeploy.simulator.numba_engine.wiring`, and its C in
`sastdeploy.exchange.c99.layers`. It has

- ``kind``, ``name``, and ``lif``: its neurons, or None where the sums themselves are sent on;
- ``output_shape(shape)`` and ``largest_output(largest)``, what it makes of inputs ``[C, H, W]`` from 0 to ``largest``;
- ``check(where, shape, largest)``, which accepts only what every engine can run;
- with neurons ``sums(x)``, its meaning, the definition that engines are tested against, and ``add_sums(add, x, shape)``, the same in ONNX;
- without neurons ``step(x, line)``, its meaning, where ``line`` are its inputs of so many steps before as ``reach(steps)`` says, ``sent(x)``
  of all steps, ``add_sent(add, x, shape, steps)``, the same in ONNX, ``held_bits(shape, largest, steps)``, the memory it takes,
  ``may_begin``, whether it may stand behind the input, ``adds``, whether its inputs are operations, and ``sends``, what
  its outputs are called;
- ``fan_out(shape)`` and ``synops(x)``, the operations that an input triggers, by table and by counting; with neurons also
  ``own_sums``, ``own_fan_out`` and ``own_synops``, what their spikes do in their own layer one step later;
- ``source``: what it hears where that is not the layer before it (`sastdeploy.program.records.Program.sources`);
- with neurons, ``further``: what earlier layers or the inputs add to its sums (`sastdeploy.program.layers.further`);
- ``record()``, ``arrays()``, ``array_shapes(record)``, ``from_record(record, arrays)`` and ``since_format``, its form in files.
"""

from __future__ import annotations

from sastdeploy.program.layers.conv import ConvLif
from sastdeploy.program.layers.current import SynapticCurrent
from sastdeploy.program.layers.delay import MAX_DELAY, Delay
from sastdeploy.program.layers.dense import DenseLif
from sastdeploy.program.layers.further import Further, FurtherConv, FurtherDense
from sastdeploy.program.layers.lif import PER_CHANNEL, RESETS, SPIKE_TESTS, Lif
from sastdeploy.program.layers.readout import Readout
from sastdeploy.program.layers.recurrent import RecurrentLif
from sastdeploy.program.layers.sum_pool import SumPool

__all__ = [
    "KINDS", "MAX_DELAY", "PER_CHANNEL", "RESETS", "SPIKE_TESTS", "ConvLif", "Delay", "DenseLif", "Further", "FurtherConv", "FurtherDense", "Lif", "ProgramLayer", "Readout",
    "RecurrentLif", "SumPool", "SynapticCurrent",
]  # fmt: skip

ProgramLayer = DenseLif | ConvLif | SumPool | RecurrentLif | Delay
"""A hidden layer of a program."""

KINDS: dict[str, type[DenseLif] | type[ConvLif] | type[SumPool] | type[RecurrentLif] | type[Delay]] = {
    "dense": DenseLif,
    "conv": ConvLif,
    "sum_pool": SumPool,
    "recurrent": RecurrentLif,
    "delay": Delay,
}
"""Every kind of layer by its name in files."""
