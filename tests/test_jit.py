"""Compiled kernels: the cache belongs to the code, and nothing needs it."""

import ast
import dis
import importlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher
from without_jit import JIT_ONLY

import sastdeploy
from sastdeploy._kernels import jit

PACKAGE = Path(sastdeploy.__file__).parent

USE = (
    "import numpy as np; from sastdeploy.simulator.numba_engine.kernels import clip_counts as k; from sastdeploy._kernels.jit import cache_folder\n"
    "v = np.zeros(2, np.uint8); c = np.array([1, 9], np.uint8)\n"
    "k(c, np.uint8(4), v); print(v.tolist(), sum(k.stats.cache_hits.values()), cache_folder() is not None)"
)


def used(**environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", USE],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def files_with_kernels(package):
    return {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if any(
            word in path.read_text("utf-8")
            for word in ("@kernel", "@njit", "import intrinsic", "lower_builtin")
        )
    }


@cache
def top_level(path):
    return ast.parse(path.read_text("utf-8")).body


def names_in(tree):
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def names_that_kernels_reach(package):
    """Return by file every name that a compiled function takes something from, and that something from, and so on.

    A name at the top of a file leads to what its definition names, an import from the package to the other file.
    """
    reached = {}

    def visit(file, name):
        """Note the definition of one name in one file, and follow the names in it."""
        if name in reached.setdefault(file, set()):
            return
        reached[file].add(name)
        for statement in top_level(package / file):
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("sastdeploy."):
                other = "/".join(statement.module.split(".")[1:]) + ".py"
                for alias in statement.names:
                    if name == (alias.asname or alias.name):
                        visit(other, alias.name)
            elif isinstance(statement, (ast.FunctionDef, ast.ClassDef)) and statement.name == name:
                for other in names_in(statement):
                    visit(file, other)
            elif isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value:
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                if name in set().union(*map(names_in, targets)):
                    for other in names_in(statement.value):
                        visit(file, other)

    for file in files_with_kernels(package):
        for statement in top_level(package / file):
            if isinstance(statement, ast.FunctionDef) and any(
                names_in(decorator) & {"kernel", "njit"} for decorator in statement.decorator_list
            ):
                visit(file, statement.name)
    return reached


def test_every_file_with_kernels_or_constants_in_them_is_hashed():
    assert files_with_kernels(PACKAGE) | set(names_that_kernels_reach(PACKAGE)) == set(jit.SOURCES)


@JIT_ONLY
def test_every_global_of_a_compiled_kernel_was_followed():
    """What the functions themselves name, in case a definition is written in a way that the search does not know."""
    followed, kernels = names_that_kernels_reach(PACKAGE), 0
    for file in files_with_kernels(PACKAGE):
        module = importlib.import_module("sastdeploy." + file[:-3].replace("/", "."))
        for function in vars(module).values():
            if isinstance(function, Dispatcher) and function.__module__ == module.__name__:
                used = {i.argval for i in dis.get_instructions(function.py_func) if i.opname == "LOAD_GLOBAL"}
                assert used & set(function.py_func.__globals__) <= followed[file], function
                kernels += 1
    assert kernels > 30


def test_a_constant_from_another_file_is_found(tmp_path):
    (tmp_path / "simulator").mkdir()
    for file, text in {
        "simulator/kernels.py": "from sastdeploy.a import A as B\n@kernel()\ndef f(x):\n    return x + LIMIT\nLIMIT = B + 1\n",
        "a.py": "from sastdeploy.b import DEEPER\nfrom sastdeploy.c import UNUSED\nA: int = DEEPER * 2\n",
        "b.py": "DEEPER = 3\n",
        "c.py": "UNUSED = 4\n",
    }.items():
        (tmp_path / file).write_text(text, "utf-8")
    assert set(names_that_kernels_reach(tmp_path)) == {"simulator/kernels.py", "a.py", "b.py"}


def test_the_second_process_takes_the_kernel_from_the_cache(tmp_path):
    folder = tmp_path / "cache"
    assert used(NUMBA_CACHE_DIR=str(folder)) == ["[1,", "4]", "0", "True"]
    assert used(NUMBA_CACHE_DIR=str(folder)) == ["[1,", "4]", "1", "True"]
    assert [path.name for path in folder.iterdir()] == [jit.content_hash()]


def test_without_a_folder_to_write_to_kernels_are_compiled_every_time(tmp_path):
    file = tmp_path / "file"
    file.write_text("", "utf-8")
    assert used(NUMBA_CACHE_DIR=str(file)) == ["[1,", "4]", "0", "False"]


def test_a_change_in_any_file_gives_another_folder(tmp_path, monkeypatch):
    before = jit.content_hash()
    for name in jit.SOURCES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((PACKAGE / name).read_bytes())
    monkeypatch.setattr(jit, "PACKAGE", tmp_path)
    assert jit.content_hash() == before
    for name in jit.SOURCES:
        with (tmp_path / name).open("a") as file:
            file.write("#")
        changed = jit.content_hash()
        assert changed != before
        before = changed


@pytest.mark.parametrize("package", [np, numba])
def test_another_version_of_numpy_or_numba_gives_another_folder(package, monkeypatch):
    before = jit.content_hash()
    monkeypatch.setattr(package, "__version__", "0.1")
    assert jit.content_hash() != before


@JIT_ONLY
def test_the_users_own_setting_of_numba_is_left_alone():
    import numba

    import sastdeploy.simulator.numba_engine.kernels  # noqa: F401

    assert (numba.config.CACHE_DIR or "") == os.environ.get("NUMBA_CACHE_DIR", "")
