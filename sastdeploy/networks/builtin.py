"""The paper's two networks, the user's own from YAML, and what each is made of."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from functools import reduce
from itertools import pairwise
from math import prod
from operator import or_
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator

from sastdeploy._files.reading import exists, shown
from sastdeploy._files.strict_yaml import load_strict_yaml, validate
from sastdeploy.errors import InputError, did_you_mean
from sastdeploy.networks.architecture import KINDS, Architecture, Conv, Dense, Layer, Neuron, Readout
from sastdeploy.windows import MAX_VALUES

BUILTIN = ("fc_0p40m", "conv_0p42m")
MAX_PARAMETERS = 1 << 28
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


def _form(kind: str) -> type[_Strict]:
    """Return what a file may say of a kind of layer: the fields of its record, in their types, with their defaults."""
    record = KINDS[kind]
    types = get_type_hints(record)
    keys: dict[str, Any] = {"kind": (Literal[kind], ...)}
    for key in fields(record):
        if key.init:
            keys[key.name] = (types[key.name], ... if key.default is MISSING else key.default)
    return create_model(record.__name__, __base__=_Strict, **keys)


_LAYER: Any = Annotated[reduce(or_, map(_form, KINDS)), Field(discriminator="kind")]


class _Readout(_Strict):
    global_average_pool: bool = Readout.global_average_pool


class _Network(_Strict):
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    layers: list[_LAYER]
    readout: _Readout = _Readout()

    @field_validator("layers", mode="before")
    @classmethod
    def _renamed(cls, layers: Any) -> Any:
        """Read what earlier versions called ``sum_pool``, and trained as an average over windows side by side."""
        if not isinstance(layers, list):
            return layers
        old = [isinstance(layer, dict) and layer.get("kind") == "sum_pool" for layer in layers]
        return [{**layer, "kind": "avg_pool"} if is_old else layer for layer, is_old in zip(layers, old)]


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

        architecture = load_architecture("network.yaml", training.frames.shape, len(training.classes))
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
    return tuple(KINDS[layer.kind](**layer.model_dump(exclude={"kind"})) for layer in network.layers)


def _checked(architecture: Architecture) -> Architecture:
    name, layers = architecture.name, architecture.layers
    if not layers or not layers[0].has_neurons or not layers[-1].has_neurons:
        allowed = " or ".join(kind for kind, made in KINDS.items() if made.has_neurons)
        first, last = (layers[0].kind, layers[-1].kind) if layers else ("none", "none")
        raise InputError(
            f"{name}: the first and the last hidden layer must be {allowed}, found {first} and {last}."
        )
    if architecture.classes < 2:
        raise InputError(f"{name}: {architecture.classes} classes; at least 2 are needed.")
    for number, (before, after) in enumerate(pairwise(layers), 1):
        if not before.has_neurons and not after.has_neurons:
            raise InputError(f"{name}: layer {number} ({after.kind}) follows another; merge the two kernels.")
        if after.has_positions and not before.has_positions:
            allowed = " or ".join(kind for kind, made in KINDS.items() if not made.has_positions)
            raise InputError(
                f"{name}: layer {number} ({after.kind}) follows a {before.kind} layer; only {allowed} may."
            )
    if architecture.readout.global_average_pool and not layers[-1].has_positions:
        raise InputError(
            f"{name}: readout.global_average_pool: averages over positions, and the last hidden layer ({layers[-1].kind}) "
            "has none. Leave it out, or end in a conv layer."
        )
    _check_size(architecture)
    return architecture


def _check_size(architecture: Architecture) -> None:
    """Accept layers that fit one another and a network that fits a computer.

    Raises:
        InputError: a layer does not fit, or there are too many values in a step or parameters in all.
    """
    for number, shape in enumerate((architecture.input_shape, *architecture.shapes())):
        if prod(shape) > MAX_VALUES:
            where = f"layer {number - 1}" if number else "input"
            raise InputError(
                f"{architecture.name}: {where}: {prod(shape):,} values; at most {MAX_VALUES:,} are allowed."
            )
    parameters = sum(prod(shape) for shape in parameter_shapes(architecture).values())
    if parameters > MAX_PARAMETERS:
        raise InputError(
            f"{architecture.name}: {parameters:,} parameters; at most {MAX_PARAMETERS:,} are allowed."
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
        shapes |= {f"layers.{i}.{part}": shape for part, shape in layer.parameter_shapes(before).items()}
        before = after
    features = before[0] if architecture.readout.global_average_pool else prod(before)
    shapes["readout.weight"] = (architecture.classes, features)
    shapes["readout.bias"] = (architecture.classes,)
    return shapes


def describe(architecture: Architecture, time_bins: int = 10) -> tuple[LayerFacts, ...]:
    """Return the facts of every hidden layer and of the readout, first to last."""
    before, facts = architecture.input_shape, []
    for i, (layer, after) in enumerate(zip(architecture.layers, architecture.shapes())):
        least, most, every = layer.fan_out(before)
        sizes = {part: prod(shape) for part, shape in layer.parameter_shapes(before).items()}
        thresholds = sizes.pop("threshold", 0)
        facts.append(
            LayerFacts(
                f"layers.{i}",
                layer.kind,
                before,
                after,
                sum(sizes.values()),
                thresholds,
                prod(after),
                layer.fan_in(before),
                (least, most),
                time_bins * every,
            )
        )
        before = after
    classes, features = parameter_shapes(architecture)["readout.weight"]
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
            time_bins * prod(before) * classes,
        )
    )
    return tuple(facts)


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
