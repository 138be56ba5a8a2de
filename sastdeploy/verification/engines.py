"""The engines that are compared, each in every choice that a run can make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from sastdeploy._kernels.vectors import aligned_zeros
from sastdeploy.errors import InputError
from sastdeploy.exchange.verilog import source as verilog
from sastdeploy.program.records import Program
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine
from sastdeploy.simulator.result import RunResult, empty_result
from sastdeploy.verification.compiled_c import FIELDS, CompiledC, compiler
from sastdeploy.verification.simulated_verilog import FIELDS as VERILOG_FIELDS
from sastdeploy.verification.simulated_verilog import SimulatedVerilog, simulator

Run = Callable[[Program, Frames, tuple[str, ...]], RunResult]
ALL_FIELDS = tuple(
    field.name
    for field in fields(RunResult)
    if field.name not in ("layers", "engine", "threads", "seconds", "stages")
)
UNTRACED = tuple(name for name in ALL_FIELDS if name != "traces")
NO_ICARUS = "not run: no Icarus Verilog on this machine (iverilog, vvp)"
NO_COMPILER = "not run: no C compiler on this machine (cc, gcc, clang, or the environment variable CC)"


@dataclass(frozen=True)
class Engine:
    """One way to run a program. ``fields``: what of its result is compared. ``absent``: why it cannot be run, if so."""

    name: str
    run: Run
    fields: tuple[str, ...] = ALL_FIELDS
    absent: str | None = None


@contextmanager
def all_engines(program: Program, verilog_clocks: int) -> Iterator[tuple[Engine, ...]]:
    """Yield every engine but the reference, to which they are compared.

    Numba: one thread, several of one recording each, without traces, and with the widths that its proofs would spare it.
    Verilog: where a recording takes no more than ``verilog_clocks``.

    Raises:
        SimulationError: a compiler refuses the exported source.
    """
    made = (
        Engine("numba", _numba(threads=1)),
        Engine("numba, threads", _numba(threads=2, chunk=1)),
        Engine("numba, no traces", lambda program, frames, trace: _numba()(program, frames, ()), UNTRACED),
        Engine("numba, wide", run_wide),
        Engine("onnxruntime", _onnxruntime),
    )
    with ExitStack() as opened:
        yield (*made, _c(program, opened), _verilog(program, verilog_clocks, opened))


def _c(program: Program, opened: ExitStack) -> Engine:
    command = compiler()
    if command is None:
        return Engine("c", _numba(), absent=NO_COMPILER)
    return Engine("c", opened.enter_context(closing(CompiledC(program, command))).run, FIELDS)


def _verilog(program: Program, most_clocks: int, opened: ExitStack) -> Engine:
    command = simulator()
    if command is None:
        return Engine("verilog", _numba(), absent=NO_ICARUS)
    try:
        source = verilog.write_verilog(program, "net")
    except InputError as error:
        return Engine("verilog", _numba(), absent=f"not run: {error}")
    if source.clocks > most_clocks:
        absent = f"not run: a recording takes {source.clocks:,} clocks (--verilog-clocks: {most_clocks:,})"
        return Engine("verilog", _numba(), absent=absent)
    core = opened.enter_context(closing(SimulatedVerilog(program, source, command)))
    return Engine("verilog", core.run, VERILOG_FIELDS)


def reference(program: Program, frames: Frames, trace: tuple[str, ...]) -> RunResult:
    """Return the result of the engine that defines the arithmetic."""
    return engine.run(program, frames, engine="reference", trace=trace)


def _numba(threads: int | None = None, chunk: int | None = None) -> Run:
    return lambda program, frames, trace: engine.run(
        program, frames, engine="numba", threads=threads, chunk=chunk, trace=trace
    )


def _onnxruntime(program: Program, frames: Frames, trace: tuple[str, ...]) -> RunResult:
    return engine.run(program, frames, engine="onnxruntime", threads=1, trace=trace)


def run_wide(program: Program, frames: Frames, trace: tuple[str, ...]) -> RunResult:
    """Return the result of the kernels with 32-bit sums and 64-bit products, whatever was proven."""
    from sastdeploy.simulator.numba_engine.chunks import Chunks
    from sastdeploy.simulator.numba_engine.plan import LayerPlan, make_plan

    def wide(layer: LayerPlan) -> LayerPlan:
        if layer.wiring is None or layer.step is None:
            return layer
        step = layer.step._replace(
            multiplier=_int64(layer.step.multiplier),
            half=_int64(layer.step.half),
            shift=_int64(layer.step.shift),
            wide_leak=True,
        )
        return replace(layer, wiring=layer.wiring._replace(budget=0), step=step)

    plan = make_plan(program)
    plan = replace(plan, layers=tuple(map(wide, plan.layers)))
    chunks = Chunks(program, plan, frames, empty_result(program, len(frames), trace))
    chunks.run(0, len(frames))
    return chunks.result()


def _int64(values: NDArray[np.signedinteger]) -> NDArray[np.int64]:
    array = aligned_zeros(len(values), np.int64)
    array[:] = values
    return array
