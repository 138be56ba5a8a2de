"""The DVS pixel: its physics, its noise, its seeds."""

import math

import numpy as np
import pytest

from sastdeploy.errors import InputError
from sastdeploy.synthesis.sensor import SensorModel, lin_log, play_images

QUIET = SensorModel(
    threshold_on=0.2, threshold_off=0.2, mismatch=0.0, cutoff_hz=0.0, refractory_us=0.0, leak_hz=0.0,
    shot_noise_hz=0.0, hot_fraction=0.0, random_reference=False,
)  # fmt: skip


def changed(**values) -> SensorModel:
    return SensorModel(**{**QUIET.to_dict(), **values})


def step_images(before: float, after: float, steps: int = 4, side: int = 3) -> np.ndarray:
    images = np.full((steps + 1, side, side), before)
    images[2:] = after
    return images


@pytest.mark.parametrize("contrast", [0.05, 0.19, 0.21, 0.5, 0.7, 1.15])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_step_of_contrast_c_gives_floor_of_c_over_threshold_events(contrast, sign):
    low, high = 60.0, 60.0 * math.exp(contrast)
    images = step_images(low, high) if sign > 0 else step_images(high, low)
    events = play_images(images, QUIET)
    assert len(events) == 9 * math.floor(contrast / 0.2)
    assert np.all(events["p"] == (sign > 0))


def test_times_are_interpolated_within_the_step():
    # From ln 60 by 0.5 within step 2 (1000 to 2000 us): crossings at 0.2 and 0.4 of 0.5, so at 1400 and
    # 1800 us.
    events = play_images(step_images(60.0, 60.0 * math.exp(0.5), side=1), QUIET)
    assert np.abs(events["t"] - np.array([1400, 1800])).max() <= 1
    assert events["t"].dtype == np.int64


def test_constant_light_without_noise_gives_no_event():
    assert len(play_images(np.full((50, 4, 4), 90.0), QUIET)) == 0


def test_polarities_are_symmetric_in_log_intensity():
    rng = np.random.default_rng(3)
    log = 4.3 + 0.5 * np.cumsum(rng.standard_normal((60, 5, 5)) * 0.2, axis=0).clip(-2, 2)
    up = play_images(np.exp(log), QUIET)
    # The mirror of the log intensity about 4.3 stays above lin-log's break and within 255.
    down = play_images(np.exp(8.6 - log), QUIET)
    assert len(up) > 100
    assert len(up) == len(down)
    assert (up["p"] == 1).sum() == (down["p"] == 0).sum()


def test_refractory_time_parts_the_events_and_loses_change():
    ramp = np.exp(np.linspace(3.5, 5.0, 101))[:, None, None] * np.ones((1, 2, 2))
    free = play_images(ramp, QUIET)
    held = play_images(ramp, changed(refractory_us=9000.0))
    assert 0 < len(held) < len(free)
    for pixel in range(4):
        t = held["t"][(held["y"] * 2 + held["x"]) == pixel]
        assert np.diff(t).min() >= 9000


def test_leak_gives_on_events_at_its_rate():
    events = play_images(np.full((2001, 20, 20), 90.0), changed(leak_hz=2.0, step_us=2000.0))
    rate = len(events) / (400 * 4.0)
    assert np.all(events["p"] == 1)
    assert 1.6 < rate < 2.4  # the leaks' mean is exp(0.08) = 1.08 of it


def test_shot_noise_has_its_rate_and_both_polarities():
    events = play_images(np.full((501, 20, 20), 90.0), changed(shot_noise_hz=5.0))
    assert 850 < len(events) < 1150  # 400 pixels x 0.5 s x 5 Hz = 1000, standard deviation 32
    assert 0.4 < events["p"].mean() < 0.6


def test_hot_pixels_are_few_and_loud():
    events = play_images(np.full((1001, 30, 30), 90.0), changed(hot_fraction=0.01, hot_hz=50.0))
    pixels = np.unique(events["y"].astype(int) * 30 + events["x"])
    assert 1 <= len(pixels) <= 30
    assert len(events) / len(pixels) > 30


def test_bandwidth_delays_the_events():
    images = step_images(60.0, 200.0, steps=60, side=1)
    fast, slow = play_images(images, changed(cutoff_hz=1000.0)), play_images(images, changed(cutoff_hz=20.0))
    assert slow["t"].mean() > fast["t"].mean() + 2000


def test_mismatch_is_seeded():
    images = step_images(60.0, 130.0, side=12)
    model = changed(mismatch=0.05)
    first, again, other = (play_images(images, model, seed) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    counts = np.bincount(first["y"].astype(int) * 12 + first["x"], minlength=144)
    assert counts.std() > 0
    assert np.bincount(play_images(images, QUIET)["x"]).std() == 0


def test_events_ascend_in_time():
    rng = np.random.default_rng(0)
    events = play_images(rng.uniform(0, 255, (40, 8, 8)), SensorModel(), 5)
    assert len(events) > 100
    assert np.diff(events["t"]).min() >= 0


def test_lin_log_is_continuous_at_its_break():
    assert lin_log(0.0) == 0.0
    assert lin_log(20.0) == pytest.approx(math.log(20.0))
    assert lin_log(19.9999) == pytest.approx(math.log(20.0), abs=1e-4)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("threshold_on", 0.0, "0.01 to 2"),
        ("threshold_off", -0.2, "0.01 to 2"),
        ("mismatch", 0.6, "0 to 0.5"),
        ("step_us", 1, "10 to 10000"),
        ("leak_hz", float("nan"), "0 to 100"),
        ("hot_fraction", True, "0 to 1"),
        ("cutoff_hz", "fast", "0 to 100000"),
    ],
)
def test_a_value_out_of_range_is_refused(field, value, allowed):
    with pytest.raises(InputError) as caught:
        changed(**{field: value})
    assert str(caught.value) == (
        f"sensor model: {field} is {value!r}. Allowed: a number from {allowed}. Choose a value within that "
        f"range."
    )


def test_bad_images_are_refused():
    with pytest.raises(InputError, match="at least two images"):
        play_images(np.zeros((1, 4, 4)), QUIET)
    with pytest.raises(InputError, match="outside 0 to 255"):
        play_images(np.full((3, 4, 4), 256.0), QUIET)
