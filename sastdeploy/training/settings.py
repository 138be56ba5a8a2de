"""What a training run is asked to do."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from sastdeploy.errors import InputError

METHODS = ("baseline", "sast")
KERNELS = ("fused", "torch")


@dataclass(frozen=True)
class TrainingSettings:
    """The paper's defaults (section 5): Adam, learning rate 1e-3, cosine annealing, batch 128.

    Args:
        method: ``baseline``, or ``sast`` (two passes per step).
        rho: radius of SAST's ascent step, >= 0; the paper: 0.30 (N-MNIST), 0.40 (DVS Gesture).
        delta: added to the gradient's norm, > 0.
        epochs, batch_size: at least 1. learning_rate: > 0, at the first epoch.
        seed: of initial weights and of both streams of minibatches.
        kernels: ``fused`` (float32 on the CPU, first layer over active inputs only), or ``torch``, the plain
            definition. Equal within float32 rounding; the bits differ.
    """

    method: str = "baseline"
    rho: float = 0.0
    delta: float = 1e-12
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    seed: int = 0
    kernels: str = "fused"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method '{self.method}': unknown. Allowed: {', '.join(METHODS)}.")
        if self.kernels not in KERNELS:
            raise InputError(f"kernels '{self.kernels}': unknown. Allowed: {', '.join(KERNELS)}.")
        if self.method == "baseline" and self.rho != 0.0:
            raise InputError(f"rho {self.rho:g}: belongs to method sast; baseline has none.")
        for name in ("rho", "delta", "learning_rate"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0 or (value == 0 and name != "rho"):
                raise InputError(
                    f"{name} {value:g}: must be a {'non-negative' if name == 'rho' else 'positive'} number."
                )
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: must be at least 1.")
        if self.seed < 0:
            raise InputError(f"seed {self.seed}: must not be negative.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch (from 0): cosine annealing to 0 over all epochs."""
        return 0.5 * self.learning_rate * (1.0 + math.cos(math.pi * epoch / self.epochs))
