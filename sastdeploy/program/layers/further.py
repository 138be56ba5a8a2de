"""Further inputs of a weighted layer: what an earlier layer's spikes, or the network's inputs, add to its sums in the same step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import short
from sastdeploy.program.layers.sums import ConvSums, DenseSums
from sastdeploy.program.layers.weights import Stored, array_shapes, stored_bits
from sastdeploy.program.limits import Shape, by, is_int, refuse


@dataclass(frozen=True)
class FurtherDense(DenseSums):
    """``acc += weight @ x`` of another source. weight: int8 [N, J], of the layer's bits: all its inputs share one scale and one gain.

    source: 0 is the network's input, l + 1 the spikes of layer l (counted from 0), as in `sastdeploy.simulator.result.RunResult`.
    """

    source: int
    weight: NDArray[np.int8]

    def record(self) -> dict[str, Any]:
        """Return every field that is no array as plain values, for a file's manifest."""
        return {"source": self.source, "weight_shape": [int(size) for size in self.weight.shape]}


@dataclass(frozen=True)
class FurtherConv(ConvSums):
    """``acc +=`` the cross-correlation of another source. weight: int8 [O, I, KH, KW]; else as `FurtherDense`."""

    source: int
    weight: NDArray[np.int8]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def record(self) -> dict[str, Any]:
        """Return every field that is no array as plain values, for a file's manifest."""
        shape = [int(size) for size in self.weight.shape]
        window = {"stride": list(self.stride), "padding": list(self.padding)}
        return {"source": self.source, "weight_shape": shape, **window}


Further = FurtherDense | FurtherConv
KINDS: dict[str, type[Further]] = {
    "dense": FurtherDense, "recurrent": FurtherDense, "conv": FurtherConv, "readout": FurtherDense,
}  # fmt: skip
"""What further inputs are, by the kind of layer that has them."""


def name_of(number: int) -> str:
    """Return the field in files of the weights of further input ``number``."""
    return f"further{number}"


def check_further(
    where: str, further: Any, kind: str, bits: int, output: Shape, sources: Mapping[int, Shape]
) -> None:
    """Accept further inputs that fit a layer of this kind and ``output``.

    Args:
        sources: shapes of the values that they may take, by the source's number.

    Raises:
        InputError: names layer, input, field, value and what is allowed.
    """
    if type(further) is not tuple:
        refuse(where, f"further is a {type(further).__name__}", "a tuple")
    for number, each in enumerate(further):
        here, made = f"{where}, further input {number}", KINDS.get(kind)
        if made is None:
            refuse(here, f"of a {kind} layer", f"layers of kind {', '.join(KINDS)}")
        if not isinstance(each, made):
            refuse(here, f"a {type(each).__name__} of a {kind} layer", f"a {made.__name__}")
        if not is_int(each.source, 0, max(sources)) or each.source not in sources:
            allowed = "0 for the input, l + 1 for an earlier layer l with neurons"
            refuse(here, f"source is {short(each.source)}", f"{', '.join(map(str, sources))} ({allowed})")
        each.check_weights(here, bits, sources[each.source])
        if (own := each.output_shape(sources[each.source])) != output:
            refuse(here, f"gives sums of {by(own)}", f"{by(output)}, as the layer's own input gives")


def further_record(further: tuple[Further, ...]) -> dict[str, Any]:
    """Return what a manifest's record says of further inputs: nothing where there are none."""
    return {"further": [each.record() for each in further]} if further else {}


def further_arrays(further: tuple[Further, ...], bits: int) -> Stored:
    return {name_of(number): (each.weight, stored_bits(bits)) for number, each in enumerate(further)}


def further_shapes(record: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], int]]:
    """Return shape and bits of the arrays of a layer's further inputs, by field, from its record in a manifest.

    Raises:
        ValueError, LookupError, TypeError: the record is none.
    """
    return {
        name_of(number): array_shapes({"name": record["name"], **each, "weight_bits": record["weight_bits"]}, ())["weight"]
        for number, each in enumerate(record.get("further", ()))
    }  # fmt: skip


def further_from(record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> tuple[Further, ...]:
    """Return the further inputs of a layer's record in a manifest, and of the arrays by field; not yet checked."""
    made: list[Further] = []
    for number, each in enumerate(record.get("further", ())):
        weight = arrays[name_of(number)]
        if record["kind"] == "conv":
            made.append(FurtherConv(each["source"], weight, tuple(each["stride"]), tuple(each["padding"])))
        else:
            made.append(FurtherDense(each["source"], weight))
    return tuple(made)
