"""from_module: a live torch network of snnTorch, SpikingJelly, Norse, sinabs or plain layers as one that `compile` takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from sastdeploy.compiler.imported import ImportedNetwork
from sastdeploy.errors import CompileError, InputError
from sastdeploy.exchange import norse_neurons, sinabs_neurons
from sastdeploy.exchange import parts as p
from sastdeploy.exchange.agreement import require_agreement
from sastdeploy.exchange.brevitas_layers import weight_of
from sastdeploy.exchange.dialects import dialect
from sastdeploy.exchange.framing import Framing, network_of
from sastdeploy.exchange.leaks import integrating, leaky, leaky_with_current, refractory, snapped
from sastdeploy.exchange.parts import Pair, Part, floats
from sastdeploy.exchange.running import takes_time
from sastdeploy.exchange.torch_arrays import array_of, home_of
from sastdeploy.provenance import versions


def from_module(
    net: nn.Module,
    example: torch.Tensor,
    *,
    framing: Framing | None = None,
    name: str = "network",
    readout: str | None = None,
) -> ImportedNetwork:
    """Return the network of a live module, whose spikes are its own: both are run on random inputs and compared.

    Takes an ``nn.Sequential``, nested ones too, of Linear, Conv1d, Conv2d, BatchNorm (folded), AvgPool2d, Flatten, Dropout and
    Identity (left out), brevitas' QuantLinear and QuantConv layers (a program keeps their integers where its profile holds
    them), snnTorch's Leaky, Synaptic, RLeaky and RSynaptic, SpikingJelly's IFNode, LIFNode, ParametricLIFNode,
    CUBALIFNode, recurrent containers of them, and layers of one step; a ``SequentialState`` with Norse's LIFCell, LIFRecurrentCell, LIFBoxCell, IAFCell, LICell and LIBoxCell; and
    sinabs' LIF, IAF, ExpLeak and SumPool2d, squeezed or not, LIFRecurrent and IAFRecurrent.

    Args:
        net: in either mode; it is taken as it runs in evaluation.
        example: one step's input, batch first; its shape is what counts. framing, readout: as in `from_nir`.
        name: of the network, for messages and for the programs that are compiled from it.

    Raises:
        CompileError: it holds what no engine computes: every reason, each with the module's name.
        InputError: spikes, or membranes that are read, differ: layer, step, neuron, both values, and the likely cause.

    Example::

        network = from_module(net, torch.zeros(1, 2, 34, 34), framing=Framing(time_bins=10))
    """
    if readout not in (None, "last", "max"):
        raise InputError(f"readout '{readout}': unknown. Allowed: last, max.")
    modules = list(_modules(net, ""))
    parts: list[Part] = [*norse_neurons.without_state(net)]
    axes = 2 if takes_time(net) else 1
    watched: list[nn.Module] = []
    for where, module in modules:
        _add(parts, where, module, axes)
        if parts and isinstance(parts[-1], (p.Neurons, p.Integrators)) and parts[-1].name == where:
            watched.append(module)
    shape = tuple(int(size) for size in example.shape[1:])
    if not 1 <= len(shape) <= 3:
        raise CompileError(
            f"{name}: the example has shape {tuple(example.shape)}; needs a batch and one to three axes."
        )
    network = network_of(name, parts, shape, framing or Framing(), readout)
    checked = require_agreement(network.graph, net, watched, shape)
    provenance = {"format": "torch module", "checked": checked, "versions": versions("numpy", "torch")}
    return replace(network, provenance=provenance)


def _modules(module: nn.Module, where: str) -> Iterator[tuple[str, nn.Module]]:
    if home_of(module) == "sinabs" and type(module).__name__ == "Repeat":
        yield from _modules(module.module, where)  # type: ignore[arg-type]  # a module by its constructor
        return
    if not isinstance(module, nn.Sequential):
        yield where or "module", module
        return
    for name, inner in module.named_children():
        yield from _modules(inner, f"{where}.{name}" if where else name)


def _add(parts: list[Part], where: str, module: nn.Module, axes: int) -> None:
    if isinstance(module, (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)):
        return
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        last = parts[-1] if parts else None
        if not isinstance(last, (p.Linear, p.Convolution)) or module.running_var is None:
            parts.append(
                p.Refused(where, "a normalisation that follows no weighted layer, or keeps no statistics.")
            )
            return
        parts[-1] = _normalised(last, module)
        return
    if isinstance(module, nn.Flatten):
        parts.append(_flatten(where, module, axes))
        return
    parts += _parts(where, module)


def _parts(where: str, module: nn.Module) -> list[Part]:
    for kind, make in _PARTS.items():
        if isinstance(module, kind):
            try:
                return [make(where, module)]
            except CompileError as error:
                return [p.Refused(where, "\n".join(error.reasons))]
    home, kind_name = home_of(module), type(module).__name__
    neuron = _NEURONS.get((home, kind_name))
    if neuron is None:
        reason = f"a module {home}.{kind_name}, which is not read. Networks of other frameworks come in as NIR files."
        return [p.Refused(where, reason)]
    try:
        made = neuron(where, module)
    except CompileError as error:
        made = p.Refused(where, "\n".join(reason.removeprefix(f"{where}: ") for reason in error.reasons))
    return made if isinstance(made, list) else [made]


def _linear(where: str, module: Any) -> Part:
    weight, bits = weight_of(module)
    return p.Linear(where, weight, None if module.bias is None else array_of(module.bias), bits)


def _convolution(where: str, module: Any) -> Part:
    if module.padding_mode != "zeros":
        return p.Refused(where, f"padding '{module.padding_mode}'; engines pad with zeros.")
    weight, bits = weight_of(module)
    if isinstance(module, nn.Conv1d):
        weight = weight[:, :, None]
    padding = module.padding if isinstance(module.padding, str) else _sizes(module.padding, 0)
    bias = None if module.bias is None else array_of(module.bias)
    stride, dilation = _sizes(module.stride, 1), _sizes(module.dilation, 1)
    return p.Convolution(where, weight, bias, stride, padding, dilation, int(module.groups), bits)


def _sizes(values: tuple[int, ...], across: int) -> Pair:
    """Return ``(y, x)`` of a convolution's sizes; of one over a line, ``across`` stands for y."""
    return (int(values[0]), int(values[1])) if len(values) == 2 else (across, int(values[0]))


