"""Binned splits on disk: compact, memory-mapped, keyed by all that matters, safe for two processes at once.

Every file's sum is checked once, and again whenever a file's state has changed since; a damaged cache is binned anew.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files import atomic
from sastdeploy._files.locks import held
from sastdeploy._files.reading import MIB, parsing, read_json, shown
from sastdeploy.errors import InputError
from sastdeploy.recordings.binning import RULE, Entries, count_events, joined
from sastdeploy.recordings.catalog import Dataset
from sastdeploy.recordings.dvsgesture import labels_of
from sastdeploy.recordings.frames import Frames, Index, LabelledFrames, index_dtype
from sastdeploy.recordings.nmnist import file_content, label_of
from sastdeploy.recordings.preprocessing import check_binning
from sastdeploy.recordings.reading import Source, list_sources, read_split

if TYPE_CHECKING:
    from sastdeploy.recordings.fast_binning import DigitBinner

FORMAT = 4
MAX_COUNTS = 2 << 30
"""Bytes of one recording's counts while it is binned."""
_Number = TypeVar("_Number", bound=np.generic)
_BATCH = 256
_FILES = ("index.bin", "count.bin", "indptr.npy", "labels.npy", "groups.npy", "seconds.npy", "meta.json")
_SUMS = "sums.json"
"""SHA-256 of every one of these files."""
_VERIFIED = "verified.json"
"""State (size, times, number) of every file when all sums were last found right."""


def cached_frames(
    facts: Dataset,
    root: Path,
    recordings: str,
    time_bins: int,
    *,
    window_us: int | None = None,
    binning: str = "duration",
    events_per_bin: int | None = None,
    skip_bad: bool = False,
    say: Callable[[str], None] = lambda message: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LabelledFrames:
    """Return all frames of the train or test recordings, binning them first where no cache fits.

    The key covers data set, files (names, sizes, times of change), T, window, way of binning, frame size, binning rule and ``skip_bad``.
    The first process bins while others wait; a cache is complete or absent. One that is damaged is named through ``say``
    and binned anew.

    Raises:
        InputError: a recording is bad, a damaged cache cannot be replaced, or no cache can be written.
    """
    if not 1 <= time_bins <= 1000:
        raise InputError(f"time bins {time_bins}: outside 1 to 1000. The paper uses 10.")
    check_binning(binning, window_us, events_per_bin)
    bins = _Bins(time_bins, window_us, binning, events_per_bin)
    if facts.own:
        root = facts.own.folder
        _check_counts(facts, time_bins)
    sources = list_sources(facts, root, recordings)
    parameters = {
        "format": FORMAT, "rule": RULE, "dataset": facts.form if facts.own else facts.name, "recordings": recordings, "time_bins": time_bins,
        "sensor_size": facts.sensor_size, "frame_size": facts.frame_size, "skip_bad": skip_bad,
        "files": _listing_hash(sources, root),
    }  # fmt: skip
    if window_us is not None:
        parameters["window_us"] = window_us
    if binning != "duration":
        parameters |= {"binning": binning, "events_per_bin": events_per_bin}
    if facts.own:
        parameters["meaning"] = hashlib.sha256(facts.own.meaning(recordings)).hexdigest()
    key = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:24]
    home = frames_home(root)
    folder = home / f"{parameters['dataset']}-{recordings}-{key}"
    if _fault(folder):
        with _writing(folder), held(home / f"{folder.name}.lock"):
            # Asked again: another process may have binned it while this one waited.
            if fault := _fault(folder):
                atomic.remove_remnants(folder)
                if folder.exists():
                    say(f"{folder}: is damaged ({fault}); the recordings are binned anew.")
                    atomic.remove_folder(folder)
                _fill(folder, facts, recordings, sources, root, bins, skip_bad, progress)
                if fault := _fault(folder):
                    raise InputError(
                        f"{folder}: does not read back as it was written ({fault}). Check the disk, remove this folder, "
                        f"and repeat the command."
                    )
    return _open(folder, facts, bins, say)


