"""A folder of recordings of one's own: python docs/moving_shapes.py shapes --count 60

Four shapes move over a simulated event camera of 64 x 64 pixels, each recording in its own direction, for 100 ms.
"""

import argparse
from pathlib import Path

import numpy as np

from sastdeploy.synthesis.sensor import SensorModel, play_images

SIZE, STEPS = 64, 100
SHAPES = ("cross", "disc", "frame", "triangle")


def image(shape, x, y):
    """Return the light (0 to 255) of a bright shape at (x, y) before a dark ground."""
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(float)
    right, down = columns - x, rows - y
    aside, far = np.abs(right), np.maximum(np.abs(right), np.abs(down))
    inside = {
        "cross": (np.minimum(aside, np.abs(down)) <= 3) & (far <= 12),
        "disc": right**2 + down**2 <= 121,
        "frame": (far <= 11) & (far > 7),
        "triangle": (np.abs(down) <= 11) & (aside <= (down + 11) / 2),
    }[shape]
    return np.where(inside, 220.0, 60.0)


def recording(shape, number):
    """Return the events of one recording; it depends on the shape and the number alone."""
    seed = (SHAPES.index(shape), number)
    rng = np.random.default_rng(seed)
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.16)
    step = speed * np.array([np.cos(angle), np.sin(angle)])
    middle = rng.uniform(28, 36, 2)
    places = middle + step * (np.arange(STEPS + 1)[:, None] - STEPS / 2)
    return play_images(np.stack([image(shape, *place) for place in places]), SensorModel(), seed)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=60, help="recordings of each shape")
    options = parser.parse_args()
    for shape in SHAPES:
        (options.folder / shape).mkdir(parents=True)
        for number in range(options.count):
            np.save(options.folder / shape / f"{number:03}.npy", recording(shape, number))
    (options.folder / "dataset.yaml").write_text(
        "name: moving shapes\nsimulated: true\nsensor_size: [64, 64]\n"
    )


if __name__ == "__main__":
    main()
