"""Networks of rockpool: what its own exporter writes is read with every spike, several in a step too."""

import warnings

import numpy as np
import pytest
import torch

pytest.importorskip("h5py", reason="NIR files are HDF5")

from sastdeploy import Framing, InputError, compile, from_nir, load_profile, verify
from sastdeploy.exchange.recorded import check_recorded

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:nirtorch")
STEPS = 12


@pytest.fixture(autouse=True)
def rockpool():
    pytest.importorskip("nir", reason="nir is not installed")
    pytest.importorskip("rockpool", reason="rockpool is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its docstrings hold escapes that Python does not know
        import rockpool.nn.modules.torch.nir  # noqa: F401


def rockpool_file(folder, kind, **changes):
    """Return the file that rockpool writes of two layers of these neurons, and the archive of the spikes that they send."""
    import nir
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules.torch import LIFNeuronTorch, LIFTorch, LinearTorch
    from rockpool.nn.modules.torch.nir import to_nir

    rng = np.random.default_rng(5)
    shown = rng.integers(0, 3, (3, STEPS, 8)).astype(np.uint8)
    first_weight, second_weight = (
        torch.tensor(rng.normal(mean, spread, shape).astype(np.float32))
        for mean, spread, shape in ((0.05, 0.35, (8, 6)), (0.15, 0.5, (6, 3)))
    )
    taus = torch.tensor([5e-3, 4e-3, 3e-3, 8e-3, 2e-3, 6e-3])
    layer, more = (LIFTorch, {"tau_syn": 2e-3}) if kind == "LIFTorch" else (LIFNeuronTorch, {})
    net = Sequential(
        LinearTorch((8, 6), weight=first_weight, has_bias=False), layer(6, tau_mem=taus, dt=1e-3, **more, **changes),
        LinearTorch((6, 3), weight=second_weight, bias=torch.tensor([0.1, -0.05, 0.2])),
        layer(3, tau_mem=3e-3, threshold=0.8, dt=1e-3, **more, **changes),
    )  # fmt: skip
    sent: dict[str, list] = {}
    for recording in shown:
        net = net.reset_state()
        _, _, record = net(torch.tensor(recording[None].astype(np.float32)), record=True)
        for name in (name for name in record if "LIF" in name and name.endswith("_output")):
            sent.setdefault(name.removesuffix("_output"), []).append(record[name].detach().numpy()[0])
    nir.write(folder / "x.nir", to_nir(net, torch.tensor(shown[:1].astype(np.float32))))
    np.savez(folder / "own.npz", input=shown, **{name: np.stack(spikes) for name, spikes in sent.items()})
    return folder / "x.nir", folder / "own.npz"


@pytest.mark.parametrize("kind", ["LIFTorch", "LIFNeuronTorch"])
def test_every_spike_is_rockpools(kind, tmp_path):
    path, recorded = rockpool_file(tmp_path, kind)
    network = from_nir(path, dialect="rockpool", framing=Framing(time_bins=STEPS))
    checked = check_recorded(network, recorded)
    assert checked["differences"] == 0 and checked["spikes"] > 150
    assert max(np.load(recorded)[name].max() for name in np.load(recorded).files if name != "input") > 2
    program = compile(network, load_profile("cortex_m"), neuron="profile").program
    assert verify(program, random=4).equal


def test_the_most_spikes_of_a_step_are_said_by_hand(tmp_path):
    path, recorded = rockpool_file(tmp_path, "LIFTorch", max_spikes_per_dt=torch.tensor(2.0))
    two = from_nir(path, dialect="rockpool", spikes_per_step=2, framing=Framing(time_bins=STEPS))
    assert check_recorded(two, recorded)["differences"] == 0
    with pytest.raises(InputError) as error:
        check_recorded(from_nir(path, dialect="rockpool", framing=Framing(time_bins=STEPS)), recorded)
    assert str(error.value).endswith(
        "Spike test '>=', reset 'subtract' and reset delay 0, with up to 2 spikes in a step, would agree."
    )


def test_no_file_says_that_rockpool_wrote_it(tmp_path):
    path, _ = rockpool_file(tmp_path, "LIFTorch")
    with pytest.raises(InputError, match="does not say which framework wrote it"):
        from_nir(path)
