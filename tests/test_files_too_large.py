"""Files that are no files, or larger or deeper than they say: refused in one message before they fill memory."""

import gzip
import lzma
import os
import struct
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_programs import one_neuron, tiny_program, tiny_readout

from sastdeploy.errors import InputError
from sastdeploy.networks.architecture import Architecture, Conv, Readout
from sastdeploy.networks.builtin import describe
from sastdeploy.networks.checkpoint import save_checkpoint
from sastdeploy.program.file import save_program
from sastdeploy.synthesis.mnist import load_digits
from tests.deep_files import nest, save_deep
from tests.digits import digits_program
from tests.experiment_files import SWEEP
from tests.small_networks import checkpoint_of

# what is no regular file
READERS = [
    ("inspect", "x.pt"), ("evaluate", "x.pt"), ("compile", "x.pt"), ("profiles", "check", "x.yaml"),
    ("inspect", "--arch", "x.yaml"), ("sweep", "status", "x.yaml"), ("sweep", "run", "x.yaml"),
    ("simulate", "x.onnx", "--recording", "r.bin"), ("verify", "x.onnx"), ("export", "x.onnx", "--to", "c", "--out", "c"),
    ("import", "x.nir", "-o", "o.pt", "--dialect", "nir"), ("import", "x.net", "-o", "o.pt"), ("analyse", "x.pt"),
    ("robustness", "x.pt"), ("compile", "x.pt", "--all-profiles"),
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
