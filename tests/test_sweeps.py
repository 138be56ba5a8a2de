"""Experiment files, trials that are run once, interruption, and the report's bytes."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sastdeploy.cli import main as main_module
from sastdeploy.compiler.profiles import builtin_profiles
from sastdeploy.errors import InputError
from sastdeploy.experiments import runner as local
from sastdeploy.experiments.progress import Watch
from sastdeploy.experiments.record import load_record
from sastdeploy.experiments.report import report
from sastdeploy.experiments.results import aggregate, without_measures
from sastdeploy.experiments.runner import addresses, run_all
from sastdeploy.experiments.selection import choose, read_tests
from sastdeploy.experiments.spec import GRID, Trial, load_experiment, varied
from sastdeploy.experiments.trial import TAKEN, read_test_of, run_trial
from sastdeploy.networks.checkpoint import load_checkpoint
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim
from tests.test_events_formats import nmnist_tree

FILE = """
name: small
title: "Small: baseline and SAST"
dataset: nmnist-sim
seeds: [0, 1]
fixed: {epochs: 2, limit: 60}
grid:
  - {method: baseline}
  - {method: sast, rho: [0.1, 0.3]}
profiles: [loihi_int8]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_nmnist_sim(folder, train=120, test=30, seed=1, processes=1)
    return folder


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(FILE, "utf-8")
    return path


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
        {"limit": 5}, {"divisor_factor": 2.0}, {"profiles": ("loihi_int8",)}, {"forward": "hard"}, {"slope_end": 100.0},
        {"weight_decay": 0.01}, {"init_scale": 2.0}, {"quantize_bits": 4}, {"quantize_epochs": 3}, {"kernels": "torch"},
        {"select": "table3"}, {"init": "alive"}, {"window": 100.0},
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
    ("epochs: 2", "epoch: 2", "'epoch' is no setting of a trial. Allowed: arch, method, rho"),
    ("limit: 60", "limit: sixty", "limit is 'sixty', expected a whole number or null."),
    ("rho: [0.1, 0.3]", "rho: [0.1, 0.1]", "two points of the grid are the same."),
    ("rho: [0.1, 0.3]", "rho: [0.1234567, 0.1234568]", "two points of the grid would both be called 'method sast, rho 0.123457'."),
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
    ("profiles:", "paper: {a: [.nan]}\nprofiles:", "key 'paper.a.0': must be a finite number"),
    ("profiles:", "paper: {a: [1]}\npublished: {a: [1]}\nprofiles:", "'paper' is the older name of 'published'. Keep one of the two."),
    ("profiles:", "measures: [activty]\nprofiles:", "'activty' is no measure. Did you mean 'activity'? Allowed: activity, margins"),
    ("profiles:", "select_by: [rhoo]\nprofiles:", "'rhoo' is no setting of a trial."),
    ("title:", "tittle:", "tittle"),
])  # fmt: skip
def test_a_wrong_file_is_refused(file, old, new, text):
    file.write_text(FILE.replace(old, new), "utf-8")
    with pytest.raises(InputError) as caught:
        load_experiment(file)
    assert text in str(caught.value) and str(file) in str(caught.value)


def test_trials_run_once_and_the_report_is_made_of_their_records(file, root, tmp_path):
    experiment = load_experiment(file)
    trials, work, records = addresses(experiment, root), tmp_path / "work", tmp_path / "records"
    with pytest.raises(InputError, match="no trial has a record yet"):
        aggregate(experiment, trials, records)
    run_all(trials, root, work, records, 2)
    assert {s.state for s in Watch(trials, work, records).states()} == {"done"}
    times = {path: path.stat().st_mtime_ns for path in records.iterdir()}
    assert len(times) == 6
    run_all(trials, root, work, records, 2)
    assert {path: path.stat().st_mtime_ns for path in records.iterdir()} == times
    text = report(aggregate(experiment, trials, records))
    assert text == report(aggregate(load_experiment(file), trials, records))
    assert (
        "6 of 6 trials" in text
        and "| method sast, rho 0.3 | 2 |" in text
        and "| method baseline | gap |" in text
    )
    record = json.loads(next(iter(times)).read_text("utf-8"))
    assert record["test"]["recordings"] == 30 and record["programs"]["loihi_int8"]["ksynops"] > 0
    # A record lost from the folder is made again from the checkpoint, with the same numbers.
    lost = next(iter(times))
    before = json.loads(lost.read_text("utf-8"))
    lost.unlink()
    run_all(trials, root, work, records, 1)
    after = json.loads(lost.read_text("utf-8"))
    assert all(
        after[key] == before[key] for key in ("trial", "test", "validation", "programs", "checkpoint_hash")
    )


