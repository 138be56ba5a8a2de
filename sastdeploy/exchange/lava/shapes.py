"""What a layer of lava-dl says of its shape, against what its weights and windows make of the input."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from sastdeploy.exchange.lava.fields import numbers, pair, sizes, whole, window
from sastdeploy.exchange.lava.read import Fields
from sastdeploy.exchange.parts import Pair, floats

Shape = tuple[int, ...]


def misfits(layers: list[Fields], shape: Shape) -> list[str]:
    """Return a reason for every layer whose stated shape is another than the computed one; layers are whole.

    Args:
        shape: ``(C, H, W)`` or ``(N,)`` of the input.
    """
    reasons: list[str] = []
    for number, layer in enumerate(layers):
        kind = layer["type"]
        name = f"{number}.{kind}"
        own = _OWN[kind](layer, shape)
        if kind == "input" and number:
            own = ["an input layer behind others."]
        shape = _COMPUTED[kind](layer, shape)
        if min(shape) < 1:  # refused where the network is put together
            return reasons
        reasons += [f"{name}: {reason}" for reason in own]
        stated = sizes(layer["shape"]) if "shape" in layer else shape
        same = stated == shape if kind in ("conv", "pool") else prod(stated) == prod(shape)
        if not (same or own):
            reasons.append(
                f"{name}: its shape is {_by(stated)}, but what it computes is {_by(shape)}. Write the file again, or name what made it."
            )
    return reasons


def _dense(layer: Fields, shape: Shape) -> Shape:
    weight = floats(layer["weight"])
    return (len(weight) if weight.ndim == 2 else prod(sizes(layer["shape"])),)


def _conv(layer: Fields, shape: Shape) -> Shape:
    weight = floats(layer["weight"])
    return (len(weight), *_positions(layer, shape, (weight.shape[2], weight.shape[3])))


def _pool(layer: Fields, shape: Shape) -> Shape:
    kernel = pair(layer, "kernelSize")
    return (shape[0], *_positions({"stride": kernel, **layer}, shape, kernel))


def _positions(layer: Fields, shape: Shape, kernel: Pair) -> Shape:
    stride, padding, dilation = window(layer)
    return tuple(
        (size + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) // max(1, stride[axis]) + 1
        for axis, size in enumerate((*shape, 1, 1)[1:3])
    )


def _same(layer: Fields, shape: Shape) -> Shape:
    return shape


def _flatten(layer: Fields, shape: Shape) -> Shape:
    return (prod(shape),)


def _nothing(layer: Fields, shape: Shape) -> list[str]:
    return []


def _of_kernel(layer: Fields, shape: Shape) -> list[str]:
    weight = floats(layer["weight"])
    groups = whole(layer, "groups", 1)
    has = {
        "kernelSize": list(weight.shape[2:4]),
        "inChannels": [weight.shape[1] * groups],
        "outChannels": [len(weight)],
    }
    return [
        f"{key} is {_by(stated)}, but its weight has {_by(own)}."
        for key, own in has.items()
        if key in layer and (stated := numbers(key, layer[key])) != own
    ]


def _whole_windows(layer: Fields, shape: Shape) -> list[str]:
    kernel, maps = pair(layer, "kernelSize"), (*shape, 1, 1)[1:3]
    if not any(size % max(1, k) for size, k in zip(maps, kernel)):
        return []
    return [
        f"windows of {_by(kernel)} do not divide a map of {_by(maps)}; lava-dl adds rows and columns of zeros at its end, "
        "which no engine computes."
    ]


def _by(shape: list[int] | Shape) -> str:
    return " x ".join(map(str, shape))


_COMPUTED: dict[str, Callable[[Fields, Shape], Shape]] = {
    "input": _same, "dense": _dense, "conv": _conv, "pool": _pool, "flatten": _flatten,
}  # fmt: skip
_OWN: dict[str, Callable[[Fields, Shape], list[str]]] = {
    "input": _nothing, "dense": _nothing, "conv": _of_kernel, "pool": _whole_windows, "flatten": _nothing,
}  # fmt: skip
