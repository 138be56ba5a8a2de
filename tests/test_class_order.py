"""The order of an imported network's classes: printed, stated with --classes, compared by name, and doubted where it seems wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from sastdeploy import CompileError, Framing, InputError, LabelledFrames, save_network
from sastdeploy.exchange import parts as p
from sastdeploy.exchange.evaluation import NetworkEvaluation, evaluate_network, order_warning
from sastdeploy.exchange.framing import network_of
from sastdeploy.recordings.splits import labelled_by_name
from sastdeploy.statistics import wilson_interval
from tests.command_line import cli
from tests.own_recordings import class_folders

NAMES = ("up", "down", "left")


def network(shape, framing, weight=None):
    """A dense layer of one neuron per class."""
    weight = np.eye(3, int(np.prod(shape))) if weight is None else weight
    one = np.ones(1)
    parts = [
        p.Linear("fc", weight, None),
        p.Neurons("lif", 0.5 * one, one, 0 * one, one, ">=", "subtract", 1),
    ]
    return network_of("net", parts, shape, framing)


def answered(confusion):
    count, correct = int(np.sum(confusion)), int(np.trace(confusion))
    return NetworkEvaluation(
        count, correct / count, wilson_interval(correct, count), {}, np.array(confusion).tolist()
    )


def test_labels_follow_names_where_only_the_order_differs():
    counts = np.zeros((3, 1, 1, 1, 3), np.uint8)
    counts[[0, 1, 2], 0, 0, 0, [0, 1, 2]] = 2
    data = LabelledFrames.from_dense(counts, [0, 1, 2], NAMES)
    assert labelled_by_name(data, NAMES) is data and labelled_by_name(data, ("0", "1", "2")) is data
    other = ("left", "up", "down")
    assert labelled_by_name(data, other).labels.tolist() == [1, 2, 0]
    answer = evaluate_network(network((3,), Framing(time_bins=1, classes=other)), data)
    assert answer.accuracy == 0 and answer.confusion == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert evaluate_network(network((3,), Framing(time_bins=1, classes=NAMES)), data).accuracy == 1


def test_an_order_that_fits_better_is_named():
    # Output 0 answers "left" recordings, output 1 "up", output 2 "down".
    answer = answered([[0, 19, 1], [1, 0, 19], [20, 0, 0]])
    assert order_warning(answer, NAMES) == (
        "0.00 % of the answers are right; with the outputs' classes in another order 96.67 % would be. If the network was trained with "
        "that order, import it again with --classes left,up,down."
    )
    assert order_warning(answer, ("a b", "c", "d")).endswith("with --classes 'd,a b,c'.")
    assert order_warning(answer, ("a,b", "c", "d")).endswith("import it again with --classes.")


def test_fewer_than_by_guessing_is_told_and_little_is_not_judged():
    assert order_warning(answered([[2, 9, 9], [9, 2, 9], [9, 9, 2]]), NAMES) == (
        "10.00 % of the answers are right, fewer than by guessing (33.33 %). Compare the order of its outputs with that of the classes "
        "(up, down, left); import --classes states another."
    )
    assert order_warning(answered([[0, 2, 0], [0, 1, 1], [2, 0, 0]]), NAMES) == ""
    assert order_warning(answered([[15, 3, 2], [3, 14, 3], [1, 0, 19]]), NAMES) == ""


@pytest.mark.usefixtures("here")
def test_a_folder_of_ones_own_is_compared_by_name(capsys):
    class_folders(Path("mine"), classes=NAMES, count=5)
    class_folders(Path("mine"), classes=("up",), count=20)
    # It always answers "up", which most recordings are.
    shape, weight = (2, 10, 12), np.repeat([[0.0], [0.0], [0.5]], 240, 1)
    found = {}
    for classes, rows in ((None, [0, 1, 2]), (("up", "left", "down"), [2, 1, 0])):
        # The folder's own order is that of the names: down, left, up.
        save_network("n.pt", network(shape, Framing("./mine", 5, classes=classes), weight[rows]), force=True)
        code, out, _ = cli(capsys, "evaluate", "n.pt", "--json")
        assert code == 0
        code, _, err = cli(capsys, "compile", "n.pt", "--neuron", "profile", "--force")
        assert code == 0, err
        code, ran, err = cli(
            capsys, "simulate", "n.loihi_int8.onnx", "--engine", "reference", "--json", "--force"
        )
        assert code == 0 and ("the data set has the classes in another order; names decide" in err) == bool(
            classes
        )
        found[classes] = np.trace(json.loads(out)["confusion"]), json.loads(ran)["accuracy"]["value"]
    first, second = found.values()
    assert first == second and first[1] > 0.5


@pytest.mark.usefixtures("here")
def test_an_imported_network_is_for_its_data_set(capsys):
    class_folders(Path("mine"), classes=NAMES, count=4)
    save_network("n.pt", network((2, 10, 12), Framing("./mine", 5)))
    assert cli(capsys, "compile", "n.pt", "--neuron", "profile")[0] == 0
    Path("mine/up").rename("mine/over")
    for words in (("evaluate", "n.pt"), ("simulate", "n.loihi_int8.onnx")):
        code, _, err = cli(capsys, *words, "--dataset", "mine")
        assert code == 3
        assert "is for ./mine; ./mine has classes down, left, over instead of down, left, up." in " ".join(
            err.split()
        )


@pytest.mark.usefixtures("here")
def test_classes_of_a_data_set_are_its_own():
    class_folders(Path("mine"), classes=NAMES, count=4)
    with pytest.raises((InputError, CompileError)) as caught:
        network((2, 10, 12), Framing("./mine", 5, classes=("up", "down", "lift")))
    assert str(caught.value) == (
        "net: classes up, down, lift: are not those of ./mine. Name these in the order of the outputs: down, left, up."
    )


def test_the_command_takes_and_prints_the_order(tmp_path, capsys):
    pytest.importorskip("h5py", reason="NIR files are HDF5")
    from tests.nir_files import written_by

    path = written_by("norse", tmp_path)
    call = ("import", path, "--dialect", "norse", "-o")
    code, out, _ = cli(capsys, *call, tmp_path / "n.pt")
    assert code == 0
    assert "Classes in the order of outputs: 0, 1, 2 (numbered; import --classes names them)." in out
    code, out, _ = cli(capsys, *call, tmp_path / "m.pt", "--classes", "up, down,left")
    assert code == 0 and "Classes in the order of outputs: up, down, left.\n" in out
    code, out, _ = cli(capsys, *call, tmp_path / "o.pt", "--classes", "up,down,left", "--json")
    assert json.loads(out)["classes"] == list(NAMES)
    code, _, err = cli(capsys, *call, tmp_path / "q.pt", "--classes", "up,down")
    assert code == 3 and "has 3 outputs; 2 classes are named. Name one for each." in " ".join(err.split())
