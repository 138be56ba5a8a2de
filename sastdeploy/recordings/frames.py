"""Binned recordings as sparse counts.

This module holds records only: `sastdeploy.recordings.binning` fills them, training and the simulator read them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.recordings.preprocessing import MAX_CLIP
from sastdeploy.recordings.rows import ascends

MAX_COUNT = 255
"""Largest event count per bin and input that frames hold, a byte's; binning saturates there.

Frames are counted once, for networks of every clip: each takes ``min(count, c_clip)`` itself, `MAX_CLIP` at most, and
`sample_max` divides by a recording's largest count as it was counted. So their limit is the byte's, not the clip's.
"""


Index = NDArray[np.unsignedinteger]
"""Input numbers: uint16, or uint32 above 65,536 inputs."""
_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True)
class Frames:
    """Event counts of N recordings in T bins, stored sparsely (compressed rows, one row per recording and bin).

    Checked once, when made; nobody checks again. So nobody can change them afterwards: arrays are copied and kept
    read-only, but for what lies in read-only memory already, such as a file that is mapped for reading.

    Args:
        shape: ``(P, H, W)`` of one frame; inputs are numbered in C order.
        time_bins: T.
        indptr: int64 ``[N * T + 1]``, from 0 to the number of entries; row ``n * T + t`` occupies
            ``indptr[row]:indptr[row + 1]``.
        index: uint16 (uint32 above 65,536 inputs), strictly ascending within a row, below ``P * H * W``.
        count: uint8, 1 to 255, never 0 (networks and programs clip at 127 or less). Arrays may be memory-mapped.

    Raises:
        InputError: the arrays contradict each other, or an entry lies outside its range.
    """

    shape: tuple[int, int, int]
    time_bins: int
    indptr: NDArray[np.int64]
    index: Index
    count: NDArray[np.uint8]

    def __post_init__(self) -> None:
        shape, time_bins, *arrays = _checked(self.shape, self.time_bins, self.indptr, self.index, self.count)
        self._keep(shape, time_bins, *(unchanging(array) for array in arrays))

    @classmethod
    def _own(
        cls,
        shape: tuple[int, int, int],
        time_bins: int,
        indptr: NDArray[np.int64],
        index: Index,
        count: NDArray[np.uint8],
    ) -> Frames:
        """Return checked frames that keep these very arrays, which nobody else holds."""
        return cls._trusted(*_checked(shape, time_bins, indptr, index, count))

    @classmethod
    def _trusted(
        cls,
        shape: tuple[int, int, int],
        time_bins: int,
        indptr: NDArray[np.int64],
        index: Index,
        count: NDArray[np.uint8],
    ) -> Frames:
        """Return frames without a look at their entries: for parts of checked ones, and files whose hash was verified."""
        frames = object.__new__(cls)
        frames._keep(shape, time_bins, indptr, index, count)
        return frames

    def _keep(self, shape: tuple[int, int, int], time_bins: int, *arrays: NDArray[np.integer]) -> None:
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "time_bins", time_bins)
        for name, array in zip(("indptr", "index", "count"), arrays):
            array.flags.writeable = False
            # Of a view of a read-only array nobody can make a writable one.
            object.__setattr__(self, name, array.view())

    def __len__(self) -> int:
        return (len(self.indptr) - 1) // self.time_bins

    @property
    def inputs(self) -> int:
        return int(np.prod(self.shape))

    def select(self, recordings: NDArray[np.integer] | slice) -> Frames:
        """Return the frames of the chosen recordings.

        Args:
            recordings: indices, in the order wanted (they may repeat), or a slice.
        """
        chosen = np.arange(len(self))[recordings]
        lengths = np.diff(self.indptr).reshape(-1, self.time_bins)[chosen].reshape(-1)
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        return Frames._trusted(
            self.shape, self.time_bins, indptr, self._of(self.index, chosen), self._of(self.count, chosen)
        )

    def _of(self, values: NDArray[_Number], chosen: NDArray[np.integer]) -> NDArray[_Number]:
        """Return the chosen recordings' part of ``index`` or ``count``; neighbours are copied in one piece."""
        first, last = (
            np.flatnonzero(np.diff(chosen, **mark) != 1) for mark in ({"prepend": -2}, {"append": -2})
        )
        begin = self.indptr[chosen[first] * self.time_bins]
        end = self.indptr[(chosen[last] + 1) * self.time_bins]
        return np.concatenate([values[:0], *(values[a:b] for a, b in zip(begin.tolist(), end.tolist()))])

    def clipped(self, c_clip: int) -> Frames:
        """Return the frames with every count replaced by ``min(count, c_clip)``.

        Args:
            c_clip: 1 to 255.

        Raises:
            InputError: it is out of range.
        """
        if not 1 <= c_clip <= MAX_COUNT:
            raise InputError(
                f"c_clip {c_clip}: outside 1 to {MAX_COUNT}, which is all that frames hold. Choose a clip within that range."
            )
        counts = np.minimum(self.count, np.uint8(c_clip))
        return Frames._trusted(self.shape, self.time_bins, self.indptr, self.index, counts)

    def dense(self) -> NDArray[np.uint8]:
        """Return the counts as uint8 ``[N, T, P, H, W]``."""
        counts = np.zeros((len(self) * self.time_bins, self.inputs), np.uint8)
        rows = np.repeat(np.arange(len(counts)), np.diff(self.indptr))
        counts[rows, self.index] = self.count
        return counts.reshape(len(self), self.time_bins, *self.shape)

    @classmethod
    def from_dense(cls, counts: NDArray[np.integer]) -> Frames:
        """Return the sparse form of a dense array.

        Args:
            counts: integers ``[N, T, P, H, W]``, 0 to 255.

        Raises:
            InputError: the array has another number of axes, or a count outside 0 to 255.
        """
        counts = np.asarray(counts)
        if counts.ndim != 5 or counts.dtype.kind not in "iub":
            raise InputError(
                f"frames: expected integers [N, T, P, H, W], found {counts.dtype} {list(counts.shape)}."
            )
        if counts.size and (counts.min() < 0 or counts.max() > MAX_COUNT):
            raise InputError(
                f"frames: a count is outside 0 to {MAX_COUNT}. Found {counts.min()} to {counts.max()}. Clip them first, as in "
                f"np.clip(counts, 0, {MAX_COUNT}); a network clips at {MAX_CLIP} or less anyway."
            )
        flat = counts.reshape(counts.shape[0] * counts.shape[1], int(np.prod(counts.shape[2:])))
        rows, index = np.nonzero(flat)
        indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(flat)))))
        return cls._own(
            (int(counts.shape[2]), int(counts.shape[3]), int(counts.shape[4])),
            int(counts.shape[1]),
            indptr,
            index.astype(index_dtype(flat.shape[1])),
            flat[rows, index].astype(np.uint8),
        )


