"""Write PERFORMANCE.md and its figures from the committed results; the same files give the same bytes.

python benchmarks/speed/report.py [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS, PAGE, FIGURES = HERE / "results", HERE.parent / "PERFORMANCE.md", HERE.parent / "figures"
MEMORY = HERE.parent / "TRAINING_MEMORY.json"


def load(question: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{question}.json").read_text("utf-8"))


def table(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def source(record: dict[str, Any]) -> str:
    machine, commit = record["machine"], (record["commit"] or "unknown")[:12]
    return (
        f"`{record['command']}`, commit {commit}, {machine['processor']} ({', '.join(machine['features'])}), "
        f"{machine['cores']} cores, Python {machine['python']}, "
        + ", ".join(f"{k} {v}" for k, v in record["versions"].items() if k not in ("python", "sastdeploy"))
        + ".\n"
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


def page() -> str:
    fc, conv = load("inference-fc_0p40m"), load("inference-conv_0p42m")
    real = fc["cases"]["real"]
    ratio, seconds = real["ratio_to_fastest_float"], real["seconds"]
    yard = seconds["C yardstick"]["min"] / seconds["loihi_int8"]["min"]
    bound = seconds["C row loads only"]["min"] / seconds["loihi_int8"]["min"]
    bytes_per_second = real["facts"]["row_bytes"] / seconds["C row loads only"]["min"] / 1e9
    ours_bytes = real["facts"]["row_bytes"] / seconds["loihi_int8"]["min"] / 1e9
    train, train_conv, xylo = load("training-fc_0p40m"), load("training-conv_0p42m"), load("xylo")
    limits = load("limits")
    sum_rate, gradient_rate = (
        limits["training"]["row_bytes"][part]
        / limits["training"]["seconds"][f"first layer, {part}"]["min"]
        / 1e9
        for part in ("sum", "weight gradient")
    )
    data, start, growth, full = load("data-path"), load("start-memory"), load("growth"), load("full-training")
    two, block = growth["two_at_once"]["times_as_fast"], growth["two_at_once"]["block"]
    held, whole = (block["seconds"][name]["min"] for name in ("empty", "full"))
    process = {name: times["median"] for name, times in limits["start"].items()}
    numba_alone = process["the same, SciPy and cffi hidden"] - process["Python alone"]
    at5, stream, large = conv["cases"]["0.05"], start["stream"], start["large"]
    slowest = min(c["ratio_to_fastest_float"]["loihi_int8"] for c in conv["cases"].values())
    own = {n: stream[n]["own_bytes"] - stream[n]["result_bytes"] for n in stream}
    flat = own["100000"] / own["1000"]
    peaks = {
        each["settings"]["arch"]: each["fused_over_plain"]["peak_mib"] for each in json.loads(MEMORY.read_text("utf-8"))
    }  # fmt: skip
    met = lambda yes: "met" if yes else "not met"  # noqa: E731
    float_ms, ours_ms = (
        train["seconds"][train["fastest_peer"]]["min"] * 1e3,
        train["seconds"]["fused baseline"]["min"] * 1e3,
    )
    targets = [
        ["INT8, fc_0p40m, against the fastest float framework", "20x", f"{ratio['loihi_int8']:.1f}x", met(ratio["loihi_int8"] >= 20)],
        ["INT4, fc_0p40m, the same", "30x", f"{ratio['aggressive_int4']:.1f}x", met(ratio["aggressive_int4"] >= 30)],
        ["share of the hand-written C run of the same integers", "80 %", f"{yard:.0%}", met(yard >= 0.8)],
        ["share of what loading the weight rows alone allows", "shown", f"{bound:.0%}", ""],
        ["XyloSim, layers of fc_0p40m", "1,000x", f"{xylo['forms']['fc_0p40m']['ratio']:,.0f}x", met(xylo["forms"]["fc_0p40m"]["ratio"] >= 1000)],
        ["XyloSim, a net that fits the chip", "1,000x", f"{xylo['forms']['chip']['ratio']:,.0f}x", met(xylo["forms"]["chip"]["ratio"] >= 1000)],
        ["INT8, conv_0p42m at 5 % activity", "10x", f"{at5['ratio_to_fastest_float']['loihi_int8']:.1f}x", met(at5["ratio_to_fastest_float"]["loihi_int8"] >= 10)],
        ["conv_0p42m, slowest at any activity up to 100 %", "1x", f"{slowest:.1f}x", met(slowest >= 1)],
        ["two threads against one", "1.8x", f"{two['threads']['min']:.2f}x", met(two["threads"]["min"] >= 1.8)],
        ["training step against the fastest framework", "4x", f"{train['baseline_over_fastest_peer']['min']:.2f}x", met(train["baseline_over_fastest_peer"]["min"] >= 4)],
        ["SAST step over a baseline step", "1.9", f"{train['sast_over_baseline']['min']:.2f}", met(train["sast_over_baseline"]["min"] <= 1.9)],
        ["the same, conv_0p42m", "1.9", f"{train_conv['sast_over_baseline']['min']:.2f}", met(train_conv["sast_over_baseline"]["min"] <= 1.9)],
        ["conv_0p42m training step against the fastest framework", "faster", f"{train_conv['baseline_over_fastest_peer']['min']:.2f}x", met(train_conv["baseline_over_fastest_peer"]["min"] > 1)],
        ["peak memory of a training process against plain torch, fc_0p40m; conv_0p42m", "not above", f"{peaks['fc_0p40m']:.2f}; {peaks['conv_0p42m']:.2f}", met(round(max(peaks.values()), 2) <= 1)],
        ["N-MNIST files to frames, against tonic", "10x", f"{data['ratio']:.1f}x", met(data["ratio"] >= 10)],
        ["making 70,000 simulated N-MNIST recordings on 2 cores", "60,000 in 180 s", f"{data['make_70000_seconds_2_processes']:.0f} s", met(data["make_70000_seconds_2_processes"] <= 210)],
        ["reading the cache, share of reading memory", "memory speed", f"{data['cache_bytes_per_second'] / data['memory_bytes_per_second']:.0%}", met(data["cache_bytes_per_second"] > 0.8 * data["memory_bytes_per_second"])],
        ["first result of `simulate`, warm (one recording)", "0.5 s", f"{start['start']['one recording, warm']['median']:.2f} s", met(start["start"]["one recording, warm"]["median"] < 0.5)],
        ["the same, 2,000 recordings: what the plain engine finds on the first of them", "0.5 s", f"{start['start']['2,000 recordings, warm, the first of them']['median']:.2f} s", met(start["start"]["2,000 recordings, warm, the first of them"]["median"] < 0.5)],
        ["the same, all 2,000 (loads the compiled kernels)", "0.5 s", f"{start['start']['2,000 recordings, warm']['median']:.2f} s", met(start["start"]["2,000 recordings, warm"]["median"] < 0.5)],
        ["first run after an install", "15 s", f"{start['start']['100 recordings, first run after an install']['median']:.1f} s", met(start["start"]["100 recordings, first run after an install"]["median"] < 15)],
        ["memory of 100,000 recordings over that of 1,000, result aside", "flat", f"{flat:.2f}", met(flat <= 1.1)],
        ["compiling 49 million weights, over its float32 size", "small", f"{large['peak_bytes_after_compiling'] / (4 * large['weights']):.1f}", ""],
    ]  # fmt: skip
    c_xylo = {name: form["ratio_of_c"] for name, form in xylo["forms"].items()}
    c_share = {name: form["ratio"] / form["ratio_of_c"] for name, form in xylo["forms"].items()}
    rows_only = f"{ratio['C row loads only']:.1f}x, loading the weight rows"
    limit = {
        "INT8, fc_0p40m, against the fastest float framework": f"{ratio['C yardstick']:.1f}x, hand-written C; {rows_only}",
        "INT4, fc_0p40m, the same": rows_only,
        "XyloSim, layers of fc_0p40m": f"{c_xylo['fc_0p40m']:,.0f}x, hand-written C",
        "XyloSim, a net that fits the chip": f"{c_xylo['chip']:,.0f}x, hand-written C",
        "INT8, conv_0p42m at 5 % activity": f"{at5['ratio_to_fastest_float']['C yardstick']:.1f}x, hand-written C; {at5['ratio_to_fastest_float']['C row loads only']:.1f}x, loading the weight rows",
        "SAST step over a baseline step": f"{train['two_gradients_over_baseline']['min']:.2f}, two gradients and nothing else",
        "the same, conv_0p42m": f"{train_conv['two_gradients_over_baseline']['min']:.2f}, two gradients and nothing else",
        "two threads against one": f"{two['C']['min']:.2f}x, two processes of hand-written C",
        "the same, all 2,000 (loads the compiled kernels)": f"{numba_alone:.2f} s, Numba until its first kernel",
    }  # fmt: skip
    parts = [
        "# Speed\n\nWritten by `python benchmarks/speed/report.py` from `benchmarks/speed/results/*.json` and `TRAINING_MEMORY.json`; run again "
        "with `make bench-peers` (all but whole trainings and their memory, whose commands stand beside them) or `make bench` (without peers). Ratios are within one run, candidates taking "
        "turns; absolutes belong to the machine named. All recordings are simulated (`nmnist-sim`).\n",
        "## Targets\n\n" + table(
            ["what", "target", "measured", "", "measured limit"], [[*row, limit.get(row[0], "")] for row in targets]
        ),
        f"""What stops the targets that are not met:

