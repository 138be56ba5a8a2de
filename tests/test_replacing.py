"""One rule for every file that is written: what is there is left, unless it is the same already or force=True."""

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_networks import DENSE, checkpoint_of, labelled

import sastdeploy
from sastdeploy import (
    ImportedNetwork,
    InputError,
    TrainingSettings,
    compile,
    export_c,
    export_nir,
    export_vectors,
    export_verilog,
    fit,
    save_checkpoint,
    save_network,
    save_program,
)
from sastdeploy.compiler.ir.importer import graph_from_checkpoint
from sastdeploy.recordings.events import EVENT_DTYPE
from sastdeploy.report.recording_figures import draw_recording


def checkpoint(seed):
    return checkpoint_of(seed=seed)


def network(seed):
    trained = checkpoint(seed)
    return ImportedNetwork(graph_from_checkpoint(trained), trained.preprocessing, trained.classes)


def program(seed):
    return compile(checkpoint(seed)).program


def drawing(seed):
    return np.array([(seed, 1, 5, 1), (3, seed, 9, 0)], EVENT_DTYPE)


WRITERS = {
    "save_checkpoint": (checkpoint, lambda p, made, **o: save_checkpoint(p, made, **o)),
    "save_network": (network, lambda p, made, **o: save_network(p, made, **o)),
    "save_program": (program, lambda p, made, **o: save_program(p, made, **o)),
    "compile": (checkpoint, lambda p, made, **o: compile(made, dump=p, **o)),
    "export_c": (program, lambda p, made, **o: export_c(made, p, **o)),
    "export_nir": (program, lambda p, made, **o: export_nir(made, p, **o)),
    "export_vectors": (program, lambda p, made, **o: export_vectors(made, p, labelled(DENSE, 2).frames, **o)),
    "export_verilog": (program, lambda p, made, **o: export_verilog(made, p, **o)),
    "draw_recording": (drawing, lambda p, made, **o: draw_recording(made, (4, 4, 2), p.with_suffix(".png"), **o)),
}  # fmt: skip


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_replaced_but_by_the_same_or_by_force(name, tmp_path):
    make, write = WRITERS[name]
    place = tmp_path / "out"
    write(place, make(1))
    first = content(tmp_path)
    write(place, make(1))
    assert content(tmp_path) == first
    with pytest.raises(InputError, match=r"exists|holds") as caught:
        write(place, make(2))
    assert str(caught.value).startswith(str(place)) and "--force" in str(caught.value)
    assert content(tmp_path) == first
    write(place, make(2), force=True)
    second = content(tmp_path)
    assert second != first and second.keys() == first.keys()


def test_a_training_that_would_replace_a_checkpoint_does_not_begin(tmp_path):
    epochs = []

    def train(seed, **options):
        settings = TrainingSettings(epochs=1, batch_size=16, seed=seed)
        out = tmp_path / "a.pt"
        fit(labelled(), labelled(seed=1), DENSE, settings, out=out, report=epochs.append, **options)

    train(0)
    first = content(tmp_path)
    with pytest.raises(
        InputError, match=r"a\.pt: exists\. Choose another name, or replace it with --force\."
    ):
        train(1)
    assert content(tmp_path) == first and len(epochs) == 1
    train(1, force=True)
    assert content(tmp_path) != first


def test_the_file_of_a_checkpoint_depends_on_the_checkpoint_alone(tmp_path):
    for folder in ("a", "b"):
        save_checkpoint(tmp_path / folder / f"{folder}.pt", checkpoint_of())
    one, other = (Path(tmp_path / folder / f"{folder}.pt").read_bytes() for folder in "ab")
    assert one == other
    changed = checkpoint_of()
    save_checkpoint(tmp_path / "c.pt", replace(changed, provenance={"command": "another"}))
    assert (tmp_path / "c.pt").read_bytes() != one


def functions():
    for name in sastdeploy.__all__:
        value = getattr(sastdeploy, name)
        if inspect.isfunction(value):
            yield name, inspect.signature(value).parameters


def test_force_is_a_keyword_that_is_off_by_default():
    forced = {name for name, parameters in functions() if "force" in parameters}
    for name, parameters in functions():
        if name in forced:
            force = parameters["force"]
            assert force.kind is force.KEYWORD_ONLY and force.default is False, name
    assert forced - {"fit", "fit_all"} == WRITERS.keys() - {"draw_recording"}


def test_who_tells_something_tells_it_to_say():
    words = {
        name: {p.name for p in parameters.values() if p.annotation == "Callable[[str], None]"}
        for name, parameters in functions()
    }
    assert {name for name, word in words.items() if word} == {"load_dataset", "fit", "fit_all", "simulate"}
    assert set().union(*words.values()) == {"say"}
