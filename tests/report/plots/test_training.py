"""Curves of training: long runs averaged, several seeds with a band."""

import math

from fastneg.report.plots import style, training
from helpers.plots import svg_of


def test_curves_average_long_runs_and_skip_what_is_not_finite():
    xs, ys = training.thinned(range(1, 1001), [1.0, 3.0] * 500, limit=100)
    assert len(xs) == 100 and ys == [2.0] * 100 and xs[0] == 10 and xs[-1] == 1000
    assert training.thinned([1, 2, 3], [5.0, math.nan, 7.0]) == ([1, 3], [5.0, 7.0])
    rows = [{"step": 1, "positive_similarity": 0.1}, {"step": 2, "positive_similarity": 0.2}]
    svg = svg_of(
        training.curves, [[rows]], {"positive_similarity": "pos", "negative_similarity": "neg"}
    )
    assert ">pos<" in svg and ">neg<" not in svg


def test_several_seeds_become_a_mean_and_a_band():
    runs = [[{"step": step, "loss": base + step} for step in (1, 2, 3)] for base in (0.0, 4.0)]
    runs[1].append({"step": 4, "loss": 9.0})  # a step that only one run has
    assert training.across(runs, "loss") == (
        [1, 2, 3],
        [3.0, 4.0, 5.0],
        [1.0, 2.0, 3.0],
        [5.0, 6.0, 7.0],
    )
    axes = training.curves(style.PAGE, [runs], {"loss": ""}).axes[0]
    assert list(axes.lines[0].get_ydata()) == [3.0, 4.0, 5.0] and len(axes.collections) == 1
