"""Architectures as declared data: the paper's counts to the unit, and what a user's file may say."""

import numpy as np
import pytest

from sastdeploy.errors import InputError
from sastdeploy.networks.architecture import Architecture, AvgPool, Conv, Dense, Neuron, Readout
from sastdeploy.networks.builtin import (
    architecture_from_dict,
    architecture_to_dict,
    builtin,
    describe,
    load_architecture,
)

NMNIST, GESTURE = ((2, 34, 34), 10), ((2, 48, 48), 11)


@pytest.mark.parametrize(("name", "data", "learnable", "thresholds", "largest"), [
    ("fc_0p40m", NMNIST, 400_050, 232, 3_998_080),
    ("fc_0p40m", GESTURE, 399_643, 416, 3_992_160),
    ("conv_0p42m", NMNIST, 420_590, 476, 124_396_480),
    ("conv_0p42m", GESTURE, 420_863, 476, 228_127_760),
])  # fmt: skip
def test_the_papers_counts_to_the_unit(name, data, learnable, thresholds, largest):
    facts = describe(builtin(name, *data), 10)
    assert sum(f.learnable for f in facts) == learnable
    assert sum(f.thresholds for f in facts) == thresholds
    assert sum(f.largest_synops for f in facts) == largest


def test_table_4_cannot_come_from_fc_0p40m():
    # The paper reports 86,221.3 kSynOps on DVS Gesture; with every input and neuron active, fc_0p40m makes 3,992.
    assert sum(f.largest_synops for f in describe(builtin("fc_0p40m", *GESTURE), 10)) / 1000 < 86_221.3
    assert sum(f.largest_synops for f in describe(builtin("conv_0p42m", *GESTURE), 10)) / 1000 > 86_221.3
    # On N-MNIST the input is the same for both methods, so only hidden layers can differ by 1734 - 1315 = 419.
    hidden = describe(builtin("fc_0p40m", *NMNIST), 10)[1:]
    assert sum(f.largest_synops for f in hidden) / 1000 < 1734.0 - 1315.0


def test_fan_out_counts_borders_and_stride_by_hand():
    # 3 x 3 kernel, stride 2, padding 1 on a 3 x 3 input gives 2 x 2 outputs; input 0 is reached by output 0 only,
    # input 1 by outputs 0 and 1, input 2 by output 1 only: per axis 1, 2, 1.
    facts = describe(Architecture("a", (1, 3, 3), (Conv(5, 3, 2, 1),), Readout(True), 2), 1)
    assert facts[0].fan_out == (5, 20)
    assert facts[0].largest_synops == 5 * (1 + 2 + 1) ** 2


def test_a_pool_that_drops_a_row_costs_nothing_there():
    facts = describe(Architecture("a", (1, 5, 5), (Conv(1, 1, 1, 0), AvgPool(2), Dense(3)), Readout(), 2), 1)
    assert facts[1].fan_out == (0, 1) and facts[1].largest_synops == 16
    assert facts[2].largest_synops == 4 * 3


