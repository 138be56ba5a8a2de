"""Tables at every width: nothing is broken into columns of two letters, and no figure is lost."""

import io
import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console

from sastdeploy.cli.terminal import draw_table

LAYERS = ("layer", "kind", "weights", "scale", "SNR dB", "neurons", "fan-in", "fan-out", "max kSynOps")
ROWS = [
    ["layers.0", "dense", "INT8 [168, 2312]", "0.0012", "41.2", "168", "2,312", "168", "3,885.2"],
    ["readout", "dense", "INT8 [10, 64]", "0.0031", "44.9", "10", "64", "10", "6.4"],
]


def drawn(columns, rows, width, title=None):
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None, markup=False)
    draw_table(console, columns, rows, title)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def words(lines):
    return {word for line in lines for word in line.split()}


def test_a_wide_terminal_has_a_row_for_every_row():
    lines = drawn(LAYERS, ROWS, 120)
    assert lines[1].split()[:2] == ["layer", "kind"] and len(lines) == 6


def test_a_narrow_terminal_turns_a_table_of_few_rows():
    lines = drawn(LAYERS, ROWS, 60, "net: membrane Q8.8")
    assert lines[0] == "net: membrane Q8.8"
    assert lines[2].split() == ["layer", "layers.0", "readout"]
    assert " max kSynOps   3,885.2            6.4" in lines
    assert {cell for row in ROWS for text in row for cell in text.split()} <= words(lines)


def test_a_table_that_cannot_be_turned_becomes_blocks():
    rows = [[f"chip{n}", "a title of some forty letters and more", *["x" * 9] * 7] for n in range(2)]
    lines = drawn(LAYERS, rows, 60)
    assert lines.count("") == 3 and "layer        chip0" in lines
    assert "kind         a title of some forty letters and more" in lines


def test_a_title_is_never_broken():
    title = "a checkpoint with a long path on 500 test recordings of a data set"
    assert drawn(("a", "b"), [["1", "2"]], 100, title)[0] == title


def test_a_long_last_column_is_wrapped_and_the_others_are_not():
    rows = [
        ["weights.granularity", "per_tensor", "one scale per layer is what the chip's exponent offers " * 3]
    ]
    lines = drawn(("key", "value", "source"), rows, 80)
    assert any(line.startswith(" weights.granularity   per_tensor   one scale") for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("call", ["profiles list", "profiles show loihi_int8", "data list"])
def test_commands_on_a_real_terminal_keep_words_whole(tmp_path, call, width):
    """A pseudo-terminal, as a user has it."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "dumb"}
    with subprocess.Popen(
        [sys.executable, "-m", "sastdeploy", *call.split(), *(["--data", str(tmp_path)] if "data" in call else [])],
        stdout=theirs, env=environment,
    ) as running:  # fmt: skip
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # how a pseudo-terminal ends
                break
            if not part:
                break
            shown += part
        assert running.wait() == 0
    os.close(ours)
    piped = subprocess.run(
        [sys.executable, "-m", "sastdeploy", *call.split(), *(["--data", str(tmp_path)] if "data" in call else [])],
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    names = {word for word in piped.split() if word.isidentifier() and len(word) > 3}
    assert names and names <= words(shown.decode().splitlines())
