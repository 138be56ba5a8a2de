"""How near are the simulated recordings to real ones, and how hard is the simulated gesture set?

python benchmarks/paper/recordings_compare.py --real sample_nmnist.bin --out benchmarks/paper/RECORDINGS

writes RECORDINGS.md and RECORDINGS.json. Everything is drawn from --seed.
"""

import argparse
import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy import __version__
from sastdeploy.recordings.catalog import GESTURES
from sastdeploy.recordings.events import EVENT_DTYPE, Events
from sastdeploy.synthesis.dvsgesture_sim import TRAIN_PERFORMERS, lightings_of, performer_split
from sastdeploy.synthesis.gestures import draw_gesture
from sastdeploy.synthesis.mnist import load_digits, stratified
from sastdeploy.synthesis.saccades import SaccadeScene, draw_digit

BINS = 10
# Orchard et al. 2015 as quoted in the literature on the 70,000 recordings; not recomputed here.
PUBLISHED = {"events_mean": 4172, "on_share": 0.4996}


def statistics(recordings: list[Events]) -> dict[str, Any]:
    """Return the table's figures over recordings on 34x34."""
    events, share, active, largest, last = [], [], [], [], []
    for r in recordings:
        t = r["t"]
        step = np.minimum(t * BINS // (int(t.max()) + 1), BINS - 1)
        counts = np.zeros((BINS, 2, 34, 34), int)
        np.add.at(counts, (step, r["p"], r["y"], r["x"]), 1)
        events.append(len(r))
        share.append(float(r["p"].mean()))
        active.append((counts > 0).sum((1, 2, 3)))
        largest.append(int(counts.max()))
        last.append(int(t.max()))
    bins = np.mean(active, 0)
    return {
        "recordings": len(recordings), "events_mean": float(np.mean(events)), "events_std":
        float(np.std(events)),
        "on_share": float(np.mean(share)), "active_per_bin": [round(float(v), 1) for v in bins],
        "active_share": float(bins.mean() / (2 * 34 * 34)), "largest_count_mean": float(np.mean(largest)),
        "largest_count_quantiles_5_50_95": np.quantile(largest, (0.05, 0.5, 0.95)).tolist(),
        "last_event_us_mean": float(np.mean(last)),
    }  # fmt: skip


def read_real(path: Path) -> Events:
    """Return the events of an N-MNIST file without overflow events."""
    raw = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 5).astype(np.int64)
    events = np.empty(len(raw), EVENT_DTYPE)
    events["x"], events["y"], events["p"] = raw[:, 0], raw[:, 1], raw[:, 2] >> 7
    events["t"] = (raw[:, 2] & 127) << 16 | raw[:, 3] << 8 | raw[:, 4]
    return events


def summed_frame(
    job: tuple[int, int, int, int, int],
) -> tuple[int, int, NDArray[np.float64], int, float]:
    """Return (performer, gesture, summed frame 2 x 48 x 48, events, ON share) of one simulated gesture."""
    seed, performer, lighting, gesture, duration_us = job
    e = draw_gesture(gesture, performer, lighting, duration_us, seed)
    frame = np.zeros((2, 48, 48))
    at = (e["p"], e["y"].astype(int) * 48 // 128, e["x"].astype(int) * 48 // 128)
    np.add.at(frame, at, 1)
    return performer, gesture, frame.ravel(), len(e), float(e["p"].mean())


def gestures(seed: int, lightings: int, duration_us: int, processes: int) -> dict[str, Any]:
    """Return what a nearest-centroid classifier gets on summed frames, training to test performers."""
    train, test = performer_split(29)
    jobs = [
        (seed, performer, light, gesture, duration_us)
        for performer in (*train, *test)
        for light in lightings_of(seed, performer, lightings)
        for gesture in range(len(GESTURES))
    ]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(summed_frame, jobs, chunksize=11))
    who, label, frames, events, share = (np.array(column) for column in zip(*rows))
    result = {
        "gestures": len(rows), "duration_s": duration_us / 1e6, "lightings_per_performer": lightings,
        "train_performers": len(train), "test_performers": len(test), "events_mean": float(events.mean()),
        "events_std": float(events.std()), "on_share": float(share.mean()), "chance": 1 / len(GESTURES),
    }  # fmt: skip
    unit = np.sqrt(frames)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for name, x in (("raw_counts", frames), ("square_root_unit_norm", unit)):
        learn = who <= TRAIN_PERFORMERS
        centroids = np.array([x[learn & (label == k)].mean(0) for k in range(len(GESTURES))])
        predicted = ((x[~learn][:, None] - centroids) ** 2).sum(-1).argmin(1)
        result[f"nearest_centroid_accuracy_{name}"] = float((predicted == label[~learn]).mean())
        result["test_gestures"] = int((~learn).sum())
    return result


