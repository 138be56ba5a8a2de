"""Checkpoints: whole or refused, and never a way to run code."""

import dataclasses
import json
import os
import pickle
import resource
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sastdeploy.errors import InputError
from sastdeploy.networks.checkpoint import checkpoint_hash, load_checkpoint, save_checkpoint
from tests.small_networks import CONV, DENSE, POOL, checkpoint_of


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL])
def test_saved_and_loaded_is_equal(tmp_path, architecture):
    before = checkpoint_of(architecture)
    save_checkpoint(tmp_path / "a.pt", before)
    after = load_checkpoint(tmp_path / "a.pt")
    assert checkpoint_hash(after) == checkpoint_hash(before)
    assert dataclasses.replace(after, parameters={}) == dataclasses.replace(before, parameters={})
    assert all(np.array_equal(after.parameters[k], v) for k, v in before.parameters.items())


def test_the_hash_sees_every_part():
    base = checkpoint_of()
    others = [
        checkpoint_of(seed=1), checkpoint_of(divisor=4.0), dataclasses.replace(base, dataset="nmnist"),
        dataclasses.replace(base, classes=("a", "b", "c")), dataclasses.replace(base, training={}),
    ]  # fmt: skip
    assert len({checkpoint_hash(c) for c in [base, *others]}) == 6


class Payload:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("kind", ["torch", "zip", "pickle"])
def test_a_malicious_file_is_refused_and_its_code_never_runs(tmp_path, kind):
    path, proof = tmp_path / "evil.pt", tmp_path / "code-ran"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Payload(proof)))
    else:
        torch.save({"format": Payload(proof)} if kind == "torch" else Payload(proof), path)
    with pytest.raises(InputError) as caught:
        load_checkpoint(path)
    assert not proof.exists()
    expected = (
        "is no checkpoint" if kind == "pickle" else "was not loaded, because that could run foreign code"
    )
    assert expected in str(caught.value)


def changed(**parts):
    return lambda c: dataclasses.replace(c, **parts)


def with_parameter(name, value):
    return lambda c: dataclasses.replace(c, parameters={**c.parameters, name: value})


def without_parameter(name):
    return lambda c: dataclasses.replace(c, parameters={k: v for k, v in c.parameters.items() if k != name})


NOT_PLAIN = "training facts are not plain values: text that is valid Unicode, finite numbers (whole ones below 2^64), lists, dicts. Copy or train it again."
NAN, INF = np.full((12,), np.nan, np.float32), np.full((3,), np.inf, np.float32)


@pytest.mark.parametrize(("change", "message"), [
    (without_parameter("layers.0.bias"), "parameters do not fit tiny_fc: missing layers.0.bias, unexpected none."),
    (with_parameter("extra", NAN), "parameters do not fit tiny_fc: missing none, unexpected extra."),
    (with_parameter("layers.0.bias", np.zeros(11, np.float32)), "layers.0.bias: expected float32 [12], found float32 [11]."),
    (with_parameter("layers.0.bias", np.zeros(12)), "layers.0.bias: expected float32 [12], found float64 [12]."),
    (with_parameter("layers.0.bias", NAN), "layers.0.bias[0]: is nan; every parameter must be finite."),
    (with_parameter("readout.bias", INF), "readout.bias[0]: is inf; every parameter must be finite."),
    (with_parameter("layers.1.threshold", np.array([1] * 7 + [0], np.float32)), "layers.1.threshold[7]: is 0; thresholds must be positive."),
    (changed(classes=("a", "b")), "2 class names for 3 outputs."),
    (changed(training={"gradient_norm": float("inf")}), NOT_PLAIN),
    (changed(training={"gradient_norm": np.float64(1)}), NOT_PLAIN),
    (changed(provenance={"command": "--out /d/\udce9"}), NOT_PLAIN),
    (lambda c: dataclasses.replace(c, preprocessing=checkpoint_of(POOL).preprocessing), "frames (1, 8, 8) do not fit the network's input (2, 4, 4)."),
])  # fmt: skip
def test_a_checkpoint_that_is_not_whole_is_refused_and_nothing_is_written(tmp_path, change, message):
    with pytest.raises(InputError) as caught:
        save_checkpoint(tmp_path / "a.pt", change(checkpoint_of()))
    assert str(caught.value) == f"{tmp_path}/a.pt: {message}"
    assert list(tmp_path.iterdir()) == []


def altered(tmp_path, change):
    save_checkpoint(tmp_path / "a.pt", checkpoint_of())
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    change(content)
    torch.save(content, tmp_path / "a.pt")
    return tmp_path / "a.pt"


