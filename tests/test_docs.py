"""Every page of Markdown: commands and scripts run, and printed output has the form shown."""

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from nir_files import lif, write

import sastdeploy
from sastdeploy.cli import main as main_module
from tests.pages import GENERATED, HOME, PAGES, blocks

SMALLER = {
    "README.md": {"--train 2000 --test 500": "--train 60 --test 20", "--epochs 5": "--epochs 1"},
    "docs/data.md": {"--count 60": "--count 16", "--epochs 10": "--epochs 1"},
    "docs/export.md": {"--train 600 --test 100": "--train 60 --test 20", "--epochs 6": "--epochs 1"},
}
"""What commands of a page are run with here, so that they take seconds."""
SKIPPED = {
    ("CONTRIBUTING.md", "installs"),
    ("CONTRIBUTING.md", "minutes"),
    ("docs/export.md", "minutes; tests/test_export_verilog.py does it with small programs"),
    ("docs/import.md", "needs a framework"),
    ("docs/installing.md", "exit code 1 where something is missing"),
    ("docs/networks.md", "needs several processes"),
    ("docs/results.md", "minutes"),
    ("docs/sweeps.md", "kills processes; tests/test_kills.py and tests/test_sweeps_cluster.py do"),
}
"""Every reason for which a block of a page is not run."""


def scripts(name):
    """Return a page's blocks that are run, top to bottom: (language, content); commands with ``$ `` before them show what they print."""
    chosen = []
    for language, remark, content in blocks(PAGES[name]):
        reason = remark.strip()
        if reason.startswith("skip: "):
            assert (name, reason.removeprefix("skip: ")) in SKIPPED, f"{name}: {reason}"
            continue
        assert not reason or reason.startswith("needs: "), f"{name}: {reason}: neither skip nor needs"
        if not all(map(shutil.which, reason.removeprefix("needs: ").split())):
            continue
        if language == "text" and content.startswith("$ "):
            language = "transcript"
        if language in ("sh", "python", "transcript") or (
            language == "yaml" and content.startswith("name: ")
        ):
            chosen.append((language, content))
    return chosen


def steps(language, content):
    """Return the commands of a block, each with the lines that it is said to print."""
    if language == "sh":
        return [(line, []) for line in content.splitlines()]
    parts = [part.splitlines() for part in re.split(r"(?m)^\$ ", content)[1:]]
    return [(command, printed) for command, *printed in parts]


def form(line):
    """Return a printed line without its numbers, hashes and widths."""
    line = re.sub(r"\b(?=\w*\d)[0-9a-f]{5,16}\b", "#", line)
    line = re.sub(r"[+-]?\d[\d,.]*(e[+-]\d+)?(?<![,.])", "#", line)
    return re.sub(r"\s+", " ", re.sub("─+", "─", line)).strip()


