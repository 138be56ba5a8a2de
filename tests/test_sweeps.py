"""Sweeps: trials that are run once, interruption, and the report's bytes."""

import json
import shlex
import shutil
import time
from dataclasses import replace

import pytest

from sastdeploy.cli import main as main_module
from sastdeploy.compiler.compile import compile
from sastdeploy.errors import InputError
from sastdeploy.experiments import runner as local
from sastdeploy.experiments.progress import Watch
from sastdeploy.experiments.record import load_record
from sastdeploy.experiments.report import report
from sastdeploy.experiments.results import aggregate, without_measures
from sastdeploy.experiments.runner import addresses, run_all
from sastdeploy.experiments.spec import load_experiment, varied
from sastdeploy.experiments.trial import TAKEN, run_trial
from sastdeploy.networks.checkpoint import load_checkpoint, save_checkpoint
from sastdeploy.simulator.simulate import simulate_dataset
from tests.digits import small_digits
from tests.experiment_files import FILE, small_experiment


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return small_digits(tmp_path_factory.mktemp("data"), train=120)


@pytest.fixture
def file(tmp_path):
    return small_experiment(tmp_path)


def test_trials_run_once_and_the_report_is_made_of_their_records(file, root, tmp_path):
    experiment = load_experiment(file)
    trials, work, records = addresses(experiment, root), tmp_path / "work", tmp_path / "records"
    with pytest.raises(InputError, match="no trial has a record for these recordings yet"):
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


def test_a_clip_is_the_trainings(file, root, tmp_path):
    text = FILE.replace("seeds: [0, 1]", "seeds: [0]").replace("epochs: 2", "epochs: 1, divisor_factor: 2.0")
    file.write_text(text.replace("method: sast, rho: [0.1, 0.3]", "method: baseline, clip: 3"), "utf-8")
    made = {}
    for address, trial in addresses(load_experiment(file), root).items():
        run_trial(trial, address, root, tmp_path / "work", tmp_path / "records")
        made[trial.clip] = load_checkpoint(tmp_path / "work" / address / "ckpt.pt").preprocessing
    assert (made[3].c_clip, made[3].divisor) == (3, 6.0) and made[None].divisor == 2 * made[None].c_clip


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


def test_bins_of_equal_numbers_of_events_are_those_of_the_trained_network(file, root, tmp_path):
    file.write_text(
        FILE.replace("seeds: [0, 1]", "seeds: [0]").replace("epochs: 2", "epochs: 1, binning: events")
        .replace("method: sast, rho: [0.1, 0.3]", "method: baseline, events_per_bin: 40")
        .replace("  - {method: baseline}\n", ""), "utf-8",
    )  # fmt: skip
    experiment = load_experiment(file)
    trials, work, records = addresses(experiment, root), tmp_path / "work", tmp_path / "records"
    ((address, trial),) = trials.items()
    record = run_trial(trial, address, root, work, records)
    own = load_checkpoint(work / address / "ckpt.pt").preprocessing
    assert (own.binning, own.events_per_bin) == ("events", 40) == (trial.binning, trial.events_per_bin)
    assert record["trial"]["events_per_bin"] == 40
    results = aggregate(experiment, trials, records)
    assert "\n- bins: 40 events\n" in report(results)
    assert "trials, commits not known\n" in report(replace(results, commits=()))


def test_a_measure_asked_for_later_is_taken_of_the_kept_checkpoint(file, root, tmp_path, capsys):
    file.write_text(FILE.replace("seeds: [0, 1]", "seeds: [0]").replace("[0.1, 0.3]", "[0.3]"), "utf-8")
    work, records = tmp_path / "work", tmp_path / "records"
    run_all(addresses(load_experiment(file), root), root, work, records, 2)
    before = {path.name: json.loads(path.read_text("utf-8")) for path in records.iterdir()}
    file.write_text(file.read_text("utf-8") + "measures: [activity, calibration, overflows]\n", "utf-8")
    trials = addresses(load_experiment(file), root)
    first, second = trials
    shutil.move(work / second / "ckpt.pt", tmp_path)
    run_all(trials, root, work, records, 2)
    after = {path.name: json.loads(path.read_text("utf-8")) for path in records.iterdir()}
    measures = after[f"{first}.json"].pop("measures")
    assert set(measures) == {"activity", "calibration", "overflows"}
    compiled = compile(load_checkpoint(work / first / "ckpt.pt"), "loihi_int8").program
    run = simulate_dataset(compiled, "nmnist-sim", root=root)
    low, high = int(run.result.overflow_low.sum()), int(run.result.overflow_high.sum())
    updates = 30 * 10 * sum(map(len, run.result.neuron_spikes))
    assert measures["overflows"] == {
        "recordings": 30, "programs": {"loihi_int8": {"low": low, "high": high, "updates": updates}},
    }  # fmt: skip
    text = report(aggregate(load_experiment(file), trials, records))
    assert f" | {100 * (low + high) / updates:.4f} |" in text
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
    assert out.endswith(
        f" Next: {shlex.join(['sastdeploy', 'sweep', 'report', str(file), '--data', str(root)])}\n"
    )
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
    whole = log.read_text("utf-8").splitlines(keepends=True)
    first = whole[0]
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
    log.write_text("".join(whole), "utf-8")
    kept = load_checkpoint(checkpoint)
    foreign = replace(kept, provenance={**kept.provenance, "command": "sastdeploy train"})
    save_checkpoint(checkpoint, foreign, force=True)
    with pytest.raises(
        InputError, match=rf"ckpt\.pt: is no checkpoint of trial {address}\. Remove its folder"
    ):
        run_all(trials, root, work, records, 1)
    # Evaluated by another version than trained it: the record says which did what.
    older = replace(kept, provenance={**kept.provenance, "commit": "0" * 40})
    save_checkpoint(checkpoint, older, force=True)
    run_all(trials, root, work, records, 1)
    record = load_record(records / f"{address}.json", trials[address])
    assert record["commit"] == "0" * 40 and record["test_commit"] == kept.provenance["commit"]
    (records / f"{address}.json").unlink()
    checkpoint.rename(work / address / "ckpt.pt.state")
    with pytest.raises(
        InputError, match=r"ckpt\.pt\.state: is no training state of this version\. Remove it, or"
    ):
        run_all(trials, root, work, records, 1)
    (work / address / "ckpt.pt.state").unlink()
    run_all(trials, root, work, records, 1)
    assert load_record(records / f"{address}.json", trials[address])["test"]["recordings"] == 30
