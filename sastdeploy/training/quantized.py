"""Training while the weights are held at what the hardware can store (quantization-aware fine-tuning)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sastdeploy.program.fixedpoint import tensor_scale, weight_codes
from sastdeploy.training.networks import SpikingNetwork


@contextmanager
def quantized_weights(network: SpikingNetwork, bits: int) -> Iterator[None]:
    """Hold every weight (not the biases) at its value rounded to ``bits`` bits, per tensor; afterwards the exact ones are back.

    A gradient taken inside and applied afterwards is the straight-through estimator's. The rounding is the compiler's.

    Raises:
        InputError: bits outside 2 to 8.
    """
    weights = [p for name, p in network.learnable.items() if name.endswith("weight")]
    kept = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight in weights:
            exact = weight.detach().cpu().double().numpy()
            scale = tensor_scale(abs(exact).max(), bits)
            weight.copy_(torch.from_numpy(weight_codes(exact, scale, bits) * scale))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, exact_weight in zip(weights, kept):
                weight.copy_(exact_weight)
