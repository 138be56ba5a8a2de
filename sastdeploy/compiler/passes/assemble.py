"""Make the Program from a graph whose every integer is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from sastdeploy.compiler.ir.graph import Graph, Stage, stages
from sastdeploy.compiler.ir.nodes.checks import known
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.errors import CompileError, InputError
from sastdeploy.program import records as p
from sastdeploy.program.check import check_program
from sastdeploy.program.layers.current import Decay


def assemble(graph: Graph, profile: HardwareProfile, facts: dict[str, Any]) -> p.Program:
    """Return the verified program; ``facts`` gives its preprocessing, classes, dataset, provenance and costs.

    Raises:
        CompileError: a pass was left out, or the whole does not fit 32-bit arithmetic (as `check_program` proves).
    """
    by_name = {stage.node.name: stage for stage in stages(graph)}
    parts: list[p.ProgramLayer | p.Readout] = []
    sources = {graph.input.name: 0}
    for node in graph.nodes:
        stage = by_name.get(node.name)
        parts += node.assembled(_neurons(stage, profile))
        if node.source is not None:
            parts[-1] = replace(cast(p.ProgramLayer, parts[-1]), source=sources[node.source])
        if stage is not None:
            further = tuple(each.as_further(sources[each.name]) for each in stage.node.further)
            if further:
                parts[-1] = replace(cast(p.DenseLif | p.ConvLif | p.Readout, parts[-1]), further=further)
            if stage.lif is not None:
                sources[stage.lif.name] = len(parts)
    *layers, last = parts
    readout = cast(p.Readout, last)
    if readout.reads != "counts":
        readout = replace(readout, fraction_bits=profile.membrane.fraction_bits)
    result = p.Program(
        name=f"{graph.name}.{profile.name}",
        layers=cast(tuple[p.ProgramLayer, ...], tuple(layers)),
        readout=readout,
        profile=profile.record,
        **facts,
    )
    try:
        check_program(result)
    except InputError as error:
        raise CompileError(str(error)) from error
    return result


def _neurons(stage: Stage | None, profile: HardwareProfile) -> p.Lif | None:
    """Return the neurons behind a weighted node; None where there are none."""
    if stage is None or stage.lif is None:
        return None
    node, lif, current = stage.node, stage.lif, None
    if lif.current_alpha is not None:
        kept = cast(Decay, known(lif, lif.current_multiplier))
        current = p.SynapticCurrent(
            kept, known(lif, lif.leak_shift), profile.leak_rounding, lif.current_start_q
        )
    return p.Lif(
        multiplier=known(node, node.multiplier),
        shift=known(node, node.shift),
        bias=known(node, node.bias_q),
        threshold=known(lif, lif.threshold_q),
        leak_multiplier=cast(Decay, known(lif, lif.leak_multiplier)),
        leak_shift=known(lif, lif.leak_shift),
        leak_rounding=profile.leak_rounding,
        membrane=profile.membrane,
        overflow=profile.overflow,
        spike_test=lif.spike_test,
        reset=lif.reset,
        reset_delay=lif.reset_delay,
        current=current,
        max_spikes=lif.max_spikes,
        start=lif.start_q,
        floor=lif.floor_q,
    )
