"""Files that earlier versions wrote: read as they are, written again byte by byte."""

import json
from pathlib import Path

import onnx
import pytest

from sastdeploy.cli import main as main_module
from sastdeploy.compiler.compile import compile
from sastdeploy.compiler.profiles import load_profile
from sastdeploy.experiments.record import load_any
from sastdeploy.networks.architecture import AvgPool
from sastdeploy.networks.checkpoint import checkpoint_hash, load_checkpoint, save_checkpoint
from sastdeploy.program.file import load_program, meaning_hash, program_hash, program_model, save_program

FIXTURES = Path(__file__).parent / "fixtures"
RECORDS = Path(__file__).resolve().parents[1] / "benchmarks" / "paper" / "records"
SAVED = Path(__file__).resolve().parents[1] / "benchmarks" / "paper" / "small_table4"
HASHES = {
    "pooled.loihi_int8.onnx": "d554a00d8688dea625748683438ea20cc7e936c2d2047069ed57fefea71ee540",
    "pooled.aggressive_int4.onnx": "79b048f3d65bf102917552662a775cb36d2b94b2036cfb340feef2a845f2f8ee",
}


@pytest.mark.parametrize(
    "path", [*sorted(SAVED.glob("*.onnx")), *sorted(FIXTURES.glob("*.onnx"))], ids=lambda path: path.name
)
def test_a_saved_program_is_read_and_written_as_it_was(path, tmp_path):
    """Rounding toward zero alone is written in another form today; in the earlier form it is the same file, byte by byte."""
    program = load_program(path)
    sign = any(layer.lif and layer.lif.leak_rounding.value == "toward_zero" for layer in program.layers)
    version = onnx.load(path).producer_version
    assert (
        program_model(program, version, sign_node=sign).SerializeToString(deterministic=True)
        == path.read_bytes()
    )
    save_program(tmp_path / "again.onnx", program)
    assert sign or (tmp_path / "again.onnx").read_bytes() == path.read_bytes()
    again = load_program(tmp_path / "again.onnx")
    assert program_hash(again) == program_hash(program) == HASHES.get(path.name, program_hash(program))


def test_a_sum_pool_of_an_old_checkpoint_is_the_average_that_was_trained():
    checkpoint = load_checkpoint(FIXTURES / "pooled_checkpoint.pt")
    assert checkpoint.architecture.layers[1] == AvgPool(2, 2, 0)
    assert checkpoint_hash(checkpoint) == "275e991bd45b757ab5e6518eb25b49b6bd491e51d1f54a7a756cd3ce62e3c639"


@pytest.mark.parametrize("profile", ["loihi_int8", "aggressive_int4"])
def test_an_old_checkpoint_compiles_to_the_integers_it_compiled_to(profile):
    program = compile(load_checkpoint(FIXTURES / "pooled_checkpoint.pt"), load_profile(profile)).program
    assert meaning_hash(program) == meaning_hash(load_program(FIXTURES / f"pooled.{profile}.onnx"))


def test_an_old_record_is_read():
    record = load_any(FIXTURES / "5ada34277085d941.json")
    assert record["address"] == "5ada34277085d941"
    assert record["trial"]["forward"] == "surrogate"


def test_records_that_say_smooth_are_read_with_the_word_of_today_and_nothing_else_changes():
    def words(content):
        return (
            json.dumps(content)
            .replace('"smooth_rate"', '"surrogate_rate"')
            .replace('"smooth"', '"surrogate"')
        )

    measured = [path for path in sorted(RECORDS.glob("*.json")) if '"smooth_rate"' in path.read_text("utf-8")]
    assert len(measured) > 100
    for path in measured[::20]:
        record = load_any(path)
        assert json.dumps(record) == words(json.loads(path.read_text("utf-8")))
        assert set(record["measures"]["activity"]["overall"]) >= {"surrogate_rate", "hard_rate"}


def test_a_checkpoint_keeps_the_earlier_word_in_its_file_and_is_shown_with_todays(tmp_path, capsys):
    checkpoint = load_checkpoint(FIXTURES / "dense.pt")
    assert checkpoint.training["forward"] == "smooth"
    save_checkpoint(tmp_path / "again.pt", checkpoint)
    assert checkpoint_hash(load_checkpoint(tmp_path / "again.pt")) == checkpoint_hash(checkpoint)
    with pytest.raises(SystemExit) as stop:
        main_module.main(["inspect", str(FIXTURES / "dense.pt"), "--json"])
    training = json.loads(capsys.readouterr().out)["training"]
    assert stop.value.code == 0 and training == checkpoint.training | {"forward": "surrogate"}
