"""The robustness x precision grid: its records by hand and against the parts it is made of, and its command."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sastdeploy.analysis.robustness import DEFAULT, _paired, grid, robustness
from sastdeploy.cli import main as main_module
from sastdeploy.compiler.compile import compile
from sastdeploy.compiler.profiles import load_profile
from sastdeploy.errors import CompileError, InputError
from sastdeploy.networks.architecture import Architecture, Dense, Readout
from sastdeploy.networks.checkpoint import save_checkpoint
from sastdeploy.recordings.corrupted_frames import corrupted_frames
from sastdeploy.recordings.corruption import KINDS, Corruption
from sastdeploy.recordings.frames import Frames
from sastdeploy.recordings.splits import load_dataset
from sastdeploy.report.robustness_figures import draw
from sastdeploy.simulator import engine
from sastdeploy.simulator.metrics import wilson_interval
from sastdeploy.statistics import paired_interval
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim
from sastdeploy.training.inference import evaluate
from tests.small_networks import checkpoint_of, labelled

PROFILES = ("loihi_int8", "aggressive_int4")
DIGITS = Architecture("digits", (2, 34, 34), (Dense(12),), Readout(), 10)
HALF = Corruption("drop", 0.5)


def darkened(data, corruption):
    """Frames in which the recordings with odd numbers hold no event: half of all, whatever is asked for."""
    counts = data.frames.dense()
    counts[1::2] = 0
    return replace(data, frames=Frames.from_dense(counts), data_hash=f"{corruption}")


def test_the_loss_is_that_of_paired_differences_by_hand():
    right = np.array([True, True, False, False])
    both = _paired(right, np.array([False, True, False, True]))
    assert both["value"] == 0 and both["low"] == -both["high"]
    loss = _paired(right, np.array([False, True, False, False]))
    assert (loss["low"], loss["high"]) == paired_interval(1, 0, 4) and loss["value"] == 0.25
    # Identical answers: z^2 / (n + z^2) to both sides.
    side = 1.96**2 / (4 + 1.96**2)
    assert _paired(right, right) == pytest.approx({"value": 0, "low": -side, "high": side})


def test_a_record_holds_what_its_parts_say():
    checkpoint, clean = checkpoint_of(seed=2), labelled()
    shown = []
    records = grid(
        checkpoint, clean, lambda c: darkened(clean, c), (HALF, Corruption("noise", 1)), PROFILES,
        progress=lambda *numbers: shown.append(numbers),
    )  # fmt: skip
    assert shown == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [(r["corruption"], r["kind"], r["level"], r["unit"]) for r in records] == [
        ("clean", None, None, None), ("drop:0.5", "drop", 0.5, ""), ("noise:1Hz", "noise", 1, "Hz"),
    ]  # fmt: skip
    for record, data in zip(records, (clean, darkened(clean, HALF))):
        floats = evaluate(checkpoint, data)
        assert record["recordings"] == 40 and record["data_hash"] == data.data_hash
        assert record["events"] == data.frames.dense().astype(int).sum() / 40
        for label, expected in (("surrogate", floats.surrogate), ("hard", floats.hard)):
            assert record[label]["value"] == expected and record[label]["total"] == 40
            interval = record[label]["low"], record[label]["high"]
            assert interval == wilson_interval(record[label]["correct"], 40)
        assert set(record["programs"]) == set(PROFILES)
        for profile in PROFILES:
            program = compile(checkpoint, load_profile(profile)).program
            result = engine.run(program, data.frames, engine="reference")
            answer = record["programs"][profile]
            assert answer["correct"] == (result.predicted == data.labels).sum()
            assert answer["ksynops"] == pytest.approx(result.synops.sum() / 40_000, rel=1e-12)
    assert records[0]["surrogate"]["value"] != records[0]["hard"]["value"] != records[1]["hard"]["value"]
    for worse in records[1:]:
        for label in ("surrogate", "hard"):
            lost = records[0][label]["value"] - worse[label]["value"]
            assert worse[label]["loss"]["value"] == pytest.approx(lost)
        for profile in PROFILES:
            lost = records[0]["programs"][profile]["value"] - worse["programs"][profile]["value"]
            assert worse["programs"][profile]["loss"]["value"] == pytest.approx(lost)
    assert records[0]["hard"]["loss"] == {"value": 0, "low": 0, "high": 0}
    assert json.loads(json.dumps(records, allow_nan=False)) == records


def test_the_numbers_do_not_depend_on_threads():
    checkpoint, clean = checkpoint_of(), labelled()
    runs = [
        grid(checkpoint, clean, lambda c: darkened(clean, c), (HALF,), PROFILES, threads=threads)
        for threads in (1, 2)
    ]
    assert runs[0] == runs[1]


def test_threads_are_checked_first_and_too_many_are_told_once(monkeypatch):
    monkeypatch.setattr(engine, "usable_cores", lambda: 1)
    checkpoint, clean, remarks = checkpoint_of(), labelled(), []
    grid(checkpoint, clean, lambda c: darkened(clean, c), (HALF,), PROFILES, threads=9, say=remarks.append)
    assert remarks == ["threads 9: 1 used, one for each usable core; the result is the same."]
    with pytest.raises(InputError, match=r"^threads 0: must be at least 1\."):
        grid(checkpoint, clean, lambda c: clean, (), ("unknown profile",), threads=0)


def test_no_recording_no_profile_and_no_fit_are_refused():
    checkpoint, clean = checkpoint_of(), labelled()
    with pytest.raises(InputError) as caught:
        grid(checkpoint, clean.select(slice(0, 0)), lambda c: clean, (HALF,))
    assert str(caught.value) == "robustness: there is no recording to corrupt. Choose a split that has some."
    with pytest.raises(InputError, match=r"profile 'loihi_int9': unknown\. Did you mean 'loihi_int8'"):
        grid(checkpoint, clean, lambda c: clean, (), ("loihi_int9",))
    own_largest = replace(
        checkpoint, preprocessing=replace(checkpoint.preprocessing, normalisation="sample_max")
    )
    with pytest.raises(CompileError, match="normalisation 'sample_max' divides by"):
        grid(own_largest, clean, lambda c: clean, (), ("loihi_int8",))
    # the float network alone has nothing against it, even where a recording holds no event at all
    assert len(grid(own_largest, clean, lambda c: darkened(clean, c), (HALF,))) == 2


def test_the_default_covers_every_kind_and_the_papers_drops():
    assert {corruption.kind for corruption in DEFAULT} == set(KINDS)
    assert [c.level for c in DEFAULT if c.kind == "drop"] == [0.1, 0.2, 0.3, 0.4]
    assert len(set(DEFAULT)) == len(DEFAULT) and all(corruption.level > 0 for corruption in DEFAULT)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with 40 simulated test recordings and an untrained network for them, whose seed is 5."""
    folder = tmp_path_factory.mktemp("robust")
    make_nmnist_sim(folder / "data", train=40, test=40, seed=1, processes=1)
    checkpoint = checkpoint_of(
        DIGITS,
        time_bins=10,
        training={"method": "baseline", "rho": 0.0, "seed": 5, "epochs": 1, "selected": {"epoch": 0}},
    )
    save_checkpoint(folder / "ckpt.pt", checkpoint)
    return folder, checkpoint


