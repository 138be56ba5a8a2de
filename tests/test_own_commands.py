"""One's own data set on the command line: described, shown, trained on, compiled and simulated."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from sastdeploy.experiments.spec import load_experiment
from sastdeploy.networks.checkpoint import load_checkpoint, save_checkpoint
from sastdeploy.program.file import load_program
from sastdeploy.recordings.splits import data_hash
from tests.command_line import cli
from tests.own_recordings import SHAPES, class_folders, events, shape_folders

pytestmark = pytest.mark.usefixtures("here")


def test_describe_says_what_is_there_and_writes_it_once(capsys):
    class_folders(Path("mine"), count=10)
    Path("mine/README.md").write_text("mine")
    code, out, _ = cli(capsys, "data", "describe", "mine", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["schema"] == "sastdeploy.own_dataset/1" and facts["written"] is None
    left = facts["classes"]["left"]
    assert (left["train"], left["validation"], left["test"], left["events"]) == (7, 1, 2, 400)
    assert (
        0.3 < left["share_on"] < 0.7
        and left["seconds"]["most"] <= 0.05
        and left["events_per_ms"]["median"] > 0.5
    )
    assert facts["left_out"] == ["README.md: lies beside the class folders"] and facts["largest_pixel"] == [
        11,
        9,
    ]
    assert not Path("mine/dataset.yaml").exists()
    assert cli(capsys, "data", "describe", "mine", "--write")[0] == 0
    assert cli(capsys, "data", "describe", "mine", "--write")[0] == 0
    first = Path("mine/dataset.yaml").read_text()
    assert json.loads(cli(capsys, "data", "describe", "mine", "--json")[1])["guessed"] == []
    Path("mine/dataset.yaml").write_text("name: other")
    code, _, err = cli(capsys, "data", "describe", "mine", "--write")
    assert code == 3 and "mine/dataset.yaml: exists, and is not what would be written now." in err
    assert cli(capsys, "data", "describe", "mine", "--write", "--force")[0] == 0
    assert Path("mine/dataset.yaml").read_text() == first.replace('"mine"', '"other"')


def test_describe_wants_a_folder(capsys):
    code, _, err = cli(capsys, "data", "describe", "none")
    assert code == 3 and "data set './none': there is no such folder." in err
    Path("file").write_text("x")
    assert "data set './file': is no folder." in cli(capsys, "data", "describe", "file")[2]


def test_one_recording_is_shown_as_its_data_set_reads_it(capsys):
    for n, name in enumerate("ab"):
        for k in range(4):
            made = events((n, k), size=(200, 150))
            Path("mine", name).mkdir(parents=True, exist_ok=True)
            np.savetxt(Path("mine", name, f"{k}.txt"), np.stack([made[f] for f in "ptxy"], 1), "%d")
    Path("mine/dataset.yaml").write_text("columns: ptxy\nunit: us\nsensor_size: [200, 150]\n")
    code, out, err = cli(capsys, "data", "show", "mine/a/0.txt", "--dataset", "mine", "--json")
    assert code == 0, err
    assert json.loads(out)["events"] == 40 and json.loads(out)["unit"] == "us"
    assert cli(capsys, "data", "show", "mine/a/0.txt")[0] == 3


def test_a_sweep_takes_a_folder_beside_its_file():
    class_folders(Path("sweep/mine"))
    Path("sweep/net.yaml").write_text("name: net\nlayers: [{kind: dense, neurons: 4}]\n")
    text = "name: small\ntitle: Small\ndataset: mine\nseeds: [0]\nfixed: {arch: net.yaml}\ngrid: [{method: baseline}]\n"
    Path("sweep/e.yaml").write_text(text)
    (trial,) = load_experiment("sweep/e.yaml").trials
    assert trial.dataset == "sweep/mine"
    address = trial.address(data_hash(trial.dataset))
    shutil.move("sweep", "other")
    (moved,) = load_experiment("other/e.yaml").trials
    assert moved.dataset == "other/mine" and moved.address(data_hash(moved.dataset)) == address
    os.chdir("other")
    (near,) = load_experiment("e.yaml").trials
    assert near.dataset == "./mine" and near.address(data_hash(near.dataset)) == address


NETWORK = "name: small\nlayers: [{kind: dense, neurons: 32}]\n"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return shape_folders(tmp_path_factory.mktemp("shapes") / "shapes")


def test_describe_train_compile_simulate(shapes, capsys):
    """The whole road on simulated recordings of three moving shapes, 32 x 32."""
    shutil.copytree(shapes, "shapes")
    Path("net.yaml").write_text(NETWORK)
    Path("shapes/dataset.yaml").write_text("simulated: true\nsensor_size: [32, 32]\ndownsample: 2\n")
    assert cli(capsys, "data", "describe", "shapes", "--write", "--force")[0] == 0
    assert cli(capsys, "data", "check", "shapes")[0] == 0
    code, _, err = cli(
        capsys, "train", "--dataset", "shapes", "--arch", "net.yaml", "--epochs", 12, "--batch-size", 8, "--lr", 0.01,
        "--init", "alive", "--kernels", "torch", "--out", "c.pt",
    )  # fmt: skip
    assert code == 0, err
    checkpoint = load_checkpoint("c.pt")
    assert checkpoint.dataset == "./shapes" and checkpoint.classes == SHAPES
    assert checkpoint.preprocessing.frame_size == (16, 16)
    code, out, err = cli(capsys, "evaluate", "c.pt", "--json")
    evaluation = json.loads(out)
    assert code == 0 and (evaluation["dataset"], evaluation["simulated"]) == ("./shapes", True)
    assert evaluation["hard"] > 0.5 and evaluation["recordings"] == 6
    assert cli(capsys, "compile", "c.pt")[0] == 0
    program = load_program("c.loihi_int8.onnx")
    assert program.dataset == "./shapes" and program.classes == SHAPES
    code, out, err = cli(capsys, "simulate", "c.loihi_int8.onnx", "--engine", "reference", "--json")
    summary = json.loads(out)
    assert code == 0 and summary["dataset"] == "./shapes" and summary["recordings"] == 6
    assert summary["accuracy"]["value"] > 0.5
    # The one program that fits is taken, and a run into the same folder goes on.
    for _ in range(2):
        code, _, err = cli(
            capsys, "simulate", "--dataset", "shapes/", "--engine", "reference", "--out", "run"
        )
        assert code == 0, err
    for words in (
        ("analyse", "c.pt", "--json"),
        ("robustness", "c.pt", "--corruption", "drop:0.3", "--split", "validation", "--json"),
        ("simulate", "c.loihi_int8.onnx", "--recording", "shapes/disc/000.npy", "--dataset", "shapes", "--engine", "reference"),
        ("inspect", "--arch", "net.yaml", "--dataset", "shapes"),
    ):  # fmt: skip
        code, _, err = cli(capsys, *words)
        assert code == 0, (words, err)
    # Recordings of another length are warned of by every command that measures a network on them.
    shutil.copytree("shapes", "slow", ignore=shutil.ignore_patterns(".*"))
    for path in Path("slow").glob("*/*.npy"):
        recording = np.load(path)
        recording["t"] *= 10
        np.save(path, recording)
    warning = r"./slow: WARNING: 6 of 6 last up to 0\.\d+ s; {} was trained on recordings of [\d.]+ to [\d.]+ s, so a bin holds something "
    warning += "else than it did in training. Check the unit of its times \\(dataset.yaml\\), or take recordings of that length."
    for words, who in (
        (("evaluate", "c.pt", "--split", "test"), "c.pt"),
        (("robustness", "c.pt", "--corruption", "drop:0.3"), "c.pt"),
        (("simulate", "c.loihi_int8.onnx", "--engine", "reference"), program.name),
    ):
        code, _, err = cli(capsys, *words, "--dataset", "slow")
        assert code == 0 and re.search(warning.format(re.escape(who)), err), (words, err)
        assert "WARNING: 6 of 6" not in cli(capsys, *words)[2]
    assert re.search(
        "./slow: WARNING: .* c.pt was trained", cli(capsys, "analyse", "c.pt", "--dataset", "slow")[2]
    )
    # An interrupted and resumed training on the folder is one training.
    code, _, err = cli(
        capsys, "train", "--dataset", "shapes", "--arch", "net.yaml", "--out", "c.pt", "--resume"
    )
    assert code == 3 and "c.pt: is finished" in err


def _differs(capsys, text):
    Path("mine/dataset.yaml").write_text(text)
    code, _, err = cli(capsys, "evaluate", "c.pt", "--dataset", "mine")
    assert code == 3
    return " ".join(err.split())


def test_a_folder_that_does_not_fit_is_told_what_differs(capsys):
    from sastdeploy.networks.architecture import Architecture, Dense, Readout
    from tests.small_networks import checkpoint_of

    class_folders(Path("mine"))
    net = Architecture("net", (2, 10, 12), (Dense(4),), Readout(), 2)
    save_checkpoint("c.pt", checkpoint_of(net, classes=("left", "right"), dataset="./gone", time_bins=10))
    assert cli(capsys, "evaluate", "c.pt", "--dataset", "mine")[0] == 0
    assert (
        "./mine has sensor 14 x 10 x 2 instead of 12 x 10 x 2; frames 14 x 10 instead of 12 x 10."
        in _differs(capsys, "sensor_size: [14, 10]")
    )
    assert "frames 6 x 5 instead of 12 x 10." in _differs(capsys, "downsample: 2")
    assert "the classes in another order, right, left instead of left, right." in _differs(
        capsys, "classes: [right, left]"
    )
    code, _, err = cli(capsys, "evaluate", "c.pt")
    assert (
        code == 3
        and "data set './gone': there is no such folder. Name the folder of the recordings with --dataset"
        in err
    )
    Path("mine/dataset.yaml").unlink()
    assert cli(capsys, "compile", "c.pt")[0] == 0
    shutil.move("mine/left", "mine/up")
    code, _, err = cli(capsys, "evaluate", "c.pt", "--dataset", "mine")
    assert code == 3 and "classes right, up instead of left, right." in " ".join(err.split())
    code, _, err = cli(capsys, "simulate", "c.loihi_int8.onnx", "--dataset", "mine", "--engine", "reference")
    assert (
        code == 3
        and "was trained on ./gone; ./mine has classes right, up instead of left, right."
        in " ".join(err.split())
    )
