"""Corrupted recordings: what a worse sensor, clock or wire would have delivered, drawn from a seeded generator.

All functions are pure: (events of a recording, a level, ...) -> new events, ascending in time, inside the recording's
time span and sensor. Level 0 changes nothing. The draws of one event, pixel or recording do not depend on the level where
that is possible (an event that is lost at a drop of 0.1 is lost at 0.2 too), so levels differ by their strength alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sastdeploy.errors import InputError, did_you_mean
from sastdeploy.recordings.events import EVENT_DTYPE, Events, Segment

HOT_PIXEL_HZ = 100.0
"""Rate of a hot pixel's events: three events per bin of 30 ms."""

Span = tuple[int, int]
"""Begin and end of a recording in us, half open."""


def drop(events: Events, probability: float, rng: np.random.Generator) -> Events:
    """Return the events of which each was lost with ``probability``, independently (the paper's event drop)."""
    return events[rng.random(len(events)) >= probability]


def flip(events: Events, share: float, rng: np.random.Generator) -> Events:
    """Return the events with the polarity of each mirrored with probability ``share``; 1 mirrors all."""
    flipped = events.copy()
    flipped["p"] ^= rng.random(len(events)) < share
    return flipped


def jitter(events: Events, sigma_ms: float, span: Span, rng: np.random.Generator) -> Events:
    """Return the events with Gaussian noise of ``sigma_ms`` on their times, clipped to the span and sorted again."""
    moved = events.copy()
    shift = np.rint(rng.standard_normal(len(events)) * (1000 * sigma_ms)).astype(np.int64)
    moved["t"] = np.clip(events["t"] + shift, span[0], span[1] - 1)
    return moved[np.argsort(moved["t"], kind="stable")]


def hot_pixels(
    events: Events,
    pixels: int,
    span: Span,
    sensor_size: tuple[int, int, int],
    rng: np.random.Generator,
    *,
    rate_hz: float = HOT_PIXEL_HZ,
    polarity: int | None = None,
) -> Events:
    """Return the events with those of ``pixels`` hot pixels, each firing evenly at ``rate_hz`` from a drawn phase.

    Args:
        pixels: 0 to W * H, drawn without repetition; fewer are the first of more.
        polarity: 0 or 1 of all their events; None alternates, beginning with ON.
    """
    width, height, _ = sensor_size
    period_us = 1e6 / rate_hz
    chosen = rng.permutation(width * height)[:pixels]
    first = span[0] + rng.random(width * height)[:pixels] * period_us
    fired = np.ceil((span[1] - first) / period_us).clip(0).astype(np.int64)
    number = np.arange(fired.sum()) - np.repeat(np.cumsum(fired) - fired, fired)
    pixel = np.repeat(chosen, fired)
    added = np.empty(len(pixel), EVENT_DTYPE)
    added["x"], added["y"] = pixel % width, pixel // width
    added["t"] = np.minimum(np.repeat(first, fired) + number * period_us, span[1] - 1)
    added["p"] = 1 - number % 2 if polarity is None else polarity
    return _merged(events, added)


def noise(
    events: Events,
    rate_hz: float,
    span: Span,
    sensor_size: tuple[int, int, int],
    rng: np.random.Generator,
) -> Events:
    """Return the events with background noise: per pixel a Poisson process of ``rate_hz``, half ON and half OFF."""
    width, height, _ = sensor_size
    count = rng.poisson(rate_hz * width * height * (span[1] - span[0]) * 1e-6)
    added = np.empty(count, EVENT_DTYPE)
    added["x"], added["y"] = rng.integers(0, width, count), rng.integers(0, height, count)
    added["t"], added["p"] = rng.integers(*span, count), rng.integers(0, 2, count)
    return _merged(events, added)


def _merged(events: Events, added: Events) -> Events:
    together = np.concatenate([events, added])
    return together[np.argsort(together["t"], kind="stable")]


class Kind(NamedTuple):
    """One way to corrupt: what its level means, in which unit, up to which largest value, and the function."""

    meaning: str
    unit: str
    largest: float
    example: str
    apply: Callable[[Segment, float, tuple[int, int, int], np.random.Generator], Events]


def _span(segment: Segment) -> Span:
    return segment.start_us, segment.stop_us


