"""The door: what stands on top of the library takes from `sastdeploy` itself what it offers, and the rest by name and reason."""

import ast
from pathlib import Path

import pytest

import sastdeploy

ROOT = Path(sastdeploy.__file__).parent.parent
TOP = {
    "cli": ("sastdeploy/cli",),
    "experiments": ("sastdeploy/experiments",),
    "quickstart": ("sastdeploy/quickstart.py",),
    "examples": ("examples",),
    "paper": ("benchmarks/paper",),
    "benchmarks": (
        "benchmarks/cortex_m.py",
        "benchmarks/engines_equal.py",
        "benchmarks/float_c.py",
        "benchmarks/frameworks.py",
    ),
    "speed": ("benchmarks/speed",),
    "docs": ("docs",),
}
"""Who comes through the door: all that uses the library and is no part of it."""

MESSAGES = "messages, and files that are read and written as everywhere"
HASHES = "hashes, by which a record names what it is of"
ORIGIN = "commit and versions for a record"
DRAWING = "figures: nothing of them is public"
MAKING = "simulated recordings are made by commands only"
PARTS = "the parts of an architecture or a program that is built by hand"
ANALYSES = "measures of a network: nothing of them is public"
SWEEP = "the sweeps' own records and settings"

INSIDE = {
    "cli": {
        MESSAGES: ("_files", "_files.atomic", "_files.reading", "errors"),
        HASHES: ("networks.checkpoint", "program.file", "compiler.imported"),
        DRAWING: ("report.figures", "report.recording_figures", "report.robustness_figures"),
        MAKING: ("synthesis.dvsgesture_sim", "synthesis.nmnist_sim", "recordings.simulated"),
        PARTS: ("networks.architecture", "networks.builtin", "compiler.ir.graph", "program.records"),
        ANALYSES: (
            "analysis.activity", "analysis.bounds", "analysis.contraction", "analysis.margins", "analysis.profile_fits",
            "analysis.robustness", "recordings.corrupted_frames", "recordings.corruption",
        ),
        "whole commands that have a room of their own": (
            "experiments.cluster", "experiments.display", "experiments.figures", "experiments.packs", "experiments.progress",
            "experiments.report", "experiments.results", "experiments.runner", "experiments.selection", "experiments.spec",
            "experiments.tables", "quickstart",
        ),
        "what data commands show, fetch and check of data sets and files": (
            "recordings.catalog", "recordings.check", "recordings.datasets", "recordings.describe", "recordings.download", "recordings.dvsgesture", "recordings.npy",
            "recordings.own.declaration", "recordings.own.description", "recordings.own.folder", "recordings.own.layout",
            "recordings.reading", "recordings.tonic_sets",
        ),
        "simulate with remarks, an early answer and a result folder": (
            "simulator.durations", "simulator.recording", "simulator.result_folder", "simulator.simulate",
        ),
        "torchrun's processes, a path that is refused before data are read, and a device's kernels": (
            "training.distributed", "training.outputs", "training.settings",
        ),
        "names of profiles": ("compiler.profiles",),
        "networks from elsewhere: their float evaluation, spikes that a framework recorded, classes in their order, and who takes their neurons": (
            "compiler.passes.check_neurons", "exchange.evaluation", "exchange.recorded", "recordings.splits",
        ),
        "what doctor looks at": ("_kernels.cache_files", "_kernels.jit", "provenance"),
    },
    "experiments": {
        MESSAGES: ("_files", "_files.locks", "_files.reading", "_files.strict_yaml", "errors"),
        HASHES: ("networks.checkpoint", "recordings", "recordings.splits"),
        ORIGIN: ("provenance",),
        DRAWING: ("report.curve_figures", "report.figures", "report.sample_figures"),
        ANALYSES: (
            "analysis.activity", "analysis.bounds", "analysis.calibration", "analysis.contraction", "analysis.margins",
            "analysis.robustness", "statistics",
        ),
        "ranges that an experiment's file is checked against": (
            "networks.architecture", "recordings.catalog", "recordings.datasets", "recordings.events", "recordings.preprocessing",
            "training.settings",
        ),
        "the device of a pack": ("training.devices", "training.distributed"),
    },
    "quickstart": {
        MESSAGES: ("_files", "_files.locks", "_files.reading"),
        HASHES: ("networks.checkpoint", "program.file"),
        ORIGIN: ("provenance",),
        DRAWING: ("report.figures", "report.recording_figures"),
        MAKING: ("synthesis.nmnist_sim",),
        SWEEP: ("experiments.progress", "experiments.record", "experiments.runner", "experiments.spec", "experiments.trial"),
    },
    "examples": {},
    "paper": {
        MESSAGES: ("_files", "_files.strict_yaml"),
        HASHES: ("program.file",),
        ORIGIN: ("provenance",),
        DRAWING: ("report.figures", "report.sample_figures"),
        MAKING: ("synthesis.nmnist_sim",),
        ANALYSES: ("simulator.metrics", "statistics"),
        "the operations that a network makes at most": ("networks.builtin",),
        SWEEP: (
            "experiments.cluster", "experiments.figures", "experiments.readings", "experiments.record", "experiments.results",
            "experiments.runner", "experiments.spec", "experiments.tables", "experiments.trial", "quickstart",
        ),
        "simulated recordings are compared with real ones": (
            "recordings.catalog", "recordings.events", "synthesis.dvsgesture_sim", "synthesis.gestures", "synthesis.mnist",
            "synthesis.saccades",
        ),
        "the plain definition in float64, which no user needs": ("training.inference",),
    },
    "benchmarks": {
        HASHES: ("program.file",),
        ORIGIN: ("provenance",),
        PARTS: ("program.limits", "program.records"),
        "the engines' names": ("simulator.engine",),
        "networks from elsewhere: their float evaluation": ("exchange.evaluation",),
    },
    "speed": {
        MESSAGES: ("_files",),
        HASHES: ("networks.checkpoint",),
        ORIGIN: ("provenance",),
        MAKING: ("synthesis.nmnist_sim",),
        PARTS: ("networks.architecture", "networks.builtin", "program.fixedpoint", "program.records"),
        SWEEP: ("experiments.results", "experiments.spec"),
        "the command line by itself, with the time of its start": ("cli.main", "cli.simulate_command"),
        "the definitions that engines are compared with": ("compiler.ir.importer", "compiler.ir.interpreter", "training.neurons"),
        "binning by itself": (
            "recordings.binning", "recordings.datasets", "recordings.fast_binning", "recordings.nmnist", "recordings.reading",
        ),
        "the engine by itself, its blocks and its kernels": (
            "_kernels.vectors", "simulator", "simulator.numba_engine.chunks", "simulator.numba_engine.kernels",
            "simulator.numba_engine.plan", "simulator.numba_engine.tables", "simulator.result",
        ),
        "single steps of a training, and the device that takes them": (
            "training", "training.devices", "training.distributed", "training.inference", "training.networks", "training.optimiser",
            "training.packed.loop", "training.run", "training.sharpness", "training.sparse",
        ),
    },
    "docs": {
        "pages that are made of the commands and of what frameworks recorded": ("cli.main", "exchange.recorded"),
        PARTS: ("program.fixedpoint", "program.records"),
        "a sensor model that draws moving shapes": ("synthesis.sensor",),
    },
}  # fmt: skip
"""By user and reason, the modules below `sastdeploy` that it may import besides its own."""

