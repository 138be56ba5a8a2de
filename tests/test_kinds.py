"""A kind of layer is known in one place per room: no code asks which kind it has, and every table names every kind."""

import ast
from pathlib import Path

import sastdeploy
from sastdeploy.compiler.ir import importer, nodes
from sastdeploy.exchange.c99 import layers as c99_layers
from sastdeploy.exchange.nir import export as nir_export
from sastdeploy.networks.layers import KINDS, Layer
from sastdeploy.program import layers as program_layers
from sastdeploy.simulator.numba_engine import plan, wiring
from sastdeploy.training import layers as training_layers

NAMES = {kind.__name__ for kind in (*KINDS.values(), *nodes.NODES.values(), *program_layers.KINDS.values())} | {
    "Layer", "Node", "Synapses", "Pool", "Neuron", "LifLayer", "ProgramLayer",
}  # fmt: skip
ALLOWED = {
    # The one place that pairs weighted nodes with their neurons.
    ("compiler/ir/graph.py", "Synapses"), ("compiler/ir/graph.py", "Lif"),
    # What a program made by hand holds, checked at the border.
    ("program/layers/lif.py", "Lif"), ("program/check.py", "Readout"),
}  # fmt: skip


def asked_for(path):
    """Return every kind's name that a file asks for: in `isinstance`, `issubclass`, or a `case`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        parts = []
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            parts = [node.args[1]]
        elif isinstance(node, ast.MatchClass):
            parts = [node.cls]
        for part in parts:
            for name in ast.walk(part):
                names.add(getattr(name, "attr", getattr(name, "id", None)))
    return names & NAMES


def test_no_code_asks_for_a_layers_kind():
    home = Path(sastdeploy.__file__).parent
    places = {
        (path.relative_to(home).as_posix(), name) for path in home.rglob("*.py") for name in asked_for(path)
    }
    assert places == ALLOWED


def test_the_question_is_seen(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "isinstance(x, (ir.Dense, int))\nmatch x:\n    case SumPool():\n        pass\n    case layers.Lif(a=1):\n        pass\n"
    )
    assert asked_for(path) == {"Dense", "SumPool", "Lif"}


def test_every_table_of_a_networks_kinds_names_all():
    assert (
        {kind.kind for kind in Layer.__args__}
        == set(KINDS)
        == {name for name in KINDS if KINDS[name].kind == name}
    )
    assert set(training_layers.SUMS) == set(importer._NODES) == set(KINDS)


def test_every_table_of_a_programs_kinds_names_all():
    assert {kind.kind for kind in program_layers.ProgramLayer.__args__} == set(program_layers.KINDS)
    weighted = {
        name for name, kind in program_layers.KINDS.items() if issubclass(kind, program_layers.lif.LifLayer)
    }
    assert set(c99_layers._ADDS) == set(nir_export._WRITTEN) == set(program_layers.KINDS)
    assert set(wiring.WIRING) == weighted and set(wiring.BY_PIXEL) <= weighted
    assert set(plan._PASSED) == set(program_layers.KINDS) - weighted
    assert set(plan.IN_PLACE) == set(nir_export._IN_PLACE) <= set(plan._PASSED)
