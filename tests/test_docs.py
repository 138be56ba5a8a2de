"""Every page of Markdown: commands and scripts run, printed output has the form shown, links, files and targets are there."""

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from nir_files import lif, write

import sastdeploy
from sastdeploy.cli import main as main_module
from sastdeploy.cli.main import COMMANDS, cli

HOME = Path(__file__).resolve().parents[1]
README = HOME / "README.md"
PAGES = {
    path.relative_to(HOME).as_posix(): path.read_text("utf-8")
    for path in (
        README,
        HOME / "CONTRIBUTING.md",
        *sorted((HOME / "docs").glob("*.md")),
        *sorted((HOME / "benchmarks").rglob("*.md")),
    )
}
GENERATED = ("docs/command-line.md", "docs/python-api.md")
BLOCK = re.compile(r"(?ms)^```(\S*)([^\n]*)\n(.*?)^```$")
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


def blocks(text):
    """Return (language, remark, content) of every fenced block."""
    return BLOCK.findall(text)


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


def calls(text):
    """Return every command that a page names, in blocks or in the line."""
    inside = [line.removeprefix("$ ") for _, _, content in blocks(text) for line in content.splitlines()]
    named = re.findall(r"`((?:sastdeploy|make|python|pip) [^`\n]+)`", re.sub(BLOCK, "", text))
    return {line for line in inside if re.match(r"(sastdeploy|make|python|pip) ", line)} | set(named)


@pytest.mark.parametrize(
    ("name", "call"),
    [(name, call) for name, text in PAGES.items() if name not in GENERATED for call in sorted(calls(text))],
)
def test_every_command_is_one_that_there_is(name, call):
    words = shlex.split(call.removesuffix(" &").replace("--divisor D", "--divisor 100"), comments=True)
    words = words[: next((n for n, word in enumerate(words) if word in (">", "2>", "|")), None)]
    {"sastdeploy": parses, "make": has_targets, "python": has_a_script, "pip": has_extras}[words[0]](
        words[1:]
    )


def parses(words):
    context = click.Context(cli)
    command = cli.get_command(context, words[0])
    assert command is not None, f"{words[0]} is none of {', '.join(COMMANDS)}"
    words = words[1:]
    if isinstance(command, click.Group):
        assert words[0] in command.commands
        command, words = command.commands[words[0]], words[1:]
    # A bare name in a sentence stands for the command as a whole.
    if words:
        command.make_context(words[0], list(words), parent=context)


def has_targets(words):
    """Of our Makefile, or of one that an export writes."""
    files = [HOME / "Makefile", *(HOME / "sastdeploy" / "exchange").rglob("templates/Makefile")]
    targets = {target for path in files for target in re.findall(r"(?m)^([\w-]+):", path.read_text("utf-8"))}
    named = {word for word in words if re.fullmatch(r"[a-z][a-z0-9-]*", word)}
    assert named and named <= targets, f"no target {named - targets}"


def has_a_script(words):
    if words[:2] == ["-m", "pip"]:
        return has_extras(words[2:])
    path = HOME / (words[1].replace(".", "/") + ".py" if words[0] == "-m" else words[0])
    assert path.exists(), path
    source = "".join(file.read_text("utf-8") for file in path.parent.glob("*.py"))
    missing = [word for word in words if word.startswith("--") and f'"{word}"' not in source]
    assert not missing, f"{path}: has no {missing}"


def has_extras(words):
    project = (HOME / "pyproject.toml").read_text("utf-8").split("[project.optional-dependencies]")[1]
    extras = re.findall(r"(?m)^(\w+) = \[", project.split("\n[")[0])
    for extra in re.findall(r"\[([\w,]+)\]", " ".join(words)):
        assert set(extra.split(",")) <= set(extras), extra
    for number, word in enumerate(words):
        assert word != "-c" or (HOME / words[number + 1]).exists(), words


