"""Statistics of paired differences over seeds, in plain Python.

Legend: n seeds, x the differences of two arms in percentage points, one for each seed.
Source: Student's t for paired samples; Holm 1979, Scandinavian Journal of Statistics 6, 65-70; the
incomplete beta function by Lentz's continued fraction (Numerical Recipes, section 6.4).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

LEVEL = 0.95
TINY = 1e-300


@dataclass(frozen=True)
class Paired:
    """What n paired differences say about their mean."""

    count: int
    """n."""
    mean: float
    sd: float
    """Standard deviation of the differences, n - 1 in the denominator."""
    low: float
    high: float
    """The interval of the mean at `level`, by Student's t."""
    p: float
    """Two-sided p-value of a mean of zero."""
    level: float = LEVEL


def paired(differences, level=LEVEL):
    """Mean, interval and p-value of paired differences.

    Args:
        differences: (n,) finite numbers, n ≥ 2.
        level: of the interval, in (0, 1).
    Returns:
        `Paired`. Differences that all agree have an interval without width; p is 1 where they are
        all zero, else 0.
    Raises:
        ValueError: fewer than two differences, one that is not finite, or a level out of range.
    """
    values = [float(value) for value in differences]
    if len(values) < 2:
        raise ValueError(f"differences has {len(values)} values: two or more were expected.")
    if not all(map(math.isfinite, values)):
        raise ValueError("differences holds a value that is not finite.")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: a number between 0 and 1 was expected.")
    count, mean, sd = len(values), statistics.fmean(values), statistics.stdev(values)
    error = sd / math.sqrt(count)
    half = t_quantile((1 + level) / 2, count - 1) * error
    if error:
        p = 2 * t_cdf(-abs(mean) / error, count - 1)
    else:
        p = 0.0 if mean else 1.0
    return Paired(count, mean, sd, mean - half, mean + half, p, level)


def holm(p_values):
    """Holm's adjusted p-values of a family of tests, in the order given.

    A test is rejected at level a, with the chance of any false rejection at most a, where its
    adjusted p-value is at most a.
    """
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = largest
    return adjusted


def power(effect, sd, count, level=LEVEL):
    """The chance that a two-sided paired t-test of `count` differences finds a true mean `effect`.

    Args:
        effect: the true mean difference.
        sd: the true standard deviation of the differences, above 0.
        count: n ≥ 2.
        level: 1 - level is the test's size.
    Returns:
        a probability: the test size where the effect is 0.
    """
    if sd <= 0 or count < 2:
        raise ValueError(f"sd is {sd}, count is {count}: sd above 0 and two or more were expected.")
    degrees, shift = count - 1, effect * math.sqrt(count) / sd
    critical = t_quantile((1 + level) / 2, degrees)
    # Given the estimated standard deviation as a multiple s of the true one, the mean is normal.
    # s² has a chi-squared distribution over its degrees of freedom: integrate over s by Simpson.
    steps, end = 2000, 1 + 12 / math.sqrt(2 * degrees)
    width = end / steps
    constant = math.log(2) + degrees / 2 * math.log(degrees / 2) - math.lgamma(degrees / 2)
    total = 0.0
    for number in range(1, steps + 1):
        s = number * width
        density = math.exp(constant + (degrees - 1) * math.log(s) - degrees * s * s / 2)
        found = _normal(shift - critical * s) + _normal(-shift - critical * s)
        weight = 1 if number == steps else 4 if number % 2 else 2
        total += weight * density * found
    if degrees == 1:  # the density at s = 0 is not zero there
        total += math.exp(constant) * (_normal(shift) + _normal(-shift))
    return min(1.0, total * width / 3)


def detectable(sd, count, wanted=0.8, level=LEVEL):
    """The smallest true mean difference that is found with the power `wanted`."""
    return _rising(lambda effect: power(effect, sd, count, level), wanted, 0.0, sd)


def seeds_needed(effect, sd, wanted=0.8, level=LEVEL, most=1000):
    """The fewest seeds with which a true mean `effect` is found with the power `wanted`.

    None where `most` do not suffice.
    """
    return next((n for n in range(2, most + 1) if power(effect, sd, n, level) >= wanted), None)


def t_cdf(t, degrees):
    """P(T ≤ t) of Student's t with `degrees` of freedom."""
    square = t * t
    tail = _beta(degrees / 2, 0.5, degrees / (degrees + square), square / (degrees + square)) / 2
    return 1 - tail if t > 0 else tail


def t_quantile(p, degrees):
    """The t below which Student's t with `degrees` of freedom falls with probability p."""
    if not 0 < p < 1 or degrees < 1:
        raise ValueError(
            f"p is {p}, degrees is {degrees}: 0 < p < 1, and 1 or more, were expected."
        )
    if p < 0.5:
        return -t_quantile(1 - p, degrees)
    return _rising(lambda t: t_cdf(t, degrees), p, 0.0, 1.0) if p > 0.5 else 0.0


def _rising(function, wanted, low, high):
    """Where a rising function reaches a value, by bisection.

    `high` is moved out as far as needed.
    """
    while function(high) < wanted:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if function(middle) < wanted else (low, middle)
    return high


def _normal(z):
    return math.erfc(-z / math.sqrt(2)) / 2


def _beta(a, b, x, rest):
    """The regularised incomplete beta function I_x(a, b); `rest` is 1 - x with all its digits."""
    if x <= 0 or rest <= 0:
        return float(rest <= 0)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1 - _beta(b, a, rest, x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(front + a * math.log(x) + b * math.log(rest)) / a
    c, d = 1.0, 1 / _apart(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d, c = 1 / _apart(1 + step * d), _apart(1 + step / c)
            value *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return front * value


def _apart(value):
    return value if abs(value) > TINY else TINY
