"""The choice among trials: test recordings wait for it, and it is made once."""

import json

import pytest

from sastdeploy.cli import main as main_module
from sastdeploy.errors import InputError
from sastdeploy.experiments.runner import addresses, run_all
from sastdeploy.experiments.selection import choose, read_tests
from sastdeploy.experiments.spec import load_experiment
from sastdeploy.experiments.trial import read_test_of
from tests.digits import small_digits
from tests.experiment_files import FILE, small_experiment


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return small_digits(tmp_path_factory.mktemp("data"), train=120)


@pytest.fixture
def file(tmp_path):
    return small_experiment(tmp_path)


def test_test_recordings_wait_for_the_choice_and_are_read_once(file, root, tmp_path):
    file.write_text(
        FILE.replace("profiles:", "select_by: [method]\nprofiles:").replace("seeds: [0, 1]", "seeds: [0]"),
        "utf-8",
    )
    experiment = load_experiment(file)
    trials, work, records = addresses(experiment, root), tmp_path / "work", tmp_path / "records"
    with pytest.raises(InputError, match="a choice needs every trial's record"):
        choose(experiment, trials, records)
    run_all(trials, root, work, records, 2)
    by_address = {a: json.loads((records / f"{a}.json").read_text("utf-8")) for a in trials}
    assert not any("test" in record or "programs" in record for record in by_address.values())
    chosen = read_tests(experiment, trials, root, work, records)
    assert len(chosen) == 2 and [trials[a].method for a in chosen] == ["baseline", "sast"]
    sast = [a for a in trials if trials[a].method == "sast"]
    assert chosen[1] == max(sast, key=lambda a: by_address[a]["validation"]["hard_accuracy"])
    times = {a: (records / f"{a}.test.json").stat().st_mtime_ns for a in chosen}
    assert len(list(records.glob("*.test.json"))) == 2
    assert read_tests(experiment, trials, root, work, records) == chosen
    assert times == {a: (records / f"{a}.test.json").stat().st_mtime_ns for a in chosen}
    good = (records / f"{chosen[0]}.test.json").read_bytes()
    (records / f"{chosen[0]}.test.json").write_bytes(good[:100])
    with pytest.raises(InputError, match=rf"{chosen[0]}\.test\.json: .*Remove the file"):
        read_tests(experiment, trials, root, work, records)
    (records / f"{chosen[0]}.test.json").write_bytes(good)
    with pytest.raises(InputError, match="are read only once"):
        read_test_of(trials[chosen[0]], chosen[0], root, work, records)
    # A figure that changed after the choice: refused.
    record = by_address[sast[0]] | {
        "validation": by_address[sast[0]]["validation"] | {"hard_accuracy": 0.123}
    }
    (records / f"{sast[0]}.json").write_text(json.dumps(record), "utf-8")
    with pytest.raises(InputError, match="this choice was made between other trials or figures"):
        read_tests(experiment, trials, root, work, records)
    # A checkpoint that is not the chosen one: refused.
    (records / f"{sast[0]}.json").write_text(json.dumps(by_address[sast[0]]), "utf-8")
    (records / f"{chosen[0]}.test.json").unlink()
    (records / f"{chosen[0]}.json").write_text(
        json.dumps(by_address[chosen[0]] | {"checkpoint_hash": "0"}), "utf-8"
    )
    with pytest.raises(InputError, match="is not the checkpoint of"):
        read_tests(experiment, trials, root, work, records)


def test_a_measure_that_needs_the_test_recordings_is_refused_beside_a_choice(file):
    file.write_text(
        FILE.replace("profiles:", "select_by: [method]\nmeasures: [calibration]\nprofiles:"), "utf-8"
    )
    with pytest.raises(
        InputError, match="measure calibration needs the test recordings, which wait for the choice"
    ):
        load_experiment(file)


def test_a_lost_choice_is_not_made_again(file, root, tmp_path):
    file.write_text(
        FILE.replace("profiles:", "select_by: [method]\nprofiles:").replace("seeds: [0, 1]", "seeds: [0]"),
        "utf-8",
    )
    experiment = load_experiment(file)
    trials, work, records = addresses(experiment, root), tmp_path / "work", tmp_path / "records"
    run_all(trials, root, work, records, 2)
    (records / "notes.json").write_text("someone else's", "utf-8")  # passed over
    read_tests(experiment, trials, root, work, records)
    (records / "small.selection.json").unlink()
    with pytest.raises(InputError, match=r"test recordings were read, but small.selection.json is gone"):
        read_tests(experiment, trials, root, work, records)


def test_a_choice_under_a_new_name_says_that_the_test_recordings_were_read_before(
    file, root, tmp_path, capsys
):
    work, records = tmp_path / "work", tmp_path / "records"
    text = FILE.replace("seeds: [0, 1]", "seeds: [0]").replace("  - {method: sast, rho: [0.1, 0.3]}\n", "")
    text = text.replace("epochs: 2", "epochs: 1")

    def sweep(name, settings):
        file.write_text(text.replace("small", name).replace("profiles: [loihi_int8]", settings), "utf-8")
        with pytest.raises(SystemExit) as stop:
            main_module.main(
                [
                    "sweep",
                    "run",
                    str(file),
                    "--data",
                    str(root),
                    "--work",
                    str(work),
                    "--records",
                    str(records),
                ]
            )
        assert stop.value.code == 0
        return tuple(addresses(load_experiment(file), root)), " ".join(capsys.readouterr().err.split())

    (chosen,), messages = sweep("one", "select_by: [method]")
    assert "had been read before" not in messages
    assert json.loads((records / "one.selection.json").read_text("utf-8"))["read_before"] == []
    # As a version without this setting wrote it: the same training.
    record = json.loads((records / f"{chosen}.json").read_text("utf-8"))
    del record["trial"]["kernels"]
    (records / f"{chosen}.json").write_text(json.dumps(record), "utf-8")
    (again,), messages = sweep("renamed", "select_by: [method]")
    assert (
        again != chosen
        and f"had been read before for 1 equal trainings of other experiments ({chosen}.json" in messages
    )
    assert json.loads((records / "renamed.selection.json").read_text("utf-8"))["read_before"] == [chosen]
