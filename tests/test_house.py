"""The house in order: modules without circles, files of a readable length, one word for limits."""

import ast
import graphlib
import re
from pathlib import Path

import sastdeploy

PACKAGE = Path(sastdeploy.__file__).parent
HOME = PACKAGE.parent
FOLDERS = ("sastdeploy", "tests", "benchmarks", "docs", "examples")
OTHER_WORDS = {"MOST", "LARGEST", "LONGEST", "LEAST", "SMALLEST", "SHORTEST", "FEWEST"}


def module_name(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imports(package):
    """Return which modules every module names in its imports, those inside functions too; the door opens everything."""
    modules = {module_name(path): path for path in package.rglob("*.py") if path != package / "__init__.py"}
    graph = {}
    for module, path in modules.items():
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
            elif isinstance(node, ast.Import):
                names |= {name.name for name in node.names}
        graph[module] = names & modules.keys() - {module}
    return graph


def test_no_module_imports_in_a_circle():
    graph = imports(PACKAGE)
    assert len(graph) > 200 and graph["sastdeploy.recordings.frames"]
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def long_files(*folders):
    """Return the Python files of over 400 lines."""
    paths = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [path for path in paths if path.read_text(encoding="utf-8").count("\n") > 400]


def test_no_long_file_without_a_reason():
    folders = [HOME / name for name in FOLDERS]
    assert all(folder.is_dir() for folder in folders)
    long = long_files(*folders)
    assert [path.name for path in long] == ["kernels.py"]
    assert "one file" in long[0].read_text(encoding="utf-8").split("\n")[0]


def test_a_long_file_is_found(tmp_path):
    for length in (400, 401):
        (tmp_path / f"of_{length}.py").write_text("x = 1\n" * length)
    assert [path.name for path in long_files(tmp_path)] == ["of_401.py"]


def superlatives(source):
    """Return the names in capitals that say MAX or MIN in another word."""
    names = set(re.findall(r"\b[A-Z_][A-Z0-9_]+\b", source))
    return sorted(name for name in names if OTHER_WORDS & set(name.split("_")))


def test_limits_are_called_max_and_min():
    names = {}
    for folder in FOLDERS:
        for path in sorted((HOME / folder).rglob("*.py")):
            if path != Path(__file__) and (others := superlatives(path.read_text(encoding="utf-8"))):
                names[path.relative_to(HOME).as_posix()] = others
    assert names == {}


def test_another_word_for_a_limit_is_found():
    source = "MAX_BYTES, _MOST_LAYERS = 1, 2\nLARGEST = LATEST_US = limits.LEAST_SHARE\n"
    assert superlatives(source) == ["LARGEST", "LEAST_SHARE", "_MOST_LAYERS"]
