"""Binned, cached, split frames: the one way from a data set to arrays.

The test split comes from the test recordings and from nothing else, and training code asks for ``train`` and
``validation`` only; selection on test data would need a second, visible call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.recordings.cache import cached_frames
from sastdeploy.recordings.catalog import Dataset, data_root
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.recordings.own.records import SPLITS


def load_dataset(
    name: str,
    split: str,
    *,
    time_bins: int = 10,
    window_us: int | None = None,
    binning: str = "duration",
    events_per_bin: int | None = None,
    root: Path | str | None = None,
    limit: int | None = None,
    seed: int = 0,
    validation_fraction: float = 0.1,
    skip_bad: bool = False,
    say: Callable[[str], None] = lambda message: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LabelledFrames:
    """Return the frames of a split; binned once, then memory-mapped from the cache.

    Args:
        name: a data set of the catalog (``sastdeploy data list``), or the path of a folder of recordings.
        split: "train", "validation" or "test".
        time_bins: T. window_us: leave out of a recording what comes later after its start; None keeps all.
        binning, events_per_bin: how recordings are divided into bins, as in `sastdeploy.Preprocessing`.
        root: folder of the data sets; default: ``$SASTDEPLOY_DATA``, or the user's data folder.
        limit: keep this many recordings, a seeded draw with the classes in their proportions.
        seed: of the validation draw and of ``limit``.
        validation_fraction: share of the training recordings, in (0, 1), that is held out for validation: of each class (at
            least one), or of the performers where the data set has them. A folder of one's own that has a validation part
            keeps it.
        skip_bad: leave damaged files out and name them through ``say``; otherwise the first one stops it.
        say: called with a sentence that the user should read: damaged files, facts that were guessed, classes without a recording.
        progress: called with (files binned, files in all).

    Raises:
        InputError: an unknown name or split, a missing data set, a damaged file, an impossible limit.

    Example::

        test = load_dataset("nmnist-sim", "test", limit=500)
        print(len(test), test.frames.shape, test.frames.time_bins)  # 500 (2, 34, 34) 10
    """
    if split not in SPLITS:
        raise InputError(f"split '{split}': unknown. Allowed: {', '.join(SPLITS)}.")
    if not 0.0 < validation_fraction < 1.0:
        raise InputError(f"validation fraction {validation_fraction}: outside (0, 1).")
    facts = dataset(name)
    if facts.own and facts.own.guessed and split != "validation":
        say(
            f"data set '{facts.name}': found, not stated: {'; '.join(facts.own.guessed)}. To keep this in its dataset.yaml: "
            f"sastdeploy data describe {facts.name} --write"
        )
    everything = cached_frames(
        facts, Path(root or data_root()), facts.part_of(split), time_bins,
        window_us=window_us, binning=binning, events_per_bin=events_per_bin, skip_bad=skip_bad, say=say, progress=progress,
    )  # fmt: skip
    chosen = np.arange(len(everything))
    if split != "test" and "validation" not in facts.parts:
        held_out = _held_out(facts, everything, validation_fraction, seed)
        chosen = np.flatnonzero(held_out if split == "validation" else ~held_out)
    if limit is not None:
        chosen = chosen[_stratified(everything.labels[chosen], limit, np.random.default_rng((seed, 2)))]
    if split == "train" and (absent := missing_classes(everything.labels[chosen], facts.classes)):
        say(
            f"WARNING: data set '{name}': no training recording of class {', '.join(absent)}, so a network cannot learn it."
        )
    if len(chosen) == len(everything):
        return everything
    return everything.select(chosen)


def missing_classes(labels: NDArray[np.int64], classes: tuple[str, ...]) -> list[str]:
    """Return the names of the classes that no label has."""
    present = set(np.unique(labels).tolist())
    return [name for label, name in enumerate(classes) if label not in present]


def data_hash(name: str, *, time_bins: int = 10, root: Path | None = None) -> str:
    """Return the hash of a data set's training and test recordings in ``time_bins`` bins.

    Raises:
        InputError: the data set is missing, or a recording is bad.
    """
    facts, root = dataset(name), root or data_root()
    return "+".join(cached_frames(facts, root, part, time_bins).data_hash for part in facts.parts)


def _held_out(facts: Dataset, data: LabelledFrames, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return which training recordings are for validation."""
    rng = np.random.default_rng((seed, 1))
    if facts.form == "gestures" or (facts.own and data.groups.max() >= 0):
        unit = "group" if facts.own else "performer"
        performers = np.unique(data.groups)
        if len(performers) < 2:
            raise InputError(
                f"data set '{facts.name}': has {len(performers)} training {unit}; one must be held out for "
                f"validation, so at least 2 are needed."
            )
        count = min(max(1, round(fraction * len(performers))), len(performers) - 1)
        return np.isin(data.groups, rng.permutation(performers)[:count])
    held = np.zeros(len(data), bool)
    for label in np.unique(data.labels):
        members = np.flatnonzero(data.labels == label)
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held[rng.permutation(members)[:count]] = True
    if not held.any() or held.all():
        raise InputError(
            f"data set '{facts.name}': {len(data)} training recordings are too few to hold one of each class "
            f"out for validation. {'Add' if facts.own else 'Make or fetch'} more."
        )
    return held


def _stratified(labels: NDArray[np.int64], limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``limit`` positions, ascending; a smaller limit's classes are as balanced as the labels allow."""
    if limit < 1:
        raise InputError(f"limit {limit}: must be at least 1.")
    order = rng.permutation(len(labels))
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members)) * len(labels) // len(members)
    return np.sort(np.lexsort((order, rank))[:limit])


def labelled_by_name(data: LabelledFrames, classes: tuple[str, ...]) -> LabelledFrames:
    """Return recordings with their labels in the order of ``classes``, where these are the same names; else as they are."""
    if data.classes == classes or sorted(data.classes) != sorted(classes):
        return data
    places = np.array([classes.index(name) for name in data.classes])
    return replace(data, labels=places[data.labels], classes=classes)
