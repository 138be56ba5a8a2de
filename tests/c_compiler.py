"""The C compiler and make of this machine, for tests of exported source."""

import shutil

import pytest

GCC = shutil.which("gcc")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
SANITIZED = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
needs_gcc = pytest.mark.skipif(GCC is None, reason="no gcc: the C source cannot be compiled")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make")
