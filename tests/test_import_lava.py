"""from_lava: .net files as lava-dl writes them, whose programs hold Loihi's integers."""

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from sastdeploy import CompileError, Framing, InputError, compile, from_lava
from sastdeploy.cli.main import cli
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference

STEPS = 12


def neuron(i_decay=1024, v_decay=128, threshold=80, **changes):
    return {
        "type": "CUBA", "iDecay": i_decay, "vDecay": v_decay, "vThMant": threshold, "refDelay": 1, "gradedSpike": False,
        **changes,
    }  # fmt: skip


def write(path, *layers):
    """Write layers ``{field: value}`` in lava-dl's form: kinds as arrays of ten bytes, a group for the neuron."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            group = file.create_group(f"layer/{number}")
            for key, value in layer.items():
                if key == "type":
                    group["type"] = np.array([value.encode()], "S10")
                elif key == "neuron":
                    for field, number_or_text in value.items():
                        group[f"neuron/{field}"] = number_or_text
                else:
                    group[key] = np.asarray(value)
        file["simulation/Ts"] = 1
    return path


def even(rng, *shape):
    return (2 * rng.integers(-90, 100, shape)).astype(np.float32)


def network(rng):
    conv = even(rng, 4, 2, 3, 3, 1)
    return [
        {"type": "input", "shape": [2, 9, 8], "weight": 40.0, "bias": 36.0, "neuron": neuron(4096, 1024, 120)},
        {"type": "conv", "shape": [4, 4, 4], "weight": conv, "stride": [2, 2], "padding": [0, 1], "dilation": [1, 1], "groups": 1,
         "delay": [0, 3, 1, 2], "neuron": neuron(1024, 300, 900, type="LOIHI", wgtExp=0)},
        {"type": "pool", "shape": [4, 2, 2], "kernelSize": [2, 2], "stride": [2, 2], "padding": [0, 0], "dilation": [1, 1],
         "neuron": neuron(2000, 7, 200)},
        {"type": "flatten", "shape": [1, 1, 16]},
        {"type": "dense", "shape": [5, 1, 1], "weight": even(rng, 80), "delay": [2.0, 0, 0, 1, 0], "neuron": neuron(4096, 55, 300)},
        {"type": "dense", "shape": [3, 1, 1], "weight": even(rng, 3, 5), "delay": np.zeros(3), "neuron": neuron(0, 0, 300)},
    ]  # fmt: skip


def trunc(values):
    """Return the quotient by 4096, rounded toward zero."""
    return np.sign(values) * (np.abs(values) // 4096)


def loihi(layers, x, steps):
    """Return membranes and spikes ``[T, ...]`` of every layer with neurons as lava steps them: each hears the step before, delayed."""
    made, sent = [], None
    for layer in layers:
        if layer["type"] == "flatten":
            sent = sent.reshape(steps, -1)
            continue
        own, shape = layer["neuron"], tuple(layer["shape"])
        u = v = np.zeros(shape if layer["type"] != "dense" else shape[:1], np.int64)
        rows = []
        for t in range(steps):
            before = (
                np.zeros_like(sent[0])
                if sent is not None and t == 0
                else None
                if sent is None
                else sent[t - 1]
            )
            u = trunc(u * (4096 - own["iDecay"]))
            bias = 0
            if layer["type"] == "input":
                bias = ((layer["weight"] * x[t] + layer["bias"]).astype(np.int64)) << 6
            else:
                u = u + (summed(layer, before) << 6)
            v = trunc(v * (4096 - own["vDecay"])) + u + bias
            s = (v > own["vThMant"] << 6).astype(np.int64)
            v = v * (1 - s)
            rows.append((v, s))
        made.append([np.stack(part) for part in zip(*rows)])
        sent = delayed(made[-1][1], layer.get("delay", [0]))
    return made


def delayed(spikes, delays):
    """Return every channel's spikes so many steps later."""
    later = np.zeros_like(spikes)
    for channel, steps in enumerate(np.broadcast_to(delays, spikes.shape[1]).astype(int)):
        later[steps:, channel] = spikes[: len(spikes) - steps, channel]
    return later


