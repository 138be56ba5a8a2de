"""The data command, end to end."""

import json

import numpy as np
import pytest

from sastdeploy.cli import main as main_module
from sastdeploy.recordings.events import EVENT_DTYPE
from sastdeploy.recordings.nmnist import nmnist_bytes


def run(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main_module.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_list_names_every_set_and_what_is_here(tmp_path, capsys):
    (tmp_path / "nmnist").mkdir()
    code, out, _ = run(["data", "list", "--data", tmp_path, "--json"], capsys)
    sets = {entry["name"]: entry for entry in json.loads(out)["datasets"]}
    assert code == 0 and sets["nmnist"]["here"] and not sets["dvsgesture"]["here"]
    assert sets["nmnist-sim"]["simulated"] and not sets["nmnist"]["simulated"]
    code, out, _ = run(["data", "list", "--data", tmp_path], capsys)
    assert code == 0 and all(name in out for name in sets)


def test_make_then_check_then_show(tmp_path, capsys):
    code, out, _ = run(
        ["data", "make", "nmnist-sim", "--data", tmp_path, "--train", 20, "--test", 10, "--processes", 1],
        capsys,
    )
    assert code == 0 and "30 simulated recordings" in out
    code, out, _ = run(["data", "check", "nmnist-sim", "--data", tmp_path, "--json"], capsys)
    assert code == 0 and json.loads(out)["recordings"] == 30 and json.loads(out)["bad"] == []
    recording = next((tmp_path / "nmnist-sim" / "Test").rglob("*.bin"))
    for picture in ("a.png", "a.gif"):
        code, out, _ = run(["data", "show", recording, "--out", tmp_path / picture, "--json"], capsys)
        facts = json.loads(out)
        assert code == 0 and facts["events"] > 500 and len(facts["active_inputs_per_bin"]) == 10
        assert (tmp_path / picture).stat().st_size > 5000
    code, out, err = run(
        ["data", "make", "nmnist-sim", "--data", tmp_path, "--train", 30, "--test", 10], capsys
    )
    assert (code, out) == (3, "") and "holds a simulated set of other parameters (train differ)" in err


def test_check_lists_the_bad_files(tmp_path, capsys):
    from tests.test_events_formats import nmnist_tree

    nmnist_tree(tmp_path / "nmnist", damage=b"1234567")
    code, out, err = run(["data", "check", "nmnist", "--data", tmp_path], capsys)
    assert code == 3 and "79 good recordings" in out and "00001.bin: offset 5: truncated" in out
    assert "1 bad files, listed above. Get them again, or use --skip-bad." in err


def test_bad_files_of_a_simulated_set_are_made_again(tmp_path, capsys):
    make = ["data", "make", "nmnist-sim", "--data", tmp_path, "--train", 20, "--test", 10]
    assert run(make, capsys)[0] == 0
    damaged = min((tmp_path / "nmnist-sim").rglob("*.bin"))
    damaged.write_bytes(b"1234567")
    code, _, err = run(["data", "check", "nmnist-sim", "--data", tmp_path], capsys)
    assert code == 3 and (
        "1 bad files, listed above. Remove them and make them again ('sastdeploy data make nmnist-sim --seed 0 --train 20 --test 10'), "
        "or use --skip-bad."
    ) in " ".join(err.split())
    damaged.unlink()
    assert (
        run(make, capsys)[0] == 0 and run(["data", "check", "nmnist-sim", "--data", tmp_path], capsys)[0] == 0
    )


def test_show_says_what_a_recording_is_like_by_hand(tmp_path, capsys):
    events = np.array([(1, 1, 0, 1), (1, 1, 500, 1), (2, 2, 999, 0)], EVENT_DTYPE)
    (tmp_path / "a.bin").write_bytes(nmnist_bytes(events))
    code, out, _ = run(
        ["data", "show", tmp_path / "a.bin", "--out", tmp_path / "a.png", "--time-bins", 2, "--json"], capsys
    )
    facts = json.loads(out)
    # two bins of 500 us: the first holds t = 0, the second t = 500 and 999
    assert (
        code == 0 and facts["active_inputs_per_bin"] == [1, 2] and facts["share_on"] == pytest.approx(2 / 3)
    )


def test_fetch_refuses_simulated_and_unknown_sets(tmp_path, capsys):
    code, _, err = run(["data", "fetch", "nmnist-sim", "--data", tmp_path], capsys)
    assert (
        code == 3
        and "is simulated, so there is nothing to download. Run 'sastdeploy data make nmnist-sim'" in err
    )
    code, _, err = run(["data", "fetch", "nmnits", "--data", tmp_path], capsys)
    assert code == 3 and "Did you mean 'nmnist'?" in err


@pytest.mark.parametrize("failure", ["connection", "hash"])
def test_a_failed_download_says_what_to_do_by_hand_and_leaves_nothing(tmp_path, capsys, monkeypatch, failure):
    import pooch
    import requests

    def retrieve(*_, **__):
        raise requests.ConnectionError if failure == "connection" else ValueError("hash")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    code, out, err = run(["data", "fetch", "nmnist", "--data", tmp_path], capsys)
    assert (code, out) == (3, "") and "Download it by hand (Mendeley Data 468j46mzdv)" in err
    assert list(tmp_path.iterdir()) == []
