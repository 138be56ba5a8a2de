"""How a node's fields are held against what is allowed."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import CompileError, InputError
from sastdeploy.program.records import ProgramLayer
from sastdeploy.program.records import Readout as ProgramReadout
from sastdeploy.windows import Shape

__all__ = ["Assembled", "Floats", "Shape", "check_codes", "known", "require", "require_factors"]

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
    node: Any, name: str, codes: NDArray[np.int32] | None, channels: int, low: int, high: int
) -> None:
    """Accept int32 ``[channels]`` from ``low`` to ``high``, or None."""
    if codes is None:
        return
    require(
        codes.dtype == np.int32 and codes.shape == (channels,),
        node,
        f"{name} is {codes.dtype} {list(codes.shape)}, not int32 [{channels}]",
    )
    outside = (codes < low) | (codes > high)
    place = int(np.argmax(outside))
    require(not outside.any(), node, f"{name}[{place}] is {codes[place]}, outside {low} to {high}")


def known(node: Any, value: Value | None) -> Value:
    """Return a value that a pass has filled in.

    Raises:
        CompileError: it is None.
    """
    if value is None:
        raise CompileError(f"{node.name}: an integer is missing; a pass was left out.")
    return value


def require_factors(node: Any, name: str, values: Any, channels: int, wanted: str) -> None:
    """Accept a number in ``wanted``, ``(0, 1]`` or ``[0, 1]``, or float64 ``[channels]`` of such, not all equal; None passes."""
    if values is None:
        return
    if isinstance(values, np.ndarray):
        require(
            values.dtype == np.float64 and values.shape == (channels,),
            node,
            f"{name} is {values.dtype} {list(values.shape)}, not float64 [{channels}]",
        )
        require(bool((values != values[0]).any()), node, f"{name} is {values[0]} in every channel")
    each = values if isinstance(values, np.ndarray) else np.array([values + 0.0])
    above = each >= 0 if wanted == "[0, 1]" else each > 0
    outside = ~(above & (each <= 1))
    require(not outside.any(), node, f"{name} {each[int(np.argmax(outside))]} outside {wanted}")


def unfolded(node: Any) -> CompileError:
    return CompileError(f"{node.name}: its divisor is not folded into a gain; a pass was left out.")
