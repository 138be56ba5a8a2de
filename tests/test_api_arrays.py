"""The public API on NumPy arrays: simulating, compiling, training, binning events."""

from dataclasses import replace

import numpy as np
import pytest
from small_networks import CONV, DENSE, checkpoint_of, labelled

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
from sastdeploy.networks.architecture import Neuron
from sastdeploy.simulator.result import differences


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
    for change, message in (
        ({"settings": TrainingSettings(epochs=2, seed=3)}, "settings.epochs was 1 and is now 2"),
        ({"settings": TrainingSettings(epochs=1, seed=3, slope_end=50.0)}, "settings.slope_end was 0.0 and is now 50.0"),
        ({"settings": settings[0]}, "settings.seed was 3 and is now 0"),
        ({"architecture": replace(DENSE, neuron=Neuron(slope=20.0))}, "architecture.neuron was"),
        ({"preprocessing": replace(preprocessing, divisor=90.0)}, "preprocessing.divisor was 5.0 and is now 90.0"),
        ({"training": arrays(48, 0)}, "data was "),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            fit_all([replace(runs[1], **change)], resume=True, skip_finished=True)
        assert f"s3.pt: is finished and of another run, {message}" in str(caught.value)
    (longer,) = fit_all(
        [replace(runs[1], settings=TrainingSettings(epochs=2, seed=3))],
        resume=True, skip_finished=True, force=True,
    )  # fmt: skip
    assert longer.training["epochs"] == 2
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
    with pytest.raises(InputError) as caught:
        find_preprocessing(training, divisor=0.5)
    assert str(caught.value) == (
        f"divisor 0.5: below {own.c_clip}, at which the counts are clipped, so frame values would exceed 1. "
        f"Choose a divisor of at least {own.c_clip}, or a clip too."
    )
    # Whole numbers that no float holds.
    for wrong, message in (
        ({"divisor": 2**1100}, "divisor 1"),
        ({"clip": 2**1100}, "c_clip 1"),
        ({"divisor": -(2**1100)}, "divisor -1"),
    ):
        with pytest.raises(
            InputError, match=rf"^{message}\d+\.\.\.: (at most 1e\+12|outside 1 to 127|below c_clip)"
        ):
            find_preprocessing(training, **wrong)
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
