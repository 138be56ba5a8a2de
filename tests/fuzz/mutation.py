"""Seeded mutations of bytes, of text, and of nested values as JSON, YAML and checkpoints hold them."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable

EXTREMES = (
    0, -1, 1, 2, 127, 128, 255, 256, 65_535, 10**6, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63),
    10**30, 2**1100, 0.0, -0.0, 0.5, 1e-320, 1e-45, 1e39, 1e308, -1e308, float("inf"), float("-inf"), float("nan"),
    True, False, None, "", " ", "x" * 300, "x" * 70_000, "\0", "\ud800", "\ufeff", "\u0662", "\u00b2", "a\nb", "\x1b[31m",
    "nan", "../x", "/", [], {}, [[]], [None], {"": 0}, {"kind": "dense"},
)  # fmt: skip
NUMBERS = (
    "0", "-1", "1e400", "-1e400", "1e-400", "0x7fffffffffffffff", "9223372036854775808", "1" + "0" * 400, "-0", ".inf", ".nan",
    "NaN", "Infinity", "010", "1_000", "1:30", "\u0661", "\u00b2", "2.5", "true", "null", "''", "[]", "{}", "1e39",
)  # fmt: skip
TOKENS = (
    "\0", "\ufeff", "\r", "\t", "\n", "\n\n", "[", "]", "{", "}", "- ", ": ", "? ", "!!int ", "!!python/object:os.system ", "!x ",
    "&a ", "*a", "<<: ", "'", '"', "#", "%YAML 9\n", "---\n", "...\n", "|\n", ">\n", "\\ud800", "\\u0000", ",", ",,", ";",
    "\u2028", "\x85", "\x1b[2J", "\ud83d", "1" * 5000, "a" * 200_000, "[" * 3000, "{a: " * 500, "- " * 3000,
)  # fmt: skip
WORDS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
MAX_BYTES = 1 << 20
"""Bytes of a mutated input: larger ones are cut."""


def mutated_bytes(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Return ``content`` after one to four changes; ``other``: another valid input, to splice with."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(_BYTES)(rng, data, other)
    return bytes(data[:MAX_BYTES])


def _flip(rng, data, other) -> None:
    for _ in range(rng.choice((1, 1, 8)) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng, data, other) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 1, 9, 10, 13, 32, 127, 128, 255))


def _word(rng, data, other) -> None:
    """Overwrite 2, 4 or 8 bytes by an extreme number, in either order of bytes, mostly near the beginning or the end."""
    size = rng.choice((2, 4, 8))
    if len(data) < size:
        return
    last = len(data) - size
    at = rng.choice((rng.randint(0, last), min(last, rng.randint(0, 64)), max(0, last - rng.randint(0, 64))))
    word = rng.choice(WORDS) & ((1 << 8 * size) - 1)
    data[at : at + size] = word.to_bytes(size, rng.choice(("little", "big")))


def _cut_end(rng, data, other) -> None:
    del data[rng.randint(0, len(data)) :]


def _cut_beginning(rng, data, other) -> None:
    del data[: rng.randint(0, min(len(data), 40))]


def _cut_out(rng, data, other) -> None:
    start = rng.randint(0, len(data))
    del data[start : start + rng.choice((1, 4, 5, 100))]


def _repeat(rng, data, other) -> None:
    start = rng.randint(0, len(data))
    data[start:start] = data[start : start + rng.choice((1, 8, 200))] * rng.choice((1, 3, 1000))


def _insert(rng, data, other) -> None:
    start = rng.randint(0, len(data))
    data[start:start] = rng.randbytes(rng.choice((1, 3, 64)))


def _splice(rng, data, other) -> None:
    data[rng.randint(0, len(data)) :] = other[rng.randint(0, len(other)) :]


_BYTES = (_flip, _flip, _set, _word, _word, _cut_end, _cut_beginning, _cut_out, _repeat, _insert, _splice)


def mutated_text(rng: random.Random, text: str) -> str:
    """Return a text after one to three changes of its numbers, its lines or its signs."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        text = rng.choice(_TEXTS)(rng, text)
    return text[:MAX_BYTES]


