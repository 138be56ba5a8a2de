"""Files that earlier versions wrote are read, mean the same, and are gone on with."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from sastdeploy.compiler.compile import compile
from sastdeploy.networks.architecture import AvgPool, Conv, Dense
from sastdeploy.networks.checkpoint import checkpoint_hash, load_checkpoint
from sastdeploy.training.settings import TrainingSettings
from tests.small_networks import POOL, checkpoint_of
from tests.small_trainings import fit

FIXTURES = Path(__file__).parent / "fixtures"
HASHES = {
    "dense.pt": "ea89bc337c873ccafae67cae450a051139c2909d3d42b6419b8132fbfcf759b3",
    "pool.pt": "c5cc452f1035d99ba7154039d6e1d25c8620b9206c38271db523814316be4dde",
}


@pytest.mark.parametrize("name", HASHES)
def test_a_checkpoint_is_read_and_compiled_and_keeps_its_hash(name):
    checkpoint = load_checkpoint(FIXTURES / name)
    assert checkpoint_hash(checkpoint) == HASHES[name]
    compile(checkpoint, "loihi_int8")


def test_a_checkpoint_means_the_same_network():
    pool = load_checkpoint(FIXTURES / "pool.pt")
    assert pool.architecture == POOL
    assert pool.architecture.layers == (Conv(3, 3, 1, 1), AvgPool(2), Dense(6))
    for name, value in checkpoint_of(POOL).parameters.items():
        assert (pool.parameters[name] == value).all()


def test_default_settings_are_written_as_ever():
    training = load_checkpoint(FIXTURES / "dense.pt").training
    settings = TrainingSettings(epochs=3, batch_size=8)
    assert settings.to_dict() == {key: value for key, value in training.items() if key != "selected"}
    assert TrainingSettings(**settings.to_dict()) == settings and settings.forward == "surrogate"
    assert TrainingSettings(forward="hard").to_dict()["forward"] == "hard"


def test_an_interrupted_run_of_an_earlier_version_is_gone_on_with(tmp_path):
    shutil.copy(FIXTURES / "dense.pt.state", tmp_path / "dense.pt.state")
    epochs = []
    resumed = fit(
        tmp_path / "dense.pt", TrainingSettings(epochs=3, batch_size=8), dataset="nmnist-sim", resume=True,
        report=lambda record: epochs.append(record["epoch"]),
    )  # fmt: skip
    assert epochs == [2]
    before = load_checkpoint(FIXTURES / "dense.pt")
    assert resumed.training["selected"]["epoch"] == before.training["selected"]["epoch"]
    assert all((resumed.parameters[name] == value).all() for name, value in before.parameters.items())


def test_the_command_line_takes_the_earlier_word_for_surrogate():
    from sastdeploy.cli.train_command import command

    (forward,) = (option for option in command.params if option.name == "forward")
    assert forward.metavar == "[surrogate|hard]" and forward.default == "surrogate"
    with command.make_context("train", ["--dataset", "nmnist-sim", "--forward", "smooth"]) as context:
        assert TrainingSettings(forward=context.params["forward"]) == TrainingSettings()
    refused = CliRunner().invoke(command, ["--dataset", "nmnist-sim", "--forward", "soft"])
    assert refused.exit_code == 2 and "'soft' is not one of 'surrogate', 'hard', 'smooth'." in refused.output
