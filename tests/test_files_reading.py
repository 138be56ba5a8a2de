"""The border for reading: what is no regular file, too large, too deep, or not what it should be."""

import os

import pytest

from sastdeploy._files.reading import (
    MAX_DEPTH,
    exists,
    parse_json,
    parsing,
    read_bytes,
    read_json,
    read_text,
    shown,
)
from sastdeploy.errors import CompileError, InputError


def test_a_regular_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    assert read_bytes(path, limit=5) == b"12345"
    with pytest.raises(InputError, match=r"has 5 bytes; such a file may have at most 4\."):
        read_bytes(path, limit=4)


def test_a_fifo_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "f")
    with pytest.raises(InputError, match=r"f: is not a regular file\. Name a file\."):
        read_bytes(tmp_path / "f", limit=5)


def test_devices_and_links_to_them_are_refused(tmp_path):
    (tmp_path / "z").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"is not a regular file"):
        read_bytes(tmp_path / "z", limit=5)


@pytest.mark.parametrize(
    "name, reason", [("x" * 300, "File name too long"), ("a\0b", "embedded null byte"), ("none", "No such file or directory")]
)  # fmt: skip
def test_names_that_cannot_be_opened(tmp_path, name, reason):
    with pytest.raises(InputError, match=rf"cannot be read \({reason}\)"):
        read_bytes(f"{tmp_path}/{name}", limit=5)
    assert not exists(f"{tmp_path}/{name}")


def test_a_folder_is_told(tmp_path):
    with pytest.raises(InputError, match=r"is a folder\. Name a file\."):
        read_bytes(tmp_path, limit=5)


def test_text_has_no_mark_and_one_kind_of_line_end(tmp_path):
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(tmp_path / "t") == "a\nb\nc\n"
    (tmp_path / "t").write_bytes(b"a\xff")
    with pytest.raises(InputError, match=r"is not a text file \(byte 1 is not UTF-8\)"):
        read_text(tmp_path / "t")


@pytest.mark.parametrize(
    "text", ["[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "[" * 100_000, '{"a":' * 100 + "1" + "}" * 100]
)
def test_json_that_nests_too_deep_is_refused(text):
    with pytest.raises(InputError, match=r"nests more than 64 deep|is no valid JSON"):
        parse_json(text, "here")


def test_json_at_the_limit_is_read(tmp_path):
    (tmp_path / "j").write_text("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert read_json(tmp_path / "j")
    (tmp_path / "j").write_text("1" * 10_000)
    with pytest.raises(InputError, match=r"is no valid JSON"):
        read_json(tmp_path / "j")


@pytest.mark.parametrize(
    "error", [ValueError("bad"), MemoryError(), RecursionError("deep"), OverflowError("large"), KeyError("k")]
)
def test_every_exception_of_a_parser_becomes_ours(error):
    with pytest.raises(InputError, match=r"^f: is no valid thing"), parsing("f", "thing"):
        raise error


def test_our_own_errors_pass_through():
    with pytest.raises(CompileError, match=r"^mine$"), parsing("f", "thing"):
        raise CompileError("mine")


def test_what_is_printed_of_a_name_has_no_control_characters():
    assert shown("a\x1b[31mb\n") == "a\\x1b[31mb\\n" and shown(b"\xff\x41") == "\\udcffA"
