"""from_lava: a network of lava-dl as one that `compile` takes, in Loihi's integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from sastdeploy._files.reading import shown
from sastdeploy.compiler.imported import ImportedNetwork
from sastdeploy.errors import CompileError, InputError
from sastdeploy.exchange import parts as p
from sastdeploy.exchange.framing import Framing, network_of
from sastdeploy.exchange.kernels import MAX_WEIGHTS
from sastdeploy.exchange.lava.fields import integers, pair, sizes, whole, window
from sastdeploy.exchange.lava.read import Fields, read_net
from sastdeploy.exchange.lava.shapes import misfits
from sastdeploy.exchange.parts import Part, floats
from sastdeploy.provenance import versions

UNIT = 2.0**-12
"""What one step of Loihi's 24-bit states is worth, so that `loihi1`'s Q12.12 holds exactly those integers."""
_SHIFT = 6
"""Sums, biases and thresholds are shifted by so many bits before they meet the states."""
_POOL_WEIGHT = 64
MAX_EXPONENT = 64
"""Of weights; Loihi has -8 to 7."""
_BITS = 8
"""Of lava-dl's trained weights: whole multiples of 2, from -256 to 254."""


def from_lava(path: Path | str, *, framing: Framing | None = None) -> ImportedNetwork:
    """Return the network of a lava-dl ``.net`` file: Loihi's neurons with a current, weights as they are.

    ``u = trunc(u (4096 - iDecay) / 4096) + (sum << 6)``, ``v = trunc(v (4096 - vDecay) / 4096) + u``, a spike where
    ``v > vThMant << 6``, then ``v = 0``. Compiled for ``loihi1``, a program's integers are these. lava delays every layer by a
    step; layers here see each other in the same step, so layer l's step t is lava's t + l. Axonal delays come on top, as they are.

    Args:
        path: the file. framing: as in `from_nir`.

    Raises:
        InputError: the file cannot be read.
        CompileError: it holds what no engine computes: every reason, each with the layer's number and kind.

    Example::

        network = from_lava("trained.net", framing=Framing(time_bins=16, clip=1))
        program = compile(network, "loihi1").program
    """
    layers = read_net(path)
    try:
        parts: list[Part] = []
        for number, layer in enumerate(layers):
            parts += _parts(f"{number}.{layer['type']}", layer)
        shape = _input_shape(layers)
        if not any(isinstance(part, p.Refused) for part in parts) and (reasons := misfits(layers, shape)):
            raise CompileError(*reasons)
        network = network_of(Path(path).stem, parts, shape, framing or Framing())
    except CompileError as error:
        raise CompileError(*(f"{shown(path)}: {reason}" for reason in error.reasons)) from error
    except InputError as error:
        if not str(error).startswith("graph: "):
            raise
        raise InputError(f"{shown(path)}: {str(error).removeprefix('graph: ')}") from error
    return replace(network, provenance={"format": "lava-dl .net", "versions": versions("numpy", "h5py")})


def _parts(name: str, layer: Fields) -> list[Part]:
    read = _LAYERS.get(layer["type"])
    if read is None:
        return [p.Refused(name, f"a layer of kind {layer['type']}, which no engine computes.")]
    try:
        return read(name, layer)
    except CompileError as error:
        return [p.Refused(name, reason) for reason in error.reasons]
    except KeyError as error:
        return [p.Refused(name, f"a layer without {error}.")]
    except (TypeError, ValueError, IndexError) as error:
        return [p.Refused(name, f"a layer that is not whole ({error}).")]


def _input(name: str, layer: Fields) -> list[Part]:
    """Return neurons that take the input as a bias, without a current: ``(weight x + bias) << 6``."""
    if "neuron" not in layer:
        if np.any(floats(layer.get("bias", 0.0))) or "weight" in layer:
            raise CompileError("a weight or bias without neurons that take it.")
        return _delays(name, layer)
    weight, bias = (whole(layer, key, default) for key, default in (("weight", 64), ("bias", 0)))
    neurons = _neurons(name, layer["neuron"], current=False)
    scaled = replace(neurons, gain=neurons.gain * weight, offset=neurons.gain * bias)
    return [scaled, *_delays(name, layer)]


