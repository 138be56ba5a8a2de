"""Files that are no files, that are larger or deeper than they say, damaged, or another's: one message, nothing lost."""

import gzip
import json
import lzma
import multiprocessing
import os
import struct
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_cli_simulate import digits_program
from tiny_programs import one_neuron, tiny_program, tiny_readout

from sastdeploy._files.atomic import replacing_folder
from sastdeploy.cli import main as main_module
from sastdeploy.compiler.profiles import builtin_profiles
from sastdeploy.errors import InputError
from sastdeploy.exchange import folder as export_folder
from sastdeploy.exchange.vectors import export as vectors_export
from sastdeploy.networks.architecture import Architecture, Conv, Readout
from sastdeploy.networks.builtin import describe
from sastdeploy.networks.checkpoint import load_checkpoint, save_checkpoint
from sastdeploy.program.file import save_program
from sastdeploy.synthesis.mnist import load_digits
from sastdeploy.training import loop, outputs
from sastdeploy.training.run import Standing, TrainingRun
from sastdeploy.training.settings import TrainingSettings
from tests.nir_files import lif
from tests.nir_files import one_neuron as one_neuron_file
from tests.small_networks import DENSE, checkpoint_of, labelled

PROFILE = builtin_profiles()["loihi_int8"].read_text("utf-8")
SWEEP = "name: e\ntitle: t\ndataset: nmnist-sim\nseeds: [0]\ngrid:\n  - {method: baseline}\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(capsys):
    """Return a function that runs a command line and returns code, output and errors."""

    def run(*arguments: str):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main_module.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


# what is no regular file

READERS = [
    ("inspect", "x.pt"), ("evaluate", "x.pt"), ("compile", "x.pt"), ("profiles", "check", "x.yaml"),
    ("inspect", "--arch", "x.yaml"), ("sweep", "status", "x.yaml"), ("sweep", "run", "x.yaml"),
    ("simulate", "x.onnx", "--recording", "r.bin"),
]  # fmt: skip


@pytest.mark.parametrize("line", READERS, ids=" ".join)
@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)], ids=["fifo", "zero"]
)
def test_what_is_no_regular_file_is_refused_at_once(here, call, line, make):
    name = next(word for word in line if word.startswith("x."))
    make(name)
    code, out, err = call(*line)
    assert (code, out) == (3, "") and err.startswith(f"Error: {name}: is not a regular file. Name a file.")


# what is larger or deeper than it says


def edited(change):
    """Write ``x.pt``, a checkpoint whose content was changed."""
    save_checkpoint("x.pt", checkpoint_of())
    content = torch.load("x.pt", weights_only=True)
    change(content)
    save_deep(content, "x.pt")


