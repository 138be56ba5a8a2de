"""The page of the public Python API, from its docstrings."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from types import GenericAlias, ModuleType

import sastdeploy

NOTICE = "<!-- Written by docs/generate.py; edit the docstrings instead. -->"
NAMED = {
    "recordings.events": ("Events",),
    "recordings.frames": ("Index",),
    "networks.architecture": ("Neuron",),
    "networks.layers": ("Layer", "Readout"),
    "training.run": ("Report",),
    "training.distributed": ("Group",),
    "training.inference": ("Evaluation",),
    "compiler.ir.graph": ("Graph",),
    "compiler.profiles": ("Cores",),
    "compiler.report": ("PortingReport", "LayerReport"),
    "compiler.mapping": ("CoreUse",),
    "program.fixedpoint": ("QFormat", "Overflow", "Rounding"),
    "program.layers": ("ProgramLayer",),
    "program.layers.readout": ("Readout",),
    "simulator.result": ("Trace",),
    "exchange.recordings": ("Recordings",),
    "exchange.c99.export": ("ExportedLayer",),
    "verification.verify": ("EngineProof", "Difference"),
}
"""Types in the signatures of public names that are none themselves, by the module that defines them."""


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
    parts += ["## Types in these signatures", "What the names above take and return. Their modules may move."]
    for home, names in NAMED.items():
        for name in names:
            parts += _type(import_module(f"sastdeploy.{home}"), name)
    return "\n\n".join(parts) + "\n"


def _type(module: ModuleType, name: str) -> Iterator[str]:
    """Yield a heading, the module, and what the type is; of an alias, its value and the text below it."""
    yield f"### {name}"
    yield f"In `{module.__name__}`."
    value = getattr(module, name)
    # Python 3.10 calls an alias such as NDArray[...] a class.
    if inspect.isclass(value) and not isinstance(value, GenericAlias):
        if not issubclass(value, Enum):
            yield f"```python\n{_signature(name, value)}\n```"
        yield from _prose(inspect.getdoc(value) or "", value)
        return
    lines = inspect.getsource(module).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"{name} = "))
    yield f"```python\n{lines[start]}\n```"
    yield from _prose(ast.literal_eval(lines[start + 1]), value)


def _entry(name: str, value: object, level: str) -> Iterator[str]:
    """Yield a heading, the signature, the docstring, and the same of a class's public methods."""
    text = inspect.getdoc(value)
    if not text:
        return
    yield f"{level} {name}"
    if not (inspect.isclass(value) and issubclass(value, Exception)) and callable(value):
        yield f"```python\n{_signature(name, value)}\n```"
    yield from _prose(text, value)
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


def _prose(text: str, value: object = None) -> Iterator[str]:
    """Yield Markdown: paragraphs as they are, `Args:` and its like as lists, examples as code.

    value: what the text describes; each of its parameters begins an entry of `Args:`.
    """
    for block in re.split(r"\n\n(?! )", text):
        first, _, rest = block.partition("\n")
        if first.endswith("::"):
            yield f"{first[:-2]}:" if first != "Example::" else "Example:"
            yield f"```python\n{textwrap.dedent(rest).strip()}\n```"
        elif re.fullmatch(r"[A-Z]\w+:", first) and rest.startswith("    "):
            # A line that is not further indented than the first begins a new entry.
            entries = re.split(r"\n(?! )", textwrap.dedent(rest).strip())
            lines = [re.sub(r"\s*\n\s*", " ", entry) for entry in entries]
            if first in ("Returns:", "References:"):
                yield f"{first} {_code(' '.join(lines))}"
                continue
            if first == "Args:":
                names = "|".join(inspect.signature(value).parameters)  # type: ignore[arg-type]
                begin = rf"(?<=[.;]) (?=(?:{names})(?:, (?:{names}))*: )"
                lines = [entry for line in lines for entry in re.split(begin, line)]
            yield f"{first}\n\n" + "\n".join(f"- {_code(line)}" for line in lines)
        else:
            yield _code(block)


def _code(text: str) -> str:
    return text.replace("``", "`")
