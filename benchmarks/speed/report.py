"""Write PERFORMANCE.md and its figures from the committed results; the same files give the same bytes.

python benchmarks/speed/report.py [--check]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.speed_figures import figures
from benchmarks.speed.targets import sast_floor, targets
from benchmarks.speed.timing import RESULTS
from sastdeploy._files import atomic
from sastdeploy.experiments.results import aggregate
from sastdeploy.experiments.spec import load_experiment

HERE = Path(__file__).parent
PAGE, FIGURES = HERE / "PERFORMANCE.md", HERE / "figures"
EXPERIMENTS = HERE.parent / "paper"
MEMORY = HERE / "TRAINING_MEMORY.json"
QUESTIONS = {
    "inference-fc_0p40m", "inference-conv_0p42m", "training-fc_0p40m", "training-conv_0p42m", "xylo", "growth", "limits", "data-path", "making",
    "start-memory",
}  # fmt: skip
"""What the page is made of, by the names of the results' files."""
_CLIP_PATH = re.compile(r"\bp[0-9a-f]{10}\b")


def table(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def source(record: dict[str, Any]) -> str:
    machine, commit = record["machine"], record["commit"] or "unknown"
    commit = commit[:12] + (" with changes that were not committed" if commit.endswith("+") else "")
    return (
        f"`{record['command']}`, commit {commit}, {machine['processor']} ({', '.join(machine['features'])}), "
        f"{machine['cores']} cores, Python {machine['python']}, "
        + ", ".join(f"{k} {v}" for k, v in record["versions"].items() if k not in ("python", "sastdeploy"))
        + ".\n"
    )


def full_length() -> str:
    """Return the section of the trainings with the paper's schedule, from their records."""
    experiment = load_experiment(EXPERIMENTS / "table1-full.yaml")
    hashes = json.loads((EXPERIMENTS / "data.json").read_text("utf-8"))
    first = experiment.trials[0]
    data = hashes[f"{first.dataset}, {first.time_bins} bins"]
    trials = {trial.address(data): trial for trial in experiment.trials}
    rows, commits = [], set()
    for point in aggregate(experiment, trials, EXPERIMENTS / "records").points:
        cells = [point.label, len(point.raw)]
        for kind in ("training_cpu", "training"):
            minutes = [record["seconds"][kind] / 60 for record in point.raw]
            cells.append(f"{median(minutes):.1f} ({min(minutes):.1f} to {max(minutes):.1f})")
        rows.append(cells)
        commits |= {record["commit"][:12] for record in point.raw}
    return (
        "## Full-length trainings\n\n"
        + table(["method", "trainings", "minutes of processor time", "minutes of wall clock"], rows)
        + f"""
Median and range. {first.epochs} epochs of 54,001 recordings of simulated N-MNIST, evaluation on 6,000 after each one included, one thread. Several ran at once and shared
the two cores with other work, so processor time is what to compare. `sastdeploy sweep run benchmarks/paper/table1-full.yaml`, commits {", ".join(sorted(commits))};
accuracies are in [RESULTS.md](../paper/RESULTS.md).
"""
    )


def inference(record: dict[str, Any], case: str) -> str:
    facts, count = record["cases"][case], record["recordings"]
    notes, rows = facts["notes"], []
    for name, seconds in sorted(facts["seconds"].items(), key=lambda item: item[1]["min"]):
        rate = count / seconds["min"]
        batch = (
            f"batch {notes[name]['batch']}, agrees {notes[name]['agreement']:.1%}" if name in notes else ""
        )
        rows.append([
            name, f"{rate:,.0f}", f"{facts['ratio_to_fastest_float'][name]:.2f}", f"{facts['ratio_of_medians'][name]:.2f}",
            f"{seconds['spread']:.2f}", batch,
        ])  # fmt: skip
    header = ["one thread", "recordings/s", "ratio (fastest turns)", "ratio (medians)", "spread", "note"]
    return table(header, rows)


def growth_rows(record: dict[str, Any]) -> str:
    rows = []
    for name, curve in record["curves"].items():
        points = curve["points"]
        span = f"{points[0][name]:g} to {points[-1][name]:g}"
        rows.append(
            [
                name,
                span,
                f"{curve['exponent']:.2f}",
                f"{curve['synops_exponent']:.2f}",
                f"{curve['memory_exponent']:.2f}",
            ]
        )
    return table(["quantity", "span", "exponent of time", "of its SynOps", "of its memory"], rows)


def last_steps(record: dict[str, Any]) -> str:
    """Return which curves grow faster than their SynOps between their last two points, by how much, and why."""
    faster = []
    for name, curve in record["curves"].items():
        before, last = curve["points"][-2:]
        time, work = last["seconds"] / before["seconds"], last["synops"] / before["synops"]
        if time > 1.02 * work:
            faster.append(
                f"{name} (from {before[name]:,g} to {last[name]:,g}: {time:.2f} times the time for {work:.2f} times the SynOps)"
            )
    if not faster:
        return "At their ends no curve grows faster than its SynOps."
    return (
        f"At their ends these curves grow faster than their SynOps: {'; '.join(faster)}. Weight rows that no longer fit the level-2 cache (1 MiB: from 5,000 inputs "
        "of 168 neurons on) come from level 3. Below the knees fixed costs show: per step the neurons, per run the checks."
    )


def stages(record: dict[str, Any], case: str) -> str:
    """Return the first layer's share of the INT8 program's time."""
    parts = record["cases"][case]["facts"]["loihi_int8"]["stages"]
    return f"{(parts['input'] + parts['layers.0']) / sum(parts.values()):.0%}"


def two_at_once(record: dict[str, Any]) -> str:
    names = {
        "threads": "this engine, one process, threads",
        "engines": "this engine, processes of one thread",
        "C": "hand-written C, processes",
    }
    rows = []
    for name, title in names.items():
        one, two = (record["seconds"][f"{name}, {n}"] for n in (1, 2))
        times = record["times_as_fast"][name]
        rows.append([
            title, f"{one['min'] * 1e3:.0f}", f"{two['min'] * 1e3:.0f}", f"{times['min']:.2f}", f"{times['median']:.2f}",
            f"{one['spread']:.2f} / {two['spread']:.2f}",
        ])  # fmt: skip
    header = [
        "one against two",
        "ms, one",
        "ms, two",
        "times the work (fastest turns)",
        "(medians)",
        "spread",
    ]
    return table(header, rows)


def results() -> dict[str, Any]:
    """Return the committed results by question, and the training memory's by network."""
    by_question = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    by_question["memory"] = {each["settings"]["arch"]: each for each in json.loads(MEMORY.read_text("utf-8"))}
    missing = sorted(QUESTIONS - by_question.keys())
    if missing:
        raise SystemExit(
            f"{RESULTS}: without {', '.join(missing)}; see benchmarks/speed/run.py for the scripts."
        )
    return by_question


def page(by_question: dict[str, Any]) -> str:
    fc, conv = by_question["inference-fc_0p40m"], by_question["inference-conv_0p42m"]
    real, at5 = fc["cases"]["real"], conv["cases"]["0.05"]
    ratio, seconds, ratio5 = real["ratio_to_fastest_float"], real["seconds"], at5["ratio_to_fastest_float"]
    bytes_per_second = real["facts"]["row_bytes"] / seconds["C row loads only"]["min"] / 1e9
    sums_share = seconds["C, sums of the first layer only"]["min"] / seconds["C yardstick"]["min"]
    once = (
        seconds["C, these sums, a row loaded once per recording"]["min"]
        / seconds["C, sums of the first layer only"]["min"]
    )
    train, train_conv, xylo = (
        by_question["training-fc_0p40m"],
        by_question["training-conv_0p42m"],
        by_question["xylo"],
    )
    limits, data, start, growth = (
        by_question[name] for name in ("limits", "data-path", "start-memory", "growth")
    )
    sum_rate, gradient_rate = (
        limits["training"]["row_bytes"][part]
        / limits["training"]["seconds"][f"first layer, {part}"]["min"]
        / 1e9
        for part in ("sum", "weight gradient")
    )
    parts_sum = sum(v["min"] for v in limits["training"]["seconds"].values()) * 1e3
    two, block = growth["two_at_once"]["times_as_fast"], growth["two_at_once"]["block"]
    few = growth["two_at_once"]["by_recordings"]
    held, whole = (block["seconds"][name]["min"] for name in ("empty", "full"))
    process = {name: times["median"] for name, times in limits["start"].items()}
    numba_alone = process["the same, SciPy and cffi hidden"] - process["Python alone"]
    stream, large = start["stream"], start["large"]
    c_xylo = {name: form["ratio_of_c"] for name, form in xylo["forms"].items()}
    c_share = {name: form["ratio"] / form["ratio_of_c"] for name, form in xylo["forms"].items()}
    float_ms, ours_ms = (
        train["seconds"][train["fastest_peer"]]["min"] * 1e3,
        train["seconds"]["fused baseline"]["min"] * 1e3,
    )
    chip = xylo["forms"]["chip"]["seconds_per_recording"]
    chip_steps = 2 * xylo["forms"]["chip"]["steps"]
    parts = [
        "# Speed\n\nWritten by `python benchmarks/speed/report.py` from `benchmarks/speed/results/*.json` and `TRAINING_MEMORY.json`. `make bench-peers` runs all of it again "
        "but whole trainings and their memory, whose commands stand beside them; `make bench` is a short set without other frameworks, whose results lie apart and do not change this page. "
        "Ratios are within one run, candidates taking turns in random order; absolutes belong to the machine named. All recordings are simulated (`nmnist-sim`).\n",
        "## Targets\n\n" + table(["what", "target", "measured", "", "measured limit"], targets(by_question)),
        f"""What stops the targets that are not met:

- **Inference.** A recording touches {real['facts']['row_bytes'] / fc['recordings'] / 1e3:,.0f} kB of INT8 weight rows, a row for every active input of every step: more than the level-1 cache
  holds. Loading them and doing nothing else (C, AVX-512) runs at {bytes_per_second:.0f} GB/s and {ratio['C row loads only']:.1f} times the fastest float framework;
  loading and adding them, {ratio['C, sums of the first layer only']:.1f} times; a whole hand-written run of the same integers {ratio['C yardstick']:.1f} times; this engine {ratio['loihi_int8']:.1f}. The first
  layer's sums are {sums_share:.0%} of the C run's time; the rest is spent on updating 2,320 neurons per recording, listing their spikes, adding the hidden
  layers' rows and counting operations. Loading a row once per recording and adding it for every step in which
  its input is active takes {once:.1f} times as long as going step by step (C, same sums, without the widening that INT8 needs): it saves loads, but the
  sums of all steps do not stay in registers, and an addition becomes a load, an addition and a store. Counts above 1 cost nothing extra:
  one multiply-add instruction takes two rows with their counts. INT4 weights are stored as bytes, move as many bytes as INT8, and gain only from fewer
  widenings; a C run of them reaches {ratio['C yardstick, INT4']:.1f}. Instructions and cycles were not counted: this machine gives no access to its counters.
- **Convolution.** The network timed is random, scaled until a tenth of the neurons of every layer fire at each step on real activity, because a network
  that was trained for minutes stays silent and would flatter an event-driven run. Each position copies the runs of active inputs that
  it sees and sums their rows in registers, at every activity: a dense way beside it was not built, because this one is nowhere slower than the
  float frameworks. At 5 % a hand-written C run of the same integers, checked
  equal, is {ratio5['C yardstick']:.1f} times the fastest float run, and this engine {ratio5['loihi_int8']:.1f}: {ratio5['loihi_int8'] / ratio5['C yardstick']:.0%} of it. The first layer takes
  {stages(conv, '0.01')} of the time at 1 % of the inputs, {stages(conv, '0.05')} at 5 % and {stages(conv, '1')} at 100 %.
- **XyloSim.** The hand-written C run of our integers is {c_xylo['fc_0p40m']:,.0f} times as fast on the layers of fc_0p40m and {c_xylo['chip']:,.0f} times on the net of 16 inputs;
  this engine reaches {c_share['fc_0p40m']:.0%} and {c_share['chip']:.0%} of that. The small net has little work per layer and step, so what each costs at least weighs
  most: {chip['sastdeploy'] / chip_steps * 1e9:.0f} ns per layer and step here, {chip['C yardstick'] / chip_steps * 1e9:.0f} ns in C, sums included.
- **Training.** A step takes {ours_ms:.1f} ms, the fastest framework {float_ms:.1f} ms. Its two sums over the first layer's active inputs move
  {limits['training']['row_bytes']['sum'] / 1e6:.0f} and {limits['training']['row_bytes']['weight gradient'] / 1e6:.0f} MB of float32 rows at {sum_rate:.0f} and {gradient_rate:.0f} GB/s; the parts, timed apart, are in the table
  "Where a step's time goes". A SAST step takes two gradients, of two minibatches, and one Adam step by its definition. Ours
  take {sast_floor(train):.2f} baseline steps before the move to the perturbed point and back, {sast_floor(train_conv):.2f} for the convolution: less is out of reach here whatever the
  moves cost, because only {2 - sast_floor(train):.0%} and {2 - sast_floor(train_conv):.0%} of a baseline step lie outside its gradient and are not done twice.
- **Two threads.** Two processes at once that share nothing do {two['C']['min']:.2f} times the work of one where each is the
  hand-written C run, {two['engines']['min']:.2f} times where each is one thread of this engine; two threads do {two['threads']['min']:.2f} times the work of one (medians {two['C']['median']:.2f}, {two['engines']['median']:.2f}, {two['threads']['median']:.2f}: the
  two cores of this machine are shared with others, and a figure of 2 or above is their noise). With few recordings to share, starting the second thread weighs: {', '.join(f"{each['min']:.2f} times with {int(count):,}" for count, each in few.items())}.
  Python holds the interpreter's lock for {held * 1e6:.0f} us of a block's {whole * 1e3:.2f} ms ({held / whole:.1%}; {block['recordings']} recordings).
- **Start.** Up to 8 recordings are computed by the plain engine, which needs no compiled kernels. For more, importing Numba and loading its
  smallest kernel from the cache takes {numba_alone:.2f} s before anything runs, of which {process['import numba'] - process['Python alone']:.2f} s are the import;
  with SciPy and cffi, which Numba imports where they are installed and `simulate` hides from it, {process['load the smallest kernel from the cache'] - process['Python alone']:.2f} s.
  So `simulate` tells on stderr what the plain engine finds on the first recordings, and the whole result follows.
""",
        "## Inference, `fc_0p40m`, real activity " + f"({real['activity']:.1%} of inputs, counts up to the clip)\n\n" + inference(fc, "real")
        + "\n`loihi_int8`, `aggressive_int4`: this simulator (`engine.run` on frames in memory), with spikes, operations and overflows counted. Float frameworks get dense "
        "float32 tensors made beforehand, in batches of the size that suits each best (searched from 1 to 512), laid out as each takes them, and return classes only; before timing, plain torch is held against the float64 "
        f"interpreter of this package, and each framework against plain torch under its own reset rule, on the share of recordings shown. rockpool cannot be imported from the package index alone (it asks for samna), so XyloSim is driven directly; torch.compile was not measured.\n\n{source(fc)}\n![Ratios](figures/speed-ratios.svg)\n",
        "## Inference, `conv_0p42m`\n\n" + table(
            ["activity", "fastest float run", "its batch", "recordings/s", "INT8 recordings/s", "ratio", "(medians)", "INT4 ratio", "hand-written C", "row loads only"],
            [[case, c["fastest_float"], c["notes"][c["fastest_float"]]["batch"], f"{conv['recordings'] / c['seconds'][c['fastest_float']]['min']:,.0f}", f"{conv['recordings'] / c['seconds']['loihi_int8']['min']:,.0f}", f"{c['ratio_to_fastest_float']['loihi_int8']:.1f}", f"{c['ratio_of_medians']['loihi_int8']:.1f}", f"{c['ratio_to_fastest_float']['aggressive_int4']:.1f}", f"{c['ratio_to_fastest_float']['C yardstick']:.1f}", f"{c['ratio_to_fastest_float']['C row loads only']:.1f}"] for case, c in conv["cases"].items()],
        ) + f"\n{conv['recordings']} recordings, random weights, every layer scaled until a tenth of its neurons fire on real activity; the other cases are random binary frames. "
        f"\"torch, channels last\" is plain torch with the weights' memory in the order that its convolutions like on a CPU: faster than every framework measured, so it counts as the fastest.\n\n{source(conv)}",
        "## XyloSim\n\n" + table(
            ["net", "XyloSim, s per recording", "ours", "ratio", "hand-written C", "its ratio"],
            [[f"{f['inputs']}-{f['hidden']}-{f['outputs']}, T = {f['steps']}", f"{f['seconds_per_recording']['XyloSim']:.2e}", f"{f['seconds_per_recording']['sastdeploy']:.2e}", f"{f['ratio']:,.0f}", f"{f['seconds_per_recording']['C yardstick']:.2e}", f"{f['ratio_of_c']:,.0f}"] for f in xylo["forms"].values()],
        ) + f"\n{source(xylo)}",
        "## A training step, batch 128, one thread\n\n" + "\n".join(
            f"`{record['arch']}`:\n\n" + table(["step", "ms, fastest", "ms, median", "spread"], [[name, f"{s['min'] * 1e3:.2f}", f"{s['median'] * 1e3:.2f}", f"{s['spread']:.2f}"] for name, s in sorted(record["seconds"].items(), key=lambda item: item[1]["min"])]) + f"\n{source(record)}"
            for record in (train, train_conv)
        ) + f"\nAll start from the same initial weights and take the same minibatches in turn; losses are compared before timing. A turn of `fc_0p40m` is {train['steps_in_a_row']} steps in a row, of `conv_0p42m` {train_conv['steps_in_a_row']}. "
        f"\"torch, CSR first layer\" is no framework's way, but what a user can write with torch's sparse matrices, ready made for every batch: our step is {train['baseline_over_csr']['min']:.2f} times as fast (medians {train['baseline_over_csr']['median']:.2f}). "
        "Peers train with hard spikes forward, as their guides show; our steps run the surrogate's spike forward, an arctangent per neuron and step. "
        "Gradients: at initial weights within 1e-5 of the largest gradient of plain torch, and nearer to those of float64 (tested on both networks); on a trained net the steep surrogate amplifies a last bit in both, and through the sparse first "
        "layer `fc_0p40m`'s gradient lies farther from float64 than plain torch's (tested: at four times the initial weights at most 2.5 times as far, geometric mean). Bits repeat from run to run; the fused kernels' do not depend on the number of threads, "
        "torch's own products (the readout's weight gradient, convolutions) differ in the last bit between numbers of torch threads.\n",
        "## Where a step's time goes\n\n" + table(
            ["part", "ms, fastest", "ms, median"],
            [[part, f"{v['min'] * 1e3:.2f}", f"{v['median'] * 1e3:.2f}"] for part, v in limits["training"]["seconds"].items()],
        ) + f"\nTogether {parts_sum:.2f} ms of a baseline step's {ours_ms:.2f}; the rest is the second layer's backward pass, the readout, the loss and torch's bookkeeping, not timed apart.\n"
        "\nAnd a first result's:\n\n" + table(["process", "s, median"], [[k, f"{v['median']:.2f}"] for k, v in limits["start"].items()]) + f"\n{source(limits)}",
        full_length(),
        "## Growth\n\n" + growth_rows(growth) + "\n" + two_at_once(growth["two_at_once"]) + f"""
From 2312-168-64-10, T = 10, 8 % active, {growth['base']['recordings']:,} recordings, one thread; the exponent is fitted to the upper half of each curve.
Memory: weight tables and the largest sum of arrays during a run, frames aside. Block: recordings computed together by one thread (`chunk`).
Two: threads share {growth['two_at_once']['recordings']:,} recordings, a process has as many of its own; all take turns.
{last_steps(growth)}

{source(growth)}
![Growth](figures/speed-growth.svg)

![Roofline](figures/speed-roofline.svg)
""",
        f"""## From files to frames

{table(["", "files/s, fastest", "files/s, median"], [[name, *(f"{data['files'] / data['seconds'][key][kind]:,.0f}" for kind in ("min", "median"))] for key, name in (("ours", "sastdeploy"), ("tonic", f"tonic {data['versions']['tonic']}: `read_mnist_file` and `ToFrame`"))])}
{data['files']:,} recordings of simulated N-MNIST in the format of the real ones, from open files to frames of 10 steps; one thread. tonic keeps {data['kept_by_tonic']:.2%} of the events: it cuts time between the first
and the last event and drops the last.

{source(data)}""",
        "## Memory and start\n\n" + table(
            ["recordings", "seconds", "peak without mapped input and result, MB", "result arrays, MB", "mapped input read, MB"],
            [[f"{int(n):,}", f"{s['seconds']:.2f}", f"{(s['peak_bytes'] - s['mapped_bytes'] - s['result_bytes']) / 1e6:.0f}", f"{s['result_bytes'] / 1e6:.1f}", f"{s['mapped_bytes'] / 1e6:.0f}"] for n, s in stream.items()],
        ) + f"\n`engine.run` on frames that are mapped from disk. A net of {large['weights']:,} weights ({4 * large['weights'] / 1e6:,.0f} MB in float32, {large['program_bytes'] / 1e6:,.0f} MB as the program's arrays): {large['peak_bytes_with_the_float_net'] / 1e6:,.0f} MB with its float32 checkpoint in memory, {large['peak_bytes_after_compiling'] / 1e6:,.0f} MB at the peak of compiling "
        f"({large['compile_seconds']:.1f} s: weights are scaled and rounded in float64), {large['peak_bytes_after_simulating'] / 1e6:,.0f} MB after simulating it. {large['recordings']} recordings take {large['simulate_seconds'] * 1e3:.0f} ms ({large['gsynops_per_second']:.0f} GSynOp/s), the first time {large['first_run_seconds']:.1f} s: checks, tables, and kernels that were not in the cache.\n\n"
        "Peak memory of trainings: `python benchmarks/speed/training_memory.py --data FOLDER` (`TRAINING_MEMORY.json`), of whole processes "
        "that train on few recordings; mapped pages of the frame cache come on top with more.\n\n" + table(["start", "median, s", "turns"], [[k, f"{v['median']:.2f}", v["turns"]] for k, v in start["start"].items()])
        + f"\nFirst runs compile every kernel; frames and Python's own bytecode are there.\n\n{source(start)}",
    ]  # fmt: skip
    return "\n".join(parts)


def drawing(path: Path) -> str:
    """Return a figure with its clip paths numbered: their names are hashes of numbers whose last bits depend on the processor."""
    text = path.read_text("utf-8")
    numbers = {name: str(number) for number, name in enumerate(dict.fromkeys(_CLIP_PATH.findall(text)))}
    return _CLIP_PATH.sub(lambda match: numbers[match[0]], text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="fail if PERFORMANCE.md is not what the results give"
    )
    parser.add_argument("--out", type=Path, default=PAGE, help="the page")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="folder of the figures")
    options = parser.parse_args()
    by_question = results()
    text = page(by_question)
    if options.check:
        with TemporaryDirectory() as canvas:
            figures(by_question, Path(canvas))
            same = all(
                (FIGURES / drawn.name).exists() and drawing(FIGURES / drawn.name) == drawing(drawn)
                for drawn in Path(canvas).iterdir()
            )
        same &= PAGE.exists() and PAGE.read_text("utf-8") == text
        sys.exit(0 if same else f"{PAGE}: differs from the committed results; run {sys.argv[0]}.")
    figures(by_question, options.figures)
    atomic.write_text(options.out, text)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
