"""A program on one event file: how the file is read and binned, and what the program answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy.program.records import Program
from sastdeploy.recordings.catalog import GESTURES
from sastdeploy.recordings.events import Segment
from sastdeploy.recordings.reading import Recording, read_recording, usual_begin
from sastdeploy.simulator.durations import RECORDING_ADVICE, duration_remarks
from sastdeploy.simulator.result import RunResult, spike_counts

RECORDING_SCHEMA = "sastdeploy.recording/1"
GESTURES_SCHEMA = "sastdeploy.gestures/1"


def simulate_recording(
    program: Program,
    path: Path,
    *,
    unit: str | None = None,
    columns: str | None = None,
    begin: str | None = None,
    window_us: int | None = None,
    engine: str = "auto",
    threads: int | None = None,
    trace: str | Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> tuple[RunResult, dict[str, Any]]:
    """Return the result on one event file, and as plain data its class, scores, spikes, operations and speed.

    An .aedat file with a label file beside it has one answer per labelled gesture, unless ``begin`` is stated.

    Args:
        unit, columns: of a .npy file, as in `read_recording`.
        begin: where the bins begin, ``zero`` or ``first-event``; None takes `usual_begin`.
        window_us: as in `Preprocessing`; None takes the program's own.
        say: told how the file was read, and where it lasts much longer or shorter than those trained on.

    Raises:
        InputError: the file is missing, damaged, empty, or of another sensor.
    """
    from sastdeploy.recordings.binning import bin_segments
    from sastdeploy.simulator.metrics import speed
    from sastdeploy.simulator.simulate import check_bins, simulate

    own = program.preprocessing
    recording = read_recording(path, own.sensor_size, unit=unit, columns=columns)
    start = begin or usual_begin(own.sensor_size)
    labelled = bool(recording.gestures) and begin is None
    window_us = window_us or own.window_us
    segments = list(recording.gestures) if labelled else [recording.whole(start)]
    most = own.events_per_bin and own.time_bins * own.events_per_bin
    segments = [segment.within(window_us, fixed=own.binning == "window").first(most) for segment in segments]
    seconds = np.array([(segment.stop_us - segment.start_us) * 1e-6 for segment in segments])
    say(_reading(recording, start, len(segments) if labelled else 0))
    for remark in duration_remarks(program, seconds, RECORDING_ADVICE):
        say(f"{recording.name}: {remark}")
    check_bins(program)
    frames = bin_segments(segments, own.sensor_size, own.frame_size, own.time_bins, own.events_per_bin)
    result = simulate(program, frames, engine=engine, threads=threads, trace=trace, say=say)
    facts = {
        "recording": str(path),
        "events": len(recording.events),
        "program": program.name,
        "unit": recording.unit,
        "unit_guessed": recording.guessed,
        "window_us": window_us,
        "seconds": recording.seconds,
    }
    if labelled:
        parts = [_gesture(program, result, n, segment) for n, segment in enumerate(segments)]
        right = sum(part["correct"] for part in parts)
        content = {"schema": GESTURES_SCHEMA, **facts, "gestures": parts, "correct": right}
    else:
        content = {"schema": RECORDING_SCHEMA, **facts, "begin": start, **_answer(program, result, 0)}
    return result, {
        **content,
        "speed": speed(result, float(seconds.sum())),
        "provenance": _provenance(program, result),
    }


def _answer(program: Program, result: RunResult, n: int) -> dict[str, Any]:
    answer, sources = int(result.predicted[n]), ("input", *result.layers)
    return {
        "predicted": program.classes[answer],
        "predicted_index": answer,
        "scores": {name: int(score) for name, score in zip(program.classes, result.scores[n])},
        "spikes": {name: int(count) for name, count in zip(result.layers, spike_counts(program, result)[n])},
        "synops": {
            "total": int(result.synops[n].sum()),
            "event_weighted": int(result.synops_events[n].sum()),
            "nonzero_weights": int(result.synops_nonzero[n].sum()),
            "sources": {name: int(count) for name, count in zip(sources, result.synops[n])},
        },
    }


def _gesture(program: Program, result: RunResult, n: int, segment: Segment) -> dict[str, Any]:
    return {
        "start_us": segment.start_us,
        "stop_us": segment.stop_us,
        "events": len(segment.events),
        "label": GESTURES[segment.label],
        "correct": int(result.predicted[n]) == segment.label,
        **_answer(program, result, n),
    }


def _provenance(program: Program, result: RunResult) -> dict[str, Any]:
    from sastdeploy.program.file import meaning_hash, program_hash

    return {
        "program_hash": program_hash(program),
        "meaning_hash": meaning_hash(program),
        "trained_on": program.dataset,
        "engine": result.engine,
        "threads": result.threads,
    }


def _reading(recording: Recording, begin: str, gestures: int) -> str:
    unit = f"times in {recording.unit}"
    if recording.guessed:
        unit += " (a guess; state it with --unit)"
    if gestures:
        bins = f"one answer for each of {gestures} labelled gestures (--begin takes the file as one)"
    elif begin == "zero":
        bins = "bins begin at the file's time 0 (--begin first-event: at its first event)"
    else:
        bins = "bins begin at the first event (--begin zero: at the file's time 0)"
    return f"{recording.name}: {unit}, {recording.seconds:.3f} s of events; {bins}"
