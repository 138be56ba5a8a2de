"""What a record must be to be believed, and what is said of one that is not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic_records as synthetic

from sastdeploy.cli import main as main_module
from sastdeploy.compiler.compile import compile
from sastdeploy.errors import InputError
from sastdeploy.experiments.measures import MEASURES, Subject
from sastdeploy.experiments.progress import Watch
from sastdeploy.experiments.readings import readings
from sastdeploy.experiments.record import load_choice, load_record, load_tested
from sastdeploy.experiments.results import aggregate, without_measures
from sastdeploy.experiments.selection import choose
from sastdeploy.experiments.spec import Trial, load_experiment
from sastdeploy.simulator.simulate import simulate
from tests.small_networks import checkpoint_of, labelled

RECORDS = Path(__file__).parents[1] / "benchmarks" / "paper" / "records"
TRIAL = Trial("nmnist-sim", arch="net.yaml", method="sast", rho=0.3, epochs=2, profiles=("loihi_int8",))
ADDRESS = "0123456789abcdef"
ANEW = "Remove the file: 'sastdeploy sweep run' makes it anew."


def whole():
    """Return a record with every measure."""
    return {"address": ADDRESS} | synthetic.record(TRIAL, 0.9, 0.8, {
        "activity": synthetic.activity(), "margins": synthetic.margins(), "contraction": synthetic.contraction(),
        "bounds": synthetic.bounds(), "calibration": synthetic.calibration(0.9, 0.8), "robustness": synthetic.robustness(0.8),
        "overflows": synthetic.overflows(2, ("loihi_int8",)),
    })  # fmt: skip


def changed(place, value):
    """Return the record with another value at a place such as ``test/hard``; without the key where the value is ``...``."""
    record = json.loads(json.dumps(whole()))
    *keys, last = place.split("/")
    part = record
    for key in keys:
        part = part[int(key) if isinstance(part, list) else key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return record


def test_a_whole_record_is_returned_as_it_is(tmp_path):
    synthetic.write(tmp_path, ADDRESS, whole())
    assert load_record(tmp_path / f"{ADDRESS}.json", TRIAL) == json.loads(json.dumps(whole()))
    assert readings(whole())["loihi_int8 overflows"] == pytest.approx(0.01)  # 2 below and 6 above of 80,000


@pytest.mark.parametrize(("place", "value", "text"), [
    ("format", 1, "key 'format': this sastdeploy reads 2, found 1."),
    ("address", 16 * "0", f"key 'address': expected {ADDRESS}, as the file is called, found {16 * '0'}."),
    ("trial/rho", 0.5, "key 'trial.rho': expected 0.3, which its address stands for, found 0.5."),
    ("trial/arch", "fc_0p40m", "key 'trial.arch': expected 'net.yaml', which its address stands for, found 'fc_0p40m'."),
    ("trial/dataset", ..., "key 'trial.dataset': missing."),
    ("trial/method", ..., "key 'trial.method': expected 'sast', which its address stands for, found 'baseline'."),
    ("trial/profiles", [], "key 'trial.profiles': expected ('loihi_int8',), which its address stands for, found []."),
    ("trial/colour", "red", "key 'trial.colour': no setting of a trial."),
    ("trial", [], "key 'trial': must be keys and values, found []."),
    ("validation", ..., "key 'validation': missing."),
    ("validation/hard_accuracy", float("nan"), "key 'validation.hard_accuracy': must be a finite number, found nan."),
    ("validation/hard_accuracy", float("inf"), "key 'validation.hard_accuracy': must be"),
    ("validation/epoch", 2, "key 'validation.epoch': allowed are 0 to 1, found 2."),
    ("gradient_evaluations", "x", "key 'gradient_evaluations': must be a whole number, found 'x'."),
    ("gradient_evaluations", 1.5, "key 'gradient_evaluations': must be a whole number, found 1.5."),
    ("gradient_evaluations", 10**400, "key 'gradient_evaluations': must be"),
    ("gradient_evaluations", 0, "key 'gradient_evaluations': must be at least 1, found 0."),
    ("seconds/training", -1.0, "key 'seconds.training': must be at least 0, found -1.0."),
    ("peak_bytes", None, "key 'peak_bytes': must be a whole number, found null."),
    ("test", ..., "key 'test': missing."),
    ("test", None, "key 'test': must be"),
    ("test/hard", 7.5, "key 'test.hard': must be at most 1, found 7.5."),
    ("test/hard", 0.7, "key 'test.gap': expected surrogate less hard, 0.2, found 0.1."),
    ("test/recordings", "many", "key 'test.recordings': must be a whole number, found 'many'."),
    ("programs/loihi_int8/accuracy", -0.1, "accuracy': must be at least 0, found -0.1."),
    ("programs/loihi_int8", ..., "key 'programs': expected loihi_int8, found none."),
    ("measures/activity/overall/tail", 1.1, "key 'measures.activity.overall.tail': must be at most 1"),
    ("measures/activity", None, "key 'measures.activity': must be"),
    ("measures/margins/hard/overall/histogram/counts", [-1], "key 'measures.margins.hard.overall.histogram.counts.0': must be"),
    ("measures/contraction/quantiles/half", 1.0, "key 'measures.contraction.quantiles.half"),
    ("measures/bounds/lipschitz/local/log10_bound", "x", "key 'measures.bounds.lipschitz.local.log10_bound': must be a"),
    ("measures/calibration/input/test_hard", 2, "key 'measures.calibration.input.test_hard': must be at most"),
    ("measures/overflows/programs/loihi_int8/low", -1, "key 'measures.overflows.programs.loihi_int8.low': must be at least 0"),
    ("measures/robustness/0/hard/value", 2, "key 'measures.robustness.0.hard.value': must be at most"),
])  # fmt: skip
def test_a_record_that_cannot_be_is_refused(tmp_path, place, value, text):
    path = tmp_path / f"{ADDRESS}.json"
    record = changed(place, value)
    if isinstance(record["trial"], dict) and place != "trial/arch":
        record["trial"]["arch"] = "elsewhere/net.yaml"  # where a file lies is no setting
    path.write_text(json.dumps(record), "utf-8")
    with pytest.raises(InputError) as caught:
        load_record(path, TRIAL)
    message = str(caught.value)
    assert text in message and message.startswith(f"{path}: ") and message.endswith(ANEW)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"[]", "expected keys and values, found list."),
        (b"{", "is no valid JSON"),
        (b"\xff", "is not a text file"),
        (100_000 * b"[", "is no valid JSON"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, content, text):
    path = tmp_path / f"{ADDRESS}.json"
    path.write_bytes(content)
    for load in (load_record, load_tested):
        with pytest.raises(InputError, match=text) as caught:
            load(path, TRIAL)
        assert str(caught.value).endswith(ANEW)


def test_what_was_read_of_the_test_recordings_is_checked_too(tmp_path):
    path, good = tmp_path / f"{ADDRESS}.test.json", synthetic.tested(TRIAL, 0.9, 0.8)
    synthetic.write(tmp_path, f"{ADDRESS}.test", good)
    assert load_tested(path, TRIAL) == json.loads(path.read_text("utf-8"))
    for change, text in (
        ({"test": good["test"] | {"hard": 7.5}}, "key 'test.hard'"),
        ({"programs": {}}, "key 'programs': expected loihi_int8, found none."),
        ({"address": "other"}, "key 'address'"),
    ):
        synthetic.write(tmp_path, f"{ADDRESS}.test", {**good, **change})
        with pytest.raises(InputError, match=text):
            load_tested(path, TRIAL)


def test_a_record_of_a_trial_that_waits_for_a_choice_has_no_test(tmp_path):
    trial = Trial("nmnist-sim", select="s")
    content = synthetic.record(trial, 0.9, 0.8)
    synthetic.write(tmp_path, ADDRESS, content)
    assert "test" not in load_record(tmp_path / f"{ADDRESS}.json", trial)
    synthetic.write(tmp_path, ADDRESS, content | synthetic.tested(trial, 0.9, 0.8))
    with pytest.raises(InputError, match=r"key 'test': stands here, but belongs in \.test\.json"):
        load_record(tmp_path / f"{ADDRESS}.json", trial)


def test_every_committed_record_passes():
    for path in RECORDS.glob("*.json"):
        text = path.read_text("utf-8")
        content = json.loads(
            text.replace('"smooth_rate"', '"surrogate_rate"').replace('"smooth"', '"surrogate"')
        )
        if path.stem.endswith(".selection"):
            assert load_choice(path, content["experiment"]) == content
            continue
        main = json.loads((RECORDS / f"{content['address']}.json").read_text("utf-8"))["trial"]
        trial = Trial(**main | {name: tuple(main[name]) for name in ("profiles", "measures")})
        load = load_tested if path.stem.endswith(".test") else load_record
        assert load(path, trial) == content


@pytest.fixture
def sweep(tmp_path):
    """Return an experiment of two trials that wait for a choice, its trials by address, and their records' folder."""
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\ntitle: Small\ndataset: nmnist-sim\nseeds: [0]\nfixed: {epochs: 2}\ngrid: [{alpha: [0.5, 0.9]}]\n"
        "select_by: []\n",
        "utf-8",
    )
    experiment = load_experiment(path)
    trials = {trial.address("h"): trial for trial in experiment.trials}
    for address, trial in trials.items():
        synthetic.write(tmp_path / "records", address, synthetic.record(trial, 0.9, trial.alpha))
    return experiment, trials, tmp_path / "records"


