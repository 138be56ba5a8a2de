"""The README's commands and files are real."""

import re
import shlex
from pathlib import Path

import click
import pytest

from sastdeploy.cli.main import COMMANDS, cli

HOME = Path(__file__).resolve().parents[1]
README = (HOME / "README.md").read_text("utf-8")
LINES = [line for block in re.findall(r"```\n(.*?)```", README, re.S) for line in block.splitlines()]
CALLS = sorted(
    {line for line in LINES if line.startswith("sastdeploy ")}
    | set(re.findall(r"`(sastdeploy [^`]+)`", README))
)


@pytest.mark.parametrize("call", CALLS)
def test_every_command_in_the_readme_parses(call):
    words = shlex.split(call)[1:]
    context = click.Context(cli)
    command = cli.get_command(context, words[0])
    assert command is not None, f"{words[0]} is none of {', '.join(COMMANDS)}"
    words = words[1:]
    if isinstance(command, click.Group):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(words[0] if words else "x", list(words), parent=context)


def test_every_file_that_the_readme_names_is_there():
    named = re.findall(r"`((?:sastdeploy|tests|benchmarks|examples|profiles|\.ci)/[\w./-]+)`", README)
    assert named and all((HOME / name).exists() for name in named), named


def test_make_has_the_readmes_targets():
    makefile = (HOME / "Makefile").read_text("utf-8")
    assert all(f"\n{target}:" in makefile for target in re.findall(r"(?m)^make (\w+)$", README))


def test_the_examples_network_is_the_readmes():
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    assert block in (HOME / "examples" / "network.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    ("heading", "pages"),
    [
        ("What the experiments say", ("RESULTS.md", "ADVICE.md")),
        ("Speed", ("PERFORMANCE.md",)),
    ],
)
def test_figures_are_quoted_as_the_pages_print_them(heading, pages):
    (section,) = re.findall(rf"(?ms)^## {heading}\n(.*?)^## ", README)
    prose = re.sub(r"(?s)```.*?```", "", section)
    page = " ".join((HOME / "benchmarks" / name).read_text("utf-8") for name in pages)
    figure = r"[+-]?\d+\.\d+|\d+ of \d+"
    figures, printed = set(re.findall(figure, prose)), set(re.findall(figure, page))
    assert len(figures) > 10 and not figures - printed


def test_the_number_of_trainings_is_that_of_the_records():
    records = (HOME / "benchmarks" / "paper" / "records").glob("*.json")
    trainings = [path for path in records if re.fullmatch(r"[0-9a-f]{16}\.json", path.name)]
    assert f"is written from {len(trainings)} trainings" in README
