"""The simulate command: which program, which data, what it prints, how it refuses."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sastdeploy.cli.options import load_data_for_program
from sastdeploy.errors import InputError
from sastdeploy.program.file import load_program, save_program
from sastdeploy.program.records import NOT_STATED
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.recordings.splits import load_dataset
from sastdeploy.simulator import engine
from sastdeploy.simulator.simulate import choose_program, simulate_dataset
from tests.digits import beside_program, digits_program, recording_of, simulate, small_digits


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return small_digits(tmp_path_factory.mktemp("data"))


@pytest.fixture
def here(tmp_path, monkeypatch, root):
    return beside_program(tmp_path, monkeypatch, root)


def test_json_is_one_object_with_every_figure(here, capsys):
    code, out, err = simulate(capsys, "--dataset", "nmnist-sim", "--json", "--threads", "2")
    assert code == 0, err
    summary = json.loads(out)
    assert summary["schema"] == "sastdeploy.simulation/1"
    assert summary["recordings"] == 30
    assert np.sum(summary["confusion"]) == 30
    assert summary["provenance"]["threads"] == 2
    assert len(summary["provenance"]["program_hash"]) == 64
    assert "program: net.onnx, the only one here that fits" in err


def test_engines_agree_on_the_data_set(here, capsys):
    summaries = []
    for name in engine.ENGINES:
        code, out, err = simulate(capsys, "net.onnx", "--engine", name, "--limit", "10", "--json")
        assert code == 0, err
        summary = json.loads(out)
        assert summary["provenance"].pop("engine") == name
        summary["provenance"].pop("threads")
        summary.pop("speed")
        summaries.append(summary)
    assert summaries[0] == summaries[1] == summaries[2]
    assert summaries[0]["ksynops"]["all"]["mean"] > 0


def test_tables_show_the_same_numbers(here, capsys):
    _, out, _ = simulate(capsys, "net.onnx", "--json")
    summary = json.loads(out)
    code, out, _ = simulate(capsys, "net.onnx")
    assert code == 0
    assert f"{summary['accuracy']['correct']} of 30" in out
    total = summary["ksynops"]["all"]
    assert f"{total['mean']:,.2f} / {total['maximum']:,.0f}" in out
    for word in ("accuracy", "silent", "always firing", "true \\ predicted", "recordings per second"):
        assert word in out


def test_the_one_program_that_fits_is_taken(here, capsys):
    save_program("gestures.onnx", digits_program(1, "dvsgesture-sim", (2, 48, 48), 11))
    Path("junk.onnx").write_bytes(b"no model")
    code, _, err = simulate(capsys, "--dataset", "nmnist-sim", "--limit", "2", "--json")
    assert code == 0
    assert "program: net.onnx, the only one here that fits" in err
    assert "passed over junk.onnx" in err


def test_of_several_programs_that_fit_none_is_guessed(here, capsys):
    save_program("newer.onnx", digits_program(2))
    code, out, err = simulate(capsys, "--dataset", "nmnist-sim")
    assert (code, out) == (3, "")
    assert err == (
        f"Error: {Path.cwd()}: more than one compiled program that fits nmnist-sim: net.onnx, newer.onnx. "
        "Name one (sastdeploy simulate PROGRAM ...).\n"
    )


def test_half_written_files_and_editors_marks_are_no_programs(here, capsys):
    shutil.copy("net.onnx", ".net.onnx.x1y2.onnx")
    os.symlink("nowhere", ".#net.onnx")
    os.symlink("nowhere", "gone.onnx")
    messages = []
    assert choose_program(here, "nmnist-sim", say=messages.append) == here / "net.onnx" and messages == []


@pytest.mark.parametrize(
    ("training", "seed"), [({"seed": 3}, 3), ({"seed": -1}, 0), ({"seed": True}, 0), ([], 0), (None, 0)]
)
def test_recordings_are_drawn_as_evaluate_draws_them(here, root, training, seed):
    program = replace(digits_program(), provenance={} if training is None else {"training": training})
    for split, limit in (("test", 12), ("validation", None)):
        expected, others = (
            load_dataset("nmnist-sim", split, root=root, limit=limit, seed=s) for s in (seed, seed + 1)
        )
        taken = simulate_dataset(program, "nmnist-sim", split=split, limit=limit, root=root).labelled
        assert taken.names == expected.names != others.names


def test_no_program_says_how_to_make_one(here, capsys):
    Path("net.onnx").unlink()
    code, out, err = simulate(capsys, "--dataset", "nmnist-sim")
    assert (code, out) == (3, "")
    assert err == (
        f"Error: {Path.cwd()}: no compiled program that fits nmnist-sim. Name one (sastdeploy simulate PROGRAM ...), "
        "or make one: 'sastdeploy train --dataset nmnist-sim --out ckpt.pt', "
        "then 'sastdeploy compile ckpt.pt --profile loihi_int8'.\n"
    )


def test_programs_for_other_data_are_named(here):
    with pytest.raises(
        InputError, match=r"that fits dvsgesture-sim \(net\.onnx: for other data\)\. Name one"
    ):
        choose_program(here, "dvsgesture-sim")
    with pytest.raises(InputError, match=r"that fits the recording \(net\.onnx: for other data\)"):
        choose_program(here, None, (128, 128, 2))


def test_a_program_of_other_frames_is_refused(here, capsys):
    code, _, err = simulate(capsys, "net.onnx", "--dataset", "dvsgesture-sim")
    assert code == 3
    assert err == (
        "Error: program tiny.test: takes 34x34x2 sensors in 34x34 frames and 10 classes, but dvsgesture-sim has "
        "128x128x2 sensors in 48x48 frames and 11 classes. Use a program compiled for dvsgesture-sim, "
        "or --dataset nmnist-sim.\n"
    )


def test_a_program_that_states_no_recordings_wants_a_data_set(here, capsys):
    save_program("own.onnx", replace(load_program("net.onnx"), dataset=NOT_STATED))
    code, out, err = simulate(capsys, "own.onnx")
    assert (code, out) == (2, "")
    assert (
        "own.onnx does not state its recordings. Name a data set with --dataset, or an event file with --recording."
        in err
    )
    code, _, err = simulate(capsys, "own.onnx", "--dataset", "dvsgesture-sim")
    assert code == 3 and err.endswith("Use a program compiled for dvsgesture-sim.\n")
    code, _, err = simulate(capsys, "own.onnx", "--dataset", "nmnist-sim")
    assert code == 0 and NOT_STATED not in err


def test_a_missing_data_set_is_exit_3_with_three_ways(here, capsys, tmp_path):
    code, out, err = simulate(capsys, "net.onnx", "--data", str(tmp_path / "nothing"))
    assert (code, out) == (3, "")
    assert "Three ways to get it: (1)" in err


def test_simulated_training_on_the_real_set_is_said(here, capsys, root, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "nmnist").symlink_to(root / "nmnist-sim")
    code, _, err = simulate(
        capsys, "net.onnx", "--dataset", "nmnist", "--data", "d", "--json", "--limit", "2"
    )
    assert code == 0, err
    assert (
        "trained on the simulated recordings of nmnist-sim, simulated on the real recordings of nmnist" in err
    )
    assert "these files were made by the simulator, they are not the real nmnist" in err


def test_one_recording_gives_its_class(here, capsys, root):
    code, out, err = simulate(capsys, "--recording", str(recording_of(root)), "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["schema"] == "sastdeploy.recording/1"
    best = max(answer["scores"].values())
    assert answer["predicted"] == next(name for name, score in answer["scores"].items() if score == best)
    assert set(answer["spikes"]) == {"fc1", "fc2"}
    assert answer["synops"]["total"] == sum(answer["synops"]["sources"].values()) > 0
    code, out, _ = simulate(capsys, "net.onnx", "--recording", str(recording_of(root)))
    assert code == 0
    assert f"{recording_of(root)}: {answer['predicted']} ({answer['events']:,} events" in out


def test_recordings_refuse_data_set_options(here, capsys):
    code, _, err = simulate(capsys, "net.onnx", "--recording", "a.bin", "--limit", "3")
    assert code == 2
    assert "--limit and --skip-bad choose recordings of a data set" in err


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "gone.bin: cannot be read (No such file or directory)"), (b"123", "gone.bin")],
)
def test_a_bad_recording_is_exit_3(here, capsys, content, text):
    if content:
        Path("gone.bin").write_bytes(content)
    code, out, err = simulate(capsys, "net.onnx", "--recording", "gone.bin", "--json")
    assert (code, out) == (3, "")
    assert text in err


def test_a_damaged_program_is_exit_3(here, capsys):
    Path("bad.onnx").write_bytes(Path("net.onnx").read_bytes()[:-40])
    code, out, err = simulate(capsys, "bad.onnx")
    assert (code, out) == (3, "")
    assert err.startswith("Error: bad.onnx: ")


def test_other_time_bins_come_from_the_program(here, capsys):
    program = digits_program()
    sensor = program.preprocessing
    fewer = replace(program, preprocessing=Preprocessing((34, 34, 2), (34, 34), 4, sensor.c_clip, 2.0))
    save_program("four.onnx", fewer)
    code, out, err = simulate(capsys, "four.onnx", "--limit", "3", "--json")
    assert code == 0, err
    most = json.loads(out)["ksynops"]["all"]["maximum"]
    assert most == (2312 * 12 + 12 * 8 + 8 * 10) * 4 / 1000


def test_every_command_draws_a_programs_recordings_with_its_trainings_seed(root):
    """What verify and export read of a data set is what simulate reads."""
    program = replace(digits_program(), provenance={"training": {"seed": 3}})
    name, drawn = load_data_for_program(program, "nmnist-sim", "test", str(root), 5)
    simulated = simulate_dataset(program, "nmnist-sim", split="test", root=root, limit=5)
    assert name == "nmnist-sim"
    assert drawn.names == simulated.labelled.names
    other = load_dataset("nmnist-sim", "test", root=root, limit=5, time_bins=drawn.frames.time_bins)
    assert other.names != drawn.names