def _dense(name: str, layer: Fields) -> list[Part]:
    weight = integers(layer["weight"])
    if weight.ndim == 1:
        weight = weight.reshape(math.prod(sizes(layer["shape"])), -1)
    if weight.ndim != 2:
        raise ValueError(f"a weight of shape {weight.shape}")
    return [p.Linear(f"{name}.weight", weight, bits=_BITS), *_sending(name, layer)]


def _conv(name: str, layer: Fields) -> list[Part]:
    weight = integers(layer["weight"])
    weight = weight.reshape(weight.shape[:4])
    groups = whole(layer, "groups", 1)
    made = p.Convolution(f"{name}.weight", weight, None, *window(layer), groups, _BITS)
    return [made, *_sending(name, layer)]


def _pool(name: str, layer: Fields) -> list[Part]:
    """Return a sum of every channel's windows with the layer's weights, lava's 64 where it states none, and its neurons."""
    channels, kernel = sizes(layer["shape"])[0], pair(layer, "kernelSize")
    if min(kernel) < 1 or channels * math.prod(kernel) > MAX_WEIGHTS:
        raise ValueError(
            f"windows of {kernel[0]} x {kernel[1]} on {channels:,} channels; at most {MAX_WEIGHTS:,} weights are allowed"
        )
    weight = integers(layer.get("weight", _POOL_WEIGHT))
    weight = weight.reshape((1, 1, 1, 1) if weight.size == 1 else (1, 1, *kernel))
    weight = np.broadcast_to(weight, (channels, 1, *kernel)).copy()
    made = p.Convolution(f"{name}.weight", weight, None, *window({"stride": kernel, **layer}), channels)
    return [made, *_sending(name, layer)]


def _flatten(name: str, layer: Fields) -> list[Part]:
    if "neuron" in layer or np.any(floats(layer.get("delay", 0.0))):
        raise CompileError("neurons or delays of its own, which no engine computes.")
    return [p.Flattening(name)]


_LAYERS: dict[str, Callable[[str, Fields], list[Part]]] = {
    "input": _input,
    "dense": _dense,
    "conv": _conv,
    "pool": _pool,
    "flatten": _flatten,
}


def _sending(name: str, layer: Fields) -> list[Part]:
    """Return a layer's neurons, and the delays of their spikes where it has some.

    Raises:
        CompileError: a bias, delays as `_delays` refuses them, or neurons as `_neurons` does.
    """
    reasons, delays = list[str](), list[Part]()
    try:
        delays = _delays(name, layer)
    except CompileError as error:
        reasons += error.reasons
    if np.any(floats(layer.get("bias", 0.0))):
        reasons.append(
            "a bias, which lava adds from the first step on, before the layer's inputs arrive; engines start all layers together."
        )
    if reasons:
        raise CompileError(*reasons)
    return [_neurons(name, dict(layer["neuron"])), *delays]


def _delays(name: str, layer: Fields) -> list[Part]:
    """Return the axonal delays of what a layer sends, in steps, one per channel or value; nothing where all are 0.

    Raises:
        CompileError: they are no whole numbers from 0.
    """
    steps = floats(layer.get("delay", 0.0))
    if not (np.array_equal(steps, np.round(steps)) and np.isfinite(steps).all() and (steps >= 0).all()):
        raise CompileError(
            "axonal delays that are no whole numbers from 0; lava-dl writes them rounded down."
        )
    if steps.ndim == 1:
        # A row of them is one per channel; values without a map lie along W.
        row = layer["type"] == "input" and math.prod(sizes(layer["shape"])) == len(steps) > 1
        steps = steps.reshape((1, 1, -1) if row else (-1, 1, 1))
    return [p.Delaying(f"{name}.delay", steps)] if steps.any() else []


