"""What a training run is asked to do."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from sastdeploy.errors import InputError, short
from sastdeploy.networks.architecture import SLOPES
from sastdeploy.networks.checkpoint import MAX_EPOCHS, MAX_RHO, MAX_SEED

METHODS = ("baseline", "sast", "asam", "random")
FORWARDS = ("surrogate", "hard")
INITS = ("paper", "alive")
RANGES = {
    "rho": (0.0, MAX_RHO),
    "delta": (1e-30, 1e6),
    "learning_rate": (1e-12, 1e3),
    "weight_decay": (0.0, 1e6),
    "init_scale": (1e-6, 1e6),
}
"""What float32 holds with room for what a step computes from it, as rho / delta."""
RHO = 0.3
"""The paper's on N-MNIST."""
MAX_BATCH = 1_000_000
KERNELS = ("fused", "torch", "packed")


def kernels_for(device: str, asked: str | None, packable: bool = True) -> str:
    """Return the kernels asked for, or a device's default: ``fused`` on the CPU, elsewhere ``packed`` where it can be.

    Args:
        packable: one process trains, with weights as they are.

    Raises:
        InputError: ``fused`` asked for on another device than the CPU, or ``packed`` where it cannot be.
    """
    if asked == "fused" and device != "cpu":
        raise InputError(
            f"kernels fused: compute on the CPU only, the device is {device}. Allowed there: packed, its default, or torch. "
            f"Leave --kernels out, or train with --device cpu."
        )
    if asked == "packed" and not packable:
        raise InputError(
            "kernels packed: train in one process, and take no quantize_bits. Choose torch, or leave --kernels out."
        )
    return asked or ("fused" if device == "cpu" else "packed" if packable else "torch")


def forward_of(word: str) -> str:
    """Return the forward pass that a word names: ``smooth`` is the earlier word for ``surrogate``."""
    return "surrogate" if word == "smooth" else word


def shown_training(training: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's settings and facts of its training as they are shown; its file keeps the earlier word."""
    return training | ({"forward": forward_of(training["forward"])} if "forward" in training else {})


@dataclass(frozen=True)
class TrainingSettings:
    """The paper's defaults (section 5): Adam, learning rate 1e-3, cosine annealing, batch 128. The rest are its rivals.

    Args:
        method: ``baseline``; ``sast`` (two passes per step); ``asam``, the same with a step in proportion to each
            weight; ``random``, one pass at a randomly moved point (SAST's control).
        rho: length of the step of ``sast``, ``asam`` and ``random``, 0 to 1e6; the paper: 0.30 (N-MNIST), 0.40 (DVS Gesture). None:
            0.3, and 0 of ``baseline``, which has none.
        delta: added to the gradient's norm, 1e-30 to 1e6.
        epochs, batch_size: 1 to 1,000,000. learning_rate: at the first epoch, 1e-12 to 1e3.
        seed: of initial weights, of both streams of minibatches, and of random steps.
        kernels: ``fused`` (float32 on the CPU, first layer over active inputs only); ``packed`` (many networks in one
            batched step, on a GPU one CUDA graph); or ``torch``, the plain definition. Equal within float32 rounding; the
            bits differ.
        forward: ``surrogate`` (as in the paper; earlier files call it ``smooth``), or ``hard``: Heaviside spikes forward, the surrogate's
            gradient backward.
        slope_end: the surrogate's slope in the last epoch, reached in equal factors; 0 keeps the architecture's.
        weight_decay: decoupled (AdamW), per step in units of the learning rate, 0 to 1e6; their product at most 1.
        init: ``paper``: as PyTorch draws them, from U(-a, a), ``a = 1 / sqrt(fan_in)`` (the paper states none); ``alive``: these times a factor per
            layer with which the layer spikes on the first minibatch (`sastdeploy.training.initial.alive_factors`).
        init_scale: with ``paper``, initial weights and biases times this factor, 1e-6 to 1e6.
        quantize_bits, quantize_epochs: in that many last epochs the weights are held at 2 to 8 bits
            (straight-through gradients), and the checkpoint holds them so; 0 bits: never.

    Raises:
        InputError: a value is unknown or out of range, or two of them contradict each other.
    """

    method: str = "baseline"
    rho: float = None  # type: ignore[assignment]  # a number once it is made
    delta: float = 1e-12
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    seed: int = 0
    kernels: str = "fused"
    forward: str = "surrogate"
    slope_end: float = 0.0
    weight_decay: float = 0.0
    init_scale: float = 1.0
    quantize_bits: int = 0
    quantize_epochs: int = 0
    init: str = "paper"

    def __post_init__(self) -> None:
        object.__setattr__(self, "forward", forward_of(self.forward))
        if self.rho is None:
            object.__setattr__(self, "rho", 0.0 if self.method == "baseline" else RHO)
        for name, allowed in (
            ("method", METHODS),
            ("kernels", KERNELS),
            ("forward", FORWARDS),
            ("init", INITS),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} '{getattr(self, name)}': unknown. Allowed: {', '.join(allowed)}.")
        if self.method == "baseline" and self.rho != 0.0:
            raise InputError(
                f"rho {short(self.rho, 40)}: belongs to methods {', '.join(METHODS[1:])}; baseline has none."
            )
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} {short(getattr(self, name), 40)}: outside {low:g} to {high:g}.")
        if self.slope_end != 0.0 and not SLOPES[0] <= self.slope_end <= SLOPES[1]:
            raise InputError(
                f"slope_end {short(self.slope_end, 40)}: must be {SLOPES[0]:g} to {SLOPES[1]:g}, or 0 for unchanged."
            )
        if self.learning_rate * self.weight_decay > 1.0:
            raise InputError(
                f"weight_decay {self.weight_decay:g}: times the learning rate {self.learning_rate:g} is above 1, so each "
                f"step would turn the weights' signs. Choose at most {1 / self.learning_rate:g}."
            )
        if self.init == "alive" and self.init_scale != 1.0:
            raise InputError(
                f"init_scale {self.init_scale:g}: init alive finds each layer's factor itself. Leave one of the two out."
            )
        for name, high in (("epochs", MAX_EPOCHS), ("batch_size", MAX_BATCH)):
            if not 1 <= getattr(self, name) <= high:
                raise InputError(f"{name} {short(getattr(self, name), 40)}: outside 1 to {high:,}.")
        if not 0 <= self.seed <= MAX_SEED:
            raise InputError(f"seed {short(self.seed, 40)}: outside 0 to {MAX_SEED}.")
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
        """Return plain values as files hold them: what a later version added is left out where it is the default."""
        values = asdict(self)
        if self.init == "paper":
            del values["init"]
        # The word of every file so far, and part of every checkpoint's hash.
        return values | {"forward": "smooth" if self.forward == "surrogate" else self.forward}

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch: cosine annealing to 0 over all epochs.

        Args:
            epoch: from 0.
        """
        return 0.5 * self.learning_rate * (1.0 + math.cos(math.pi * epoch / self.epochs))

    def slope(self, epoch: int, first: float) -> float:
        """Return the surrogate's slope in an epoch.

        Args:
            epoch: from 0.
            first: the slope of epoch 0, the architecture's; from it to ``slope_end`` in equal factors.
        """
        if self.slope_end == 0.0 or self.epochs == 1:
            return self.slope_end or first
        return float(first * (self.slope_end / first) ** (epoch / (self.epochs - 1)))

    def quantized(self, epoch: int) -> bool:
        """Whether the weights are held at ``quantize_bits`` in an epoch.

        Args:
            epoch: from 0.
        """
        return epoch >= self.epochs - self.quantize_epochs
