"""Bars, curves over alpha and severity: coordinates read back from the SVG."""

import math

import numpy as np

from fastneg.report.blocks import Cell
from fastneg.report.plots import accuracy, style
from helpers.plots import elements, ends, svg_of


def test_bars_are_as_long_as_the_figures_and_whiskers_span_their_intervals():
    svg = svg_of(accuracy.bars, ["x", "y"], [{"x": Cell(80.0), "y": Cell(20.0, std=10.0)}], {})
    bars = [ends(element) for element in elements(svg, "fill: var(--series-0)")]
    widths = [high - low for low, high in bars]
    assert len(widths) == 2 and math.isclose(widths[0] / widths[1], 4, rel_tol=1e-3)
    whisker = next(
        ends(e)
        for e in elements(svg, "stroke: var(--ink)")
        if e.get("d") and ends(e)[1] - ends(e)[0] > 1
    )
    assert math.isclose(whisker[1] - whisker[0], widths[1], rel_tol=1e-2)  # 10 to 30
    assert math.isclose(sum(whisker) / 2, bars[1][1], rel_tol=1e-2)


def test_alpha_points_error_bars_and_baseline():
    points = [(1, 0.5, Cell(40.0, std=2.0)), (2, 2.0, Cell(50.0))]
    axes = accuracy.against_alpha(style.PAGE, [points], [(0, Cell(45.0, std=1.0))]).axes[0]
    joined, *_ = axes.lines
    assert list(joined.get_xdata()) == [0.5, 2.0] and list(joined.get_ydata()) == [40.0, 50.0]
    bar = axes.collections[0].get_segments()[0]
    assert [list(end) for end in bar] == [[0.5, 38.0], [0.5, 42.0]]
    assert any(set(line.get_ydata()) == {45.0} for line in axes.lines)
    assert list(axes.get_xticks()) == [0.5, 2.0]


def test_a_tenth_of_a_point_does_not_fill_the_plot():
    points = {0: (Cell(60.0), Cell(40.0)), 1: (Cell(60.1), Cell(40.1))}
    axes = accuracy.trade_off(style.PAGE, points, [], "x", "y").axes[0]
    assert np.ptp(axes.get_xlim()) >= 4 and np.ptp(axes.get_ylim()) >= 4
    assert axes.get_xlim()[0] < 60 and axes.get_xlim()[1] > 60.1


def test_the_coverage_of_a_bias_stands_beside_its_marker():
    points = {0: (Cell(60.0), Cell(40.0)), 2: (Cell(65.0), Cell(45.0))}
    coverages = {0: 52.4, 1: 9.0, 2: None}
    axes = accuracy.trade_off(style.PAGE, points, [], "x", "y", coverages).axes[0]
    assert [(text.get_text(), text.xy) for text in axes.texts] == [("52%", (60.0, 40.0))]


def test_severity_curves_start_at_clean_where_it_is_known():
    axes = accuracy.severity(
        style.PAGE, [([60, 50, 40, 30, 20, 10], None), None, ([5, 4, 3, 2, 1], [(0, 6)] * 5)]
    ).axes[0]
    assert [list(line.get_xdata()) for line in axes.lines] == [[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "clean",
        "1",
        "2",
        "3",
        "4",
        "5",
    ]
    assert len(axes.collections) == 1