def test_a_window_leaves_late_events_out_of_every_split_and_is_recorded(file, root, tmp_path):
    file.write_text(
        FILE.replace("seeds: [0, 1]", "seeds: [0]").replace("epochs: 2", "epochs: 1, window: null")
        .replace("method: sast, rho: [0.1, 0.3]", "method: baseline, window: [100, 100.0]"), "utf-8",
    )  # fmt: skip
    with pytest.raises(InputError, match="two points of the grid are the same"):
        load_experiment(file)
    file.write_text(file.read_text("utf-8").replace(", 100.0", ""), "utf-8")
    experiment = load_experiment(file)
    assert varied(experiment) == ("window",)
    trials, work, records = addresses(experiment, root), tmp_path / "work", tmp_path / "records"
    made = {}
    for address, trial in trials.items():
        record = json.loads(json.dumps(run_trial(trial, address, root, work, records)))
        made[trial.window] = record, load_checkpoint(work / address / "ckpt.pt").preprocessing.window_us
        assert load_record(records / f"{address}.json", trial) == record
    assert {window: us for window, (_, us) in made.items()} == {None: None, 100.0: 100_000}
    plain, narrow = made[None][0], made[100.0][0]
    assert plain["trial"]["window"] is None and narrow["trial"]["window"] == 100.0
    # Fewer events, other recordings: on the test recordings too.
    assert plain["data_hash"] != narrow["data_hash"]
    assert narrow["programs"]["loihi_int8"]["ksynops"] < plain["programs"]["loihi_int8"]["ksynops"]
    text = report(aggregate(experiment, trials, records))
    assert "| window 100 | 1 |" in text and "\n- window: none or 100 ms\n" in text
    # A record of a version without windows is one of all events.
    path = records / f"{plain['address']}.json"
    del plain["trial"]["window"]
    path.write_text(json.dumps(plain), "utf-8")
    assert load_record(path, trials[plain["address"]]) == plain


def test_a_measure_asked_for_later_is_taken_of_the_kept_checkpoint(file, root, tmp_path, capsys):
    file.write_text(FILE.replace("seeds: [0, 1]", "seeds: [0]").replace("[0.1, 0.3]", "[0.3]"), "utf-8")
    work, records = tmp_path / "work", tmp_path / "records"
    run_all(addresses(load_experiment(file), root), root, work, records, 2)
    before = {path.name: json.loads(path.read_text("utf-8")) for path in records.iterdir()}
    file.write_text(file.read_text("utf-8") + "measures: [activity, calibration]\n", "utf-8")
    trials = addresses(load_experiment(file), root)
    first, second = trials
    shutil.move(work / second / "ckpt.pt", tmp_path)
    run_all(trials, root, work, records, 2)
    after = {path.name: json.loads(path.read_text("utf-8")) for path in records.iterdir()}
    assert set(after[f"{first}.json"].pop("measures")) == {"activity", "calibration"}
    after[f"{first}.json"].pop("measure_commits")
    assert after == before
    assert without_measures(trials, records) == [second]
    options = ["--data", str(root), "--work", str(work), "--records", str(records)]
    with pytest.raises(SystemExit) as stop:
        main_module.main(["sweep", "run", str(file), *options])
    assert stop.value.code == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert (
        f"1 records lack measures that {file} asks for ({second}.json and others). Their checkpoints are not in"
        in printed
    )
    # Another network under the trial's name is not measured for it.
    shutil.copy(work / first / "ckpt.pt", work / second / "ckpt.pt")
    with pytest.raises(
        InputError, match=f"is not the checkpoint of {second}'s record. Give the --work folder that has it"
    ):
        run_all(trials, root, work, records, 1)
    assert json.loads((records / f"{second}.json").read_text("utf-8")) == before[f"{second}.json"]


