"""The public API: what ``from sastdeploy import ...`` offers, and what importing it costs."""

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import sastdeploy
from sastdeploy import TrainingSettings

HOME = Path(sastdeploy.__file__).parent


def fresh(code):
    """Return what a new process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_nothing_else():
    code = "import sys; before = set(sys.modules); import sastdeploy; print(*(set(sys.modules) - before))"
    new = fresh(code).split()
    assert [name for name in new if name.startswith("sastdeploy")] == ["sastdeploy"]
    assert not {"numpy", "torch", "numba", "onnx", "yaml", "pydantic", "click"} & set(new)
    assert len(new) <= 30  # typing and what it needs


def test_errors_and_profiles_need_no_torch():
    code = (
        "import sys; from sastdeploy import InputError, load_profile, simulate; print('torch' in sys.modules)"
    )
    assert fresh(code) == "False\n"


def test_all_names_are_there_typed_and_in_the_contents():
    assert sorted(sastdeploy._HOMES) == sorted(sastdeploy.__all__)
    tree = ast.parse((HOME / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == {name: f"sastdeploy.{home}" for name, home in sastdeploy._HOMES.items()}
    for name in sastdeploy.__all__:
        assert name in sastdeploy.__doc__, f"{name}: not in the package's contents"
        assert inspect.getdoc(getattr(sastdeploy, name)), f"{name}: no docstring"
    assert (HOME / "py.typed").exists()


def public_things():
    """Return (name, value) of every public function and class, and of the classes' public methods; no exceptions."""
    things = []
    for name in sastdeploy.__all__:
        value = getattr(sastdeploy, name)
        if inspect.isclass(value) and issubclass(value, Exception):
            continue
        things.append((name, value))
        if inspect.isclass(value):
            things += [
                (f"{name}.{method}", getattr(value, method))
                for method, member in vars(value).items()
                if not method.startswith("_")
                and (inspect.isfunction(member) or isinstance(member, classmethod))
            ]
    return things


def section(page, name):
    """Return what the page says of a name, up to the next heading."""
    (text,) = re.findall(rf"(?ms)^###+ {re.escape(name)}\n(.*?)(?=^##|\Z)", page)
    return text


@pytest.fixture(scope="module")
def page():
    return (HOME.parent / "docs" / "python-api.md").read_text("utf-8")


def test_every_function_tells_its_errors_and_use():
    for name in sastdeploy.__all__:
        value = getattr(sastdeploy, name)
        if inspect.isfunction(value):
            text = inspect.getdoc(value)
            assert "Raises:" in text and "Example::" in text, name
            hints = inspect.signature(value)
            assert all(p.annotation is not p.empty for p in hints.parameters.values()), name
            assert hints.return_annotation is not hints.empty, name


@pytest.mark.parametrize(("name", "value"), public_things(), ids=[name for name, _ in public_things()])
def test_the_page_explains_every_argument_and_each_error(page, name, value):
    text = section(page, name)
    entries = re.findall(r"(?m)^- ([\w, ]+): ", text)
    explained = {word for entry in entries for word in entry.split(", ")}
    wanted = set(inspect.signature(value).parameters) - {"self"}
    assert not wanted - explained, f"{name}: not explained"
    if inspect.isclass(value) and "__post_init__" in vars(value):
        assert "\nRaises:\n" in text, f"{name}: checks its fields; say what it raises"
    for errors in re.findall(r"(?m)^Raises:\n\n((?:- .*\n)+)", text):
        for line in errors.splitlines():
            assert re.match(r"- (?:Input|Compile|Simulation)Error: ", line), f"{name}: {line}"


def test_the_page_names_nothing_that_a_reader_cannot_find(page):
    for name, value in public_things():
        home = getattr(sastdeploy, name.split(".")[0])
        for reference in re.findall(r"(?<!`)`([\w.]+)`(?!`)", inspect.getdoc(value)):
            module, _, last = reference.rpartition(".")
            owner = (
                import_module(module)
                if module.startswith("sastdeploy")
                else getattr(sastdeploy, module, home)
            )
            assert hasattr(owner, last) or f"\n### {reference}\n" in page, (
                f"{name}: `{reference}` is not public"
            )
    signatures = re.findall(
        r"(?ms)^```python\n([\w.]+\(.*?\)(?: -> [^\n]*)?)\n```", page.split("\n## Types in")[0]
    )
    named = set(re.findall(r"\b(?<!\.)[A-Z]\w+", " ".join(re.sub(r"'[^']*'", "", s) for s in signatures)))
    known = {"Any", "Callable", "Mapping", "NDArray", "None", "Path", "Sequence", "True", "False"}
    missing = {name for name in named - known if f"\n### {name}\n" not in page}
    assert not missing, f"in signatures, but without an entry: {missing}"


def test_the_settings_docstring_states_their_ranges():
    from sastdeploy.training.settings import RANGES

    text = " ".join(inspect.getdoc(TrainingSettings).split())
    for name, (low, high) in RANGES.items():
        entry = re.search(rf"\b{name}: (.*?)(?= \w+: |$)", text)[1]
        shown = re.search(r"(\d[\de-]*) to (\d[\de]*)", entry)
        assert (float(shown[1]), float(shown[2])) == (low, high), f"{name}: {entry}"


def test_dir_shows_the_public_names_and_nothing_else():
    assert dir(sastdeploy) == sorted(sastdeploy.__all__)
    with pytest.raises(AttributeError, match="module 'sastdeploy' has no attribute 'simulte'"):
        sastdeploy.simulte  # noqa: B018


def test_no_module_hides_a_public_name():
    assert not {module.name for module in pkgutil.iter_modules([str(HOME)])} & set(sastdeploy.__all__)
    code = (
        "import sastdeploy, sastdeploy.simulator.simulate, sastdeploy.compiler.compile, sastdeploy.training.fit\n"
        "from sastdeploy import compile, fit, simulate\n"
        "import types\n"
        "for value in (compile, fit, simulate, sastdeploy.compile, sastdeploy.fit, sastdeploy.simulate):\n"
        "    assert isinstance(value, types.FunctionType), value\n"
        "print(sastdeploy.compile is compile)"
    )
    assert fresh(code) == "True\n"


def test_help_begins_with_the_contents():
    text = fresh("import pydoc, sastdeploy; print(pydoc.plain(pydoc.render_doc(sastdeploy)))")
    assert "Recordings\n        load_dataset " in text and "The road in six lines" in text


def test_the_page_of_the_api_is_what_the_docstrings_say():
    script = HOME.parent / "docs" / "generate.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (script.parent / "python-api.md").read_text("utf-8")
    assert all(f"\n### {name}\n" in page for name in sastdeploy.__all__)
