"""How a node's fields are held against what is allowed."""

from __future__ import annotations

from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import CompileError, InputError
from sastdeploy.program.layers.each import shortest
from sastdeploy.program.records import ProgramLayer
from sastdeploy.program.records import Readout as ProgramReadout
from sastdeploy.windows import Shape

__all__ = [
    "Assembled",
    "Floats",
    "Shape",
    "check_codes",
    "known",
    "require",
    "require_factors",
    "require_form",
]

Floats = NDArray[np.float64]
Assembled = tuple[ProgramLayer | ProgramReadout, ...]
Value = TypeVar("Value")


def require(condition: bool, node: Any, message: str) -> None:
    """Refuse a node of a graph, or an empty graph (None), unless the condition holds.

    Raises:
        InputError: with the message, after the node's kind and name.
    """
    if not condition:
        raise InputError(f"graph: {node.kind + ' ' + node.name if node else 'empty'}: {message}.")


def check_codes(
    node: Any, name: str, codes: NDArray[np.int32] | None, shape: tuple[int, ...], low: int, high: int
) -> None:
    """Accept int32 from ``low`` to ``high``, or None: one per channel, or per neuron of ``shape`` where that is ``(C, H, W)``."""
    if codes is None:
        return
    require_form(node, name, codes, shape, "int32")
    outside = (codes < low) | (codes > high)
    place = int(np.argmax(outside))
    require(not outside.any(), node, f"{name}[{place}] is {codes.flat[place]}, outside {low} to {high}")


def require_form(node: Any, name: str, values: NDArray[Any], shape: tuple[int, ...], dtype: str) -> None:
    """Accept values of ``dtype``: one per channel, or per neuron of ``shape`` where that is ``(C, H, W)`` and they differ within a channel."""
    allowed = {f"[{shape[0]}]": shape[:1], **({} if prod(shape) == shape[0] else {str(list(shape)): shape})}
    require(
        values.dtype == dtype and values.shape in allowed.values(),
        node,
        f"{name} is {values.dtype} {list(values.shape)}, not {dtype} {' or '.join(allowed)}",
    )
    require(
        values.ndim == 1 or shortest(values).ndim == 3, node, f"{name} is one number in each channel, not [C]"
    )


def known(node: Any, value: Value | None) -> Value:
    """Return a value that a pass has filled in.

    Raises:
        CompileError: it is None.
    """
    if value is None:
        raise CompileError(f"{node.name}: an integer is missing; a pass was left out.")
    return value


def require_factors(node: Any, name: str, values: Any, shape: Shape, wanted: str) -> None:
    """Accept a number in ``wanted``, ``(0, 1]`` or ``[0, 1]``, or float64 of such for each channel or neuron, not all equal; None passes."""
    if values is None:
        return
    if isinstance(values, np.ndarray):
        require_form(node, name, values, shape, "float64")
        first = values.flat[0]
        require(bool((values != first).any()), node, f"{name} is {first} in every channel")
    each = values if isinstance(values, np.ndarray) else np.array([values + 0.0])
    above = each >= 0 if wanted == "[0, 1]" else each > 0
    outside = ~(above & (each <= 1))
    require(not outside.any(), node, f"{name} {each.flat[int(np.argmax(outside))]} outside {wanted}")


def unfolded(node: Any) -> CompileError:
    return CompileError(f"{node.name}: its divisor is not folded into a gain; a pass was left out.")
