"""Recordings and data sets as files, for tests: random digits, gestures with labels, archives, arrays."""

import zipfile

import numpy as np

from sastdeploy.recordings.aedat31 import aedat31_bytes
from sastdeploy.recordings.events import EVENT_DTYPE
from sastdeploy.recordings.nmnist import nmnist_bytes

NMNIST = (34, 34, 2)
LABELS = "class,startTime_usec,endTime_usec\n"


def events_of(rows):
    """Return events from (x, y, t in us, p)."""
    return np.array(rows, EVENT_DTYPE)


def digit(count=200, last_us=300_000, seed=0):
    rng = np.random.default_rng(seed)
    events = np.zeros(count, EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, 34, (2, count))
    events["t"] = np.sort(rng.integers(500, last_us, count))
    events["t"][0], events["t"][-1] = 100, last_us
    events["p"] = rng.integers(0, 2, count)
    return events


def digits_folder(folder, digits=range(10), each=3):
    for split in ("Train", "Test"):
        for label in digits:
            for number in range(each):
                path = folder / split / str(label) / f"{number:05d}.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(nmnist_bytes(digit(seed=10 * label + number)))
    return folder


def gestures_folder(folder, labels=LABELS + "1,0,2000000\n2,2000000,4000000\n", user="user07"):
    folder.mkdir(parents=True, exist_ok=True)
    events = events_of([(5, 6, t, 1) for t in range(1000, 4_000_000, 50_000)])
    (folder / f"{user}_led.aedat").write_bytes(aedat31_bytes(events))
    content = labels if isinstance(labels, bytes) else labels.encode()
    (folder / f"{user}_led_labels.csv").write_bytes(content)
    for split in ("train", "test"):
        (folder / f"trials_to_{split}.txt").write_text(f"{user}_led.aedat\n")
    return folder


def zip_of(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


# Other people's exceptions.


def npy(path, array):
    np.save(path, array, allow_pickle=False)
    return path


# Quietly wrong.


def as_npy(events, order="xypt", factor=1.0, kind=np.float64):
    columns = {"x": events["x"], "y": events["y"], "p": events["p"], "t": events["t"] / factor}
    return np.stack([columns[letter] for letter in order], 1).astype(kind)