def test_a_trial_that_outlives_its_sweep_is_not_started_twice(file, root, tmp_path, monkeypatch):
    file.write_text(
        FILE.replace("seeds: [0, 1]", "seeds: [0]")
        .replace("  - {method: sast, rho: [0.1, 0.3]}\n", "")
        .replace("epochs: 2", "epochs: 300"),  # still at work when the second process has started
        "utf-8",
    )
    trials = addresses(load_experiment(file), root)
    (address,) = trials
    work, records = tmp_path / "work", tmp_path / "records"
    orphan = local.start(address, trials[address], root, work, records)
    while not (work / address / "ckpt.pt.jsonl").exists():
        time.sleep(0.05)
    codes, start = [], local.start

    def started(*order):
        process = start(*order)
        codes.append(process)
        return process

    monkeypatch.setattr(local, "start", started)
    run_all(trials, root, work, records, 1)
    assert orphan.wait() == 0 and len(list(records.iterdir())) == 1
    assert codes and codes[0].returncode == TAKEN


def test_two_sweeps_that_start_one_trial_at_once_keep_their_own_orders(file, root, tmp_path):
    file.write_text(FILE.replace("epochs: 2", "epochs: 100"), "utf-8")
    address, trial = next(iter(addresses(load_experiment(file), root).items()))
    records = [tmp_path / name for name in ("one", "other")]
    started = [local.start(address, trial, root, tmp_path / "work", folder) for folder in records]
    codes = [process.wait() for process in started]
    assert sorted(codes) == [0, TAKEN]
    assert [(folder / f"{address}.json").exists() for folder in records] == [code == 0 for code in codes]


def test_a_network_file_that_changes_under_a_sweep_is_not_trained_under_the_old_address(file, root, tmp_path):
    network = tmp_path / "net.yaml"
    network.write_text("name: net\nlayers: [{kind: dense, neurons: 8}]\n", "utf-8")
    file.write_text(FILE.replace("fixed: {", "fixed: {arch: net.yaml, "), "utf-8")
    address, trial = next(iter(addresses(load_experiment(file), root).items()))
    network.write_text("name: net\nlayers: [{kind: dense, neurons: 16}]\n", "utf-8")
    with pytest.raises(
        InputError, match=rf"trial {address}: its network's .* file, .* changed after the sweep"
    ):
        run_all({address: trial}, root, tmp_path / "work", tmp_path / "records", 1)
    assert not (tmp_path / "records").exists()


def test_what_a_process_said_last_is_told_in_any_encoding(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "errors.txt").write_bytes(b"first\nno \xff room\n")
    assert local.failure("a", 1, tmp_path) == "no \ufffd room"


def test_a_trial_that_cannot_run_is_named_and_the_rest_is_kept(file, root, tmp_path):
    file.write_text(FILE.replace("[0.1, 0.3]", "[0.1]").replace("seeds: [0, 1]", "seeds: [0]"), "utf-8")
    trials = addresses(load_experiment(file), root)
    _, second = trials
    (tmp_path / "work" / second).mkdir(parents=True)
    (tmp_path / "work" / second / "ckpt.pt").write_bytes(b"x")
    with pytest.raises(InputError, match=rf"trial {second}: .*is no checkpoint.*finished trials are kept"):
        run_all(trials, root, tmp_path / "work", tmp_path / "records", 1)
    assert len(list((tmp_path / "records").iterdir())) == 1


