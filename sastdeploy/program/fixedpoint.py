"""Fixed-point formats, rounding and overflow: the only place where a real number becomes an integer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sastdeploy.errors import InputError


class Rounding(str, Enum):
    """How ``p / 2^k`` becomes an integer.

    ``floor``: ``p >> k``; ``toward_zero``: ``sign(p) * (|p| >> k)``; ``nearest``: ``(p + 2^(k-1)) >> k``.
    """

    FLOOR = "floor"
    TOWARD_ZERO = "toward_zero"
    NEAREST = "nearest"


class Overflow(str, Enum):
    """What happens to a value outside its format: ``saturate`` to the nearest end, or ``wrap`` modulo ``2^bits``."""

    SATURATE = "saturate"
    WRAP = "wrap"


@dataclass(frozen=True)
class QFormat:
    """Signed two's complement ``Qm.n``: ``m`` integer bits including the sign, ``n`` fractional bits, LSB ``2^-n``."""

    integer_bits: int
    fraction_bits: int

    def __post_init__(self) -> None:
        if self.integer_bits < 1 or self.fraction_bits < 0 or not 2 <= self.bits <= 24:
            raise InputError(
                f"Q{self.integer_bits}.{self.fraction_bits}: not a supported format. Allowed: at least 1 integer bit "
                "(the sign), no negative fraction, 2 to 24 bits in all. Example: Q8.8."
            )

    @classmethod
    def parse(cls, text: str) -> QFormat:
        """Return the format written as ``"Q8.8"``.

        Raises:
            InputError: the text is not of that form, or the width is not 2 to 24 bits.
        """
        match = re.fullmatch(r"Q([0-9]{1,2})\.([0-9]{1,2})", text)
        if match is None:
            raise InputError(
                f"'{text}': not a fixed-point format. Write Qm.n, m integer bits with the sign, as in Q8.8."
            )
        return cls(int(match[1]), int(match[2]))

    @property
    def bits(self) -> int:
        return self.integer_bits + self.fraction_bits

    @property
    def q_min(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def q_max(self) -> int:
        return (1 << (self.bits - 1)) - 1

    @property
    def lsb(self) -> float:
        return 2.0**-self.fraction_bits

    def __str__(self) -> str:
        return f"Q{self.integer_bits}.{self.fraction_bits}"


FARTHEST = 1 << 62
"""Largest magnitude that `to_integer` returns; whatever lies beyond becomes it, and no format holds it."""


def to_integer(values: ArrayLike, fraction_bits: int) -> NDArray[np.int64]:
    """Return ``round_half_to_even(values * 2^fraction_bits)`` as int64, at most `FARTHEST`; the caller checks the range."""
    with np.errstate(over="ignore"):
        codes = np.rint(np.asarray(values, dtype=np.float64) * 2.0**fraction_bits)
    return np.clip(codes, -FARTHEST, FARTHEST).astype(np.int64)


def to_real(codes: ArrayLike, fraction_bits: int) -> NDArray[np.float64]:
    """Return ``codes * 2^-fraction_bits`` as float64 (exact below 2^53)."""
    return np.asarray(codes, dtype=np.float64) * 2.0**-fraction_bits


BLOCK = 1 << 20
"""Numbers of a block of rows, about."""


def weight_codes(
    weight: NDArray[np.floating], scale: NDArray[np.float64] | float, bits: int
) -> NDArray[np.int8]:
    """Return ``round_half_even(weight / scale)`` in the symmetric narrow range of ``bits`` bits."""
    limit = weight_limit(bits)
    codes, scales = np.empty(weight.shape, np.int8), np.broadcast_to(scale, weight.shape)
    for rows in row_blocks(weight):
        codes[rows] = np.clip(np.rint(weight[rows] / scales[rows]), -limit, limit)
    return codes


def row_blocks(values: NDArray[Any]) -> Iterator[slice]:
    """Yield slices of the first axis, each of about a million numbers, so that what is made of a large net's weights stays small."""
    rows = max(1, BLOCK * len(values) // max(1, values.size))
    return (slice(start, start + rows) for start in range(0, len(values), rows))


def tensor_scale(largest: ArrayLike, bits: int) -> NDArray[np.float64]:
    """Return ``s = max|W| / (2^(b-1) - 1)`` of weights up to ``largest``; 1 where they are all zero."""
    largest = np.asarray(largest, np.float64)
    smallest = np.finfo(np.float64).smallest_subnormal
    return np.where(largest > 0, np.maximum(largest / weight_limit(bits), smallest), 1.0)


def weight_limit(bits: int) -> int:
    """Return the largest magnitude of a narrow-range signed weight of ``bits`` bits (INT8: 127, INT4: 7)."""
    if not 2 <= bits <= 8:
        raise InputError(f"weight width {bits}: not supported. Allowed: 2 to 8 bits.")
    return (1 << (bits - 1)) - 1
