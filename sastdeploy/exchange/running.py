"""What a live module's neurons send, in float64, step by step from a fresh state."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from sastdeploy.errors import CompileError
from sastdeploy.exchange.parts import Array
from sastdeploy.exchange.torch_arrays import home_of

_FRESH = ("reset_mem", "reset", "reset_states")


def takes_time(net: nn.Module) -> bool:
    """Return whether a network takes ``[N, T, ...]``, as sinabs' layers do that are not squeezed."""
    layers = _sinabs(net)
    return bool(layers) and not any(_is_squeezed(layer) for layer in layers)


def outputs_of(net: nn.Module, neurons: Sequence[nn.Module], x: Array) -> list[Array]:
    """Return what every neuron module sends ``[N, T, ...]``, as a copy in evaluation mode, for ``x [N, T, ...]``.

    Raises:
        CompileError: the module itself does not take such values.
    """
    double, twins = _copied(net, neurons)
    double.double().eval()
    sent: list[list[Array]] = [[] for _ in twins]

    def keep(rows: list[Array]) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            values, *others = output if isinstance(output, tuple) else (output,)
            rows.append(values.detach().double().numpy())
            # snnTorch's and sinabs' spikes are float32 always, which the next layer, or their own recurrent one, would refuse.
            if isinstance(getattr(module, "spk", None), torch.Tensor):
                module.spk = values.double()
            return (values.double(), *others) if isinstance(output, tuple) else values.double()

        return hook

    for twin, rows in zip(twins, sent):
        twin.register_forward_hook(keep(rows))
        _refresh(twin)
    try:
        with torch.no_grad():
            whole = _run(double, x)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        step = " x ".join(map(str, x.shape[2:]))
        raise CompileError(
            f"the module fails on steps of {step} values ({str(error).splitlines()[0]}). Give one step's input as the example, "
            "and a module that takes one step."
        ) from error
    if whole:
        return [rows[0].reshape(*x.shape[:2], *rows[0].shape[whole:]) for rows in sent]
    return [np.stack(rows, 1) for rows in sent]


def _copied(net: nn.Module, neurons: Sequence[nn.Module]) -> tuple[nn.Module, list[nn.Module]]:
    """Return copies of a network and of its neurons that share nothing with them."""
    memo: dict[int, Any] = {}
    for module in net.modules():
        for held in vars(module).values():
            # States of a training step hang on its graph, which deepcopy refuses.
            for value in held.values() if isinstance(held, dict) else (held,):
                if isinstance(value, torch.Tensor) and not value.is_leaf:
                    memo[id(value)] = value.detach().clone()
    for module in net.modules():
        if _is_recurrent(module) and id(module) not in memo:
            # sinabs' own copy of these fails, and would share their weights.
            twin = memo[id(module)] = type(module).__new__(type(module))
            vars(twin).update(copy.deepcopy(vars(module), memo))
    return copy.deepcopy((net, list(neurons)), memo)


def _run(net: nn.Module, x: Array) -> int:
    """Run a module over all steps; return how many axes of what it sends stand for recordings and steps, 0 if step by step."""
    layers = _sinabs(net)
    if layers and takes_time(net):
        net(torch.from_numpy(x))
        return 2
    if layers:
        for layer in layers:
            layer.batch_size, layer.num_timesteps = x.shape[:2]
        net(torch.from_numpy(x.reshape(-1, *x.shape[2:])))
        return 1
    keeps_state = "state" in inspect.signature(net.forward).parameters
    state: Any = None
    for t in range(x.shape[1]):
        values = torch.from_numpy(x[:, t])
        if keeps_state:
            _, state = net(values, state)
        else:
            net(values)
    return 0


def _refresh(twin: Any) -> None:
    if _is_recurrent(twin):
        twin.rec_connect.register_forward_pre_hook(lambda _, inputs: tuple(each.double() for each in inputs))
    for fresh in _FRESH:
        if hasattr(twin, fresh):
            getattr(twin, fresh)()
            break
    # Norse's parameters are no buffers, so that `double` passes them by.
    if home_of(twin) == "norse":
        values = twin.p._asdict()
        floating = {k: v.detach().double() for k, v in values.items() if isinstance(v, torch.Tensor)}
        twin.p = twin.p._replace(**floating)
        for name in ("input_weights", "recurrent_weights"):
            given = getattr(twin, name, None)
            if isinstance(given, torch.Tensor) and not isinstance(given, nn.Parameter):
                setattr(twin, name, given.double())


def _sinabs(net: nn.Module) -> list[Any]:
    return [
        module for module in net.modules() if home_of(module) == "sinabs" and hasattr(module, "reset_states")
    ]


def _is_recurrent(module: nn.Module) -> bool:
    """Return whether a module is one of sinabs' whose spikes, which are float32 always, come back to it."""
    return home_of(module) == "sinabs" and hasattr(module, "rec_connect")


def _is_squeezed(layer: Any) -> bool:
    return hasattr(layer, "num_timesteps")