def test_the_command_line(file, root, tmp_path, capsys):
    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main_module.main(["sweep", words[0], str(file), "--data", str(root), *words[1:]])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    file.write_text(
        FILE.replace("seeds: [0, 1]", "seeds: [0]").replace("  - {method: sast, rho: [0.1, 0.3]}\n", ""),
        "utf-8",
    )
    work = ("--work", str(tmp_path / "work"))
    assert "waiting" in call("status", *work)[1]
    code, out, err = call("run", *work)
    assert code == 0 and out.startswith("1 trials have records in"), err
    assert "1 of 1 trials done; training left about 0:00:00" in call("status", *work)[1]
    status = json.loads(call("status", *work, "--json")[1])
    assert (status["done"], status["left"], status["seconds_left"]) == (1, 0, 0.0)
    assert (
        status["trials"][0]["state"] == "done"
        and status["trials"][0]["epochs"] == status["trials"][0]["of"] == 2
    )
    table = call("report")[1]
    assert table.startswith("# Small: baseline and SAST")
    (point,) = json.loads(call("report", "--json")[1])["points"]
    figures = point["figures"]
    assert all(f"| {figures[key]['mean']:.2f} |" in table for key in ("surrogate", "hard"))
    assert f"{figures['loihi_int8 kSynOps']['mean']:,.1f}" in table
    assert call("report", "--out", str(tmp_path / "r.md"))[0] == 0
    assert (tmp_path / "r.md").read_text("utf-8").startswith("# Small")
    lines = call("report", "--csv")[1].splitlines()
    assert lines[0].startswith(
        "point,chosen,figure,seeds,mean,"
    ) and f"hard,1,{figures['hard']['mean']:.6g},,,," in "".join(lines)
    code, _, err = call("report", "--csv", "--json")
    assert code == 2 and "--csv and --json: name one of the two." in err
    (tmp_path / "records").rename(tmp_path / "kept")
    assert call("report", "--records", str(tmp_path / "kept"), "--figures", str(tmp_path / "f"))[0] == 0
    assert (tmp_path / "f").is_dir()


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


def test_test_recordings_wait_for_the_choice_and_are_read_once(file, root, tmp_path):
    file.write_text(
        FILE.replace("profiles:", "select_by: [method]\nprofiles:").replace("seeds: [0, 1]", "seeds: [0]"),
        "utf-8",
    )
    experiment = load_experiment(file)
    trials, work, records = addresses(experiment, root), tmp_path / "work", tmp_path / "records"
    with pytest.raises(InputError, match="a choice needs every trial's record"):
        choose(experiment, trials, records)
    run_all(trials, root, work, records, 2)
    by_address = {a: json.loads((records / f"{a}.json").read_text("utf-8")) for a in trials}
    assert not any("test" in record or "programs" in record for record in by_address.values())
    chosen = read_tests(experiment, trials, root, work, records)
    assert len(chosen) == 2 and [trials[a].method for a in chosen] == ["baseline", "sast"]
    sast = [a for a in trials if trials[a].method == "sast"]
    assert chosen[1] == max(sast, key=lambda a: by_address[a]["validation"]["hard_accuracy"])
    times = {a: (records / f"{a}.test.json").stat().st_mtime_ns for a in chosen}
    assert len(list(records.glob("*.test.json"))) == 2
    assert read_tests(experiment, trials, root, work, records) == chosen
    assert times == {a: (records / f"{a}.test.json").stat().st_mtime_ns for a in chosen}
    with pytest.raises(InputError, match="are read only once"):
        read_test_of(trials[chosen[0]], chosen[0], root, work, records)
    # A figure that changed after the choice: refused.
    record = by_address[sast[0]] | {
        "validation": by_address[sast[0]]["validation"] | {"hard_accuracy": 0.123}
    }
    (records / f"{sast[0]}.json").write_text(json.dumps(record), "utf-8")
    with pytest.raises(InputError, match="this choice was made between other trials or figures"):
        read_tests(experiment, trials, root, work, records)
    # A checkpoint that is not the chosen one: refused.
    (records / f"{sast[0]}.json").write_text(json.dumps(by_address[sast[0]]), "utf-8")
    (records / f"{chosen[0]}.test.json").unlink()
    (records / f"{chosen[0]}.json").write_text(
        json.dumps(by_address[chosen[0]] | {"checkpoint_hash": "0"}), "utf-8"
    )
    with pytest.raises(InputError, match="is not the checkpoint of"):
        read_tests(experiment, trials, root, work, records)


