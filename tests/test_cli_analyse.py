"""``sastdeploy analyse``: tables, JSON, figures, and what it refuses."""

import json

import pytest
from small_networks import checkpoint_of

from sastdeploy.analysis.bounds import STAGES, bounds
from sastdeploy.analysis.margins import margins
from sastdeploy.cli.main import main
from sastdeploy.networks.builtin import builtin
from sastdeploy.networks.checkpoint import load_checkpoint, save_checkpoint
from sastdeploy.recordings.splits import load_dataset
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analyse")
    make_nmnist_sim(folder / "data", train=60, test=10, seed=4, processes=1)
    save_checkpoint(
        folder / "ckpt.pt",
        checkpoint_of(
            builtin("fc_0p40m", (2, 34, 34), 10),
            spread=0.1,
            time_bins=10,
            classes=tuple("0123456789"),
            dataset="nmnist-sim",
            training={**checkpoint_of().training, "method": "sast", "rho": 0.3},
        ),
    )
    return folder


def call(place, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["analyse", str(place / "ckpt.pt"), "--data", str(place / "data"), *words.split()])
    captured = capsys.readouterr()
    assert stop.value.code == 0, captured.err
    return captured


def test_json_is_what_the_functions_return(place, capsys):
    record = json.loads(call(place, "--json", capsys).out)
    checkpoint = load_checkpoint(place / "ckpt.pt")
    data = load_dataset("nmnist-sim", "validation", root=place / "data")
    assert (record["split"], record["simulated"], record["recordings"]) == ("validation", True, len(data))
    assert record["margins"] == {
        "hard": margins(checkpoint, data),
        "surrogate": margins(checkpoint, data, hard=False),
    }


def test_tables_say_what_was_measured(place, capsys):
    out = call(place, "--split test --limit 3", capsys).out
    assert "on 3 test simulated recordings of nmnist-sim; frame value = min(count, 3) / 3" in out
    for title in (
        "Margins: membrane less threshold",
        "Contraction: alpha + M_theta",
        "Activity: outputs per",
    ):
        assert title in out
    assert out.count("layers.0") == out.count("layers.1") == 4


def test_bounds_are_printed_where_they_are_asked_for(place, capsys):
    out = call(place, "--limit 3 --bounds --seed 2", capsys).out
    assert "Bounds (section 4), gradients and attacks on 3 recordings, seed 2" in out
    assert out.count("The theorem's assumption fails") == 1 and "beta is at least" in out
    record = json.loads(call(place, "--limit 3 --bounds --seed 2 --json", capsys).out)
    data = load_dataset("nmnist-sim", "validation", root=place / "data", limit=3)
    # Its radius is the paper's: one floor, told once.
    assert out.count("squared gradient, rho = 0.3") == 1 and out.count("Floor for rho = 0.3") == 1
    assert out.count("  local, with each layer's own B_1, M_A") == 1
    stages = []
    assert record["bounds"] == bounds(load_checkpoint(place / "ckpt.pt"), data, seed=2, stage=stages.append)
    assert tuple(stages) == STAGES


def test_figures_are_written(place, capsys):
    printed = call(place, f"--limit 2 --figures {place / 'pictures'}", capsys)
    assert (place / "pictures" / "margins.png").read_bytes().startswith(b"\x89PNG")
    drawn = (place / "pictures" / "margins.svg").read_text("utf-8")
    assert drawn.startswith("<?xml") and "pictures/margins.svg" in printed.err
