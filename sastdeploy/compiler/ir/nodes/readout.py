"""The classifier, where a graph ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.nodes.checks import Assembled, Floats, Shape, known, require, unfolded
from sastdeploy.compiler.ir.nodes.synapses import Synapses
from sastdeploy.program.layers import Lif as ProgramLif
from sastdeploy.program.layers import Readout as ProgramReadout
from sastdeploy.program.layers.readout import MAX_MEMBRANE, READS


@dataclass(frozen=True, eq=False)
class Readout(Synapses):
    """``y = gain * weight @ pool(sum_t s_t) / T + bias``: class scores; weight ``[K, J]``.

    Further inputs add their sums' mean over time. ``pool`` is ``none`` (flatten), ``average`` or ``sum`` over each channel's positions.
    """

    kind: ClassVar[str] = "readout"
    takes: ClassVar[tuple[str, ...]] = ("spikes",)
    gives: ClassVar[str] = "scores"
    further_kind: ClassVar[str] = "dense"
    pool: str = "none"

    def output_shape(self, before: Shape) -> Shape:
        self._check_weight(2)
        channels, height, width = before
        self._check_sources(channels if self.pool != "none" else channels * height * width)
        return (self.weight.shape[0], 1, 1)

    def meaning(self, x: NDArray[Any]) -> tuple[Floats, None]:
        """Return the scores ``[N, K]``."""
        return self.gain * self.sums(x) + self.bias, None

    def sums(self, x: NDArray[Any]) -> Floats:
        """Return ``weight @ pool(mean_t x_t)`` as ``[N, K]``."""
        mean = x.mean(1)
        if self.pool == "none":
            pooled = mean.reshape(len(mean), -1)
        else:
            pooled = mean.mean((2, 3)) if self.pool == "average" else mean.sum((2, 3))
        sums: Floats = pooled @ self.effective_weight.T
        return sums

    def further_currents(self, sent: Mapping[str, Floats]) -> Floats | float:
        """Return what further inputs add to the scores ``[N, K]``."""
        currents = super().further_currents(sent)
        return currents if isinstance(currents, float) else currents.mean(1).reshape(len(currents), -1)

    def largest_further(self, largest: int, time_bins: int) -> int:
        return time_bins * largest

    def largest_input(self, largest: int, before: Shape, time_bins: int) -> int:
        return time_bins * largest * (before[1] * before[2] if self.pool == "sum" else 1)

    def folded(self, unit: float, before: Shape) -> tuple[Readout, float]:
        if self.pool != "average":
            return replace(self, gain=self.gain * unit), 1.0
        return replace(self, pool="sum", gain=self.gain * (unit / (before[1] * before[2]))), 1.0

    def assembled(self, lif: ProgramLif | None) -> Assembled:
        if self.pool == "average":
            raise unfolded(self)
        record = ProgramReadout(
            name=self.name,
            weight=known(self, self.weight_q),
            weight_bits=known(self, self.weight_bits),
            multiplier=known(self, self.multiplier),
            shift=known(self, self.shift),
            bias=known(self, self.bias_q),
            fraction_bits=known(self, self.fraction_bits),
            global_sum_pool=self.pool == "sum",
        )
        return (record,)


@dataclass(frozen=True, eq=False)
class Counts(Readout):
    """``y_k = sum_t s_t[k] / T``: the scores are the spike counts of the last neurons themselves, one class each.

    Its weight is the identity, and stays so in integers: a program's scores are the counts, not a rounding of them.
    """

    kind: ClassVar[str] = "counts"

    def check(self, after: Shape) -> None:
        super().check(after)
        weights = (self.weight, *(each.weight for each in self.further))
        identity = all(np.array_equal(weight, np.eye(after[0])) for weight in weights)
        gains = {self.gain, *(each.gain for each in self.further)}
        identity = identity and not self.bias.any() and gains == {1.0}
        require(identity and self.pool == "none", self, "must be the identity, without bias, gain and pool")


@dataclass(frozen=True, eq=False)
class Membranes(Counts):
    """``y_k = u_T[k]`` (``last``) or ``max_t u_t[k]`` (``max``): the membranes of integrators are the scores."""

    kind: ClassVar[str] = "membranes"
    takes: ClassVar[tuple[str, ...]] = ("membranes",)
    further_kind: ClassVar[str] = ""
    reads: str = "last"

    def check(self, after: Shape) -> None:
        super().check(after)
        require(self.reads in READS[1:], self, f"reads '{self.reads}'; allowed: {', '.join(READS[1:])}")

    def sums(self, x: NDArray[Any]) -> Floats:
        """Return what is read of membranes ``[N, T, C, H, W]`` as ``[N, K]``."""
        read: Floats = x[:, -1] if self.reads == "last" else x.max(1)
        return read.reshape(len(x), -1)

    def largest_input(self, largest: int, before: Shape, time_bins: int) -> int:
        return MAX_MEMBRANE

    def assembled(self, lif: ProgramLif | None) -> Assembled:
        (record,) = super().assembled(lif)
        return (replace(cast(ProgramReadout, record), reads=self.reads),)