- **Inference.** A recording touches {real['facts']['row_bytes'] / fc['recordings'] / 1e3:,.0f} kB of INT8 weight rows, more than the level-1 cache holds. Loading
  them and doing nothing else (C, AVX-512) runs at {bytes_per_second:.0f} GB/s and {ratio['C row loads only']:.1f} times the fastest float framework: no order of
  additions that reads every active row once can pass that. A whole hand-written run of the same integers, which must
  also update {10 * 232:,} neurons, list their spikes and count operations, reaches {ratio['C yardstick']:.1f}; this engine {ratio['loihi_int8']:.1f}, its first layer alone
  moving {ours_bytes:.0f} GB/s of rows averaged over the whole run. Counts above 1 cost nothing extra (one multiply-add instruction
  takes two rows with their counts); INT4 weights are stored as bytes, so they move as many bytes as INT8 and gain only
  from fewer widenings. Packed INT4 rows and bit planes for counts were sketched; with counts above 1 they were slower.
- **Convolution.** The network timed is random, scaled until a tenth of the neurons of every layer fire at each step, because a network
  that was trained for minutes stays silent and would flatter an event-driven run. Each position copies the runs of active inputs that
  it sees and sums their rows in registers. At 5 % a hand-written C run of the same integers, checked equal, is {at5['ratio_to_fastest_float']['C yardstick']:.1f} times the fastest
  float framework, and this engine {at5['ratio_to_fastest_float']['loihi_int8']:.1f}: {at5['ratio_to_fastest_float']['loihi_int8'] / at5['ratio_to_fastest_float']['C yardstick']:.0%} of it. Its 374,680 neuron updates per recording cost about as much as the
  hidden layers' rows. From 20 % of the inputs on, more than a fifth of the first layer fires too, and the run is dominated by the
  hidden layers at every activity.