def absent(printed, output):
    """Return the lines that no line of the output has the form of; ``...`` stands for anything."""
    forms = [form(line) for line in output.splitlines()]
    patterns = {
        line: re.escape(form(line)).replace(r"\.\.\.", ".*") for line in printed if line.strip() != "..."
    }
    return [
        line for line, pattern in patterns.items() if not any(re.fullmatch(pattern, one) for one in forms)
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """One data folder for all pages: what a page makes, the next finds."""
    return tmp_path_factory.mktemp("pages") / "data"


@pytest.fixture
def place(data, tmp_path, monkeypatch):
    """A working folder in which the examples and the network that pages import lie."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SASTDEPLOY_DATA", str(data))
    for folder in ("examples", "docs"):
        (tmp_path / folder).symlink_to(HOME / folder)
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.1, shape).astype(np.float32) for shape in ((20, 2312), (10, 20))]
    hidden, output = ({"type": "Linear", "weight": weight} for weight in weights)
    ends = {"type": "Input", "shape": [2, 34, 34]}, {"type": "Output", "shape": [10]}
    flatten = {"type": "Flatten", "start_dim": 1, "end_dim": -1, "input_type": [2, 34, 34]}
    neurons = [lif(**{key: np.full(n, lif()[key][0]) for key in lif() if key != "type"}) for n in (20, 10)]
    nodes = dict(
        zip(
            ["input", "flatten", "0", "1", "2", "3", "output"],
            (ends[0], flatten, hidden, neurons[0], output, neurons[1], ends[1]),
        )
    )
    write(tmp_path / "trained.nir", nodes)
    return tmp_path


def shown_recording(data, place, name):
    """Put a recording of the simulated set, once a page has made it, where pages name one."""
    for recording in sorted((data / "nmnist-sim" / "Test").rglob("*.bin"))[:1]:
        (place / name).write_bytes(recording.read_bytes())


def run(command, name, capfd):
    """Return what a command prints; it must end well."""
    words = shlex.split(os.path.expandvars(command), comments=True)
    if words[0] == "sastdeploy":
        with pytest.raises(SystemExit) as stop:
            main_module.main(words[1:])
        code = stop.value.code
    else:
        assert words[0] in ("python", "make"), f"{name}: '{command}' is no command that can be run here"
        code = subprocess.run([sys.executable if words[0] == "python" else "make", *words[1:]]).returncode
    captured = capfd.readouterr()
    assert code == 0, f"{name}: {command}\n{captured.err}"
    return captured.out + captured.err


@pytest.mark.parametrize("name", [name for name in PAGES if name not in GENERATED and scripts(name)])
def test_what_a_page_shows_runs_and_prints_lines_of_that_form(name, data, place, capfd):
    smaller = SMALLER.get(name, {})
    for full in smaller:
        assert full in PAGES[name], f"{name}: {full} is not in the page any more"
    for language, content in scripts(name):
        shown_recording(data, place, "recording.bin")
        for full, small in smaller.items():
            content = content.replace(full, small)
        if language == "python":
            exec(compile(content, name, "exec"), {"__name__": "__main__"})
        elif language == "yaml":
            (place / f"{content.split()[1]}.yaml").write_text(content, "utf-8")
        else:
            for command, printed in steps(language, content):
                if not command.startswith("eval "):
                    output = run(command, name, capfd)
                    assert not absent(printed, output), f"{name}: {command}\n{output}"


def test_the_examples_of_the_python_page_run(data, place):
    """In their order; the files that they read lie there, and the first example makes data, a checkpoint and a program."""
    with pytest.raises(SystemExit):
        main_module.main(["data", "make", "nmnist-sim", "--train", "60", "--test", "20"])
    shown_recording(data, place, "00001.bin")
    shutil.copy(HOME / "examples" / "network.yaml", place)
    sastdeploy.save_network("net.pt", sastdeploy.from_nir("trained.nir", dialect="snntorch"))
    names = {name: getattr(sastdeploy, name) for name in sastdeploy.__all__} | {"np": np}
    signature = re.compile(r"[\w.]+\((?:\w+: |\)|\n)|\w+ = [A-Z]")
    blocks_of_python = [
        content for language, _, content in blocks(PAGES["docs/python-api.md"]) if language == "python"
    ]
    examples = [content for content in blocks_of_python if not signature.match(content)]
    assert len(examples) >= sum(map(inspect.isfunction, names.values()))
    for example in examples:
        # These need a framework's network and a file of lava-dl; tests/test_import_modules.py and test_import_lava.py make some.
        if "from_module(net" not in example and "from_lava(" not in example:
            exec(compile(example, "docs/python-api.md", "exec"), names)
        if not (place / "program.onnx").exists():
            sastdeploy.save_program("program.onnx", names["program"])


def test_every_reason_to_skip_a_block_is_used():
    remarks = {(name, remark.strip()) for name, text in PAGES.items() for _, remark, _ in blocks(text)}
    assert {(name, f"skip: {reason}") for name, reason in SKIPPED} <= remarks


def test_an_output_of_another_form_is_found():
    printed = ["hash 0123456789abcdef, 1,234 bytes", "accuracy 12.5%", "...", ".../data: 7"]
    assert not absent(printed, "hash fedcba9876543210, 99 bytes\naccuracy   3.0%\n/home/me/data: 60\n")
    assert (
        absent(printed, "hash fedcba9876543210, 99 bytes\nprecision 3.0%\n/home/me/data: 60\n")
        == printed[1:2]
    )
