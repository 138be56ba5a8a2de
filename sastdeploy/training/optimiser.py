"""Adam with decoupled weight decay in one pass over the parameters, which also gives the gradient's norm.

Equal to ``torch.optim.AdamW`` within float32 rounding (Kingma and Ba 2015; Loshchilov and Hutter 2019). Torch's own
reads the gradients once more for their norm, and making one imports torch's compiler, which takes a second.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray

from sastdeploy._kernels.jit import kernel
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.sharpness import gradient_norm

Floats = NDArray[np.float32]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Decay of the mean and of the mean square, and what guards the division: the defaults of the papers and of torch."""
_PIECE = 4096
"""Numbers that one task updates; their squares are summed apart, so the sum does not depend on the number of threads."""


@njit
def _sum_of_squares(g: Floats) -> np.float32:
    """Return the sum in a fixed order, in eight parts: one after the other, every addition would wait for the last."""
    a = b = c = d = e = f = x = y = np.float32(0.0)
    whole = len(g) // 8 * 8
    for i in range(0, whole, 8):
        a += g[i] * g[i]
        b += g[i + 1] * g[i + 1]
        c += g[i + 2] * g[i + 2]
        d += g[i + 3] * g[i + 3]
        e += g[i + 4] * g[i + 4]
        f += g[i + 5] * g[i + 5]
        x += g[i + 6] * g[i + 6]
        y += g[i + 7] * g[i + 7]
    for i in range(whole, len(g)):
        a += g[i] * g[i]
    return ((a + b) + (c + d)) + ((e + f) + (x + y))


# No fastmath: with leave to reassociate, a kernel just compiled and the same one from the cache gave other bits.
@kernel(parallel=True, error_model="numpy")
def _step(
    parameter: Floats, gradient: Floats, mean: Floats, square: Floats,
    rate: np.float32, kept: np.float32, scale: np.float32, squares: Floats,
) -> None:  # fmt: skip
    """Update the parameter and both means in place, and write every piece's sum of squared gradients to ``squares``.

    Args:
        rate: step size over the first mean's bias correction. kept: 1 - learning rate * weight decay.
        scale: 1 / sqrt(the mean square's bias correction).
    """
    epsilon, b1, b2 = np.float32(EPSILON), np.float32(BETA_1), np.float32(BETA_2)
    # Not 1 - b2 in float32, which is 0.001 to five digits only.
    c1, c2 = np.float32(1 - BETA_1), np.float32(1 - BETA_2)
    for piece in prange(len(squares)):
        first = piece * _PIECE
        p, g = parameter[first : first + _PIECE], gradient[first : first + _PIECE]
        m, v = mean[first : first + _PIECE], square[first : first + _PIECE]
        for i in range(len(g)):
            m[i] = b1 * m[i] + c1 * g[i]
            v[i] = b2 * v[i] + c2 * (g[i] * g[i])
            p[i] = p[i] * kept - rate * m[i] / (math.sqrt(v[i]) * scale + epsilon)
        squares[piece] = _sum_of_squares(g)


class FusedAdam:
    """Adam for a network whose parameters are float32 on the CPU."""

    def __init__(self, network: SpikingNetwork, weight_decay: float) -> None:
        self._parameters, self._weight_decay, self._steps = list(network.parameters()), weight_decay, 0
        self._means = [np.zeros(p.numel(), np.float32) for p in self._parameters]
        self._squares = [np.zeros(p.numel(), np.float32) for p in self._parameters]

    def step(self, learning_rate: float) -> float:
        """Take one step along the gradients in ``.grad``, return their Euclidean norm over all parameters together."""
        self._steps += 1
        rate = np.float32(learning_rate / (1 - BETA_1**self._steps))
        scale = np.float32(1 / math.sqrt(1 - BETA_2**self._steps))
        kept = np.float32(1 - learning_rate * self._weight_decay)
        total = 0.0
        for parameter, mean, square in zip(self._parameters, self._means, self._squares):
            gradient = parameter.grad
            if gradient is None:
                continue
            squares = np.empty(-(-len(mean) // _PIECE), np.float32)
            _step(
                parameter.data.view(-1).numpy(),
                gradient.reshape(-1).numpy(),
                mean,
                square,
                rate,
                kept,
                scale,
                squares,
            )
            total += float(squares.sum(dtype=np.float64))
        return math.sqrt(total)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on with the same bits; shares memory with this optimiser."""
        as_tensors = {"means": self._means, "squares": self._squares}
        return {"steps": self._steps} | {
            k: [torch.from_numpy(x) for x in part] for k, part in as_tensors.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: it does not fit the network, or holds anything but finite numbers.
        """
        if type(state["steps"]) is not int or state["steps"] < 0:
            raise ValueError("the optimiser's steps are no whole number")
        for part, kept in ((self._means, state["means"]), (self._squares, state["squares"])):
            for mine, theirs in zip(part, kept, strict=True):
                _check_mean(theirs, mine.shape)
                mine[:] = theirs.numpy()
        self._steps = state["steps"]


def _check_mean(mean: Any, shape: tuple[int, ...]) -> None:
    if (
        not isinstance(mean, torch.Tensor)
        or tuple(mean.shape) != tuple(shape)
        or not mean.is_floating_point()
    ):
        raise ValueError("the optimiser's means do not fit the network")
    if not bool(torch.isfinite(mean).all()):
        raise ValueError("a mean of the optimiser is not finite")


class PlainAdam:
    """The same by torch's optimiser: the definition, for any device and precision."""

    def __init__(self, network: SpikingNetwork, weight_decay: float) -> None:
        self._network = network
        self._adam = torch.optim.AdamW(
            network.parameters(), betas=(BETA_1, BETA_2), eps=EPSILON, weight_decay=weight_decay
        )
        self.state_dict = self._adam.state_dict

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `FusedAdam.load_state_dict`; rates and decays are this run's own."""
        parameters = list(self._network.parameters())
        if not isinstance(state["state"], dict) or set(state["state"]) != set(range(len(parameters))):
            raise ValueError("the optimiser's means do not fit the network")
        for index, parameter in enumerate(parameters):
            entry = state["state"][index]
            if not isinstance(entry, dict):
                raise ValueError("the optimiser's means do not fit the network")
            _check_mean(entry["exp_avg"], parameter.shape)
            _check_mean(entry["exp_avg_sq"], parameter.shape)
            _check_mean(entry["step"], ())
            if entry["step"] < 1:
                raise ValueError("the optimiser has taken no step")
        own = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": state["state"], "param_groups": own})

    def step(self, learning_rate: float) -> float:
        """Take one step along the gradients in ``.grad``, return their Euclidean norm over all parameters together."""
        for options in self._adam.param_groups:
            options["lr"] = learning_rate
        self._adam.step()
        return gradient_norm(self._network)


def adam(network: SpikingNetwork, weight_decay: float) -> FusedAdam | PlainAdam:
    """Return the optimiser that fits the network's kernels."""
    return (FusedAdam if network.fused else PlainAdam)(network, weight_decay)
