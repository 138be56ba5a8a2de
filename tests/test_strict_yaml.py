"""YAML without its traps."""

import time

import pytest

from sastdeploy._files.strict_yaml import load_strict_yaml, parse_strict_yaml
from sastdeploy.errors import InputError


def test_plain_content():
    assert parse_strict_yaml("a: 1\nb: [1.5, text, true, null]\nc: 1.0e+3\nd: '010'\n'<<': '!'\n", "x") == {
        "a": 1, "b": [1.5, "text", True, None], "c": 1000.0, "d": "010", "<<": "!"}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [
    ("a: 1\na: 2\n", "x: line 2: key 'a' stands twice. Keep one of them."),
    ("a: {b: 1, b: 2}", "x: line 1: key 'b' stands twice. Keep one of them."),
    ("a: no\n", "x: line 1: no would be read as true or false; write true, false, or 'no' in quotes."),
    ("a: On\n", "x: line 1: On would be read as true or false; write true, false, or 'On' in quotes."),
    ("a: 010\n", "x: line 1: 010 would be read as an octal number; write it without the leading zero."),
    ("a: 1e3\n", "x: line 1: 1e3 would be read as text; write it with a point and a sign, as in 1.0e+3."),
    ("a: 1:30\n", "x: line 1: 1:30 would be read in base 60; put it in quotes."),
    ("", "x: is empty."),
    ("a: [1\n", "x: line 2: not valid YAML (expected ',' or ']', but got '<stream end>')."),
    ("? [1, 2]\n: 3\n", "x: line 1: a key must be a plain word."),
    ("a: &n [1]\nb: *n\n", "x: line 1: aliases are not allowed; write the value out."),
    ("a: !!python/object/apply:os.system [ls]\n", "x: line 1: tags (words that begin with !) are not allowed; write the plain value, or put it in quotes."),
    ("b: 1\na: !!bool foo\n", "x: line 2: tags (words that begin with !) are not allowed"),
    ("a: !!timestamp foo\n", "x: line 1: tags (words that begin with !) are not allowed"),
    ('a: !!int ""\n', "x: line 1: tags (words that begin with !) are not allowed"),
    ("a: ! 1\n", "x: line 1: tags (words that begin with !) are not allowed"),
    ("a: 1\n<<: {a: 2, b: 3}\n", "x: line 2: merge keys (<<) are not allowed; write the keys out."),
    ("a: " + "9" * 400, "x: line 1: 999999999999999999... has 400 digits; a whole number may have at most 18."),
    ("a: -" + "9" * 5000, "x: line 1: -99999999999999999... has 5001 digits; a whole number may have at most 18."),
    ("a: 2026-13-45\n", "x: not valid YAML (month must be in 1..12"),
])  # fmt: skip
def test_refused(text, message):
    with pytest.raises(InputError) as caught:
        parse_strict_yaml(text, "x")
    assert str(caught.value).startswith(message)


def test_files(tmp_path):
    with pytest.raises(InputError, match=r"none.yaml: cannot be read \(No such file or directory\)"):
        load_strict_yaml(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"is not a text file \(byte 0 is not UTF-8\)"):
        load_strict_yaml(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 60_000, "x: line 1: nests more than 32 deep."),
        ("- " * 30_000, "x: line 1: nests more than 32 deep."),
        ("a: {b: " * 40, "x: line 1: nests more than 32 deep."),
        ('a: "\\e[31m"', "x: line 1: a text holds the control character '\\x1b'. Leave it out."),
        ('a: "\\0"', "x: line 1: a text holds the control character '\\x00'. Leave it out."),
        ('a: "\\ud800"', "x: line 1: a text holds the control character '\\ud800'. Leave it out."),
        ('"a\\x7f": 1', "x: line 1: a text holds the control character '\\x7f'. Leave it out."),
        ('a: "\\U0011FFFF"', "x: not valid YAML (chr() arg not in range(0x110000))."),
        ("a: \x00", "x: not valid YAML (unacceptable character #x0000: special characters are not allowed)."),
    ],
)
def test_texts_that_no_parser_should_meet(text, message):
    began = time.perf_counter()
    with pytest.raises(InputError) as caught:
        parse_strict_yaml(text, "x")
    assert str(caught.value) == message and time.perf_counter() - began < 5


def test_a_long_file_is_refused_before_it_is_parsed(tmp_path):
    (tmp_path / "x.yaml").write_text("a: " + "b" * 6_000_000)
    with pytest.raises(InputError, match=r"x.yaml: has 6,000,003 bytes; such a file may have at most 65,536"):
        load_strict_yaml(tmp_path / "x.yaml")


def test_a_deep_but_sensible_nest_is_read(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "\ufeff" + "a:\n" + "".join(" " * n + f"b{n}:\n" for n in range(1, 31)) + " " * 31 + "1", "utf-8"
    )
    content = load_strict_yaml(tmp_path / "x.yaml")
    for _ in range(31):
        (content,) = content.values()
    assert content == 1
