"""The table of targets: what was wanted, what was measured by fastest turns and by medians, and the limit where it was not reached."""

from __future__ import annotations

from typing import Any

KINDS = ("min", "median")


def both(
    target: float, fastest: float, median: float, form: str = "{:.2f}x", least: bool = True
) -> list[str]:
    """Return target, figure and verdict of a ratio by fastest turns and by medians; ``least``: the target is a lower bound."""
    figures = [form.format(value) for value in (fastest, median)]
    reached = [value >= target if least else value <= target for value in (fastest, median)]
    if all(reached):
        verdict = "met"
    elif any(reached):
        verdict = (
            "met by fastest turns, not by medians" if reached[0] else "met by medians, not by fastest turns"
        )
    else:
        verdict = "not met"
    return [figures[0] if figures[0] == figures[1] else f"{figures[0]} (medians {figures[1]})", verdict]


def one(figure: str, reached: bool) -> list[str]:
    return [figure, "met" if reached else "not met"]


def ratios(case: dict[str, Any], name: str) -> tuple[float, float]:
    """Return how many times as fast as the fastest float framework a candidate is, by fastest turns and by medians."""
    return case["ratio_to_fastest_float"][name], case["ratio_of_medians"][name]


def over(seconds: dict[str, dict[str, float]], slow: str, fast: str) -> tuple[float, float]:
    fastest, median = (seconds[slow][kind] / seconds[fast][kind] for kind in KINDS)
    return fastest, median


def sast_floor(record: dict[str, Any]) -> float:
    """Return two gradients and one Adam step over one of each, by fastest turns: a SAST step whose moves take no time."""
    gradient, step = (record["seconds"][f"fused {part}"]["min"] for part in ("gradient", "baseline"))
    return float((gradient + step) / step)


