"""Folders of recordings for tests: random events by class, and simulated recordings of moving shapes."""

from pathlib import Path

import numpy as np

from sastdeploy.recordings.events import EVENT_DTYPE
from sastdeploy.recordings.nmnist import nmnist_bytes
from sastdeploy.synthesis.sensor import SensorModel, play_images

SIZE = 32
SHAPES = ("cross", "disc", "frame")


def events(seed, count=40, size=(12, 10)):
    """Return random events that reach the last pixel of a sensor of ``size``."""
    rng = np.random.default_rng(seed)
    made = np.zeros(count, EVENT_DTYPE)
    made["x"], made["y"] = rng.integers(0, size[0], count), rng.integers(0, size[1], count)
    made["x"][0], made["y"][0] = size[0] - 1, size[1] - 1
    made["p"], made["t"] = rng.integers(0, 2, count), np.sort(rng.integers(0, 50_000, count))
    return made


def class_folders(root: Path, classes=("left", "right"), count=6, first=0) -> Path:
    """Write ``count`` structured .npy recordings into a folder per class."""
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            np.save(root / name / f"{k:03}.npy", events((first, number, k)))
    return root


def shape_folders(root: Path, count=12) -> Path:
    """Write simulated recordings: each shape moves over a 32 x 32 sensor of the package's own pixel model for 80 ms."""
    for number, name in enumerate(SHAPES):
        (root / name).mkdir(parents=True)
        for k in range(count):
            rng = np.random.default_rng((number, k))
            (x, y), (vx, vy) = rng.uniform(8, 12, 2), rng.uniform(0.08, 0.16, 2)
            images = np.stack([_shape(name, x + vx * t, y + vy * t) for t in range(81)])
            np.save(root / name / f"{k:03}.npy", play_images(images, SensorModel(), (number, k)))
    return root


def _shape(name, x, y):
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(float)
    dx, dy = np.abs(columns - x), np.abs(rows - y)
    inside = {
        "cross": (np.minimum(dx, dy) <= 1.5) & (np.maximum(dx, dy) <= 7),
        "disc": dx**2 + dy**2 <= 36,
        "frame": (np.maximum(dx, dy) <= 6) & (np.maximum(dx, dy) > 3),
    }[name]
    return np.where(inside, 220.0, 60.0)


def manifest(text, folder="mine"):
    """Write a folder's manifest."""
    Path(folder).mkdir(exist_ok=True)
    Path(folder, "manifest.csv").write_text(text, "utf-8")


def write_events(path, made):
    """Write events in the format that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = np.stack([made[name] for name in "txyp"], axis=1)
    text = "\n".join(",".join(map(str, row)) for row in columns.tolist())
    match path.suffix:
        case ".npy":
            np.save(path, made)
        case ".npz":
            np.savez(path, **{name: made[name] for name in "xytp"})
        case ".csv":
            path.write_text("timestamp,x,y,polarity\n" + text, "utf-8")
        case ".txt":
            path.write_text("# t x y p\n" + text.replace(",", " ") + "\n", "utf-8")
        case ".bin":
            path.write_bytes(nmnist_bytes(made))
