"""Arguments that no command takes, and a standard output that is full or gone: one message each."""

import os
import re
import subprocess
from pathlib import Path

import click
import pytest

from sastdeploy.cli import main as main_module
from sastdeploy.cli.options import window_option
from sastdeploy.errors import InputError
from sastdeploy.networks.checkpoint import save_checkpoint
from tests.command_line import run
from tests.experiment_files import SWEEP
from tests.small_networks import checkpoint_of


@pytest.mark.parametrize(
    "line",
    [
        ("data", "show", "{}"), ("data", "show", "r.bin", "--out", "{}"), ("data", "list", "--data", "{}"),
        ("train", "--out", "{}"), ("evaluate", "{}"), ("inspect", "{}"), ("analyse", "x.pt", "--figures", "{}"),
        ("compile", "x.pt", "--out", "{}"), ("compile", "x.pt", "--dump-passes", "{}"), ("profiles", "check", "{}"),
        ("simulate", "{}"), ("simulate", "x.onnx", "--recording", "{}"), ("simulate", "x.onnx", "--out", "{}"),
        ("sweep", "run", "{}"), ("sweep", "run", "e.yaml", "--work", "{}"), ("sweep", "report", "e.yaml", "--out", "{}"),
        ("quickstart", "--out", "{}"), ("robustness", "x.pt", "--figures", "{}"), ("data", "make", "nmnist-sim", "--images", "{}"),
        ("profiles", "new", "p", "--out", "{}"), ("import", "{}", "-o", "n.pt"), ("import", "n.nir", "-o", "{}"),
        ("import", "n.nir", "-o", "n.pt", "--check", "{}"), ("verify", "{}"), ("export", "{}", "--to", "c", "--out", "x"),
        ("export", "x.onnx", "--to", "c", "--out", "{}"), ("data", "describe", "{}"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_path_is_given_and_is_one_that_a_file_can_have(here, call, line):
    for path, words in (
        ("", "is empty. Give a value, or leave it out."),
        ("n" * 300, "has 300 characters, too long a name."),
        ("a\0b", "holds a NUL byte, which no name can."),
    ):
        code, out, err = call(*(word.format(path) for word in line))
        assert (code, out) == (2, "") and words in err and list(here.iterdir()) == []


@pytest.mark.parametrize("line", [("simulate", "x.onnx", "--trace", ""), ("evaluate", "x.pt", "--dataset", ""), ("inspect", "--arch", "")])  # fmt: skip
def test_an_empty_text_is_not_taken_for_none(call, line):
    code, out, err = call(*line)
    assert (code, out) == (2, "") and "is empty. Give a value, or leave it out." in err


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("compile x.pt --profile loihi_int8 --profile aggressive_int4", "--profile"),
        ("simulate x.onnx --recording a.bin --recording b.bin", "--recording"),
        ("sweep run e.yaml --work a --work=b", "--work"),
        ("train --dataset nmnist --dataset nmnist", "--dataset"),
        ("data show a.bin --unit us --unit ms", "--unit"),
        ("import x.nir -o a.pt --out b.pt", "--out"),
    ],
)
def test_an_option_that_holds_one_value_is_given_once(here, call, line, option):
    code, out, err = call(*line.split())
    assert (code, out) == (2, "") and err.endswith(
        f"Error: Option '{option}' is given 2 times. Give it once.\n"
    )
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("inspect x.pt --dataset nmnist", "--dataset and --time-bins are for --arch; a checkpoint has its own. Leave them out."),
        ("inspect x.pt --time-bins 10", "--dataset and --time-bins are for --arch; a checkpoint has its own. Leave them out."),
        ("simulate x.onnx --recording r.bin --split test", "--split, --limit and --skip-bad choose recordings of a data set; leave them out with --recording."),
        ("verify x.onnx --limit 3", "--split, --limit and --skip-bad choose recordings of a data set; name one with --dataset."),
        ("analyse x.pt --seed 0", "--seed is for --bounds; leave it out."),
        ("train --dataset nmnist-sim --seeds 0-3 --seed 1", "--seeds names every seed; leave out --seed."),
        ("train --dataset nmnist-sim --delta 1e-12", "--delta is for the methods sast, asam and random; leave it out."),
        ("data make nmnist-sim --lightings 3", "--performers, --lightings and --duration are for dvsgesture-sim; leave them out."),
        ("data make dvsgesture-sim --test 3", "--train, --test and --images are for nmnist-sim; leave them out."),
    ],
)  # fmt: skip
def test_an_option_without_effect_is_refused(here, call, line, message):
    code, out, err = call(*line.split())
    assert (code, out) == (2, "") and err.endswith(f"Error: {message}\n")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("line", [("inspect", "--arch"), ("profiles", "show"), ("compile", "x.pt", "--profile")], ids=" ".join)  # fmt: skip
