"""The public API: what ``from sastdeploy import ...`` offers, and what importing it costs."""

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from small_networks import CONV, DENSE, checkpoint_of, labelled

import sastdeploy
from sastdeploy import (
    Compilation,
    Frames,
    InputError,
    LabelledFrames,
    Preprocessing,
    TrainingRun,
    TrainingSettings,
    bin_events,
    compile,
    evaluate,
    find_preprocessing,
    fit,
    fit_all,
    load_architecture,
    load_checkpoint,
    load_profile,
    simulate,
    summarise,
)
from sastdeploy.simulator.result import differences

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


# NumPy in, NumPy out


@pytest.fixture(scope="module")
def program():
    return compile(checkpoint_of(CONV)).program


def test_an_array_frames_and_labelled_frames_give_the_same(program):
    data = labelled(CONV, 12)
    counts = data.frames.dense()
    results = [simulate(program, value, engine="reference") for value in (counts, data.frames, data)]
    assert not differences(results[0], results[1]) and not differences(results[0], results[2])
    assert not differences(results[0], simulate(program, counts.astype(np.int64), threads=2))
    assert results[0].predicted.shape == (12,) and results[0].scores.shape == (12, CONV.classes)


def test_traces_come_back_as_arrays(program):
    data = labelled(CONV, 3)
    names = [layer.name for layer in program.layers]
    result = simulate(program, data, trace=names)
    for name, shape in zip(names, program.shapes()[1:]):
        trace = result.traces[name]
        assert trace.spikes.shape == trace.membranes.shape == (3, 6, int(np.prod(shape)))
        assert trace.spikes.sum() == result.spikes[:, names.index(name)].sum()
    assert list(simulate(program, data, trace=names[0]).traces) == names[:1]


