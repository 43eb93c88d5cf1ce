"""Against scipy, on many cases and at the edges."""

import math

import numpy as np
import pytest
from scipy import stats

from fastneg.study.statistics import (
    detectable,
    holm,
    paired,
    power,
    seeds_needed,
    t_cdf,
    t_quantile,
)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 19, 30, 99, 1000])
def test_students_t_is_scipys(degrees):
    for t in (-40.0, -3.0, -0.5, -1e-6, 0.0, 1e-6, 0.7, 2.2, 12.7, 80.0):
        assert t_cdf(t, degrees) == pytest.approx(stats.t.cdf(t, degrees), rel=1e-10, abs=1e-300)
    for p in (1e-6, 0.01, 0.025, 0.3, 0.5, 0.8, 0.975, 0.999, 1 - 1e-6):
        expected = stats.t.ppf(p, degrees)
        assert t_quantile(p, degrees) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("count", [2, 3, 5, 10, 40])
def test_paired_differences_are_scipys(count):
    rng = np.random.default_rng(count)
    first, second = rng.normal(60, 2, count), rng.normal(61, 2, count)
    found, expected = paired(second - first), stats.ttest_rel(second, first)
    interval = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx((second - first).mean())
    assert found.sd == pytest.approx((second - first).std(ddof=1))
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_differences_that_agree():
    assert paired([1.5, 1.5, 1.5]).p == 0 and paired([0.0, 0.0]).p == 1
    assert paired([1.5, 1.5]).low == paired([1.5, 1.5]).high == 1.5


@pytest.mark.parametrize(
    ("values", "level"), [([], 0.95), ([1.0], 0.95), ([1.0, math.nan], 0.95), ([1.0, 2.0], 1.0)]
)
def test_what_has_no_interval_is_refused(values, level):
    with pytest.raises(ValueError, match=r"expected|finite"):
        paired(values, level)


def test_holms_example():
    # Sorted, the factors are 4, 3, 2, 1, and no adjusted value is below one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02] and holm([]) == []


@pytest.mark.parametrize("count", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("effect", [0.0, 0.4, -1.0, 2.5])
def test_power_is_that_of_the_noncentral_t(count, effect):
    degrees, shift = count - 1, effect / 1.7 * math.sqrt(count)
    critical = stats.t.ppf(0.975, degrees)
    expected = stats.nct.sf(critical, degrees, shift) + stats.nct.cdf(-critical, degrees, shift)
    assert power(effect, 1.7, count) == pytest.approx(expected, abs=2e-6)


def test_effect_and_seeds_that_suffice():
    found = detectable(2.0, 10)
    assert power(found, 2.0, 10) == pytest.approx(0.8, abs=1e-6)
    needed = seeds_needed(1.5, 2.0)
    assert power(1.5, 2.0, needed) >= 0.8 > power(1.5, 2.0, needed - 1)
    assert seeds_needed(0.0, 2.0, most=20) is None
