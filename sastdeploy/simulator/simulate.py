"""A program on a data set: choose the program, bring the frames, run, summarise."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.program.records import NOT_STATED, Program, made_for
from sastdeploy.recordings.frames import Frames, LabelledFrames, frames_of
from sastdeploy.simulator.durations import DATA_SET_ADVICE, duration_remarks
from sastdeploy.simulator.result import RunResult

AUTO = "auto"
FEW = 8
"""Recordings up to which the plain engine is done before the compiled kernels are loaded; the integers are the same."""
EARLY_WORK = 1 << 24
"""Weights times positions times steps that an early answer may cost the plain engine: some hundredths of a second."""
MAX_TRACE_BYTES = 2 << 30
MAX_COUNTS_BYTES = 2 << 30


@dataclass(frozen=True)
class EarlyAnswer:
    """What the plain engine found on the first recordings of a run: how many, how many right, and SynOps of each."""

    recordings: int
    correct: int
    synops: float


@dataclass(frozen=True)
class DatasetRun:
    """A program's run on a split: the exact result, the labelled frames, and the summary as plain data."""

    program: Program
    labelled: LabelledFrames
    result: RunResult
    summary: dict[str, Any]


def simulate(
    program: Program,
    counts: NDArray[np.integer] | Frames | LabelledFrames,
    *,
    engine: str = AUTO,
    threads: int | None = None,
    trace: str | Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda text: None,
) -> RunResult:
    """Return the exact integers that a program computes; every engine and number of threads gives the same.

    Args:
        program: checked before it runs.
        counts: event counts of N recordings: integers ``[N, T, P, H, W]``, 0 to 255, or frames. The program clips them.
        engine: ``numba``, ``reference`` (plain NumPy), ``onnxruntime``, or ``auto``: the plain one up to 8 recordings,
            which is done before the compiled kernels are loaded.
        threads: one for each usable core by default, and at most.
        trace: names of layers whose spikes and membranes are kept at every step.
        progress: called with (recordings simulated, recordings in all). say: called with remarks.

    Returns:
        Per recording predicted class, scores, and synaptic operations; spikes per layer; and for every traced layer
        ``result.traces[name].spikes``, uint8, and ``.membranes``, int32, both ``[N, T, neurons]``.

    Raises:
        InputError: the program is invalid, the counts do not fit it, an option is out of range, or traces that would
            take more than 2 GiB.
        SimulationError: a width that the kernels need cannot be proven sufficient.

    Example::

        result = simulate(load_program("program.onnx"), counts[None], trace="layers.0")
        print(result.predicted, result.synops.sum(1), result.traces["layers.0"].spikes.mean())
    """
    from sastdeploy.simulator import engine as engines

    frames = frames_of(counts)
    if engine == AUTO:
        engine = "reference" if len(frames) <= FEW else "numba"
    names = engines.check_options(program, engine, threads, trace)
    _check_trace_size(program, names, len(frames))
    done, total = 0, len(frames)

    def advance(finished: int) -> None:
        nonlocal done
        done += finished
        progress(done, total)

    return engines.run(
        program, frames, engine=engine, threads=threads, trace=names, progress=advance, say=say
    )