KINDS: dict[str, Kind] = {
    "drop": Kind(
        "probability that an event is lost", "", 1, "drop:0.3",
        lambda segment, level, size, rng: drop(segment.events, level, rng),
    ),
    "hot_pixels": Kind(
        f"hot pixels, each at {HOT_PIXEL_HZ:g} Hz", "", 100_000, "hot_pixels:5",
        lambda segment, level, size, rng: hot_pixels(segment.events, int(level), _span(segment), size, rng),
    ),
    "jitter": Kind(
        "standard deviation of the events' times", "ms", 10_000, "jitter:2ms",
        lambda segment, level, size, rng: jitter(segment.events, level, _span(segment), rng),
    ),
    "noise": Kind(
        "background noise of each pixel", "Hz", 100, "noise:1Hz",
        lambda segment, level, size, rng: noise(segment.events, level, _span(segment), size, rng),
    ),
    "flip": Kind(
        "share of events with mirrored polarity", "", 1, "flip:0.5",
        lambda segment, level, size, rng: flip(segment.events, level, rng),
    ),
}  # fmt: skip
"""The kinds by name. `HOT_PIXEL_HZ` is the rate of the hot pixels, which alternate ON and OFF."""

_TEXT = re.compile(r"([^:]+):([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)([A-Za-z]*)")


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption and its level, written as ``drop:0.3``, ``hot_pixels:5``, ``jitter:2ms``, ``noise:1Hz``.

    Args:
        kind: one of `KINDS`. level: 0 (changes nothing) to the kind's largest, in the kind's unit.

    Raises:
        InputError: an unknown kind, a level out of range, or a part of a hot pixel.
    """

    kind: str
    level: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"corruption '{self.kind}': unknown.{did_you_mean(self.kind, KINDS)} Allowed: {', '.join(KINDS)}."
            )
        facts = KINDS[self.kind]
        if not 0 <= self.level <= facts.largest:
            raise InputError(
                f"corruption '{self}': the level ({facts.meaning}) is outside 0 to {facts.largest:g}{facts.unit}."
            )
        if self.kind == "hot_pixels" and self.level != int(self.level):
            raise InputError(f"corruption '{self}': a number of pixels must be whole, as in {facts.example}.")

    def __str__(self) -> str:
        return f"{self.kind}:{repr(float(self.level)).removesuffix('.0')}{self.unit}"

    @property
    def unit(self) -> str:
        """The level's unit; empty for a share, a probability or a number of pixels."""
        return KINDS[self.kind].unit

    @classmethod
    def parse(cls, text: str) -> Corruption:
        """Return the corruption that ``text`` names; `str` reverses it.

        Raises:
            InputError: another form or unit, or as the class says.
        """
        kind = text.split(":")[0]
        examples = ", ".join(facts.example for facts in KINDS.values())
        if ":" not in text:
            hint = "" if kind in KINDS else did_you_mean(kind, KINDS)
            raise InputError(
                f"corruption '{text}': names no level.{hint} Write kind and level, as in {examples}."
            )
        if kind not in KINDS:
            raise InputError(
                f"corruption '{text}': kind '{kind}' is unknown.{did_you_mean(kind, KINDS)} Allowed: {', '.join(KINDS)}."
            )
        facts, match = KINDS[kind], _TEXT.fullmatch(text)
        if match is None or match[3] != facts.unit:
            unit = f"in {facts.unit}" if facts.unit else "without a unit"
            raise InputError(
                f"corruption '{text}': the level must be a number {unit}, as in {facts.example} ({facts.meaning})."
            )
        return cls(kind, float(match[2]))


def corrupted(
    segment: Segment, corruption: Corruption, sensor_size: tuple[int, int, int], seed: int
) -> Segment:
    """Return the segment, corrupted; its time span stays, so that the remaining events keep their bins.

    The random stream comes from ``seed``, the kind and the segment's name alone: neither other recordings nor their order
    nor the level have a part in it. Hot pixels lie elsewhere in every recording, so a mean over recordings is one over places.

    Args:
        segment: its name must not tell where the data lie (see `sastdeploy.recordings.cache.short_name`). seed: any whole number.

    Raises:
        InputError: more hot pixels than the sensor has.
    """
    pixels = sensor_size[0] * sensor_size[1]
    if corruption.kind == "hot_pixels" and corruption.level > pixels:
        raise InputError(f"corruption '{corruption}': the sensor has {pixels:,} pixels.")
    digest = hashlib.sha256(f"{seed}\t{corruption.kind}\t{segment.name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    return replace(segment, events=KINDS[corruption.kind].apply(segment, corruption.level, sensor_size, rng))
