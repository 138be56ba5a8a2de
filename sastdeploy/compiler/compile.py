"""compile: checkpoint -> graph -> passes -> Program, and the report that a porting engineer reads."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy._files import atomic
from sastdeploy.compiler.ir.graph import Graph, verify
from sastdeploy.compiler.ir.importer import graph_from_checkpoint
from sastdeploy.compiler.ir.text import print_graph
from sastdeploy.compiler.passes.assemble import assemble
from sastdeploy.compiler.passes.check_limits import check_limits
from sastdeploy.compiler.passes.fit_gains import fit_gains
from sastdeploy.compiler.passes.fit_leaks import fit_leaks
from sastdeploy.compiler.passes.fit_thresholds_and_biases import fit_thresholds_and_biases
from sastdeploy.compiler.passes.fold_scales import fold_scales
from sastdeploy.compiler.passes.prove_ranges import prove_ranges
from sastdeploy.compiler.passes.quantize_weights import quantize_weights
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.compiler.report import porting_report
from sastdeploy.errors import CompileError, InputError
from sastdeploy.networks.checkpoint import Checkpoint, checkpoint_hash
from sastdeploy.program.records import Program
from sastdeploy.provenance import versions

Pass = Callable[[Graph, HardwareProfile], Graph]

PASSES: tuple[Pass, ...] = (
    fold_scales,
    quantize_weights,
    fit_gains,
    fit_leaks,
    fit_thresholds_and_biases,
    prove_ranges,
    check_limits,
)


def compile_checkpoint(
    checkpoint: Checkpoint, profile: HardwareProfile, *, dump: Path | None = None
) -> Program:
    """Return the integer program of a checkpoint on a profile; the same inputs give the same program.

    Args:
        dump: folder to which the graph is written as text after every pass, with ``tensors.npz``.

    Raises:
        CompileError: the network does not fit the hardware, or its preprocessing cannot run on any.
    """
    if checkpoint.preprocessing.normalisation != "fixed":
        raise CompileError(
            f"normalisation '{checkpoint.preprocessing.normalisation}' divides by a recording's own largest count, which "
            f"is known only after its last event: no causal hardware can do that. Train with --normalisation fixed."
        )
    start = graph_from_checkpoint(checkpoint)
    graph = run_passes(start, profile, PASSES, dump)
    facts = {
        "preprocessing": checkpoint.preprocessing,
        "classes": checkpoint.classes,
        "dataset": checkpoint.dataset,
        "provenance": {
            "checkpoint_hash": checkpoint_hash(checkpoint),
            "training": checkpoint.training,
            "training_provenance": checkpoint.provenance,
            "versions": versions("numpy", "onnx"),
        },
        "costs": {},
    }
    program = assemble(graph, profile, facts)
    return replace(program, costs=porting_report(start, graph, profile, program))


def run_passes(
    graph: Graph, profile: HardwareProfile, passes: tuple[Pass, ...], dump: Path | None = None
) -> Graph:
    """Return the graph after all passes; it is valid before and after each.

    Raises:
        CompileError: from a pass; its message names the pass and those before it.
    """
    done: list[str] = []
    tensors: dict[str, Any] = {}
    verify(graph)
    if dump is not None:
        _dump(dump, "00-imported", graph, tensors)
    for number, step in enumerate(passes, 1):
        name = step.__name__
        try:
            graph = step(graph, profile)
        except CompileError as error:
            raise CompileError(f"{error} [pass {name}, after {', '.join(done) or 'none'}]") from error
        try:
            verify(graph)
        except InputError as error:
            raise CompileError(
                f"pass {name} (after {', '.join(done) or 'none'}) left an invalid graph: {error}"
            ) from error
        done.append(name)
        if dump is not None:
            _dump(dump, f"{number:02d}-{name}", graph, tensors)
    return graph


def _dump(folder: Path, name: str, graph: Graph, tensors: dict[str, Any]) -> None:
    text, found = print_graph(graph)
    tensors |= found
    atomic.write_text(folder / f"{name}.txt", text)
    content = io.BytesIO()
    np.savez(content, **tensors)
    atomic.write_bytes(folder / "tensors.npz", content.getvalue())


def compile_report(program: Program) -> dict[str, Any]:
    """Return the figures that compiling found, as `sastdeploy.compiler.report.porting_report` names them."""
    return program.costs
