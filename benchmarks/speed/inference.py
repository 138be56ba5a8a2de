"""Recordings per second of one thread: this simulator, float frameworks, and a hand-written C run of the same integers.

python benchmarks/speed/inference.py --work FOLDER [--arch conv_0p42m] [--recordings 1024] [--turns 7]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from peers import PACKAGES, agreement, available, definition
from subject import SEED, checkpoint, program, recordings
from timing import interleaved, one_thread, save
from yardstick import Yardstick
from yardstick_conv import ConvYardstick

from sastdeploy.frames import Frames
from sastdeploy.simulator import engine
from sastdeploy.training.inference import frame_values

BATCHES = (32, 128, 512)


def float_candidates(trained, x) -> tuple[dict, dict]:
    """Return per float peer a call on all recordings, with its best batch size, and the checked agreement."""
    candidates, notes = {}, {}
    models = {"torch": definition(trained, "delayed", False)}
    for name, peer in available().items():
        share = agreement(trained, name, x[:256])
        if share < 0.995:
            raise SystemExit(f"{name}: predicts as plain torch on {share:.1%} of recordings only; not timed.")
        notes[name] = {"agreement": share, "rule": peer.rule}
        models[name] = peer(trained).eval()

    def call(model, batch, part):
        def run() -> None:
            with torch.inference_mode():
                for start in range(0, len(part), batch):
                    model(part[start : start + batch]).argmax(1)

        return run

    for name, model in models.items():
        usable = [batch for batch in BATCHES if batch <= len(x)]
        tried = interleaved({str(b): call(model, b, x[: max(BATCHES)]) for b in usable}, 2)
        best = min(tried, key=lambda batch: tried[batch]["min"])
        notes.setdefault(name, {"agreement": 1.0, "rule": "delayed"})["batch"] = int(best)
        candidates[name] = call(model, int(best), x)
    return candidates, notes


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
    result: dict = {"arch": options.arch, "recordings": options.recordings, "seed": SEED, "cases": {}}
    for case, frames in cases.items():
        x = frame_values(frames, slice(None), trained.preprocessing)
        candidates, notes = float_candidates(trained, x)
        facts = {}
        for name, compiled in programs.items():
            candidates[name] = lambda p=compiled, f=frames: engine.run(p, f, threads=1)
            run = engine.run(compiled, frames, threads=1)
            facts[name] = {"synops": int(run.synops.sum()), "stages": run.stages}
        kind = {"fc_0p40m": Yardstick, "conv_0p42m": ConvYardstick}.get(options.arch)
        if kind is not None:
            yard = kind(programs["loihi_int8"], frames)
            yard.check(engine.run(programs["loihi_int8"], frames, threads=1))
            candidates["C yardstick"] = yard.run
            candidates["C row loads only"] = yard.touch
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
