"""Fully connected neurons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.layers.lif import Array, Lif, LifLayer
from sastdeploy.program.layers.weights import weight_record
from sastdeploy.program.limits import Shape, by, check_output, check_weight, refuse
from sastdeploy.program.onnx_nodes import Nodes


@dataclass(frozen=True)
class DenseLif(LifLayer):
    """``acc = weight @ x`` on the flattened (C order) input, then `Lif`. weight: int8 [N, J], |w| <= 2^(bits-1) - 1."""

    name: str
    weight: NDArray[np.int8]
    weight_bits: int
    lif: Lif
    kind: str = field(default="dense", init=False)

    def output_shape(self, shape: Shape) -> Shape:
        return (self.weight.shape[0], 1, 1)

    def check(self, where: str, shape: Shape, largest: int) -> None:
        """Accept a layer that fits inputs of ``shape`` from 0 to ``largest``; its weighted sums fit 32 bits."""
        check_weight(where, self.weight, self.weight_bits, 2)
        if self.weight.shape[1] != math.prod(shape):
            wrong = f"weight has {self.weight.shape[1]} columns"
            refuse(where, wrong, f"{math.prod(shape)}, one per value of its {by(shape)} input")
        check_output(where, self.output_shape(shape))
        self.check_lif(where, largest)

    def sums(self, x: Array) -> Array:
        """Return ``acc`` ``[N, 1, 1]`` for one step's input ``[C, H, W]``."""
        return (self.weight.astype(np.int64) @ x.reshape(-1)).reshape(-1, 1, 1)

    def fan_out(self, shape: Shape) -> tuple[Array, Array]:
        """Return per input (C order) how many operations it triggers, and how many on weights other than 0."""
        neurons, inputs = self.weight.shape
        return np.full(inputs, neurons, np.int64), np.count_nonzero(self.weight, axis=0).astype(np.int64)

    def synops(self, x: Array) -> tuple[int, int, int]:
        """Return the operations that one step's input triggers: all, weighted by its values, on weights other than 0."""
        active = (x.reshape(-1) != 0).astype(np.int64)
        neurons, nonzero = len(self.weight), (self.weight != 0).sum(axis=0)
        return int(neurons * active.sum()), int(neurons * x.sum()), int(nonzero @ active)

    def add_sums(self, add: Nodes, x: str, shape: Shape) -> str:
        """Add ``acc``, int32 [N, C, 1, 1]: exact in every 8-bit kernel, as the values end at 127."""
        weight = f"{self.name}/weight"
        weight = add.cast(weight, "INT8") if self.weight_bits <= 4 else weight
        flat = add("Flatten", x, axis=1)
        acc = add("MatMulInteger", flat, add("Transpose", weight, perm=[1, 0]))
        return add("Unsqueeze", acc, add.constant([2, 3]), out=f"{self.name}/acc")

    def record(self) -> dict[str, Any]:
        """Return every field that is no array as plain values, for a file's manifest."""
        fields = weight_record(self.kind, self.name, self.weight, self.weight_bits)
        return {**fields, "lif": self.lif.record()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> DenseLif:
        lif = Lif.from_record(record["lif"], arrays)
        return cls(record["name"], arrays["weight"], record["weight_bits"], lif)