def _pool(where: str, module: Any) -> Part:
    if module.ceil_mode or not module.count_include_pad or module.divisor_override is not None:
        return p.Refused(where, "a pool with ceil_mode, without count_include_pad or with its own divisor.")
    return p.Pooling(where, _pair(module.kernel_size), _pair(module.stride), _pair(module.padding), True)


def _sum_pool(where: str, module: Any) -> Part:
    if module.norm_type != 1 or module.ceil_mode:
        return p.Refused(where, f"a pool of norm {module.norm_type:g} or with ceil_mode; engines sum.")
    kernel = _pair(module.kernel_size)
    return p.Pooling(where, kernel, _pair(module.stride or kernel), (0, 0), False)


def _flatten(where: str, module: Any, axes: int) -> Part:
    if module.start_dim != axes or module.end_dim != -1:
        return p.Refused(where, "flattens some axes; engines flatten all of a step's values.")
    return p.Flattening(where)


def _normalised(part: p.Linear | p.Convolution, module: Any) -> p.Linear | p.Convolution:
    """Return the layer with its normalisation, as in evaluation, in its weights."""
    factor = 1.0 / np.sqrt(array_of(module.running_var) + module.eps)
    shift = -array_of(module.running_mean) * factor
    if module.affine:
        gain = array_of(module.weight)
        factor, shift = factor * gain, shift * gain + array_of(module.bias)
    bias = shift if part.bias is None else part.bias * factor + shift
    return replace(part, weight=part.weight * factor.reshape(-1, *[1] * (part.weight.ndim - 1)), bias=bias)


def _leaky(where: str, module: Any) -> Part:
    reasons = []
    delay = int(getattr(module, "reset_delay", True))
    if delay == 0 and module.reset_mechanism == "subtract":
        reasons.append(
            "reset_delay=False subtracts once more, a step later, from a membrane that stays above its threshold, which no engine computes."
        )
    if getattr(module, "inhibition", False):
        reasons.append("inhibition between neurons, which no engine computes.")
    if getattr(module, "state_quant", False):
        reasons.append("a quantized state, which no engine computes.")
    if float(torch.as_tensor(getattr(module, "graded_spikes_factor", 1.0)).reshape(-1)[0]) != 1.0:
        reasons.append("graded spikes, which no engine computes.")
    current = snapped(array_of(module.alpha)) if hasattr(module, "alpha") else None
    own = getattr(module, "recurrent", None)
    if getattr(own, "kernel_size", None) is not None:
        reasons.append("recurrent through a convolution, which no engine computes.")
    if reasons:
        return p.Refused(where, " ".join(reasons))
    beta = snapped(array_of(module.beta))
    if not ((beta > 0) & (beta <= 1)).all():
        return p.Refused(where, f"beta from {beta.min():g} to {beta.max():g}, outside (0, 1].")
    if current is not None and not ((current >= 0) & (current <= 1)).all():
        return p.Refused(where, f"alpha from {current.min():g} to {current.max():g}, outside [0, 1].")
    one, zero = np.ones(1), np.zeros(1)
    computed = f"beta = {beta.min():g} to {beta.max():g}, gain = 1"
    if current is not None:
        computed += f", current decay = alpha = {current.min():g} to {current.max():g}"
    recurrent = None
    if own is not None:
        # Each neuron hears itself alone where there is no layer, but a factor V.
        weight, bias = getattr(own, "weight", getattr(own, "V", None)), getattr(own, "bias", None)
        recurrent = p.Linear(where, array_of(weight), None if bias is None else array_of(bias))
    neurons = p.Neurons(
        where,
        beta,
        one,
        zero,
        array_of(module.threshold),
        ">",
        module.reset_mechanism,
        delay,
        computed,
        current,
        recurrent,
    )
    return neurons if current is None and own is None else refractory(neurons)


