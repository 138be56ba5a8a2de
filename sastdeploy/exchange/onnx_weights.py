"""Weights of an ONNX file that a quantizing trainer wrote (QONNX or QCDQ): integers times a scale, taken as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files.reading import brief, parsing, read_bytes, shown
from sastdeploy.errors import CompileError, InputError
from sastdeploy.exchange.brevitas_layers import held_bits
from sastdeploy.exchange.parts import Array, Convolution, Linear, Part

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

MAX_BYTES = 1 << 30
MAX_STEPS = 16
"""Of nodes between stored weights and their layer."""
ADVICE = "Name a file of brevitas' export_qonnx or export_onnx_qcdq."
ROUNDINGS: dict[str, Callable[[Any], Any]] = {
    "ROUND": np.rint,
    "FLOOR": np.floor,
    "CEIL": np.ceil,
    "ROUND_TO_ZERO": np.trunc,
}
"""Of QONNX's Quant, by its rounding_mode."""


@dataclass(frozen=True)
class TrainedWeights:
    """One layer's weights: ``codes * scale``.

    Args:
        name: of the layer's node in the file.
        codes: whole numbers, ``[N, J]`` or ``[O, I / groups, KH, KW]``. scale: float32, of the same shape.
        bits: of the codes; codes of a range that begins at 0 have one bit more, as signed numbers.
    """

    name: str
    codes: Array
    scale: NDArray[np.float32]
    bits: int

    @property
    def weight(self) -> Array:
        """The products as the trainer's float32 has them."""
        with np.errstate(over="ignore"):  # infinite ones are refused as any weights are
            return (self.codes.astype(np.float32) * self.scale).astype(np.float64)


def read_trained_weights(path: Path | str) -> list[TrainedWeights | None]:
    """Return the weights of all Conv, Gemm and MatMul nodes in the file's order; None where a layer's are not quantized.

    Raises:
        InputError: the file cannot be read, or holds weights in a form other than QONNX's Quant or QuantizeLinear, Clip and
            DequantizeLinear around 0.
    """
    import onnx

    content = read_bytes(path, limit=MAX_BYTES)
    with parsing(path, "ONNX file", ADVICE):
        graph = onnx.ModelProto.FromString(content).graph
        made_by = {output: node for node in graph.node for output in node.output}
        stored = {tensor.name: tensor for tensor in graph.initializer} | _constants(graph)
        reader = _Reader(str(shown(path)), made_by, stored)
        layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
        ways = ((node, reader.way_to(node)) for node in layers)
        weights = [reader.weights_of(node, *way) for node, way in ways if way is not None]
    if not any(weights):
        raise InputError(f"{shown(path)}: holds no layer with quantized weights. {ADVICE}")
    return weights


def with_trained_weights(
    parts: Sequence[Part], weights: Sequence[TrainedWeights | None], where: str
) -> list[Part]:
    """Return the parts with the file's weights in place of their own, layer by layer in their order.

    Raises:
        CompileError: numbers of layers or shapes differ, or the network's weights are not those that the codes were
            rounded from: further than one code away.
    """
    layers = [part for part in parts if isinstance(part, (Linear, Convolution))]
    if len(layers) != len(weights):
        raise CompileError(
            f"{where}: holds weights of {len(weights)} layers; the network has {len(layers)}. Export all of its layers, in order."
        )
    changed = {
        part.name: _replaced(part, trained, where) for part, trained in zip(layers, weights) if trained
    }
    return [changed.get(part.name, part) for part in parts]


def _replaced(part: Linear | Convolution, trained: TrainedWeights, where: str) -> Part:
    # Kernels of one axis are windows of one row.
    row = (slice(None), slice(None), None) if trained.codes.ndim == 3 else ()
    codes, scale, weight = trained.codes[row], trained.scale[row], trained.weight[row]
    if codes.shape != part.weight.shape:
        raise CompileError(
            f"{where}: '{trained.name}' has weights {list(codes.shape)}; '{part.name}' of the network has {list(part.weight.shape)}. "
            "Both must be of the same network, layers in the same order."
        )
    most = float(np.abs(codes).max(initial=0))
    away = np.abs(np.clip(part.weight / scale, -most, most) - codes)
    if codes.size and not away.max() <= 1:
        at = np.unravel_index(int(np.argmax(np.nan_to_num(away, nan=np.inf))), codes.shape)
        raise CompileError(
            f"{where}: '{trained.name}' does not hold the rounded weights of '{part.name}': at {[int(i) for i in at]} the network has "
            f"{part.weight[at]:.6g}, which is {part.weight[at] / scale[at]:.2f} steps of {scale[at]:.6g}, and the file has "
            f"{int(codes[at])}. Both must be of the same trained network."
        )
    return replace(part, weight=weight, bits=held_bits(trained.bits))


