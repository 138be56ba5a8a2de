"""The declared way from events to frame values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sastdeploy.errors import InputError, short
from sastdeploy.recordings.events import MAX_LENGTH_US

MAX_CLIP = 127
"""Largest ``c_clip``, and so the largest value that enters a layer of a program.

Every engine multiplies it by 8-bit weights exactly: it fits a signed byte, and two products of 127 * 127 fit 16 bits.
"""
MAX_DIVISOR = 1e12
NORMALISATIONS = ("fixed", "sample_max")
BINNINGS = ("duration", "window", "events")
MAX_EVENTS_PER_BIN = 10_000_000
_OPTIONAL = {"window_us", "binning", "events_per_bin"}
"""Fields that a record may leave out, since their default says what records meant before they were there."""


def check_binning(binning: str, window_us: int | None, events_per_bin: int | None) -> None:
    """Accept a way to divide a recording into bins, as `Preprocessing` describes it.

    Raises:
        InputError: an unknown one, or one without what it needs, or with what belongs to another.
    """
    if binning not in BINNINGS:
        raise InputError(f"binning '{binning}': unknown. Allowed: {', '.join(BINNINGS)}.")
    if window_us is not None and not 1 <= window_us <= MAX_LENGTH_US:
        raise InputError(f"window_us {window_us}: outside 1 to {MAX_LENGTH_US} (one day).")
    if binning == "window" and window_us is None:
        raise InputError("binning 'window': needs the length of the window (--window).")
    if (binning == "events") != (events_per_bin is not None):
        needs = (
            "needs a number of events per bin" if binning == "events" else "takes no number of events per bin"
        )
        raise InputError(
            f"binning '{binning}': {needs}; it belongs to 'events' (--binning events --events-per-bin N)."
        )
    if events_per_bin is not None and not 1 <= events_per_bin <= MAX_EVENTS_PER_BIN:
        raise InputError(f"events_per_bin {events_per_bin}: outside 1 to {MAX_EVENTS_PER_BIN:,}.")


@dataclass(frozen=True)
class Preprocessing:
    """How events become frame values: ``x = min(count, c_clip) / divisor``, in [0, 1].

    Args:
        sensor_size: ``(W, H, P)`` of the recordings, in pixels and polarities.
        frame_size: ``(W, H)`` of the frames; differs from the sensor's where a data set is reduced.
        time_bins: T, the number of bins per recording.
        c_clip: counts above it are clipped; 1 to 127 (1 is binary input).
        divisor: ``c_clip`` to 1e12; folds into the first layer's scale when compiled.
        normalisation: ``fixed``, or ``sample_max`` (divides by the recording's own largest count: needs the
            whole recording before its first step, so it is for float studies and is refused by the compiler).
        window_us: events that come later after a recording's start are left out, and its bins end with the last event
            kept; None keeps all.
        binning: ``duration``, T equal parts of a recording's own duration; ``window``, T equal parts of ``window_us``, however
            long the recording lasts; or ``events``, ``events_per_bin`` events in each bin, and later ones are left out.
        events_per_bin: for ``events``, 1 to 10,000,000; else None.

    Raises:
        InputError: a value is unknown or out of range, or two of them contradict each other.
    """

    sensor_size: tuple[int, int, int]
    frame_size: tuple[int, int]
    time_bins: int = 10
    c_clip: int = 1
    divisor: float = 1.0
    normalisation: str = "fixed"
    window_us: int | None = None
    binning: str = "duration"
    events_per_bin: int | None = None

    def __post_init__(self) -> None:
        if self.normalisation not in NORMALISATIONS:
            raise InputError(
                f"normalisation '{self.normalisation}': unknown. Allowed: {', '.join(NORMALISATIONS)}."
            )
        if not 1 <= self.c_clip <= MAX_CLIP:
            raise InputError(
                f"c_clip {short(self.c_clip)}: outside 1 to {MAX_CLIP}. Choose a clip within that range."
            )
        # A whole number may be one that no float holds.
        divisor = f"{self.divisor:g}" if isinstance(self.divisor, float) else short(self.divisor)
        if not self.divisor >= self.c_clip:
            raise InputError(
                f"divisor {divisor}: below c_clip {self.c_clip}, so frame values would exceed 1. "
                f"Choose a divisor of at least {self.c_clip}."
            )
        if self.divisor > MAX_DIVISOR:
            raise InputError(
                f"divisor {divisor}: at most {MAX_DIVISOR:g} is allowed, or no frame value would reach any threshold."
            )
        if not 1 <= self.time_bins <= 1000:
            raise InputError(f"time_bins {short(self.time_bins)}: outside 1 to 1000.")
        check_binning(self.binning, self.window_us, self.events_per_bin)
        if min(self.sensor_size) < 1 or min(self.frame_size) < 1:
            raise InputError(
                f"sensor {self.sensor_size}, frame {self.frame_size}: every size must be at least 1."
            )

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """``(P, H, W)`` of one frame."""
        return (self.sensor_size[2], self.frame_size[1], self.frame_size[0])

    @property
    def bins(self) -> dict[str, Any]:
        """The arguments of `load_dataset` that divide recordings into bins in this way."""
        return {
            "time_bins": self.time_bins, "window_us": self.window_us, "binning": self.binning, "events_per_bin": self.events_per_bin,
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values; `from_dict` reverses it exactly.

        ``window_us``, ``binning`` and ``events_per_bin`` are left out where they have their default.
        """
        fields = self.__dataclass_fields__
        record = {
            key: value
            for key, value in asdict(self).items()
            if key not in _OPTIONAL or value != fields[key].default
        }
        return {**record, "sensor_size": list(self.sensor_size), "frame_size": list(self.frame_size)}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Preprocessing:
        """Return the record read from ``to_dict``'s form.

        Args:
            record: plain values, under the names of the fields.

        Raises:
            InputError: a key is missing, unknown or of the wrong type, or a value is out of range.
        """
        expected = set(cls.__dataclass_fields__)
        if not isinstance(record, dict) or set(record) | _OPTIONAL != expected:
            raise InputError(f"preprocessing: expected exactly the keys {', '.join(sorted(expected))}.")
        try:
            return cls(
                sensor_size=_integers(record["sensor_size"], 3),
                frame_size=_integers(record["frame_size"], 2),
                time_bins=_integers([record["time_bins"]], 1)[0],
                c_clip=_integers([record["c_clip"]], 1)[0],
                divisor=float(record["divisor"]),
                normalisation=str(record["normalisation"]),
                window_us=_integers([record["window_us"]], 1)[0] if "window_us" in record else None,
                binning=str(record.get("binning", "duration")),
                events_per_bin=_integers([record["events_per_bin"]], 1)[0]
                if "events_per_bin" in record
                else None,
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"preprocessing: a value has the wrong type ({error}).") from error


def _integers(values: list[Any], length: int) -> tuple[Any, ...]:
    if len(values) != length or not all(type(v) is int for v in values):
        raise ValueError(f"{values!r} is not {length} whole numbers")
    return tuple(values)
