"""Constant tables and state arrays of the C source: their types, their text, their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sastdeploy.exchange import templates

Integers = NDArray[np.integer]

_TEMPLATES = Path(__file__).parent / "templates"
_PER_LINE = 20
_WIDTHS = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4}


def filled(template: str, **values: object) -> str:
    """Return the text of a file in ``templates/`` with every ``@name@`` replaced."""
    return templates.filled(_TEMPLATES / template, **values)


def signed_type(low: int, high: int) -> str:
    """Return the smallest C type of signed integers that holds ``low`` to ``high``, both inside 32 bits."""
    for bits in (8, 16):
        if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1):
            return f"int{bits}_t"
    return "int32_t"


@dataclass(frozen=True)
class Table:
    """A constant array of the source, flat."""

    name: str
    type: str
    values: Integers

    @property
    def bytes(self) -> int:
        return int(self.values.size) * _WIDTHS[self.type]

    def text(self) -> str:
        """Return the array's definition in C."""
        numbers = [str(value) for value in self.values.reshape(-1).tolist()]
        lines = [", ".join(numbers[n : n + _PER_LINE]) for n in range(0, len(numbers), _PER_LINE)]
        body = ",\n    ".join(lines)
        return f"static const {self.type} {self.name}[{len(numbers)}] = {{\n    {body}\n}};\n"


def weight_table(name: str, weight: Integers, bits: int) -> tuple[Table, str]:
    """Return the table of flat weights, and C that reads number ``@`` of it; INT4 lies two to a byte, the first in the low half."""
    flat = weight.reshape(-1)
    if bits == 8:
        return Table(name, "int8_t", flat), f"{name}[@]"
    halves = np.zeros(flat.size + flat.size % 2, np.uint8)
    halves[: flat.size] = flat.astype(np.uint8) & 15
    return Table(name, "uint8_t", halves[::2] | halves[1::2] << 4), f"int4({name}, @)"


def per_channel(name: str, values: Integers) -> tuple[list[Table], str]:
    """Return C for the value of ``channel``, and its table, of which there is none where all channels share a number.

    Values ``[C, H, W]`` are those of every ``neuron``, in C order.
    """
    if (values == values.flat[0]).all():
        return [], str(int(values.flat[0]))
    kind = signed_type(int(values.min()), int(values.max()))
    return [Table(name, kind, values)], f"{name}[{'channel' if values.ndim == 1 else 'neuron'}]"


@dataclass(frozen=True)
class Field:
    """An array in the state; those of one ``shared`` name lie in one union, as they are never needed together."""

    name: str
    type: str
    count: int
    shared: str = ""

    @property
    def bytes(self) -> int:
        return self.count * _WIDTHS[self.type]

    @property
    def path(self) -> str:
        return f"{self.shared}.{self.name}" if self.shared else self.name

    @property
    def text(self) -> str:
        return f"{self.type} {self.name}[{self.count}];"


@dataclass(frozen=True)
class State:
    """The fields of the state, widest first, so that nothing but its end is padded."""

    fields: tuple[Field, ...]

    def members(self) -> list[tuple[int, int, str]]:
        """Return (alignment, bytes, C) of every member of the struct, in its order."""
        members = [(4, 4, "uint32_t steps;")]
        for name in dict.fromkeys(field.shared for field in self.fields if field.shared):
            group = [field for field in self.fields if field.shared == name]
            alignment = _alignment(group)
            size = _up(max(field.bytes for field in group), alignment)
            inside = "\n".join(f"    {field.text}" for field in group)
            members.append((alignment, size, f"union {{\n{inside}\n}} {name};"))
        members += [
            (_WIDTHS[field.type], field.bytes, field.text) for field in self.fields if not field.shared
        ]
        return sorted(members, key=lambda member: -member[0])

    @property
    def bytes(self) -> int:
        """``sizeof`` of the struct, where every type is aligned to its own size."""
        return _up(sum(size for _, size, _ in self.members()), 4)

    @property
    def shared_bytes(self) -> int:
        return sum(size for _, size, text in self.members() if text.startswith("union"))


def _alignment(fields: Sequence[Field]) -> int:
    return max(_WIDTHS[field.type] for field in fields)


def _up(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
