"""Simulated DVS Gesture in the published format: AEDAT 3.1 per performer and lighting, labels, trial lists."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from sastdeploy._files.atomic import write_bytes, write_text
from sastdeploy._files.reading import read_bytes
from sastdeploy.errors import InputError
from sastdeploy.recordings.aedat31 import aedat31_bytes, parse_aedat31
from sastdeploy.recordings.catalog import GESTURES
from sastdeploy.recordings.dvsgesture import SENSOR, labels_of
from sastdeploy.recordings.events import MAX_RECORDING
from sastdeploy.synthesis.store import Made, Progress, is_made, make_set

TRAIN_PERFORMERS = 23
PERFORMERS = 29
_GAP_US = 200_000


def make_dvsgesture_sim(
    root: Path | str,
    *,
    seed: int = 0,
    performers: int = PERFORMERS,
    lightings: int = 3,
    duration: float = 4.0,
    processes: int | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> Path:
    """Make ``<root>/dvsgesture-sim`` and return it; the same call again finds it complete and does nothing.

    Performers 1 to 23 train and 24 to 29 test, as in the published set; fewer performers keep that proportion
    and those numbers.

    Args:
        seed: 0 to 2**31 - 1.
        performers: 2 to 29. lightings: recordings per performer, 1 to 5, each under another lighting.
        duration: seconds per gesture, 0.5 to 20.
        processes, progress, force: as in `sastdeploy.synthesis.nmnist_sim.make_nmnist_sim`; progress counts files.

    Raises:
        InputError: a parameter is out of range, or the folder holds another set.
    """
    from sastdeploy.synthesis.gestures import GESTURE_SENSOR, LIGHTINGS

    if type(seed) is not int or not 0 <= seed < 1 << 31:
        raise InputError(
            f"seed {seed!r}: outside 0 to {(1 << 31) - 1}. Choose a whole number within that range."
        )
    if type(performers) is not int or not 2 <= performers <= PERFORMERS:
        raise InputError(
            f"performers {performers!r}: outside 2 to {PERFORMERS}. Choose a number within that range "
            f"(at least one trains and one tests)."
        )
    if type(lightings) is not int or not 1 <= lightings <= len(LIGHTINGS):
        raise InputError(
            f"lightings {lightings!r}: outside 1 to {len(LIGHTINGS)}. Choose how many per performer."
        )
    if isinstance(duration, bool) or not isinstance(duration, int | float) or not 0.5 <= duration <= 20:
        raise InputError(
            f"duration {duration!r}: outside 0.5 to 20 seconds per gesture. Choose one in that range."
        )
    folder = Path(root) / "dvsgesture-sim"
    train, test = performer_split(performers)
    duration_us = round(duration * 1e6)
    chunks = [
        (str(folder), seed, number, light, duration_us)
        for number in (*train, *test)
        for light in lightings_of(seed, number, lightings)
    ]
    parameters = {
        "dataset": "dvsgesture-sim", "seed": seed, "performers": performers, "lightings": lightings,
        "duration_us": duration_us, "sensor": GESTURE_SENSOR.to_dict(),
    }  # fmt: skip

    lists = (("trials_to_train.txt", train), ("trials_to_test.txt", test))

    def trial_lists() -> None:
        for name, numbers in lists:
            lines = [_name(number, light) for _, _, number, light, _ in chunks if number in numbers]
            write_text(folder / name, "\n".join(lines) + "\n")

    recordings = [_name(number, light) for _, _, number, light, _ in chunks]
    files = [*recordings, *map(labels_of, recordings), *(name for name, _ in lists)]
    return make_set(folder, parameters, _make_file, chunks, len(chunks), files=files,
                    processes=processes, progress=progress, force=force, finish=trial_lists)  # fmt: skip


def performer_split(performers: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the numbers of the training and of the test performers: disjoint, 1 to 23 and 24 to 29 in full."""
    test = max(1, round(performers * (PERFORMERS - TRAIN_PERFORMERS) / PERFORMERS))
    return (
        tuple(range(1, performers - test + 1)),
        tuple(range(TRAIN_PERFORMERS + 1, TRAIN_PERFORMERS + 1 + test)),
    )


def lightings_of(seed: int, performer: int, count: int) -> list[int]:
    """Return which lightings (ascending) a performer is recorded under."""
    from sastdeploy.synthesis.gestures import LIGHTINGS

    order = np.random.default_rng((seed, 70, performer)).permutation(len(LIGHTINGS))
    return sorted(order[:count].tolist())


def _name(performer: int, lighting: int) -> str:
    from sastdeploy.synthesis.gestures import LIGHTINGS

    return f"user{performer:02d}_{LIGHTINGS[lighting].name}.aedat"


def _make_file(chunk: tuple[str, int, int, int, int]) -> list[Made]:
    """Write one performer's eleven gestures under one lighting; return [(name, SHA-256, events)]."""
    from sastdeploy.synthesis.gestures import draw_gesture

    folder, seed, performer, lighting, duration_us = chunk
    name = _name(performer, lighting)
    path = Path(folder) / name
    labels = Path(labels_of(str(path)))
    spans = [_GAP_US + g * (duration_us + _GAP_US) for g in range(len(GESTURES))]
    rows = [f"{g + 1},{start},{start + duration_us}" for g, start in enumerate(spans)]
    text = "class,startTime_usec,endTime_usec\n" + "\n".join(rows) + "\n"
    if is_made(path) and is_made(labels):
        content = read_bytes(path, limit=MAX_RECORDING)
        return [(name, hashlib.sha256(content).hexdigest(), len(parse_aedat31(content, SENSOR, name)))]
    parts = []
    for gesture, start in enumerate(spans):
        events = draw_gesture(gesture, performer, lighting, duration_us, seed)
        events["t"] += start
        parts.append(events)
    events = np.concatenate(parts)
    content = aedat31_bytes(events)
    write_text(labels, text)
    write_bytes(path, content)
    return [(name, hashlib.sha256(content).hexdigest(), len(events))]
