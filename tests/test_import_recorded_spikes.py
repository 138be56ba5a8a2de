"""Spikes that another framework recorded, compared with those of the imported network."""

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("h5py", reason="NIR files are HDF5")

from nir_files import f32, lif, one_neuron

from sastdeploy import InputError, load_network
from sastdeploy.cli.main import cli


def recorded(path, **changes):
    """Write what a framework recorded of one snnTorch neuron: GOLDEN's, twice."""
    arrays = {
        "input": np.array([[2, 2, 0, 4, 0]] * 2)[..., None],
        "n": np.array([[0, 1, 0, 1, 0]] * 2)[..., None],
    }
    np.savez(path, **{name: value for name, value in {**arrays, **changes}.items() if value is not None})
    return path


def imported(folder, path, *options):
    source = one_neuron(folder / "a.nir", lif(r=f32(2.0), v_threshold=f32(2.0)))
    out = folder / "net.pt"
    call = ["import", str(source), "-o", str(out), "--dialect", "snntorch", "--check", str(path), *options]
    return CliRunner().invoke(cli, call), out


def test_spikes_that_the_framework_recorded_are_compared(tmp_path):
    done, out = imported(tmp_path, path := recorded(tmp_path / "own.npz"))
    assert done.exit_code == 0
    assert f"Compared with {path}: 4 spikes of 1 layers in 2 x 5 steps, all equal." in done.output
    assert load_network(out).provenance["checked"]["differences"] == 0


def test_a_wrong_reset_is_found_in_recorded_spikes_and_nothing_is_written(tmp_path):
    # By subtraction, 10 leaves 10 / 2 - 2 = 3 for step 1; a reset to zero leaves nothing.
    values, spikes = (np.array([row] * 2)[..., None] for row in ([10, 0, 0], [1, 1, 0]))
    path = recorded(tmp_path / "own.npz", input=values, n=spikes)
    assert imported(tmp_path, path)[0].exit_code == 0
    (tmp_path / "net.pt").unlink()
    done, out = imported(tmp_path, path, "--reset", "zero", "--reset-delay", "0")
    assert type(done.exception) is InputError and not out.exists()
    assert str(done.exception) == (
        "w.lif: the first difference is at step 1, neuron [0, 0, 0]: the graph sends 0 with a membrane of 0, the framework 1. "
        "Spike test '>', reset 'subtract' and reset delay 0 would agree."
    )


@pytest.mark.parametrize(("changes", "message"), [
    ({"n": None}, "holds as arrays: input. Expected input, and the spikes of n."),
    ({"m": np.zeros(3)}, "holds as arrays: input, n, m. Expected input, and the spikes of n."),
    ({"n": np.zeros((2, 4, 1))}, "n has shape [2, 4, 1]; expected ['N', 'T', 1, 1, 1], of one N and T in all arrays."),
    ({"input": np.zeros(5)}, "input has shape [5]; expected ['N', 'T', 1, 1, 1], of one N and T in all arrays."),
    ({"input": np.full((2, 5, 1), np.nan)}, "input must hold finite numbers, not float64."),
])  # fmt: skip
def test_recorded_spikes_that_do_not_fit_are_named(tmp_path, changes, message):
    done, out = imported(tmp_path, path := recorded(tmp_path / "own.npz", **changes))
    assert type(done.exception) is InputError and not out.exists()
    assert str(done.exception) == f"{path}: {message}"


def test_a_tie_that_rounding_decides_is_counted_and_more_than_rounding_is_an_error(tmp_path):
    # m = m/2 + x - 2 s[t-1], s = m > 2: 2 at step 0 is a tie, and a spike there takes 2 from step 1: 1 + 3 - 2 = 2, again one.
    values, spikes = (np.array([row] * 2)[..., None] for row in ([2, 3, 4], [1, 0, 1]))
    path = recorded(tmp_path / "own.npz", input=values, n=spikes)
    done, out = imported(tmp_path, path)
    assert done.exit_code == 0, done.exception
    assert "2 x 3 steps, all equal, 2 of them decided by rounding, at the threshold." in done.output
    assert load_network(out).provenance["checked"]["ties"] == 2
    near = recorded(tmp_path / "near.npz", input=values - 1e-4, n=spikes)
    done, out = imported(tmp_path, near, "--force")
    assert str(done.exception).startswith(
        "w.lif: the first difference is at step 0, neuron [0, 0, 0]: the graph sends 0 with a "
    )


def test_ties_that_the_other_spike_test_explains_are_a_wrong_spike_test(tmp_path):
    # Of `>=`, which snnTorch has not: 2 spikes, and 1 + 1 - 2 = 0 follows. Four may be rounding, five are not.
    for times, message in (
        (4, None),
        (5, "Spike test '>=', reset 'subtract' and reset delay 1 would agree."),
    ):
        values, spikes = (np.array([row * times])[..., None] for row in ([2, 1], [1, 0]))
        done, _ = imported(tmp_path, recorded(tmp_path / "own.npz", input=values, n=spikes), "--force")
        assert (done.exit_code == 0) if message is None else str(done.exception).endswith(message)
