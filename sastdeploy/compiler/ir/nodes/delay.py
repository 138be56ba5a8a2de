"""Delays, without weights or neurons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.nodes.checks import Assembled, Floats, Shape, require
from sastdeploy.program.layers import Delay as ProgramDelay
from sastdeploy.program.layers import Lif as ProgramLif
from sastdeploy.program.layers.delay import Steps, faulty_steps


@dataclass(frozen=True, eq=False)
class Delay:
    """``y[t] = x[t - steps]``, 0 before: what is sent arrives so many steps later, and after the last step nothing does.

    steps: 0 to 1000: one number for all, int32 ``[C]``, or int32 ``[C * H * W]`` in C order; the smallest form that says it.
    source: the name of the input or of the neurons that it hears; None the node before it.
    """

    kind: ClassVar[str] = "delay"
    takes: ClassVar[tuple[str, ...]] = ("values", "spikes", "sums", "delayed")
    gives: ClassVar[str] = "delayed"
    name: str
    steps: Steps
    source: str | None = field(default=None, kw_only=True)

    @property
    def waits(self) -> int:
        """The most steps that a value waits."""
        return int(np.max(self.steps))

    def output_shape(self, before: Shape) -> Shape:
        return before

    def check(self, after: Shape) -> None:
        fault = faulty_steps(self.steps, after)
        require(fault is None, self, "; allowed: ".join(fault or ()))

    def meaning(self, x: NDArray[Any]) -> tuple[Floats, None]:
        return ProgramDelay(self.name, self.steps).sent(x.astype(np.float64)), None

    def largest_output(self, largest: int) -> int:
        return largest

    def folded(self, unit: float, before: Shape) -> tuple[Delay, float]:
        # What one value is worth does not change while it waits.
        return self, unit

    def assembled(self, lif: ProgramLif | None) -> Assembled:
        return (ProgramDelay(self.name, self.steps),)