def _number(rng, text: str) -> str:
    places = list(re.finditer(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", text))
    if not places:
        return text
    place = rng.choice(places)
    return text[: place.start()] + rng.choice(NUMBERS) + text[place.end() :]


def _lines(rng, text: str) -> str:
    """Remove, double, move or indent a line: a doubled one is a duplicate key."""
    lines = text.splitlines(keepends=True)
    if not lines:
        return text
    at, kind = rng.randrange(len(lines)), rng.randrange(4)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[at])
    elif kind == 2:
        lines.insert(rng.randrange(len(lines)), lines.pop(at))
    else:
        lines[at] = rng.choice(("  ", " ", "\t", "- ")) + lines[at]
    return "".join(lines)


def _token(rng, text: str) -> str:
    at = rng.randint(0, len(text))
    return text[:at] + rng.choice(TOKENS) + text[at:]


def _nest(rng, text: str) -> str:
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ("{a: ", "}")))
    depth = rng.choice((10, 70, 1000, 5000, 30_000))
    places = list(re.finditer(r"\d+|null|true|\"[^\"\n]*\"", text))
    if not places:
        return opening * depth + text + closing * depth
    place = rng.choice(places)
    return text[: place.start()] + opening * depth + "1" + closing * depth + text[place.end() :]


def _ends(rng, text: str) -> str:
    return text.replace("\n", rng.choice(("\r", "\r\n", "\n\n", "\u2028")))


def _stop(rng, text: str) -> str:
    return text[: rng.randint(0, len(text))]


_TEXTS = (_number, _number, _number, _lines, _lines, _token, _token, _nest, _ends, _stop)


def encoded(rng: random.Random, text: str) -> bytes:
    """Return a text's bytes, now and then in an encoding that a reader does not expect."""
    encoding = rng.choice(("utf-8",) * 12 + ("utf-8-sig", "utf-16", "latin-1"))
    return text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")


def mutated_tree(
    rng: random.Random, tree: object, leaf: Callable[[random.Random, object], object] | None = None
) -> object:
    """Return a copy of nested dicts and lists after one or two changes.

    A value becomes an extreme one or another part of the tree, a key goes, is renamed or is new, a list is doubled or
    emptied. ``leaf`` may change a value of a kind that is not known here; it returns the value itself to leave it.
    """
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 1, 2))):
        places = list(_places(tree))
        if not places:
            return copy.deepcopy(rng.choice(EXTREMES))
        inside, key = rng.choice(places)
        if leaf is not None and rng.random() < 0.7:
            new = leaf(rng, inside[key])
            if new is not inside[key]:
                inside[key] = new
                continue
        _change(rng, inside, key, places)
    return tree


def _change(rng, inside, key, places) -> None:
    value, kind = inside[key], rng.randrange(8)
    if kind == 0:
        del inside[key]
    elif kind == 1 and isinstance(inside, dict):
        inside[rng.choice(("", "x" * 300, "unknown", "\ud800", 5, None))] = inside.pop(key)
    elif kind == 2:
        other, place = rng.choice(places)
        inside[key] = copy.deepcopy(other[place])
    elif kind == 3 and isinstance(value, list):
        inside[key] = value * rng.choice((0, 2, 50))
    elif kind == 4:
        for _ in range(rng.choice((1, 3, 70, 120))):  # twice, it can still be written
            value = [value] if rng.random() < 0.5 else {"a": value}
        inside[key] = value
    else:
        inside[key] = copy.deepcopy(rng.choice(EXTREMES))  # lists among them may be changed later


def _places(tree):
    """Yield (container, key) of every value."""
    stack = [tree]
    while stack:
        inside = stack.pop()
        keys = (
            range(len(inside))
            if isinstance(inside, list)
            else list(inside)
            if isinstance(inside, dict)
            else ()
        )
        for key in keys:
            yield inside, key
            stack.append(inside[key])


def mutated_text_file(rng: random.Random, content: bytes, other: bytes) -> bytes:
    if rng.random() < 0.1:
        return mutated_bytes(rng, content, other)
    return encoded(rng, mutated_text(rng, content.decode("utf-8")))


def mutated_yaml(rng: random.Random, content: bytes, other: bytes) -> bytes:
    import yaml

    if rng.random() < 0.5:
        return mutated_text_file(rng, content, other)
    tree = mutated_tree(rng, yaml.safe_load(content))
    try:
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=rng.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
    except (yaml.YAMLError, ValueError):  # what YAML cannot say
        return mutated_text_file(rng, content, other)


def mutated_json(rng: random.Random, content: bytes, other: bytes) -> bytes:
    if rng.random() < 0.4:
        return mutated_text_file(rng, content, other)
    tree = mutated_tree(rng, json.loads(content))
    return json.dumps(tree, ensure_ascii=rng.random() < 0.7).encode("utf-8", "surrogatepass")