def _constants(graph: GraphProto) -> dict[str, TensorProto]:
    return {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }


@dataclass(frozen=True)
class _Reader:
    """made_by: node by the name of its output. stored: tensors by name."""

    where: str
    made_by: Mapping[str, NodeProto]
    stored: Mapping[str, TensorProto]

    def way_to(self, layer: NodeProto) -> tuple[str, list[NodeProto]] | None:
        """Return the name of a layer's stored weights and the nodes from there to the layer; None of a product of computed values."""
        steps: list[NodeProto] = []
        name = layer.input[1]
        while name not in self.stored:
            if name not in self.made_by or not self.made_by[name].input or len(steps) >= MAX_STEPS:
                return None
            steps.append(self.made_by[name])
            name = steps[-1].input[0]
        return name, steps[::-1]

    def weights_of(self, layer: NodeProto, name: str, steps: list[NodeProto]) -> TrainedWeights | None:
        """Return a layer's weights, outputs first; None where nothing on their way quantizes."""
        if not any(step.op_type in ("Quant", "BipolarQuant", "DequantizeLinear") for step in steps):
            return None
        stored = self.array(name)
        bits = _bits_of(stored.dtype)
        weights = _Values(stored.astype(np.int8) if bits and bits < 8 else stored, bits=bits)
        for step in steps:
            weights = self._applied(step, weights)
        if weights.scale is None or weights.bits is None:
            raise self._refusal(layer, "are not integers times a scale")
        codes, scale = weights.values, np.broadcast_to(weights.scale, weights.values.shape)
        if layer.op_type == "MatMul" or (layer.op_type == "Gemm" and not _attribute(layer, "transB", 0)):
            codes, scale = codes.T, scale.T
        if layer.op_type == "Gemm" and _attribute(layer, "alpha", 1.0) != 1.0:
            raise self._refusal(layer, "are multiplied by alpha")
        if codes.ndim not in ((2,) if layer.op_type != "Conv" else (3, 4)):
            raise self._refusal(layer, f"have {codes.ndim} axes")
        return TrainedWeights(layer.name or layer.output[0], codes.astype(np.float64), scale, weights.bits)

    def array(self, name: str) -> NDArray[Any]:
        from onnx import TensorProto, numpy_helper

        tensor = self.stored[name]
        if tensor.data_location != TensorProto.DEFAULT or tensor.external_data:
            raise InputError(
                f"{self.where}: {brief(name)} lies in another file. Export the network into one file."
            )
        array: NDArray[Any] = numpy_helper.to_array(tensor)
        return array

    def _applied(self, step: NodeProto, before: _Values) -> _Values:
        if any(name and name not in self.stored for name in step.input[1:]):
            raise self._refusal(step, "take a computed value")
        others = [self.array(name) if name else None for name in step.input[1:]]
        others += [None] * (3 - len(others))
        kind = step.op_type
        if kind == "Identity":
            return before
        if kind == "Transpose":
            return before.transposed(_attribute(step, "perm", None))
        if kind == "Clip":
            return before.clipped(others[0], others[1])
        if kind == "Quant":
            return self._quant(step, before, others)
        if kind in ("QuantizeLinear", "DequantizeLinear"):
            return self._linear(step, before, others)
        raise self._refusal(step, f"pass through {brief(kind)}, which is not read")

    def _quant(self, step: NodeProto, before: _Values, others: list[Any]) -> _Values:
        scale, zero, bits = others[:3]
        if before.scale is not None or scale is None or bits is None or bits.size != 1:
            raise self._refusal(step, "need one Quant with a scale and one number of bits")
        width = int(bits.reshape(()))
        if not 2 <= width <= 32 or width != float(bits.reshape(())):
            raise self._refusal(
                step, f"have {brief(float(bits.reshape(())))} bits; allowed: whole numbers, 2 to 32"
            )
        mode = _attribute(step, "rounding_mode", b"ROUND").decode("ascii", "replace")
        if mode not in ROUNDINGS:
            raise self._refusal(step, f"are rounded by {brief(mode)}; allowed: {', '.join(ROUNDINGS)}")
        signed, narrow = _attribute(step, "signed", 1), _attribute(step, "narrow", 0)
        high = 2 ** (width - 1) - 1 if signed else 2**width - 1 - narrow
        low = -high - (not narrow) if signed else 0
        self._check(step, before, scale, zero)
        codes = np.clip(ROUNDINGS[mode](_steps(before.values, scale)), low, high)
        return _Values(codes, scale.astype(np.float32), width + (not signed))

    def _linear(self, step: NodeProto, before: _Values, others: list[Any]) -> _Values:
        scale, zero = others[:2]
        if scale is None or _attribute(step, "block_size", 0):
            raise self._refusal(step, "need one scale for all or per channel")
        if scale.ndim == 1 and scale.size > 1:
            axis = _attribute(step, "axis", 1) % max(before.values.ndim, 1)
            scale = scale.reshape([-1 if number == axis else 1 for number in range(before.values.ndim)])
        self._check(step, before, scale, zero)
        if step.op_type == "DequantizeLinear":
            if before.bits is None:
                raise self._refusal(step, "are no integers")
            return replace(before, scale=scale.astype(np.float32))
        kind = np.dtype(np.uint8) if zero is None else zero.dtype
        limits = np.iinfo(kind)
        codes = np.rint(_steps(before.values, scale))
        return _Values(
            np.clip(codes, limits.min, limits.max).astype(kind), scale.astype(np.float32), _bits_of(kind)
        )

    def _check(
        self, step: NodeProto, before: _Values, scale: NDArray[Any], zero: NDArray[Any] | None
    ) -> None:
        if zero is not None and zero.astype(np.float64).any():
            raise self._refusal(step, "are integers that do not lie around 0, which no engine computes")
        if not ((scale > 0) & np.isfinite(scale)).all():
            raise self._refusal(step, "have a scale that is no positive number")
        shape = before.values.shape[max(before.values.ndim - scale.ndim, 0) :]
        if len(shape) != scale.ndim or any(
            size not in (1, length) for size, length in zip(scale.shape, shape)
        ):
            raise self._refusal(
                step, f"have shape {list(before.values.shape)}, and their scale {list(scale.shape)}"
            )
        if before.values.dtype.kind == "f" and not np.isfinite(before.values).all():
            raise self._refusal(step, "are not all finite")

    def _refusal(self, node: NodeProto, fault: str) -> InputError:
        return InputError(
            f"{self.where}: weights of {brief(node.name or node.output[0])} {fault}. Export the layer with signed integers around 0 "
            "and one scale for all or per channel."
        )


