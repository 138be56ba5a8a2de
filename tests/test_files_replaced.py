"""Devices, links and other people's files in the place of an output, and a training's own files: nothing is lost."""

import json
import multiprocessing
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from sastdeploy import export_c, export_vectors, export_verilog
from sastdeploy._files.atomic import replacing_folder
from sastdeploy.compiler.profiles import builtin_profiles
from sastdeploy.errors import InputError
from sastdeploy.exchange import folder as export_folder
from sastdeploy.exchange.vectors import export as vectors_export
from sastdeploy.networks.checkpoint import load_checkpoint, save_checkpoint
from sastdeploy.program.file import save_program
from sastdeploy.training import loop, outputs
from sastdeploy.training.run import Standing, TrainingRun
from sastdeploy.training.settings import TrainingSettings
from tests.command_line import run
from tests.deep_files import nest, save_deep
from tests.digits import digits_program
from tests.experiment_files import SWEEP
from tests.nir_files import lif
from tests.nir_files import one_neuron as one_neuron_file
from tests.small_networks import DENSE, checkpoint_of, labelled

PROFILE = builtin_profiles()["loihi_int8"].read_text("utf-8")


# devices, links, and other people's files


def test_a_program_goes_through_a_stream_and_a_full_device_is_told(here):
    save_checkpoint("x.pt", checkpoint_of())
    done = run("compile", "x.pt", "--out", "/dev/full", stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("Error: /dev/full: cannot be written (No space left on device).")
    os.symlink("kept.onnx", "link.onnx")
    assert run("compile", "x.pt", "--out", "link.onnx", stdout=subprocess.PIPE).returncode == 0
    assert Path("link.onnx").is_symlink() and Path("kept.onnx").is_file()
    assert sorted(os.listdir()) == ["kept.onnx", "link.onnx", "x.pt"]


def test_an_experiment_and_its_files_are_never_the_reports_place(here, call, monkeypatch):
    monkeypatch.setattr("sastdeploy.experiments.runner.data_hash", lambda *_: "hash")
    Path("e.yaml").write_text(SWEEP + "profiles: [p.yaml]\n")
    Path("p.yaml").write_text(PROFILE)
    Path("records").mkdir()
    Path("records/0123456789abcdef.json").write_text("{}")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    for out in ("e.yaml", "p.yaml", "records/0123456789abcdef.json", "./records/../e.yaml"):
        for force in ((), ("--force",)):
            code, text, err = call("sweep", "report", "e.yaml", "--out", out, *force)
            assert (code, text) == (3, "") and err.startswith(
                f"Error: {out}: is itself what this command reads."
            )
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_a_picture_replaces_itself_alone(here, call):
    for name, place in (("a.bin", 1), ("b.bin", 9)):
        Path(name).write_bytes(b"".join(bytes([place, place, 0, 0, t]) for t in range(200)))
    assert call("data", "show", "a.bin")[0] == call("data", "show", "a.bin")[0] == 0
    before = Path("a.png").read_bytes()
    code, _, err = call("data", "show", "b.bin", "--out", "a.png")
    assert code == 3 and err.startswith("Error: a.png: exists, and is not what would be written now.")
    assert Path("a.png").read_bytes() == before
    assert call("data", "show", "b.bin", "--out", "a.png", "--force")[0] == 0
    assert Path("a.png").read_bytes() != before


def test_a_new_profile_never_replaces_its_source(here, call):
    Path("p.yaml").write_text(PROFILE)
    code, _, err = call("profiles", "new", "q", "--from", "p.yaml", "--out", "p.yaml", "--force")
    assert (
        code == 3
        and "p.yaml: is itself what this command reads." in err
        and Path("p.yaml").read_text() == PROFILE
    )


def test_a_recording_is_never_the_place_of_its_trace_or_result(here, call):
    save_program("x.onnx", digits_program())
    events = {"x": [1, 1], "y": [1, 1], "p": [0, 1], "t": [0, 9000]}
    np.savez("trace.fc1.npz", **{name: np.array(values) for name, values in events.items()})
    before = Path("trace.fc1.npz").read_bytes()
    line = ("simulate", "x.onnx", "--unit", "us", "--force", "--recording")
    assert call(*line, "trace.fc1.npz", "--out", "res", "--trace", "fc1")[0] == 0
    assert call(*line, "trace.fc1.npz", "--trace", "fc1") == (
        3, "", "Error: trace.fc1.npz: is itself what this command reads. Choose another name for the output.\n",
    )  # fmt: skip
    os.replace("trace.fc1.npz", "res/trace.fc1.npz")
    code, out, err = call(*line, "res/trace.fc1.npz", "--out", "res")
    assert (code, out) == (3, "") and err.startswith(
        "Error: res/trace.fc1.npz: is itself what this command reads."
    )
    assert Path("res/trace.fc1.npz").read_bytes() == before


def test_a_program_is_never_the_place_of_its_trace_or_result(here, call):
    Path("res").mkdir()
    Path("res/summary.json").write_text("{}")
    for name, line in (
        ("trace.fc1.npz", ("--trace", "fc1")),
        ("res/trace.fc1.npz", ("--trace", "fc1", "--out", "res")),
        ("res/summary.json", ("--out", "res")),
    ):
        save_program(name, digits_program(), force=True)
        before = Path(name).read_bytes()
        code, out, err = call("simulate", name, "--dataset", "nmnist-sim", "--force", *line)
        assert (code, out) == (3, "") and err.startswith(f"Error: {name}: is itself what this command reads.")
        assert Path(name).read_bytes() == before
        Path(name).unlink()


def test_a_checkpoint_is_never_the_place_of_its_passes(here, call):
    save_checkpoint("p/tensors.npz", checkpoint_of(DENSE, (2, 6, 6)))
    before = Path("p/tensors.npz").read_bytes()
    line = ("compile", "p/tensors.npz", "--out", "x.onnx", "--dump-passes", "p", "--force")
    assert call(*line) == (
        3, "", "Error: p/tensors.npz: is itself what this command reads. Choose another name for the output.\n",
    )  # fmt: skip
    assert Path("p/tensors.npz").read_bytes() == before and not Path("x.onnx").exists()


def test_a_training_never_replaces_a_recording_of_its_data_set(here, call):
    recording = Path("data/nmnist-sim/Train/0/00043.bin")
    recording.parent.mkdir(parents=True)
    recording.write_bytes(b"x")
    code, out, err = call("train", "--dataset", "nmnist-sim", "--out", str(recording), "--force")
    folder = here / "data" / "nmnist-sim"
    assert (code, out) == (3, "") and err == (
        f"Error: {recording}: is a file of {folder}, which this command reads. Choose another name for the output.\n"
    )
    assert recording.read_bytes() == b"x" and len(list(recording.parent.iterdir())) == 1


def test_a_picture_never_replaces_the_labels_of_its_recording(here, call):
    Path("x.aedat").write_bytes(b"x")
    Path("x_labels.csv").write_text("mine")
    code, _, err = call("data", "show", "x.aedat", "--out", "x_labels.csv", "--force")
    assert code == 3 and err.startswith("Error: x_labels.csv: is itself what this command reads.")
    assert Path("x_labels.csv").read_text() == "mine"


def test_an_imported_network_never_replaces_what_it_was_compared_with(here, call):
    one_neuron_file("n.nir", lif())
    Path("spikes.npz").write_text("mine")
    line = ("import", "n.nir", "--dialect", "norse", "--check", "spikes.npz", "-o", "spikes.npz", "--force")
    assert call(*line) == (
        3, "", "Error: spikes.npz: is itself what this command reads. Choose another name for the output.\n",
    )  # fmt: skip
    assert Path("spikes.npz").read_text() == "mine"


@pytest.mark.parametrize("link", [os.link, os.symlink, None])
def test_a_nir_file_never_replaces_the_program_that_it_is_made_of(here, call, link):
    save_program("x.onnx", digits_program())
    out = "x.onnx"
    if link is not None:
        link("x.onnx", out := "other name.nir")
    before = Path("x.onnx").read_bytes()
    assert call("export", "x.onnx", "--to", "nir", "--out", out, "--force") == (
        3, "", f"Error: {out}: is itself what this command reads. Choose another name for the output.\n",
    )  # fmt: skip
    assert Path("x.onnx").read_bytes() == before
    code, text, _ = call("export", "x.onnx", "--to", "nir", "--out", "my net.nir")
    assert code == 0 and text.endswith(" Next: sastdeploy import 'my net.nir' -o net.pt\n")


@pytest.mark.parametrize("dt", ["1e308", "1e-320", "nan", "-1"])
def test_a_dt_that_no_arithmetic_holds_is_refused(here, call, dt):
    one_neuron_file("n.nir", lif())
    assert call("import", "n.nir", "--dialect", "norse", "-o", "n.pt", "--dt", dt) == (
        3, "", f"Error: dt {float(dt)}: outside 1e-12 to 1e+06 seconds. Give the dt that the network was trained with.\n",
    )  # fmt: skip


@pytest.mark.parametrize("export", [export_c, export_verilog, export_vectors])
def test_a_folder_whose_name_is_too_long_is_told(here, export):
    name = "x" * 300
    with pytest.raises(
        InputError, match=rf"^{name}: cannot be written \(File name too long\)\. Choose another folder"
    ):
        export(digits_program(), name)


@pytest.mark.parametrize("form", ["c", "verilog", "vectors"])
def test_of_two_exports_into_one_folder_the_later_is_refused(here, call, monkeypatch, form):
    save_program("x.onnx", digits_program())

    @contextmanager
    def overtaken(folder, force):
        with replacing_folder(folder, force=force) as fresh:
            yield fresh
            Path(folder).mkdir()
            Path(folder, "README.md").write_text("the other's")
            if form == "vectors":
                Path(folder, "vectors.json").write_text(
                    json.dumps({"schema": vectors_export.SCHEMA, "files": ["README.md", "vectors.json"]})
                )

    monkeypatch.setattr(export_folder, "replacing_folder", overtaken)
    code, out, err = call("export", "x.onnx", "--to", form, "--out", "exported")
    words = "other vectors" if form == "vectors" else "another export"
    assert (code, out) == (3, "") and err.startswith(f"Error: exported: holds {words}. Choose another folder")
    assert Path("exported/README.md").read_text() == "the other's"


def test_a_fifo_in_the_place_of_an_earlier_export_is_told(here, call):
    save_program("x.onnx", digits_program())
    line = ("export", "x.onnx", "--to", "vectors", "--out", "exported")
    assert call(*line)[0] == 0
    os.unlink("exported/README.md")
    os.mkfifo("exported/README.md")
    assert call(*line) == (3, "", "Error: exported/README.md: is not a regular file. Name a file.\n")


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000])
def test_settings_that_no_quickstart_wrote_are_left_alone(here, call, content):
    Path("q").mkdir()
    Path("q/settings.json").write_bytes(content)
    for force in ((), ("--force",)):
        assert call("quickstart", "--out", "q", "--small", *force) == (
            3, "", "Error: q: exists and holds no quickstart. Choose another folder with --out.\n",
        )  # fmt: skip
    assert Path("q/settings.json").read_bytes() == content