def test_the_progress_counts_recordings(program):
    seen = []
    simulate(program, labelled(CONV, 5), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (5, 5)


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        (np.zeros((2, 3), np.uint8), {}, "frames: expected integers [N, T, P, H, W], found uint8 [2, 3]."),
        (np.zeros((1, 6, 2, 9, 9)), {}, "frames: expected integers [N, T, P, H, W], found float64 [1, 6, 2, 9, 9]."),
        (np.full((1, 6, 2, 9, 9), 256), {}, "frames: a count is outside 0 to 255."),
        ("abc", {}, "frames: expected integers [N, T, P, H, W]"),
        (np.zeros((1, 5, 2, 9, 9), int), {}, "in 5 bins, but program"),
        (labelled(CONV, 1), {"engine": "numbra"}, "engine 'numbra': unknown. Did you mean 'numba'?"),
        (labelled(CONV, 1), {"threads": 0}, "threads 0: must be at least 1."),
        (labelled(CONV, 1), {"trace": ["layer"]}, "trace 'layer': not a layer with membranes."),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_program_is_refused(program, counts, options, message):
    with pytest.raises(InputError) as caught:
        simulate(program, counts, **options)
    assert message in str(caught.value)


def test_compile_takes_a_name_a_path_or_a_profile(tmp_path):
    from sastdeploy.compiler.profiles import profile_path

    checkpoint = checkpoint_of(DENSE)
    copy = tmp_path / "mine.yaml"
    copy.write_bytes(profile_path("loihi_int8").read_bytes())
    made = [
        compile(checkpoint, which) for which in ("loihi_int8", copy, str(copy), load_profile("loihi_int8"))
    ]
    assert all(isinstance(one, Compilation) and one.report == made[0].report for one in made)
    assert [layer.kind for layer in made[0].report.layers] == ["dense", "dense", "readout"]
    with pytest.raises(InputError, match=r"profile 'loihi_int9': unknown. Did you mean 'loihi_int8'"):
        compile(checkpoint, "loihi_int9")


# Training


def arrays(count, seed):
    data = labelled(DENSE, count, seed)
    return LabelledFrames.from_dense(data.frames.dense(), data.labels, ["a", "b", "c"])


def test_fit_on_arrays_writes_nothing_and_goes_the_whole_road(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training, validation = arrays(60, 0), arrays(30, 1)
    epochs = []
    checkpoint = fit(training, validation, DENSE, TrainingSettings(epochs=2), report=epochs.append)
    assert [record["epoch"] for record in epochs] == [0, 1]
    assert list(tmp_path.iterdir()) == []
    own = checkpoint.preprocessing
    polarities, height, width = DENSE.input_shape
    assert (own.sensor_size, own.frame_size, own.time_bins) == (
        (width, height, polarities),
        (width, height),
        6,
    )
    assert (checkpoint.dataset, checkpoint.classes) == ("arrays", ("a", "b", "c"))
    assert evaluate(checkpoint, validation).recordings == 30
    program = compile(checkpoint).program
    assert summarise(program, simulate(program, validation), validation.labels)["recordings"] == 30


def test_fit_is_the_training_loop_with_the_scale_found(tmp_path):
    from sastdeploy.networks.checkpoint import checkpoint_hash
    from sastdeploy.recordings.binning import find_scale
    from sastdeploy.training.loop import train

    training, validation = arrays(40, 0), arrays(20, 1)
    settings = TrainingSettings("sast", 0.3, epochs=1)
    scale = find_scale(training.frames)
    polarities, height, width = DENSE.input_shape
    preprocessing = Preprocessing((width, height, polarities), (width, height), 6, scale, float(scale))
    expected = train(TrainingRun(training, validation, DENSE, preprocessing, settings, tmp_path / "a.pt"))
    checkpoint = fit(training, validation, DENSE, settings, out=str(tmp_path / "b.pt"))
    assert checkpoint_hash(checkpoint) == checkpoint_hash(expected)
    assert checkpoint_hash(load_checkpoint(tmp_path / "b.pt")) == checkpoint_hash(expected)
    with pytest.raises(InputError, match=r"b\.pt: exists"):
        fit(training, validation, DENSE, settings, out=tmp_path / "b.pt")


def test_fit_all_gives_each_seed_the_network_that_fit_gives(tmp_path):
    from sastdeploy.networks.checkpoint import checkpoint_hash

    training, validation = arrays(40, 0), arrays(20, 1)
    preprocessing = find_preprocessing(training)
    settings = [TrainingSettings(epochs=1, seed=seed) for seed in (0, 3)]
    runs = [
        TrainingRun(training, validation, DENSE, preprocessing, own, str(tmp_path / f"s{own.seed}.pt"))
        for own in settings
    ]
    epochs = []
    checkpoints = fit_all(runs, report=lambda which, record: epochs.append((which, record["epoch"])))
    assert epochs == [(0, 0), (1, 0)]
    hashes = [checkpoint_hash(checkpoint) for checkpoint in checkpoints]
    assert hashes == [checkpoint_hash(fit(training, validation, DENSE, own)) for own in settings]
    assert hashes == [checkpoint_hash(load_checkpoint(run.out)) for run in runs]
    with pytest.raises(InputError, match=r"s0\.pt: exists"):
        fit_all(runs)
    again = fit_all(runs, resume=True, skip_finished=True, report=lambda which, record: epochs.append(which))
    assert [checkpoint_hash(checkpoint) for checkpoint in again] == hashes and len(epochs) == 2
    with pytest.raises(InputError, match="two runs write the same checkpoint"):
        fit_all([runs[0], runs[0]], force=True)


def test_the_frames_scale_is_found_or_given():
    training = arrays(40, 0)
    own = find_preprocessing(training)
    counts = training.frames.dense()
    assert np.mean(counts[counts > 0] <= own.c_clip) >= 0.99 > np.mean(counts[counts > 0] < own.c_clip)
    assert own.divisor == own.c_clip
    given = find_preprocessing(training, clip=2, divisor=30.0, normalisation="sample_max")
    assert (given.c_clip, given.divisor, given.normalisation) == (2, 30.0, "sample_max")
    assert find_preprocessing(training, clip=2).divisor == 2.0
    with pytest.raises(InputError, match="divisor 1: below c_clip 2"):
        find_preprocessing(training, clip=2, divisor=1.0)
    silent = LabelledFrames.from_dense(np.zeros((3, 2, 1, 2, 2), np.uint8), [0, 1, 1], ["a", "b"])
    with pytest.raises(InputError, match="frames: hold no event, so no clip can be found"):
        find_preprocessing(silent)


def test_fit_refuses_a_network_for_another_input():
    with pytest.raises(
        InputError, match="architecture 'fc_0p40m': the paper defines it for inputs 2 x 34 x 34"
    ):
        fit(arrays(40, 0), arrays(20, 1))
    other = load_architecture("conv_0p42m", (2, 9, 9), 3)
    with pytest.raises(InputError, match="but the network takes 2x9x9 in 6 bins"):
        fit(arrays(40, 0), arrays(20, 1), other)


def test_evaluate_refuses_what_does_not_fit():
    checkpoint = checkpoint_of(DENSE)
    with pytest.raises(InputError, match=r"evaluate: no recording. Give at least one."):
        evaluate(checkpoint, labelled(DENSE, 4).select(slice(0)))
    data = labelled(DENSE, 4)
    two = LabelledFrames.from_dense(data.frames.dense(), np.zeros(4, int), ["a", "b"])
    with pytest.raises(InputError, match="recordings of 2 classes do not fit the checkpoint's 3"):
        evaluate(checkpoint, two)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "labels: expected integers [3], one per recording, found int64 [2]."),
        ([0.0, 1.0, 1.0], "labels: expected integers [3], one per recording, found float64 [3]."),
        ([0, 1, 2], "labels: 0 to 2, outside 0 to 1 of 2 classes."),
        ([-1, 1, 0], "labels: -1 to 1, outside 0 to 1 of 2 classes."),
    ],
)
def test_labels_that_do_not_fit_their_arrays_are_refused(labels, message):
    with pytest.raises(InputError) as caught:
        LabelledFrames.from_dense(np.ones((3, 2, 1, 2, 2), np.uint8), labels, ["a", "b"])
    assert str(caught.value) == message


