"""One neuron of every dialect of NIR, by hand, and networks with synaptic currents."""

import numpy as np
import pytest

pytest.importorskip("h5py", reason="NIR files are HDF5")

from nir_files import cuba, f32, lif, one_neuron, written_by

from sastdeploy import Framing, from_nir
from sastdeploy.exchange.recorded import check_recorded
from tests.nir_files import FIXTURES, run

# One neuron by hand: decay 1/2, threshold 2. Inputs of each step, then its spikes and membranes.
GOLDEN = {
    # m = m/2 + x - 2 s[t-1], s = m > 2: the 2 of the first step is no spike; the reset comes a step later.
    "snntorch": (lif(r=f32(2.0)), [2, 2, 0, 4, 0], [0, 1, 0, 1, 0], [2.0, 3.0, -0.5, 3.75, -0.125]),
    # v += (x - v) / 2 (decay_input), s = v >= 2, v = 0 at once.
    "spikingjelly": (lif(), [4, 2, 4, 0, 0], [1, 0, 1, 0, 0], [0.0, 1.0, 0.0, 0.0, 0.0]),
    # The same with s = v > 2: 2 is no spike.
    "norse": (lif(tau=f32(2e-6)), [4, 4, 2, 2], [0, 1, 0, 0], [2.0, 0.0, 1.0, 1.5]),
    "nir": (lif(), [4, 4, 2, 2], [0, 1, 0, 0], [2.0, 0.0, 1.0, 1.5]),
    "lava": (lif(), [4, 4, 2, 2], [0, 1, 0, 0], [2.0, 0.0, 1.0, 1.5]),
    # alpha = exp(-1 / tau) = 1/2, x / 2 (norm_input), s = v >= 2, v -= 2 at once.
    "sinabs": (lif(tau=1 / np.log(2)), [4, 6, 0, 4], [1, 1, 0, 1], [0.0, 1.0, 0.5, 0.25]),
    # alpha = exp(-dt / tau) = 1/2, x as it is.
    "rockpool": (lif(tau=1e-3 / np.log(2)), [2, 3, 0, 2], [1, 1, 0, 1], [0.0, 1.0, 0.5, 0.25]),
}  # fmt: skip


# The same behind a synaptic current that halves in each step.
CURRENTS = {
    # i = i/2 + x, m = m/2 + i - 2 s[t-1]: i 2, 1, .5, 4.25, 2.125
    "snntorch": (cuba(r=f32(2.0), w_in=f32(2.0)), [2, 0, 0, 4, 0], [0, 0, 0, 1, 1], [2.0, 2.0, 1.5, 5.0, 2.625]),
    # c = c/2 + x, v = v/2 + c, s = v >= 2, v = 0: c 2, 1, .5, 4.25, 2.125
    "spikingjelly": (cuba(r=f32(2.0), w_in=f32(2.0)), [2, 0, 0, 4, 0], [1, 0, 0, 1, 1], [0.0, 1.0, 1.0, 0.0, 0.0]),
    # v uses i + x, of which half remains, with dt/tau = 1/2: i + x 4, 2, 1, 4.5
    "norse": (cuba(tau_syn=f32(2e-6), tau_mem=f32(2e-6)), [4, 0, 0, 4], [0, 0, 0, 1], [2.0, 2.0, 1.5, 0.0]),
    # The text of NIR: i += (w_in x - i) / 2, v += (r i - v) / 2: i 4, 2, 1, 4.5
    "nir": (cuba(), [8, 0, 0, 8], [0, 0, 0, 1], [2.0, 2.0, 1.5, 0.0]),
    "lava": (cuba(), [8, 0, 0, 8], [0, 0, 0, 1], [2.0, 2.0, 1.5, 0.0]),
    # i = (i + x) / 2, v = v/2 + i/2 (norm_input): i 2, 1, 2.5, 5.25
    "sinabs": (cuba(tau_syn=1 / np.log(2), tau_mem=1 / np.log(2)), [4, 0, 4, 8], [0, 0, 0, 1], [1.0, 1.0, 1.75, 1.5]),
    # i = (i + x) / 2, v = v/2 + i: i 2, 1, .5
    "rockpool": (cuba(tau_syn=1e-3 / np.log(2), tau_mem=1e-3 / np.log(2)), [4, 0, 0], [1, 0, 0], [0.0, 1.0, 1.0]),
}  # fmt: skip


