"""What holds for every command line: no text is empty, a path is a name that a file can have, no option takes another's place."""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from sastdeploy import InputError


class _Given(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """A text or path that is refused where it is empty; otherwise as the type ``inner``."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.name = inner, inner.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("is empty. Give a value, or leave it out.", param, ctx)
        if isinstance(self.inner, click.Path):
            try:
                os.lstat(value)
            except ValueError:
                self.fail("holds a NUL byte, which no name can.", param, ctx)
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    self.fail(f"has {len(value):,} characters, too long a name.", param, ctx)
        return self.inner.convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        items: list[CompletionItem] = self.inner.shell_complete(ctx, param, incomplete)
        return items


def checked(command: click.Command) -> click.Command:
    """Return the command; from now on it, and every command below it, refuses empty texts, impossible paths and repeated options."""
    for param in command.params:
        if isinstance(param.type, (click.Path, type(click.STRING))):
            param.type = _Given(param.type)
    _refuse_repeats(command)
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        checked(below)
    return command


def _refuse_repeats(command: click.Command) -> None:
    make_parser = command.make_parser

    def make_strict_parser(context: click.Context) -> Any:
        parser = make_parser(context)
        parse = parser.parse_args

        def parse_once(args: list[str]) -> Any:
            values, rest, order = parse(args)
            for param, count in Counter(order).items():
                if isinstance(param, click.Option) and count > 1 and not (param.multiple or param.is_flag):
                    raise click.UsageError(
                        f"Option '{param.opts[-1]}' is given {count} times. Give it once.", context
                    )
            return values, rest, order

        parser.parse_args = parse_once  # type: ignore[method-assign]
        return parser

    command.make_parser = make_strict_parser  # type: ignore[method-assign,assignment]


def stated(*names: str) -> bool:
    """Return whether one of these parameters of the running command stands on its command line."""
    context = click.get_current_context()
    return any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names)


@contextmanager
def options_named(names: dict[str, str]) -> Iterator[None]:
    """Name the option instead of the field, where an error says ``FIELD VALUE``."""
    try:
        yield
    except InputError as error:
        pattern = rf"\b({'|'.join(names)})(?= ['\d.+-])"
        raise InputError(re.sub(pattern, lambda match: f"--{names[match[1]]}", str(error))) from error


def folder(path: str, option: str) -> Path:
    """Return the path of a folder that is there, or can be made.

    Raises:
        InputError: something else is there, or in the place of a folder above it.
    """
    for place in (Path(path), *Path(path).parents):
        if place.is_dir():
            break
        if place.exists():
            raise InputError(f"{place}: is no folder. Name one with {option}.")
    return Path(path)


def pasted(path: Path | str) -> str:
    """Return a path as a shell takes it in a command that is printed; one that begins with a dash would be an option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def wrote(path: Path | str, was_there: bool, force: bool, more: str = "") -> str:
    """Return the sentence on an output file that is there now.

    Args:
        was_there: a regular file before it was written; one that is equal byte for byte is left without ``force``, and any
            other one is an error. more: what to add to its name.
    """
    if was_there and not force:
        return f"{path}{more} was there already, equal byte for byte, and is left as it is."
    return f"Wrote {path}{more}."
