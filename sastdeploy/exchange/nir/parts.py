"""The nodes of a NIR file as parts of a network, by their kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sastdeploy.errors import CompileError, short
from sastdeploy.exchange import parts as p
from sastdeploy.exchange.dialects import Dialect
from sastdeploy.exchange.leaks import (
    SILENT,
    integrating,
    integrators,
    leaky,
    leaky_with_current,
    memoryless,
    unread,
)
from sastdeploy.exchange.parts import Pair, floats
from sastdeploy.exchange.steps import delaying

Fields = dict[str, Any]


def part_of(name: str, node: Fields, rules: Dialect) -> p.Part:
    """Return a node as a part; one that no engine computes is a `Refused` with its reasons."""
    kind = node["type"]
    if kind not in _PARTS:
        return p.Refused(name, f"a node of kind {kind}, which no engine computes.")
    try:
        return _PARTS[kind](name, node, rules)
    except CompileError as error:
        return p.Refused(name, "\n".join(reason.removeprefix(f"{name}: ") for reason in error.reasons))
    except KeyError as error:
        return p.Refused(name, f"a {kind} without {error}.")
    except (TypeError, ValueError) as error:
        return p.Refused(name, f"a {kind} that is not whole ({error}).")


def _linear(name: str, node: Fields, rules: Dialect) -> p.Part:
    bias = _numbers(node, "bias") if "bias" in node else None
    return p.Linear(name, _numbers(node, "weight"), bias)


def _scale(name: str, node: Fields, rules: Dialect) -> p.Part:
    return p.Scale(name, _numbers(node, "scale"))


def _conv2d(name: str, node: Fields, rules: Dialect) -> p.Part:
    padding = node.get("padding", 0)
    return p.Convolution(
        name,
        _numbers(node, "weight"),
        _numbers(node, "bias") if "bias" in node else None,
        _pair(node.get("stride", 1)),
        padding if isinstance(padding, str) else _pair(padding),
        _pair(node.get("dilation", 1)),
        _whole(node.get("groups", 1)),
    )


def _conv1d(name: str, node: Fields, rules: Dialect) -> p.Part:
    weight, padding = _numbers(node, "weight"), node.get("padding", 0)
    if weight.ndim != 3:
        raise ValueError(f"weight of {weight.ndim} axes, not 3")
    return p.Convolution(
        name,
        weight[:, :, None, :],
        _numbers(node, "bias") if "bias" in node else None,
        (1, _whole(node.get("stride", 1))),
        padding if isinstance(padding, str) else (0, _whole(padding)),
        (1, _whole(node.get("dilation", 1))),
        _whole(node.get("groups", 1)),
    )


def _pool(mean: bool) -> Callable[[str, Fields, Dialect], p.Part]:
    def made(name: str, node: Fields, rules: Dialect) -> p.Part:
        kernel = _pair(node["kernel_size"])
        return p.Pooling(name, kernel, _pair(node.get("stride", kernel)), _pair(node.get("padding", 0)), mean)

    return made


def _delay(name: str, node: Fields, rules: Dialect) -> p.Part:
    return delaying(name, _numbers(node, "delay"), rules.dt)


def _flatten(name: str, node: Fields, rules: Dialect) -> p.Part:
    start, end = _whole(node.get("start_dim", 1)), _whole(node.get("end_dim", -1))
    if start not in (0, 1) or end == 0:
        return p.Refused(name, f"flattens axes {start} to {end}; engines flatten all of a step's values.")
    return p.Flattening(name)


def _if(name: str, node: Fields, rules: Dialect) -> p.Part:
    return integrating(name, rules, r=_numbers(node, "r"), **_spiking(node))


def _threshold(name: str, node: Fields, rules: Dialect) -> p.Part:
    return memoryless(name, rules, threshold=_numbers(node, "threshold"))


def _lif(name: str, node: Fields, rules: Dialect) -> p.Part:
    return leaky(name, rules, **_leak(node), **_spiking(node))


def _cuba_lif(name: str, node: Fields, rules: Dialect) -> p.Part:
    return leaky_with_current(name, rules, **_leak_and_current(node), **_spiking(node))


def _i(name: str, node: Fields, rules: Dialect) -> p.Part:
    return integrators(integrating(name, unread(rules), r=_numbers(node, "r"), **SILENT))


def _li(name: str, node: Fields, rules: Dialect) -> p.Part:
    return integrators(leaky(name, unread(rules), **_leak(node), **SILENT))


def _cuba_li(name: str, node: Fields, rules: Dialect) -> p.Part:
    return integrators(leaky_with_current(name, unread(rules), **_leak_and_current(node), **SILENT))


def _leak(node: Fields) -> dict[str, p.Array]:
    return {"tau": _numbers(node, "tau"), "r": _optional(node, "r", 1.0), "v_leak": _optional(node, "v_leak")}


def _leak_and_current(node: Fields) -> dict[str, p.Array]:
    return {
        "tau_syn": _numbers(node, "tau_syn"), "w_in": _optional(node, "w_in", 1.0), "tau_mem": _numbers(node, "tau_mem"),
        "r": _optional(node, "r", 1.0), "v_leak": _optional(node, "v_leak"),
    }  # fmt: skip


def _spiking(node: Fields) -> dict[str, p.Array]:
    return {"v_threshold": _numbers(node, "v_threshold"), "v_reset": _optional(node, "v_reset")}


def _optional(node: Fields, key: str, default: float = 0.0) -> p.Array:
    return _numbers(node, key) if key in node else floats(default)


def _numbers(node: Fields, key: str) -> p.Array:
    values = floats(node[key])
    if values.size == 0:
        raise ValueError(f"'{key}' is empty")
    return values


def _whole(value: Any) -> int:
    values = p.whole_numbers(value)
    if len(values) != 1:
        raise ValueError(f"{short(value)} is no whole number")
    return values[0]


def _pair(value: Any) -> Pair:
    """Return ``(y, x)`` of one number for both, 0-d or not, or of two."""
    values = p.whole_numbers(value)
    if len(values) not in (1, 2):
        raise ValueError(f"{short(value)} is no pair of whole numbers")
    return (values[0], values[-1])


_PARTS: dict[str, Callable[[str, Fields, Dialect], p.Part]] = {
    "Affine": _linear,
    "Linear": _linear,
    "Scale": _scale,
    "Conv1d": _conv1d,
    "Conv2d": _conv2d,
    "AvgPool2d": _pool(True),
    "SumPool2d": _pool(False),
    "Delay": _delay,
    "Flatten": _flatten,
    "IF": _if,
    "Threshold": _threshold,
    "LIF": _lif,
    "CubaLIF": _cuba_lif,
    "I": _i,
    "LI": _li,
    "CubaLI": _cuba_li,
}