def choose_program(
    folder: Path,
    dataset: str | None = None,
    sensor_size: tuple[int, int, int] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Return the one compiled program (.onnx) in ``folder`` that fits the data set (sensor, frame size, class count).

    Args:
        dataset: name of a data set; None accepts every program. sensor_size: accept only this ``(W, H, P)``.
        say: told about ONNX files that are passed over because they are damaged or of a newer format.

    Raises:
        InputError: none fits, or several do: nothing is guessed. The message names them, or says how to compile one.
    """
    from sastdeploy.program.file import read_manifest
    from sastdeploy.recordings.datasets import dataset as facts_of

    facts = facts_of(dataset) if dataset else None
    fitting: list[Path] = []
    others: list[str] = []
    for path in sorted(folder.glob("*.onnx")):
        # Half-written files, editors' marks, and links to nothing.
        if path.name.startswith(".") or not os.path.exists(path):
            continue
        try:
            manifest = read_manifest(path)
            sensor = tuple(manifest["preprocessing"]["sensor_size"])
            frame, classes = tuple(manifest["preprocessing"]["frame_size"]), tuple(manifest["classes"])
        except (InputError, KeyError, TypeError) as error:
            say(f"passed over {path.name}: {error}")
            continue
        sizes = (sensor, frame, len(classes))
        fits = facts is None or sizes == (facts.sensor_size, facts.frame_size, len(facts.classes))
        fits = fits and (facts is None or facts.own is None or classes == facts.classes)
        if fits and sensor_size in (None, sensor):
            fitting.append(path)
        else:
            others.append(path.name)
    if len(fitting) == 1:
        return fitting[0]
    wanted = f"that fits {dataset}" if dataset else "that fits the recording" if sensor_size else "here"
    if fitting:
        names = ", ".join(path.name for path in fitting)
        raise InputError(
            f"{folder}: more than one compiled program {wanted}: {names}. Name one (sastdeploy simulate PROGRAM ...)."
        )
    passed = f" ({', '.join(others)}: for other data)" if others else ""
    name = dataset or "DATASET"
    raise InputError(
        f"{folder}: no compiled program {wanted}{passed}. Name one (sastdeploy simulate PROGRAM ...), or make one: "
        f"'sastdeploy train --dataset {name} --out ckpt.pt', then 'sastdeploy compile ckpt.pt --profile loihi_int8'."
    )


def check_fit(program: Program, dataset: str) -> list[str]:
    """Return remarks for the user on a program that runs on a data set other than its own.

    Raises:
        InputError: sensor, frame size or class count differ.
    """
    from sastdeploy.recordings.catalog import CATALOG
    from sastdeploy.recordings.datasets import dataset as facts_of

    facts, own = facts_of(dataset), program.preprocessing
    stated = program.dataset != NOT_STATED
    advice = (
        f"Use a program compiled for {facts.name}{f', or --dataset {program.dataset}' if stated else ''}."
    )
    if facts.own:
        from sastdeploy.recordings.own.folder import differences

        imported = "network_hash" in program.provenance
        if parts := differences(facts, own.sensor_size, own.frame_size, program.classes, imported):
            raise InputError(
                f"program {program.name}: {f'{made_for(program.provenance)} {program.dataset}' if stated else 'does not fit'}; {facts.name} has "
                f"{'; '.join(parts)}. {advice}"
            )
    dataset = facts.name
    taken = (own.sensor_size, own.frame_size, len(program.classes))
    wanted = (facts.sensor_size, facts.frame_size, len(facts.classes))
    if taken != wanted:
        raise InputError(
            f"program {program.name}: takes {_sizes(*taken)}, but {dataset} has {_sizes(*wanted)}. {advice}"
        )
    order = facts.classes != program.classes and sorted(facts.classes) == sorted(program.classes)
    names = ["the data set has the classes in another order; names decide"] if order else []
    if program.dataset == dataset:
        return names
    trained = CATALOG.get(program.dataset)
    kinds = [
        f"the {'simulated ' if known.simulated else '' if known.own else 'real '}recordings of {known.name}"
        for known in (trained, facts)
        if known is not None
    ]
    if trained is None:
        kinds.insert(0, f"'{program.dataset}'")
    made = made_for(program.provenance).split(" ", 1)[1]
    remarks = [f"{made} {kinds[0]}, simulated on {kinds[1]}"] if stated else []
    if order:
        remarks += names
    elif facts.classes != program.classes:
        remarks.append("class names differ between program and data set; numbers decide")
    return remarks


def simulate_dataset(
    program: Program,
    dataset: str,
    *,
    split: str = "test",
    limit: int | None = None,
    root: Path | None = None,
    engine: str = AUTO,
    threads: int | None = None,
    trace: Sequence[str] = (),
    skip_bad: bool = False,
    say: Callable[[str], None] = lambda text: None,
    binning: Callable[[int, int], None] = lambda done, total: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    early: Callable[[EarlyAnswer], None] | None = None,
) -> DatasetRun:
    """Return the program's run on a split, with its summary.

    Args:
        limit: at most this many recordings. They, and the validation split, are drawn by the training's seed, as `evaluate` draws them.
        engine: one of the engines, or `AUTO`. root: folder of the data sets.
        say: remarks for the user. binning: (files binned, in all). progress: (recordings simulated, in all).
        early: told what `early_answer` finds before the compiled kernels are loaded; the run itself does not change.

    Raises:
        InputError: program and data do not fit, the data are missing, or an option is out of range.
    """
    from sastdeploy.program.file import meaning_hash, program_hash
    from sastdeploy.recordings.catalog import data_root, simulated_marker
    from sastdeploy.recordings.datasets import dataset as facts_of
    from sastdeploy.recordings.splits import labelled_by_name, load_dataset
    from sastdeploy.simulator import engine as engines
    from sastdeploy.simulator.metrics import summarise

    engines.check_options(program, "numba" if engine == AUTO else engine, threads, trace)
    for remark in check_fit(program, dataset):
        say(f"{program.name}: {remark}")
    facts, root = facts_of(dataset), root or data_root()
    dataset = facts.name
    if not facts.simulated and simulated_marker(facts, root):
        say(f"{root / dataset}: these files were made by the simulator, they are not the real {dataset}")
    labelled = load_dataset(
        dataset,
        split,
        **program.preprocessing.bins,
        root=root,
        limit=limit,
        seed=training_seed(program),
        skip_bad=skip_bad,
        say=say,
        progress=binning,
    )
    labelled = labelled_by_name(labelled, program.classes)
    if labelled.seconds is not None:
        for remark in duration_remarks(program, labelled.seconds, DATA_SET_ADVICE):
            say(f"{dataset}: {remark}")
    if early is not None and engine == AUTO and len(labelled) > FEW:
        answer = early_answer(program, labelled)
        if answer is not None:
            early(answer)
    result = simulate(
        program, labelled, engine=engine, threads=threads, trace=trace or (), progress=progress, say=say
    )
    summary = summarise(
        program,
        result,
        labelled.labels,
        dataset=dataset,
        split=split,
        data_hash=labelled.data_hash,
        program_hash=program_hash(program),
        recorded_seconds=None if labelled.seconds is None else float(labelled.seconds.sum()),
    )
    summary["provenance"]["meaning_hash"] = meaning_hash(program)
    return DatasetRun(program, labelled, result, {**summary, "limit": limit})


def training_seed(program: Program) -> int:
    """Return the seed that its network was trained with; 0 for a program that does not tell of a training."""
    training = program.provenance.get("training")
    seed = training.get("seed") if isinstance(training, dict) else None
    return seed if type(seed) is int and seed >= 0 else 0


def early_answer(program: Program, labelled: LabelledFrames) -> EarlyAnswer | None:
    """Return the plain engine's answer on the first recordings, up to `FEW` and `EARLY_WORK`; None if not even one fits.

    Raises:
        InputError: program and frames do not fit.
    """
    from sastdeploy.simulator import engine as engines

    outputs = program.shapes()[1:]
    weights = [
        sum(array.size for array in layer.weight_arrays) * int(np.prod(shape[1:]))
        for layer, shape in zip(program.layers, outputs)
        if layer.lif is not None
    ]
    count = min(FEW, len(labelled), EARLY_WORK // (sum(weights) * program.preprocessing.time_bins))
    if count == 0:
        return None
    result = engines.run(program, labelled.frames.select(slice(count)), engine="reference")
    correct = int((result.predicted == labelled.labels[:count]).sum())
    return EarlyAnswer(count, correct, float(result.synops.sum()) / count)


def check_bins(program: Program) -> None:
    """Accept a program for which one recording's counts fit into memory."""
    own = program.preprocessing
    size = own.time_bins * int(np.prod(own.frame_shape)) * 8
    if size > MAX_COUNTS_BYTES:
        raise InputError(
            f"program {program.name}: counting one recording in {own.time_bins:,} bins of {' x '.join(map(str, own.frame_shape))} "
            f"inputs would take {size / 2**30:,.1f} GiB; at most {MAX_COUNTS_BYTES >> 30} GiB are allowed. Train with fewer bins or "
            "smaller frames."
        )


def _check_trace_size(program: Program, names: tuple[str, ...], recordings: int) -> None:
    outputs = {layer.name: int(np.prod(s)) for layer, s in zip(program.layers, program.shapes()[1:])}
    each = sum(outputs[name] for name in names) * program.preprocessing.time_bins * 5
    if each * recordings > MAX_TRACE_BYTES:
        raise InputError(
            f"trace '{', '.join(names)}': {recordings} recordings would take {each * recordings / 1e9:.1f} GB. "
            f"Use --limit {max(1, MAX_TRACE_BYTES // each)} or less."
        )


def _sizes(sensor: tuple[int, int, int], frame: tuple[int, int], classes: int) -> str:
    return (
        f"{sensor[0]}x{sensor[1]}x{sensor[2]} sensors in {frame[0]}x{frame[1]} frames and {classes} classes"
    )
