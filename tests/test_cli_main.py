"""The top command: help without weight, exit codes, wrong words."""

import subprocess
import sys

import click
import pytest

from sastdeploy import errors
from sastdeploy.cli import main as main_module
from sastdeploy.cli.main import COMMANDS, cli


def run(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main_module.main(arguments)
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_help_lists_every_command(capsys):
    code, out, _ = run(["--help"], capsys)
    assert code == 0
    for name, (_, summary) in COMMANDS.items():
        assert f"  {name} " in out and summary in " ".join(out.split())


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from sastdeploy.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch','numba','numpy','onnx','onnxruntime','matplotlib','pydantic','rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_every_option_explained(name, capsys):
    code, out, _ = run([name, "--help"], capsys)
    assert code == 0 and "Usage: sastdeploy" in out
    command = cli.get_command(click.Context(cli), name)
    leaves = command.commands.values() if isinstance(command, click.Group) else [command]
    for leaf in leaves:
        silent = [p.name for p in leaf.params if isinstance(p, click.Option) and not p.help]
        assert not silent, f"{name} {leaf.name}: options without help: {silent}"
        assert leaf.help, f"{name} {leaf.name}: no help"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_imports_neither_torch_nor_numba(name):
    program = (
        f"import sys; from sastdeploy.cli.main import main\n"
        f"try: main(['{name}', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch','numba','onnx','onnxruntime','matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_misspelt_command_is_a_usage_error_with_a_suggestion(capsys):
    code, out, err = run(["simulat"], capsys)
    assert (code, out) == (2, "")
    assert "No such command 'simulat'. Did you mean 'simulate'?" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SastdeployError, 1),
        (errors.InputError, 3),
        (errors.CompileError, 4),
        (errors.SimulationError, 5),
    ],
)
def test_errors_become_exit_codes_in_one_place(monkeypatch, capsys, error, code):
    def fail(**_):
        raise error("where: what. Allowed: this. Do that.")

    monkeypatch.setattr(cli, "main", fail)
    assert run([], capsys) == (code, "", "Error: where: what. Allowed: this. Do that.\n")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("train --dataset nmnist-sim", "The same command with --resume goes on from the last whole epoch."),
        ("train --dataset nmnist-sim --resume", "The same command goes on."),
        ("quickstart", "The same command goes on."),
        ("data make nmnist-sim", "The same command goes on."),
        ("sweep run table1.yaml", "The same command goes on."),
        ("simulate net.onnx", "The same command starts anew."),
    ],
)
def test_an_interruption_exits_with_130_and_says_how_to_go_on(monkeypatch, capsys, words, advice):
    def stop(**_):
        raise click.exceptions.Abort

    monkeypatch.setattr(cli, "main", stop)
    assert run(words.split(), capsys) == (130, "", f"Interrupted. {advice}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--quantize-bits 9", "--quantize-bits 9: must be 2 to 8, or 0 for none."),
        ("--quantize-bits 4", "--quantize-bits 4 with --quantize-epochs 0: give both or neither."),
        ("--lr -1", "--lr -1.0: outside 1e-12 to 1000."),
        ("--batch-size 0", "--batch-size 0: outside 1 to 1,000,000."),
        ("--weight-decay -.5", "--weight-decay -0.5: outside 0 to 1e+06."),
        ("--epochs 0", "--epochs 0: outside 1 to 1,000,000."),
        ("--clip 500", "--clip 500: outside 1 to 127. Choose a clip within that range."),
        (
            "--divisor 1e300",
            "--divisor 1e+300: at most 1e+12 is allowed, or no frame value would reach any threshold.",
        ),
        ("--binning events --events-per-bin 0", "--events-per-bin 0: outside 1 to 10,000,000."),
    ],
)
def test_a_wrong_setting_is_named_as_the_option_before_recordings_are_read(here, capsys, words, message):
    assert run(["train", "--dataset", "nmnist-sim", *words.split()], capsys) == (3, "", f"Error: {message}\n")


def test_a_bug_of_ours_is_a_traceback_not_a_message(monkeypatch):
    def fail(**_):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "main", fail)
    with pytest.raises(ZeroDivisionError):
        main_module.main([])


def test_version(capsys):
    code, out, _ = run(["--version"], capsys)
    assert code == 0 and out.startswith("sastdeploy, version ")


def test_a_message_with_text_that_is_no_unicode_can_be_printed():
    assert str(errors.InputError("key '\ud800': unknown")) == "key '\\ud800': unknown"