@pytest.mark.parametrize(("change", "message"), [
    (lambda c: c.update(format="other"), "is a PyTorch file, but no sastdeploy checkpoint. Train one with 'sastdeploy train'."),
    (lambda c: c.update(format_version=torch.ones(2)), "has format version tensor([1., 1.]); this sastdeploy reads version 1."),
    (lambda c: c["manifest"]["preprocessing"].update(divisor=10**400), "preprocessing: a value has the wrong type"),
    (lambda c: c.update(format_version=2), "has format version 2; this sastdeploy reads version 1. Upgrade sastdeploy, or train again."),
    (lambda c: c.pop("manifest"), "is damaged (its manifest is not whole)."),
    (lambda c: c["manifest"].pop("classes"), "is damaged (its manifest is not whole)."),
    (lambda c: c["manifest"].update(classes=[1, 2, 3]), "is damaged (class names or data set are no text)."),
    (lambda c: c["manifest"].update(training={"a": float("nan")}), "training facts are not plain values: "),
    (lambda c: c["parameters"].update({"layers.0.bias": "text"}), "is damaged (layers.0.bias is no dense tensor of float32 numbers). Copy or train it again."),
    (lambda c: c["parameters"].update({"layers.0.bias": torch.zeros(12).to_sparse()}), "is damaged (layers.0.bias is no dense tensor of float32 numbers)."),
    (lambda c: c["parameters"].update({"layers.0.bias": torch.zeros(12, dtype=torch.bfloat16)}), "is damaged (layers.0.bias is no dense tensor of float32 numbers)."),
    (lambda c: c["parameters"].update({"layers.0.bias": torch.zeros(12, dtype=torch.float64)}), "layers.0.bias: expected float32 [12], found float64 [12]."),
    (lambda c: c["manifest"].update(classes=["a", "b", "a"]), "class name 'a' stands twice. Give every class its own name."),
    (lambda c: c["manifest"].update(training=[]), "training: expected keys and values, found list."),
    (lambda c: c["manifest"].update(training={}), "training.method: expected a text, found None."),
    (lambda c: c["manifest"]["training"].update(rho=[1]), "training.rho: expected a number, 0 to 1e+06, found [1]."),
    (lambda c: c["manifest"]["training"].update(seed=-1), "training.seed: expected a whole number, 0 to 9223372036854775807, found -1."),
    (lambda c: c["manifest"]["training"].update(epochs=True), "training.epochs: expected a whole number, 0 to 1,000,000, found True."),
    (lambda c: c["manifest"]["training"].update(selected=None), "training.selected: expected keys and values with a whole 'epoch', found None."),
    (lambda c: c["manifest"]["training"].update(rho=2**1100), "training facts are not plain values: "),
    (lambda c: c["manifest"]["training"].update(rho=2**62), "training.rho: expected a number, 0 to 1e+06, found 4611686018427387904."),
    (lambda c: c["manifest"]["training"].update(rho=1e308), "training.rho: expected a number, 0 to 1e+06, found 1e+308."),
    (lambda c: c["manifest"]["training"].update(learning_rate="x"), "training.learning_rate: expected a number above 0, at most 1e+06, found 'x'."),
    (lambda c: c["manifest"]["training"].update(init_scale=1e300), "training.init_scale: expected a number above 0, at most 1e+06, found 1e+300."),
    (lambda c: c["manifest"]["training"].update(init_factors={"layers.0": "x"}), "training.init_factors: expected a number above 0 per layer, found {'layers.0': 'x'}."),
    (lambda c: c["manifest"]["training"]["selected"].update(silent_layers=3), "training.selected.silent_layers: expected layer names, found 3."),
    (lambda c: c["manifest"]["training"].update(deep=json.loads("[" * 31 + "]" * 31)), "training facts are not plain values: "),
    (lambda c: c["manifest"]["architecture"]["neuron"].update(threshold=1e-50), "threshold 1e-50: outside 1e-06 to 1e+06. The paper uses 1.0."),
    (lambda c: c["manifest"]["architecture"]["neuron"].update(threshold=1e39), "threshold 1e+39: outside 1e-06 to 1e+06. The paper uses 1.0."),
    (lambda c: c["manifest"]["architecture"]["neuron"].update(slope=1e308), "slope 1e+308: outside 0.001 to 1e+09. The paper uses 25."),
    (lambda c: c["manifest"]["architecture"]["neuron"].update(slope=2**1100), "slope"),
    (lambda c: c["manifest"].update(classes=["a", "", "c"]), "class name '': must be 1 to 1000 printable characters, not all spaces."),
    (lambda c: c["manifest"].update(classes=["a", "b\n", "c"]), "class name 'b\\n': must be 1 to 1000 printable characters, not all spaces."),
    (lambda c: c["manifest"].update(classes=["a", "b", "c" * 1001]), f"class name '{'c' * 36}...: must be 1 to 1000 printable characters, not all spaces."),
    (lambda c: c["manifest"].update(dataset=" "), "data set ' ': must be 1 to 1000 printable characters, not all spaces."),
    (lambda c: c["manifest"]["preprocessing"].update(c_clip=0), "c_clip 0: outside 1 to 127."),
    (lambda c: c["manifest"]["architecture"].update(classes=1), "1 classes; at least 2 are needed."),
    (lambda c: c["manifest"]["architecture"]["layers"][0].update(neurons=13), "layers.0.weight: expected float32 [13, 32], found float32 [12, 32]."),
    (lambda c: c["manifest"]["architecture"]["neuron"].update(alpha="half"), "key 'neuron.alpha': must be a number, found 'half'."),
])  # fmt: skip
def test_an_altered_file_is_refused(tmp_path, change, message):
    with pytest.raises(InputError) as caught:
        load_checkpoint(altered(tmp_path, change))
    assert message in str(caught.value)


