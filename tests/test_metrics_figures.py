"""Figures of a run, against numbers worked out by hand."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_programs import counts, one_neuron, tiny_lif, tiny_program, tiny_readout

from sastdeploy.errors import InputError
from sastdeploy.program.records import ConvLif, DenseLif, SumPool
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference
from sastdeploy.simulator.metrics import (
    accuracy,
    activation_sparsity,
    confusion_matrix,
    energy,
    footprint_bytes,
    largest_synops,
    summarise,
    wilson_interval,
)


def test_wilson_interval_of_published_examples():
    # 95 % with z = 1.96: 5 of 10 -> (0.2366, 0.7634); 0 of 10 -> (0, 0.2775): z^2 / (n + z^2)
    assert wilson_interval(5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-5)
    assert wilson_interval(0, 10) == (0.0, pytest.approx(3.8416 / 13.8416))
    assert wilson_interval(10, 10) == (pytest.approx(10 / 13.8416), 1.0)
    assert wilson_interval(0, 0) == (0.0, 1.0)


@given(st.integers(1, 5000), st.data())
def test_wilson_interval_holds_the_share_and_mirrors(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson_interval(successes, trials)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_accuracy_counts_and_refuses_other_lengths():
    record = accuracy(np.array([0, 1, 1]), np.array([0, 1, 0]))
    assert (record["correct"], record["total"], record["value"]) == (2, 3, pytest.approx(2 / 3))
    assert accuracy(np.zeros(0, int), np.zeros(0, int))["value"] is None
    with pytest.raises(InputError, match=r"^accuracy: 2 labels for 3 predictions\. Give one label per"):
        accuracy(np.array([0, 1]), np.array([0, 1, 0]))


def test_confusion_matrix_has_true_classes_in_rows():
    matrix = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 1]), 3)
    assert matrix.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
    with pytest.raises(InputError, match=r"^confusion matrix: a label is outside 0 to 1\.$"):
        confusion_matrix(np.array([2]), np.array([0]), 2)
    with pytest.raises(InputError, match=r"^confusion matrix: a prediction is outside 0 to 1\.$"):
        confusion_matrix(np.array([0]), np.array([-1]), 2)


def dense_program(*sizes, time_bins=10, classes=10):
    """Return dense layers of these sizes, all weights 1."""
    layers = [
        DenseLif(f"fc{k}", np.ones((after, before), np.int8), 8, tiny_lif(after))
        for k, (before, after) in enumerate(pairwise(sizes))
    ]
    readout = tiny_readout(sizes[-1], classes)
    return tiny_program(layers, readout, (2, 1, sizes[0] // 2), time_bins, 4, classes=classes)


@pytest.mark.parametrize(
    ("sizes", "classes", "kilo"), [((2312, 168, 64), 10, 3998), ((4608, 80, 336), 11, 3992)]
)
def test_largest_synops_of_the_dense_networks(sizes, classes, kilo):
    # (2312*168 + 168*64 + 64*10) * 10 = 3,998,080; (4608*80 + 80*336 + 336*11) * 10 = 3,992,160
    program = dense_program(*sizes, classes=classes)
    everything, weighted, nonzero = largest_synops(program)
    assert int(everything.sum()) // 1000 == kilo
    assert weighted[0] == 4 * everything[0]
    assert (weighted[1:] == everything[1:]).all()
    # the readout of tiny_readout has two classes with weights
    assert nonzero[:-1].tolist() == everything[:-1].tolist()
    assert nonzero[-1] * classes == everything[-1] * 2


def pooled_program():
    conv = ConvLif("conv", np.full((1, 1, 1, 1), 5, np.int8), 4, (1, 1), (0, 0), tiny_lif())
    fc = DenseLif("fc", np.array([[1]], np.int8), 4, tiny_lif())
    return tiny_program([conv, SumPool("pool", 2), fc], tiny_readout(), frame=(1, 3, 3), time_bins=1)


def test_nothing_exceeds_the_maximum_and_full_input_reaches_it():
    program = pooled_program()
    everything, weighted, nonzero = largest_synops(program)
    # 9 inputs; 4 of 9 spikes pooled; one pooled value of 4; one spike to 2 classes
    assert everything.tolist() == nonzero.tolist() == [9, 4, 1, 2]
    assert weighted.tolist() == [36, 4, 4, 2]
    result = reference.run(program, Frames.from_dense(np.full((1, 1, 1, 3, 3), 255)))
    assert result.synops[0].tolist() == everything.tolist()
    assert result.synops_events[0].tolist() == weighted.tolist()


def test_footprint_packs_bits():
    # one neuron, Q5.0: weights 4 bits -> 1 byte, readout 2 x 4 bits -> 1 byte;
    # parameters 2*5 + 21 = 31 bits -> 4 bytes, readout 2 * 53 = 106 bits -> 14 bytes;
    # state 6 bits -> 1 byte, one counter up to 5 = 3 bits -> 1 byte
    assert footprint_bytes(one_neuron()) == {"weights": 2, "parameters": 18, "state": 2, "total": 22}
    # two classes on channel sums: a pooled counter holds up to 5 * 9 = 45: 6 bits
    conv = ConvLif("conv", np.full((1, 1, 1, 1), 5, np.int8), 4, (1, 1), (0, 0), tiny_lif())
    program = tiny_program([conv], tiny_readout(global_sum_pool=True), frame=(1, 3, 3))
    # state: 9 neurons * 6 bits = 54 bits -> 7 bytes, counter 1 byte
    assert footprint_bytes(program)["state"] == 8


def test_sparsity_leaves_pools_out():
    result = reference.run(one_neuron(), counts(1, 4, 0, 2, 5))
    assert activation_sparsity(one_neuron(), result) == pytest.approx(2 / 5)
    program = pooled_program()
    silent = reference.run(program, Frames.from_dense(np.zeros((1, 1, 1, 3, 3), int)))
    assert activation_sparsity(program, silent) == 1.0


def test_energy_needs_figures_and_shows_each_term():
    program = one_neuron()
    result = reference.run(program, counts(1, 4, 0, 2, 5))
    assert energy(program, result) is None
    nulls = replace(program, profile={"energy": {"synop_pj": None}})
    assert energy(nulls, result) is None
    figures = {"synop_pj": {"value": 2.0, "source": "a paper"}, "neuron_update_pj": 0.5, "spike_pj": None}
    record = energy(replace(program, profile={"energy": figures}), result)
    # 4 + 6 operations at 2 pJ, 5 updates at 0.5 pJ
    assert record == {
        "terms_pj": {"synop_pj": 20.0, "neuron_update_pj": 2.5, "spike_pj": None},
        "total_pj": 22.5,
    }


def test_a_pool_sends_no_spikes_of_its_own():
    layers = (
        conv := ConvLif("conv", np.full((1, 1, 1, 1), 100, np.int8), 8, (1, 1), (0, 0), tiny_lif()),
        SumPool("pool", 2),
    )
    program = tiny_program(layers, tiny_readout(1), frame=(1, 2, 2))
    program = replace(program, profile={"energy": {"spike_pj": 1.0}})
    result = reference.run(program, Frames.from_dense(np.ones((1, 5, 1, 2, 2), np.uint8)))
    sent, passed = result.spikes[0]
    assert conv.name == "conv" and sent > 0 and passed > 0
    assert energy(program, result)["terms_pj"]["spike_pj"] == float(sent)


def test_summary_is_plain_json_with_every_figure():
    program = one_neuron()
    frames = Frames.from_dense(np.array([(1, 4, 0, 2, 5), (0, 0, 0, 0, 0)]).reshape(2, 5, 1, 1, 1))
    result = reference.run(program, frames)
    summary = summarise(program, result, np.array([0, 1]), dataset="nmnist-sim", split="test", data_hash="d")
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["schema"] == "sastdeploy.simulation/1"
    # silence scores 1 * 5 = 5 against 0: class 0, so one of two is right
    assert summary["accuracy"]["correct"] == 1
    assert summary["confusion"] == [[1, 0], [1, 0]]
    # (4 + 6 + 0 + 0) / 2 recordings / 1000; at most (1 + 2) * 5
    assert summary["ksynops"]["all"] == {"mean": 0.005, "maximum": 0.015}
    assert summary["ksynops"]["event_weighted"] == {"mean": 0.0085, "maximum": 0.03}
    assert [row["source"] for row in summary["ksynops"]["sources"]] == ["input", "fc"]
    assert [row["target"] for row in summary["ksynops"]["sources"]] == ["fc", "readout"]
    layer = summary["layers"][0]
    assert layer == {
        "name": "fc",
        "kind": "dense",
        "outputs": 1,
        "spikes_per_recording": 1.5,
        "spike_rate": 0.3,
        "silent": 0,
        "always_firing": 0,
        "overflow_low": 0,
        "overflow_high": 2,
        "overflow_share": 0.2,
    }
    assert summary["provenance"]["data_hash"] == "d"


def test_summary_without_labels_or_recordings():
    program = one_neuron()
    empty = reference.run(program, counts(1, 1, 1, 1, 1).select(slice(0, 0)))
    summary = summarise(program, empty)
    assert summary["accuracy"] is None
    assert summary["confusion"] is None
    assert summary["ksynops"]["all"]["mean"] is None
    assert summary["layers"][0]["spike_rate"] is None
    json.dumps(summary, allow_nan=False)


def test_silent_and_always_firing_neurons_are_counted():
    weight = np.array([[3], [-3], [7]], np.int8)
    lif = tiny_lif(3, bias=np.array([-1, -1, 14], np.int32), threshold=np.array([5, 5, 1], np.int32))
    program = tiny_program([DenseLif("fc", weight, 4, lif)], tiny_readout(3))
    layer = summarise(program, reference.run(program, counts(1, 4, 0, 2, 5)))["layers"][0]
    assert (layer["silent"], layer["always_firing"]) == (1, 1)


def test_counters_of_a_globally_pooled_network_hold_every_spike_of_their_channel():
    """36 neurons of 5 + 1 bits are 27 bytes; 4 counters up to 5 x 9 = 45 take 6 bits each, 3 bytes."""
    conv = ConvLif("conv", np.ones((4, 1, 1, 1), np.int8), 8, (1, 1), (0, 0), tiny_lif(4))
    program = tiny_program([conv], tiny_readout(4, global_sum_pool=True), frame=(1, 3, 3))
    assert footprint_bytes(program)["state"] == 30


@pytest.mark.parametrize(("bins", "state"), [(7, 5), (8, 5), (15, 5), (16, 6)])
def test_a_counter_holds_one_spike_per_bin(bins, state):
    """4 neurons of 5 + 1 bits are 3 bytes; 4 counters up to 7 take 3 bits each, up to 8 and 15 take 4, up to 16 take 5."""
    layer = DenseLif("fc", np.ones((4, 1), np.int8), 8, tiny_lif(4))
    program = tiny_program([layer], tiny_readout(4), time_bins=bins)
    assert footprint_bytes(program)["state"] == state
