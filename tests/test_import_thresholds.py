"""NIR's Threshold: neurons that keep nothing of their membrane."""

import numpy as np
import pytest

pytest.importorskip("h5py", reason="NIR files are HDF5")

from nir_files import f32, lif, one_neuron, write

from sastdeploy import CompileError, Framing, compile, from_nir, load_profile, verify
from sastdeploy.compiler.ir.interpreter import interpret

WEIGHT = np.array([[0.5, -1.0, 2.0], [1.0, 0.25, 0.0], [0.75, 0.5, -0.5]])


def nodes(threshold=(1.0, 0.5, 0.75)):
    return {
        "input": {"type": "Input", "shape": np.array([3])}, "w": {"type": "Affine", "weight": WEIGHT, "bias": np.array([0.0, 0.25, 0.0])},
        "t": {"type": "Threshold", "threshold": np.asarray(threshold, np.float32)},
        "v": {"type": "Linear", "weight": np.array([[1.0, 1.0, -1.0], [0.5, 1.0, 1.0]])}, "n": lif(), "output": {"type": "Output", "shape": np.array([2])},
    }  # fmt: skip


def read(folder, dialect, **changes):
    return from_nir(
        write(folder / "x.nir", nodes(**changes)), dialect=dialect, framing=Framing(time_bins=5, clip=3)
    )


@pytest.mark.parametrize(("dialect", "passes"), [("nir", np.greater), ("spikingjelly", np.greater_equal)])
def test_every_step_is_for_itself(tmp_path, dialect, passes):
    network = read(tmp_path, dialect)
    shown = np.random.default_rng(3).integers(0, 4, (4, 5, 3, 1, 1))
    spikes = interpret(network.graph, shown).spikes[0].reshape(4, 5, 3)
    sums = shown.reshape(4, 5, 3) @ WEIGHT.T + (0.0, 0.25, 0.0)
    # Whole numbers times quarters meet 1, 0.5 and 0.75 exactly.
    assert (sums == (1.0, 0.5, 0.75)).any()
    assert np.array_equal(spikes, passes(sums, (1.0, 0.5, 0.75)))


def test_a_program_of_one_is_equal_on_every_engine(tmp_path):
    network = read(tmp_path, "nir")
    compilation = compile(network, load_profile("cortex_m"), neuron="profile")
    program = compilation.program
    assert program.layers[0].lif.leak_multiplier == 0 and program.layers[1].lif.leak_multiplier > 0
    assert not any("forgets" in text or "alpha" in text for text in compilation.report.warnings)
    found = verify(program, random=4)
    assert found.equal and found.spikes > 50, found.first_difference


def test_a_leak_that_is_a_shift_cannot_forget_at_once(tmp_path):
    network = read(tmp_path, "nir")
    for neuron in ("network", "profile"):
        with pytest.raises(CompileError) as caught:
            compile(network, "xylo_a2", neuron=neuron)
        assert str(caught.value).startswith(
            "w.lif: keeps nothing of its membrane (alpha 0); xylo_a2 leaks by shift (leak.form). Use a profile whose leak is a multiplier."
        )


def test_thresholds_that_are_none_are_refused(tmp_path):
    with pytest.raises(CompileError, match="t: a threshold of -1; it must be positive"):
        read(tmp_path, "nir", threshold=(1.0, -1.0, 1.0))
    with pytest.raises(CompileError, match="n: a Threshold without 'threshold'"):
        from_nir(one_neuron(tmp_path / "y.nir", {"type": "Threshold"}), dialect="nir")


def test_decays_of_0_stay_refused_in_neurons_with_a_time_constant(tmp_path):
    with pytest.raises(CompileError, match=r"decay 1 - dt / tau = 0, outside \(0, 1\]"):
        from_nir(one_neuron(tmp_path / "z.nir", lif(tau=f32(1e-4))), dialect="nir")
