"""Trials' records with made-up numbers, for reports."""

import json
from dataclasses import asdict


def record(trial, surrogate, hard, measures=None, refused=()):
    """Return a trial's record with these accuracies; a hardware profile loses one point against hard spikes."""
    content = {
        "format": 2, "trial": asdict(trial), "validation": {"epoch": 1, "surrogate_accuracy": surrogate, "hard_accuracy": hard},
        "gradient_evaluations": 100 * trial.epochs, "seconds": {"training": 90.0, "training_cpu": 60.0},
        "checkpoint_hash": "c", "commit": "0123456789abcdef", "peak_bytes": 5_000_000,
    }  # fmt: skip
    if not trial.select:
        content |= tested(trial, surrogate, hard, refused)
    if measures:
        content["measures"] = measures
    return content


def tested(trial, surrogate, hard, refused=()):
    """Return what the test recordings say of a trial."""
    program = {"accuracy": hard - 0.01, "ksynops": 100.0 + 10 * trial.seed, "largest_ksynops": 4000.0}
    return {
        "format": 2, "test": {"recordings": 1000, "surrogate": surrogate, "hard": hard, "gap": surrogate - hard},
        "programs": {p: {"refused": "sums too wide"} if p in refused else program for p in trial.profiles},
        "data_hash": "d",
    }  # fmt: skip


def write(folder, address, content):
    """Write a record as a sweep does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{address}.json").write_text(
        json.dumps({"address": address.removesuffix(".test"), **content}), "utf-8"
    )


def activity(tail=5.0):
    """Return the measure of two layers, the second silent with surrogate spikes; ``tail`` in percent."""
    part = {
        "neurons": 8, "surrogate_rate": 0.2, "hard_rate": 0.1, "silent": 0.25, "silent_in_recording": 0.5, "never_reaching": 0.125,
        "tail": tail / 100, "far_tail": tail / 200, "far_below": 0.5,
    }  # fmt: skip
    silent = part | {"surrogate_rate": 0.0, "hard_rate": 0.0, "tail": None, "far_tail": None}
    return {
        "recordings": 500, "overall": part, "layers": [{"name": "layers.0", **part}, {"name": "layers.1", **silent}]
    }  # fmt: skip


def margins(near=0.048):
    """Return the measure with this share of states within 0.2 of the threshold, both with surrogate and with hard spikes: half of it in one layer, twice in the other."""
    counts = [0] * 120
    counts[40], counts[60] = 900, 100
    overall = {"states": 1010, "near": near, "histogram": {"below": 10, "counts": counts, "above": 0}}
    layers = [
        {"name": f"layers.{number}", **overall, "near": factor * near}
        for number, factor in enumerate((0.5, 2))
    ]
    part = {
        "recordings": 500, "bins": {"low": -3.0, "high": 3.0, "width": 0.05}, "near_width": 0.2, "overall": overall, "layers": layers,
    }  # fmt: skip
    return {"hard": part, "surrogate": part}


def contraction(gamma=8.457):
    """Return the measure of a network that contracts nowhere near, or with this gamma-hat."""
    return {
        "recordings": 500,
        "gamma_hat": gamma,
        "quantiles": {"0.5": 0.52, "0.99": 4.0, "0.999": 8.0},
        "in_band": 0.031,
    }


def bounds(over=17.0, ratio=4000.0, rho=0.3):
    """Return what the report reads of the measure; ``over``: log10 of L_x for one event over the scores' range, ``ratio``: floor over gradient.

    None in either place is what the measure writes where there is nothing to compare with.
    """
    gamma = 8.457 if over is None or over >= 0 else 0.9
    return {
        "recordings": 500, "limit": 128,
        "states": {"layers": [{"norm_ratio": 3.0}, {"norm_ratio": 5.0}, {"norm_ratio": None}], "sentence": "s"},
        "lipschitz": {
            "local": {"gamma": gamma, "assumption_holds": gamma < 1, "log10_bound": 20.0},
            "largest_found": 1000.0, "log10_bound_over_found": 17.0, "log10_one_event_over_diameter": over, "sentence": "l",
        },
        "convergence": {
            "beta_at_least": 1e6, "rho": rho, "paper_rho": 0.3, "learning_rate": 1e-3, "largest_learning_rate": 2.5e-7,
            "floor_over_squared_gradient": ratio, "floor_at_paper_rho_over_squared_gradient": None if ratio is None else 1e6 * ratio,
            "sentence": "c",
        },
    }  # fmt: skip


def calibration(surrogate, hard, gained=0.0, factor=1.0):
    """Return the measure: scaling thresholds by ``factor`` adds ``gained``, scaling the input adds nothing."""
    layers = {"layers.0.threshold": factor, "layers.1.threshold": factor}
    better = {"factors": layers, "validation_hard": hard + gained, "test_hard": hard + gained}
    as_is = {"factors": {"layers.0.weight": 1.0}, "validation_hard": hard, "test_hard": hard}
    return {
        "threshold": better, "threshold_by_layer": better | {"factors": layers | {"layers.1.threshold": 1.0}}, "input": as_is,
        "slopes": {"25": surrogate, "400": hard},
    }  # fmt: skip


def overflows(low, profiles=()):
    """Return overflows of 1,000 recordings: ``low`` below the format and three times as many above it, of 80,000 updates."""
    part = {"low": low, "high": 3 * low, "updates": 80_000}
    return {"recordings": 1000, "programs": dict.fromkeys(profiles, part)}


def robustness(hard, profiles=()):
    """Return the measure of clean recordings and one corruption, which costs ten points."""

    def answer(value):
        return {"value": value, "correct": 1, "total": 1, "low": value, "high": value}

    return [
        {"corruption": name, "recordings": 500, "surrogate": answer(hard - loss), "hard": answer(hard - loss), "programs": {p: answer(hard - loss) for p in profiles}}
        for name, loss in (("clean", 0.0), ("drop:0.4", 0.1))
    ]  # fmt: skip