def markdown(record: dict[str, Any]) -> str:
    """Return the committed report."""
    columns = [("simulated (nmnist-sim)", record["nmnist_sim"])]
    if "real" in record:
        columns.append(("one real recording", record["real"]))
    rows: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
            ("recordings", lambda s: f"{s['recordings']:,}"),
            ("events per recording", lambda s: f"{s['events_mean']:,.0f}"
             + (f" (sd {s['events_std']:,.0f})" if s["recordings"] > 1 else "")),
            ("share of polarity 1 (ON)", lambda s: f"{s['on_share']:.1%}"),
            ("active inputs per bin", lambda s: " ".join(f"{v:.0f}" for v in s["active_per_bin"])),
            ("active inputs, all bins", lambda s: f"{s['active_share']:.1%}"),
            ("largest count in a bin", lambda s: f"{s['largest_count_mean']:.1f}"),
            ("last event (ms)", lambda s: f"{s['last_event_us_mean'] / 1000:.0f}")]  # fmt: skip
    published = {"events per recording": f"about {PUBLISHED['events_mean']:,}",
                 "share of polarity 1 (ON)": f"about {PUBLISHED['on_share']:.1%}"}  # fmt: skip
    lines = ["# Simulated recordings beside real ones", "", f"Command: `{record['command']}`, "
             f"seed {record['seed']}.",
             "", "## N-MNIST", "", "| | " + " | ".join(n for n, _ in columns) + " | published (quoted) |",
             "|" + "---|" * (len(columns) + 2)]  # fmt: skip
    for name, show in rows:
        cells = [show(s) for _, s in columns] + [published.get(name, "-")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    g = record["dvsgesture_sim"]
    lines += [
        "",
        "The published figures are quoted from memory of the literature, not recomputed and not looked up "
        "again. The "
        "real column is a single recording, so a mean over all digits need not meet it bin by bin.",
        "",
        "Where they do not agree: the simulated camera is quieter between the first and the second saccade "
        "(fourth bin) "
        "and busier in the first three bins; the real path is slightly curved, the simulated one straight; "
        "the largest "
        "count is about one higher. Real recordings may vary more in their number of events: here the "
        "spread comes "
        "from the digits' strokes and a small jitter of contrast only.",
        "",
        "## Simulated DVS Gesture",
        "",
        f"{g['gestures']} gestures of {g['duration_s']:g} s ({g['train_performers']} performers train, "
        f"{g['test_performers']} test, {g['lightings_per_performer']} lighting each): "
        f"{g['events_mean']:,.0f} events "
        f"(sd {g['events_std']:,.0f}), {g['on_share']:.1%} ON.",
        "",
        "| nearest centroid on summed 2x48x48 frames | accuracy on test performers |",
        "|---|---|",
        f"| counts | {g['nearest_centroid_accuracy_raw_counts']:.1%} |",
        f"| square roots, unit norm | {g['nearest_centroid_accuracy_square_root_unit_norm']:.1%} |",
        f"| chance | {g['chance']:.1%} |",
        "",
        f"({g['test_gestures']} test gestures.) Summed frames hold no order in time, so they cannot tell "
        f"clockwise "
        "from counter-clockwise. No real DVS Gesture recording was at hand to compare with. ON events "
        "prevail mostly because "
        "leak events and hot pixels are ON, and gestures leave most pixels at rest.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, help="a real N-MNIST recording (.bin)")
    parser.add_argument("--recordings", type=int, default=500)
    parser.add_argument("--lightings", type=int, default=1)
    parser.add_argument("--duration", type=float, default=2.0, help="seconds per gesture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/paper/RECORDINGS"))
    options = parser.parse_args()
    digits, scene = load_digits("train"), SaccadeScene()
    chosen = stratified(digits.labels, options.recordings, options.seed)
    simulated = [draw_digit(digits.images[i], scene, (options.seed, 0, int(i))) for i in chosen]
    command = (f"python benchmarks/paper/recordings_compare.py --recordings {options.recordings} --lightings "
               f"{options.lightings} --duration {options.duration:g} --seed {options.seed}")  # fmt: skip
    if options.real:
        command += f" --real {options.real.name}"
    record = {"command": command, "seed": options.seed, "sastdeploy": __version__,
              "nmnist_sim": statistics(simulated), "published": PUBLISHED}  # fmt: skip
    if options.real:
        record["real"] = statistics([read_real(options.real)])
    record["dvsgesture_sim"] = gestures(
        options.seed, options.lightings, round(options.duration * 1e6), options.processes
    )
    text = markdown(record)
    options.out.with_suffix(".md").write_text(text)
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
