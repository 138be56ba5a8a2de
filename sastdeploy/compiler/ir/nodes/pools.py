"""Windows of each channel, without weights or neurons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import NDArray

from sastdeploy.compiler.ir.nodes.checks import Assembled, Floats, Shape, require, unfolded
from sastdeploy.program.layers import Lif as ProgramLif
from sastdeploy.program.layers import SumPool as ProgramSumPool
from sastdeploy.windows import Pair, Window, write_sizes


@dataclass(frozen=True, eq=False)
class Pool(ABC):
    """What a pool holds: windows of each channel, zero padding; windows that the padded input cuts are dropped.

    Args:
        kernel, stride, padding: along both axes, or ``(y, x)`` where they differ. The stride is by default the kernel.
        source: the name of the neurons that it hears; None the node before it.
    """

    kind: ClassVar[str] = "pool"
    takes: ClassVar[tuple[str, ...]] = ("spikes", "delayed")
    gives: ClassVar[str] = "sums"
    waits: ClassVar[int] = 0
    name: str
    kernel: int | Pair
    stride: int | Pair | None = None
    padding: int | Pair = 0
    source: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        write_sizes(self)

    @property
    def window(self) -> Window:
        return Window.of(self.kernel, self.stride, self.padding)

    def output_shape(self, before: Shape) -> Shape:
        window = self.window
        require(
            min(window.stride) >= 1
            and all(0 <= pad <= abs(size) // 2 for pad, size in zip(window.padding, window.kernel)),
            self,
            f"stride {self.stride} must be at least 1, padding {self.padding} 0 to half the kernel",
        )
        rows, columns = window.output(before)
        require(
            min(window.kernel) >= 1 and min(rows, columns) >= 1,
            self,
            f"kernel {self.kernel} does not fit {before[1]} x {before[2]}",
        )
        return (before[0], rows, columns)

    def check(self, after: Shape) -> None:
        """Accept every pool: `output_shape` has refused windows that do not fit."""
        return

    @abstractmethod
    def meaning(self, x: NDArray[Any]) -> tuple[Floats, None]: ...

    def largest_output(self, largest: int) -> int:
        return self.window.size * largest

    @abstractmethod
    def folded(self, unit: float, before: Shape) -> tuple[Pool, float]: ...

    @abstractmethod
    def assembled(self, lif: ProgramLif | None) -> Assembled: ...


@dataclass(frozen=True, eq=False)
class AvgPool(Pool):
    """Mean over windows: their sum divided by ``kernel_y * kernel_x``, zeros of the padding counted (NIR's AvgPool2d)."""

    kind: ClassVar[str] = "avg_pool"

    def meaning(self, x: NDArray[Any]) -> tuple[Floats, None]:
        return self.window.views(x).sum((-2, -1)) / self.window.size, None

    def folded(self, unit: float, before: Shape) -> tuple[SumPool, float]:
        return SumPool(
            self.name, self.kernel, self.stride, self.padding, source=self.source
        ), unit / self.window.size

    def assembled(self, lif: ProgramLif | None) -> Assembled:
        raise unfolded(self)


@dataclass(frozen=True, eq=False)
class SumPool(Pool):
    """Sum over windows."""

    kind: ClassVar[str] = "sum_pool"

    def meaning(self, x: NDArray[Any]) -> tuple[Floats, None]:
        return self.window.views(x).sum((-2, -1)), None

    def folded(self, unit: float, before: Shape) -> tuple[SumPool, float]:
        return self, unit

    def assembled(self, lif: ProgramLif | None) -> Assembled:
        return (ProgramSumPool(self.name, self.kernel, self.stride, self.padding),)