- **XyloSim.** Its time grows with the net as ours does. The hand-written C run of our integers is {c_xylo['fc_0p40m']:,.0f} times as fast on the layers of
  fc_0p40m and {c_xylo['chip']:,.0f} times on the net of 16 inputs; this engine reaches {c_share['fc_0p40m']:.0%} and {c_share['chip']:.0%} of that. On the small net, the fixed cost
  per layer and step weighs most: {xylo['forms']['chip']['seconds_per_recording']['sastdeploy'] / (2 * xylo['forms']['chip']['steps']) * 1e9:.0f} ns here, {xylo['forms']['chip']['seconds_per_recording']['C yardstick'] / (2 * xylo['forms']['chip']['steps']) * 1e9:.0f} ns in C.
- **Training.** A step takes {ours_ms:.1f} ms, the fastest framework {float_ms:.1f} ms. Its two sums over the first layer's active inputs move
  {limits['training']['row_bytes']['sum'] / 1e6:.0f} and {limits['training']['row_bytes']['weight gradient'] / 1e6:.0f} MB of float32 rows, at {sum_rate:.0f} and {gradient_rate:.0f} GB/s out of the level-2 cache; the parts, apart, are in the table
  "Where a step's time goes". A SAST step takes two gradients by its definition and one Adam step. Two gradients alone take
  {train['two_gradients_over_baseline']['min']:.2f} of a baseline step here and {train_conv['two_gradients_over_baseline']['min']:.2f} for the convolution, where nothing but torch's convolutions weighs
  anything: 1.9 would leave no time for Adam's step and for the move to the perturbed point. Medians: {train['baseline_over_fastest_peer']['median']:.2f} times the
  fastest framework, SAST {train['sast_over_baseline']['median']:.2f}.
