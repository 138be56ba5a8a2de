"""What a training run is asked to do."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from sastdeploy.errors import InputError

METHODS = ("baseline", "sast", "asam", "random")
FORWARDS = ("smooth", "hard")
KERNELS = ("fused", "torch")


def kernels_for(device: str, asked: str | None) -> str:
    """Return the kernels asked for, or a device's default: the fused ones on the CPU, elsewhere plain torch.

    Raises:
        InputError: the fused ones asked for on another device.
    """
    if asked == "fused" and device != "cpu":
        raise InputError(
            f"kernels fused: compute on the CPU only, the device is {device}. Allowed there: torch, its default. "
            f"Leave --kernels out, or train with --device cpu."
        )
    return asked or ("fused" if device == "cpu" else "torch")


@dataclass(frozen=True)
class TrainingSettings:
    """The paper's defaults (section 5): Adam, learning rate 1e-3, cosine annealing, batch 128. The rest are its rivals.

    Args:
        method: ``baseline``; ``sast`` (two passes per step); ``asam``, the same with a step in proportion to each
            weight; ``random``, one pass at a randomly moved point (SAST's control).
        rho: length of the step of ``sast``, ``asam`` and ``random``, >= 0; the paper: 0.30 (N-MNIST), 0.40 (DVS Gesture).
        delta: added to the gradient's norm, > 0.
        epochs, batch_size: at least 1. learning_rate: > 0, at the first epoch.
        seed: of initial weights, of both streams of minibatches, and of random steps.
        kernels: ``fused`` (float32 on the CPU, first layer over active inputs only), or ``torch``, the plain
            definition. Equal within float32 rounding; the bits differ.
        forward: ``smooth`` (the surrogate, as in the paper), or ``hard``: Heaviside spikes forward, the surrogate's
            gradient backward.
        slope_end: the surrogate's slope in the last epoch, reached in equal factors; 0 keeps the architecture's.
        weight_decay: decoupled (AdamW), per step in units of the learning rate.
        init_scale: initial weights and biases times this factor.
        quantize_bits, quantize_epochs: in that many last epochs the weights are held at 2 to 8 bits
            (straight-through gradients), and the checkpoint holds them so; 0 bits: never.
    """

    method: str = "baseline"
    rho: float = 0.0
    delta: float = 1e-12
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    seed: int = 0
    kernels: str = "fused"
    forward: str = "smooth"
    slope_end: float = 0.0
    weight_decay: float = 0.0
    init_scale: float = 1.0
    quantize_bits: int = 0
    quantize_epochs: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("method", METHODS), ("kernels", KERNELS), ("forward", FORWARDS)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} '{getattr(self, name)}': unknown. Allowed: {', '.join(allowed)}.")
        if self.method == "baseline" and self.rho != 0.0:
            raise InputError(
                f"rho {self.rho:g}: belongs to methods {', '.join(METHODS[1:])}; baseline has none."
            )
        for name in ("rho", "delta", "learning_rate", "slope_end", "weight_decay", "init_scale"):
            value, or_zero = getattr(self, name), name in ("rho", "slope_end", "weight_decay")
            if not math.isfinite(value) or value < 0 or (value == 0 and not or_zero):
                raise InputError(
                    f"{name} {value:g}: must be a {'non-negative' if or_zero else 'positive'} number."
                )
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: must be at least 1.")
        if not 0 <= self.seed < 1 << 63:
            raise InputError(f"seed {self.seed}: outside 0 to {(1 << 63) - 1}.")
        if self.quantize_bits and not 2 <= self.quantize_bits <= 8:
            raise InputError(f"quantize_bits {self.quantize_bits}: must be 2 to 8, or 0 for none.")
        if (self.quantize_bits == 0) != (self.quantize_epochs == 0):
            raise InputError(
                f"quantize_bits {self.quantize_bits} with quantize_epochs {self.quantize_epochs}: give both or neither."
            )
        if not 0 <= self.quantize_epochs <= self.epochs:
            raise InputError(
                f"quantize_epochs {self.quantize_epochs}: must be 0 to {self.epochs}, the epochs."
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch (from 0): cosine annealing to 0 over all epochs."""
        return 0.5 * self.learning_rate * (1.0 + math.cos(math.pi * epoch / self.epochs))

    def slope(self, epoch: int, first: float) -> float:
        """Return the surrogate's slope in an epoch: from ``first`` to ``slope_end`` in equal factors."""
        if self.slope_end == 0.0 or self.epochs == 1:
            return self.slope_end or first
        return float(first * (self.slope_end / first) ** (epoch / (self.epochs - 1)))

    def quantized(self, epoch: int) -> bool:
        """Whether the weights are held at ``quantize_bits`` in an epoch."""
        return epoch >= self.epochs - self.quantize_epochs
