"""The page of the public Python API, from its docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import sastdeploy

NOTICE = "<!-- Written by docs/generate.py; edit the docstrings instead. -->"


def python_api() -> str:
    """Return the page of every public name, in the order of the package's docstring."""
    head, *groups = re.split(r"\n\n(?=[A-Z][\w ]*\n    \w)", inspect.cleandoc(sastdeploy.__doc__ or ""))
    groups[-1], tail = groups[-1].split("\n\n", 1)
    parts = ["# Python API", NOTICE, head, *_prose(tail)]
    for group in groups:
        title, *rows = group.splitlines()
        parts.append(f"## {title}")
        for row in rows:
            for name in re.split(r"  +", row.strip())[0].split(", "):
                parts += _entry(name, getattr(sastdeploy, name), "###")
    return "\n\n".join(parts) + "\n"


def _entry(name: str, value: object, level: str) -> Iterator[str]:
    """Yield a heading, the signature, the docstring, and the same of a class's public methods."""
    text = inspect.getdoc(value)
    if not text:
        return
    yield f"{level} {name}"
    if not (inspect.isclass(value) and issubclass(value, Exception)) and callable(value):
        yield f"```python\n{_signature(name, value)}\n```"
    yield from _prose(text)
    for method, member in vars(value).items() if inspect.isclass(value) else ():
        if not method.startswith("_") and isinstance(member, property | classmethod) | inspect.isfunction(
            member
        ):
            called = getattr(value, method)
            yield from _entry(f"{name}.{method}", member if isinstance(member, property) else called, "####")


def _signature(name: str, value: object) -> str:
    """Return the call with its annotations; one argument a line where it is long."""
    signature = inspect.signature(value)  # type: ignore[arg-type]
    words, keyword_only = [], False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            words.append("*")
            keyword_only = True
        word = f"{parameter.name}: {_plain(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            plain = isinstance(parameter.default, None | bool | int | float | str | tuple)
            word += f" = {parameter.default!r}" if plain else " = ..."
        words.append(word)
    empty = inspect.isclass(value) or signature.return_annotation is signature.empty
    result = "" if empty else f" -> {_plain(signature.return_annotation)}"
    line = f"{name}({', '.join(words)}){result}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){result}"


def _plain(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _prose(text: str) -> Iterator[str]:
    """Yield Markdown: paragraphs as they are, `Args:` and its like as lists, examples as code."""
    for block in re.split(r"\n\n(?! )", text):
        first, _, rest = block.partition("\n")
        if first.endswith("::"):
            yield f"{first[:-2]}:" if first != "Example::" else "Example:"
            yield f"```python\n{inspect.cleandoc(rest)}\n```"
        elif re.fullmatch(r"[A-Z]\w+:", first) and rest.startswith("    "):
            # A line that is not further indented than the first begins a new entry.
            entries = re.split(r"\n(?! )", inspect.cleandoc(rest))
            lines = [re.sub(r"\s*\n\s*", " ", entry) for entry in entries]
            yield f"{first}\n\n" + "\n".join(f"- {_code(line)}" for line in lines)
        else:
            yield _code(block)


def _code(text: str) -> str:
    return text.replace("``", "`")
