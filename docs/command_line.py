"""The page of the command line, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from sastdeploy.cli.main import cli

NOTICE = "<!-- Written by docs/generate.py; edit the commands instead. -->"


def command_line() -> str:
    """Return the page of every command with its arguments, options and defaults."""
    parts = [
        f"# Command line\n\n{NOTICE}\n",
        "Results go to stdout, progress and remarks to stderr; `--json` prints one JSON object instead of tables. Exit codes: 0 done,\n"
        "2 usage, 3 an input that you can fix, 4 the network does not fit the hardware, 5 the simulation failed, 130 interrupted,\n"
        "1 any other failure.\n",
    ]
    for words, command in _commands(cli, "sastdeploy"):
        arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        usage = " ".join([words, *map(_argument, arguments), *(["[OPTIONS]"] if options else [])])
        parts.append(f"## {words}\n\n```text\n{usage}\n```\n\n{_paragraphs(command.help or '')}\n")
        if options:
            parts.append("\n".join(map(_option, options)) + "\n")
    return "\n".join(parts)


def _commands(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


def _argument(argument: click.Argument) -> str:
    name = (argument.name or "").upper()
    return name if argument.required else f"[{name}]"


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}{_value(option)}`" for name in option.opts)
    default = f" Default: `{option.default}`." if option.show_default else ""
    several = " Can be given several times." if option.multiple else ""
    text = " ".join((option.help or "").split()).replace("  [default: ", " [default: ")
    return f"- {names}{' (required)' if option.required else ''}: {text}{default}{several}"


def _value(option: click.Option) -> str:
    if option.is_flag:
        return ""
    if option.metavar:
        return f" {option.metavar.strip('[]')}"
    if isinstance(option.type, click.Choice):
        return " " + "|".join(map(str, option.type.choices))
    kinds = {"integer": "N", "integer range": "N", "float": "X", "float range": "X", "path": "PATH"}
    return f" {kinds.get(option.type.name, 'TEXT')}"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.replace("\b", "").split()) for part in text.strip().split("\n\n"))
