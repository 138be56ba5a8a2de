"""Where a graph begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.nodes.checks import Assembled, Floats, Shape, require, unfolded
from sastdeploy.errors import short
from sastdeploy.program.layers import Lif as ProgramLif
from sastdeploy.recordings.preprocessing import MAX_CLIP, MAX_DIVISOR


@dataclass(frozen=True, eq=False)
class Input:
    """``x = min(count, c_clip) / divisor``, counts ``[T, P, H, W]``."""

    kind: ClassVar[str] = "input"
    takes: ClassVar[tuple[str, ...]] = ()
    gives: ClassVar[str] = "values"
    waits: ClassVar[int] = 0
    source: ClassVar[None] = None
    name: str
    shape: tuple[int, int, int]
    time_bins: int
    c_clip: int
    divisor: float

    def output_shape(self, before: Shape) -> Shape:
        return self.shape

    def check(self, after: Shape) -> None:
        require(
            self.c_clip <= self.divisor <= MAX_DIVISOR or self.divisor == 1.0,
            self,
            f"divisor {short(self.divisor)}; allowed: {self.c_clip} to {MAX_DIVISOR:g}, or 1",
        )
        require(
            1 <= self.c_clip <= MAX_CLIP and self.time_bins >= 1,
            self,
            f"c_clip must be 1 to {MAX_CLIP}, time_bins at least 1",
        )

    def meaning(self, x: NDArray[Any]) -> tuple[Floats, None]:
        return np.minimum(x, self.c_clip).astype(np.float64) / self.divisor, None

    def largest_output(self, largest: int) -> int:
        return self.c_clip

    def folded(self, unit: float, before: Shape) -> tuple[Input, float]:
        return replace(self, divisor=1.0), 1.0 / self.divisor

    def assembled(self, lif: ProgramLif | None) -> Assembled:
        if self.divisor != 1.0:
            raise unfolded(self)
        return ()