def _neurons(name: str, neuron: Fields, current: bool = True) -> p.Neurons:
    """Return Loihi's neurons; ``current``: whether sums pass through one.

    Raises:
        CompileError: neurons of another kind, graded spikes or a refractory period; every reason.
    """
    reasons = []
    kind = neuron["type"]
    if kind not in ("CUBA", "LOIHI"):
        reasons.append(f"neurons of kind {kind}; engines compute CUBA.")
    if bool(neuron.get("gradedSpike", False)):
        reasons.append("graded spikes, which no engine computes.")
    if np.any(floats(neuron.get("weight_exp", 0.0))):
        reasons.append("a weight_exp, by which lava-dl divides the layer's current; no engine computes it.")
    if whole(neuron, "refDelay", 1) != 1:
        reasons.append("a refractory period, which no engine computes.")
    if reasons:
        raise CompileError(*reasons)
    decays = {key: whole(neuron, key) for key in ("iDecay", "vDecay")}
    threshold = whole(neuron, "vThMant")
    outside = [f"{key} {value}" for key, value in decays.items() if not 0 <= value <= 4096]
    if outside or decays["vDecay"] == 4096 or threshold < 1:
        raise CompileError(
            f"iDecay {decays['iDecay']}, vDecay {decays['vDecay']}, vThMant {threshold}: allowed 0 to 4096, 0 to 4095, and from 1."
        )
    kept = (4096 - decays["iDecay"]) / 4096
    alpha = (4096 - decays["vDecay"]) / 4096
    exponent = whole(neuron, "wgtExp", 0)
    if abs(exponent) > MAX_EXPONENT:
        raise CompileError(f"wgtExp {exponent}: allowed -{MAX_EXPONENT} to {MAX_EXPONENT}.")
    # An input's values are biases, which the weights' exponent does not shift.
    gain = UNIT * 2.0 ** (_SHIFT + exponent * current)
    computed = f"alpha = 1 - {decays['vDecay']} / 4096, threshold = {threshold} << {_SHIFT}"
    if current and kept:
        computed += f", current decay = 1 - {decays['iDecay']} / 4096"
    return p.Neurons(
        name, np.full(1, alpha), np.full(1, gain), np.zeros(1), np.full(1, UNIT * (threshold << _SHIFT)), ">", "zero", 0, computed,
        np.full(1, kept) if current and kept else None,
    )  # fmt: skip


def _input_shape(layers: list[Fields]) -> tuple[int, ...]:
    """Return ``(C, H, W)`` or ``(N,)`` of the input: as stated, or the smallest that the first layer takes."""
    if not layers:
        raise CompileError("the file holds no layer.")
    kind = layers[0]["type"]
    try:
        shape = _first_shape(layers[0])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CompileError(f"0.{kind}: a layer that is not whole ({error}).") from error
    if min(shape) < 1:
        raise CompileError(
            f"0.{kind}: takes an input of {' x '.join(map(str, shape))}; allowed is 1 or more."
        )
    return shape


def _first_shape(first: Fields) -> tuple[int, ...]:
    if first["type"] == "input":
        stated = sizes(first["shape"])
        return (stated[0],) if math.prod(stated) == stated[0] else stated
    if first["type"] == "dense":
        return (floats(first["weight"]).size // math.prod(sizes(first["shape"])),)
    if first["type"] == "conv":
        weight = floats(first["weight"])
        stride, padding, dilation = window(first)
        height, width = (
            (size - 1) * stride[k] + (weight.shape[2 + k] - 1) * dilation[k] + 1 - 2 * padding[k]
            for k, size in enumerate(sizes(first["shape"])[1:])
        )
        return (weight.shape[1] * whole(first, "groups", 1), height, width)
    raise CompileError(f"0.{first['type']}: the first layer is none of input, dense and conv.")
