"""What the pages name is there: commands, options, links, files, targets, measured figures."""

import json
import re
import shlex
import subprocess
import sys

import click
import pytest

from sastdeploy.cli.main import COMMANDS, cli
from tests.pages import BLOCK, GENERATED, HOME, PAGES, blocks


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
    "| the same layers, beside XyloSim": ("| XyloSim, layers of fc_0p40m ",),
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
