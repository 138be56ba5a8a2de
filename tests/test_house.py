"""How the modules of the package hang together, beyond what import-linter's contracts say of its rooms."""

import ast
import graphlib
from pathlib import Path

import sastdeploy

PACKAGE = Path(sastdeploy.__file__).parent


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


def test_no_long_file_without_a_reason():
    long = [path for path in PACKAGE.rglob("*.py") if path.read_text(encoding="utf-8").count("\n") > 400]
    assert [path.name for path in long] == ["kernels.py"]
    assert "one file" in long[0].read_text(encoding="utf-8").split("\n")[0]
