"""Student's t over seeds, and p values corrected for their number."""

import pytest

from sastdeploy.statistics import Sample, holm, interval, student_p


@pytest.mark.parametrize(
    "t, freedom, p",
    # Of published tables: the t that leaves so much to both sides.
    [
        (12.7062, 1, 0.05), (4.30265, 2, 0.05), (3.18245, 3, 0.05), (2.77645, 4, 0.05), (2.22814, 10, 0.05),
        (63.6567, 1, 0.01), (9.92484, 2, 0.01), (4.60409, 4, 0.01), (3.16927, 10, 0.01), (-4.60409, 4, 0.01), (0.0, 7, 1.0),
    ],
)  # fmt: skip
def test_the_chance_of_students_t(t, freedom, p):
    assert student_p(t, freedom) == pytest.approx(p, abs=1e-6)


def test_an_interval_that_ends_at_0_has_a_p_of_5_percent():
    values = (1.0, 2.0, 4.0, 3.0, 7.0)
    low, _ = interval(values)
    shifted = Sample((0, 1, 2, 3, 4), tuple(value - low for value in values))
    assert shifted.p_value == pytest.approx(0.05, abs=1e-5)
    assert Sample((0,), (1.0,)).p_value is None and Sample((0, 1), (1.0, 1.0)).p_value is None


def test_p_values_corrected_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04: four, three, two times and once; none below the one before it, none above 1.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == [1.0, 1.0] and holm([]) == []
