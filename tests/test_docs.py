"""README and docs/: every command and script runs, every link and file is there, figures are those of their pages."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sastdeploy.cli import main as main_module
from sastdeploy.cli.main import COMMANDS, cli

HOME = Path(__file__).resolve().parents[1]
README = HOME / "README.md"
PAGES = {
    path.relative_to(HOME).as_posix(): path.read_text("utf-8")
    for path in (README, *sorted((HOME / "docs").glob("*.md")))
}
GENERATED = ("docs/command-line.md", "docs/python-api.md")
BLOCK = re.compile(r"(?ms)^```(\S*)([^\n]*)\n(.*?)^```$")
SMALLER = {"--train 2000 --test 500": "--train 60 --test 20", "--epochs 5": "--epochs 1"}
"""What the README's road is run with here."""
FEWER = {"--count 60": "--count 8", "--epochs 10": "--epochs 1"}
"""What other pages' are run with."""


def blocks(text):
    """Return (language, remark, content) of every fenced block."""
    return BLOCK.findall(text)


def scripts(name):
    """Return a page's blocks that are run, top to bottom: (language, content)."""
    chosen = []
    for language, remark, content in blocks(PAGES[name]):
        if language in ("sh", "python") and not remark.strip().startswith("skip: "):
            chosen.append((language, content))
        elif language == "text" and content.startswith("$ "):
            lines = [
                line.removeprefix("$ ")
                for line in content.splitlines()
                if line.startswith(("$ sastdeploy ", "$ python docs/"))
            ]
            text = "\n".join(lines)
            for full, small in SMALLER.items():
                assert full in text or name != "README.md", f"{full}: is not in the README's road any more"
                text = text.replace(full, small)
            for full, small in FEWER.items():
                text = text.replace(full, small)
            if name in ("README.md", "docs/data.md"):
                chosen.append(("sh", text))
    return chosen


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """One data folder for all pages: what a page makes, the next finds."""
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("name", [name for name in PAGES if name not in GENERATED and scripts(name)])
def test_what_a_page_shows_runs(name, data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SASTDEPLOY_DATA", str(data))
    for folder in ("examples", "docs"):
        (tmp_path / folder).symlink_to(HOME / folder)
    for language, content in scripts(name):
        # The recording that pages name: one of the simulated set, once a page has made it.
        for recording in sorted((data / "nmnist-sim" / "Test").rglob("*.bin"))[:1]:
            (tmp_path / "recording.bin").write_bytes(recording.read_bytes())
        if language == "python":
            exec(compile(content, name, "exec"), {"__name__": "__main__"})
            continue
        for line in content.splitlines():
            if line.startswith("python "):
                subprocess.run([sys.executable, *shlex.split(line)[1:]], check=True)
                continue
            if not line.startswith("sastdeploy "):
                assert line.startswith("eval "), f"{name}: '{line}' is no command that can be run here"
                continue
            with pytest.raises(SystemExit) as stop:
                main_module.main(shlex.split(os.path.expandvars(line))[1:])
            captured = capsys.readouterr()
            assert stop.value.code == 0, f"{name}: {line}\n{captured.err}"


def calls(text):
    inside = [line.removeprefix("$ ") for _, _, content in blocks(text) for line in content.splitlines()]
    return {line for line in inside if line.startswith("sastdeploy ")} | set(
        re.findall(r"`(sastdeploy [^`\n]+)`", text)
    )


@pytest.mark.parametrize(
    ("name", "call"),
    [(name, call) for name, text in PAGES.items() if name not in GENERATED for call in sorted(calls(text))],
)
def test_every_command_parses(name, call):
    words = shlex.split(call.removesuffix(" &"), comments=True)[1:]
    words = words[: next((n for n, word in enumerate(words) if word in (">", "2>", "|")), None)]
    context = click.Context(cli)
    command = cli.get_command(context, words[0])
    assert command is not None, f"{words[0]} is none of {', '.join(COMMANDS)}"
    words = words[1:]
    if isinstance(command, click.Group):
        assert words[0] in command.commands, f"{name}: {call}"
        command, words = command.commands[words[0]], words[1:]
    command.make_context(words[0] if words else "x", list(words), parent=context)


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
    assert {f"docs/{page}" for page in listed} == set(PAGES) - {"README.md", "docs/README.md"}


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


def test_make_has_the_readmes_targets():
    makefile = (HOME / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"`make ([\w-]+)`", PAGES["README.md"] + PAGES["docs/results.md"]))
    assert {"quickstart", "test"} <= targets and all(f"\n{target}:" in makefile for target in targets)


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 150


def test_the_examples_network_is_that_of_the_page():
    (block,) = (content for language, _, content in blocks(PAGES["docs/networks.md"]) if language == "yaml")
    assert block in (HOME / "examples" / "network.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    ("heading", "pages"),
    [
        ("What the experiments say", ("paper/RESULTS.md", "paper/ADVICE.md")),
        ("Speed", ("speed/PERFORMANCE.md",)),
    ],
)
def test_figures_are_quoted_as_the_pages_print_them(heading, pages):
    (section,) = re.findall(rf"(?ms)^## {heading}\n(.*?)^## ", PAGES["README.md"])
    page = " ".join((HOME / "benchmarks" / name).read_text("utf-8") for name in pages)
    figure = r"[+-]?\d+\.\d+|\d+ of \d+"
    figures, printed = set(re.findall(figure, section)), set(re.findall(figure, page))
    assert len(figures) > 3 and not figures - printed
