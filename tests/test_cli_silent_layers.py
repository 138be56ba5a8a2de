"""Commands name the layers that never spike, and refuse settings that could only fail after hours."""

import pytest
from click.testing import CliRunner

from sastdeploy.cli import compile_command, evaluate_command, train_command
from sastdeploy.errors import InputError
from sastdeploy.networks.checkpoint import save_checkpoint
from tests.small_networks import DENSE, checkpoint_of, labelled

MESSAGE = (
    "WARNING: layers.0, layers.1: not one hard spike on any recording, so nothing of the input passes. Train longer, with "
    "--init alive, a larger --init-scale, a lower --threshold or a smaller --divisor.\n"
)


def test_evaluate_names_silent_layers(tmp_path, monkeypatch):
    silent = checkpoint_of()
    for name in ("layers.0", "layers.1"):
        silent.parameters[f"{name}.threshold"][:] = 1e6
    data = labelled()
    monkeypatch.setattr("sastdeploy.cli.options.load_data_for", lambda *arguments: ("nmnist-sim", data, True))
    for checkpoint, expected in ((silent, MESSAGE), (checkpoint_of(), "")):
        save_checkpoint(tmp_path / "a.pt", checkpoint, force=True)
        result = CliRunner().invoke(evaluate_command.command, [str(tmp_path / "a.pt")])
        assert (result.exit_code, result.stderr) == (0, expected)


def test_compile_names_silent_layers(tmp_path):
    training = checkpoint_of(DENSE).training
    training = {**training, "selected": {"epoch": 0, "silent_layers": ["layers.0", "layers.1"]}}
    save_checkpoint(tmp_path / "a.pt", checkpoint_of(DENSE, training=training))
    result = CliRunner().invoke(compile_command.command, [str(tmp_path / "a.pt")])
    assert result.exit_code == 0 and MESSAGE in result.stderr


@pytest.mark.parametrize(("options", "message"), [
    ("--threshold 1e-50", "threshold 1e-50: outside 1e-06 to 1e+06. The paper uses 1.0."),
    ("--threshold 1e39", "threshold 1e+39: outside 1e-06 to 1e+06. The paper uses 1.0."),
    ("--slope 1e308", "slope 1e+308: outside 0.001 to 1e+09. The paper uses 25."),
    ("--lr 1e300", "--lr 1e+300: outside 1e-12 to 1000."),
    ("--method sast --rho 1e308", "--rho 1e+308: outside 0 to 1e+06."),
    ("--init-scale 1e300", "--init-scale 1e+300: outside 1e-06 to 1e+06."),
])  # fmt: skip
def test_train_refuses_before_it_reads_a_recording(tmp_path, options, message):
    line = f"--dataset nmnist-sim --data {tmp_path}/nowhere --out {tmp_path}/a.pt {options}"
    result = CliRunner().invoke(train_command.command, line.split())
    assert isinstance(result.exception, InputError) and str(result.exception) == message
