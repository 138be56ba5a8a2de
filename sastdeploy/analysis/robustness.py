"""The robustness x precision grid: accuracy on corrupted recordings, in floating point and on integer hardware."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.corruption import Corruption
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.simulator.metrics import accuracy
from sastdeploy.statistics import paired_interval

CLEAN = "clean"

DEFAULT: tuple[Corruption, ...] = (
    *(Corruption("drop", level) for level in (0.1, 0.2, 0.3, 0.4)),
    *(Corruption("hot_pixels", level) for level in (1, 5, 20)),
    *(Corruption("jitter", level) for level in (2, 10, 50)),
    *(Corruption("noise", level) for level in (1, 5, 10)),
    *(Corruption("flip", level) for level in (0.1, 0.5, 1)),
)
"""The paper's event drops (its p = 0 is the clean record), and three levels of every other kind."""


def robustness(
    checkpoint: Checkpoint,
    root: Path | None,
    *,
    profiles: Sequence[str] = (),
    split: str = "test",
    limit: int | None = None,
    corruptions: Sequence[Corruption] = DEFAULT,
    seed: int = 0,
    threads: int | None = None,
) -> list[dict[str, Any]]:
    """Return `grid` of a checkpoint on recordings of the data set that it was trained on.

    Args:
        root: folder of the data sets; None for the default.
        limit: recordings at most, the same ones as ``sastdeploy evaluate --limit`` takes.
        threads: of the integer engine; the numbers do not depend on it.
        seed: of the corruptions alone; which recordings belong to a split follows the checkpoint's own seed.

    Raises:
        InputError: unknown data set, profile or split, or missing data.
        CompileError: the network does not fit a profile.
    """
    from sastdeploy.recordings.corrupted_frames import corrupted_frames
    from sastdeploy.recordings.splits import load_dataset

    name = checkpoint.dataset
    clean = load_dataset(
        name, split, **checkpoint.preprocessing.bins, root=root, limit=limit, seed=checkpoint.training.get("seed", 0),
    )  # fmt: skip

    def corrupt(corruption: Corruption) -> LabelledFrames:
        return corrupted_frames(clean, name, split, corruption, root=root, seed=seed)

    return grid(checkpoint, clean, corrupt, corruptions, profiles, threads=threads)


def grid(
    checkpoint: Checkpoint,
    clean: LabelledFrames,
    corrupt: Callable[[Corruption], LabelledFrames],
    corruptions: Sequence[Corruption],
    profiles: Sequence[str] = (),
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Return one JSON-ready record for the clean recordings, then one per corruption of the same recordings.

    A record has ``corruption`` ("clean", or as in "drop:0.3"), ``kind``, ``level`` and ``unit`` (None where clean),
    ``recordings``, ``events`` (mean per recording, as counted in the frames), ``data_hash``, and the answers
    ``surrogate`` and ``hard`` (the float network's) and ``programs`` (by profile: the exact integer program's, with
    ``ksynops`` per recording). An answer has ``correct``, ``total``, ``value``, ``low``, ``high`` as
    `sastdeploy.simulator.metrics.accuracy` and ``loss``: the accuracy lost against clean (``value``), with the 95 %
    interval of `sastdeploy.statistics.paired_interval` (``low``, ``high``).

    Args:
        corrupt: gives the recordings of ``clean``, in the same order, under a corruption.
        profiles: names or files of hardware profiles.
        threads: of the integer engine; the numbers do not depend on it.
        progress: called with (records done, records in all). say: called with remarks.

    Raises:
        InputError: no recording, an unknown profile, or ``threads`` below 1.
        CompileError: the network does not fit a profile.
    """
    from sastdeploy.compiler.compile import compile
    from sastdeploy.simulator import engine
    from sastdeploy.training.inference import network_of, predict

    if len(clean) == 0:
        raise InputError("robustness: there is no recording to corrupt. Choose a split that has some.")
    threads = engine.usable_threads(threads, say)
    programs = {profile: compile(checkpoint, profile).program for profile in dict.fromkeys(profiles)}
    network = network_of(checkpoint)
    right_when_clean: dict[str, NDArray[np.bool_]] = {}

    def answer(label: str, predicted: NDArray[np.int64]) -> dict[str, Any]:
        right = predicted == clean.labels
        before = right_when_clean.get(label)
        # Clean against itself is no measurement, and has no interval.
        loss = {"value": 0.0, "low": 0.0, "high": 0.0} if before is None else _paired(before, right)
        right_when_clean.setdefault(label, right)
        return {**accuracy(clean.labels, predicted), "loss": loss}

    records: list[dict[str, Any]] = []
    for corruption in (None, *corruptions):
        progress(len(records), 1 + len(corruptions))
        data = clean if corruption is None else corrupt(corruption)
        record: dict[str, Any] = {
            "corruption": str(corruption or CLEAN),
            "kind": corruption and corruption.kind,
            "level": corruption and corruption.level,
            "unit": corruption and corruption.unit,
            "recordings": len(data),
            "events": float(np.sum(data.frames.count, dtype=np.int64)) / len(data),
            "data_hash": data.data_hash,
        }
        for label, hard in (("surrogate", False), ("hard", True)):
            record[label] = answer(label, predict(network, data.frames, checkpoint.preprocessing, hard))
        record["programs"] = {}
        for profile, program in programs.items():
            result = engine.run(program, data.frames, threads=threads)
            ksynops = float(result.synops.sum()) / len(data) / 1000
            record["programs"][profile] = {
                **answer(f"program {profile}", result.predicted),
                "ksynops": ksynops,
            }
        records.append(record)
    progress(len(records), len(records))
    return records


def _paired(clean: NDArray[np.bool_], corrupted: NDArray[np.bool_]) -> dict[str, float]:
    """Return the mean loss on the same recordings with its 95 % score interval."""
    low, high = paired_interval(int((clean & ~corrupted).sum()), int((corrupted & ~clean).sum()), len(clean))
    return {"value": float((clean.astype(float) - corrupted).mean()), "low": low, "high": high}
