"""Frames of corrupted recordings: the events are read again, corrupted, and then binned as always."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sastdeploy.errors import InputError
from sastdeploy.recordings.binning import Entries, count_events, joined
from sastdeploy.recordings.cache import short_name
from sastdeploy.recordings.catalog import data_root
from sastdeploy.recordings.corruption import Corruption, corrupted
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.recordings.reading import list_sources


def corrupted_frames(
    clean: LabelledFrames,
    name: str,
    split: str,
    corruption: Corruption,
    *,
    root: Path | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LabelledFrames:
    """Return the recordings of ``clean``, corrupted: the same recordings in the same order, with the same labels.

    A recording's draw depends on ``seed`` and its name, so a part of a split is corrupted as in the whole. Nothing is
    cached: reading and binning anew takes about a millisecond per recording.

    Args:
        clean: what `sastdeploy.recordings.splits.load_dataset` returned for this data set and split, or a part of it.
        progress: called with (recordings corrupted, recordings in all).

    Raises:
        InputError: a recording of ``clean`` is no longer there or is damaged, or a level that this sensor cannot have.
    """
    facts, wanted = dataset(name), set(clean.names)
    root = root or data_root()
    folder = facts.folder(root)
    files = {label.rsplit("@", 1)[0] for label in wanted}
    rows: dict[str, Entries] = {}
    for source in list_sources(facts, root, facts.part_of(split)):
        if short_name(source.name, folder) not in files:
            continue
        for part in source.segments():
            segment = part.within(clean.window_us, fixed=clean.binning == "window")
            label = short_name(segment.name, folder)
            if label in wanted:
                worse = corrupted(replace(segment, name=label), corruption, facts.sensor_size, seed)
                span = segment.start_us, segment.stop_us
                rows[label] = count_events(
                    worse.events,
                    facts.sensor_size,
                    facts.frame_size,
                    clean.frames.time_bins,
                    *span,
                    clean.events_per_bin,
                )
        progress(len(rows), len(wanted))
    for label in clean.names:
        if label not in rows:
            raise InputError(
                f"data set '{name}': recording {label} is not there (any more). Load the clean frames of the {split} "
                f"split again, from the same folder."
            )
    frames = joined(
        [rows[label] for label in clean.names], facts.sensor_size, facts.frame_size, clean.frames.time_bins
    )
    identity = hashlib.sha256(f"{clean.data_hash}\t{corruption}\t{seed}".encode()).hexdigest()
    return replace(clean, frames=frames, data_hash=identity)
