"""The border against bad input: every case through the command line, its exact message, its exit code, nothing touched."""

import dataclasses
import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sastdeploy.cli import main as main_module
from sastdeploy.compiler.compile import compile
from sastdeploy.compiler.profiles import builtin_profiles, load_profile
from sastdeploy.networks.architecture import Architecture, Dense, Readout
from sastdeploy.networks.checkpoint import load_checkpoint, save_checkpoint
from sastdeploy.program.file import save_program
from tests.small_networks import checkpoint_of
from tests.test_events_formats import nmnist_tree

NET = Architecture("tiny", (2, 34, 34), (Dense(4),), Readout(), 10)
PROFILE = builtin_profiles()["loihi_int8"].read_text("utf-8")
FETCH = (
    "Three ways to get it: (1) run 'sastdeploy data fetch dvsgesture'; (2) put the official files (ibmGestureTrain.tar.gz "
    "and ibmGestureTest.tar.gz, or unpacked) into {0}/data/dvsgesture; (3) use simulated recordings: 'sastdeploy data make "
    "dvsgesture-sim' and --dataset dvsgesture-sim."
)


def tiny(**changes):
    classes = tuple("0123456789")
    return checkpoint_of(
        NET, **{"time_bins": 10, "spread": 0.02, "classes": classes, "dataset": "nmnist", **changes}
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with good data, a checkpoint and a program; every case starts from a copy."""
    home = tmp_path_factory.mktemp("prepared")
    nmnist_tree(home / "data" / "nmnist")
    save_checkpoint(home / "good.pt", tiny())
    save_program(
        home / "good.onnx", compile(load_checkpoint(home / "good.pt"), load_profile("loihi_int8")).program
    )
    (home / "good.bin").write_bytes((home / "data" / "nmnist" / "Test" / "3" / "00001.bin").read_bytes())
    return home


def write(name, content):
    def prepare(home: Path) -> None:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return prepare


def checkpoint(**changes):
    return lambda home: save_checkpoint(home / "bad.pt", tiny(**changes))


def parameter(name, value):
    def prepare(home):
        good = tiny()
        array = good.parameters[name].copy()
        array.reshape(-1)[0] = value
        save_checkpoint(
            home / "bad.pt", dataclasses.replace(good, parameters={**good.parameters, name: array})
        )

    return prepare


def raw_checkpoint(change):
    def prepare(home):
        content = torch.load(home / "good.pt", weights_only=True)
        change(content)
        torch.save(content, home / "bad.pt")

    return prepare


def profile(*change):
    assert change[0] in PROFILE, change[0]
    return write("bad.yaml", PROFILE.replace(*change))


def cut(name, to, share=0.5):
    def prepare(home):
        content = (home / name).read_bytes()
        (home / to).write_bytes(content[: int(len(content) * share)])

    return prepare


def flip(name, to, share):
    def prepare(home):
        content = bytearray((home / name).read_bytes())
        content[int(len(content) * share)] ^= 0xFF
        (home / to).write_bytes(content)

    return prepare


def nothing(home):
    pass


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("code-ran"),)


def evil_checkpoint(home):
    torch.save({"format": Evil()}, home / "bad.pt")


def evil_array(home):
    np.save(home / "bad.npy", np.array([Evil()], object), allow_pickle=True)


def state_of_others(home):
    from sastdeploy.training import run

    arguments = [
        "train",
        "--dataset",
        "nmnist",
        "--arch",
        "net.yaml",
        "--epochs",
        "2",
        "--out",
        "half.pt",
        "--data",
        "data",
    ]
    (home / "net.yaml").write_text("name: tiny\nlayers: [{kind: dense, neurons: 4}]\n")
    original = run.save_state

    def once(*parts):
        original(*parts)
        raise KeyboardInterrupt

    run.save_state = once
    try:
        with pytest.raises(SystemExit):
            main_module.main(arguments)
    finally:
        run.save_state = original


TRAIN = "train --dataset nmnist --arch net.yaml --data data --out new.pt"
NO_DATA = "train --dataset nmnist-sim --arch net.yaml --data data"
NETWORK = write("net.yaml", "name: tiny\nlayers: [{kind: dense, neurons: 4}]\n")
COMPILE = "compile good.pt --out new.onnx --profile bad.yaml"
WAYS = "Train one with 'sastdeploy train'."

# name, preparation, command line, exit code, message; {0} is the folder
CASES = [
    # recordings
    ("show missing", nothing, "data show none.bin", 3, "none.bin: cannot be read (No such file or directory)."),
    ("show folder", nothing, "data show data", 3, "data: cannot tell its format from ''. Allowed: .bin, .aedat, .npy, .npz, .csv, .txt, .h5, .hdf5, .dat, .raw, .aedat4 (N-MNIST, AEDAT 2.0, 3.1 and 4, arrays of events, Prophesee)."),
    ("show empty", write("bad.bin", b""), "data show bad.bin", 3, "bad.bin: holds no event. A recording needs at least one."),
    ("show truncated", write("bad.bin", bytes(8)), "data show bad.bin", 3, "bad.bin: offset 5: truncated, 3 of 5 bytes of an event. The file is damaged; get it again."),
    ("show outside", write("bad.bin", bytes([40, 1, 0, 0, 1])), "data show bad.bin", 3, "bad.bin: offset 0: pixel (40, 1) lies outside the 34 x 34 sensor. Check that the file belongs to this data set."),
    ("show backwards", write("bad.bin", bytes([1, 1, 0, 0, 9, 1, 1, 0, 0, 1])), "data show bad.bin", 3, "bad.bin: offset 5: time runs backwards, from 9 to 1 us. Times must not decrease; the file is damaged."),
    ("show junk aedat", write("bad.aedat", "junk"), "data show bad.aedat", 3, "bad.aedat: offset 0: does not begin with #!AER-DAT3.1. Only AEDAT 3.1 files are read here."),
    ("show headless aedat", write("bad.aedat", "#!AER-DAT3.1\r\n"), "data show bad.aedat", 3, "bad.aedat: offset 12: the header never ends. The file is truncated; get it again."),
    ("show malicious npy", evil_array, "data show bad.npy", 3, "bad.npy: is no valid .npy file of plain numbers (it holds Python objects). Get the file again."),
    ("show picture of another kind", nothing, "data show good.bin --out picture.xyz", 3, "picture.xyz"),
    # data sets
    ("check unknown", nothing, "data check nmnits", 3, "data set 'nmnits': unknown. Did you mean 'nmnist'? Known: nmnist-sim, dvsgesture-sim, nmnist, dvsgesture, mnist."),
    ("fetch simulated", nothing, "data fetch dvsgesture-sim --data data", 3, "data set 'dvsgesture-sim': is simulated, so there is nothing to download. Run 'sastdeploy data make dvsgesture-sim'."),
    ("make real", nothing, "data make nmnist", 2, "Invalid value for '{{nmnist-sim|dvsgesture-sim}}': 'nmnist' is not one of 'nmnist-sim', 'dvsgesture-sim'."),
    ("make too many", nothing, "data make nmnist-sim --data data --train 12001", 3, "train 12001: outside 1 to 12000, the number of train images. Choose fewer, or give the folder of the full MNIST files (60,000 and 10,000)."),
    ("make none", nothing, "data make nmnist-sim --data data --train 0", 3, "train 0: outside 1 to 12000, the number of train images. Choose fewer, or give the folder of the full MNIST files (60,000 and 10,000)."),
    ("make into files of others", write("data/nmnist-sim/mine", "x"), "data make nmnist-sim --data data --train 10 --test 10", 3, "data/nmnist-sim: is not empty and holds no simulated set. Choose another folder, or empty this one."),
    ("make one performer", nothing, "data make dvsgesture-sim --data data --performers 1", 3, "performers 1: outside 2 to 29. Choose a number within that range (at least one trains and one tests)."),
    ("make no duration", nothing, "data make dvsgesture-sim --data data --duration 0", 3, "duration 0.0: outside 0.5 to 20 seconds per gesture. Choose one in that range."),
    ("images missing", nothing, "data make nmnist-sim --data data --images none", 3, "none"),
    ("check a bad zip", write("data/dvsgesture/DvsGesture.tar.gz", "junk"), "data check dvsgesture --data data", 3, "data set 'dvsgesture': not found (data/dvsgesture/DvsGesture.tar.gz: is no valid tar.gz archive (Not a gzipped file (b'ju')). It cannot be unpacked; download it again)."),
    # training
    ("train on nothing", nothing, "train --dataset dvsgesture --data data", 3, "data set 'dvsgesture': not found (there is no folder data/dvsgesture). " + FETCH.replace("{0}/data", "data")),
    ("train unknown set", nothing, "train --dataset cifar10 --data data", 3, "data set 'cifar10': unknown. Known: nmnist-sim, dvsgesture-sim, nmnist, dvsgesture, mnist."),
    ("train on images", nothing, "train --dataset mnist --data data", 3, "data set 'mnist': holds images, no recordings. Make recordings: sastdeploy data make nmnist-sim."),
    ("train damaged set", write("data/nmnist/Train/3/00001.bin", bytes(7)), TRAIN.replace("net.yaml", "fc_0p40m"), 3, "data/nmnist/Train/3/00001.bin: offset 5: truncated, 2 of 5 bytes of an event. The file is damaged; get it again. To go on without bad files: --skip-bad."),
    ("train unknown arch", nothing, TRAIN.replace("net.yaml", "fc"), 3, "architecture 'fc': unknown. Allowed: fc_0p40m, conv_0p42m, or a YAML file."),
    ("train missing arch", nothing, TRAIN, 3, "architecture 'net.yaml': there is no such file. Allowed: fc_0p40m, conv_0p42m, or a YAML file."),
    ("train huge arch", write("net.yaml", "name: a\nlayers: [{kind: dense, neurons: 999999999999}]\n"), TRAIN, 3, "net.yaml: a: layer 0: 999,999,999,999 values; at most 16,777,216 are allowed."),
    ("inspect huge arch", write("net.yaml", "name: a\nlayers: [{kind: dense, neurons: 999999999999}]\n"), "inspect --arch net.yaml", 3, "net.yaml: a: layer 0: 999,999,999,999 values; at most 16,777,216 are allowed."),
    ("train misspelt arch", write("net.yaml", "name: a\nlayers: [{kind: dense, neuron: 4}]\n"), TRAIN, 3, "net.yaml: 2 errors: key 'layers.0.dense.neuron': unknown. Did you mean 'neurons'? Allowed: kind, neurons. key 'layers.0.dense.neurons': missing."),
    ("train arch with duplicates", write("net.yaml", "name: a\nname: b\n"), TRAIN, 3, "net.yaml: line 2: key 'name' stands twice. Keep one of them."),
    ("train negative epochs", NETWORK, TRAIN + " --epochs -1", 3, "--epochs -1: outside 1 to 1,000,000."),
    ("train rho without sast", NETWORK, TRAIN + " --rho 0.1", 3, "rho 0.1: belongs to methods sast, asam, random; baseline has none."),
    ("train negative rho", NETWORK, TRAIN + " --method sast --rho -1", 3, "--rho -1.0: outside 0 to 1e+06."),
    ("train alpha", NETWORK, TRAIN + " --alpha 1.5", 3, "alpha 1.5: outside 1e-06 to 0.999999. The paper uses 0.5."),
    ("train threshold", NETWORK, TRAIN + " --threshold 0", 3, "threshold 0.0: outside 1e-06 to 1e+06. The paper uses 1.0."),
    ("train slope", NETWORK, TRAIN + " --slope nan", 3, "slope nan: outside 0.001 to 1e+09. The paper uses 25."),
    ("train clip", NETWORK, TRAIN + " --clip 128", 3, "--clip 128: outside 1 to 127. Choose a clip within that range."),
    ("train divisor", NETWORK, TRAIN + " --clip 4 --divisor 3", 3, "--divisor 3: below --clip 4, so frame values would exceed 1. Choose a divisor of at least 4."),
    ("train divisor 0", NETWORK, TRAIN + " --clip 4 --divisor 0", 3, "--divisor 0: below --clip 4, so frame values would exceed 1. Choose a divisor of at least 4."),
    ("train seed", NETWORK, TRAIN + " --seed 99999999999999999999999", 3, "seed 99999999999999999999999: outside 0 to 9223372036854775807."),
    ("train into a folder", NETWORK, NO_DATA + " --out .", 3, ".: is a folder. Name the file to write."),
    ("train into nothing", NETWORK, NO_DATA + " --out=", 2, "Invalid value for '--out': is empty. Give a value, or leave it out."),
    ("train below a file", NETWORK, NO_DATA + " --out good.pt/x.pt", 3, "good.pt/x.pt: cannot be written (Not a directory). Choose a folder you may write to."),
    ("train into no place for files", NETWORK, NO_DATA + " --out /proc/x.pt", 3, "/proc/x.pt: cannot be written ("),
    ("train over a checkpoint before data", NETWORK, NO_DATA + " --out good.pt --resume", 3, "good.pt: is finished, and there is no good.pt.state to resume. Use --force to train anew."),
    ("train limit", NETWORK, TRAIN + " --limit 0", 3, "limit 0: must be at least 1."),
    ("train bins", NETWORK, TRAIN + " --time-bins 0", 3, "--time-bins 0: outside 1 to 1000."),
    ("train not a number", NETWORK, TRAIN + " --lr fast", 2, "Invalid value for '--lr': 'fast' is not a valid float."),
    ("train over a checkpoint", NETWORK, TRAIN.replace("new.pt", "good.pt"), 3, "good.pt: exists. Choose another name, or replace it with --force."),
    ("train resumed after the end", NETWORK, TRAIN.replace("new.pt", "good.pt") + " --resume", 3, "good.pt: is finished, and there is no good.pt.state to resume. Use --force to train anew."),
    ("train over an interrupted run", state_of_others, TRAIN.replace("new.pt", "half.pt"), 3, "half.pt.state: an interrupted run is there. Go on with --resume, or start anew with --force."),
    ("train resumed with others", state_of_others, TRAIN.replace("new.pt", "half.pt") + " --resume --epochs 2 --seed 4", 3, "half.pt.state: cannot be resumed, settings.seed was 0 and is now 4. Repeat the first call's options."),
    ("train resumed from junk", write("junk.pt.state", "junk"), TRAIN.replace("new.pt", "junk.pt").replace("net.yaml", "fc_0p40m") + " --resume", 3, f"junk.pt.state: is no checkpoint. {WAYS}"),
    # checkpoints
    ("evaluate missing", nothing, "evaluate none.pt", 3, "none.pt: cannot be read (No such file or directory)."),
    ("inspect folder", nothing, "inspect data", 3, "data: is a folder. Name a file."),
    ("inspect empty", write("bad.pt", b""), "inspect bad.pt", 3, f"bad.pt: is empty. {WAYS}"),
    ("inspect junk", write("bad.pt", "junk"), "inspect bad.pt", 3, f"bad.pt: is no checkpoint. {WAYS}"),
    ("inspect pickle", write("bad.pt", pickle.dumps([1])), "inspect bad.pt", 3, f"bad.pt: is no checkpoint. {WAYS}"),
    ("inspect malicious", evil_checkpoint, "inspect bad.pt", 3, "bad.pt: holds something else than tensors and plain values, or is damaged, and was not loaded, because that could run foreign code. Only open checkpoints that sastdeploy has written."),
    ("inspect truncated", cut("good.pt", "bad.pt"), "inspect bad.pt", 3, "bad.pt: is damaged or truncated. Copy or train it again."),
    ("inspect NIR", write("net.nir", "no checkpoint"), "inspect net.nir", 3, "net.nir: is no checkpoint. Import it first ('sastdeploy import')."),
    ("inspect foreign", lambda home: torch.save({"state_dict": {}}, home / "bad.pt"), "inspect bad.pt", 3, "bad.pt: is a PyTorch file, but no sastdeploy checkpoint. Train one with 'sastdeploy train'."),
    ("inspect newer", raw_checkpoint(lambda c: c.update(format_version=9)), "inspect bad.pt", 3, "bad.pt: has format version 9; this sastdeploy reads version 1. Upgrade sastdeploy, or train again."),
    ("inspect NaN weight", raw_checkpoint(lambda c: c["parameters"]["layers.0.weight"].fill_(float("nan"))), "inspect bad.pt", 3, "bad.pt: layers.0.weight[0, 0]: is nan; every parameter must be finite."),
    ("inspect lost parameter", raw_checkpoint(lambda c: c["parameters"].pop("readout.bias")), "inspect bad.pt", 3, "bad.pt: parameters do not fit tiny: missing readout.bias, unexpected none."),
    ("inspect no training facts", raw_checkpoint(lambda c: c["manifest"].update(training={})), "inspect bad.pt", 3, "bad.pt: training.method: expected a text, found None."),
    ("compile no selected epoch", raw_checkpoint(lambda c: c["manifest"]["training"].update(selected=None)), "compile bad.pt", 3, "bad.pt: training.selected: expected keys and values with a whole 'epoch', found None."),
    ("inspect bfloat16", raw_checkpoint(lambda c: c["parameters"].update({"readout.bias": c["parameters"]["readout.bias"].bfloat16()})), "inspect bad.pt", 3, "bad.pt: is damaged (readout.bias is no dense tensor of float32 numbers). Copy or train it again."),
    ("evaluate equal class names", raw_checkpoint(lambda c: c["manifest"].update(classes=list("0123456788"))), "evaluate bad.pt --data data", 3, "bad.pt: class name '8' stands twice. Give every class its own name."),
    ("inspect nothing", nothing, "inspect", 2, "Name a checkpoint, or an architecture with --arch."),
    ("evaluate on another sensor", nothing, "evaluate good.pt --dataset dvsgesture --data data", 3, "good.pt: was trained on nmnist (sensor (34, 34, 2), 10 classes) and does not fit dvsgesture ((128, 128, 2), 11)."),
    ("evaluate without data", nothing, "evaluate good.pt --dataset nmnist-sim --data data", 3, "data set 'nmnist-sim': not found (there is no folder data/nmnist-sim). Three ways to get it: (1) run 'sastdeploy data make nmnist-sim'; (2) name the folder that holds it with --data DIR; (3) set SASTDEPLOY_DATA to that folder."),
    # profiles
    ("profile unknown", nothing, "compile good.pt --profile loihi_int", 3, "profile 'loihi_int': unknown. Did you mean 'loihi_int8'? Built in: aggressive_int4, cortex_m, ecp5_25, ice40_up5k, loihi1, loihi2, loihi_int8, speck, spinnaker2, xylo_a2, xylo_a3, xylo_imu; or name a YAML file ('sastdeploy profiles new' writes one to start from)."),
    ("profile missing", nothing, COMPILE, 3, "bad.yaml: cannot be read (No such file or directory)."),
    ("profile empty", write("bad.yaml", ""), COMPILE, 3, "bad.yaml: is empty."),
    ("profile a list", write("bad.yaml", "[1]"), COMPILE, 3, "bad.yaml: expected keys and values, found list."),
    ("profile duplicate key", profile("title:", "name: again\ntitle:"), COMPILE, 3, "stands twice. Keep one of them."),
    ("profile unknown key", profile("membrane:", "membran:"), COMPILE, 3, "bad.yaml: 2 errors: key 'membran': unknown. Did you mean 'membrane'? Allowed:"),
    ("profile no source", profile('{value: 8, source: "paper, section 5.1 and Table 4: INT8"}', "{value: 8}"), COMPILE, 3, "bad.yaml: key 'weights.bits.source': missing."),
    ("profile text for a number", profile("{value: 8,", "{value: eight,"), COMPILE, 3, "bad.yaml: key 'weights.bits.value': "),
    ("profile too many bits", profile("{value: 8,", "{value: 9,"), COMPILE, 3, "bad.yaml: key 'weights.bits.value': "),
    ("profile trap", profile("{value: 8,", "{value: 08,"), COMPILE, 3, "08 would be read as an octal number; write it without the leading zero."),
    ("profile no format", profile("value: Q8.8", "value: int16"), COMPILE, 3, "not a fixed-point format. Write Qm.n"),
    ("profile long number", profile("{value: 131072,", "{value: 1" + "0" * 400 + ","), COMPILE, 3, "100000000000000000... has 401 digits; a whole number may have at most 18."),
    ("profile merge key", profile("title:", "<<: {title: other}\ntitle:"), COMPILE, 3, "merge keys (<<) are not allowed; write the keys out."),
    ("profile tag", profile("value: Q8.8", "value: !!str Q8.8"), COMPILE, 3, "tags (words that begin with !) are not allowed; write the plain value, or put it in quotes."),
    ("profile check", profile("value: Q8.8", "value: Q30.8"), "profiles check bad.yaml", 3, "Q30.8: not a supported format."),
    ("profile new over a file", write("mine.yaml", "x"), "profiles new mine", 3, "mine.yaml: exists, and is not what would be written now. Choose another name, or replace it with --force."),
    # compiling
    ("compile sample_max", checkpoint(preprocessing=dataclasses.replace(tiny().preprocessing, normalisation="sample_max")), "compile bad.pt", 4, "normalisation 'sample_max' divides by a recording's own largest count"),
    ("compile tiny threshold", parameter("layers.0.threshold", 0.01), "compile bad.pt --profile aggressive_int4", 4, "neuron 0: threshold 0.01 rounds to 0 in Q4.4"),
    ("compile large threshold", parameter("layers.0.threshold", 200.0), "compile bad.pt", 4, "neuron 0: threshold 200 does not fit Q8.8"),
    ("compile large bias", parameter("layers.0.bias", -9.0), "compile bad.pt --profile aggressive_int4", 4, "neuron 0: bias -9 does not fit Q4.4"),
    ("compile narrow accumulator", profile("bits: {value: 24,", "bits: {value: 8,"), COMPILE, 4, "layers.0, neuron "),
    ("compile too many neurons", profile("{value: 131072,", "{value: 3,"), COMPILE, 4, "limits.neurons"),
    ("compile too much memory", profile("{value: 16777216,", "{value: 100,"), COMPILE, 4, "limits.memory_bytes"),
    ("compile into a folder", nothing, "compile good.pt --out data", 3, "data"),
    # simulating
    ("simulate no program", lambda home: (home / "good.onnx").unlink(), "simulate --dataset nmnist --data data", 3, "sastdeploy compile"),
    ("simulate missing", nothing, "simulate none.onnx --dataset nmnist --data data", 3, "none.onnx: "),
    ("simulate junk", write("bad.onnx", "junk"), "simulate bad.onnx --dataset nmnist --data data", 3, "bad.onnx: "),
    ("simulate empty", write("bad.onnx", b""), "simulate bad.onnx --dataset nmnist --data data", 3, "bad.onnx: "),
    ("simulate truncated", cut("good.onnx", "bad.onnx"), "simulate bad.onnx --dataset nmnist --data data", 3, "bad.onnx: "),
    ("simulate altered", flip("good.onnx", "bad.onnx", 0.3), "simulate bad.onnx --dataset nmnist --data data", 3, "bad.onnx: "),
    ("simulate on another sensor", nothing, "simulate good.onnx --dataset dvsgesture --data data", 3, "dvsgesture"),
    ("simulate unknown engine", nothing, "simulate good.onnx --engine gpu", 2, "Invalid value for '--engine': 'gpu' is not one of 'auto', 'numba', 'reference', 'onnxruntime'."),
    ("simulate no threads", nothing, "simulate good.onnx --threads 0", 2, "Invalid value for '--threads': 0 is not in the range x>=1."),
    ("simulate unknown layer", nothing, "simulate good.onnx --dataset nmnist --data data --trace layers.7", 3, "layers.7"),
    ("simulate a bad recording", write("bad.bin", bytes(7)), "simulate good.onnx --recording bad.bin", 3, "bad.bin: offset 5: truncated, 2 of 5 bytes of an event."),
    ("simulate into a file", write("taken", "x"), "simulate good.onnx --dataset nmnist --data data --out taken", 3, "taken"),
    # the rest
    ("quickstart over files", nothing, "quickstart --small --out data", 3, "data: exists and holds no quickstart. Choose another folder with --out."),
    ("unknown option", nothing, "simulate --fast", 2, "No such option"),
    ("unknown command", nothing, "compil good.pt", 2, "No such command 'compil'. Did you mean 'compile'?"),
]  # fmt: skip


def content_of(home: Path) -> dict[str, str]:
    files = [p for p in home.rglob("*") if p.is_file() and ".frames" not in p.parts]
    return {str(p.relative_to(home)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_table_is_long_enough_and_every_name_is_its_own():
    assert len(CASES) >= 60 and len({case[0] for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("prepare", "line", "code", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_bad_input(prepared, tmp_path, monkeypatch, capsys, prepare, line, code, message):
    home = tmp_path / "home"
    shutil.copytree(prepared, home)
    monkeypatch.chdir(home)
    prepare(home)
    before = content_of(home)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main_module.main(line.split())
    captured = capsys.readouterr()
    assert message.replace("{{", "{").replace("}}", "}") in " ".join(captured.err.split()), captured.err
    assert (stop.value.code, captured.out) == (code, "")
    assert "Traceback" not in captured.err
    assert content_of(home) == before
