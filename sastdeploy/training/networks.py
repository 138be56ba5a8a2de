"""A declared architecture as a torch module."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sastdeploy.networks.architecture import Architecture, AvgPool, Conv, Dense
from sastdeploy.networks.builtin import parameter_shapes
from sastdeploy.training.fused import fits, run_lif_fused
from sastdeploy.training.neurons import run_lif
from sastdeploy.training.sparse import SparseLinear, SparseValues


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
        """Return what layer i receives, ``[T, B, ...]``: the weighted sums and biases of its inputs, or a pool's inputs."""
        layer = self.architecture.layers[i]
        if isinstance(layer, AvgPool):
            return cast(Tensor, s)
        weight, bias = self.value(f"layers.{i}.weight"), self.value(f"layers.{i}.bias")
        if isinstance(s, SparseValues):
            # torch does not annotate `apply`.
            flat: Tensor = SparseLinear.apply(weight, bias, s)  # type: ignore[no-untyped-call]
            return flat.view(s.time_bins, s.recordings, -1)
        if isinstance(layer, Conv):
            # With channels last, convolutions on the CPU take a fifth less time, one of few channels an eighth.
            form = torch.channels_last if self.fused and fits(s) else torch.contiguous_format
            return _over_steps(
                lambda flat: F.conv2d(
                    flat.contiguous(memory_format=form), weight, bias, layer.stride, layer.padding
                ),
                s,
            )
        return F.linear(s.flatten(2), weight, bias)

    def layer(
        self, i: int, current: Tensor, hard: bool, slope: float | Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return layer i's spikes and membranes, ``[T, B, ...]``, for its currents; of a pool its means and None."""
        layer = self.architecture.layers[i]
        if isinstance(layer, AvgPool):
            return _over_steps(lambda flat: F.avg_pool2d(flat, *layer.window), current), None
        threshold = self.value(f"layers.{i}.threshold")
        if isinstance(layer, Conv):
            threshold = threshold.view(-1, 1, 1)
        run = run_lif_fused if self.fused and fits(current) else run_lif
        return run(
            current, threshold, self.architecture.neuron.alpha, self.slope if slope is None else slope, hard
        )

    @property
    def device(self) -> torch.device:
        """Where the parameters lie, and frame values must."""
        return self.value("readout.bias").device

    @property
    def takes_sparse(self) -> bool:
        """Whether frames may come in sparse form: the first layer is dense, and the kernels are wanted."""
        return self.fused and isinstance(self.architecture.layers[0], Dense)

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


def _over_steps(operation: Callable[[Tensor], Tensor], s: Tensor) -> Tensor:
    """Apply an operation on ``[N, C, H, W]`` to ``[T, B, C, H, W]`` with time and batch as one axis."""
    result = operation(s.flatten(0, 1))
    return result.view(*s.shape[:2], *result.shape[1:])
