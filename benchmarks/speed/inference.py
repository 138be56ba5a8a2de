"""Recordings per second of one thread: this simulator, float frameworks, and a hand-written C run of the same integers.

python benchmarks/speed/inference.py --work FOLDER [--arch conv_0p42m] [--recordings 1024] [--turns 7]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.speed.peers import PACKAGES, Scores, agreement, available, definition, laid_out
from benchmarks.speed.subject import SEED, checkpoint, program, recordings
from benchmarks.speed.timing import interleaved, one_thread, save
from benchmarks.speed.yardstick import Yardstick
from benchmarks.speed.yardstick_conv import ConvYardstick
from sastdeploy import Checkpoint, Frames
from sastdeploy.compiler.ir.importer import graph_from_checkpoint
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.networks.architecture import Conv
from sastdeploy.simulator import engine
from sastdeploy.training.inference import frame_values

BATCHES = (1, 4, 8, 16, 32, 64, 128, 256, 512)
ENOUGH = 0.995
"""Share of recordings on which a peer must predict as plain torch does under the same rule, before it is timed."""
INTERPRETED = 32
"""Recordings on which plain torch is held against this package's float64 interpreter."""


class FloatRun:
    """A float model's call on all recordings, in batches that lie ready in the order that the model takes."""

    def __init__(self, model: Scores, x: Tensor, time_first: bool, batch: int) -> None:
        self.model = model
        self.parts = [laid_out(x[start : start + batch], time_first) for start in range(0, len(x), batch)]

    def __call__(self) -> None:
        with torch.inference_mode():
            for part in self.parts:
                self.model(part).argmax(1)


def float_models(
    trained: Checkpoint, x: Tensor, counts: NDArray[np.uint8]
) -> tuple[dict[str, tuple[Scores, bool]], dict[str, dict[str, Any]]]:
    """Return by name the float models with the order that they take, and of each what was checked before timing.

    Raises:
        SystemExit: a model predicts otherwise than it should.
    """
    models: dict[str, tuple[Scores, bool]] = {"torch": (definition(trained, "delayed", False), True)}
    notes: dict[str, dict[str, Any]] = {
        "torch": {"agreement": interpreted(trained, models["torch"][0], x, counts), "rule": "delayed"}
    }
    if any(isinstance(layer, Conv) for layer in trained.architecture.layers):
        models["torch, channels last"] = (definition(trained, "delayed", False, channels_last=True), True)
        notes["torch, channels last"] = notes["torch"]
    for name, peer in available().items():
        models[name] = (peer(trained).eval(), peer.time_first)
        notes[name] = {"agreement": agreement(trained, name, x[:256]), "rule": peer.rule}
    for name, note in notes.items():
        if note["agreement"] < ENOUGH:
            raise SystemExit(
                f"{name}: predicts as the definition on {note['agreement']:.1%} of recordings only; not timed."
            )
    return models, {name: dict(note) for name, note in notes.items()}


def interpreted(trained: Checkpoint, scores: Scores, x: Tensor, counts: NDArray[np.uint8]) -> float:
    """Return the share of recordings on which plain torch predicts what the float64 interpreter does."""
    theirs = interpret(graph_from_checkpoint(trained), counts).scores.argmax(1)
    with torch.inference_mode():
        ours = scores(laid_out(x[:INTERPRETED], True)).argmax(1).numpy()
    return float((ours == theirs).mean())


def batch_sizes(models: dict[str, tuple[Scores, bool]], x: Tensor) -> dict[str, int]:
    """Return for every model the batch size that it is fastest with."""
    fastest = {}
    for name, (model, time_first) in models.items():
        sizes = [size for size in BATCHES if size <= len(x)]
        seconds = interleaved({str(size): FloatRun(model, x, time_first, size) for size in sizes}, 2)
        fastest[name] = int(min(seconds, key=lambda size: seconds[size]["min"]))
    return fastest


def with_activity(frames: Frames, share: float, rng: np.random.Generator) -> Frames:
    """Return random binary frames of the same form with that share of inputs active."""
    active = rng.random((len(frames), frames.time_bins, frames.inputs)) < share
    return Frames.from_dense(active.reshape(len(frames), frames.time_bins, *frames.shape).astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--arch", default="fc_0p40m")
    parser.add_argument("--recordings", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    one_thread()
    trained = checkpoint(options.work, options.arch)
    programs = {p: program(options.work, p, options.arch) for p in ("loihi_int8", "aggressive_int4")}
    data = recordings(options.work, limit=options.recordings)
    cases = {"real": data.frames}
    if options.arch.startswith("conv"):
        rng = np.random.default_rng(SEED)
        cases |= {
            f"{share:g}": with_activity(data.frames, share, rng) for share in (0.01, 0.05, 0.2, 0.5, 1.0)
        }
    result: dict[str, Any] = {
        "arch": options.arch,
        "recordings": options.recordings,
        "seed": SEED,
        "cases": {},
    }
    batches: dict[str, int] = {}
    for case, frames in cases.items():
        x = frame_values(frames, slice(None), trained.preprocessing)
        models, notes = float_models(trained, x, frames.select(slice(0, INTERPRETED)).dense())
        batches = batches or batch_sizes(models, x[: max(BATCHES)])
        candidates: dict[str, Callable[[], object]] = {}
        for name, (model, time_first) in models.items():
            notes[name]["batch"] = batches[name]
            candidates[name] = FloatRun(model, x, time_first, batches[name])
        facts: dict[str, Any] = {}
        for name, compiled in programs.items():
            candidates[name] = partial(engine.run, compiled, frames, threads=1)
            run = engine.run(compiled, frames, threads=1)
            facts[name] = {"synops": int(run.synops.sum()), "stages": run.stages, "active_inputs": int(run.active[:, 0].sum()), "spikes": run.spikes.sum(0).tolist()}  # fmt: skip
        kind: Any = {"fc_0p40m": Yardstick, "conv_0p42m": ConvYardstick}.get(options.arch)
        if kind is not None:
            for profile, name in (("loihi_int8", "C yardstick"), ("aggressive_int4", "C yardstick, INT4")):
                yard = kind(programs[profile], frames)
                yard.check(engine.run(programs[profile], frames, threads=1))
                candidates[name] = yard.run
                if profile == "loihi_int8":
                    candidates |= yard.parts()
                    facts["row_bytes"] = yard.row_bytes()
        measured = interleaved(candidates, options.turns)
        fastest = min((n for n in measured if n in notes), key=lambda n: measured[n]["min"])
        result["cases"][case] = {
            "activity": len(frames.index) / (len(frames) * frames.time_bins * frames.inputs),
            "seconds": measured,
            "notes": notes,
            "facts": facts,
            "fastest_float": fastest,
            "ratio_to_fastest_float": {n: measured[fastest]["min"] / measured[n]["min"] for n in measured},
            "ratio_of_medians": {n: measured[fastest]["median"] / measured[n]["median"] for n in measured},
        }
    save(f"inference-{options.arch}", result, *[PACKAGES[n] for n in available()])


if __name__ == "__main__":
    main()