def test_labelled_frames_of_equal_arrays_have_equal_hashes():
    one, same, other = arrays(6, 0), arrays(6, 0), arrays(6, 1)
    assert one.data_hash == same.data_hash != other.data_hash
    assert (one.dataset, one.sensor_size, len(one.names)) == ("arrays", None, 6)
    assert isinstance(one.frames, Frames)


# Events


def test_events_of_ones_own_become_counts():
    events = np.array(
        [(0, 0, 0, 1), (3, 2, 10, 0), (3, 2, 19, 0)],
        [("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "u1")],
    )
    counts = bin_events(events, (4, 3, 2), (4, 3), 2)
    assert counts.shape == (2, 2, 3, 4) and counts.dtype == np.uint8
    assert counts[0, 1, 0, 0] == 1 and counts[1, 0, 2, 3] == 2 and counts.sum() == 3


EVENTS = np.array([(0, 0, 0, 1), (3, 2, 10, 0)], [("x", "<i4"), ("y", "<i4"), ("t", "<i8"), ("p", "u1")])


def changed(name, values):
    events = EVENTS.copy()
    events[name] = values
    return events


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (np.zeros((3, 4), int), "events: expected a structured array [E] with the fields x, y, t and p, found int64 [3, 4]."),
        (EVENTS[:0], "events: none. Give at least one."),
        (EVENTS.astype([("x", "<i4"), ("y", "<i4"), ("t", "<f8"), ("p", "u1")]),
         "events: t is float64; expected whole numbers. Times are in microseconds."),
        (changed("x", [0, -1]), "events: the smallest x is -1; none may be negative."),
        (changed("p", [0, 2]), "events: the largest p is 2; allowed: 1 for ON, 0 for OFF."),
        (changed("x", [0, 4]), "events: event 1: pixel (4, 2) lies outside the 4 x 3 sensor."),
        (changed("t", [5, 4]), "events: event 1: time runs backwards, from 5 to 4 us."),
    ],
)  # fmt: skip
def test_events_that_break_a_rule_are_refused(events, message):
    with pytest.raises(InputError) as caught:
        bin_events(events, (4, 3, 2), (4, 3), 2)
    assert str(caught.value).startswith(message)


def test_bins_out_of_range_are_refused():
    with pytest.raises(InputError, match="time_bins 0: outside 1 to 1000"):
        bin_events(EVENTS, (4, 3, 2), (4, 3), 0)
