"""What records keep of every epoch, and what is drawn and read from it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.paper.assemble import HERE, experiments, results_of, within_fewest_gradients
from sastdeploy.errors import InputError
from sastdeploy.experiments.figures import draw
from sastdeploy.experiments.record import load_record


@pytest.fixture(scope="module")
def results():
    experiment = next(e for e in experiments(HERE) if e.name == "table1-small-values")
    return results_of(experiment, json.loads((HERE / "data.json").read_text("utf-8")), HERE / "records")


def with_curves(results, **hard):
    """Return points of these labels, one record each: its hard curve, with two gradients per epoch for SAST and one else."""
    points = tuple(
        SimpleNamespace(
            label=name, seeds=(0,), raw=({"gradient_evaluations": (1 + (name == "sast")) * len(curve), "curve": {"hard": curve}},)
        )
        for name, curve in hard.items()
    )  # fmt: skip
    return replace(results, points=points)


def test_the_best_epoch_within_equal_gradients_counts(results):
    curves = with_curves(results, baseline=[0.1, 0.4, 0.3, 0.2], sast=[0.2, 0.5, 0.9, 0.8])
    best = within_fewest_gradients(curves)
    assert {name: sample.values for name, sample in best.items()} == {"baseline": (40.0,), "sast": (50.0,)}
    assert within_fewest_gradients(with_curves(results, baseline=[0.1])) == {}


def test_learning_curves_are_drawn_with_the_same_bytes(results, tmp_path):
    files = []
    for folder in ("a", "b"):
        drawn = draw(results, tmp_path / folder)
        assert "table1-small-values-learning.svg" in [picture.file for picture in drawn]
        files.append((tmp_path / folder / "table1-small-values-learning.svg").read_bytes())
    assert files[0] == files[1] == (HERE / "figures" / "table1-small-values-learning.svg").read_bytes()


def test_a_curve_has_one_value_per_epoch(results, tmp_path):
    raw = next(record for point in results.points for record in point.raw if "curve" in record)
    trial = next(t for group in results.experiment.groups for t in group if (t.method, t.rho, t.seed) == (
        raw["trial"]["method"], raw["trial"]["rho"], raw["trial"]["seed"]))  # fmt: skip
    path = Path(tmp_path / f"{raw['address']}.json")
    content = json.loads((HERE / "records" / path.name).read_text("utf-8"))
    assert len(content["curve"]["hard"]) == trial.epochs
    content["curve"]["hard"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        load_record(path, trial)
    assert str(caught.value) == (
        f"{path}: key 'curve.hard': expected 200 values, one per epoch, found 199. Remove the file: 'sastdeploy sweep run' makes it anew."
    )