@dataclass(frozen=True)
class _Values:
    """What has become of stored weights: real numbers, or codes with their scale (of a shape that broadcasts) and bits."""

    values: NDArray[Any]
    scale: NDArray[np.float32] | None = None
    bits: int | None = None

    def transposed(self, order: Sequence[int] | None) -> _Values:
        scale = None if self.scale is None else np.broadcast_to(self.scale, self.values.shape)
        axes = None if order is None else tuple(order)
        return replace(
            self,
            values=np.transpose(self.values, axes),
            scale=None if scale is None else np.transpose(scale, axes),
        )

    def clipped(self, low: NDArray[Any] | None, high: NDArray[Any] | None) -> _Values:
        least, most = (float(np.asarray(end).reshape(())) if end is not None else None for end in (low, high))
        clipped = replace(self, values=np.clip(self.values, low, high))
        if self.bits is None or least is None or most is None:
            return clipped
        return replace(clipped, bits=1 + int(max(-least - 1, most, 1)).bit_length())


def _steps(values: NDArray[Any], scale: NDArray[Any]) -> NDArray[np.float32]:
    """Return the values in steps of the scale, as the trainer's float32 has them; infinite where it has no number so large."""
    with np.errstate(over="ignore"):
        steps: NDArray[np.float32] = np.divide(values.astype(np.float32), scale.astype(np.float32))
    return steps


def _bits_of(kind: np.dtype[Any]) -> int | None:
    """Return the bits of whole numbers, as signed ones; None of real numbers."""
    if kind.name in ("int2", "int4", "uint2", "uint4"):
        return int(kind.name[-1]) + kind.name.startswith("u")
    return kind.itemsize * 8 + (kind.kind == "u") if kind.kind in "iu" else None


def _attribute(node: NodeProto, name: str, absent: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), absent)