def _check_counts(facts: Dataset, time_bins: int) -> None:
    """Accept a data set of which one recording's counts fit into memory."""
    size = time_bins * math.prod(facts.frame_shape) * 8
    if size > MAX_COUNTS:
        raise InputError(
            f"data set '{facts.name}': counting one recording in {time_bins:,} bins of {' x '.join(map(str, facts.frame_shape))} inputs "
            f"would take {size / 2**30:,.1f} GiB; at most {MAX_COUNTS >> 30} GiB are allowed. Use fewer bins, or state a downsample "
            "factor in its dataset.yaml."
        )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn a full disk, or a folder without the right to write, into our error."""
    try:
        yield
    except OSError as error:
        raise _not_kept(folder, error) from error


def _not_kept(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"{shown(folder)}: the frames cannot be kept there ({error.strerror or error}). Make room, or name a data folder "
        "that you may write to (--data, SASTDEPLOY_DATA)."
    )


def _fault(folder: Path) -> str | None:
    """Return what is wrong with a cache; None where every file is as it was written."""
    try:
        # Asked first: where nothing is, nothing is damaged either.
        state = {name: _state(folder / name) for name in (*_FILES, _SUMS)}
        sums = read_json(folder / _SUMS, limit=MIB)
        if state == _verified(folder):
            return None
        for name in _FILES:
            if _sum(folder / name) != sums[name]:
                return f"{name} is not what was written"
    except OSError as error:
        return f"{Path(str(error.filename)).name}: {error.strerror}"
    except (InputError, LookupError, TypeError):
        return f"{_SUMS} cannot be understood"
    # Where it cannot be noted, the next call checks again: slower, and as safe.
    with suppress(InputError):
        atomic.write_text(folder / _VERIFIED, json.dumps(state))
    return None


def _state(path: Path) -> list[int]:
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]


def _verified(folder: Path) -> object:
    """Return the noted state of a cache's files; None where none can be read."""
    try:
        return read_json(folder / _VERIFIED, limit=MIB)
    except InputError:
        return None