def _node(where: str, module: Any) -> Part:
    """Return a neuron of SpikingJelly: hard reset to ``v_reset``, or soft where that is None."""
    soft = module.v_reset is None
    rules = dialect("spikingjelly", dt=1.0, dt_if=1.0, reset="subtract" if soft else "zero")
    rest = floats(0.0 if soft else module.v_reset)
    threshold = floats(module.v_threshold)
    if type(module).__name__ == "IFNode":
        return integrating(where, rules, r=np.ones(1), v_threshold=threshold, v_reset=rest)
    tau = 1.0 / array_of(module.w.sigmoid()) if hasattr(module, "w") else floats(module.tau)
    r = np.ones(1) if module.decay_input else tau
    return leaky(where, rules, tau=tau, r=r, v_leak=rest, v_threshold=threshold, v_reset=rest)


def _cuba_node(where: str, module: Any) -> Part:
    """Return SpikingJelly's neuron with a current: ``c = c_decay c + x``, ``v = v_decay v + c``."""
    soft = module.v_reset is None
    rules = dialect("spikingjelly", dt=1.0, reset="subtract" if soft else "zero")
    rest, one = floats(0.0 if soft else module.v_reset), np.ones(1)
    tau_syn, tau_mem = (1.0 / (1.0 - floats(decay)) for decay in (module.c_decay, module.v_decay))
    return leaky_with_current(
        where, rules, tau_syn=tau_syn, w_in=tau_syn, tau_mem=tau_mem, r=tau_mem, v_leak=one * 0.0,
        v_threshold=floats(module.v_threshold), v_reset=rest,
    )  # fmt: skip


def _hears_itself(where: str, module: Any) -> Part | list[Part]:
    """Return SpikingJelly's container: ``module(x[t] + y[t-1])``, or ``module(rc([x[t], y[t-1]]))``."""
    inner = module.sub_module
    read = _NEURONS.get((home_of(inner), type(inner).__name__))
    if read not in (_node, _cuba_node):
        return p.Refused(
            where,
            f"around a {type(inner).__name__}; engines compute it around one of SpikingJelly's neurons.",
        )
    neurons = read(where, inner)
    if not isinstance(neurons, p.Neurons):
        return neurons
    if not hasattr(module, "rc"):
        y, x = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
        if not torch.equal(module.element_wise_function(y, x), y + x):
            return p.Refused(where, "joins its input and its output otherwise than by their sum.")
        return replace(neurons, recurrent=p.Linear(where, np.ones(1)))
    weight, inputs = array_of(module.rc.weight), len(module.rc.weight)
    bias = None if module.rc.bias is None else array_of(module.rc.bias)
    own = p.Linear(where, weight[:, inputs:])
    return [p.Linear(f"{where}.input", weight[:, :inputs], bias), replace(neurons, recurrent=own)]


def _pair(value: Any) -> Pair:
    return (int(value[0]), int(value[1])) if isinstance(value, tuple) else (int(value), int(value))


_PARTS: dict[type[nn.Module], Callable[[str, Any], Part]] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.AvgPool2d: _pool,
    nn.LPPool2d: _sum_pool,
}
_NEURONS: dict[tuple[str, str], Callable[[str, Any], Part | list[Part]]] = {
    ("snntorch", "Leaky"): _leaky,
    ("snntorch", "Synaptic"): _leaky,
    ("snntorch", "RLeaky"): _leaky,
    ("snntorch", "RSynaptic"): _leaky,
    ("spikingjelly", "CUBALIFNode"): _cuba_node,
    ("spikingjelly", "ElementWiseRecurrentContainer"): _hears_itself,
    ("spikingjelly", "IFNode"): _node,
    ("spikingjelly", "LIFNode"): _node,
    ("spikingjelly", "LinearRecurrentContainer"): _hears_itself,
    ("spikingjelly", "ParametricLIFNode"): _node,
    **norse_neurons.NEURONS,
    **sinabs_neurons.NEURONS,
}