# a training's files


def fit(out, force=False, **changes):
    settings = TrainingSettings(epochs=2, batch_size=16, kernels="torch", **changes)
    part = labelled()
    preprocessing = checkpoint_of().preprocessing
    run = TrainingRun(part, part, DENSE, preprocessing, settings, out)
    return loop.train(run, resume=True, force=force)


def train_slowly(out, begun, go_on):
    """Train in a process of its own, which waits after its first epoch."""
    original = loop.run_epoch

    def waiting(*arguments):
        begun.set()
        go_on.wait(240)
        return original(*arguments)

    loop.run_epoch = waiting
    fit(out)


def test_of_two_trainings_into_one_file_one_is_refused(here):
    # A forked child of a process that used torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    begun, go_on = context.Event(), context.Event()
    other = context.Process(target=train_slowly, args=("t.pt", begun, go_on), daemon=True)
    other.start()
    try:
        assert begun.wait(240)
        with pytest.raises(InputError) as caught:
            fit("t.pt")
        assert str(caught.value) == (
            "t.pt: another training is writing it at this moment. Wait for its end, or choose another name."
        )
        go_on.set()
        other.join(240)
        assert other.exitcode == 0 and load_checkpoint("t.pt")
        assert sorted(os.listdir()) == ["t.pt", "t.pt.jsonl"]
    finally:
        other.kill()


