"""YAML without its traps, and records checked against a schema: every error names file, line or key, and a remedy.

PyYAML keeps the last of two equal keys, reads ``no`` as false, ``010`` as 8 and ``1e3`` as text; all of these are
refused here, and so are aliases, merge keys and tags. Schemas are pydantic models (strict types, unknown keys forbidden).
"""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from sastdeploy._files.reading import brief, is_printable, read_text, reason
from sastdeploy.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pydantic

MAX_BYTES, MAX_DEPTH = 1 << 16, 32
"""Of a YAML file: far more than any of ours; PyYAML takes seconds for longer texts, and minutes for nests of thousands."""

_PITFALLS = (
    (
        re.compile(r"(?i)(y|yes|n|no|on|off)"),
        "would be read as true or false; write true, false, or '{}' in quotes",
    ),
    (re.compile(r"[-+]?0[0-9_]+"), "would be read as an octal number; write it without the leading zero"),
    (
        re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+"),
        "would be read as text; write it with a point and a sign, as in 1.0e+3",
    ),
    (re.compile(r"[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?"), "would be read in base 60; put it in quotes"),
)
_DIGITS = 18
"""Of a whole number: all that an int64 surely holds."""


def load_strict_yaml(path: Path | str) -> Any:
    """Return the content of a YAML file as plain dicts, lists, texts, numbers, booleans and None.

    Raises:
        InputError: the file is missing, unreadable, empty, not YAML, or holds a duplicate key or a trap.
    """
    text = read_text(path, limit=MAX_BYTES)
    return parse_strict_yaml(text, str(path))


def parse_strict_yaml(text: str, where: str) -> Any:
    """As `load_strict_yaml`, for a text; ``where`` names it in errors."""
    try:
        _check_tokens(text, where)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise InputError(f"{where}: is empty.")
        _refuse_traps(node, where, set())
        return yaml.constructor.SafeConstructor().construct_document(node)
    except InputError:
        raise
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise InputError(f"{where}: line {line}: not valid YAML ({error.problem}).") from error
    except Exception as error:  # ValueError for a thirteenth month, OverflowError, ...
        raise InputError(f"{where}: not valid YAML ({reason(error)}).") from error


def _check_tokens(text: str, where: str) -> None:
    """Refuse tags and deep nests, before anything is parsed."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        line = token.start_mark.line + 1
        if isinstance(token, yaml.TagToken):
            raise InputError(
                f"{where}: line {line}: tags (words that begin with !) are not allowed; "
                f"write the plain value, or put it in quotes."
            )
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > MAX_DEPTH:
            raise InputError(f"{where}: line {line}: nests more than {MAX_DEPTH} deep.")


_OPENING = (
    yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken, yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken,
)  # fmt: skip
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


def _refuse_traps(node: yaml.Node, where: str, seen: set[int]) -> None:
    if id(node) in seen:
        raise InputError(
            f"{where}: line {node.start_mark.line + 1}: aliases are not allowed; write the value out."
        )
    seen.add(id(node))
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        control = next((c for c in node.value if c not in "\n\t" and not is_printable(c)), None)
        if control is not None:
            raise InputError(
                f"{where}: line {line}: a text holds the control character {control!r}. Leave it out."
            )
        if node.style is None:
            for pattern, remedy in _PITFALLS:
                if pattern.fullmatch(node.value):
                    raise InputError(f"{where}: line {line}: {node.value} {remedy.format(node.value)}.")
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > _DIGITS:
            raise InputError(
                f"{where}: line {line}: {node.value[:_DIGITS]}... has {len(node.value)} digits; a whole number may "
                f"have at most {_DIGITS}."
            )
        return
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_traps(item, where, seen)
        return
    keys: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise InputError(f"{where}: line {key.start_mark.line + 1}: a key must be a plain word.")
        if key.tag == "tag:yaml.org,2002:merge":
            raise InputError(
                f"{where}: line {key.start_mark.line + 1}: merge keys (<<) are not allowed; write the keys out."
            )
        if key.value in keys:
            raise InputError(
                f"{where}: line {key.start_mark.line + 1}: key '{key.value}' stands twice. Keep one of them."
            )
        keys.add(key.value)
        _refuse_traps(key, where, seen)
        _refuse_traps(value, where, seen)


Model = TypeVar("Model", bound="pydantic.BaseModel")


def validate(model: type[Model], data: Any, where: str) -> Model:
    """Return ``data`` as an instance of a pydantic model.

    Raises:
        InputError: naming every key at fault, what is allowed there, and the likely spelling of an unknown key.
    """
    import pydantic

    if not isinstance(data, dict):
        raise InputError(f"{where}: expected keys and values, found {type(data).__name__}.")
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as error:
        raise InputError(f"{where}: {_explain(model, error.errors())}") from error


_MAX_ERRORS = 20
"""Errors of one file that a message lists."""
_TYPES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number of at most 18 digits",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be keys and values",
    "model_type": "must be keys and values",
    "model_attributes_type": "must be keys and values",
    "string_pattern_mismatch": "must match {pattern}",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be {expected}",
    "none_required": "must be null",
}
"""What each of pydantic's error types asks for, in our words."""
_PATTERNS = {
    r"\S": "must not be empty",
    "^[A-Za-z0-9_-]{1,64}$": "must be 1 to 64 letters, digits, _ or -",
    "^[a-z0-9_-]{1,64}$": "must be 1 to 64 lower-case letters, digits, _ or -",
}
"""The schemas' patterns in words."""