def test_a_measure_that_needs_the_test_recordings_is_refused_beside_a_choice(file):
    file.write_text(
        FILE.replace("profiles:", "select_by: [method]\nmeasures: [calibration]\nprofiles:"), "utf-8"
    )
    with pytest.raises(
        InputError, match="measure calibration needs the test recordings, which wait for the choice"
    ):
        load_experiment(file)


def test_a_lost_choice_is_not_made_again(file, root, tmp_path):
    file.write_text(
        FILE.replace("profiles:", "select_by: [method]\nprofiles:").replace("seeds: [0, 1]", "seeds: [0]"),
        "utf-8",
    )
    experiment = load_experiment(file)
    trials, work, records = addresses(experiment, root), tmp_path / "work", tmp_path / "records"
    run_all(trials, root, work, records, 2)
    read_tests(experiment, trials, root, work, records)
    (records / "small.selection.json").unlink()
    with pytest.raises(InputError, match=r"test recordings were read, but small.selection.json is gone"):
        read_tests(experiment, trials, root, work, records)


def test_a_choice_under_a_new_name_says_that_the_test_recordings_were_read_before(
    file, root, tmp_path, capsys
):
    work, records = tmp_path / "work", tmp_path / "records"
    text = FILE.replace("seeds: [0, 1]", "seeds: [0]").replace("  - {method: sast, rho: [0.1, 0.3]}\n", "")
    text = text.replace("epochs: 2", "epochs: 1")

    def sweep(name, settings):
        file.write_text(text.replace("small", name).replace("profiles: [loihi_int8]", settings), "utf-8")
        with pytest.raises(SystemExit) as stop:
            main_module.main(
                [
                    "sweep",
                    "run",
                    str(file),
                    "--data",
                    str(root),
                    "--work",
                    str(work),
                    "--records",
                    str(records),
                ]
            )
        assert stop.value.code == 0
        return tuple(addresses(load_experiment(file), root)), " ".join(capsys.readouterr().err.split())

    (chosen,), messages = sweep("one", "select_by: [method]")
    assert "had been read before" not in messages
    assert json.loads((records / "one.selection.json").read_text("utf-8"))["read_before"] == []
    # As a version without this setting wrote it: the same training.
    record = json.loads((records / f"{chosen}.json").read_text("utf-8"))
    del record["trial"]["kernels"]
    (records / f"{chosen}.json").write_text(json.dumps(record), "utf-8")
    (again,), messages = sweep("renamed", "select_by: [method]")
    assert (
        again != chosen
        and f"had been read before for 1 equal trainings of other experiments ({chosen}.json" in messages
    )
    assert json.loads((records / "renamed.selection.json").read_text("utf-8"))["read_before"] == [chosen]


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


def test_a_damaged_log_or_state_of_a_trial_is_named(file, root, tmp_path):
    file.write_text(
        FILE.replace("seeds: [0, 1]", "seeds: [0]").replace("  - {method: sast, rho: [0.1, 0.3]}\n", ""),
        "utf-8",
    )
    trials, work, records = addresses(load_experiment(file), root), tmp_path / "work", tmp_path / "records"
    (address,) = trials
    run_all(trials, root, work, records, 1)
    (records / f"{address}.json").unlink()
    log, checkpoint = work / address / "ckpt.pt.jsonl", work / address / "ckpt.pt"
    first = log.read_text("utf-8").splitlines(keepends=True)[0]
    for content, text in (
        (first, "has 1 of 2 epochs. Remove its folder to train the trial anew."),
        (
            "{}\n{}\n",
            "line 1: expected an epoch's gradient_evaluations, a number of at least 0, found None. Remove its folder",
        ),
    ):
        log.write_text(content, "utf-8")
        with pytest.raises(InputError, match=rf"ckpt\.pt\.jsonl: {text}"):
            run_all(trials, root, work, records, 1)
    checkpoint.rename(work / address / "ckpt.pt.state")
    with pytest.raises(
        InputError, match=r"ckpt\.pt\.state: is no training state of this version\. Remove it, or"
    ):
        run_all(trials, root, work, records, 1)
    (work / address / "ckpt.pt.state").unlink()
    run_all(trials, root, work, records, 1)
    assert load_record(records / f"{address}.json", trials[address])["test"]["recordings"] == 30
