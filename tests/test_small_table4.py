"""What CI's small Table 4 lets pass and what it refuses, and that the committed programs still give the committed figures' form."""

import copy
import json

import pytest

ROW = {"accuracy": 60.0, "ksynops": 80.0, "program_hash": "p", "data_hash": "d"}
KEPT = {"programs": {"sast.chip": ROW}, "bands": {"sast.chip": {"accuracy": 3.0, "ksynops": 0.5}}}


@pytest.fixture
def small(benchmark_script):
    return benchmark_script("small_table4.py")


def test_the_same_figures_and_trained_ones_within_the_band_pass(small):
    anew = {"sast.chip": ROW | {"accuracy": 63.0, "ksynops": 79.5, "program_hash": "another"}}
    assert small.moved(KEPT, {"sast.chip": ROW}, anew) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accuracy": 60.01}, "sast.chip: the committed program gives accuracy 60.01, exactly 60.0 is committed."),
        ({"ksynops": 80.0001}, "sast.chip: the committed program gives ksynops 80.0001, exactly 80.0 is committed."),
        ({"data_hash": "e"}, "sast.chip: the committed program gives data_hash e, exactly d is committed."),
        ({"program_hash": "q"}, "sast.chip: the committed program gives program_hash q, exactly p is committed."),
    ],
)  # fmt: skip
def test_a_committed_program_must_give_exactly_its_figures(small, change, said):
    assert small.moved(KEPT, {"sast.chip": ROW | change}, {"sast.chip": ROW}) == [said]


def test_a_missing_program_is_told(small):
    assert len(small.moved(KEPT, {}, {"sast.chip": ROW})) == len(ROW)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accuracy": 56.9}, "sast.chip, trained anew: accuracy 56.90, committed 60.00, allowed is 3.00 to either side."),
        ({"ksynops": 80.6}, "sast.chip, trained anew: ksynops 80.60, committed 80.00, allowed is 0.50 to either side."),
    ],
)  # fmt: skip
def test_networks_trained_anew_must_lie_within_the_band(small, change, said):
    assert small.moved(KEPT, {"sast.chip": ROW}, {"sast.chip": ROW | change}) == [said]


def test_the_check_fails_where_the_committed_result_was_changed(small, monkeypatch, tmp_path):
    kept = json.loads((small.KEPT / "result.json").read_text("utf-8"))
    rows = copy.deepcopy(kept["programs"])
    monkeypatch.setattr(small, "trained", lambda out, seed: rows)
    monkeypatch.setattr(small, "figures_of", lambda folder, root: rows)
    small.check()
    rows["sast.loihi_int8"]["ksynops"] += 1e-9
    with pytest.raises(
        SystemExit, match=r"(?s)sast\.loihi_int8: the committed program gives ksynops .*--write, and commit"
    ):
        small.check()