def summed(layer, spikes):
    """Return a layer's sums, place by place."""
    if layer["type"] == "dense":
        return layer["weight"].astype(np.int64).reshape(layer["shape"][0], -1) @ spikes
    channels, rows, columns = layer["shape"]
    (step_y, step_x), (pad_y, pad_x) = layer["stride"], layer["padding"]
    padded = np.pad(spikes, ((0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    result = np.zeros((channels, rows, columns), np.int64)
    for y, x in np.ndindex(rows, columns):
        if layer["type"] == "pool":
            height, width = layer["kernelSize"]
            window = padded[:, y * step_y : y * step_y + height, x * step_x : x * step_x + width]
            result[:, y, x] = 64 * window.sum((1, 2))
        else:
            weight = layer["weight"][..., 0].astype(np.int64)
            window = padded[:, y * step_y : y * step_y + 3, x * step_x : x * step_x + 3]
            result[:, y, x] = (weight * window).sum((1, 2, 3))
    return result


def test_a_program_of_loihi1_holds_loihis_integers(tmp_path):
    rng = np.random.default_rng(5)
    layers = network(rng)
    shown = rng.integers(0, 12, (STEPS, 2, 9, 8))
    imported = from_lava(write(tmp_path / "n.net", *layers), framing=Framing(time_bins=STEPS, clip=11))
    compilation = compile(imported, "loihi1")
    program = compilation.program
    assert {layer.name: layer.steps.tolist() for layer in program.layers if layer.kind == "delay"} == {
        "1.conv.delay": [0, 3, 1, 2], "4.dense.delay": [2, 0, 0, 1, 0],
    }  # fmt: skip
    names = list(program.neurons())
    assert names == ["0.input", "1.conv.weight", "2.pool.weight", "4.dense.weight", "5.dense.weight"]
    assert all(layer.signal_to_noise_db is None for layer in compilation.report.layers)
    run = reference.run(program, Frames.from_dense(shown[None]), trace=tuple(names))
    # Layer l's step t is lava's t + l, so lava runs on; what it shows then, nobody hears.
    later = np.concatenate([shown, np.zeros((len(names), 2, 9, 8), int)])
    meant = loihi(layers, later, len(later))
    for depth, (name, (membranes, spikes)) in enumerate(zip(names, meant)):
        own, here = run.traces[name], slice(depth, depth + STEPS)
        assert np.array_equal(own.membranes[0], membranes[here].reshape(STEPS, -1)), name
        assert np.array_equal(own.spikes[0], spikes[here].reshape(STEPS, -1)), name
        assert 0 < spikes[here].sum() < spikes[here].size
    # The graph is the same without rounding: its first layer, whose decay is 3/4, has not rounded yet at its first step.
    outputs = interpret(imported.graph, shown[None])
    assert np.array_equal(outputs.membranes[0][0, 0] * 4096, meant[0][0][0])


def test_a_first_layer_of_events_takes_the_smallest_input_that_fits(tmp_path):
    rng = np.random.default_rng(1)
    conv = {"type": "conv", "shape": [4, 4, 4], "weight": even(rng, 4, 2, 3, 3), "stride": 2, "padding": 0, "neuron": neuron()}  # fmt: skip
    assert from_lava(write(tmp_path / "c.net", conv)).graph.input.shape == (2, 9, 9)
    dense = {"type": "dense", "shape": [5, 1, 1], "weight": even(rng, 5, 7), "neuron": neuron()}
    assert from_lava(write(tmp_path / "d.net", dense)).graph.input.shape == (1, 1, 7)


def test_what_no_engine_computes_is_refused_by_name(tmp_path):
    weight = np.ones((2, 2))
    path = write(
        tmp_path / "n.net",
        {"type": "dense", "shape": [2, 1, 1], "weight": weight, "delay": [0.0, 2.5], "bias": [0, 2], "neuron": neuron()},
        {"type": "dense_rec", "shape": [2, 1, 1], "weight": weight},
        {"type": "dense", "shape": [2, 1, 1], "weight": weight, "neuron": neuron(type="SDNN", gradedSpike=True, refDelay=2)},
        {"type": "dense", "shape": [2, 1, 1], "weight": 0.5 * weight, "neuron": neuron()},
        {"type": "dense", "shape": [2, 1, 1], "weight": weight, "neuron": neuron(v_decay=4096)},
        {"type": "dense", "shape": [2, 1, 1], "neuron": neuron()},
        {"type": "dense", "shape": [2, 1, 1], "weight": weight, "neuron": neuron(threshold=1.5)},
        {"type": "dense", "shape": [2, 1, 1], "weight": weight, "neuron": neuron(wgtExp=65)},
        {"type": "dense", "shape": [2, 1, 1], "weight": 2.0, "neuron": neuron()},
        {"type": "dense", "shape": [2, np.inf, 1], "weight": np.ones(4), "neuron": neuron()},
    )  # fmt: skip
    with pytest.raises(CompileError) as error:
        from_lava(path)
    assert [reason.removeprefix(f"{path}: ") for reason in error.value.reasons] == [
        "0.dense: axonal delays that are no whole numbers from 0; lava-dl writes them rounded down.",
        "0.dense: a bias, which lava adds from the first step on, before the layer's inputs arrive; engines start all layers together.",
        "1.dense_rec: a layer of kind dense_rec, which no engine computes.",
        "2.dense: neurons of kind SDNN; engines compute CUBA.",
        "2.dense: graded spikes, which no engine computes.",
        "2.dense: a refractory period, which no engine computes.",
        "3.dense: weights that are no integers; export the network quantized.",
        "4.dense: iDecay 1024, vDecay 4096, vThMant 80: allowed 0 to 4096, 0 to 4095, and from 1.",
        "5.dense: a layer without 'weight'.",
        "6.dense: a layer that is not whole (vThMant holds what is no whole number of at most 2,147,483,648).",
        "7.dense: wgtExp 65: allowed -64 to 64.",
        "8.dense: a layer that is not whole (a weight of shape ()).",
        "9.dense: a layer that is not whole (shape holds what is no whole number of at most 2,147,483,648).",
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda file: file.move("layer", "other"), "there is no group 'layer'"),
        (lambda file: file.move("layer/0", "layer/7"), "layers are not numbered 0 to 0, at most 10,000"),
        (lambda file: file.pop("layer/0/type"), "layer 0 has no 'type'"),
        (lambda file: file.create_group("layer/0/stride"), "'stride' of layer 0 is a group, not a value"),
        (lambda file: file.move("layer/0", "layer/x"), "layers are not numbered 0 to 0, at most 10,000"),
        (lambda file: (file.pop("layer"), file.create_dataset("layer", data=1)), "'layer' is no group"),
        (
            lambda file: (file.pop("layer/0"), file.create_dataset("layer/0", data=1)),
            "layer 0 is no group",
        ),
        (
            lambda file: (
                file.pop("layer/0/type"),
                file.create_dataset("layer/0/type", data=np.zeros(0, "S4")),
            ),
            "the type of layer 0 is no text",
        ),
        (
            lambda file: file.create_dataset("layer/0/x", (1025, 1 << 20), "u1", chunks=(1, 1 << 20)),
            "more than 1,024 MiB of values",
        ),
        (
            lambda file: file.create_dataset("layer/0/x", (4,), h5py.vlen_dtype(np.int32)),
            "'/layer/0/x' is of type object",
        ),
        (
            lambda file: file.create_dataset("layer/0/x", (4,), np.complex64),
            "'/layer/0/x' is of type complex64",
        ),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, fault):
    path = write(tmp_path / "n.net", {"type": "flatten", "shape": [1, 1, 4]})
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(InputError) as error:
        from_lava(path)
    message = str(error.value)
    assert message.startswith(f"{path}: is no lava-dl .net file") or "lava-dl .net file" in message
    assert message.endswith("Write it again, with lava-dl's export_hdf5.") and "\n" not in message
    assert fault in message


def dense(outputs, inputs, **changes):
    return {
        "type": "dense",
        "shape": [outputs, 1, 1],
        "weight": np.full((outputs, inputs), 2.0),
        "neuron": neuron(),
        **changes,
    }


@pytest.mark.parametrize(
    "weight", [None, 128.0, np.full((1, 1, 2, 2), -32.0), np.arange(4.0).reshape(1, 1, 2, 2, 1)]
)
def test_a_pool_sums_with_the_weights_of_its_layer(tmp_path, weight):
    pool = {"type": "pool", "shape": [3, 2, 2], "kernelSize": [2, 2], "stride": [2, 2], "neuron": neuron()}
    if weight is not None:
        pool["weight"] = weight
    network = from_lava(write(tmp_path / "n.net", {"type": "input", "shape": [3, 4, 4]}, pool))
    convolution = network.graph.nodes[1]
    wanted = np.broadcast_to(np.asarray(64.0 if weight is None else weight).reshape(-1), 4).reshape(2, 2)
    for channel in range(3):
        assert np.array_equal(64 * convolution.weight[channel, channel], wanted)  # of the gain of 2^-6


def test_the_weights_exponent_leaves_an_inputs_values_alone(tmp_path):
    made = {}
    for exponent in (0, 3):
        layer = {
            "type": "input",
            "shape": [2, 1, 1],
            "weight": 10,
            "bias": 5,
            "neuron": neuron(4096, wgtExp=exponent),
        }
        node = from_lava(write(tmp_path / f"{exponent}.net", layer)).graph.nodes[1]
        made[exponent] = (node.weight.reshape(-1)[0] * node.gain * 4096, node.bias.reshape(-1)[0] * 4096)
    assert made == {0: (10 << 6, 5 << 6), 3: (10 << 6, 5 << 6)}


def test_delays_of_an_input_without_a_map_lie_along_its_values(tmp_path):
    network = from_lava(
        write(tmp_path / "n.net", {"type": "input", "shape": [4, 1, 1], "delay": [1, 0, 2, 3]}, dense(2, 4))
    )
    assert network.graph.nodes[1].steps.reshape(-1).tolist() == [1, 0, 2, 3]


CONV = {"type": "conv", "weight": np.full((3, 2, 3, 3), 2.0), "neuron": neuron()}
MAP = {"type": "input", "shape": [2, 6, 6]}


@pytest.mark.parametrize(
    ("layers", "reasons"),
    [
        ([MAP, {**CONV, "shape": [3, 9, 9]}], ["1.conv: its shape is 3 x 9 x 9, but what it computes is 3 x 4 x 4. Write the file again, or name what made it."]),
        ([MAP, {**CONV, "shape": [3, 4, 4], "kernelSize": [5, 5], "inChannels": 9, "outChannels": 8}],
         ["1.conv: kernelSize is 5 x 5, but its weight has 3 x 3.", "1.conv: inChannels is 9, but its weight has 2.", "1.conv: outChannels is 8, but its weight has 3."]),
        ([{"type": "input", "shape": [2, 5, 5]}, {"type": "pool", "shape": [2, 3, 3], "kernelSize": [2, 2], "neuron": neuron()}],
         ["1.pool: windows of 2 x 2 do not divide a map of 5 x 5; lava-dl adds rows and columns of zeros at its end, which no engine computes."]),
        ([MAP, {"type": "flatten", "shape": [1, 1, 99]}, dense(2, 72)],
         ["1.flatten: its shape is 1 x 1 x 99, but what it computes is 72. Write the file again, or name what made it."]),
        ([dense(5, 7, shape=[3, 1, 1])], ["0.dense: its shape is 3 x 1 x 1, but what it computes is 5. Write the file again, or name what made it."]),
        ([dense(3, 4), {"type": "input", "shape": [9, 1, 1], "neuron": neuron(4096)}], ["1.input: an input layer behind others."]),
        ([{"type": "input", "shape": [4, 1, 1], "weight": 3}, dense(2, 4)], ["0.input: a weight or bias without neurons that take it."]),
        ([MAP, {"type": "flatten", "shape": [72, 1, 1], "delay": 3}, dense(2, 72)], ["1.flatten: neurons or delays of its own, which no engine computes."]),
        ([dense(2, 4, neuron=neuron(weight_exp=3))], ["0.dense: a weight_exp, by which lava-dl divides the layer's current; no engine computes it."]),
        ([dense(2, 4, neuron=neuron([1, 2]))], ["0.dense: a layer that is not whole (iDecay holds 2 values, not one; others per channel are not read)."]),
        ([MAP, {"type": "pool", "shape": [2, 3, 3], "neuron": neuron()}], ["1.pool: a layer without 'kernelSize'."]),
        ([MAP, {"type": "pool", "shape": [2, 3, 3], "kernelSize": 60000, "neuron": neuron()}],
         ["1.pool: a layer that is not whole (windows of 60000 x 60000 on 2 channels; at most 67,108,864 weights are allowed)."]),
        ([{**CONV, "shape": [3, 1, 1], "padding": 9}], ["0.conv: takes an input of 2 x -15 x -15; allowed is 1 or more."]),
    ],
)  # fmt: skip
def test_a_file_that_contradicts_itself_is_refused(tmp_path, layers, reasons):
    path = write(tmp_path / "n.net", *layers)
    with pytest.raises(CompileError) as error:
        from_lava(path)
    assert list(error.value.reasons) == [f"{path}: {reason}" for reason in reasons]


def test_a_graphs_fault_names_the_file(tmp_path):
    path = write(tmp_path / "n.net", dense(2, 4, weight=np.full((2, 4), np.inf)))
    with pytest.raises(InputError) as error:
        from_lava(path)
    assert str(error.value) == f"{path}: dense 0.dense.weight: a weight is not finite."


def test_what_no_memory_holds_is_refused(tmp_path):
    huge = {"type": "input", "shape": [2**31, 2, 1], "neuron": neuron(4096)}
    with pytest.raises(
        CompileError, match=r"0\.input: takes 4,294,967,296 values; at most 16,777,216 are allowed"
    ):
        from_lava(write(tmp_path / "a.net", huge))
    many = {"type": "input", "shape": [20000, 2, 1], "neuron": neuron(4096)}
    with pytest.raises(
        CompileError, match="20,000 channels without weights before them; engines hold one for each pair"
    ):
        from_lava(write(tmp_path / "c.net", many))
    conv = {"type": "conv", "shape": [2, 4, 4], "weight": np.full((2, 2, 3, 3), 2.0), "dilation": [1, 2**29], "neuron": neuron()}  # fmt: skip
    with pytest.raises(
        CompileError, match=r"kernels of 3 x 1073741825 with their dilation, over 2 channels to 2, take more"
    ):
        from_lava(write(tmp_path / "b.net", {"type": "input", "shape": [2, 9, 8]}, conv))


def test_import_reads_it_and_refuses_options_of_nir(tmp_path):
    path, out = write(tmp_path / "n.net", *network(np.random.default_rng(5))), tmp_path / "n.pt"
    words = ["import", str(path), "-o", str(out), "--time-bins", "12", "--clip", "11"]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0 and out.exists()
    assert (
        "1.conv: alpha = 1 - 300 / 4096, threshold = 900 << 6, current decay = 1 - 1024 / 4096" in done.output
    )
    with pytest.raises(InputError) as error:
        CliRunner().invoke(cli, [*words, "--force", "--dialect", "norse", "--dt", "1"], catch_exceptions=False, standalone_mode=False)  # fmt: skip
    assert str(error.value) == (
        f"{path}: a .net file says its neurons in full; --dialect, --dt are for NIR files. Leave them out."
    )