def test_a_name_of_300_characters_that_may_be_a_file(here, call, line):
    save_checkpoint("x.pt", checkpoint_of())
    code, out, err = call(*line, "n" * 300 + ".yaml")
    assert (code, out) == (3, "") and "Traceback" not in err and "nnnn.yaml" in err


def test_control_characters_of_a_message_are_not_obeyed(call, monkeypatch):
    def fail(**_):
        raise InputError("\x1b[31mred\x07\r\ud800\u202e\nsecond line: é")

    monkeypatch.setattr(main_module.cli, "main", fail)
    assert call() == (3, "", "Error: \\x1b[31mred\\x07\\r\\ud800\\u202e\nsecond line: é\n")


@pytest.mark.parametrize(
    "line", [("profiles", "list"), ("profiles", "list", "--json"), ("--help",)], ids=" ".join
)
def test_a_full_standard_output_is_told(line):
    with open("/dev/full", "w") as full:
        done = run(*line, stdout=full)
    assert (done.returncode, done.stderr) == (3, "Error: standard output: No space left on device.\n")


def test_an_output_that_nobody_reads_ends_quietly():
    receiver, sender = os.pipe()
    os.close(receiver)
    with os.fdopen(sender, "w") as pipe:
        done = run("profiles", "list", "--json", stdout=pipe)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_name_that_is_no_text_is_printed_escaped(here):
    save_checkpoint("x.pt", checkpoint_of())
    os.rename("x.pt", b"\xff.pt")
    done = run("compile", os.fsdecode(b"\xff.pt"), stdout=subprocess.PIPE)
    assert done.returncode == 0 and r"Wrote \udcff.loihi_int8.onnx" in done.stdout, done.stderr


@pytest.mark.parametrize("option", ["--work", "--records"])
def test_a_file_in_place_of_a_folder_is_told(here, call, option):
    Path("e.yaml").write_text(SWEEP)
    Path("taken").write_text("x")
    for path in ("taken", "taken/below", "taken/far/below"):
        line = ("sweep", "run", "e.yaml", option, path)
        assert call(*line) == (3, "", f"Error: taken: is no folder. Name one with {option}.\n")


def test_a_folder_of_records_that_cannot_be_made_is_told_before_a_trial_runs(here, call, monkeypatch):
    monkeypatch.setattr("sastdeploy.experiments.runner.data_hash", lambda *_: "hash")
    Path("e.yaml").write_text(SWEEP)
    code, out, err = call("sweep", "run", "e.yaml", "--records", "/proc/x")
    assert (code, out) == (3, "") and re.fullmatch(
        r"Error: /proc/x/[0-9a-f]{16}\.json: cannot be written \(.*\)\. Choose a folder you may write to\.\n",
        err,
    )
    assert os.listdir() == ["e.yaml"]


@pytest.mark.parametrize(("value", "message"), [
    ("nan", "nan is not in the range"), ("5.0001", r"5\.0001 must be whole microseconds, so at most three decimals\."),
])  # fmt: skip
def test_a_window_that_is_no_number_or_cuts_a_microsecond_is_refused(value, message):
    """click's range lets nan through."""
    with pytest.raises(click.BadParameter, match=message):
        window_option("")(click.command()(lambda window: None)).main(
            ["--window", value], standalone_mode=False
        )
