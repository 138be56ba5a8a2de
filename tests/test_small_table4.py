"""What CI's small Table 4 lets pass and what it refuses, and that the committed result follows from its own trainings."""

import copy
import json

import pytest

from benchmarks.paper import small_table4 as small

ROW = {"accuracy": 60.0, "ksynops": 80.0, "program_hash": "p", "data_hash": "d"}
MEAN = {"accuracy": 61.0, "ksynops": 81.0}
KEPT = {
    "programs": {"sast.chip": ROW, "conv.sast.chip": ROW}, "means": {"sast.chip": MEAN},
    "bands": {"sast.chip": {"accuracy": 3.0, "ksynops": 0.5}}, "seeds": [0, 1], "early": [2.3, 2.4], "early_band": 0.01,
}  # fmt: skip
EARLY = [2.3, 2.4]
SAME = {"sast.chip": ROW, "conv.sast.chip": ROW}


@pytest.fixture
def kept():
    return json.loads((small.KEPT / "result.json").read_text("utf-8"))


def test_the_same_figures_and_means_within_the_band_pass():
    assert small.moved(KEPT, SAME, {"sast.chip": {"accuracy": 64.0, "ksynops": 80.5}}, [2.309, 2.391]) == []


@pytest.mark.parametrize("name", ["sast.chip", "conv.sast.chip"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": 60.01}, "the committed program gives accuracy 60.01, exactly 60.0 is committed."),
        ({"ksynops": 80.0001}, "the committed program gives ksynops 80.0001, exactly 80.0 is committed."),
        ({"data_hash": "e"}, "the committed program gives data_hash e, exactly d is committed."),
        ({"program_hash": "q"}, "the committed program gives program_hash q, exactly p is committed."),
    ],
)
def test_a_committed_program_must_give_exactly_its_figures(name, change, message):
    assert small.moved(KEPT, SAME | {name: ROW | change}, {"sast.chip": MEAN}, EARLY) == [
        f"{name}: {message}"
    ]


def test_a_missing_program_is_told():
    assert len(small.moved(KEPT, {"sast.chip": ROW}, {"sast.chip": MEAN}, EARLY)) == len(ROW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": 57.9}, "sast.chip, trained anew: mean accuracy 57.90, committed 61.00, allowed is 3.00 to either side."),
        ({"ksynops": 81.6}, "sast.chip, trained anew: mean ksynops 81.60, committed 81.00, allowed is 0.50 to either side."),
    ],
)  # fmt: skip
def test_means_of_networks_trained_anew_must_lie_within_the_band(change, message):
    assert small.moved(KEPT, SAME, {"sast.chip": MEAN | change}, EARLY) == [message]


def test_an_early_loss_must_lie_within_its_band_for_every_seed():
    assert small.moved(KEPT, SAME, {"sast.chip": MEAN}, [2.3, 2.411]) == [
        "SAST, seed 1: loss 2.411000 in the first epoch, committed 2.400000, allowed is 0.010000 to either side."
    ]


def test_a_band_by_hand():
    # Two steps, two seeds. Variances at a fixed seed 2 and 8, their mean 5; of a new value's distance from the mean of two 5 * 1.5.
    values = [[60.0, 70.0], [62.0, 74.0]]
    assert small.band(values) == pytest.approx(small.DEVIATIONS * 7.5**0.5)
    runs = [[{"a": dict.fromkeys(small.FIGURES, value)} for value in by_seed] for by_seed in values]
    # Of means over two seeds half that variance.
    assert small.bands(runs)["a"] == pytest.approx(dict.fromkeys(small.FIGURES, small.DEVIATIONS * 3.75**0.5))
    assert small.means(runs[0]) == {"a": dict.fromkeys(small.FIGURES, 65.0)}


def test_what_is_seen_by_hand():
    runs = [[{"sast.chip": {"accuracy": a, "ksynops": k}}] for a, k in ((60.0, 80.0), (61.0, 80.01))]
    losses = [[2.0, 3.0], [2.0001, 3.0001]]
    ignoring = {"means": {"sast.chip": {"accuracy": 61.0, "ksynops": 81.0}}, "early": [2.0, 3.1]}
    made = small.summary(runs, losses, ignoring)
    assert (made["seen"], made["early_seen"]) == (["sast.chip ksynops"], [1])


def test_the_committed_bands_follow_from_the_committed_trainings(kept):
    made = small.summary(kept["runs"], kept["losses"], kept["ignoring"])
    assert {key: kept[key] for key in made} == made
    assert [len(run) for run in kept["runs"]] == [len(small.SEEDS)] * len(small.STEPS)


def test_every_step_of_the_committed_trainings_passes(kept):
    for run, losses in zip(kept["runs"], kept["losses"]):
        assert small.moved(kept, kept["programs"], small.means(run), losses) == []


def test_a_sast_that_ignores_its_radius_is_noticed_by_its_early_losses_alone(kept):
    ignoring = kept["ignoring"]
    sentences = small.moved(kept, kept["programs"], kept["means"] | ignoring["means"], ignoring["early"])
    # So the file says; where this changes, its first lines must too.
    assert kept["seen"] == [] and len(kept["early_seen"]) > 1
    assert [text.split(":")[0] for text in sentences] == [f"SAST, seed {seed}" for seed in kept["early_seen"]]


def test_the_check_fails_where_the_committed_result_was_changed(kept, monkeypatch, capsys):
    rows = copy.deepcopy(kept["programs"])
    assert "conv.sast.loihi_int8" in rows
    runs = iter(kept["runs"][0] * 2)
    monkeypatch.setattr(small, "make", lambda root: None)
    monkeypatch.setattr(small, "trained", lambda root, seed: next(runs))
    monkeypatch.setattr(small, "early", lambda root: kept["losses"][0])
    monkeypatch.setattr(small, "exact", lambda folder, root: rows)
    small.check()
    assert "conv" not in capsys.readouterr().out
    rows["sast.loihi_int8"]["ksynops"] += 1e-9
    with pytest.raises(
        SystemExit, match=r"(?s)sast\.loihi_int8: the committed program gives ksynops .*--write, and commit"
    ):
        small.check()
