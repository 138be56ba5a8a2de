"""Test vectors: arrays, words and tables hold the same integers, and the README's equation leads from one to the next."""

import json

import numpy as np
import pytest
from small_networks import CONV, POOL, checkpoint_of
from tiny_programs import counts, one_neuron

from sastdeploy import InputError, compile, export_vectors, save_program, simulate
from sastdeploy.cli import main as main_module
from sastdeploy.exchange.vectors import export as export_module
from sastdeploy.exchange.vectors.values import Signal, words


@pytest.fixture(scope="module")
def program():
    return compile(checkpoint_of(POOL), "aggressive_int4").program


@pytest.fixture
def exported(program, tmp_path):
    return export_vectors(program, tmp_path / "vectors")


def arrays(export):
    with np.load(export.folder / "vectors.npz") as file:
        return dict(file)


def words_of(path, signed, bits):
    """Return a .hex file's numbers as a hardware colleague reads them."""
    lines = path.read_text().splitlines()
    assert lines[0].startswith("// ") and f" {bits} bits" in lines[0]
    numbers = [int(line, 16) for line in lines[1:]]
    assert all(0 <= number < 1 << bits for number in numbers)
    return np.array([n - (1 << bits) if signed and n >> (bits - 1) else n for n in numbers])


def test_a_neurons_vectors_are_those_worked_out_by_hand(tmp_path):
    export = export_vectors(one_neuron(), tmp_path / "v", counts(1, 9, 0, 2, 4))
    # I = (3 * sum + 1) >> 1, bias -1, leak 5/8 rounded down, threshold 5, delayed subtraction.
    assert (tmp_path / "v" / "0.fc.csv").read_text() == (
        "step,number,sums,membranes,spikes\n0,0,3,4,0\n1,0,12,15,1\n2,0,0,3,0\n3,0,6,9,1\n4,0,12,15,1\n"
    )
    assert (tmp_path / "v" / "0.input.csv").read_text().splitlines()[1:3] == ["0,0,1", "1,0,4"]
    assert (tmp_path / "v" / "0.fc.membranes.hex").read_text() == (
        "// fc membranes, recording 0: 5 bits, signed\n04\n0f\n03\n09\n0f\n"
    )
    assert (tmp_path / "v" / "0.scores.hex").read_text().splitlines()[1:] == ["0000000d", "fffffff5"]
    assert (export.recordings, export.values) == (1, 5 * 4 + 2)


def test_words_and_tables_hold_the_arrays(exported):
    found = arrays(exported)
    for row in exported.layers:
        stem = row["layer"] if row["layer"] == row["kind"] else f"{row['layer']}.{row['kind']}"
        for n in range(exported.recordings):
            read = words_of(exported.folder / f"{n}.{stem}.hex", row["signed"], row["bits"])
            assert np.array_equal(read, found[stem][n].reshape(-1)), stem
            if row["kind"] != "scores":
                table = np.loadtxt(
                    exported.folder / f"{n}.{row['layer']}.csv", delimiter=",", skiprows=1, dtype=np.int64
                )
                head = (exported.folder / f"{n}.{row['layer']}.csv").read_text().splitlines()[0].split(",")
                assert np.array_equal(table[:, head.index(row["kind"])], read)
    scores = np.loadtxt(exported.folder / "scores.csv", delimiter=",", skiprows=1, dtype=np.int64)
    assert np.array_equal(scores[:, 1:], found["scores"])
    index = json.loads((exported.folder / "vectors.json").read_text())
    assert sorted(index["files"]) == sorted(path.name for path in exported.folder.iterdir())
    assert index["schema"] == "sastdeploy.vectors/1"


@pytest.mark.parametrize("profile", ["loihi_int8", "aggressive_int4"])
def test_the_readmes_equation_leads_from_sums_to_spikes(profile, tmp_path):
    program = compile(checkpoint_of(CONV), profile).program
    found = arrays(export_vectors(program, tmp_path / "v"))
    for layer in program.layers:
        lif, sums = layer.lif, found[f"{layer.name}.sums"].astype(np.int64)
        wide = [getattr(lif, name)[:, None, None] for name in ("multiplier", "shift", "bias", "threshold")]
        multiplier, shift, bias, threshold = (array.astype(np.int64) for array in wide)
        u, s = np.zeros_like(sums[:, 0]), np.zeros_like(sums[:, 0])
        for t in range(sums.shape[1]):
            product = u * lif.leak_multiplier
            leak = product >> lif.leak_shift
            if lif.leak_rounding.value == "toward_zero":
                leak = np.where(product < 0, -(-product >> lif.leak_shift), leak)
            v = leak + ((sums[:, t] * multiplier + ((1 << shift) >> 1)) >> shift) + bias - threshold * s
            u = np.clip(v, lif.membrane.q_min, lif.membrane.q_max)
            s = (u >= threshold).astype(np.int64)
            assert np.array_equal(u, found[f"{layer.name}.membranes"][:, t])
            assert np.array_equal(s, found[f"{layer.name}.spikes"][:, t])


