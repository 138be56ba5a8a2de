"""brevitas' layers: weights that are trained as integers times a scale, taken as the layer uses them."""

from __future__ import annotations

from typing import Any

from sastdeploy.errors import CompileError
from sastdeploy.exchange.parts import Array
from sastdeploy.exchange.torch_arrays import array_of

MAX_BITS = 8


def weight_of(module: Any) -> tuple[Array, int | None]:
    """Return a layer's weights as it runs, and their bits where it quantizes them to at most 8; None of plain layers.

    Raises:
        CompileError: it quantizes its inputs, outputs or bias too, or its integers do not lie around 0.
    """
    if not hasattr(module, "quant_weight"):
        return array_of(module.weight), None
    reasons = [
        f"quantizes its {what}, which no engine computes; spikes are whole numbers already."
        for what, part in (("inputs", "input_quant"), ("outputs", "output_quant"), ("bias", "bias_quant"))
        if getattr(getattr(module, part, None), "is_quant_enabled", False)
    ]
    quantized = module.quant_weight() if module.weight_quant.is_quant_enabled else None
    if quantized is not None and array_of(quantized.zero_point).any():
        reasons.append("weights whose integers do not lie around 0, which no engine computes.")
    if reasons:
        raise CompileError(*reasons)
    if quantized is None:
        return array_of(module.weight), None
    return array_of(quantized.value), held_bits(int(array_of(quantized.bit_width).max()))


def held_bits(bits: int) -> int | None:
    """Return the bits of trained integers where a program can hold so many, 2 to 8; None where they are rounded as any weights."""
    return bits if 2 <= bits <= MAX_BITS else None
