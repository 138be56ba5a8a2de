"""A second evaluation by the plain definitions: what it refuses and what it finds."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import small_networks
import synthetic_records as synthetic

from benchmarks.paper import confirm
from sastdeploy.errors import InputError
from sastdeploy.experiments import trial as sweep
from sastdeploy.experiments.results import aggregate
from sastdeploy.experiments.spec import Trial, load_experiment
from sastdeploy.networks.checkpoint import checkpoint_hash, save_checkpoint
from sastdeploy.simulator import reference
from sastdeploy.training import inference

FILE = """name: table1
title: t
dataset: nmnist-sim
seeds: [0, 1]
fixed: {epochs: 2}
grid:
  - {method: baseline}
  - {method: sast, rho: [0.1, 0.2]}
profiles: [loihi_int8]
"""
TRIAL = Trial("nmnist-sim", profiles=("loihi_int8",))


@pytest.fixture(scope="module")
def made():
    """Return a checkpoint, its recordings and its record."""
    checkpoint, test = small_networks.checkpoint_of(), small_networks.labelled()
    return (
        checkpoint,
        test,
        {"checkpoint_hash": checkpoint_hash(checkpoint), **sweep.tested(TRIAL, checkpoint, test)},
    )


def test_what_the_record_says_is_given_again_and_the_definitions_agree(made):
    checkpoint, test, record = made
    row = confirm.evaluated_again(TRIAL, record, checkpoint, test)
    # Four of the test set, three of the program, the data's hash.
    assert (row["numbers_of_record"], row["not_reproduced"]) == (8, [])
    for name in ("surrogate", "hard"):
        part = row["float"][name]
        assert part["recordings"] == 40 and part["predictions_that_differ"] == 0
        assert part["accuracy"] == part["accuracy_in_record"] == record["test"][name]
        assert part["largest_difference"] < 1e-4
    program = row["programs"]["loihi_int8"]
    # Per recording 3 scores, a prediction, 5 figures of 3 sources and 2 overflows of 2 layers; spikes of 12 + 8 neurons.
    assert program["numbers"] == 40 * (3 + 1 + 5 * 3 + 2 * 2) + 20
    assert program["numbers_that_differ"] == program["largest_difference"] == 0
    assert confirm.faults(row) == []


def test_a_wrong_number_of_the_record_is_found(made):
    checkpoint, test, record = made
    wrong = copy.deepcopy(record)
    wrong["programs"]["loihi_int8"]["ksynops"] += 1e-9
    wrong["test"]["hard"] += 1 / 40
    row = confirm.evaluated_again(TRIAL, wrong, checkpoint, test)
    first, second = row["not_reproduced"]
    assert first == f"test.hard: {wrong['test']['hard']} in the record, {record['test']['hard']} again"
    assert second.startswith("programs.loihi_int8.ksynops: ") and confirm.faults(row) == [first, second]
    assert row["float"]["hard"]["accuracy"] != row["float"]["hard"]["accuracy_in_record"]
    assert confirm.held({}, {"test": {"hard": 0.5}}) == (1, ["test.hard: None in the record, 0.5 again"])


def test_a_definition_that_says_otherwise_is_found(made, monkeypatch):
    checkpoint, test, record = made
    plain, integers = inference.run, reference.run

    def another(checkpoint, frames, hard):
        scores = plain(checkpoint, frames, hard=hard).scores
        scores[0] = np.roll(scores[0], 1)
        return inference.FloatRun(scores)

    def one_more(*arguments):
        result = integers(*arguments)
        result.synops[3, 1] += 1
        return result

    monkeypatch.setattr(inference, "run", another)
    monkeypatch.setattr(reference, "run", one_more)
    row = confirm.evaluated_again(TRIAL, record, checkpoint, test)
    assert row["float"]["surrogate"]["predictions_that_differ"] == 1
    assert row["float"]["surrogate"]["largest_difference"] > 0.01
    assert confirm.faults(row) == ["loihi_int8: 1 of 940 integers differ"]


def test_a_definition_may_see_fewer_recordings_and_then_says_nothing_of_the_accuracy(made, monkeypatch):
    checkpoint, test, record = made
    monkeypatch.setitem(confirm.MAX_RECORDINGS, "dense", {"float": 10, "integer": 7})
    row = confirm.evaluated_again(TRIAL, record, checkpoint, test)
    assert row["recordings"] == 40 and row["not_reproduced"] == []
    assert row["float"]["hard"]["recordings"] == 10 and "accuracy" not in row["float"]["hard"]
    assert row["programs"]["loihi_int8"]["recordings"] == 7


def results_of(folder, best=0.2):
    """Return the results of `FILE` with made-up records; ``best``: the radius with the highest validation accuracy."""
    (folder / "table1.yaml").write_text(FILE, "utf-8")
    (folder / "data.json").write_text(json.dumps({"nmnist-sim, 10 bins": "d"}), "utf-8")
    experiment = load_experiment(folder / "table1.yaml")
    trials = {trial.address("d"): trial for trial in experiment.trials}
    for address, trial in trials.items():
        synthetic.write(folder / "r", address, synthetic.record(trial, 0.9, 0.8 + 0.1 * (trial.rho == best)))
    return aggregate(experiment, trials, folder / "r")


def test_the_sample_is_the_baseline_and_the_best_sast_by_validation(tmp_path):
    for best in (0.1, 0.2):
        rows = confirm.chosen(results_of(tmp_path, best), {})
        assert [(t.method, t.rho, t.seed) for _, t, _ in rows] == [("baseline", 0.0, 0), ("sast", best, 0)]
        assert [record["trial"]["rho"] for _, _, record in rows] == [0.0, best]
    with pytest.raises(InputError, match="experiment table1: no record of baseline, seed 0"):
        confirm.chosen(results_of(tmp_path), {"divisor_factor": 33.0})


def test_a_changed_checkpoint_and_other_recordings_are_refused(tmp_path, monkeypatch, made):
    checkpoint, test, _ = made
    monkeypatch.setattr(confirm, "HERE", tmp_path)
    monkeypatch.setattr(confirm, "SAMPLE", {"table1": {}})
    baseline, sast = confirm.chosen(results_of(tmp_path), {})
    for _, trial, record in (baseline, sast):
        whole = {
            "format": 2,
            "address": record["address"],
            "trial": record["trial"],
            "validation": record["validation"],
        }
        whole |= {"seconds": record["seconds"], "gradient_evaluations": 1, "commit": "c", "peak_bytes": 1}
        whole |= {"checkpoint_hash": checkpoint_hash(checkpoint), **sweep.tested(trial, checkpoint, test)}
        synthetic.write(tmp_path / "r", record["address"], whole)
        place = tmp_path / "work" / record["address"] / "ckpt.pt"
        place.parent.mkdir(parents=True)
        save_checkpoint(place, checkpoint)
    monkeypatch.setattr("sastdeploy.load_dataset", lambda *a, **k: test)
    call = (tmp_path, tmp_path / "work", tmp_path / "r")
    rows = confirm.sample(*call)
    assert [row["point"] for row in rows] == ["method baseline", "method sast, rho 0.2"]
    assert not any(confirm.faults(row) for row in rows)
    other = small_networks.checkpoint_of()
    other.parameters["readout.bias"][0] += 1
    save_checkpoint(tmp_path / "work" / sast[2]["address"] / "ckpt.pt", other, force=True)
    with pytest.raises(InputError, match=f"is not the checkpoint of {sast[2]['address']}'s record"):
        confirm.sample(*call)
    (tmp_path / "work" / baseline[2]["address"] / "ckpt.pt").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        confirm.sample(*call)
    monkeypatch.setattr("sastdeploy.load_dataset", lambda *a, **k: replace(test, data_hash="e"))
    with pytest.raises(InputError, match="test recordings are not those of"):
        confirm.sample(*call)