def by_hand(tmp_path, dialect, neuron, values, spikes, membranes):
    path = one_neuron(tmp_path / "one.nir", {**neuron, "v_threshold": f32(2.0)})
    network = from_nir(path, dialect=dialect, spikes_per_step="one", framing=Framing(time_bins=len(values)))
    found = run(network, values)
    assert found[0] == spikes
    np.testing.assert_allclose(found[1], membranes, atol=1e-12)


@pytest.mark.parametrize("dialect", GOLDEN)
def test_one_neuron_of_every_dialect_by_hand(tmp_path, dialect):
    by_hand(tmp_path, dialect, *GOLDEN[dialect])


@pytest.mark.parametrize("dialect", CURRENTS)
def test_one_neuron_behind_a_synaptic_current_by_hand(tmp_path, dialect):
    by_hand(tmp_path, dialect, *CURRENTS[dialect])


@pytest.mark.parametrize(
    ("file", "dialect", "spikes"),
    [("snntorch_synaptic", None, 112), ("spikingjelly_cuba", None, 117), ("norse_lif", "norse", 51)],
)
def test_networks_with_synaptic_currents_spike_as_in_their_frameworks(tmp_path, file, dialect, spikes):
    """Files and spikes that snnTorch 1.0.0 (Synaptic), SpikingJelly 2.0.0 (CUBALIFNode) and Norse 1.1.0 (LIFCell) wrote."""
    network = from_nir(written_by(file, tmp_path), dialect=dialect, framing=Framing(time_bins=12))
    checked = check_recorded(network, FIXTURES / f"{file}.npz")
    assert checked == {
        "layers": 2,
        "recordings": 3,
        "steps": 12,
        "spikes": spikes,
        "differences": 0,
        "ties": 0,
    }


def test_snntorchs_reset_to_zero_shows_the_membrane_before_it(tmp_path):
    path = one_neuron(tmp_path / "one.nir", lif(r=f32(2.0), v_threshold=f32(2.0)))
    network = from_nir(path, dialect="snntorch", reset="zero", framing=Framing(time_bins=3))
    assert run(network, [3, 2, 2]) == ([1, 0, 1], [3.0, 2.0, 3.0])


def test_a_leak_and_a_reset_elsewhere_become_an_offset_and_a_threshold(tmp_path):
    # SpikingJelly starts at v_reset = -1: v = -1 + (x - (v - v_reset)) / 2 ...; in u = v + 1 the threshold is 3.
    neuron = lif(v_leak=f32(-1.0), v_reset=f32(-1.0), v_threshold=f32(2.0))
    network = from_nir(
        one_neuron(tmp_path / "one.nir", neuron), dialect="spikingjelly", framing=Framing(time_bins=3)
    )
    assert run(network, [6, 2, 0]) == ([1, 0, 0], [0.0, 1.0, 0.5])
    # The leak alone: v = v/2 + (x + 1) / 2.
    neuron = lif(v_leak=f32(1.0), v_threshold=f32(2.0))
    network = from_nir(one_neuron(tmp_path / "two.nir", neuron), dialect="nir", framing=Framing(time_bins=3))
    assert run(network, [0, 0, 4]) == ([0, 0, 1], [0.5, 0.75, 0.0])


def test_neurons_that_do_not_leak(tmp_path):
    neuron = {"type": "IF", "r": f32(1e4), "v_threshold": f32(2.0), "v_reset": f32(0)}
    network = from_nir(
        one_neuron(tmp_path / "one.nir", neuron), dialect="spikingjelly", framing=Framing(time_bins=3)
    )
    assert run(network, [1, 1, 1]) == ([0, 1, 0], [1.0, 0.0, 1.0])
