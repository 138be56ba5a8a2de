"""Experiment files: the trials that they name, the address of each, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sastdeploy.compiler.profiles import builtin_profiles
from sastdeploy.errors import InputError
from sastdeploy.experiments.record import load_record
from sastdeploy.experiments.report import report
from sastdeploy.experiments.results import aggregate
from sastdeploy.experiments.runner import addresses, run_all
from sastdeploy.experiments.spec import GRID, Trial, load_experiment, varied
from tests.experiment_files import FILE, small_experiment
from tests.test_events_formats import nmnist_tree


@pytest.fixture
def file(tmp_path):
    return small_experiment(tmp_path)


def test_a_grid_becomes_trials_one_per_seed(file):
    experiment = load_experiment(file)
    assert [(t.method, t.rho, t.seed) for t in experiment.trials] == [
        ("baseline", 0.0, 0), ("baseline", 0.0, 1), ("sast", 0.1, 0), ("sast", 0.1, 1), ("sast", 0.3, 0), ("sast", 0.3, 1),
    ]  # fmt: skip
    assert varied(experiment) == ("method", "rho")
    assert all(t.limit == 60 and t.profiles == ("loihi_int8",) for t in experiment.trials)


def test_an_address_covers_every_setting_and_the_data():
    trial = Trial("nmnist-sim")
    changes = [
        {"dataset": "nmnist"}, {"arch": "conv_0p42m"}, {"method": "sast"}, {"rho": 0.1}, {"epochs": 3}, {"batch_size": 4},
        {"learning_rate": 0.1}, {"seed": 1}, {"alpha": 0.25}, {"threshold": 0.5}, {"slope": 5.0}, {"time_bins": 4},
        {"limit": 5}, {"clip": 5}, {"divisor_factor": 2.0}, {"profiles": ("loihi_int8",)}, {"forward": "hard"}, {"slope_end": 100.0},
        {"weight_decay": 0.01}, {"init_scale": 2.0}, {"quantize_bits": 4}, {"quantize_epochs": 3}, {"kernels": "torch"},
        {"select": "table3"}, {"init": "alive"}, {"window": 100.0},
        {"binning": "window"}, {"events_per_bin": 9},
    ]  # fmt: skip
    assert {name for change in changes for name in change} == set(Trial.__dataclass_fields__) - {"measures"}
    assert replace(trial, measures=("activity",)).address("a") == trial.address("a")
    others = {replace(trial, **change).address("a") for change in changes} | {trial.address("b")}
    assert len(others) == len(changes) + 1 and trial.address("a") not in others
    assert Trial("nmnist-sim").address("a") == trial.address("a")


def test_the_page_on_sweeps_names_every_setting():
    page = (Path(__file__).resolve().parents[1] / "docs" / "sweeps.md").read_text("utf-8")
    assert [name for name in GRID if f"`{name}`" not in page] == []


def test_the_earlier_word_for_surrogate_names_the_same_trial():
    records = Path(__file__).resolve().parents[1] / "benchmarks" / "paper" / "records"
    data = json.loads((records.parent / "data.json").read_text("utf-8"))
    old = next(
        content for path in sorted(records.glob("????????????????.json"))
        if (content := json.loads(path.read_text("utf-8")))["trial"].get("forward") == "smooth"
        and not content["trial"]["arch"].endswith(".yaml")
    )  # fmt: skip
    lists = {name: tuple(old["trial"][name]) for name in ("profiles", "measures")}
    trial = Trial(**{**old["trial"], **lists})
    assert trial.forward == "surrogate" and trial == Trial(
        **{**old["trial"], **lists, "forward": "surrogate"}
    )
    assert trial.address(data[f"{trial.dataset}, {trial.time_bins} bins"]) == old["address"]
    assert load_record(records / f"{old['address']}.json", trial)["trial"]["forward"] == "surrogate"


@pytest.mark.parametrize(("old", "new", "text"), [
    ("name: small", f"name: {'a' * 65}", "key 'name': must be 1 to 64 lower-case letters, digits, _ or -, found"),
    ("epochs: 2", "epoch: 2", "'epoch' is no setting of a trial. Allowed: arch, method, rho"),
    ("limit: 60", "limit: sixty", "limit is 'sixty', expected a whole number or null."),
    ("rho: [0.1, 0.3]", "rho: [0.1, 0.1]", "two points of the grid are the same."),
    ("rho: [0.1, 0.3]", "rho: [0.1234567, 0.1234568]", "two points of the grid would both be called 'method sast, rho 0.123457'."),
    ("epochs: 2", "epochs: 2, clip: 128", "clip 128: must be 1 to 127, or null for 99 % of the counts."),
    ("epochs: 2", "epochs: 2, clip: 2.0", "clip is 2.0, expected a whole number or null."),
    ("epochs: 2", "epochs: 2, divisor_factor: 0.5", "divisor_factor 0.5: must be a finite number of at least 1,"),
    ("epochs: 2", "epochs: 2, divisor_factor: .nan", "divisor_factor nan: must be a finite number of at least 1,"),
    ("epochs: 2", "epochs: 2, divisor_factor: .inf", "divisor_factor inf: must be a finite number of at least 1,"),
    ("epochs: 2", f"epochs: 2, slope: 1{400 * '0'}", "has 401 digits; a whole number may have at most 18."),
    ("epochs: 2", f"epochs: 1{400 * '0'}", "has 401 digits; a whole number may have at most 18."),
    ("epochs: 2", "epochs: 0", "epochs 0: outside 1 to 1,000,000."),
    ("epochs: 2", "epochs: 2, alpha: .nan", "alpha nan: outside 1e-06 to 0.999999."),
    ("epochs: 2", "epochs: 2, threshold: 0", "threshold 0.0: outside 1e-06 to 1e+06."),
    ("epochs: 2", "epochs: 2, time_bins: 0", "time_bins 0: outside 1 to 1000."),
    ("epochs: 2", "epochs: 2, arch: fc_0p4m", "architecture 'fc_0p4m': unknown. Did you mean 'fc_0p40m'?"),
    ("epochs: 2", "epochs: 2, arch: nofile.yaml", "nofile.yaml"),
    ("epochs: 2", "epochs: 2, window: 0", "window 0: must be 0.001 to 86400000 ms (one day), or null for all events."),
    ("epochs: 2", "epochs: 2, window: .nan", "window nan: must be 0.001 to 86400000 ms (one day), or null for all events."),
    ("epochs: 2", "epochs: 2, window: 100ms", "window is '100ms', expected a number or null."),
    ("epochs: 2", "epochs: 2, binning: time", "binning 'time': unknown. Allowed: duration, window, events."),
    ("epochs: 2", "epochs: 2, binning: window", "binning 'window': needs the length of the window"),
    ("epochs: 2", "epochs: 2, binning: events", "binning 'events': needs a number of events per bin"),
    ("epochs: 2", "epochs: 2, events_per_bin: 9", "binning 'duration': takes no number of events per bin"),
    ("epochs: 2", "epochs: 2, slope: null", "slope is None, expected a number."),
    ("limit: 60", "limit: -3", "limit -3: must be at least 1, or null for all recordings."),
    ("method: sast", "method: foo", "method 'foo': unknown. Allowed: baseline, sast, asam, random."),
    ("rho: [0.1, 0.3]", "rho: [0.1, -1]", "rho -1.0: outside 0 to 1e+06."),
    ("rho: [0.1, 0.3]", "rho: []", "key 'grid': rho has no value."),
    ("dataset: nmnist-sim", "dataset: nmnist-simm", "Did you mean 'nmnist-sim'?"),
    ("[loihi_int8]", "[nope]", "profile 'nope': unknown."),
    ("[loihi_int8]", "[nofile.yaml]", "nofile.yaml"),
    ("[loihi_int8]", "[loihi_int8, loihi_int8]", "key 'profiles': loihi_int8 stands twice. Leave one of them out."),
    ("seeds: [0, 1]", "seeds: []", "seeds"),
    ("seeds: [0, 1]", "seeds: [0, 1, 0]", "key 'seeds': 0 stands twice. Leave one of them out."),
    ("seeds: [0, 1]", "seeds: [0, -1]", "seed -1: outside 0 to 9223372036854775807."),
    ("seeds: [0, 1]", "seeds: [99999999999999999999999]", "has 23 digits; a whole number may have at most 18."),
    ("profiles:", "paper: {a: [.nan]}\nprofiles:", "key 'paper.a.0': must be a"),
    ("profiles:", "published: {a: [96, 1.0e+308]}\nprofiles:", "key 'published.a.1': must be at most 100, found 1e+308."),
    ("profiles:", "published: {a: []}\nprofiles:", "key 'published.a': must have at least 1 entries"),
    ("profiles:", "published: {a: [1, 2, 3, 4]}\nprofiles:", "key 'published.a': must have at most 3 entries"),
    ("epochs: 2", "epochs: 2, window: 5.0001", "window 5.0001: must be whole microseconds, so at most three decimals."),
    ("profiles:", "paper: {a: [1]}\npublished: {a: [1]}\nprofiles:", "'paper' is the older name of 'published'. Keep one of the two."),
    (", rho: [0.1, 0.3]", "", "key 'grid': method sast has no rho, and with none it would be the baseline."),
    ("profiles:", "published: {method sasd: [1]}\nprofiles:", "key 'published': 'method sasd' is no point of the grid."),
    ("profiles:", "measures: [activty]\nprofiles:", "'activty' is no measure. Did you mean 'activity'? Allowed: activity, margins"),
    ("profiles:", "select_by: [rhoo]\nprofiles:", "'rhoo' is no setting of a trial."),
    ("title:", "tittle:", "tittle"),
])  # fmt: skip
def test_a_wrong_file_is_refused(file, old, new, text):
    file.write_text(FILE.replace(old, new), "utf-8")
    with pytest.raises(InputError) as caught:
        load_experiment(file)
    assert text in str(caught.value) and str(file) in str(caught.value)


def test_the_address_of_a_network_file_is_its_content(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.yaml").write_text(
            "name: net\nlayers: [{kind: dense, neurons: 8}]\n", "utf-8"
        )
        (tmp_path / folder / "e.yaml").write_text(
            FILE.replace("fixed: {", "fixed: {arch: net.yaml, "), "utf-8"
        )
    one, other = (load_experiment(tmp_path / folder / "e.yaml").trials[0] for folder in ("a", "b"))
    assert one.arch == str(tmp_path / "a" / "net.yaml") and one.address("d") == other.address("d")
    (tmp_path / "b" / "net.yaml").write_text("name: net\nlayers: [{kind: dense, neurons: 9}]\n", "utf-8")
    assert one.address("d") != other.address("d")
    # Two files of the same content are one network, and so two points are one.
    (tmp_path / "b" / "same.yaml").write_bytes((tmp_path / "b" / "net.yaml").read_bytes())
    two = tmp_path / "b" / "e.yaml"
    two.write_text(FILE.replace("method: baseline", "method: baseline, arch: [net.yaml, same.yaml]"), "utf-8")
    with pytest.raises(InputError, match="two points of the grid are the same"):
        load_experiment(two)


def test_a_profile_files_content_is_part_of_the_address(tmp_path, file):
    profile = tmp_path / "mine.yaml"
    file.write_text(FILE.replace("profiles: [loihi_int8]", "profiles: [mine.yaml]"), "utf-8")
    built_in = builtin_profiles()["loihi_int8"].read_text("utf-8")
    profile.write_text(built_in, "utf-8")
    trial = load_experiment(file).trials[0]
    before = trial.address("d")
    assert trial.profiles == (str(profile),)
    profile.write_text(built_in + "# changed\n", "utf-8")
    assert trial.address("d") != before


def test_real_recordings_need_one_word(file, tmp_path):
    file.write_text(
        FILE.replace("nmnist-sim", "nmnist")
        .replace("seeds: [0, 1]", "seeds: [0]")
        .replace("[0.1, 0.3]", "0.3"),
        "utf-8",
    )
    nmnist_tree(tmp_path / "data" / "nmnist")
    experiment, records = load_experiment(file), tmp_path / "records"
    trials = addresses(experiment, tmp_path / "data")
    run_all(trials, tmp_path / "data", tmp_path / "work", records, 2)
    text = report(aggregate(experiment, trials, records))
    assert "2 of 2 trials" in text and "- data: `nmnist`, " in text and "- test recordings: 40\n" in text
    assert "simulated" not in text
