"""Convolutional neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.layers.further import Further, further_from
from sastdeploy.program.layers.lif import Lif, LifLayer
from sastdeploy.program.layers.sums import ConvSums
from sastdeploy.program.layers.weights import weight_record
from sastdeploy.program.limits import Shape, check_output
from sastdeploy.program.onnx_nodes import Nodes


@dataclass(frozen=True)
class ConvLif(ConvSums, LifLayer):
    """``acc`` = integer cross-correlation with zero padding, then `Lif`. weight: int8 [O, I, KH, KW]."""

    name: str
    weight: NDArray[np.int8]
    weight_bits: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    lif: Lif
    kind: str = field(default="conv", init=False)
    further: tuple[Further, ...] = field(default=(), kw_only=True)
    source: int | None = field(default=None, kw_only=True)

    def check(self, where: str, shape: Shape, largest: int) -> None:
        """Accept a layer that fits inputs of ``shape`` from 0 to ``largest``; its weighted sums fit 32 bits."""
        self.check_weights(where, self.weight_bits, shape)
        output = self.output_shape(shape)
        check_output(where, output)
        self.check_lif(where, output, largest)

    def add_sums(self, add: Nodes, x: str, shape: Shape) -> str:
        """Add ``acc``, int32 [N, O, OH, OW], of the layer's own inputs."""
        return self.add_products(add, x, f"{self.name}/weight", self.weight_bits, f"{self.name}/acc")

    def record(self) -> dict[str, Any]:
        """Return every field that is no array as plain values, for a file's manifest."""
        fields = weight_record(self.kind, self.name, self.weight, self.weight_bits)
        window = {"stride": list(self.stride), "padding": list(self.padding)}
        return {**fields, **window, "lif": self.lif.record(), **self.inputs_record()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> ConvLif:
        window = tuple(record["stride"]), tuple(record["padding"])
        lif, further = Lif.from_record(record["lif"], arrays), further_from(record, arrays)
        return cls(
            record["name"], arrays["weight"], record["weight_bits"], *window, lif, further=further,
            source=record.get("source"),
        )  # fmt: skip
