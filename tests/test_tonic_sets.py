"""Data sets of tonic by name: kept once as a folder of recordings, then like any other; stand-ins for tonic's classes."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sastdeploy import InputError, load_dataset
from sastdeploy.cli.main import cli
from sastdeploy.recordings import tonic_sets
from sastdeploy.recordings.datasets import dataset
from tests.own_recordings import events


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SASTDEPLOY_DATA", str(tmp_path / "data"))


@pytest.fixture
def planted(monkeypatch):
    """Return what puts a data set of given samples among tonic's."""
    datasets = pytest.importorskip("tonic.datasets", reason="tonic is not installed")
    from tonic.dataset import Dataset

    def plant(samples, with_part=True, **facts):
        def take(self, save_to, train=True):
            Dataset.__init__(self, save_to)
            self.samples = samples(train)

        def take_all(self, save_to):
            take(self, save_to)

        methods = {
            "__init__": take if with_part else take_all,
            "__len__": lambda self: len(self.samples),
            "__getitem__": lambda self, n: self.samples[n],
        }
        monkeypatch.setattr(datasets, "Planted", type("Planted", (Dataset,), methods | facts), raising=False)

    return plant


def samples_of(train):
    first = 0 if train else 100
    return [(events((first, label, k)), label) for label in (0, 1) for k in range(4 if train else 2)]


def fetched(*words):
    return CliRunner().invoke(cli, ["data", "fetch", "tonic:Planted", *words], catch_exceptions=False)


def refusal(name="tonic:Planted"):
    with pytest.raises(InputError) as caught:
        tonic_sets.fetch_tonic(name, Path("data"))
    return str(caught.value)


def test_a_data_set_is_fetched_once_and_then_named(planted):
    planted(samples_of, sensor_size=(16, 12, 2), classes=["left: one", "right"])
    with pytest.raises(InputError) as caught:
        dataset("tonic:Planted")
    folder = Path("data").resolve() / "tonic/Planted"
    assert str(caught.value) == (
        f"data set 'tonic:Planted': is not at {folder}. Get it with 'sastdeploy data fetch tonic:Planted'."
    )
    assert fetched().stdout == (
        f"{folder}: holds the recordings of tonic:Planted. Name it with --dataset tonic:Planted.\n"
    )
    facts = dataset("tonic:Planted")
    assert (facts.name, facts.title, facts.form) == ("tonic:Planted", "tonic Planted", "own")
    assert (facts.sensor_size, facts.classes, facts.recordings) == (
        (16, 12, 2),
        ("left: one", "right"),
        (8, 4),
    )
    assert facts.parts == ("train", "test") and facts.own.guessed == ()
    test = load_dataset("tonic:Planted", "test")
    assert (test.dataset, test.labels.tolist()) == ("tonic:Planted", [0, 0, 1, 1])
    assert np.array_equal(np.load(folder / "test/000003.npy"), events((100, 1, 1)))
    planted(lambda train: [])  # not asked again
    assert fetched().exit_code == 0
    assert CliRunner().invoke(cli, ["data", "check", "tonic:Planted"], catch_exceptions=False).exit_code == 0


def test_a_set_without_parts_without_rows_and_without_names_is_drawn(planted):
    def audio(train):
        return [(events((k,))[["x", "t", "p"]], k % 2) for k in range(12)]

    planted(audio, with_part=False, sensor_size=(700, 1, 1))
    output = fetched("--data", "elsewhere").stdout
    assert output == "elsewhere/tonic/Planted: holds the recordings of tonic:Planted. Name it with --dataset elsewhere/tonic/Planted.\n"  # fmt: skip
    facts = dataset("elsewhere/tonic/Planted")
    assert (facts.sensor_size, facts.classes, facts.parts) == ((700, 1, 1), ("0", "1"), ("train", "validation", "test"))  # fmt: skip


def test_what_is_no_data_set_of_classes_is_refused_and_leaves_nothing(planted):
    planted(lambda train: [(events(1), np.zeros(3))])
    assert refusal() == (
        "tonic:Planted: train sample 0: is not events with one class (ndarray, ndarray). Only data sets of classified events are read."
    )
    planted(lambda train: [(events(1)["x"], 0)])
    assert "is not events with one class (ndarray, int)" in refusal()
    planted(lambda train: [])
    assert refusal() == "tonic:Planted: holds 0 samples; 1 to 200,000 are allowed."

    def offline(train):
        raise OSError("no route to host")

    planted(offline)
    assert refusal() == (
        "tonic:Planted: is no valid data set of tonic (no route to host). Check the connection and the room on the disk, and repeat "
        "the command."
    )
    assert not Path("data/tonic/Planted").exists()


def test_unknown_names_are_refused(planted):
    assert refusal("tonic:NMNISTT").startswith("data set 'tonic:NMNISTT': tonic has none of that name. Did you mean 'NMNIST'? It has: ASLDVS, CIFAR10DVS, ")  # fmt: skip
    assert refusal("tonic:../x") == (
        "data set 'tonic:../x': expected tonic: and the name of a data set, as in tonic:NMNIST."
    )


def test_without_tonic_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tonic", None)
    assert refusal("tonic:NMNIST") == (
        "data set 'tonic:NMNIST': tonic is not installed. Install it: pip install 'sastdeploy[tonic]'."
    )