def test_every_reader_refuses_another_trials_record(sweep, tmp_path):
    experiment, trials, records = sweep
    first, second = trials
    shutil.copy(records / f"{first}.json", records / f"{second}.json")
    for read in (
        lambda: aggregate(experiment, trials, records),
        lambda: without_measures(trials, records),
        lambda: Watch(trials, tmp_path, records).states(),
        lambda: choose(experiment, trials, records),
    ):
        with pytest.raises(InputError, match=rf"{second}\.json: key 'address': expected {second}"):
            read()


@pytest.mark.parametrize("content", ["[]", "{}", '{"experiment": "other", "candidates": [], "chosen": []}'])
def test_a_damaged_choice_is_named_and_not_made_again(sweep, content):
    experiment, trials, records = sweep
    (records / "small.selection.json").write_text(content, "utf-8")
    for read in (choose, aggregate):
        with pytest.raises(
            InputError, match=r"(?s)small\.selection\.json: .* Put the file back as the sweep wrote it"
        ):
            read(experiment, trials, records)


@pytest.mark.parametrize("words", [("run", "--processes", "1"), ("status",)])
def test_the_commands_tell_of_a_damaged_record_before_anything_runs(
    sweep, tmp_path, monkeypatch, capsys, words
):
    _, trials, records = sweep
    first, second = trials
    (records / f"{second}.json").unlink()
    (records / f"{first}.json").write_text("[]", "utf-8")
    monkeypatch.setattr("sastdeploy.experiments.runner.data_hash", lambda *key: "h")
    monkeypatch.setattr("sastdeploy.experiments.runner.start", lambda *order: pytest.fail("a trial began"))
    with pytest.raises(SystemExit) as stop:
        main_module.main(
            ["sweep", words[0], str(tmp_path / "small.yaml"), "--work", str(tmp_path), *words[1:]]
        )
    assert stop.value.code == 3 and f"{first}.json: expected keys and values" in capsys.readouterr().err
    assert (records / f"{first}.json").read_text("utf-8") == "[]"


