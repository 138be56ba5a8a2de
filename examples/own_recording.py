"""A recording of one's own through an integer program: from an array of events to class, spikes and operations.

    python examples/own_recording.py PROGRAM.onnx [--work FOLDER]

The events here are a bright bar that swings across the sensor; put your own in their place: x, y, time in
microseconds, polarity, ascending in time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from sastdeploy.program.file import load_program
from sastdeploy.recordings.events import EVENT_DTYPE, check_events
from sastdeploy.recordings.nmnist import nmnist_bytes
from sastdeploy.simulator.simulate import simulate_recording


def swinging_bar(milliseconds: int = 300) -> np.ndarray:
    """Return events of a vertical bar: ON where it arrives, OFF where it leaves."""
    rng, parts, last = np.random.default_rng(0), [], 17
    for ms in range(milliseconds):
        x = int(17 + 10 * np.sin(2 * np.pi * ms / 100))
        for column, polarity in ((x, 1), (last, 0)) if x != last else ():
            part = np.zeros(20, EVENT_DTYPE)
            part["x"], part["y"], part["p"] = column, np.arange(7, 27), polarity
            part["t"] = 1000 * ms + np.sort(rng.integers(0, 1000, 20))
            parts.append(part)
        last = x
    events = np.concatenate(parts)
    return events[np.argsort(events["t"], kind="stable")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("--work", type=Path, default=Path("example-results"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    program = load_program(options.program)
    events = swinging_bar()
    check_events(events, (34, 34, 2), "the bar")
    path = options.work / "bar.bin"
    path.write_bytes(nmnist_bytes(events))
    _, answer = simulate_recording(program, path)
    print(f"{answer['events']:,} events -> class {answer['predicted']}")
    for name, score in sorted(answer["scores"].items(), key=lambda item: -item[1])[:3]:
        print(f"  {name}: score {score}")
    print(f"spikes per layer {answer['spikes']}, synaptic operations {answer['synops']['total']:,}")
    print(f"the same on the command line: sastdeploy simulate {options.program} --recording {path}")


if __name__ == "__main__":
    main()