def _checked(
    shape: Any, time_bins: Any, indptr: Any, index: Any, count: Any
) -> tuple[tuple[int, int, int], int, NDArray[np.int64], Index, NDArray[np.uint8]]:
    """Return the parts of `Frames` in their types; the one border at which entries are looked at."""
    sizes = tuple(shape)
    if len(sizes) != 3 or not all(_is_size(size) for size in (*sizes, time_bins)):
        _refuse(f"shape {sizes} in {time_bins!r} bins is not (P, H, W) and T of whole numbers from 1")
    inputs, bins = math.prod(int(size) for size in sizes), int(time_bins)
    indptr, index, count = (
        _whole_numbers(name, array)
        for name, array in (("indptr", indptr), ("index", index), ("count", count))
    )
    if len(indptr) == 0 or (len(indptr) - 1) % bins or indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        _refuse("row pointers do not ascend from 0, one per recording and bin")
    if not indptr[-1] == len(index) == len(count):
        fewer = indptr[-1] > min(len(index), len(count))
        _refuse(f"{'fewer' if fewer else 'more'} indices or counts than the row pointers name")
    if len(index):
        lowest, highest = int(index.min()), int(index.max())
        if lowest < 0 or highest >= inputs:
            outside = lowest if lowest < 0 else highest
            _refuse(f"input {outside} lies outside the frame's {inputs} inputs")
        least, most = int(count.min()), int(count.max())
        if least < 1 or most > MAX_COUNT:
            wrong = least if least < 1 else most
            _refuse(f"an input is listed with a count of {wrong}; counts are 1 to {MAX_COUNT}")
        if not ascends(indptr, index):
            _refuse("inputs are named twice or out of order within a bin")
    return (
        (int(sizes[0]), int(sizes[1]), int(sizes[2])),
        bins,
        indptr.astype(np.int64, copy=False),
        index.astype(index_dtype(inputs), copy=False),
        count.astype(np.uint8, copy=False),
    )