def test_sweeps_get_the_same_records_from_files(here):
    folder, checkpoint = here
    records = robustness(
        checkpoint, folder / "data", profiles=("loihi_int8",), limit=20, corruptions=(HALF,), seed=7
    )
    clean = load_dataset("nmnist-sim", "test", root=folder / "data", limit=20, seed=5)

    def corrupt(corruption):
        return corrupted_frames(clean, "nmnist-sim", "test", corruption, root=folder / "data", seed=7)

    assert records == grid(checkpoint, clean, corrupt, (HALF,), ("loihi_int8",))
    other = robustness(checkpoint, folder / "data", limit=20, corruptions=(HALF,), seed=8)
    assert other[0]["data_hash"] == records[0]["data_hash"]
    assert other[1]["data_hash"] != records[1]["data_hash"] and other[1]["events"] != records[1]["events"]


def test_validation_recordings_are_those_that_were_held_out_in_training(here):
    folder, checkpoint = here
    seen = []

    def spy(checkpoint, clean, corrupt, *rest, **options):
        seen.append(clean.names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sastdeploy.analysis.robustness.grid", spy)
        robustness(checkpoint, folder / "data", split="validation", seed=9)
    assert seen == [load_dataset("nmnist-sim", "validation", root=folder / "data", seed=5).names]


def call(line, capsys):
    with pytest.raises(SystemExit) as stop:
        main_module.main(line.split())
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_the_command_prints_tables_and_draws(here, capsys, monkeypatch):
    folder, checkpoint = here
    monkeypatch.chdir(folder)
    code, out, err = call(
        "robustness ckpt.pt --data data --profile loihi_int8 --corruption drop:0.5 --corruption jitter:2ms "
        "--corruption drop:0.2 --corruption drop:0.50 --figures fig",
        capsys,
    )
    assert code == 0 and "Traceback" not in err
    assert "wrote fig/robustness_drop.png\nwrote fig/robustness_jitter.png\n" in err
    assert sorted(path.name for path in (folder / "fig").iterdir()) == ["robustness_drop.png", "robustness_jitter.png"]  # fmt: skip
    assert (
        "ckpt.pt on 40 test simulated recordings of nmnist-sim, corrupted: accuracy and its 95 % interval"
        in out
    )
    assert "points lost against clean, with the 95 % interval of the paired differences" in out
    firsts = [line.split()[0] for line in out.splitlines() if line.split()]
    assert [word for word in firsts if ":" in word or word == "clean"] == [
        "clean", "drop:0.5", "jitter:2ms", "drop:0.2", "drop:0.5", "jitter:2ms", "drop:0.2",
    ]  # fmt: skip
    records = robustness(checkpoint, folder / "data", profiles=("loihi_int8",), corruptions=())
    hard = records[0]["hard"]
    assert f"{100 * hard['value']:.2f} ({100 * hard['low']:.2f} to {100 * hard['high']:.2f})" in out
    assert f" {records[0]['programs']['loihi_int8']['ksynops']:,.1f} " in out


def test_the_command_prints_json_that_equals_the_library(here, capsys, monkeypatch):
    folder, checkpoint = here
    monkeypatch.chdir(folder)
    code, out, _ = call(
        "robustness ckpt.pt --data data --corruption drop:0.5 --seed 2 --limit 30 --json", capsys
    )
    answer = json.loads(out)
    assert code == 0 and answer["schema"] == "sastdeploy.robustness/1"
    assert (answer["dataset"], answer["split"], answer["simulated"]) == ("nmnist-sim", "test", True)
    assert (answer["seed"], answer["limit"]) == (2, 30)
    assert answer["records"] == robustness(checkpoint, folder / "data", limit=30, corruptions=(HALF,), seed=2)
    assert not (folder / "robustness_drop.png").exists()


@pytest.mark.parametrize(("options", "code", "message"), [
    ("ckpt.pt --corruption drip:0.3", 3, "Error: corruption 'drip:0.3': kind 'drip' is unknown. Did you mean 'drop'? Allowed: drop, hot_pixels, jitter, noise, flip.\n"),
    ("none.pt", 3, "Error: none.pt: cannot be read (No such file or directory).\n"),
    ("ckpt.pt --dataset dvsgesture", 3, "Error: ckpt.pt: was trained on nmnist-sim (sensor (34, 34, 2), 10 classes) and does not fit dvsgesture ((128, 128, 2), 11).\n"),
    ("ckpt.pt --profile loihi_int9", 3, "Error: profile 'loihi_int9': unknown. Did you mean 'loihi_int8'? Built in: aggressive_int4, cortex_m, ecp5_25, ice40_up5k, loihi1, loihi2, loihi_int8, speck, spinnaker2, xylo_a2, xylo_a3, xylo_imu; or name a YAML file ('sastdeploy profiles new' writes one to start from).\n"),
    ("ckpt.pt --limit 0", 3, "Error: limit 0: must be at least 1.\n"),
    ("ckpt.pt --corruption hot_pixels:2000", 3, "Error: corruption 'hot_pixels:2000': the sensor has 1,156 pixels.\n"),
    ("ckpt.pt --figures ckpt.pt", 2, "Error: Invalid value for '--figures': Directory 'ckpt.pt' is a file.\n"),
    ("ckpt.pt --split train", 2, "Error: Invalid value for '--split': 'train' is not one of 'validation', 'test'.\n"),
    ("ckpt.pt --seed -1", 2, "Error: Invalid value for '--seed': -1 is not in the range x>=0.\n"),
])  # fmt: skip
def test_the_command_refuses(here, capsys, monkeypatch, options, code, message):
    monkeypatch.chdir(here[0])
    status, out, err = call(f"robustness {options} --data data", capsys)
    assert (status, out) == (code, "") and err.endswith(message)


def test_a_figure_begins_at_clean_and_ascends(tmp_path, monkeypatch):
    def answer(value):
        return {"value": value, "low": value - 0.1, "high": value + 0.1}

    def record(kind, level, value):
        return {"kind": kind, "level": level, "surrogate": answer(value), "hard": answer(value / 2),
                "programs": {"chip": answer(value / 4)}}  # fmt: skip

    drawn = []
    monkeypatch.setattr(
        "sastdeploy.report.robustness_figures.accuracy_lines", lambda *parts: drawn.append(parts)
    )
    records = [record(None, None, 0.8), record("drop", 0.4, 0.2), record("jitter", 2.0, 0.7),
               record("drop", 0.1, 0.6), record("drop", 0.0, 0.8)]  # fmt: skip
    paths = draw(records, tmp_path, "net")
    assert [path.name for path in paths] == ["robustness_drop.png", "robustness_jitter.png"]
    (lines, path, title, level), (jittered, _, _, in_ms) = drawn
    assert [line.name for line in lines] == ["surrogate", "hard", "chip"] and path == paths[0]
    assert (lines[0].levels, lines[0].accuracy) == ((0.0, 0.1, 0.4), (0.8, 0.6, 0.2))
    assert lines[2].accuracy == (0.2, 0.15, 0.05) and lines[1].low == pytest.approx((0.3, 0.2, 0.0))
    assert lines[1].high == pytest.approx((0.5, 0.4, 0.2)) and jittered[0].levels == (0.0, 2.0)
    assert (title, level) == ("net, corrupted", "probability that an event is lost")
    assert in_ms == "standard deviation of the events' times (ms)"