- **Two threads.** What the two cores give: two processes at once that share nothing do {two['C']['min']:.2f} times the work of one where each is the
  hand-written C run, {two['engines']['min']:.2f} times where each is one thread of this engine; two threads do {two['threads']['min']:.2f} times the work of one. Python holds
  the interpreter's lock for {held * 1e6:.0f} us of a block's {whole * 1e3:.2f} ms ({held / whole:.1%}; {block['recordings']} recordings); every thread gets as many blocks as the others.
- **Start.** Up to 8 recordings are computed by the plain engine, which needs no compiled kernels. For more, importing Numba and loading its
  smallest kernel from the cache takes {numba_alone:.2f} s before anything runs, of which {process['import numba'] - process['Python alone']:.2f} s are the import;
  with SciPy and cffi, which Numba imports where they are installed and `simulate` hides from it, {process['load the smallest kernel from the cache'] - process['Python alone']:.2f} s.
  So `simulate` tells on stderr what the plain engine finds on the first recordings, and the whole result follows.
""",
        "## Inference, `fc_0p40m`, real activity " + f"({real['activity']:.1%} of inputs, counts up to the clip)\n\n" + inference(fc, "real")
        + "\n`loihi_int8`, `aggressive_int4`: this simulator, with spikes, operations and overflows counted. Float frameworks get dense "
        "float32 tensors made beforehand and return classes only; each agrees with plain torch under its own reset rule on the share "
        f"of recordings shown.\n\n{source(fc)}\n![Ratios](figures/speed-ratios.svg)\n",
        "## Inference, `conv_0p42m`\n\n" + table(
            ["activity", "fastest float", "recordings/s", "INT8 recordings/s", "ratio", "INT4 ratio", "hand-written C", "row loads only"],
            [[case, c["fastest_float"], f"{conv['recordings'] / c['seconds'][c['fastest_float']]['min']:,.0f}", f"{conv['recordings'] / c['seconds']['loihi_int8']['min']:,.0f}", f"{c['ratio_to_fastest_float']['loihi_int8']:.1f}", f"{c['ratio_to_fastest_float']['aggressive_int4']:.1f}", f"{c['ratio_to_fastest_float']['C yardstick']:.1f}", f"{c['ratio_to_fastest_float']['C row loads only']:.1f}"] for case, c in conv["cases"].items()],
        ) + f"\nRandom weights, every layer scaled until a tenth of its neurons fire on real activity.\n\n{source(conv)}",
        "## XyloSim\n\n" + table(
            ["net", "XyloSim, s per recording", "ours", "ratio", "hand-written C", "its ratio"],
            [[f"{f['inputs']}-{f['hidden']}-{f['outputs']}, T = {f['steps']}", f"{f['seconds_per_recording']['XyloSim']:.2e}", f"{f['seconds_per_recording']['sastdeploy']:.2e}", f"{f['ratio']:,.0f}", f"{f['seconds_per_recording']['C yardstick']:.2e}", f"{f['ratio_of_c']:,.0f}"] for f in xylo["forms"].values()],
        ) + f"\n{source(xylo)}",
        "## A training step, batch 128, one thread\n\n" + "\n".join(
            f"`{record['arch']}`:\n\n" + table(["step", "ms, fastest", "ms, median", "spread"], [[name, f"{s['min'] * 1e3:.2f}", f"{s['median'] * 1e3:.2f}", f"{s['spread']:.2f}"] for name, s in sorted(record["seconds"].items(), key=lambda item: item[1]["min"])]) + f"\n{source(record)}"
            for record in (train, train_conv)
        ) + "\nA turn of `fc_0p40m` is several steps in a row. Gradients: at initial weights within 1e-5 of the largest gradient of plain torch (tested); on a trained net the steep "
        "surrogate amplifies a last bit in both, and both lie equally far from float64. Bits repeat, on any number of threads. "
        "Peers train with hard spikes forward, as their guides show; SAST's surrogate forward pass costs an arctangent per neuron.\n",
        "## Where a step's time goes\n\n" + table(
            ["part", "ms, fastest", "ms, median"],
            [[part, f"{v['min'] * 1e3:.2f}", f"{v['median'] * 1e3:.2f}"] for part, v in limits["training"]["seconds"].items()],
        ) + "\nAnd a first result's:\n\n" + table(["process", "s, median"], [[k, f"{v['median']:.2f}"] for k, v in limits["start"].items()]) + f"\n{source(limits)}",
        "## Full-length trainings\n\n" + table(
            ["method", "epochs", "recordings per epoch", "minutes, end to end", "validation accuracy, hard spikes"],
            [[r["method"], r["epochs"], f"{r['recordings']:,}", f"{r['seconds'] / 60:.1f}", f"{r['hard_accuracy']:.2%}"] for r in full["runs"]],
        ) + f"\n{source(full)}",
        "## Growth\n\n" + growth_rows(growth) + "\n" + two_at_once(growth["two_at_once"]) + f"""
