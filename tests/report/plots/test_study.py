"""The four figures of a study: each run is a point, each mean and interval where it belongs."""

import pytest

from fastneg.report.blocks import Plot
from fastneg.report.plots import study
from fastneg.report.plots.style import MARKERS, drawn, paper
from fastneg.study.statistics import paired

ROWS = {
    "none": {0: {"swapped": 30.0, "in_domain": 80.0}, 1: {"swapped": 34.0, "in_domain": 84.0}},
    "patch": {0: {"swapped": 36.0, "in_domain": 81.0}, 1: {"swapped": None, "in_domain": 83.0}},
}
ARMS = [(number, name, rows) for number, (name, rows) in enumerate(ROWS.items())]


def figure(function, *arguments):
    return drawn(Plot("p", "title", lambda style: function(style, *arguments)), paper())


def points(axes):
    return [tuple(map(float, place)) for each in axes.collections for place in each.get_offsets()]


def test_runs_of_a_seed_are_joined_and_those_without_a_figure_left_out():
    (axes,) = figure(study.per_seed, ARMS, ("swapped",)).axes
    assert points(axes) == [(0, 30), (0, 34), (1, 36)]
    lines = [line.get_xydata().tolist() for line in axes.lines]
    assert [[0, 30], [1, 36]] in lines  # seed 0
    means = [line[0][1] for line in lines if len(line) == 2 and line[0][1] == line[1][1]]
    assert means == [32.0, 36.0]


def test_means_stand_with_their_intervals():
    (axes,) = figure(study.trade, ARMS, "in_domain", "swapped").axes
    found = points(axes)
    assert (82.0, 32.0) in found and (81.0, 36.0) in found and (80.0, 30.0) in found
    half = (paired([30.0, 34.0]).high - paired([30.0, 34.0]).low) / 2
    bars = [path for each in axes.collections for path in each.get_paths() if len(path) == 2]
    heights = {round(float(abs(path.vertices[1, 1] - path.vertices[0, 1])), 3) for path in bars}
    assert round(2 * half, 3) in heights


def test_differences_stand_in_the_row_of_their_outcome():
    series = [(0, {"swapped": paired([4.0, 6.0])}), (2, {"shape_bias": paired([1.0, 2.0])})]
    (axes,) = figure(study.differences, ["in_domain", "swapped", "shape_bias"], series, 1.0).axes
    assert [place[0] for place in points(axes)] == [5.0, 1.5]
    assert [round(place[1]) for place in points(axes)] == [1, 2]
    ends = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    assert any(
        list(end) == pytest.approx([paired([4, 6]).low, paired([4, 6]).high]) for end in ends
    )


def test_curves_are_means_over_the_steps_that_all_seeds_have():
    curves = [
        {"step": [10, 20, 30], "share": [0.1, 0.2, 0.3]},
        {"step": [10, 30], "share": [0.3, 0.5]},
    ]
    steps, low, mean, high = study.across_seeds(curves, "share")
    assert (steps, low, high) == ([10, 30], [0.1, 0.3], [0.3, 0.5])
    assert mean == pytest.approx([0.2, 0.4]) and study.across_seeds([], "share")[0] == []
    rows = {seed: {"curve": curve} for seed, curve in enumerate(curves)}
    arms = [(1, "patch", rows), (0, "old", {0: {"seed": 0}})]  # a row of before there were curves
    (axes,) = figure(study.over_training, arms, {"share": "the share"}).axes
    assert len(axes.lines) == 1 and axes.lines[0].get_marker() == MARKERS[1]
    assert axes.lines[0].get_ydata() == pytest.approx([0.2, 0.4])
