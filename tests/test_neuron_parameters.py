"""Thresholds, biases and decays that differ between the neurons of a channel: by hand, in every engine, in files and exports."""

import numpy as np
import pytest
from tiny_programs import three_neurons, tiny_lif, tiny_program, tiny_readout

from sastdeploy import InputError, export_c, export_nir, export_vectors, export_verilog
from sastdeploy.program.counting import footprint_bytes
from sastdeploy.program.fixedpoint import QFormat, Rounding
from sastdeploy.program.records import ConvLif, DenseLif, SynapticCurrent
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference
from tests.neuron_checks import (
    assert_edited_manifest_refused,
    assert_every_engine_agrees,
    assert_program_refused,
    two_layers,
)


def codes(*values):
    return np.array(values, np.int32)


def row(*values):
    """Return numbers of the neurons of one channel of one row."""
    return np.array([[values]], np.int32)


COUNTS = np.repeat([3, 2, 1, 4, 0], 3).reshape(1, 5, 1, 1, 3)


@pytest.mark.parametrize(
    ("changes", "membranes", "spikes"),
    [
        # 2 x: 6, 4, 2, 8, 0; the leak is u/2, rounded down. Threshold 9: 6 | 3+4 | 3+2 | 2+8 * | 5+0-9
        # 7: 6 | 3+4 = 7 * | 3+2-7 = -2 | -1+8 = 7 * | 3+0-7     4: 6 * | 3+4-4 = 3 | 1+2 = 3 | 1+8 = 9 * | 4+0-4
        ({}, ((6, 7, 5, 10, -4), (6, 7, -2, 7, -4), (6, 3, 3, 9, 0)), (1, 2, 2)),
        # To zero at once: the first as before but for the spike's step; 6 | 7 * 0 | 2 | 1+8 = 9 * 0 | 0; 6 * 0 | 4 * 0 | 2 | 9 * 0 | 0
        ({"reset": "zero", "reset_delay": 0}, ((6, 7, 5, 0, 0), (6, 0, 2, 0, 0), (0, 0, 2, 0, 0)), (1, 2, 3)),
        # Biases 0, -1 and 3: 5 | 2+3 = 5 | 2+1 = 3 | 1+7 = 8 * | 4-1-7 = -4     9 * | 4+7-4 = 7 * | 3+5-4 = 4 * | 2+11-4 = 9 * | 4+3-4
        ({"bias": row(0, -1, 3)}, ((6, 7, 5, 10, -4), (5, 5, 3, 8, -4), (9, 7, 4, 9, 3)), (1, 1, 4)),
        # Leaks 1/2, 0 and 3/4: 6 | 4 | 2 | 8 * | 0-7     6 * | 4+4-4 = 4 * | 3+2-4 = 1 | 0+8 = 8 * | 6-4
        ({"leak_multiplier": row(2, 0, 3)}, ((6, 7, 5, 10, -4), (6, 4, 2, 8, -7), (6, 4, 1, 8, 2)), (1, 1, 3)),
        # Currents keep 1, 0 and 1/2: i = 6, 10, 12, 15 (20 saturates), 15     6, 4, 2, 8, 0     6, 7, 5, 10, 5
        # 6 | 3+10 * | 6+12-9 * | 4+15-9 * | 5+15-9 *     as without     6 * | 3+7-4 * | 3+5-4 * | 2+10-4 * | 4+5-4 *
        ({"current": SynapticCurrent(row(4, 0, 2), 2, Rounding.FLOOR)},
         ((6, 13, 9, 10, 11), (6, 7, -2, 7, -4), (6, 6, 4, 8, 5)), (4, 2, 5)),
        # Up to 3 spikes: 15 only one of 9; 7: as before; 4: 6 * | 3 | 3 | 9 ** | 4+0-8
        ({"max_spikes": 3}, ((6, 7, 5, 10, -4), (6, 7, -2, 7, -4), (6, 3, 3, 9, -4)), (1, 2, 3)),
    ],
)  # fmt: skip
def test_three_neurons_by_hand(changes, membranes, spikes, tmp_path):
    program = three_neurons(**changes)
    result = reference.run(program, Frames.from_dense(COUNTS), trace=("conv",))
    assert result.traces["conv"].membranes[0].T.tolist() == [list(each) for each in membranes]
    assert result.traces["conv"].spikes[0].sum(0).tolist() == list(spikes)
    assert_every_engine_agrees(program, tmp_path, version=7)


def test_every_engine_gives_the_same_integers(tmp_path):
    """A convolution of 5 channels and 30 positions, in which everything differs between neurons."""
    rng = np.random.default_rng(6)

    def each(low, high):
        return rng.integers(low, high + 1, (5, 5, 6)).astype(np.int32)

    conv = {
        "threshold": each(100, 400), "bias": each(-60, 90), "leak_multiplier": each(0, 8),
        "current": SynapticCurrent(each(0, 1 << 12), 12, Rounding.NEAREST), "max_spikes": 4,
    }  # fmt: skip
    program = two_layers(conv, {})
    _, read = assert_every_engine_agrees(program, tmp_path, version=7, spikes=100, overflows=10)
    own, again = program.layers[0].lif.per_neuron(), read.layers[0].lif.per_neuron()
    assert own.keys() == again.keys() == {"bias", "threshold", "leak_multiplier", "current_multiplier"}
    assert all(np.array_equal(own[name], again[name]) for name in own)
    assert not read.layers[1].lif.per_neuron()


