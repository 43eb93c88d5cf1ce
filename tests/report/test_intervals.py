"""Quantiles of Student's distribution."""

import pytest

from fastneg.report import intervals


def test_quantiles_are_students():
    stats = pytest.importorskip("scipy.stats")
    exact = [stats.t.ppf(0.975, degrees) for degrees in range(1, len(intervals.T) + 2)]
    assert pytest.approx(exact, abs=6e-4) == [*intervals.T, intervals.T_BEYOND]
