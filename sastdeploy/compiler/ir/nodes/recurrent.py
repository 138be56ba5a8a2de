"""Weighted layers that their own neurons' spikes come back to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.nodes.checks import Assembled, Floats, Shape, known, require
from sastdeploy.compiler.ir.nodes.synapses import Dense
from sastdeploy.program.layers import Lif as ProgramLif
from sastdeploy.program.layers import RecurrentLif
from sastdeploy.program.limits import sum_range


@dataclass(frozen=True, eq=False)
class Recurrent(Dense):
    """``I_t = gain * (weight @ flatten(x_t)) + recurrent @ s_{t-1} + bias``; s: the spikes of the neurons behind it, first 0.

    In integers both are one sum of one gain: ``recurrent ~ recurrent_q * weight_scale * gain``. ``meaning`` is what comes from
    outside, ``feedback`` the rest.

    Args:
        recurrent: real weights ``[N, N]``, row n what neuron n hears. recurrent_q: their codes.
    """

    kind: ClassVar[str] = "recurrent"
    gives: ClassVar[str] = "recurrent currents"
    recurrent: Floats = field(kw_only=True)
    recurrent_q: NDArray[np.int8] | None = None

    @property
    def weights(self) -> tuple[Floats, ...]:
        return *super().weights, self.recurrent / self.gain

    @property
    def codes(self) -> tuple[NDArray[np.int8], ...]:
        return super().codes if self.recurrent_q is None else (*super().codes, self.recurrent_q)

    def with_codes(self, *codes: NDArray[np.int8]) -> Recurrent:
        *others, recurrent_q = codes
        return replace(super().with_codes(*others), recurrent_q=recurrent_q)

    def sum_range(
        self, largest: int, further: Sequence[int] = (), own: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        low, high = super().sum_range(largest, further)
        own_low, own_high = sum_range(known(self, self.recurrent_q), own)
        return low + own_low, high + own_high

    def feedback(self, spikes: Floats) -> Floats:
        return (spikes.reshape(len(spikes), -1) @ self._effective_recurrent.T)[..., None, None]

    @property
    def _effective_recurrent(self) -> Floats:
        if self.recurrent_q is None or self.weight_scale is None:
            return self.recurrent
        return self.recurrent_q * (self.weight_scale * self.gain).reshape(-1, 1)

    def check(self, after: Shape) -> None:
        neurons = after[0]
        require(
            self.recurrent.shape == (neurons, neurons),
            self,
            f"recurrent {self.recurrent.shape} for {neurons} neurons, each to each",
        )
        require(bool(np.isfinite(self.recurrent).all()), self, "a recurrent weight is not finite")
        super().check(after)
        require(
            (self.recurrent_q is None) == (self.weight_q is None),
            self,
            "weight_q and recurrent_q go together",
        )
        if self.recurrent_q is not None:
            self._check_codes("recurrent_q", self.recurrent_q, self.recurrent)

    @property
    def fan_in(self) -> int:
        return super().fan_in + len(self.recurrent)

    @property
    def own_fan_out(self) -> int:
        return len(self.recurrent)

    def assembled(self, lif: ProgramLif | None) -> Assembled:
        weight, bits = known(self, self.weight_q), known(self, self.weight_bits)
        return (RecurrentLif(self.name, weight, bits, known(self, lif), known(self, self.recurrent_q)),)