@pytest.mark.parametrize("name", ["threshold", "bias", "leak_multiplier"])
def test_each_alone_in_more_positions_than_go_together(name, tmp_path):
    """70 channels fill more than one block of lanes; the rest stays per channel."""
    rng = np.random.default_rng(7)
    low, high = {"threshold": (5, 900), "bias": (-90, 90), "leak_multiplier": (0, 8)}[name]
    neurons = tiny_lif(70, **{
        "membrane": QFormat(12, 0), "threshold": np.arange(70, dtype=np.int32) * 2 + 5, "multiplier": np.arange(1, 71, dtype=np.int32),
        "shift": np.full(70, 4, np.int32), name: rng.integers(low, high + 1, (70, 4, 3)).astype(np.int32),
    })  # fmt: skip
    weight = rng.integers(-7, 8, (70, 1, 2, 2)).astype(np.int8)
    program = tiny_program(
        [ConvLif("conv", weight, 4, (1, 1), (0, 0), neurons)], tiny_readout(70 * 12), (1, 5, 4)
    )
    assert_every_engine_agrees(program, tmp_path, version=7, spikes=100)


def test_memory_counts_each_number():
    # One channel of Q5.0: a multiplier and shift of 21 bits; 5 bits of a bias and of three thresholds; a readout of two classes of 53 bits.
    assert footprint_bytes(three_neurons())["parameters"] == 6 + 14  # 41 bits
    assert footprint_bytes(three_neurons(bias=row(1, 2, 3)))["parameters"] == 7 + 14  # 51
    # Three decays of 2 bits.
    assert footprint_bytes(three_neurons(leak_multiplier=row(1, 2, 3)))["parameters"] == 6 + 1 + 14


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"threshold": row(9, 0, 4)}, "threshold[0, 0, 1] is 0. Allowed: 1 to 15."),
        ({"bias": row(0, 1, 16)}, "bias[0, 0, 2] is 16. Allowed: -16 to 15."),
        ({"leak_multiplier": row(5, 1, 2)}, "leak_multiplier[0, 0, 0] is 5. Allowed: 0 to 4."),
        ({"threshold": row(9, 9, 9)}, "threshold is one number in each channel. Allowed: int32 of shape [1], one per output channel."),
        ({"leak_multiplier": row(1, 1, 1)}, "leak_multiplier is one number in each channel. Allowed: int32 of shape [1], one per output channel."),
        ({"threshold": row(9, 8)}, "threshold is int32 of shape [1, 1, 2]. Allowed: int32 of shape [1], one per output channel, or [1, 1, 3], one per neuron."),
        ({"bias": np.zeros((1, 1, 3))}, "bias is float64 of shape [1, 1, 3]. Allowed: int32 of shape [1], one per output channel, or [1, 1, 3], one per neuron."),
        ({"current": SynapticCurrent(row(-1, 0, 2), 2, Rounding.FLOOR)}, "current.multiplier[0, 0, 0] is -1. Allowed: 0 to 4."),
    ],
)  # fmt: skip
def test_numbers_out_of_range_or_in_another_form_are_refused(changes, fault):
    assert_program_refused(three_neurons(**changes), f"layer 'conv': {fault}")


def test_neurons_of_a_dense_layer_have_one_number_each_as_channels():
    layer = DenseLif(
        "fc", np.ones((2, 1), np.int8), 4, tiny_lif(2, threshold=np.array([[[5]], [[6]]], np.int32))
    )
    assert_program_refused(
        tiny_program([layer], tiny_readout(2)),
        "layer 'fc': threshold is one number in each channel. Allowed: int32 of shape [2], one per output channel.",
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"shapes":{"threshold":[1,1,3]}', '"shapes":{"threshold":[1,3,1]}', "has shape .1, 1, 3.; the manifest says .1, 3, 1."),
        ('"shapes":{"threshold":[1,1,3]}', '"shapes":{"bias":[1,1,3]}', "has shape"),
        ('"shapes":{"threshold":[1,1,3]}', '"shapes":{"threshold":[1,1.0,3]}', "damaged"),
        ('"shapes":{"threshold":[1,1,3]}', '"shapes":[]', "damaged"),
        ('"shapes":{"threshold":[1,1,3]}', '"shapes":{"another":[1,1,3]}', "missing"),
    ],
)  # fmt: skip
def test_a_manifest_of_other_shapes_is_refused(old, new, message, tmp_path):
    assert_edited_manifest_refused(three_neurons(), tmp_path, old, new, message)


def test_exports_say_them_or_refuse_by_name(tmp_path):
    program = three_neurons(leak_multiplier=row(1, 2, 3))
    export_vectors(program, tmp_path / "v")
    assert "leak is u * A[neuron] (A: in the program's ONNX file) / 2^2, rounded floor" in (
        tmp_path / "v" / "README.md"
    ).read_text("utf-8")
    export_c(program, tmp_path / "c")
    source = "".join(path.read_text("utf-8") for path in (tmp_path / "c").glob("*.c"))
    assert (
        "static const int8_t threshold0[3] = {\n    9, 7, 4\n};" in source and "threshold0[neuron]" in source
    )
    with pytest.raises(InputError) as error:
        export_verilog(program, tmp_path / "hdl")
    assert str(error.value) == (
        "layer conv: threshold and leak_multiplier differ within a channel; the core's neurons have one of each per channel. Export it with "
        "--to c."
    )


@pytest.mark.parametrize(("changes", "message"), [
    ({"leak_multiplier": 4, "bias": row(0, 1, 2)},
     "its biases differ within a channel and it never leaks; NIR's IF has no bias of a neuron. Export it with --to c."),
    ({"leak_multiplier": row(4, 3, 2)},
     "some of its neurons leak and others do not, which are two kinds of NIR node. Export it with --to c."),
])  # fmt: skip
def test_what_nir_has_no_place_for_is_refused(changes, message, tmp_path):
    with pytest.raises(InputError) as error:
        export_nir(three_neurons(**changes), tmp_path / "p.nir")
    assert str(error.value) == f"layer conv: {message}"