def _explain(model: Any, errors: list[Any]) -> str:
    """Return every error in a sentence, unknown keys first: one on the same line, more on a line each."""
    ordered = sorted(errors, key=lambda error: error["type"] != "extra_forbidden")
    sentences = [_sentence(model, error) for error in ordered[:_MAX_ERRORS]]
    if len(errors) == 1:
        return sentences[0]
    if len(errors) > _MAX_ERRORS:
        sentences.append(f"and {len(errors) - _MAX_ERRORS} more.")
    return "\n  ".join([f"{len(errors)} errors:", *sentences])


def _sentence(model: Any, error: Any) -> str:
    loc, kind, context = error["loc"], error["type"], error.get("ctx", {})
    place = ".".join(str(part) for part in loc)
    if kind == "extra_forbidden":
        allowed = _keys(model, loc[:-1])
        listing = f" Allowed: {', '.join(allowed)}." if allowed else ""
        return f"key '{place}': unknown.{did_you_mean(str(loc[-1]), allowed)}{listing}"
    if kind == "missing":
        return f"key '{place}': missing."
    if kind.startswith("union_tag"):
        # A variant is chosen by its kind: the place is the variant's, the key at fault its discriminator.
        key = f"{place}.{context['discriminator'].strip(chr(39))}"
        if kind == "union_tag_not_found":
            return f"key '{key}': missing."
        allowed = re.findall("'([^']*)'", context["expected_tags"])
        return (
            f"key '{key}': unknown value '{context['tag']}'.{did_you_mean(str(context['tag']), allowed)} "
            f"Allowed: {', '.join(allowed)}."
        )
    if kind == "string_pattern_mismatch" and context["pattern"] in _PATTERNS:
        return f"key '{place}': {_PATTERNS[context['pattern']]}, found {_shown(error['input'])}."
    # pydantic holds the limits of numbers as floats: 0, not 0.0.
    limits = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in context.items()
    }
    if kind == "value_error" and isinstance(error["input"], dict):
        return f"key '{place}': {error['msg'].removeprefix('Value error, ')}."
    demand = _TYPES[kind].format(**limits) if kind in _TYPES else error["msg"].removeprefix("Value error, ")
    return f"key '{place}': {demand}, found {_shown(error['input'])}."


def _shown(value: Any) -> str:
    """Return what a file holds as short text: true, false and null as a file writes them, long values cut."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return brief(value)


def _keys(model: Any, path: tuple[Any, ...]) -> list[str]:
    """Return the keys allowed at ``path`` below a model; a part may be a field, an index, or a variant's kind."""
    candidates = [model]
    for part in path:
        inner = [
            m for c in candidates if part in c.model_fields for m in _models(c.model_fields[part].annotation)
        ]
        variants = [c for c in candidates if part in _kinds(c)]
        candidates = inner or variants or candidates
    return [key for candidate in candidates[:1] for key in candidate.model_fields]


def _models(annotation: Any) -> list[Any]:
    """Return every model that an annotation mentions."""
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _kinds(model: Any) -> tuple[Any, ...]:
    field = model.model_fields.get("kind")
    return typing.get_args(field.annotation) if field else ()
