"""The training loop: selection, resumption, refusals, the same bits."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from sastdeploy.errors import InputError
from sastdeploy.networks.checkpoint import checkpoint_hash, load_checkpoint
from sastdeploy.recordings.frames import Frames
from sastdeploy.training.inference import evaluate, run
from sastdeploy.training.loop import train
from sastdeploy.training.run import TrainingRun
from sastdeploy.training.settings import TrainingSettings
from sastdeploy.training.sharpness import plain_gradient
from tests.small_networks import DENSE, checkpoint_of, labelled
from tests.small_trainings import PRE, fit


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path):
    hashes = [
        checkpoint_hash(fit(tmp_path / f"{n}.pt", TrainingSettings(epochs=2, batch_size=8, seed=s)))
        for n, s in enumerate((0, 0, 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_it_learns_and_selects_the_first_best_hard_accuracy(tmp_path):
    records = []
    checkpoint = fit(
        tmp_path / "a.pt",
        TrainingSettings(epochs=25, batch_size=8, learning_rate=0.01),
        report=records.append,
    )
    hard = [r["hard_accuracy"] for r in records]
    assert checkpoint.training["selected"]["epoch"] == int(np.argmax(hard))
    assert max(hard) > 0.8
    assert evaluate(checkpoint, labelled(seed=1)).hard == max(hard)


def test_frames_in_another_number_of_bins_are_refused(tmp_path):
    checkpoint = fit(tmp_path / "a.pt", TrainingSettings(epochs=1, batch_size=8))
    data = labelled()
    frames = data.frames
    other = Frames(frames.shape, 1, frames.indptr, frames.index, frames.count).select(slice(len(data)))
    for call in (evaluate, lambda c, d: run(c, d.frames)):
        with pytest.raises(
            InputError, match=r"frames: .* in 1 bins, but the network takes .* in as many time bins"
        ):
            call(checkpoint, replace(data, frames=other))


def test_the_log_has_one_line_per_epoch(tmp_path):
    fit(tmp_path / "a.pt", TrainingSettings("sast", 0.2, epochs=2, batch_size=16))
    lines = [json.loads(line) for line in (tmp_path / "a.pt.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    assert set(lines[0]) == {"epoch", "loss", "surrogate_accuracy", "hard_accuracy", "gap", "gradient_norm",
                             "gradient_evaluations", "learning_rate", "slope", "seconds", "cpu_seconds", "spike_rates"}  # fmt: skip
    assert lines[0]["gradient_evaluations"] == 6 and lines[1]["learning_rate"] == pytest.approx(0.0005)
    assert sorted(os.listdir(tmp_path)) == ["a.pt", "a.pt.jsonl"]


class Stop(Exception):
    pass


def interrupt(out, after, settings=None):
    def stop(record):
        if record["epoch"] == after:
            raise Stop

    with pytest.raises(Stop):
        fit(out, settings, report=stop)


@pytest.mark.parametrize("method", [("baseline", 0.0), ("sast", 0.3)])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, method):
    settings = TrainingSettings(*method, epochs=4, batch_size=8)
    whole = fit(tmp_path / "whole.pt", settings)
    interrupt(tmp_path / "part.pt", 1, settings)
    epochs = []
    resumed = fit(tmp_path / "part.pt", settings, resume=True, report=lambda r: epochs.append(r["epoch"]))
    assert epochs == [2, 3]
    assert (
        checkpoint_hash(resumed)
        == checkpoint_hash(whole)
        == checkpoint_hash(load_checkpoint(tmp_path / "part.pt"))
    )
    assert len((tmp_path / "part.pt.jsonl").read_text().splitlines()) == 4


def test_other_threads_may_resume_and_it_is_said(tmp_path, monkeypatch):
    threads, said = torch.get_num_threads(), []
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    interrupt(tmp_path / "a.pt", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    resumed = fit(tmp_path / "a.pt", resume=True, say=said.append)
    assert said[0] == (
        f"{tmp_path}/a.pt.state: was written with {threads} threads, and goes on with {threads + 1}: it ends with other rounding. "
        f"With {threads} (--threads) it ends with the same bits."
    )
    assert resumed.provenance["threads"] == threads + 1


def test_other_settings_cannot_resume(tmp_path):
    interrupt(tmp_path / "a.pt", 0)
    with pytest.raises(InputError) as caught:
        fit(tmp_path / "a.pt", TrainingSettings(epochs=9, batch_size=8), resume=True)
    assert str(caught.value) == (
        f"{tmp_path}/a.pt.state: cannot be resumed, settings.epochs was 3 and is now 9. Repeat the first call's options."
    )


EPOCH = {"epoch": 0, "hard_accuracy": 0.5, "slope": 25.0}


@pytest.mark.parametrize(("key", "value", "text"), [
    ("identity", ..., "is no training state of this version."), ("identity", 3, "is no training state of this version."),
    ("network", ..., "is damaged ('network')."), ("network", {}, "is damaged (the parameters do not fit the network)."),
    ("optimiser", {"steps": 1, "means": [], "squares": []}, "is damaged (zip() argument 2 is shorter than argument 1)."),
    ("optimiser", {"steps": "x", "means": [], "squares": []}, "is damaged (the optimiser's steps are no whole number)."),
    ("best", {}, "is damaged (the best epoch's parameters do not fit the network)."), ("best", 3, "is damaged ("),
    ("epoch", 2, "is damaged (its epochs do not fit one another)."), ("epoch", "x", "is damaged ("),
    ("threads", "x", "is damaged (its number of threads is no whole number)."),
    ("best_epoch", 1, "is damaged (its epochs do not fit one another)."),
    ("records", [], "is damaged (its epochs do not fit one another)."), ("records", ["x"], "is damaged ("),
    ("records", [{"epoch": 0, "hard_accuracy": 0.5, "slope": "steep"}], "is damaged (slope is 'steep', no finite number)."),
    ("records", [{"epoch": 0, "hard_accuracy": torch.ones(2), "slope": 25.0}], "is damaged (hard_accuracy is tensor([1., 1.]), no finite number)."),
    ("records", [{**EPOCH, "spike_rates": 0.5}], "is damaged (spike_rates is 0.5, which no epoch records)."),
    ("records", [{**EPOCH, "spike_rates": {None: 0.0}}], "is damaged (its epochs have names that are no text)."),
    ("records", [{**EPOCH, "silent_layers": 1}], "is damaged (silent_layers is 1, which no epoch records)."),
    ("records", [{**EPOCH, "hard_accuracy": {}}], "is damaged (hard_accuracy is {}, which no epoch records)."),
    ("format_version", torch.ones(2), "is no training state of this version."),
    ("epoch", torch.tensor(1), "is damaged (its epochs are no whole numbers)."), ("network", 3, "is damaged ("),
])  # fmt: skip
def test_a_damaged_state_is_named_and_what_to_do(tmp_path, key, value, text):
    interrupt(tmp_path / "a.pt", 0)
    state = torch.load(tmp_path / "a.pt.state", weights_only=True)
    torch.save({k: v for k, v in {**state, key: value}.items() if v is not ...}, tmp_path / "a.pt.state")
    with pytest.raises(InputError) as caught:
        fit(tmp_path / "a.pt", resume=True)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/a.pt.state: {text}")
    assert message.endswith("Remove it, or start anew with --force.")


def test_nothing_is_overwritten_unasked(tmp_path):
    fit(tmp_path / "a.pt")
    for options, message in (({}, "exists. Choose another name, or replace it with --force."),
                             ({"resume": True}, "is finished, and there is no a.pt.state to resume.")):  # fmt: skip
        with pytest.raises(InputError) as caught:
            fit(tmp_path / "a.pt", **options)
        assert message in str(caught.value)
    interrupt(tmp_path / "b.pt", 0)
    with pytest.raises(InputError, match=r"b.pt.state: an interrupted run is there. Go on with --resume"):
        fit(tmp_path / "b.pt")
    fit(tmp_path / "b.pt", force=True)


@pytest.mark.parametrize(("options", "message"), [
    ({"method": "sam"}, "method 'sam': unknown. Allowed: baseline, sast, asam, random."),
    ({"rho": 0.1}, "rho 0.1: belongs to methods sast, asam, random; baseline has none."),
    ({"method": "sast", "rho": -0.1}, "rho -0.1: outside 0 to 1e+06."),
    ({"method": "sast", "rho": float("nan")}, "rho nan: outside 0 to 1e+06."),
    ({"method": "sast", "rho": 1e308}, "rho 1e+308: outside 0 to 1e+06."),
    ({"method": "sast", "rho": 2**1100}, f"rho {str(2**1100)[:37]}...: outside 0 to 1e+06."),
    ({"rho": 2**1100}, f"rho {str(2**1100)[:37]}...: belongs to methods sast, asam, random; baseline has none."),
    ({"learning_rate": 0.0}, "learning_rate 0.0: outside 1e-12 to 1000."),
    ({"learning_rate": 1e300}, "learning_rate 1e+300: outside 1e-12 to 1000."),
    ({"delta": 0.0}, "delta 0.0: outside 1e-30 to 1e+06."),
    ({"delta": 1e-300}, "delta 1e-300: outside 1e-30 to 1e+06."),
    ({"epochs": 0}, "epochs 0: outside 1 to 1,000,000."), ({"batch_size": 0}, "batch_size 0: outside 1 to 1,000,000."),
    ({"seed": -1}, "seed -1: outside 0 to 9223372036854775807."),
    ({"seed": 1 << 63}, "seed 9223372036854775808: outside 0 to 9223372036854775807."),
    ({"forward": "soft"}, "forward 'soft': unknown. Allowed: surrogate, hard."),
    ({"init": "dead"}, "init 'dead': unknown. Allowed: paper, alive."),
    ({"init": "alive", "init_scale": 2.0}, "init_scale 2: init alive finds each layer's factor itself. Leave one of the two out."),
    ({"slope_end": -1.0}, "slope_end -1.0: must be 0.001 to 1e+09, or 0 for unchanged."),
    ({"slope_end": 1e308}, "slope_end 1e+308: must be 0.001 to 1e+09, or 0 for unchanged."),
    ({"init_scale": 0.0}, "init_scale 0.0: outside 1e-06 to 1e+06."),
    ({"init_scale": 1e300}, "init_scale 1e+300: outside 1e-06 to 1e+06."),
    ({"weight_decay": float("inf")}, "weight_decay inf: outside 0 to 1e+06."),
    ({"weight_decay": 1001.0}, "weight_decay 1001: times the learning rate 0.001 is above 1, so each step would turn the weights' signs. Choose at most 1000."),
    ({"quantize_bits": 9, "quantize_epochs": 1}, "quantize_bits 9: must be 2 to 8, or 0 for none."),
    ({"quantize_bits": 4}, "quantize_bits 4 with quantize_epochs 0: give both or neither."),
    ({"quantize_bits": 4, "quantize_epochs": 31}, "quantize_epochs 31: must be 0 to 30, the epochs."),
])  # fmt: skip
def test_settings_are_refused(options, message):
    with pytest.raises(InputError) as caught:
        TrainingSettings(**options)
    assert str(caught.value) == message


def test_data_that_do_not_fit_are_refused(tmp_path):
    from tests.small_networks import POOL

    with pytest.raises(InputError, match=r"frames: 1x8x8 in 6 bins, but the network takes 2x4x4 in 6 bins"):
        train(TrainingRun(labelled(POOL), labelled(POOL), DENSE, PRE, TrainingSettings(), tmp_path / "a.pt"))
    empty = labelled().select(np.array([], int))
    with pytest.raises(InputError, match="40 training and 0 validation recordings: both need at least one"):
        train(TrainingRun(labelled(), empty, DENSE, PRE, TrainingSettings(), tmp_path / "a.pt"))


def test_parameters_that_are_no_longer_finite_end_the_run_at_once(tmp_path, monkeypatch):
    def step(self, rate):
        self._parameters[0].data[0, 0] = float("inf")
        return 1.0

    monkeypatch.setattr("sastdeploy.training.optimiser.FusedAdam.step", step)
    with pytest.raises(InputError) as caught:
        fit(tmp_path / "a.pt")
    assert "epoch 0: " in str(caught.value)


def test_a_class_without_recordings_is_warned_of(tmp_path):
    data = labelled()
    lacking = data.select(np.flatnonzero(data.labels != 1))
    warnings = []
    settings = TrainingSettings(epochs=1, batch_size=16)
    train(TrainingRun(lacking, data, DENSE, PRE, settings, tmp_path / "a.pt"), say=warnings.append)
    assert warnings[0] == "class 'class1' has no training recording."
    train(TrainingRun(data, lacking, DENSE, PRE, settings, tmp_path / "b.pt"), say=warnings.append)
    assert "class 'class1' has no validation recording." in warnings


def test_a_network_that_never_spikes_is_warned_of_and_its_checkpoint_says_so(tmp_path):
    architecture = replace(DENSE, neuron=replace(DENSE.neuron, threshold=1e6))
    warnings = []
    settings = TrainingSettings(epochs=1, batch_size=16)
    run = TrainingRun(labelled(), labelled(seed=1), architecture, PRE, settings, tmp_path / "a.pt")
    checkpoint = train(run, say=warnings.append)
    message = (
        "layers.0, layers.1: not one hard spike on any recording, so nothing of the input passes. Train longer, with "
        "--init alive, a larger --init-scale, a lower --threshold or a smaller --divisor."
    )
    assert warnings == [message]
    assert load_checkpoint(tmp_path / "a.pt").training["selected"]["silent_layers"] == [
        "layers.0",
        "layers.1",
    ]
    measured = evaluate(checkpoint, labelled(seed=1))
    assert measured.spike_rates == {"layers.0": 0.0, "layers.1": 0.0}
    assert measured.silent_layers == ("layers.0", "layers.1")


def test_spike_rates_are_those_of_the_hard_network(tmp_path):
    data = labelled()
    checkpoint = checkpoint_of()
    spikes = run(checkpoint, data.frames, hard=True, record=True).spikes
    rates = evaluate(checkpoint, data).spike_rates
    assert list(rates) == ["layers.0", "layers.1"]
    assert list(rates.values()) == pytest.approx([float(s.mean()) for s in spikes], rel=1e-3)
    fit(tmp_path / "a.pt", TrainingSettings(epochs=1, batch_size=16, init="alive"))
    (line,) = (tmp_path / "a.pt.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert all(0 < rate < 1 for rate in record["spike_rates"].values())
    facts = load_checkpoint(tmp_path / "a.pt").training["selected"]
    assert "silent_layers" not in facts and "spike_rates" not in facts


def test_identical_predictions_have_a_gap_interval_with_a_width():
    checkpoint = checkpoint_of()
    checkpoint.parameters["readout.weight"][:] = 0.0
    result = evaluate(checkpoint, labelled())
    side = 1.96**2 / (40 + 1.96**2)
    assert result.gap == 0.0 and result.gap_interval == pytest.approx((-side, side))


def test_a_diverging_run_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "sastdeploy.training.epoch.plain_gradient",
        lambda *arguments: plain_gradient(*arguments) * float("nan"),
    )
    with pytest.raises(
        InputError, match=r"epoch 0: the loss is nan. Lower the learning rate \(now 0.001\) or rho"
    ):
        fit(tmp_path / "a.pt")
    assert not (tmp_path / "a.pt").exists()


PROGRAM = """
import sys
from tests.small_trainings import fit
from sastdeploy.training.settings import TrainingSettings
fit(sys.argv[1], TrainingSettings("sast", 0.3, epochs=6, batch_size=8))
"""


def test_kernels_just_compiled_and_from_the_cache_give_the_same_bits(tmp_path):
    hashes = []
    for name in ("compiled.pt", "cached.pt"):
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / name)], capture_output=True, text=True, check=True,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        )  # fmt: skip
        hashes.append(checkpoint_hash(load_checkpoint(tmp_path / name)))
    assert any((tmp_path / "cache").rglob("*.kernel"))
    assert hashes[0] == hashes[1]


def test_one_and_two_threads_agree(tmp_path):
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(fit(tmp_path / f"{threads}.pt"))
    finally:
        torch.set_num_threads(before)
    assert all(np.allclose(results[0].parameters[k], v, atol=1e-5) for k, v in results[1].parameters.items())


def test_a_run_killed_after_its_last_state_still_has_its_whole_log(tmp_path):
    settings = TrainingSettings(epochs=3, batch_size=16)

    def stop(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "a.pt", settings, report=stop)
    log = tmp_path / "a.pt.jsonl"
    lines = log.read_text("utf-8")
    log.write_text("".join(lines.splitlines(keepends=True)[:2]), "utf-8")
    fit(tmp_path / "a.pt", settings, resume=True)
    assert log.read_text("utf-8") == lines and len(lines.splitlines()) == 3