def _sum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _listing_hash(sources: list[Source], root: Path) -> str:
    """Hash every file's name, size and time of change; one that is absent is told when it is read."""
    digest, above = hashlib.sha256(), os.path.join(root, "")
    # As text: for 60,000 files, taking paths apart takes longer than asking the disk.
    for path in dict.fromkeys(os.fspath(source.path) for source in sources):
        for part in (path, labels_of(path)) if path.endswith(".aedat") else (path,):
            try:
                facts = os.stat(part)
                state = f"{facts.st_size}\t{facts.st_mtime_ns}"
            except OSError:
                state = "absent"
            # A name may hold bytes that are no text.
            digest.update(f"{part.removeprefix(above)}\t{state}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def frames_home(root: Path) -> Path:
    """Return the folder of caches: below the data where that can be written, else below the user's cache folder."""
    home = root / ".frames"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if os.access(home, os.W_OK):
            return home
    except OSError:
        pass
    import platformdirs

    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    home = Path(platformdirs.user_cache_dir("sastdeploy")) / "frames" / name
    with _writing(home):
        home.mkdir(parents=True, exist_ok=True)
    return home


def _fill(
    folder: Path,
    facts: Dataset,
    recordings: str,
    sources: list[Source],
    root: Path,
    bins: _Bins,
    skip_bad: bool,
    progress: Callable[[int, int], None],
) -> None:
    """Bin every file into ``folder``; it appears when it is complete."""
    bad: list[str] = []
    rows: list[NDArray[np.int64]] = []
    labels, groups, names, seconds = [], [], [], []
    digest = hashlib.sha256(facts.own.meaning(recordings) if facts.own else b"")
    binner = None
    if facts.form == "digits" and bins.window_us is None and bins.binning == "duration":
        # Loads the compiler: not wanted where the frames are in the cache.
        from sastdeploy.recordings.fast_binning import DigitBinner

        binner = DigitBinner(facts.frame_size, bins.time_bins)
    # Not by force: on a file system without locks, another process may have been quicker.
    with atomic.replacing_folder(folder, force=False, failure=partial(_not_kept, folder)) as temporary:
        with (temporary / "index.bin").open("wb") as index, (temporary / "count.bin").open("wb") as count:
            for start in range(0, len(sources), _BATCH):
                part = sources[start : start + _BATCH]
                frames, facts_of = _binned(part, facts, bins, binner, skip_bad, bad.append)
                index.write(frames.index.tobytes())
                count.write(frames.count.tobytes())
                rows.append(np.diff(frames.indptr))
                labels += [fact.label for fact in facts_of]
                groups += [fact.group for fact in facts_of]
                seconds += [fact.seconds for fact in facts_of]
                names += [short_name(fact.name, facts.folder(root)) for fact in facts_of]
                digest.update(frames.indptr.tobytes() + frames.index.tobytes() + frames.count.tobytes())
                progress(min(start + _BATCH, len(sources)), len(sources))
        if not labels:
            raise InputError(f"data set '{facts.name}': every file is bad; the first: {bad[0]}")
        if max(labels) >= len(facts.classes):
            raise InputError(
                f"data set '{facts.name}': a label {max(labels)} has no class among {len(facts.classes)}."
            )
        digest.update(np.array(labels, np.int64).tobytes())
        np.save(temporary / "indptr.npy", np.concatenate([[0], *rows]).cumsum().astype(np.int64))
        np.save(temporary / "labels.npy", np.array(labels, np.int64))
        np.save(temporary / "groups.npy", np.array(groups, np.int64))
        np.save(temporary / "seconds.npy", np.array(seconds, np.float64))
        meta = {"time_bins": bins.time_bins, "names": names, "bad": bad, "data_hash": digest.hexdigest()}
        (temporary / "meta.json").write_text(json.dumps(meta), "utf-8")
        sums = {name: _sum(temporary / name) for name in _FILES}
        (temporary / _SUMS).write_text(json.dumps(sums), "utf-8")


class _Bins(NamedTuple):
    """How recordings are divided into bins, as in `sastdeploy.Preprocessing`."""

    time_bins: int
    window_us: int | None
    binning: str
    events_per_bin: int | None


class _Fact(NamedTuple):
    name: str
    label: int
    group: int
    seconds: float


def _binned(
    sources: list[Source],
    facts: Dataset,
    bins: _Bins,
    binner: DigitBinner | None,
    skip_bad: bool,
    on_bad: Callable[[str], None],
) -> tuple[Frames, list[_Fact]]:
    """Return the frames of all segments in the files, and what is to be noted of each; digits go the fast way."""
    rows: list[Entries] = []
    noted = []
    for source in sources:
        fast = _fast(source, binner) if binner else None
        if fast:
            rows.append(fast[:3])
            noted.append(_Fact(source.name, label_of(source.path, source.member), -1, fast[3] * 1e-6))
            continue
        for whole in read_split(
            [source],
            window_us=bins.window_us,
            fixed=bins.binning == "window",
            skip_bad=skip_bad,
            on_bad=on_bad,
        ):
            segment = whole.first(bins.events_per_bin and bins.time_bins * bins.events_per_bin)
            times = segment.start_us, segment.stop_us
            sizes = facts.sensor_size, facts.frame_size
            rows.append(count_events(segment.events, *sizes, bins.time_bins, *times, bins.events_per_bin))
            noted.append(_Fact(segment.name, segment.label, segment.group, (times[1] - times[0]) * 1e-6))
    return joined(rows, facts.sensor_size, facts.frame_size, bins.time_bins), noted


def _fast(
    source: Source, binner: DigitBinner
) -> tuple[NDArray[np.int64], Index, NDArray[np.uint8], int] | None:
    """Return what the binner makes of a file; None where it, or the file's state, calls for the slow way."""
    try:
        return binner.bin(file_content(source.path, source.member))
    except InputError:
        return None


def short_name(name: str, folder: Path) -> str:
    """Return the part of a segment's name below its data set's folder, however that is written."""
    return name.removeprefix(os.path.join(shown(folder), ""))


def _open(folder: Path, facts: Dataset, bins: _Bins, say: Callable[[str], None]) -> LabelledFrames:
    # Whole by its sums, it can still be written by something else.
    with parsing(folder, "frame cache", "Remove this folder, and repeat the command."):
        meta = read_json(folder / "meta.json", limit=1 << 30)
        labels, groups, seconds = (
            np.load(folder / f"{name}.npy") for name in ("labels", "groups", "seconds")
        )
        indptr = np.asarray(np.load(folder / "indptr.npy", mmap_mode="r"))
        index = _mapped(folder / "index.bin", index_dtype(int(np.prod(facts.frame_shape))))
        count = _mapped(folder / "count.bin", np.uint8)
        names, bad, (data_hash,) = _texts(meta["names"]), _texts(meta["bad"]), _texts([meta["data_hash"]])
        _check_lengths(indptr, index, count, len(names) * bins.time_bins)
        for part in (labels, groups, seconds):
            if part.shape != (len(names),) or part.dtype.kind not in "iuf":
                raise ValueError(f"{part.dtype} {list(part.shape)} for {len(names)} recordings")
        if labels.dtype.kind == "f" or not ((labels >= 0) & (labels < len(facts.classes))).all():
            raise ValueError(f"labels that number no class of {len(facts.classes)}")
        # What is read was compared with the sums of what was written, and that was checked when it was binned.
        frames = Frames._trusted(facts.frame_shape, bins.time_bins, indptr, index, count)
        labelled = LabelledFrames(
            frames,
            labels,
            groups,
            tuple(names),
            facts.classes,
            data_hash,
            seconds,
            facts.name,
            facts.sensor_size,
            bins.window_us,
            bins.binning,
            bins.events_per_bin,
        )
    if bad:
        say(f"{len(bad)} bad files left out:")
        for message in bad:
            say(f"  {message}")
    return labelled


def _texts(values: object) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("texts that are none")
    return values


def _check_lengths(indptr: NDArray[np.int64], index: Index, count: NDArray[np.uint8], rows: int) -> None:
    """Accept arrays that fit each other and a number of rows, one per recording and bin."""
    fits = indptr.shape == (rows + 1,) and indptr.dtype.kind in "iu"
    if not fits or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        raise ValueError(f"indptr.npy does not number the entries of {rows:,} bins")
    if not indptr[-1] == len(index) == len(count):
        raise ValueError(f"{len(index):,} inputs and {len(count):,} counts for {indptr[-1]:,} entries")


def _mapped(path: Path, kind: type[_Number]) -> NDArray[_Number]:
    return np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)