From 2312-168-64-10, T = 10, 8 % active, {growth['base']['recordings']:,} recordings, one thread; the exponent is fitted to the upper half of each curve.
Memory: weight tables and the largest sum of arrays during a run, frames aside. Block: recordings computed together by one thread (`chunk`).
Two: threads share {growth['two_at_once']['recordings']:,} recordings, a process has as many of its own; all take turns.
Past 5,000 inputs of 168 neurons the weight rows leave the level-2 cache (1 MiB) and level 3 sets the pace.
Nothing else grows faster than its SynOps: below the knees, the fixed costs show: per step the neurons, per run 1 ms of checks, and 9 ms once per program for its tables.

{source(growth)}
![Growth](figures/speed-growth.svg)

![Roofline](figures/speed-roofline.svg)
""",
        "## Memory and start\n\n" + table(
            ["recordings", "seconds", "own memory after the run, MB", "result arrays, MB", "mapped input read, MB"],
            [[f"{int(n):,}", f"{s['seconds']:.2f}", f"{s['own_bytes'] / 1e6:.0f}", f"{s['result_bytes'] / 1e6:.1f}", f"{s['mapped_bytes'] / 1e6:.0f}"] for n, s in stream.items()],
        ) + f"\nA net of {large['weights']:,} weights: {large['peak_bytes_with_the_float_net'] / 1e6:,.0f} MB with its float32 checkpoint in memory, {large['peak_bytes_after_compiling'] / 1e6:,.0f} MB at the peak of compiling "
        f"({large['compile_seconds']:.1f} s); simulating it did not pass that peak.\n\n"
        "Peak memory of trainings: `python benchmarks/training_memory.py --data FOLDER` (`TRAINING_MEMORY.json`), of whole processes "
        "that train on few recordings; mapped pages of the frame cache come on top with more.\n\n" + table(["start", "median, s"], [[k, f"{v['median']:.2f}"] for k, v in start["start"].items()]) + f"\n{source(start)}",
    ]  # fmt: skip
    return "\n".join(parts)


def figures() -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "sastdeploy", "font.size": 9})
    from matplotlib import pyplot as plt

    FIGURES.mkdir(exist_ok=True)
    fc, conv, growth = load("inference-fc_0p40m"), load("inference-conv_0p42m"), load("growth")

    def save(figure, name: str) -> None:
        figure.tight_layout()
        figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(3, 2))
    ratios = fc["cases"]["real"]["ratio_to_fastest_float"]
    names = sorted(ratios, key=ratios.get)
    left.barh(
        names,
        [ratios[n] for n in names],
        color=["C1" if n.endswith(("int8", "int4")) else "C0" for n in names],
    )
    for row, name in enumerate(names):
        left.text(ratios[name], row, f" {ratios[name]:.1f}", va="center")
    left.set(
        xlabel="times the fastest float framework",
        title="fc_0p40m, simulated N-MNIST, one thread",
        xlim=(0, 1.12 * max(ratios.values())),
    )
    cases = [(float(c), v["ratio_to_fastest_float"]) for c, v in conv["cases"].items() if c != "real"]
    for name in ("loihi_int8", "aggressive_int4"):
        right.plot([100 * c for c, _ in cases], [r[name] for _, r in cases], "o-", label=name)
    right.axhline(1, color="0.5", lw=0.8)
    right.set(xscale="log", ylim=0, xlabel="active inputs, %", title="conv_0p42m, random frames")
    right.legend()
    save(figure, "speed-ratios")

    curves = growth["curves"]
    figure, axes = plt.subplots(1, len(curves), figsize=(11, 2.8), sharey=True)
    for axis, (name, curve) in zip(axes, curves.items()):
        x, y = [p[name] for p in curve["points"]], [p["seconds"] for p in curve["points"]]
        axis.loglog(x, y, "o-")
        slope = [y[-1] * p["synops"] / curve["points"][-1]["synops"] for p in curve["points"]]
        axis.loglog(x, slope, "--", color="0.6", lw=1)
        axis.set(xlabel=name, title=f"exponent {curve['exponent']:.2f}")
    axes[0].set(ylabel="seconds (dashed: as its SynOps)", ylim=(1e-3, 2))
    save(figure, "speed-growth")

    real = fc["cases"]["real"]
    figure, axis = plt.subplots(figsize=(6, 3.4))
    bound = real["facts"]["row_bytes"] / real["seconds"]["C row loads only"]["min"] / 1e9
    operations = real["facts"]["loihi_int8"]["synops"]
    intensity = operations / real["facts"]["row_bytes"]
    axis.axhline(bound * intensity, color="0.4", lw=1)
    axis.text(
        1e-3, bound * intensity, f"rows at {bound:.0f} GB/s: {bound * intensity:.0f} GSynOp/s", va="top"
    )
    points = growth["curves"]["activity"]["points"]
    axis.semilogx(
        [p["activity"] for p in points],
        [p["synops"] / p["seconds"] / 1e9 for p in points],
        "o-",
        label="engine, whole net",
    )
    for name, mark in (("loihi_int8", "s"), ("C yardstick", "^")):
        axis.plot(
            real["activity"],
            operations / real["seconds"][name]["min"] / 1e9,
            mark,
            label=f"{name}, real recordings",
        )
    axis.set(
        xlabel="share of active inputs",
        ylabel="GSynOp/s, one thread",
        title="how far from the memory's limit",
    )
    axis.legend()
    save(figure, "speed-roofline")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="fail if PERFORMANCE.md is not what the results give"
    )
    options = parser.parse_args()
    text = page()
    if options.check:
        sys.exit(
            0
            if PAGE.read_text("utf-8") == text
            else f"{PAGE}: differs from the committed results; run {sys.argv[0]}."
        )
    PAGE.write_text(text, "utf-8")
    figures()
    print(f"wrote {PAGE} and {len(list(FIGURES.glob('speed-*.svg')))} figures")


if __name__ == "__main__":
    main()
