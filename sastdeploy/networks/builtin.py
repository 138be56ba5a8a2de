"""The paper's two networks, the user's own from YAML, and what each is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from math import prod
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sastdeploy._files.reading import exists, shown
from sastdeploy._files.strict_yaml import load_strict_yaml, validate
from sastdeploy.errors import InputError, did_you_mean
from sastdeploy.networks.architecture import Architecture, AvgPool, Conv, Dense, Layer, Neuron, Readout
from sastdeploy.windows import pair, windows_over_frame

BUILTIN = ("fc_0p40m", "conv_0p42m")
MOST_VALUES, MOST_PARAMETERS = 1 << 24, 1 << 28
"""Largest input or layer (64 MiB of float32 per recording and step), and largest network (1 GiB of float32)."""
_HIDDEN = {(2, 34, 34): (168, 64), (2, 48, 48): (80, 336)}
_CHANNELS = (68, 136, 272)


def builtin(
    name: str, input_shape: tuple[int, int, int], classes: int, neuron: Neuron | None = None
) -> Architecture:
    """Return one of the paper's networks for an input ``(P, H, W)``.

    ``fc_0p40m``: 2312-168-64-K on N-MNIST, 4608-80-336-K on DVS Gesture (paper, section 5). ``conv_0p42m``: three 3x3
    LIF convolutions of 68, 136 and 272 channels, global average pooling, linear readout; the paper gives neither
    stride nor padding: here stride 2 and padding 1.

    Raises:
        InputError: unknown name, or ``fc_0p40m`` for an input that the paper does not use.
    """
    neuron = neuron or Neuron()
    if name == "conv_0p42m":
        layers: tuple[Layer, ...] = tuple(
            Conv(channels, kernel=3, stride=2, padding=1) for channels in _CHANNELS
        )
        return _checked(Architecture(name, input_shape, layers, Readout(True), classes, neuron))
    if name != "fc_0p40m":
        raise InputError(
            f"architecture '{name}': unknown.{did_you_mean(name, BUILTIN)} Allowed: {', '.join(BUILTIN)}, or a YAML file."
        )
    if input_shape not in _HIDDEN:
        raise InputError(
            f"architecture 'fc_0p40m': the paper defines it for inputs 2 x 34 x 34 and 2 x 48 x 48, not for "
            f"{' x '.join(map(str, input_shape))}. Use conv_0p42m, or describe your own in a YAML file."
        )
    layers = tuple(Dense(neurons) for neurons in _HIDDEN[input_shape])
    return _checked(Architecture(name, input_shape, layers, Readout(), classes, neuron))


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Dense(_Strict):
    kind: Literal["dense"]
    neurons: int


class _Conv(_Strict):
    kind: Literal["conv"]
    channels: int
    kernel: int = Conv.kernel
    stride: int = Conv.stride
    padding: int = Conv.padding


class _AvgPool(_Strict):
    kind: Literal["avg_pool"]
    kernel: int = AvgPool.kernel
    stride: int | None = AvgPool.stride
    padding: int = AvgPool.padding


class _SumPool(_Strict):
    """What earlier versions called an average over windows side by side, and trained as one."""

    kind: Literal["sum_pool"]
    kernel: int = AvgPool.kernel


class _Readout(_Strict):
    global_average_pool: bool = Readout.global_average_pool


class _Network(_Strict):
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    layers: list[Annotated[_Dense | _Conv | _AvgPool | _SumPool, Field(discriminator="kind")]]
    readout: _Readout = _Readout()


def load_architecture(
    name: str, input_shape: tuple[int, int, int], classes: int, neuron: Neuron | None = None
) -> Architecture:
    """Return a built-in network, or the one described in a YAML file (a name that ends in .yaml or .yml).

    Args:
        name: ``fc_0p40m``, ``conv_0p42m``, or the file's path. input_shape: ``(P, H, W)`` of one frame.
        classes: K, at least 2. neuron: leak, threshold and slope of every neuron; default: the paper's.

    Raises:
        InputError: an unknown name, or a file with unknown keys, wrong types, or layers that do not fit.

    Example::

        architecture = load_architecture("network.yaml", data.frames.shape, len(data.classes))
        checkpoint = fit(training, validation, architecture)
    """
    if not name.endswith((".yaml", ".yml")):
        return builtin(name, input_shape, classes, neuron)
    if not exists(name):
        raise InputError(
            f"architecture '{shown(name)}': there is no such file. Allowed: {', '.join(BUILTIN)}, or a YAML file."
        )
    network = validate(_Network, load_strict_yaml(name), name)
    layers = _layers(network)
    readout = Readout(network.readout.global_average_pool)
    try:
        return _checked(Architecture(network.name, input_shape, layers, readout, classes, neuron or Neuron()))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _layers(network: _Network) -> tuple[Layer, ...]:
    makers = {"dense": Dense, "conv": Conv, "avg_pool": AvgPool, "sum_pool": AvgPool}
    return tuple(makers[layer.kind](**layer.model_dump(exclude={"kind"})) for layer in network.layers)


def _checked(architecture: Architecture) -> Architecture:
    kinds = [layer.kind for layer in architecture.layers]
    if not kinds or kinds[0] == "avg_pool" or kinds[-1] == "avg_pool":
        raise InputError(
            f"{architecture.name}: the first and the last hidden layer must be dense or conv, found "
            f"{kinds[0] if kinds else 'none'} and {kinds[-1] if kinds else 'none'}."
        )
    if architecture.classes < 2:
        raise InputError(f"{architecture.name}: {architecture.classes} classes; at least 2 are needed.")
    for number, (before, after) in enumerate(pairwise(kinds), 1):
        if before == "avg_pool" and after == "avg_pool":
            raise InputError(
                f"{architecture.name}: layer {number} (avg_pool) follows another; merge the two kernels."
            )
        if before == "dense" and after != "dense":
            raise InputError(
                f"{architecture.name}: layer {number} ({after}) follows a dense layer; only dense may."
            )
    _check_size(architecture)
    return architecture


def _check_size(architecture: Architecture) -> None:
    """Accept layers that fit one another and a network that fits a computer.

    Raises:
        InputError: a layer does not fit, or there are too many values in a step or parameters in all.
    """
    for number, shape in enumerate((architecture.input_shape, *architecture.shapes())):
        if prod(shape) > MOST_VALUES:
            where = f"layer {number - 1}" if number else "input"
            raise InputError(
                f"{architecture.name}: {where}: {prod(shape):,} values; at most {MOST_VALUES:,} are allowed."
            )
    parameters = sum(prod(shape) for shape in parameter_shapes(architecture).values())
    if parameters > MOST_PARAMETERS:
        raise InputError(
            f"{architecture.name}: {parameters:,} parameters; at most {MOST_PARAMETERS:,} are allowed."
        )


@dataclass(frozen=True)
class LayerFacts:
    """One layer in numbers; ``fan_out`` counts the accumulations that one active source (input of this layer) triggers.

    ``largest_synops`` is per sequence of T steps with every source active at every step (readout: every step's spikes).
    """

    name: str
    kind: str
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    learnable: int
    thresholds: int
    neurons: int
    fan_in: int
    fan_out: tuple[int, int]
    largest_synops: int


def parameter_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every parameter that a checkpoint holds, thresholds included."""
    shapes: dict[str, tuple[int, ...]] = {}
    before = architecture.input_shape
    for i, (layer, after) in enumerate(zip(architecture.layers, architecture.shapes())):
        if isinstance(layer, Dense):
            shapes[f"layers.{i}.weight"] = (layer.neurons, prod(before))
        elif isinstance(layer, Conv):
            shapes[f"layers.{i}.weight"] = (layer.channels, before[0], layer.kernel, layer.kernel)
        if not isinstance(layer, AvgPool):
            shapes[f"layers.{i}.bias"] = shapes[f"layers.{i}.threshold"] = (after[0],)
        before = after
    features = before[0] if architecture.readout.global_average_pool else prod(before)
    shapes["readout.weight"] = (architecture.classes, features)
    shapes["readout.bias"] = (architecture.classes,)
    return shapes


def describe(architecture: Architecture, time_bins: int = 10) -> tuple[LayerFacts, ...]:
    """Return the facts of every hidden layer and of the readout, first to last."""
    shapes = parameter_shapes(architecture)
    before, facts = architecture.input_shape, []
    for i, (layer, after) in enumerate(zip(architecture.layers, architecture.shapes())):
        least, most, total = _fan_out(layer, before)
        sizes = [
            int(np.prod(shapes.get(f"layers.{i}.{part}", (0,)))) for part in ("weight", "bias", "threshold")
        ]
        fan_in = (
            int(np.prod(shapes[f"layers.{i}.weight"][1:])) if sizes[0] else getattr(layer, "kernel", 1) ** 2
        )
        facts.append(
            LayerFacts(
                f"layers.{i}",
                layer.kind,
                before,
                after,
                sizes[0] + sizes[1],
                sizes[2],
                int(np.prod(after)),
                fan_in,
                (least, most),
                time_bins * total,
            )
        )
        before = after
    classes, features = shapes["readout.weight"]
    sources = int(np.prod(before))
    facts.append(
        LayerFacts(
            "readout",
            "readout",
            before,
            (classes, 1, 1),
            classes * features + classes,
            0,
            classes,
            features,
            (classes, classes),
            time_bins * sources * classes,
        )
    )
    return tuple(facts)


def _fan_out(layer: Layer, before: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the least and the most accumulations that a source of a layer triggers, and those of all sources together."""
    channels, height, width = before
    if isinstance(layer, Dense):
        return layer.neurons, layer.neurons, prod(before) * layer.neurons
    if isinstance(layer, AvgPool):
        (kernel, stride, padding), targets = layer.window, 1
    else:
        kernel, stride, padding, targets = layer.kernel, layer.stride, layer.padding, layer.channels
    windows = windows_over_frame(height, width, pair(kernel), pair(stride), pair(padding)) * targets
    return int(windows.min()), int(windows.max()), int(windows.sum()) * channels


def architecture_to_dict(architecture: Architecture) -> dict[str, Any]:
    """Return plain JSON-ready values; `architecture_from_dict` reverses it exactly."""
    neuron = architecture.neuron
    return {
        "name": architecture.name,
        "input_shape": list(architecture.input_shape),
        "layers": [asdict(layer) for layer in architecture.layers],
        "readout": {"global_average_pool": architecture.readout.global_average_pool},
        "classes": architecture.classes,
        "neuron": {"alpha": neuron.alpha, "threshold": neuron.threshold, "slope": neuron.slope},
    }


class _Neuron(_Strict):
    alpha: float
    threshold: float
    slope: float


class _Architecture(_Network):
    input_shape: list[int] = Field(min_length=3, max_length=3)
    classes: int
    neuron: _Neuron


def architecture_from_dict(record: Any, where: str) -> Architecture:
    """Return the network stored in a checkpoint.

    Raises:
        InputError: a key is missing, unknown or of the wrong type, or the layers do not fit.
    """
    stored = validate(_Architecture, record, where)
    if min(stored.input_shape) < 1:
        raise InputError(
            f"{where}: key 'input_shape': every size must be at least 1, found {stored.input_shape}."
        )
    channels, height, width = stored.input_shape
    readout = Readout(stored.readout.global_average_pool)
    try:
        neuron = Neuron(**stored.neuron.model_dump())
        shape = (channels, height, width)
        return _checked(Architecture(stored.name, shape, _layers(stored), readout, stored.classes, neuron))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