HOMES = {(f"sastdeploy.{home}", name) for name, home in sastdeploy._HOMES.items()}


def sources(places):
    for place in places:
        path = ROOT / place
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def imports(text):
    """Return ``(module, name)`` of every import, also in code that stands in the text as a string; name None: the whole module."""
    pairs = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            pairs += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            pairs += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "sastdeploy." in node.value:
            try:
                pairs += imports(node.value)
            except SyntaxError:
                continue  # prose, or a template
    return pairs


def inner(user):
    """Return, by module below the package that a user imports and that is not its own, the files that do."""
    own = f"sastdeploy.{user}"
    modules = {}
    for path in sources(TOP[user]):
        for module, _ in imports(path.read_text("utf-8")):
            if module.startswith("sastdeploy.") and module != own and not module.startswith(own + "."):
                modules.setdefault(module.removeprefix("sastdeploy."), set()).add(path.name)
    return modules


@pytest.mark.parametrize("user", TOP)
def test_what_the_door_offers_is_taken_from_the_door(user):
    for path in sources(TOP[user]):
        for module, name in imports(path.read_text("utf-8")):
            assert (module, name) not in HOMES, f"{path.relative_to(ROOT)}: from sastdeploy import {name}"


@pytest.mark.parametrize("user", TOP)
def test_what_is_imported_from_inside_is_listed_with_its_reason(user):
    listed = [module for modules in INSIDE[user].values() for module in modules]
    assert len(listed) == len(set(listed))
    modules = inner(user)
    assert {m: files for m, files in modules.items() if m not in listed} == {}, (
        "take it from the door, or list it with its reason"
    )
    assert sorted(set(listed) - set(modules)) == [], "no longer imported"


def test_no_room_below_goes_through_the_door():
    """Past the layers' check: through the door every room would reach those above it."""
    above = {path for user in ("cli", "experiments", "quickstart") for path in sources(TOP[user])}
    for path in sorted((ROOT / "sastdeploy").rglob("*.py")):
        if path not in above:
            text = path.read_text("utf-8")
            names = {name for module, name in imports(text) if module == "sastdeploy" and name}
            names |= {
                node.attr
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "sastdeploy"
            }
            assert names <= {"__version__"}, f"{path.relative_to(ROOT)}: takes {names} from the door"


def test_imports_in_code_that_a_string_holds_are_seen():
    text = (
        'CODE = "import numpy; from sastdeploy.training.fit import fit"\nimport sastdeploy.program.file as f'
    )
    assert ("sastdeploy.training.fit", "fit") in imports(text) and (
        "sastdeploy.program.file",
        None,
    ) in imports(text)


def test_the_frames_scale_and_the_training_loop_are_the_recipes_alone():
    allowed = {"sastdeploy/recordings/binning.py", "sastdeploy/training/fit.py"}
    for folder in ("sastdeploy", "examples", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.relative_to(ROOT).as_posix() not in allowed:
                text = path.read_text("utf-8")
                assert "find_scale" not in text, f"{path}: finds the scale itself; use find_preprocessing"
                assert "loop import train" not in text, f"{path}: trains by itself; use fit or fit_all"