def test_a_command_that_there_is_not_is_found():
    for check, words in (
        (has_targets, ["tset"]),
        (has_a_script, ["docs/genrate.py"]),
        (has_extras, ["install", ".[hdf6]"]),
    ):
        with pytest.raises(AssertionError):
            check(words)
    with pytest.raises(AssertionError):
        has_a_script(["docs/generate.py", "--chekc"])
    with pytest.raises(click.UsageError):
        parses(["simulate", "x.onnx", "--engin", "numba"])


@pytest.mark.parametrize("name", PAGES)
def test_every_link_and_file_is_there(name):
    text = re.sub(r"(?ms)^```.*?^```$", "", PAGES[name])
    folder = (HOME / name).parent
    links = [
        link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")
    ]
    named = re.findall(r"`((?:sastdeploy|tests|benchmarks|examples|profiles|docs|\.ci)/[\w./-]+)`", text)
    missing = [link for link in links if not (folder / link).exists()] + [
        path for path in named if not (HOME / path).exists()
    ]
    assert not missing


def test_every_page_is_listed():
    listed = re.findall(r"\]\(([\w-]+\.md)\)", PAGES["docs/README.md"])
    pages = {name for name in PAGES if name.startswith("docs/")}
    assert {f"docs/{page}" for page in listed} == pages - {"docs/README.md"}


