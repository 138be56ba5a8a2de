"""A declared architecture as a torch module."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sastdeploy.networks.architecture import Architecture
from sastdeploy.networks.builtin import parameter_shapes
from sastdeploy.training.fused import fits, run_lif_fused
from sastdeploy.training.layers import SUMS, TAKES_SPARSE
from sastdeploy.training.neurons import run_lif
from sastdeploy.training.sparse import SparseValues


class SpikingNetwork(nn.Module):
    """LIF layers and a linear readout of the time-averaged spikes: ``W mean_t(s_L) + b`` (paper, section 3).

    Weights and biases are learnable; thresholds are buffers. No state outlives a call.

    Args:
        fused: run float32 on the CPU through the fused kernels; otherwise, and elsewhere, in plain torch.

    Attributes:
        slope: k of the surrogate in use; the architecture's unless training anneals it.
    """

    def __init__(self, architecture: Architecture, fused: bool = True) -> None:
        super().__init__()
        self.architecture = architecture
        self.fused = fused
        self.slope = architecture.neuron.slope
        self.learnable = nn.ParameterDict()
        for name, shape in parameter_shapes(architecture).items():
            key = name.replace(".", "_")
            if name.endswith("threshold"):
                self.register_buffer(key, torch.full(shape, architecture.neuron.threshold))
            elif self._is_transposed(name):
                # Input by input in memory: the order in which the sparse sum reads it. See `value`.
                self.learnable[key] = nn.Parameter(torch.zeros(shape[::-1]))
            else:
                self.learnable[key] = nn.Parameter(torch.zeros(shape))

    def value(self, name: str) -> Tensor:
        """Return a parameter or threshold by its checkpoint name, as in ``layers.0.weight``."""
        key = name.replace(".", "_")
        if self._is_transposed(name):
            kept: Tensor = self.learnable[key]
            return kept.t()
        return self.learnable[key] if key in self.learnable else self.get_buffer(key)

    def _is_transposed(self, name: str) -> bool:
        """Whether a parameter is kept transposed: the first weight, where frames come in sparse form."""
        return name == "layers.0.weight" and self.takes_sparse

    def learnable_by_name(self) -> dict[str, nn.Parameter]:
        """Return the learnable parameters, as they are kept, by their checkpoint names."""
        names = parameter_shapes(self.architecture)
        return {n: self.learnable[key] for n in names if (key := n.replace(".", "_")) in self.learnable}

    def as_kept(self, name: str, values: Tensor) -> Tensor:
        """Return values of a parameter's checkpoint shape as the parameter lies in `learnable`."""
        return values.t() if self._is_transposed(name) else values

    def forward(
        self,
        x: Tensor | SparseValues,
        hard: bool = False,
        record: list[tuple[Tensor, Tensor]] | None = None,
        slope: float | Tensor | None = None,
    ) -> Tensor:
        """Return class scores ``[B, K]`` of frame values ``[B, T, P, H, W]``, or of their sparse form.

        The sparse form is for networks whose first layer is dense, in float32 on the CPU.

        Args:
            hard: Heaviside spikes instead of the surrogate's; nothing else changes, gradients included.
            record: a list to which every LIF layer appends (spikes, membranes), both ``[T, B, ...]``.
            slope: in the place of the attribute; in plain torch it can be a tensor.
        """
        s = x if isinstance(x, SparseValues) else x.transpose(0, 1)
        for i in range(len(self.architecture.layers)):
            s, u = self.layer(i, self.currents(i, s), hard, slope)
            if record is not None and u is not None:
                record.append((s, u))
        # Not s.mean(0), whose gradient would be written out for every step.
        spikes = cast(Tensor, s)
        mean = spikes.sum(0) / len(spikes)
        pooled = mean.mean((2, 3)) if self.architecture.readout.global_average_pool else mean.flatten(1)
        return F.linear(pooled, self.value("readout.weight"), self.value("readout.bias"))

    def currents(self, i: int, s: Tensor | SparseValues) -> Tensor:
        """Return what layer i's neurons receive, ``[T, B, ...]``: its weighted sums and biases; of a pool its means."""
        layer = self.architecture.layers[i]
        parts = ("weight", "bias") if layer.has_neurons else ()
        values = {part: self.value(f"layers.{i}.{part}") for part in parts}
        return SUMS[layer.kind](layer, values, s, self.fused)

    def layer(
        self, i: int, current: Tensor, hard: bool, slope: float | Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return layer i's spikes and membranes, ``[T, B, ...]``, for its currents; of a pool its means and None."""
        if not self.architecture.layers[i].has_neurons:
            return current, None
        threshold = self.threshold(f"layers.{i}", current)
        run = run_lif_fused if self.fused and fits(current) else run_lif
        return run(
            current, threshold, self.architecture.neuron.alpha, self.slope if slope is None else slope, hard
        )

    def threshold(self, name: str, current: Tensor) -> Tensor:
        """Return a layer's thresholds, one per channel, in the shape that meets its currents ``[T, B, C, ...]``."""
        return self.value(f"{name}.threshold").view(-1, *[1] * (current.ndim - 3))

    @property
    def device(self) -> torch.device:
        """Where the parameters lie, and frame values must."""
        return self.value("readout.bias").device

    @property
    def takes_sparse(self) -> bool:
        """Whether frames may come in sparse form: the first layer takes it, and the kernels are wanted."""
        return self.fused and self.architecture.layers[0].kind in TAKES_SPARSE

    def initialise(self, generator: torch.Generator, scale: float = 1.0) -> None:
        """Draw every weight and bias from U(-a, a), ``a = scale / sqrt(fan_in)``; scale 1 is torch's default."""
        with torch.no_grad():
            for name, shape in parameter_shapes(self.architecture).items():
                if name.endswith("weight"):
                    bound = scale / math.sqrt(int(np.prod(shape[1:])))
                    for part in (name, name.replace("weight", "bias")):
                        # Drawn apart: the order of a draw follows memory, and memory differs between kernels.
                        drawn = torch.empty(tuple(self.value(part).shape)).uniform_(
                            -bound, bound, generator=generator
                        )
                        self.value(part).copy_(drawn)

    def parameters_as_arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of all parameters and thresholds by their checkpoint names."""
        names = parameter_shapes(self.architecture)
        return {name: self.value(name).detach().cpu().numpy().astype(np.float32, copy=True) for name in names}

    def load_arrays(self, arrays: dict[str, NDArray[np.float32]]) -> None:
        """Take over parameters and thresholds by their checkpoint names."""
        with torch.no_grad():
            for name in parameter_shapes(self.architecture):
                self.value(name).copy_(torch.from_numpy(arrays[name]))