def unchanging(array: NDArray[_Number]) -> NDArray[_Number]:
    """Return the values in memory that nobody can write to: ``array`` itself where it lies in such memory, else a copy."""
    memory: Any = array
    while isinstance(memory, np.ndarray) and not memory.flags.writeable:
        memory = memory.base
    if not isinstance(memory, np.ndarray) and memory is not None and memoryview(memory).readonly:
        return array
    copied = array.copy()
    copied.flags.writeable = False
    return copied.view()


def _is_size(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 1


def _whole_numbers(name: str, values: Any) -> NDArray[np.integer]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        _refuse(f"{name} is {array.dtype} {list(array.shape)}, not whole numbers in one row")
    return array if array.dtype.kind in "iu" else array.astype(np.int64)


def _refuse(what: str) -> NoReturn:
    raise InputError(f"frames: {what}. Bin the recordings again.")


def require_fit(frames: Frames, shape: tuple[int, int, int], time_bins: int, taker: str, remedy: str) -> None:
    """Accept frames of the shape and number of bins that a network or a program takes.

    Args:
        shape, time_bins: what it takes. taker: its name in the message. remedy: what to do, as a sentence.

    Raises:
        InputError: another shape or number of time bins.
    """
    if frames.shape != shape or frames.time_bins != time_bins:
        raise InputError(
            f"frames: {_by(frames.shape)} in {frames.time_bins} bins, but {taker} takes {_by(shape)} in "
            f"{time_bins} bins. {remedy}"
        )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


@dataclass(frozen=True)
class LabelledFrames:
    """Frames with their classes and where each came from; checked once, when made, and not to be changed afterwards.

    Args:
        frames: N recordings.
        labels: int64 ``[N]``, each in ``0 .. len(classes) - 1``.
        groups: int64 ``[N]``, the unit that a split must not divide (the performer; the recording itself otherwise).
        names: N file names (or file name and time span) for reports.
        classes: class names in label order.
        data_hash: SHA-256 of the source recordings' identity, for provenance.
        seconds: float64 ``[N]``, how long each recording lasted at the sensor; None where that is not known.
        dataset: name of the data set; ``arrays`` where there is none.
        sensor_size: ``(W, H, P)`` of the sensor; None where the frames have its size.
        window_us: events that came later after a recording's start were left out; None: none were.
        binning, events_per_bin: how recordings were divided into bins, as in `sastdeploy.Preprocessing`.

    Raises:
        InputError: labels, groups, names or seconds are not one per recording, of another type, or outside their range.
    """

    frames: Frames
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    data_hash: str
    seconds: NDArray[np.float64] | None = None
    dataset: str = "arrays"
    sensor_size: tuple[int, int, int] | None = None
    window_us: int | None = None
    binning: str = "duration"
    events_per_bin: int | None = None

    def __post_init__(self) -> None:
        recordings, classes = len(self.frames), tuple(self.classes)
        labels = _per_recording("labels", self.labels, recordings, "iu")
        if labels.size and not 0 <= labels.min() <= labels.max() < len(classes):
            raise InputError(
                f"labels: {labels.min()} to {labels.max()}, outside 0 to {len(classes) - 1} of {len(classes)} classes."
            )
        if len(self.names) != recordings:
            raise InputError(f"names: expected {recordings}, one per recording, found {len(self.names)}.")
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "groups", _per_recording("groups", self.groups, recordings, "iu"))
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "classes", classes)
        if self.seconds is not None:
            seconds = _per_recording("seconds", self.seconds, recordings, "iuf")
            if not (np.isfinite(seconds) & (seconds >= 0)).all():
                raise InputError("seconds: a recording's duration is no finite number from 0.")
            object.__setattr__(self, "seconds", seconds)

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def from_dense(
        cls, counts: NDArray[np.integer], labels: NDArray[np.integer], classes: Sequence[str]
    ) -> LabelledFrames:
        """Return labelled frames from plain arrays.

        Args:
            counts: integers ``[N, T, P, H, W]``, 0 to 255. labels: integers ``[N]``, 0 to ``len(classes) - 1``.
            classes: class names in label order.

        Raises:
            InputError: counts that `Frames.from_dense` refuses, or labels of another length, type or range.

        Example::

            made = np.random.default_rng(0).poisson(0.2, (60, 10, 2, 8, 8))
            data = LabelledFrames.from_dense(made, np.arange(60) % 3, ["left", "right", "none"])
        """
        frames = Frames.from_dense(counts)
        numbers = _per_recording("labels", labels, len(frames), "iu")
        digest = hashlib.sha256(repr((frames.shape, frames.time_bins)).encode())
        for part in (frames.indptr, frames.index, frames.count, numbers):
            digest.update(np.ascontiguousarray(part).data)
        return cls(
            frames,
            numbers,
            np.arange(len(frames)),
            tuple(f"recording {n}" for n in range(len(frames))),
            tuple(classes),
            digest.hexdigest(),
        )

    def select(self, recordings: NDArray[np.integer] | slice) -> LabelledFrames:
        """Return the chosen recordings.

        Args:
            recordings: indices, in the order wanted (they may repeat), or a slice.
        """
        chosen = np.arange(len(self))[recordings]
        return replace(
            self,
            frames=self.frames.select(chosen),
            labels=self.labels[chosen],
            groups=self.groups[chosen],
            names=tuple(self.names[i] for i in chosen),
            seconds=None if self.seconds is None else self.seconds[chosen],
        )


def frames_of(recordings: Frames | LabelledFrames | NDArray[np.integer]) -> Frames:
    """Return the frames of recordings in any form that a program takes; counts are ``[N, T, P, H, W]``."""
    if isinstance(recordings, LabelledFrames):
        return recordings.frames
    return recordings if isinstance(recordings, Frames) else Frames.from_dense(recordings)


def index_dtype(inputs: int) -> type[np.unsignedinteger]:
    """Return the smallest of uint16 and uint32 that numbers ``inputs`` inputs."""
    return np.uint16 if inputs <= 1 << 16 else np.uint32


def _per_recording(name: str, values: Any, recordings: int, kinds: str) -> NDArray[Any]:
    """Return one number per recording, int64 or float64, that nobody can change."""
    array = np.asarray(values)
    if array.shape != (recordings,) or (array.dtype.kind not in kinds and array.size):
        numbers = "numbers" if "f" in kinds else "integers"
        raise InputError(
            f"{name}: expected {numbers} [{recordings}], one per recording, found {array.dtype} {list(array.shape)}."
        )
    return unchanging(array.astype(np.float64 if "f" in kinds else np.int64, copy=False))
