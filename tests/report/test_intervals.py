"""Intervals of a mean of several runs."""

import pytest

from fastneg.report import intervals


@pytest.mark.parametrize("count", [2, 3, 10, 40])
def test_half_of_an_interval_is_students(count):
    stats = pytest.importorskip("scipy.stats")
    exact = stats.t.ppf(0.975, count - 1) * 3.0 / count**0.5
    assert intervals.half_width(3.0, count) == pytest.approx(exact, rel=1e-8)