def test_a_stride_that_no_program_can_state_is_refused_at_load(tmp_path):
    save_checkpoint(tmp_path / "a.pt", checkpoint_of(POOL))
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    content["manifest"]["architecture"]["layers"][0]["stride"] = 200
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError) as caught:
        load_checkpoint(tmp_path / "a.pt")
    assert (
        str(caught.value)
        == f"{tmp_path}/a.pt: tiny_pool: layer 0 (conv): stride 200: at most 127 is allowed."
    )


def test_files_that_are_no_checkpoints(tmp_path):
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, message in (("none.pt", "cannot be read (No such file or directory)."), ("empty.pt", "is empty."),
                          ("text.pt", "is no checkpoint."), ("list.pt", "holds a list, no checkpoint."),
                          ("", "is a folder. Name a file.")):  # fmt: skip
        with pytest.raises(InputError) as caught:
            load_checkpoint(tmp_path / name)
        assert message in str(caught.value)


@settings(max_examples=40)
@given(st.data())
def test_a_damaged_file_is_refused_or_equal(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    before = checkpoint_of()
    save_checkpoint(folder / "a.pt", before, force=True)
    content = bytearray((folder / "a.pt").read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "a.pt").write_bytes(content)
    try:
        after = load_checkpoint(folder / "a.pt")
    except InputError as error:
        assert str(folder / "a.pt") in str(error)
    else:
        assert checkpoint_hash(after) == checkpoint_hash(before)


def test_a_flipped_bit_in_a_weight_is_named(tmp_path):
    before = checkpoint_of()
    save_checkpoint(tmp_path / "a.pt", before)
    content, weights = (tmp_path / "a.pt").read_bytes(), before.parameters["layers.0.weight"].tobytes()
    place = content.index(weights)
    (tmp_path / "a.pt").write_bytes(content[:place] + bytes([weights[0] ^ 1]) + content[place + 1 :])
    with pytest.raises(InputError) as caught:
        load_checkpoint(tmp_path / "a.pt")
    assert str(caught.value).startswith(f"{tmp_path}/a.pt: is damaged (")
    assert str(caught.value).endswith(" does not match its sum). Copy or train it again.")


def test_weights_that_are_marked_as_a_folder_are_refused(tmp_path):
    """torch reads such a member as nothing, and the weights come from memory that nobody wrote."""
    save_checkpoint(tmp_path / "a.pt", checkpoint_of())
    content = bytearray((tmp_path / "a.pt").read_bytes())
    name = next(n for n in zipfile.ZipFile(tmp_path / "a.pt").namelist() if n.endswith("/data/0"))
    content[content.rindex(name.encode()) - 8] ^= 0x10  # external attributes, in the zip's directory
    (tmp_path / "a.pt").write_bytes(content)
    assert zipfile.ZipFile(tmp_path / "a.pt").testzip() is None
    with pytest.raises(InputError) as caught:
        load_checkpoint(tmp_path / "a.pt")
    assert str(caught.value).endswith(f"is damaged ({name} is marked as a folder). Copy or train it again.")


def test_a_disk_that_takes_no_more_is_named(tmp_path):
    """A process's limit on the size of its files fails in the same place as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError, match=r"a\.pt: cannot be written \(File too large\)\. .*make room"):
            save_checkpoint(tmp_path / "a.pt", checkpoint_of(DENSE))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_saving_never_half_overwrites(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "a.pt", checkpoint_of())
    content = (tmp_path / "a.pt").read_bytes()
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path / "a.pt", checkpoint_of(seed=1), force=True)
    assert (tmp_path / "a.pt").read_bytes() == content and os.listdir(tmp_path) == ["a.pt"]