def targets(by_question: dict[str, Any]) -> list[list[str]]:
    """Return the rows: what, target, measured, verdict, measured limit.

    Args:
        found: the results by question.
    """
    fc, conv = (
        by_question["inference-fc_0p40m"]["cases"]["real"],
        by_question["inference-conv_0p42m"]["cases"],
    )
    at5, train, train_conv = (
        conv["0.05"],
        by_question["training-fc_0p40m"],
        by_question["training-conv_0p42m"],
    )
    forms, two = by_question["xylo"]["forms"], by_question["growth"]["two_at_once"]
    data, making, memory = by_question["data-path"], by_question["making"], by_question["memory"]
    start, stream, large = (by_question["start-memory"][part] for part in ("start", "stream", "large"))
    limits, times = by_question["limits"], two["times_as_fast"]
    kinds = [(record[name]["min"], record[name]["median"]) for record in (train, train_conv) for name in ("baseline_over_fastest_peer", "sast_over_baseline")]  # fmt: skip
    step, sast, step_conv, sast_conv = kinds
    slowest = min((ratios(case, "loihi_int8") for case in conv.values()), key=min)
    peaks = {name: each["fused_over_plain"]["peak_mib"] for name, each in memory.items()}
    own = {
        count: each["peak_bytes"] - each["mapped_bytes"] - each["result_bytes"]
        for count, each in stream.items()
    }
    fewest, most = min(own, key=int), max(own, key=int)
    flat = own[most] / own[fewest]
    multiple = large["peak_bytes_after_compiling"] / (4 * large["weights"])
    process = {name: each["median"] for name, each in limits["start"].items()}
    numba_alone = process["the same, SciPy and cffi hidden"] - process["Python alone"]
    rate = {name: data["cached_bytes"] / data["seconds"][name]["median"] for name in ("cache", "memory")}

    def c_of(case: dict[str, Any], name: str) -> str:
        return f"{case['ratio_to_fastest_float'][name]:.1f}x, a hand-written C run"

    def began(name: str, limit: float, remark: str = "") -> list[str]:
        return [f"{limit:g} s", *one(f"{start[name]['median']:.2f} s", start[name]["median"] < limit), remark]

    sums = fc["ratio_to_fastest_float"]["C, sums of the first layer only"]
    return [
        ["INT8, fc_0p40m, against the fastest float framework", "20x", *both(20, *ratios(fc, "loihi_int8"), "{:.1f}x"), f"{c_of(fc, 'C yardstick')}; {sums:.1f}x, its first layer's sums and nothing else"],
        ["INT4, fc_0p40m, the same", "30x", *both(30, *ratios(fc, "aggressive_int4"), "{:.1f}x"), c_of(fc, "C yardstick, INT4")],
        ["INT8, share of the C run's speed", "80 %", *both(0.8, *over(fc["seconds"], "C yardstick", "loihi_int8"), "{:.0%}"), ""],
        ["INT4, the same", "80 %", *both(0.8, *over(fc["seconds"], "C yardstick, INT4", "aggressive_int4"), "{:.0%}"), ""],
        *([f"XyloSim, {what}", "1,000x", *one(f"{forms[name]['ratio']:,.0f}x", forms[name]["ratio"] >= 1000), f"{forms[name]['ratio_of_c']:,.0f}x, hand-written C"] for name, what in (("fc_0p40m", "layers of fc_0p40m"), ("chip", "a net that fits the chip"))),
        ["INT8, conv_0p42m at 5 % activity", "10x", *both(10, *ratios(at5, "loihi_int8"), "{:.1f}x"), c_of(at5, "C yardstick")],
        ["conv_0p42m, slowest at any activity up to 100 %", "1x", *both(1, *slowest, "{:.1f}x"), ""],
        ["two threads against one", "1.8x", *both(1.8, times["threads"]["min"], times["threads"]["median"]), f"{times['C']['min']:.2f}x (medians {times['C']['median']:.2f}x), two processes of hand-written C"],
        ["training step against the fastest framework", "4x", *both(4, *step), ""],
        ["SAST step over a baseline step", "1.9", *both(1.9, *sast, "{:.2f}", least=False), f"{sast_floor(train):.2f}, two gradients and an Adam step of ours"],
        ["the same, conv_0p42m", "1.9", *both(1.9, *sast_conv, "{:.2f}", least=False), f"{sast_floor(train_conv):.2f}, two gradients and an Adam step of ours"],
        ["conv_0p42m training step against the fastest framework", "faster", *both(1, *step_conv), ""],
        ["peak memory of a training process against plain torch, fc_0p40m; conv_0p42m", "not above", *one(f"{peaks['fc_0p40m']:.2f}; {peaks['conv_0p42m']:.2f}", round(max(peaks.values()), 2) <= 1), ""],
        ["N-MNIST files to frames, against tonic", "10x", *both(10, data["ratio"]["min"], data["ratio"]["median"], "{:.1f}x"), ""],
        [f"making {making['recordings']:,} simulated N-MNIST recordings on {making['processes']} cores", "60,000 in 180 s", *one(f"{making['seconds']:.0f} s", making["seconds"] * 60000 / making["recordings"] <= 180), ""],
        [f"copying {data['cached_recordings']:,} recordings' indices out of the cache, share of copying memory", "memory speed", *one(f"{rate['cache'] / rate['memory']:.0%} of {rate['memory'] / 1e9:.0f} GB/s", rate["cache"] > 0.8 * rate["memory"]), ""],
        ["first result of `simulate`, warm (one recording)", *began("one recording, warm", 0.5)],
        ["the same, 2,000 recordings: what the plain engine finds on the first of them", *began("2,000 recordings, warm, the first of them", 0.5)],
        ["the same, all 2,000 (loads the compiled kernels)", *began("2,000 recordings, warm", 0.5, f"{numba_alone:.2f} s, Numba until its first kernel")],
        ["first run after an install", *began("100 recordings, first run after an install", 15)],
        [f"memory of {int(most):,} recordings over that of {int(fewest):,}, mapped input and result aside", "flat", *one(f"{flat:.2f}", flat <= 1.1), ""],
        ["compiling 49 million weights, peak over the float32 checkpoint's size", "small: 4", *one(f"{multiple:.1f}", multiple <= 4), f"{large['peak_bytes_with_the_float_net'] / (4 * large['weights']):.1f}, the process that holds the checkpoint"],
    ]  # fmt: skip
