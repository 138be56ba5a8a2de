"""From event files to frames: this reader and binning against tonic's, making a simulated set, reading the cache.

python benchmarks/speed/data_path.py --work FOLDER [--files 1000] [--images FOLDER_OF_THE_FULL_MNIST]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from subject import recordings
from timing import interleaved, one_thread, save

from sastdeploy.events.catalog import dataset
from sastdeploy.events.digit_frames import DigitBinner
from sastdeploy.events.frames import joined
from sastdeploy.events.nmnist import file_content
from sastdeploy.events.reading import list_sources


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

    def ours():
        rows = [binner.bin(file_content(source.path, source.member))[:3] for source in sources]
        return joined(rows, facts.sensor_size, facts.frame_size, 10)

    from tonic.io import read_mnist_file
    from tonic.transforms import ToFrame

    kind = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    to_frame = ToFrame((34, 34, 2), n_time_bins=10)

    def tonic():
        return np.stack([to_frame(read_mnist_file(str(source.path), dtype=kind)) for source in sources])

    # tonic cuts between the first and the last event and drops the last; we cut from 0 and drop none.
    kept = int(tonic().sum()) / int(ours().count.sum())
    assert 0.999 < kept <= 1.0, kept

    def cache():
        return int(data.frames.index.sum()) + int(data.frames.count.sum())

    held = np.asarray(data.frames.index).copy(), np.asarray(data.frames.count).copy()
    measured = interleaved(
        {
            "ours": ours,
            "tonic": tonic,
            "cache": cache,
            "memory": lambda: int(held[0].sum()) + int(held[1].sum()),
        },
        options.turns,
    )
    result = {
        "files": len(sources), "seconds": measured, "ratio": measured["tonic"]["min"] / measured["ours"]["min"],
        "files_per_second": len(sources) / measured["ours"]["min"],
        "cache_bytes_per_second": (held[0].nbytes + held[1].nbytes) / measured["cache"]["min"],
        "memory_bytes_per_second": (held[0].nbytes + held[1].nbytes) / measured["memory"]["min"],
    }  # fmt: skip
    if options.images:
        from sastdeploy.events.simulate import make_nmnist_sim

        began = time.perf_counter()
        make_nmnist_sim(
            options.work / "full", images=options.images, train=60000, test=10000, seed=0, processes=2
        )
        result["make_70000_seconds_2_processes"] = time.perf_counter() - began
    save("data-path", result, "tonic")


if __name__ == "__main__":
    main()
