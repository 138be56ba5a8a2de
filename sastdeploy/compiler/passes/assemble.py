"""Make the Program from a graph whose every integer is known."""

from __future__ import annotations

from typing import Any, TypeVar

from sastdeploy.compiler.ir import nodes as ir
from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.errors import CompileError, InputError
from sastdeploy.program import records as p
from sastdeploy.program.verify import verify_program

Found = TypeVar("Found")


def assemble(graph: Graph, profile: HardwareProfile, facts: dict[str, Any]) -> p.Program:
    """Return the verified program; ``facts`` gives its preprocessing, classes, dataset, provenance and costs.

    Raises:
        CompileError: an integer is missing, or the whole does not fit 32-bit arithmetic (as `verify_program` proves).
    """
    for node in graph.nodes:
        if _holds_a_divisor(node):
            raise CompileError(f"{node.name}: its divisor is not folded into a gain; a pass was left out.")
    layers: list[p.ProgramLayer] = []
    readout: p.Readout | None = None
    nodes = graph.nodes
    for node, after in zip(nodes, (*nodes[1:], None)):
        if isinstance(node, ir.SumPool):
            layers.append(p.SumPool(node.name, node.kernel, node.stride, node.padding))
        elif isinstance(node, ir.Readout):
            readout = _readout(node)
        elif isinstance(node, ir.Synapses) and isinstance(after, ir.Lif):
            layers.append(_layer(node, _lif(node, after, profile)))
    if readout is None:
        raise CompileError(f"{graph.name}: has no readout.")
    result = p.Program(
        name=f"{graph.name}.{profile.name}",
        layers=tuple(layers),
        readout=readout,
        profile=profile.record,
        **facts,
    )
    try:
        verify_program(result)
    except InputError as error:
        raise CompileError(str(error)) from error
    return result


def _holds_a_divisor(node: ir.Node) -> bool:
    if isinstance(node, ir.Input):
        return node.divisor != 1.0
    return isinstance(node, ir.AvgPool) or (isinstance(node, ir.Readout) and node.pool == "average")


def _layer(node: ir.Synapses, lif: p.Lif) -> p.ProgramLayer:
    weight, bits = _known(node, node.weight_q), _known(node, node.weight_bits)
    if isinstance(node, ir.Conv2d):
        return p.ConvLif(node.name, weight, bits, node.stride, node.padding, lif)
    return p.DenseLif(node.name, weight, bits, lif)


def _lif(node: ir.Synapses, lif: ir.Lif, profile: HardwareProfile) -> p.Lif:
    return p.Lif(
        multiplier=_known(node, node.multiplier),
        shift=_known(node, node.shift),
        bias=_known(node, node.bias_q),
        threshold=_known(lif, lif.threshold_q),
        leak_multiplier=_known(lif, lif.leak_multiplier),
        leak_shift=_known(lif, lif.leak_shift),
        leak_rounding=profile.leak_rounding,
        membrane=profile.membrane,
        overflow=profile.overflow,
        spike_test=lif.spike_test,
        reset=lif.reset,
        reset_delay=lif.reset_delay,
    )


def _readout(node: ir.Readout) -> p.Readout:
    return p.Readout(
        name=node.name,
        weight=_known(node, node.weight_q),
        weight_bits=_known(node, node.weight_bits),
        multiplier=_known(node, node.multiplier),
        shift=_known(node, node.shift),
        bias=_known(node, node.bias_q),
        fraction_bits=_known(node, node.fraction_bits),
        global_sum_pool=node.pool == "sum",
    )


def _known(node: ir.Node | ir.Synapses, value: Found | None) -> Found:
    if value is None:
        raise CompileError(f"{node.name}: an integer is missing; a pass was left out.")
    return value