def test_fan_out_equals_a_brute_force_count():
    rng = np.random.default_rng(0)
    for _ in range(30):
        size, kernel, stride = int(rng.integers(3, 9)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
        padding = int(rng.integers(0, kernel))
        architecture = Architecture(
            "a", (1, size, size), (Conv(2, kernel, stride, padding),), Readout(True), 2
        )
        ((_, out, _),) = architecture.shapes()
        reached = [sum(0 <= i + padding - stride * o < kernel for o in range(out)) for i in range(size)]
        expected = 2 * np.outer(reached, reached)
        facts = describe(architecture, 1)[0]
        assert facts.fan_out == (expected.min(), expected.max()) and facts.largest_synops == expected.sum()


def test_fan_outs_of_a_wide_input_need_no_table_of_inputs_and_outputs():
    import tracemalloc

    wide = Architecture("a", (1, 1, 1_000_000), (Conv(1, 1, 1, 0),), Readout(True), 2)
    tracemalloc.start()
    assert describe(wide, 1)[0].fan_out == (1, 1)
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()


def test_an_unknown_name_and_an_input_the_paper_does_not_use():
    with pytest.raises(InputError, match=r"architecture 'fc_0p4m': unknown. Did you mean 'fc_0p40m'\?"):
        builtin("fc_0p4m", *NMNIST)
    with pytest.raises(
        InputError, match=r"defines it for inputs 2 x 34 x 34 and 2 x 48 x 48, not for 1 x 28 x 28"
    ):
        builtin("fc_0p40m", (1, 28, 28), 10)


GOOD = """
name: mine
layers:
  - {kind: conv, channels: 8, kernel: 3, stride: 2, padding: 1}
  - {kind: sum_pool, kernel: 2}
  - {kind: dense, neurons: 20}
"""


def test_a_users_file(tmp_path):
    (tmp_path / "net.yaml").write_text(GOOD)
    read = load_architecture(str(tmp_path / "net.yaml"), (2, 34, 34), 10, Neuron(alpha=0.75))
    assert read.layers == (Conv(8, 3, 2, 1), AvgPool(2), Dense(20))
    assert read.shapes() == ((8, 17, 17), (8, 8, 8), (20, 1, 1)) and read.neuron.alpha == 0.75
    assert architecture_from_dict(architecture_to_dict(read), "x") == read


@pytest.mark.parametrize(("change", "message"), [
    (("kernel: 3", "kernal: 3"), "key 'layers.0.conv.kernal': unknown. Did you mean 'kernel'? Allowed: kind, channels, kernel, stride, padding."),
    (("neurons: 20", "neurons: many"), "key 'layers.2.dense.neurons': must be a whole number, found 'many'."),
    (("neurons: 20", "neurons: 999999999999"), "mine: layer 2: 999,999,999,999 values; at most 16,777,216 are allowed."),
    (("neurons: 20", "neurons: 16000000"), "mine: 8,384,000,170 parameters; at most 268,435,456 are allowed."),
    (("neurons: 20", "neurons: 0"), "layer 2 (dense): neurons must be at least 1, found 0."),
    (("channels: 8, ", ""), "key 'layers.0.conv.channels': missing."),
    (("kind: dense", "kind: lstm"), "key 'layers.2.kind': unknown value 'lstm'. Allowed: dense, conv, avg_pool."),
    (("kind: dense", "kind: max_pool"), "key 'layers.2.kind': unknown value 'max_pool'. Did you mean 'avg_pool'? Allowed: dense, conv, avg_pool."),
    (("kind: sum_pool, kernel: 2", "kind: sum_pool, kernl: 2"), "key 'layers.1.avg_pool.kernl': unknown. Did you mean 'kernel'? Allowed: kind, kernel, stride, padding."),
    (("name: mine", "nam: mine"), "2 errors:\n  key 'nam': unknown. Did you mean 'name'? Allowed: name, layers, readout.\n  key 'name': missing."),
    (("name: mine\n", ""), "key 'name': missing."),
    (("kernel: 2}", "kernel: 30}"), "layer 1 (avg_pool): kernel 30 does not fit its 17 x 17 input"),
    (("  - {kind: dense, neurons: 20}\n", ""), "the first and the last hidden layer must be dense or conv, found conv and avg_pool."),
    (("  - {kind: sum_pool, kernel: 2}\n", "  - {kind: dense, neurons: 3}\n  - {kind: conv, channels: 1}\n"), "layer 2 (conv) follows a dense layer; only dense may."),
    (("name: mine\n", "name: mine\nreadout: {global_average_pool: true}\n"), "mine: readout.global_average_pool: averages over positions, and the last hidden layer (dense) has none. Leave it out, or end in a conv layer."),
    (("stride: 2", "stride: 2, stride: 3"), "line 4: key 'stride' stands twice. Keep one of them."),
])  # fmt: skip
def test_a_users_file_is_refused(tmp_path, change, message):
    path = tmp_path / "net.yaml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(InputError) as caught:
        load_architecture(str(path), (2, 34, 34), 10)
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


@pytest.mark.parametrize(("change", "message"), [
    ({"classes": 1}, "a.pt: fc_0p40m: 1 classes; at least 2 are needed."),
    ({"neuron": {"alpha": 2.0, "threshold": 1.0, "slope": 25.0}}, "a.pt: alpha 2.0: outside 1e-06 to 0.999999. The paper uses 0.5."),
    ({"input_shape": [2, 40000, 40000]}, "a.pt: fc_0p40m: input: 3,200,000,000 values; at most 16,777,216 are allowed."),
])  # fmt: skip
def test_a_stored_network_is_refused_with_its_files_name(change, message):
    with pytest.raises(InputError) as caught:
        architecture_from_dict({**architecture_to_dict(builtin("fc_0p40m", *NMNIST)), **change}, "a.pt")
    assert str(caught.value) == message


@pytest.mark.parametrize(("values", "message"), [
    ({"alpha": 0.0}, "alpha 0.0: outside 1e-06 to 0.999999. The paper uses 0.5."),
    ({"alpha": 1.0}, "alpha 1.0: outside 1e-06 to 0.999999. The paper uses 0.5."),
    ({"alpha": 1e-50}, "alpha 1e-50: outside 1e-06 to 0.999999. The paper uses 0.5."),
    ({"threshold": 0.0}, "threshold 0.0: outside 1e-06 to 1e+06. The paper uses 1.0."),
    ({"threshold": 1e-50}, "threshold 1e-50: outside 1e-06 to 1e+06. The paper uses 1.0."),
    ({"threshold": 1e39}, "threshold 1e+39: outside 1e-06 to 1e+06. The paper uses 1.0."),
    ({"threshold": float("nan")}, "threshold nan: outside 1e-06 to 1e+06. The paper uses 1.0."),
    ({"slope": -1.0}, "slope -1.0: outside 0.001 to 1e+09. The paper uses 25."),
    ({"slope": 1e308}, "slope 1e+308: outside 0.001 to 1e+09. The paper uses 25."),
    ({"slope": 10**400}, f"slope 1{36 * '0'}...: outside 0.001 to 1e+09. The paper uses 25."),
])  # fmt: skip
def test_a_neuron_is_refused(values, message):
    with pytest.raises(InputError) as caught:
        Neuron(**values)
    assert str(caught.value) == message


@pytest.mark.parametrize(("text", "expected"), [
    ("  - {kind: conv, channels: 4}\n", Conv(4, kernel=3, stride=1, padding=0)),
    ("  - {kind: conv, channels: 4}\n  - {kind: sum_pool}\n  - {kind: dense, neurons: 3}\n", AvgPool(2, stride=2, padding=0)),
    ("  - {kind: conv, channels: 4}\n  - {kind: avg_pool}\n  - {kind: dense, neurons: 3}\n", AvgPool(2, stride=2, padding=0)),
])  # fmt: skip
def test_the_yaml_forms_defaults_are_those_of_the_records(tmp_path, text, expected):
    (tmp_path / "net.yaml").write_text(f"name: mine\nlayers:\n{text}")
    read = load_architecture(str(tmp_path / "net.yaml"), (2, 34, 34), 10)
    assert read.layers[:2][-1] == expected
    assert read.layers[0] == Conv(4) and AvgPool() == AvgPool(2)
    assert read.readout == Readout(global_average_pool=False) == Readout()
    assert read.neuron == Neuron(alpha=0.5, threshold=1.0, slope=25.0)


def test_the_papers_network_states_its_own_stride_and_padding():
    assert builtin("conv_0p42m", *NMNIST).layers == (
        Conv(68, 3, 2, 1),
        Conv(136, 3, 2, 1),
        Conv(272, 3, 2, 1),
    )


def test_a_stride_that_no_program_can_state_is_refused_when_the_file_is_read(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text("name: mine\nlayers:\n  - {kind: conv, channels: 4, stride: 128}\n")
    with pytest.raises(InputError) as caught:
        load_architecture(str(path), (2, 34, 34), 10)
    assert str(caught.value) == f"{path}: mine: layer 0 (conv): stride 128: at most 127 is allowed."


def test_two_pools_in_a_row_are_refused_when_the_file_is_read(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(GOOD.replace("kernel: 2}\n", "kernel: 2}\n  - {kind: sum_pool}\n"))
    with pytest.raises(InputError) as caught:
        load_architecture(str(path), (2, 34, 34), 10)
    assert str(caught.value) == f"{path}: mine: layer 2 (avg_pool) follows another; merge the two kernels."
