"""What the paper's pages claim beside the points' figures, computed from made-up records by hand."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import synthetic_records as synthetic

from benchmarks.paper import claims, quoted
from sastdeploy.errors import InputError
from sastdeploy.experiments.spec import Trial
from sastdeploy.statistics import Sample

TRIAL = Trial("nmnist-sim", epochs=30, limit=2000)


def point(records, label="a", **means):
    """Return a point with records by seed and figures of these means."""
    for number, record in enumerate(records):
        record.setdefault("address", f"{label}{number}")
    samples = {name: Sample((0, 1), (value, value)) for name, value in means.items()}
    seeds = tuple(range(len(records)))
    return SimpleNamespace(label=label, trial=TRIAL, seeds=seeds, raw=tuple(records), samples=samples)


def results(name, *points, **experiment):
    return SimpleNamespace(experiment=SimpleNamespace(name=name, **experiment), points=points)


def contraction(**changes):
    return {"gamma_hat": 8.4577, "gamma_global": 8.45768, "band": 0.154, **changes}


def claimed(folder, *all_results):
    return claims.claims(all_results, folder)


def test_settings_are_those_that_all_trials_share():
    trials = [replace(TRIAL, seed=seed, rho=rho) for seed in (0, 1, 2) for rho in (0.1, 0.3)]
    assert claims.settings(trials) == {
        "epochs": 30, "limit": 2000, "divisor_factor": 1.0, "alpha": 0.5, "threshold": 1.0, "slope": 25.0, "init_scale": 1.0,
        "number of seeds": 3,
    }  # fmt: skip
    assert "limit" not in claims.settings([replace(TRIAL, limit=None)])


def test_gradients_count_to_the_first_best_epoch():
    curves = ([0.2, 0.9, 0.9, 0.1], [0.2, 0.3, 0.4, 0.5])
    records = [{"curve": {"hard": hard}, "gradient_evaluations": 400} for hard in curves]
    assert claims.best_epoch(point(records)).values == (200.0, 400.0)
    assert claims.best_epoch(point([{"gradient_evaluations": 400}])) is None


def test_sizes_of_splits_are_those_that_give_the_accuracies(tmp_path):
    def record(hard, surrogate):
        accuracies = {"hard_accuracy": hard, "surrogate_accuracy": surrogate}
        return {"validation": accuracies, "test": {"recordings": 198}}

    made = point([record(37 / 66, 0.5), record(40 / 66, 22 / 66)])
    (tmp_path / "REAL_RECORDING.json").write_text('{"answers": [{"training_recordings": 300}]}', "utf-8")
    answer = claimed(tmp_path, results("table1-gestures", made), results("table1-full", made))
    assert answer["gestures"] == {"validation": 66, "test": 198}
    # 300 recordings in minibatches of 128 are 3 steps; the paper trains 100 and 48 epochs.
    assert answer["digits"] == {
        "training": 300, "validation": 66, "test": 198, "steps of the paper's Table 3, baseline": 300,
        "steps of the paper's Table 3, SAST": 144,
    }  # fmt: skip
    (tmp_path / "REAL_RECORDING.json").write_text('{"answers": []}', "utf-8")
    with pytest.raises(InputError, match=r"REAL_RECORDING\.json: no readable number of training recordings"):
        claimed(tmp_path)


def test_every_training_on_digits_but_the_full_ones_is_a_short_one(tmp_path):
    short = [point([]) for _ in range(3)]
    short[0].trial, short[1].trial = replace(TRIAL, epochs=8), replace(TRIAL, epochs=60)
    short[2].trial = Trial("dvsgesture-sim", epochs=300)
    full = point([])
    full.trial = replace(TRIAL, epochs=200)
    answer = claimed(tmp_path, results("table1", *short), results("table1-small-values", full))
    assert answer["short schedules"] == {"fewest": 8, "most": 60}


def test_hidden_neurons_reach_the_layers_behind_them(tmp_path):
    # 168 neurons reach 64, 64 reach 10, in 10 steps: 10 * (168 * 64 + 64 * 10) = 113,920.
    answer = claimed(tmp_path)["kSynOps"]
    assert answer["hidden neurons, at most"] == 113.92
    # With the inputs, 10 * 2312 * 168 = 3,884,160.
    assert answer["fc_0p40m, digits, at most"] == pytest.approx(3998.08)


@pytest.mark.parametrize(("gaps", "common"), [((0.08, 0.12), 0.1), ((0.08, 0.16), None)])
def test_a_figure_of_all_points_is_one_that_they_share(tmp_path, gaps, common):
    validation = {"validation": {"hard_accuracy": 0.5, "surrogate_accuracy": 0.5}}
    points = [point([dict(validation)], label, gap=gap) for label, gap in zip("ab", gaps)]
    assert claimed(tmp_path, results("table1-full", *points))["no gap"] == {"gap": common}


@pytest.mark.parametrize(("surrogate", "distance"), [(60.9, 38), (50.0, None)])
def test_the_distance_to_the_paper_is_one_that_the_points_share(tmp_path, surrogate, distance):
    points = [point([{}], "a", surrogate=60.5), point([{}], "b", surrogate=surrogate)]
    made = results("table2", *points, published={"a": [98.68], "b": [98.77]})
    assert claimed(tmp_path, made)["below the paper"] == {"surrogate": distance}


def test_networks_with_the_highest_gamma_are_counted_if_all_are(tmp_path):
    neuron = {"threshold": 1.0, "slope": 25.0}
    measured = {"address": "x", "trial": neuron, "measures": {"contraction": contraction()}}
    other = {"address": "y", "trial": neuron, "measures": {"contraction": contraction()}}
    # The same training stands in another experiment, which does not ask for the measure.
    made = [results("table1", point([measured, other])), results("map-scale", point([{"address": "x"}]))]
    assert claimed(tmp_path, *made)["gamma"] == {"networks": 2, "band": 0.154}
    # Another neuron's gamma has another highest value.
    lower = {**measured, "address": "z", "trial": {**neuron, "threshold": 0.25}}
    steeper = {**measured, "address": "w", "trial": {**neuron, "slope_end": 400.0}}
    made.append(results("map-rivals-full", point([lower, steeper])))
    assert claimed(tmp_path, *made)["gamma"]["networks"] == 2
    other["measures"]["contraction"] = contraction(gamma_hat=8.456)
    assert claimed(tmp_path, *made)["gamma"]["networks"] is None


def test_networks_with_vacuous_bounds_are_counted_if_all_are(tmp_path):
    records = [
        synthetic.record(replace(TRIAL, seed=seed), 0.9, 0.8, {"bounds": synthetic.bounds()})
        for seed in (0, 1)
    ]
    names = claims.readings(records[0])
    vacuous = min(names["log L_x over range"], names["log floor over gradient"]) > 0
    answer = claimed(tmp_path, results("corruption", point(records)))
    assert answer["bounds"] == {"networks": 2 if vacuous else None}
    records.append(synthetic.record(replace(TRIAL, seed=2), 0.9, 0.8))
    assert claimed(tmp_path, results("corruption", point(records)))["bounds"] == {"networks": None}


def test_points_of_the_map_are_counted_once(tmp_path):
    def restored(low, *addresses, surrogate=90.0):
        one = point([{"address": address} for address in addresses], surrogate=surrogate)
        one.samples["recovered"] = Sample((0, 1, 2), (low, low + 0.1, low + 0.2))
        return one

    shared, better = restored(-0.1, "a", "b"), restored(5.0, "c")
    idle = restored(5.0, "d", surrogate=39.0)
    answer = claimed(tmp_path, results("map-scale", shared, better), results("map-rivals", shared, idle))
    assert answer["map"] == {"points that have learnt": 2, "restored": 1, "learnt from": 40.0}


def test_a_saving_and_what_is_not_known_are_printed():
    node = {"seeds": [0], "figures": {}, "over_reference": {"kSynOps": 0.977}}
    tree = json.loads(json.dumps({"a": node, "claims": {"gap": None}}))
    (saved,) = quoted.quotes([{"text": "{kSynOps | saved 0} % fewer", "at": "a"}], tree)
    (unknown,) = quoted.quotes([{"text": "by {gap | 1} points", "at": "claims"}], tree)
    assert (saved.text, unknown.text) == ("2 % fewer", "by - points")
