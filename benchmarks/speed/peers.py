"""The same network in other frameworks, each as its own documentation runs it on a CPU.

Two spiking rules occur. ``delayed``: a spike lowers the membrane one step later (here and snnTorch's default).
``at once``: it does so in the same step, so that the threshold decays too (SpikingJelly, sinabs, Norse). Predictions
are compared with `definition` under the peer's own rule before anything is timed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sastdeploy import Checkpoint
from sastdeploy.networks.architecture import Conv

Scores = Callable[[Tensor], Tensor]


def definition(checkpoint: Checkpoint, rule: str, strict: bool, channels_last: bool = False) -> Scores:
    """Return class scores in plain torch of values ``[T, B, P, H, W]``.

    ``strict``: a spike needs u > theta. ``channels_last``: how a convolution's weights, and with them its output, lie in memory.
    """
    neuron, stages = checkpoint.architecture.neuron, _modules(checkpoint)
    if channels_last:
        stages = [stage.to(memory_format=torch.channels_last) for stage in stages]  # type: ignore[call-overload]  # torch does not type a memory format by itself

    def scores(x: Tensor) -> Tensor:
        s = x
        for apply in stages[:-1]:
            current = _over_time(apply, s)
            u, fired, spikes = torch.zeros_like(current[0]), torch.zeros_like(current[0]), []
            for drive in current:
                u = neuron.alpha * u + drive - (neuron.threshold * fired if rule == "delayed" else 0.0)
                fired = (u > neuron.threshold if strict else u >= neuron.threshold).to(u.dtype)
                if rule == "at once":
                    u = u - neuron.threshold * fired
                spikes.append(fired)
            s = torch.stack(spikes)
        readout: Tensor = stages[-1](_pooled(s.mean(0)))
        return readout

    return scores


def _pooled(mean: Tensor) -> Tensor:
    return mean.mean((2, 3)) if mean.dim() == 4 else mean


def _over_time(apply: Callable[[Tensor], Tensor], s: Tensor) -> Tensor:
    out = apply(s.flatten(0, 1))
    return out.view(*s.shape[:2], *out.shape[1:])


def _modules(checkpoint: Checkpoint) -> list[nn.Module]:
    """Return the weighted sums of all layers and of the readout, on ``[N, ...]``."""
    arrays, modules = checkpoint.parameters, []
    for i, layer in enumerate(checkpoint.architecture.layers):
        weight, bias = (torch.from_numpy(arrays[f"layers.{i}.{part}"].copy()) for part in ("weight", "bias"))
        if isinstance(layer, Conv):
            made: nn.Module = nn.Conv2d(
                weight.shape[1], weight.shape[0], layer.kernel, layer.stride, layer.padding
            )
            made.weight.data, made.bias.data = weight, bias
        else:
            made = nn.Sequential(nn.Flatten(), nn.Linear(weight.shape[1], weight.shape[0]))
            made[1].weight.data, made[1].bias.data = weight, bias
        modules.append(made)
    weight, bias = (torch.from_numpy(arrays[f"readout.{part}"].copy()) for part in ("weight", "bias"))
    readout = nn.Linear(weight.shape[1], weight.shape[0])
    readout.weight.data, readout.bias.data = weight, bias
    return [*modules, readout]


class _Peer(nn.Module):
    """Stages and the peer's neurons between them; `forward` as the peer's guides write it.

    ``time_first``: it takes values ``[T, B, P, H, W]``, else ``[B, T, P, H, W]``.
    """

    rule, strict, time_first = "at once", False, True

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.neuron = checkpoint.architecture.neuron
        *stages, self.readout = _modules(checkpoint)
        self.stages = nn.ModuleList(stages)
        self.neurons = nn.ModuleList(self.make() for _ in stages)

    def make(self) -> nn.Module:
        raise NotImplementedError

    def read_out(self, mean: Tensor) -> Tensor:
        """Return class scores of the last layer's spikes, averaged over time."""
        scores: Tensor = self.readout(_pooled(mean))
        return scores