def test_an_experiment_and_its_records_are_checked_without_torch(sweep, tmp_path):
    code = (
        "import sys; from pathlib import Path; from sastdeploy.experiments.spec import load_experiment; "
        "from sastdeploy.experiments.progress import Watch; e = load_experiment('small.yaml'); "
        "Watch({t.address('h'): t for t in e.trials}, Path('w'), Path('records')).states(); "
        "sys.exit(str({'torch', 'numba'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_overflows_are_those_of_every_update_of_the_programs():
    """Large weights drive membranes of Q4.4 out of their format."""
    checkpoint = checkpoint_of()
    for name, values in checkpoint.parameters.items():
        if name.endswith("weight"):
            values *= 40
    frames = labelled()
    subject = Subject(checkpoint, frames, frames, None, ("aggressive_int4",), 0)
    measured = MEASURES["overflows"](subject)
    program = compile(checkpoint, "aggressive_int4").program
    run = simulate(program, frames, engine="reference")
    low, high = (int(array.sum()) for array in (run.overflow_low, run.overflow_high))
    updates = len(frames) * 6 * sum(map(len, run.neuron_spikes))
    assert low > 0 and high > 0 and low != high
    assert measured == {
        "recordings": len(frames), "programs": {"aggressive_int4": {"low": low, "high": high, "updates": updates}},
    }  # fmt: skip


def test_overflows_want_a_profile(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(
        "name: e\ntitle: E\ndataset: nmnist-sim\nseeds: [0]\ngrid: [{}]\nmeasures: [overflows]\n", "utf-8"
    )
    with pytest.raises(
        InputError, match=r"measure overflows is of integer programs\. Name hardware profiles"
    ):
        load_experiment(path)