def test_a_training_replaces_neither_a_log_nor_its_network_nor_a_device(here):
    Path("t.pt.jsonl").write_text("mine")
    with pytest.raises(
        InputError, match=r"t.pt.jsonl: exists, and belongs to no checkpoint\. Choose another name"
    ):
        outputs.check_out(Path("t.pt"), resume=False, force=False)
    outputs.check_out(Path("t.pt"), resume=False, force=True)
    Path("net.yaml").write_text("x")
    with pytest.raises(InputError, match=r"net.yaml: is itself what this command reads"):
        outputs.check_out(Path("net.yaml"), resume=False, force=True, inputs=["net.yaml"])
    with pytest.raises(InputError, match=r"/dev/null: is not a regular file"):
        outputs.check_out(Path("/dev/null"), resume=False, force=True)


STATES = {
    "a tensor as a setting": lambda s: s["identity"]["settings"].update(rho=torch.zeros(2)),
    "a tensor as an epoch": lambda s: s.update(epoch=torch.ones(2)),
    "a tensor as a slope": lambda s: s["records"][0].update(slope=torch.tensor(25.0)),
    "text as a slope": lambda s: s["records"][0].update(slope="steep"),
    "a slope of minus 1": lambda s: s["records"][0].update(slope=-1.0),
    "no number as an accuracy": lambda s: s["records"][0].update(hard_accuracy=float("nan")),
    "a number too large": lambda s: s["records"][0].update(loss=2**1100),
    "records that are none": lambda s: s.update(records=[1]),
    "a best epoch that is text": lambda s: s.update(best_epoch="0"),
    "too many epochs": lambda s: s.update(epoch=7),
    "a best network of other shapes": lambda s: s["best"].update({"readout.bias": torch.zeros(5)}),
    "a best network of text": lambda s: s["best"].update({"readout.bias": "none"}),
    "a network that is not finite": lambda s: s["network"]["readout.bias"].fill_(float("inf"))
    if "readout.bias" in s["network"] else next(iter(s["network"].values())).fill_(float("inf")),
    "a network of text": lambda s: s.update(network="none"),
    "an optimiser of text": lambda s: s["optimiser"].update(state={0: "x"}),
    "an optimiser of other shapes": lambda s: s["optimiser"]["state"][0].update(exp_avg=torch.zeros(1)),
    "an optimiser that took no step": lambda s: s["optimiser"]["state"][0]["step"].zero_(),
    "an optimiser of lists": lambda s: s["optimiser"]["state"].update({0: torch.zeros(3)}),
    "an optimiser that is not finite": lambda s: s["optimiser"]["state"][0]["exp_avg"].fill_(float("nan")),
    "no optimiser": lambda s: s.pop("optimiser"),
    "facts that nest": lambda s: s.update(records=nest(2000)),
}  # fmt: skip


@pytest.mark.parametrize("change", STATES.values(), ids=STATES)
def test_an_edited_state_is_told_in_one_message(here, monkeypatch, change):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Standing, "write_log", stopped)
        fit("t.pt")
    content = torch.load("t.pt.state", weights_only=True)
    change(content)
    save_deep(content, "t.pt.state")
    with pytest.raises(InputError, match=r"t\.pt\.state: .*Remove it, or start anew with --force\."):
        fit("t.pt")


@pytest.mark.parametrize("line", ["", "{", "[1]", '{"epoch": 0}', '{"seconds": 1e400, "hard_accuracy": 0}', '{"seconds": true, "hard_accuracy": 0}', "\x00", "[" * 100_000])  # fmt: skip
def test_a_damaged_log_is_told_in_one_message(here, line):
    from sastdeploy.experiments.progress import log_lines

    good = json.dumps({"seconds": 1.0, "hard_accuracy": 0.5})
    Path("t.pt.jsonl").write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(InputError) as caught:
        log_lines(Path("t.pt.jsonl"), "seconds", "hard_accuracy")
    assert str(caught.value).startswith("t.pt.jsonl: line 2: ")
    assert str(caught.value).endswith("Remove its folder to train the trial anew.")