def save_deep(content, path):
    """Write what may nest deeper than Python's own limit lets it be written."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)
    try:
        torch.save(content, path)
    finally:
        sys.setrecursionlimit(before)


def nest(depth):
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def doubled(times):
    value: list = [0]
    for _ in range(times):
        value = [value, value]
    return value


@pytest.mark.parametrize("facts", [nest(5000), doubled(40), nest(100)], ids=["deep", "doubled", "100"])
def test_facts_that_nest_deep_or_refer_to_one_another_are_refused(here, call, facts):
    edited(lambda content: content["manifest"]["training"].update(extra=facts))
    assert call("inspect", "x.pt") == (
        3, "", "Error: x.pt: holds facts that nest too deep or are too many. Copy or train it again.\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["training"].update(rho=2**1100), "training facts are not plain values"),
        (lambda m: m["training"].update(seed=torch.zeros(3)), "training facts are not plain values"),
        (lambda m: m.update(dataset="\x1b[31mred"), "is damaged ('\\x1b[31mred' is no name of a data set)"),
        (lambda m: m.update(classes=["a", "b", "c\x07"]), "class name 'c\\x07': must be 1 to 1000 printable characters"),
        (lambda m: m["preprocessing"].update(divisor=2**1100), "preprocessing: a value has the wrong type"),
        (lambda m: m["architecture"]["neuron"].update(slope=2**1100), "key 'neuron.slope'"),
        (lambda m: m["architecture"].update(extra=["x" * 100_000]), "key 'extra': unknown"),
    ],
)  # fmt: skip
def test_facts_that_no_report_could_print_are_refused(here, call, change, message):
    edited(lambda content: change(content["manifest"]))
    code, out, err = call("inspect", "x.pt")
    assert (code, out) == (3, "") and err.startswith("Error: x.pt: ") and message in err and len(err) < 1000


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_archive_that_would_unpack_is_refused_before_a_byte_is(here, call, compression):
    with (
        zipfile.ZipFile("x.pt", "w", compression) as archive,
        archive.open("archive/data.pkl", "w") as member,
    ):
        for _ in range(64):
            member.write(bytes(1 << 20))
    began = time.perf_counter()
    assert call("inspect", "x.pt")[::2] == (
        3, "Error: x.pt: would unpack to more than its own size, which no checkpoint does. Copy or train it again.\n",
    )  # fmt: skip
    assert time.perf_counter() - began < 20 and os.path.getsize("x.pt") < 1 << 20


def test_a_wide_network_is_described_without_its_size_times_its_outputs():
    wide = Architecture("wide", (1, 40_000, 400), (Conv(1, 3, 1, 1),), Readout(True), 2)
    conv, readout = describe(wide, 10)
    assert (conv.fan_out, conv.largest_synops) == ((4, 9), 10 * (3 * 40_000 - 2) * (3 * 400 - 2))
    assert readout.largest_synops == 10 * 2 * 40_000 * 400


def wide_program():
    """Return a program of 4096 x 4096 inputs in 1,000 bins, whose file is small."""
    layers = [replace(one_neuron().layers[0])]
    program = tiny_program(layers, tiny_readout(), time_bins=5)
    large = replace(
        program.preprocessing, time_bins=1000, sensor_size=(4096, 4096, 1), frame_size=(4096, 4096)
    )
    weight = np.zeros((1, 4096 * 4096), np.int8)
    return replace(program, preprocessing=large, layers=(replace(layers[0], weight=weight),))


def test_recordings_of_more_bins_than_memory_holds_are_refused_with_the_figure(here, call):
    save_program("x.onnx", wide_program())
    Path("r.bin").write_bytes(bytes([1, 1, 0, 0, 9]))
    code, out, err = call("simulate", "x.onnx", "--recording", "r.bin")
    assert (code, out) == (3, "") and "would take 125.0 GiB; at most 2 GiB are allowed." in err
    assert call("verify", "x.onnx") == (
        3, "", "Error: program tiny.test: 16 made recordings of 1,000 bins of 1 x 4096 x 4096 inputs would take 250.0 GiB; "
        "at most 512 MiB are allowed. Train with fewer bins or smaller frames.\n",
    )  # fmt: skip
    code, out, err = call("export", "x.onnx", "--to", "vectors", "--out", "v")
    assert (code, out) == (3, "") and err.startswith(
        "Error: program tiny.test: vectors of one recording would hold 5"
    )
    assert err.endswith(
        " integers; at most 20,000,000 are allowed. Train with fewer bins or smaller frames.\n"
    )
    assert not Path("v").exists()


def test_more_random_recordings_than_memory_holds_are_refused_with_the_number_that_fits(here, call):
    program = digits_program(2, "dvsgesture-sim", (2, 48, 48), 11)
    save_program("x.onnx", replace(program, preprocessing=replace(program.preprocessing, time_bins=100)))
    code, out, err = call("verify", "x.onnx", "--random", "10000")
    assert (code, out) == (3, "") and err.endswith(
        "at most 512 MiB are allowed. Use --random 1,165 or less.\n"
    )


def test_more_trials_than_anybody_could_train_are_counted_not_made(here, call):
    values = ", ".join(f"{n}.5" for n in range(1, 13))
    names = ("learning_rate", "rho", "alpha", "threshold", "slope", "weight_decay", "init_scale")
    grid = ", ".join(f"{name}: [{values}]" for name in names)
    Path("big.yaml").write_text(SWEEP.replace("method: baseline", grid))
    began = time.perf_counter()
    code, out, err = call("sweep", "status", "big.yaml")
    assert time.perf_counter() - began < 10
    assert (code, out, err) == (
        3, "", "Error: big.yaml: key 'grid': 35,831,808 points with 1 seeds each are 35,831,808 trials; at most 10,000 are "
        "allowed. Give fewer values.\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    "line", [("profiles", "check"), ("sweep", "status"), ("inspect", "--arch")], ids=" ".join
)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 60_000, "x.yaml: line 1: nests more than 32 deep."),
        ("[" * 200_000, "x.yaml: has 200,000 bytes; such a file may have at most 65,536."),
        ("name: " + "x" * 6_000_000, "x.yaml: has 6,000,006 bytes; such a file may have at most 65,536."),
        ('name: "\\e]0;title\\a"', "x.yaml: line 1: a text holds the control character '\\x1b'. Leave it out."),
        ("name: \x1b", "x.yaml: not valid YAML (unacceptable character #x001b"),
    ],
    ids=["nest", "long nest", "long text", "escape", "raw escape"],
)  # fmt: skip
def test_yaml_that_no_parser_should_meet(here, call, line, text, message):
    Path("x.yaml").write_text(text)
    code, out, err = call(*line, "x.yaml")
    assert (code, out) == (3, "") and err.startswith(f"Error: {message}") and err.isascii()


def test_names_in_an_experiment_that_no_file_can_have(here, call):
    for entry, message in (
        ('profiles: ["a\\0.yaml"]', "a text holds the control character '\\x00'"),
        (f"profiles: [{'p' * 300}.yaml]", "cannot be read (File name too long)"),
        (f"fixed: {{arch: {'a' * 300}.yaml}}", "there is no such file"),
        ('title: "\\ud800"', "a text holds the control character '\\ud800'"),
    ):
        Path("x.yaml").write_text(
            SWEEP.replace("title: t\n", "") + ("" if "title" in entry else "title: t\n") + entry
        )
        code, out, err = call("sweep", "status", "x.yaml")
        assert (code, out) == (3, "") and message in err, err


def idx(pack, suffix=".gz"):
    """Write training images and labels whose first file is what ``pack`` makes of an image file."""
    Path("idx").mkdir()
    images = struct.pack(">4I", 0x803, 2, 28, 28) + bytes(2 * 784)
    Path(f"idx/train-images-idx3-ubyte{suffix}").write_bytes(pack(images))
    Path("idx/train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 2) + bytes([3, 4]))


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        (lambda x: gzip.compress(x + bytes(200 << 20), 1), "unpacks to more than 64 MiB. MNIST's files are smaller."),
        (lambda x: lzma.compress(x + bytes(200 << 20), preset=0), "unpacks to more than 64 MiB. MNIST's files are smaller."),
        (lambda x: lzma.compress(x, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]), "is no valid xz file (Memory usage"),
        (lambda x: lzma.compress(x)[:-20], "the xz stream ends early. Download the file again."),
        (lambda x: gzip.compress(x)[:-20], "the gzip stream ends early. Download the file again."),
        (lambda x: gzip.compress(x)[:10] + b"\xff" * 40, "is no valid gzip file ("),
        (lambda x: x + bytes(65 << 20), "such a file may have at most 67,108,864."),
    ],
    ids=["gzip", "xz", "dictionary", "cut xz", "cut gzip", "damaged gzip", "plain"],
)  # fmt: skip
def test_images_that_unpack_without_end_or_not_at_all(here, pack, message):
    idx(pack)
    with pytest.raises(InputError) as caught:
        load_digits("train", "idx")
    assert message in str(caught.value)


def test_images_packed_by_xz_or_gzip_are_read_and_a_fifo_is_not(here):
    idx(lzma.compress)
    assert list(load_digits("train", "idx").labels) == [3, 4]
    Path("idx/train-labels-idx1-ubyte").unlink()
    os.mkfifo("idx/train-labels-idx1-ubyte")
    with pytest.raises(InputError, match="train-labels-idx1-ubyte: is not a regular file"):
        load_digits("train", "idx")


# arguments and the terminal


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
        ("compile x.pt --all-profiles --profile loihi_int8", "--all-profiles takes every built-in profile; leave out --profile."),
        ("simulate x.onnx --recording r.bin --split test", "--split, --limit and --skip-bad choose recordings of a data set; leave them out with --recording."),
        ("verify x.onnx --limit 3", "--split, --limit and --skip-bad choose recordings of a data set; name one with --dataset."),
        ("analyse x.pt --seed 0", "--seed is for --bounds; leave it out."),
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


def run(*line, **options):
    return subprocess.run(
        [sys.executable, "-m", "sastdeploy", *line], text=True, timeout=300, stderr=subprocess.PIPE, **options
    )


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
    line = ("sweep", "run", "e.yaml", option, "taken")
    assert call(*line) == (3, "", f"Error: taken: is no folder. Name one with {option}.\n")


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


def test_an_imported_network_never_replaces_what_it_was_compared_with(here, call):
    one_neuron_file("n.nir", lif())
    Path("spikes.npz").write_text("mine")
    line = ("import", "n.nir", "--dialect", "norse", "--check", "spikes.npz", "-o", "spikes.npz", "--force")
    assert call(*line) == (
        3, "", "Error: spikes.npz: is itself what this command reads. Choose another name for the output.\n",
    )  # fmt: skip
    assert Path("spikes.npz").read_text() == "mine"


@pytest.mark.parametrize("dt", ["1e308", "1e-320", "nan", "-1"])
def test_a_dt_that_no_arithmetic_holds_is_refused(here, call, dt):
    one_neuron_file("n.nir", lif())
    assert call("import", "n.nir", "--dialect", "norse", "-o", "n.pt", "--dt", dt) == (
        3, "", f"Error: dt {float(dt)}: outside 1e-12 to 1e+06 seconds. Give the dt that the network was trained with.\n",
    )  # fmt: skip


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


def test_a_quickstarts_settings_that_are_no_text(here, call):
    Path("q").mkdir()
    for content, words in (
        (b"\xff", "is not a text file (byte 0 is not UTF-8)"),
        (b"[" * 100_000, "of other settings"),
    ):
        Path("q/settings.json").write_bytes(content)
        code, _, err = call("quickstart", "--out", "q", "--small")
        assert code == 3 and words in err


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
