"""What holds for every text and path on the command line: it is not empty, and a path is a name that a file can have."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from sastdeploy.errors import InputError


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
    """Return the command; from now on it, and every command below it, refuses empty texts and impossible paths."""
    for param in command.params:
        if isinstance(param.type, (click.Path, type(click.STRING))):
            param.type = _Given(param.type)
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        checked(below)
    return command


def folder(path: str, option: str) -> Path:
    """Return the path of a folder that is there, or can be made.

    Raises:
        InputError: something else is there.
    """
    if Path(path).exists() and not Path(path).is_dir():
        raise InputError(f"{path}: is no folder. Name one with {option}.")
    return Path(path)
