"""Pictures of recordings."""

import numpy as np
import pytest
from PIL import Image

from sastdeploy.errors import InputError
from sastdeploy.recordings.events import EVENT_DTYPE
from sastdeploy.report.recording_figures import draw_recording


def some_events(count: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    events = np.zeros(count, EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, 34, (2, count))
    events["t"] = np.sort(rng.integers(0, 300_000, count))
    events["p"] = rng.integers(0, 2, count)
    return events


def test_png_and_gif(tmp_path):
    png = draw_recording(some_events(), (34, 34, 2), tmp_path / "a.png", "a recording")
    gif = draw_recording(some_events(), (34, 34), tmp_path / "a.gif")
    with Image.open(png) as picture:
        assert picture.format == "PNG"
        assert picture.size[0] > 900
    with Image.open(gif) as picture:
        assert picture.format == "GIF"
        assert picture.n_frames > 20
        assert picture.size == (34 * 11, 34 * 11)


def test_a_recording_of_one_event_can_be_drawn(tmp_path):
    draw_recording(some_events(1), (34, 34, 2), tmp_path / "one.png")


def test_what_cannot_be_drawn_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError) as caught:
        draw_recording(some_events(), (34, 34, 2), tmp_path / "a.jpg")
    assert str(caught.value) == (
        f"{tmp_path / 'a.jpg'}: pictures are written as .png or .gif, not '.jpg'. Choose one of these."
    )
    with pytest.raises(InputError, match="holds no events"):
        draw_recording(some_events(0), (34, 34, 2), tmp_path / "a.png")
    with pytest.raises(InputError, match="outside the sensor of 20x20"):
        draw_recording(some_events(), (20, 20, 2), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