def test_a_wrong_word_is_seen(exported):
    path = exported.folder / "0.layers.0.sums.hex"
    bits = next(row["bits"] for row in exported.layers if row["kind"] == "sums")
    before = words_of(path, True, bits)
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text[:-1], f"{int(text[-1], 16) ^ 1:x}"]))
    assert not np.array_equal(words_of(path, True, bits), before)


@pytest.mark.parametrize(
    ("value", "bits", "word"), [(-1, 5, "1f"), (-16, 5, "10"), (15, 5, "0f"), (-1, 8, "ff"), (0, 1, "0")]
)
def test_words_are_twos_complement(value, bits, word):
    signal = Signal("a", "sums", (1, 1, 1), bits, True, np.array([[[value]]]))
    assert list(words(signal, 0)) == [word]


def test_pools_have_sums_alone_and_scores_are_the_simulators(program, exported):
    assert [(row["layer"], row["kind"]) for row in exported.layers] == [
        ("input", "counts"), *(("layers.0", kind) for kind in ("sums", "membranes", "spikes")), ("layers.1", "sums"),
        *(("layers.2", kind) for kind in ("sums", "membranes", "spikes")), ("scores", "scores"),
    ]  # fmt: skip
    found = arrays(exported)
    assert np.array_equal(simulate(program, found["input.counts"]).scores, found["scores"])


def test_the_same_program_gives_the_same_bytes(program, exported, tmp_path):
    again = export_vectors(program, tmp_path / "again")
    assert all((again.folder / f).read_bytes() == (exported.folder / f).read_bytes() for f in exported.files)
    times = [(exported.folder / f).stat().st_mtime_ns for f in exported.files]
    assert export_vectors(program, exported.folder) == exported
    assert times == [(exported.folder / f).stat().st_mtime_ns for f in exported.files]


def test_other_vectors_are_replaced_only_by_force_and_other_files_never(program, exported, tmp_path):
    zeros = np.zeros((1, 6, 1, 8, 8), np.uint8)
    with pytest.raises(InputError) as error:
        export_vectors(program, exported.folder, zeros)
    assert str(error.value) == (
        f"{exported.folder}: holds other vectors. Choose another folder with --out, or replace them with --force."
    )
    export_vectors(program, exported.folder, zeros, force=True)
    assert not (exported.folder / "1.input.csv").exists()
    (exported.folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError) as error:
        export_vectors(program, exported.folder, force=True)
    assert str(error.value) == (
        f"{exported.folder}: holds 'notes.txt', which is no part of vectors; nothing was written. "
        "Choose a new folder with --out DIR."
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"is a file\. Choose a folder with --out DIR"):
        export_vectors(program, tmp_path / "file")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "vectors.json").write_text("{")
    with pytest.raises(
        InputError, match=r"is no valid list of vectors \(.*\)\. Choose a new folder with --out DIR\.$"
    ):
        export_vectors(program, tmp_path / "broken")


def test_too_many_recordings_are_refused_with_the_number_that_fits(program, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "MAX_VALUES", 12_000)
    with pytest.raises(InputError) as error:
        export_vectors(program, tmp_path / "v", np.zeros((3, 6, 1, 8, 8), np.uint8))
    assert str(error.value) == (
        "program tiny_pool.aggressive_int4: vectors of 3 recordings would hold 16,740 integers. Allowed: 1 to 12,000. "
        "Use --limit 2 or less."
    )
    with pytest.raises(InputError, match=r"^frames: 1x8x8 in 5 bins"):
        export_vectors(program, tmp_path / "v", np.zeros((1, 5, 1, 8, 8), np.uint8))


def test_the_command(program, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_program("p.onnx", program)

    def typed(*words):
        with pytest.raises(SystemExit) as stop:
            main_module.main(["export", "p.onnx", *words])
        return stop.value.code, *capsys.readouterr()

    code, out, err = typed("--to", "vectors", "--out", "v")
    assert (code, err) == (0, "") and "README.md says what each is" in out
    readme = (tmp_path / "v" / "README.md").read_text()
    assert "| layers.0 | membranes | 3 x 8 x 8 | 8 signed |" in readme
    code, out, _ = typed("--to", "vectors", "--out", "v", "--json")
    assert code == 0 and json.loads(out)["recordings"] == 3
    for words_, message in (
        (("--to", "c", "--limit", "2"), "--limit chooses recordings of a data set"),
        (("--to", "vectors", "--name", "n"), "--name is for --to c"),
        (("--to", "vectors", "--limit", "2"), "--limit chooses recordings of a data set"),
    ):
        code, _, err = typed(*words_, "--out", "w")
        assert code == 2 and message in err
