"""From event files to frames: this reader and binning against tonic's, reading the cache; with ``--images`` making a simulated set.

python benchmarks/speed/data_path.py --work FOLDER [--files 1000] [--images FOLDER_OF_THE_FULL_MNIST]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.subject import recordings
from benchmarks.speed.timing import interleaved, one_thread, save
from sastdeploy import Frames
from sastdeploy.recordings.binning import joined
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.fast_binning import DigitBinner
from sastdeploy.recordings.nmnist import file_content
from sastdeploy.recordings.reading import list_sources

CACHED = 60_000
"""Recordings whose indices are read from a file that is opened as the cache is; its pages are in the system's memory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--images", type=Path)
    options = parser.parse_args()
    one_thread()
    data = recordings(options.work)
    facts = dataset("nmnist-sim")
    sources = list_sources(facts, options.work / "data", "test")[: options.files]

    binner = DigitBinner(facts.frame_size, 10)

    def ours() -> Frames:
        entries = (binner.bin(file_content(source.path, source.member)) for source in sources)
        return joined(
            [row[:3] for row in entries if row is not None], facts.sensor_size, facts.frame_size, 10
        )

    from tonic.io import read_mnist_file
    from tonic.transforms import ToFrame

    kind = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    to_frame = ToFrame((34, 34, 2), n_time_bins=10)

    def tonic() -> NDArray[Any]:
        return np.stack([to_frame(read_mnist_file(str(source.path), dtype=kind)) for source in sources])

    # tonic cuts between the first and the last event and drops the last; we cut from 0 and drop none.
    kept = int(tonic().sum()) / int(ours().count.sum())
    if not 0.999 < kept <= 1.0:
        raise SystemExit(f"tonic keeps {kept:.2%} of the events that we keep; nothing is timed.")

    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        path = Path(folder) / "index.npy"
        times = CACHED // len(data)
        np.save(path, np.tile(data.frames.index, times))
        held = np.load(path)
        target = np.empty_like(held)
        measured = interleaved(
            {
                "ours": ours,
                "tonic": tonic,
                "cache": lambda: np.copyto(target, np.load(path, mmap_mode="r")),
                "memory": lambda: np.copyto(target, held),
            },
            options.turns,
        )
    save("data-path", {
        "files": len(sources), "seconds": measured, "kept_by_tonic": kept,
        "ratio": {kind: measured["tonic"][kind] / measured["ours"][kind] for kind in ("min", "median")},
        "cached_recordings": times * len(data), "cached_bytes": held.nbytes,
    }, "tonic")  # fmt: skip
    if options.images:
        from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim

        began = time.perf_counter()
        make_nmnist_sim(
            options.work / "full", images=options.images, train=60000, test=10000, seed=0, processes=2
        )
        save(
            "making", {"recordings": 70000, "processes": 2, "seed": 0, "seconds": time.perf_counter() - began}
        )


if __name__ == "__main__":
    main()
