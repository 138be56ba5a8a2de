"""Fully connected neurons that their own spikes come back to, one step later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.layers.dense import DenseLif
from sastdeploy.program.layers.further import further_from
from sastdeploy.program.layers.lif import Array, Lif
from sastdeploy.program.layers.weights import Stored, stored_bits
from sastdeploy.program.limits import Shape, by, check_weight, refuse, worst_sums
from sastdeploy.program.onnx_nodes import Nodes


@dataclass(frozen=True)
class RecurrentLif(DenseLif):
    """``acc[t] = weight @ x[t] + recurrent @ s[t-1]``, then `Lif`; s: the layer's own spikes, 0 before the first step.

    recurrent: int8 [N, N], row n what neuron n hears, of ``weight_bits`` bits too: both have one scale, so one sum has one gain.
    """

    recurrent: NDArray[np.int8]
    kind: str = field(default="recurrent", init=False)

    @property
    def since_format(self) -> int:
        return max(4, super().since_format)

    @property
    def own_weights(self) -> tuple[NDArray[np.int8], ...]:
        return (self.recurrent,)

    def worst_sums(self, largest: int, sources: Sequence[int] = ()) -> Array:
        return super().worst_sums(largest, sources) + worst_sums(self.recurrent, self.lif.max_spikes)

    def check(self, where: str, shape: Shape, largest: int) -> None:
        """Accept a layer that fits inputs of ``shape`` from 0 to ``largest``; its weighted sums fit 32 bits."""
        check_weight(where, self.weight, self.weight_bits, 2)
        check_weight(where, self.recurrent, self.weight_bits, 2, "recurrent")
        neurons = len(self.weight)
        if self.recurrent.shape != (neurons, neurons):
            wrong = f"recurrent has shape {by(self.recurrent.shape)}"
            refuse(where, wrong, f"{by((neurons, neurons))}, from each of its neurons to each")
        super().check(where, shape, largest)

    def own_sums(self, spikes: Array) -> Array:
        return (self.recurrent.astype(np.int64) @ spikes.reshape(-1)).reshape(-1, 1, 1)

    def own_fan_out(self) -> tuple[Array, Array]:
        neurons = len(self.recurrent)
        return np.full(neurons, neurons, np.int64), np.count_nonzero(self.recurrent, axis=0).astype(np.int64)

    def own_synops(self, spikes: Array) -> tuple[int, int, int]:
        sent = self.recurrent[:, spikes.reshape(-1) != 0]
        return sent.size, len(self.recurrent) * int(spikes.sum()), int(np.count_nonzero(sent))

    def add_sums(self, add: Nodes, x: str, shape: Shape) -> str:
        """Add ``acc``, int32 [N, C, 1, 1], of the inputs and of the state that holds the spikes of the step before."""
        fed = add(
            "MatMulInteger",
            add("Flatten", x, axis=1),
            self._transposed(add, "weight"),
            out=f"{self.name}/acc_fed",
        )
        own = add(
            "MatMulInteger", add("Flatten", f"{self.name}/s_before", axis=1), self._transposed(add, "recurrent"),
            out=f"{self.name}/acc_own",
        )  # fmt: skip
        return add("Unsqueeze", add("Add", fed, own), add.constant([2, 3]), out=f"{self.name}/acc")

    def _transposed(self, add: Nodes, field: str) -> str:
        weight = f"{self.name}/{field}"
        weight = add.cast(weight, "INT8") if self.weight_bits <= 4 else weight
        return add("Transpose", weight, perm=[1, 0])

    def arrays(self) -> Stored:
        """Return all arrays, each with the bits that it is stored in: the recurrent weights behind the others."""
        weight, *others = super().arrays().items()
        return dict([weight, ("recurrent", (self.recurrent, stored_bits(self.weight_bits))), *others])

    @classmethod
    def array_shapes(cls, record: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], int]]:
        shapes = super().array_shapes(record)
        (neurons, *_), bits = shapes["weight"]
        return {**shapes, "recurrent": ((neurons, neurons), bits)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> RecurrentLif:
        lif, further = Lif.from_record(record["lif"], arrays), further_from(record, arrays)
        own, source = arrays["recurrent"], record.get("source")
        return cls(
            record["name"], arrays["weight"], record["weight_bits"], lif, own, further=further, source=source
        )
