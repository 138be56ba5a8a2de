"""What a chip's neurons can do beside one spike test, one reset and one delay: a program has its network's."""

import pytest

pytest.importorskip("h5py", reason="NIR files are HDF5")

from nir_files import lif, one_neuron

from sastdeploy import CompileError, InputError, compile, from_nir, load_profile
from sastdeploy.compiler.profiles import profile_path
from sastdeploy.exchange.dialects import DIALECTS

TEXT = profile_path("cortex_m").read_text("utf-8")
DELAYS, TESTS = "reset_delay: {value: [1, 0]", 'spike_test: {value: [">=", ">"]'


def chip(folder, *changes):
    text = TEXT
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / "chip.yaml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("name", ["cortex_m", "spinnaker2"])
@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "sastdeploy"])
def test_software_has_the_neuron_of_every_framework(name, dialect, tmp_path):
    rules = DIALECTS[dialect]
    path = one_neuron(tmp_path / "one.nir", lif(tau=[2.0], r=[1.0]))
    compilation = compile(from_nir(path, dialect=dialect, dt=1.0), name)
    neuron = compilation.program.layers[0].lif
    assert (neuron.spike_test, neuron.reset, neuron.reset_delay) == (
        rules.spike_test,
        rules.reset,
        rules.reset_delay,
    )
    assert not [warning for warning in compilation.report.warnings if "trained with" in warning]


def test_the_first_of_a_list_stands_for_what_is_not_in_it(tmp_path):
    read = load_profile(
        chip(
            tmp_path,
            (TESTS, 'spike_test: {value: [">"]'),
            ("[subtract, zero, none, refractory]", "[refractory, zero]"),
        )
    )
    assert (read.spike_test, read.other_spike_tests, read.offered("reset_delay")) == (">", (), (1, 0))
    assert read.neuron_for(">=", "zero", 0) == (">", "zero", 0)
    # Refractory acts in the step after a spike.
    assert read.neuron_for(">", "none", 0) == (">", "refractory", 1)
    network = from_nir(
        one_neuron(tmp_path / "one.nir", lif()), dialect="nir", reset="subtract", reset_delay=0
    )
    with pytest.raises(CompileError) as error:
        compile(network, read)
    assert (
        error.value.reasons[0] == "one: reset 'subtract'; cortex_m does 'refractory', 'zero' (neuron.reset)."
    )
    compilation = compile(network, read, neuron="profile")
    assert [warning.split(". ")[0] for warning in compilation.report.warnings][:2] == [
        "reset: trained with 'subtract', cortex_m does 'refractory'", "reset delay: trained with '0', cortex_m does '1'",
    ]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), [
    ((DELAYS, "reset_delay: {value: [1, true]"), "key 'neuron.reset_delay.value': must be one of 1, 0, or a list of some, each once, found [1, True]."),
    ((DELAYS, "reset_delay: {value: 2"), "key 'neuron.reset_delay.value': must be one of 1, 0, or a list of some, each once, found 2."),
    ((DELAYS, "reset_delay: {value: []"), "key 'neuron.reset_delay.value': must be one of 1, 0, or a list of some, each once, found []."),
    ((TESTS, 'spike_test: {value: [">", ">"]'), "key 'neuron.spike_test.value': must be one of >=, >, or a list of some, each once, found ['>', '>']."),
    ((DELAYS, "reset_delay: {value: [0]"), "key 'neuron': reset 'refractory' acts in the step after a spike; give reset_delay 1."),
])  # fmt: skip
def test_what_no_neuron_does_is_refused(change, message, tmp_path):
    path = chip(tmp_path, change)
    with pytest.raises(InputError) as error:
        load_profile(path)
    assert str(error.value) == f"{path}: {message}"