class SnnTorch(_Peer):
    """A loop over time, as in snnTorch's tutorials; spikes where u > theta."""

    rule, strict = "delayed", True

    def make(self) -> nn.Module:
        import snntorch

        gradient = snntorch.surrogate.atan()
        leaky: nn.Module = snntorch.Leaky(
            self.neuron.alpha, self.neuron.threshold, spike_grad=gradient, reset_mechanism="subtract"
        )
        return leaky

    def forward(self, x: Tensor) -> Tensor:
        states: list[Any] = [neuron.reset_mem() for neuron in self.neurons]  # type: ignore[operator]  # the peer's own class, to torch a module or tensor
        total: Any = 0.0
        for s in x:
            for k, (stage, neuron) in enumerate(zip(self.stages, self.neurons)):
                s, states[k] = neuron(stage(s), states[k])
            total = total + s
        return self.read_out(total / len(x))


class SpikingJelly(_Peer):
    """Multi-step mode; on a CPU its neurons are a loop over time in torch."""

    def make(self) -> nn.Module:
        from spikingjelly.activation_based import neuron, surrogate

        node: nn.Module = neuron.LIFNode(
            1 / (1 - self.neuron.alpha), False, self.neuron.threshold, None, surrogate.ATan(), step_mode="m"
        )
        return node

    def forward(self, x: Tensor) -> Tensor:
        from spikingjelly.activation_based import functional

        s = x
        for stage, neuron in zip(self.stages, self.neurons):
            s = neuron(_over_time(stage, s))
        functional.reset_net(self)
        return self.read_out(s.mean(0))


class Sinabs(_Peer):
    """Layers over all time steps."""

    time_first = False

    def make(self) -> nn.Module:
        from sinabs.activation import SingleSpike
        from sinabs.layers import LIF

        lif: nn.Module = LIF(
            -1 / math.log(self.neuron.alpha), spike_threshold=torch.tensor(self.neuron.threshold), spike_fn=SingleSpike,
            norm_input=False,
        )  # fmt: skip
        return lif

    def forward(self, x: Tensor) -> Tensor:
        s = x
        for stage, neuron in zip(self.stages, self.neurons):
            neuron.reset_states()  # type: ignore[operator]  # the peer's own class, to torch a module or tensor
            s = neuron(_over_time(stage, s))
        return self.read_out(s.mean(1))


class Norse(_Peer):
    """Cells in a loop over time; the cell weighs its input by 1 - alpha, which is undone here."""

    strict = True

    def make(self) -> nn.Module:
        import norse.torch as norse
        from norse.torch.functional.reset import reset_subtract

        cell: nn.Module = norse.LIFBoxCell(
            norse.LIFBoxParameters(
                tau_mem_inv=torch.tensor(1000 * (1 - self.neuron.alpha)), v_th=torch.tensor(self.neuron.threshold),
                reset_method=reset_subtract,
            )
        )  # fmt: skip
        return cell

    def forward(self, x: Tensor) -> Tensor:
        states: list[Any] = [None] * len(self.neurons)
        total: Any = 0.0
        scale = 1 / (1 - self.neuron.alpha)
        for s in x:
            for k, (stage, neuron) in enumerate(zip(self.stages, self.neurons)):
                s, states[k] = neuron(stage(s) * scale, states[k])
            total = total + s
        return self.read_out(total / len(x))


PEERS: dict[str, type[_Peer]] = {
    "snnTorch": SnnTorch, "SpikingJelly": SpikingJelly, "sinabs": Sinabs, "Norse": Norse,
}  # fmt: skip
PACKAGES = {"snnTorch": "snntorch", "SpikingJelly": "spikingjelly", "sinabs": "sinabs", "Norse": "norse"}


def available() -> dict[str, type[_Peer]]:
    """Return the peers that are installed."""
    import importlib.util

    return {name: peer for name, peer in PEERS.items() if importlib.util.find_spec(PACKAGES[name])}


def agreement(checkpoint: Checkpoint, name: str, x: Tensor) -> float:
    """Return the share of recordings ``[B, T, P, H, W]`` on which a peer predicts what plain torch does under the peer's own rule."""
    peer = PEERS[name](checkpoint).eval()
    with torch.inference_mode():
        ours = definition(checkpoint, peer.rule, peer.strict)(laid_out(x, True)).argmax(1)
        return float((peer(laid_out(x, peer.time_first)).argmax(1) == ours).float().mean())


def laid_out(x: Tensor, time_first: bool) -> Tensor:
    """Return values ``[B, T, ...]`` as a block of memory in the order that a peer takes."""
    return (x.transpose(0, 1) if time_first else x).contiguous()


def loss_of(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels)
