"""A recording of one's own through an integer program: from an array of events to class, spikes and operations.

    python examples/own_recording.py PROGRAM.onnx [RECORDING]

RECORDING: a .bin (N-MNIST), .aedat (AEDAT 3.1) or .npy file. Without one, the events are a bright bar that swings across
the sensor; put your own in their place: x, y, time in microseconds, polarity, ascending in time.
"""

from __future__ import annotations

import argparse

import numpy as np

from sastdeploy import bin_events, load_program, read_events, simulate

EVENT = [("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "u1")]


def swinging_bar(width: int, height: int, milliseconds: int = 300) -> np.ndarray:
    """Return events of a vertical bar: ON where it arrives, OFF where it leaves."""
    rows = np.arange(height // 5, height - height // 5)
    places = (width // 2 + width * 0.3 * np.sin(2 * np.pi * np.arange(milliseconds) / 100)).astype(int)
    parts = []
    for ms in np.flatnonzero(np.diff(places)) + 1:
        for column, polarity in ((places[ms - 1], 0), (places[ms], 1)):
            part = np.zeros(len(rows), EVENT)
            part["x"], part["y"], part["t"], part["p"] = column, rows, 1000 * ms, polarity
            parts.append(part)
    return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program")
    parser.add_argument("recording", nargs="?")
    options = parser.parse_args()
    program = load_program(options.program)
    own = program.preprocessing
    events = (
        read_events(options.recording, own.sensor_size)
        if options.recording
        else swinging_bar(*own.sensor_size[:2])
    )
    counts = bin_events(events, own.sensor_size, own.frame_size, own.time_bins)
    result = simulate(program, counts[None])
    print(f"{len(events):,} events -> class {program.classes[result.predicted[0]]}")
    for number in np.argsort(-result.scores[0])[:3]:
        print(f"  {program.classes[number]}: score {result.scores[0, number]}")
    spikes = dict(zip(result.layers, result.spikes[0].tolist()))
    print(f"spikes per layer {spikes}, synaptic operations {result.synops.sum():,}")


if __name__ == "__main__":
    main()
