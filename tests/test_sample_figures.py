"""Figures of samples over seeds: texts that lie close, intervals that leave their panel."""

import re

from sastdeploy.report.sample_figures import Curve, Panel, Row, curves, dots
from sastdeploy.statistics import Sample


def test_texts_of_scales_that_lie_close_are_turned(tmp_path):
    for name, scales in (("apart", (1, 15, 33, 100)), ("close", (1, 33, 42.5, 100))):
        samples = tuple(Sample((0, 1), (0.5, 0.7)) for _ in scales)
        panels = [Panel("a", "b", (Curve("c", "black", "-", scales, samples),))]
        curves(panels, tmp_path / f"{name}.svg", "title", "x", {scale: f"1/{scale:g}" for scale in scales})
    turned = [
        (tmp_path / f"{name}.svg").read_text("utf-8").count("rotate(-90)") for name in ("apart", "close")
    ]
    assert turned == [1, 5]  # the text of the y axis; and of four ticks


def test_an_interval_that_leaves_its_panel_is_marked_at_the_edge(tmp_path):
    texts = {}
    for name, values in (("inside", (1.0, 1.01, 0.99)), ("cut", (0.0, 1.0))):
        rows = [Row("a", "#123456", (Sample(tuple(range(len(values))), values),)), Row("b", "black", (None,))]
        dots(rows, ("x",), tmp_path / f"{name}.svg", "title")
        texts[name] = (tmp_path / f"{name}.svg").read_text("utf-8")
    # A mark is a closed triangle (z) with the row's colour; values and mean have marks without corners.
    triangles = {
        name: len(re.findall(r'"M [-\d. ]+\nL [-\d. ]+\nL [-\d. ]+\nz\n"[^>]*#123456', text))
        for name, text in texts.items()
    }
    assert triangles == {"inside": 0, "cut": 2}