def test_generated_pages_are_up_to_date():
    call = [sys.executable, str(HOME / "docs" / "generate.py"), "--check"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_command_line_page_holds_every_option():
    text = PAGES["docs/command-line.md"]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        leaves = command.commands.items() if isinstance(command, click.Group) else [("", command)]
        for leaf, each in leaves:
            (section,) = re.findall(
                rf"(?ms)^## sastdeploy {f'{name} {leaf}'.strip()}\n(.*?)(?=^## |\Z)", text
            )
            assert all(
                f"`{option}" in section
                for parameter in each.params
                for option in parameter.opts
                if option.startswith("-")
            )


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 150


def test_the_examples_network_is_that_of_the_page():
    (block,) = (content for language, _, content in blocks(PAGES["docs/networks.md"]) if language == "yaml")
    assert block in (HOME / "examples" / "network.yaml").read_text("utf-8")


SPEED = {
    "| simulating `fc_0p40m`": (
        "| loihi_int8 ",
        "| INT8, fc_0p40m, against ",
        "| INT8, share of the C run's speed ",
    ),
    "| the same layers in XyloSim": ("| XyloSim, layers of fc_0p40m ",),
    "| simulating `conv_0p42m`": ("| INT8, conv_0p42m at 5 % activity ",),
    "| a training step": (
        "| fused baseline ",
        "| training step against ",
        "| SAST step over a baseline step ",
    ),
    "| N-MNIST files to frames": ("| N-MNIST files to frames, against tonic ",),
    "| first answer of `simulate`": ("| first result of `simulate`, warm ", "| first run after an install "),
}
"""Rows of the README and those of PERFORMANCE.md that hold their figures, in their order."""


def speed_faults(readme, performance):
    """Return the README's rows of speed whose figures are not the measured ones of PERFORMANCE.md, rounded."""
    (section,) = re.findall(r"(?ms)^## Speed\n(.*?)^## ", readme)
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    wrong = [row for row in rows if not row.startswith(tuple(SPEED))]
    for row in rows:
        figures = re.findall(r"(?<![\w-])\d[\d,]*(?:\.\d+)?", row.split(" | ")[1].replace(",", ""))
        measured = []
        for label in next((labels for begin, labels in SPEED.items() if row.startswith(begin)), ()):
            cells = re.findall(rf"(?m)^{re.escape(label)}.*$", performance)[0].strip("| ").split(" | ")
            # A target's row has the target first.
            cell = cells[2] if cells[-2:] and any(word in cells for word in ("met", "not met")) else cells[1]
            measured.append(float(re.match(r"[\d,.]+", cell)[0].replace(",", "")))
        shown = [float(figure) for figure in figures]
        digits = [len(figure.partition(".")[2]) for figure in figures]
        if shown != [round(value, digit) for value, digit in zip(measured, digits)] or len(shown) != len(
            measured
        ):
            wrong.append(row)
    return wrong


def test_the_readmes_speed_is_what_the_performance_page_measured():
    performance = PAGES["benchmarks/speed/PERFORMANCE.md"]
    assert speed_faults(PAGES["README.md"], performance) == []
    for old, new in (
        ("92,126", "92,127"),
        ("669 times", "668 times"),
        ("84 %", "85 %"),
        ("; 9.2 times", ";"),
    ):
        assert len(speed_faults(PAGES["README.md"].replace(old, new), performance)) == 1, new


def test_the_results_page_quotes_its_records():
    text, benchmarks = " ".join(PAGES["docs/results.md"].split()), HOME / "benchmarks"
    runs = json.loads((benchmarks / "ENGINES_EQUAL.json").read_text("utf-8"))
    numbers = [f"{run['numbers_equal']:,}" for run in runs]
    four, conv, *before = *dict.fromkeys(numbers[3:]), *numbers[:3]
    assert (
        f"{four} numbers from the {runs[3]['recordings']:,} simulated N-MNIST test recordings for each of the four"
        in text
    )
    assert numbers.count(four) == 4 and f"and {conv} from {runs[-1]['recordings']} recordings through" in text
    assert (
        f"before, {before[0]}, {before[1]} from {runs[1]['recordings']} simulated gestures and {before[2]} with"
        in text
    )
    dense, convolution = json.loads((benchmarks / "speed" / "TRAINING_MEMORY.json").read_text("utf-8"))
    sast = [f"{record['sast_over_baseline']['peak_mib']:.3f}" for record in (dense, convolution)]
    plain = [f"{record['fused_over_plain']['peak_mib']:.3f}" for record in (dense, convolution)]
    assert f"SAST over baseline: {sast[0]} for `fc_0p40m`, {sast[1]} for `conv_0p42m`;" in text
    assert f"fused kernels over plain torch: {plain[0]} and {plain[1]} (" in text


def open_paths(cell):
    """Return the paths that a cell of CONTRIBUTING's table names: a bare name lies in a folder named before it."""
    folders, paths = [HOME, HOME / "sastdeploy"], []
    for name in re.findall(r"`([\w./-]+(?:\.py|/))`", cell):
        path = next((folder / name for folder in folders if (folder / name).exists()), HOME / name)
        folders.insert(2, path if path.is_dir() else path.parent)
        paths.append(path)
    return paths


def test_the_table_of_contributing_names_every_room_and_nothing_that_is_not_there():
    rows = re.findall(
        r"(?m)^\| [^|]+ \| ([^|]*`[^|]*) \|$", PAGES["CONTRIBUTING.md"].split("## A new kind of layer")[0]
    )
    paths = [path for cell in rows for path in open_paths(cell)]
    assert not [path for path in paths if not path.exists()]
    named = {path.relative_to(HOME).parts[1] for path in paths if path.is_relative_to(HOME / "sastdeploy")}
    rooms = {path.name for path in (HOME / "sastdeploy").iterdir() if path.suffix in ("", ".py")}
    left_out = {"__main__.py", "__pycache__", "data", "provenance.py", "profiles"}
    assert rooms - named <= left_out, "rooms without a row"
    formats = {
        path.name
        for path in (HOME / "sastdeploy" / "recordings").glob("*.py")
        if "def parse_" in path.read_text("utf-8")
    }
    assert formats <= {path.name for path in paths}, "formats without a row"


def test_a_path_that_is_not_there_is_found():
    assert [path.exists() for path in open_paths("`sastdeploy/recordings/`: `nmnist.py`, `nmnits.py`")] == [
        True,
        True,
        False,
    ]


VERBLESS = {"quickstart"}
"""Commands whose help begins with a phrase."""


def test_help_begins_with_a_verb_and_names_what_an_option_is():
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]
        for leaf in leaves:
            assert name in VERBLESS or not re.match(
                r"(The|A|An|What|Accuracy|Layers|From|Of)\b", leaf.help
            ), name
            helps = [parameter.help for parameter in leaf.params if isinstance(parameter, click.Option)]
            assert not [text for text in helps if not text or text.startswith("Of ")], name
