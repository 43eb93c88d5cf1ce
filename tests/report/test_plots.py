"""Plots: coordinates read back from the SVG (fastneg.report.plots.style, fastneg.report.plots.svg,
fastneg.report.plots.accuracy, fastneg.report.plots.bias, fastneg.report.plots.training,
fastneg.report.plots.features, fastneg.report.plots.classes)."""

import itertools
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from fastneg.report.blocks import Cell, Plot
from fastneg.report.plots import accuracy, bias, classes, features, style, svg, training
from fastneg.report.sections import corruptions


def svg_of(function, *args, **values):
    return svg.inline_svg(Plot("p", "label", lambda look: function(look, *args, **values)))


def parsed(svg):
    return ElementTree.fromstring(svg.replace("xlink:href", "href"))


def elements(svg, wanted):
    return [element for element in parsed(svg).iter() if wanted in element.get("style", "")]


def ends(element):
    """Lowest and highest x of a path."""
    xs = [float(x) for x in re.findall(r"[ML] (-?[\d.]+) ", element.get("d"))]
    return min(xs), max(xs)


def test_plots_take_all_colours_from_the_page():
    series = [{"a": Cell(10.0 * n, interval=(9.0 * n, 11.0 * n))} for n in range(8)]
    svg = svg_of(accuracy.bars, ["a"], series, {"a": 50.0})
    used = {
        color
        for element in parsed(svg).iter()
        for color in re.findall(r"(?:fill|stroke): ([^;]+)", element.get("style", ""))
    }
    assert used <= {
        "none",
        "var(--ink)",
        "var(--muted)",
        "var(--line)",
        *(f"var(--series-{n})" for n in range(style.SERIES)),
    }
    assert {f"var(--series-{n})" for n in range(style.SERIES)} <= used
    assert "http" not in svg and "<metadata" not in svg and 'aria-label="label"' in svg


def test_a_plot_is_short_and_its_words_stay_as_they_are():
    names = ["lr0.03125_momentum0.990", "3.14159000"]
    figure = {name: Cell(50.0) for name in names}
    svg = svg_of(accuracy.bars, names, [figure], {})
    assert {"lr0.03125_momentum0.990", "3.14159000", "50.0"} <= {
        element.text for element in parsed(svg).iter("text")
    }
    assert "font-family" not in svg and "<style" not in svg
    assert not re.search(r'[ "]-?\d+\.\d{3}|\d\.\d*0[ "]', re.sub(">[^<]*<", "><", svg))
    points = [[i / 7, i / 3] for i in range(600)]
    svg = svg_of(features.embedding, points, ["a", "b"] * 300, ["a", "b"])
    assert len(list(parsed(svg).iter("use"))) >= 600 and len(svg) < 36_000


def test_ids_of_two_plots_differ_and_all_references_are_kept():
    series = {"series": [([50, 40, 30, 20, 10], None)]}
    found = [
        svg.inline_svg(Plot(name, "t", lambda look: accuracy.severity(look, **series)))
        for name in ("one", "two")
    ]
    ids = [{element.get("id") for element in parsed(text).iter()} - {None} for text in found]
    assert ids[0] and ids[1] and not ids[0] & ids[1]
    for text, own in zip(found, ids, strict=True):
        assert set(re.findall(r'(?:url\(|href=")#([\w-]+)', text)) == own


def test_long_names_lose_what_tells_least():
    assert style.short_names(["short", "x" * 28]) == ["short", "x" * 28]
    (only,) = style.short_names(["moco_patch_resnet50_in100_200epochs_lr0.03_alpha2"])
    assert only.startswith("moco_patch_re") and only.endswith("lr0.03_alpha2") and len(only) == 28
    middle = [f"moco_patch_resnet50_in100_alpha{n}_200epochs_lr0.03_warmup_10" for n in (2, 3)]
    assert ["alpha2" in name or "alpha3" in name for name in style.short_names(middle)] == [
        True,
        True,
    ]
    assert (
        len(set(style.short_names(middle))) == 2 and max(map(len, style.short_names(middle))) <= 28
    )
    assert style.short_names(["y" * 40] * 2) == [style.short_names(["y" * 40])[0]] * 2


def test_a_name_of_any_length_leaves_room_for_the_plot():
    names = ["an-endless-name-" * 12, "b"]
    figure = style.drawn(
        Plot("p", "t", lambda look: bias.category_boxes(look, names, [[0.1, 0.5, 0.9]] * 2)),
        style.paper(names),
    )
    assert figure.axes[0].get_position().width > 0.4
    assert min(label.get_window_extent().x0 for label in figure.axes[0].get_yticklabels()) >= 0
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1


def linear(colour):
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* of linear sRGB, D65."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    scaled = to_xyz @ np.clip(rgb, 0, 1) / (0.9505, 1.0, 1.089)
    x, y, z = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


SIGHT = {  # Machado, Oliveira, Fernandes 2009, severity 1
    "usual": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("palette", [style.LIGHT, style.DARK])
def test_colours_are_told_apart_by_everyone(sight, palette):
    seen = [lab(np.asarray(SIGHT[sight]) @ linear(colour)) for colour in palette]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 10


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


def test_category_matrix_puts_markers_and_the_mean_line_at_texture_over_decisions():
    decisions = {"a": (3, 1, 4), "b": (0, 4, 0), "c": (0, 0, 9)}
    counts = {
        name: dict(zip(("shape", "texture", "other"), values, strict=True))
        for name, values in decisions.items()
    }
    svg = svg_of(bias.category_matrix, ["a", "b", "c"], [(counts, 5 / 8)])
    markers = [
        float(use.get("x"))
        for group in elements(svg, "fill: var(--series-0)")
        for use in group.iter("use")
    ]
    assert len(markers) == 2  # c was never decided
    line = next(
        e for e in elements(svg, "stroke: var(--series-0)") if e.tag == "path" and "d" in e.attrib
    )
    assert math.isclose(
        (ends(line)[0] - markers[0]) / (markers[1] - markers[0]),
        (5 / 8 - 1 / 4) / (1 - 1 / 4),
        rel_tol=1e-2,
    )
    filled = [
        e
        for e in parsed(svg).iter()
        if e.get("style", "").startswith("fill: var(--series-0)") and "d" in e.attrib
    ]
    spans = [high - low for low, high in map(ends, filled)]
    # coverage 1/2, 1 and 0
    assert math.isclose(spans[-2] / spans[-3], 2, rel_tol=1e-2) and spans[-1] < 1e-6


def test_boxes_stand_at_the_quartiles_and_the_median():
    shares = [0.0, 0.25, 0.5, 0.75, 1.0]
    axes = bias.category_boxes(style.PAGE, ["run"], [shares]).axes[0]
    (box,) = axes.patches
    median, low, high, outside = axes.lines
    assert (box.get_x(), box.get_width()) == (0.25, 0.5) and set(median.get_xdata()) == {0.5}
    assert (
        low.get_xdata()[-1] == 0.0 and high.get_xdata()[-1] == 1.0 and len(outside.get_xdata()) == 0
    )
    *_, outside = (
        bias.category_boxes(style.PAGE, ["run"], [[0.4, 0.5, 0.5, 0.6, 1.0]]).axes[0].lines
    )
    assert list(outside.get_xdata()) == [1.0]


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


def test_the_mean_curve_is_over_the_published_corruptions():
    row = {"by_corruption": {"fog": [5, 4, 3, 2, 1], "snow": [7, 6, 5, 4, 3], "spatter": [90] * 5}}
    assert corruptions.averaged({**row, "of_the_15": ["fog", "snow"]}) == [6, 5, 4, 3, 2]
    assert corruptions.averaged(row) == [34, 100 / 3, 98 / 3, 32, 94 / 3]


def test_histograms_are_densities_over_bins_of_any_width():
    axes = features.similarity(
        style.PAGE, 0, [0.0, 0.5, 1.0, 1.1], {"positive": [1, 1, 2], "queue": [0, 0, 0]}
    ).axes[0]
    heights = axes.patches[0].get_data().values
    assert np.allclose(heights, [0.5, 0.5, 5.0]) and math.isclose(
        float(np.sum(heights * [0.5, 0.5, 0.1])), 1.0
    )
    assert len(axes.patches) == 2  # outline and filling of the one that has counts


def test_an_embedding_colours_the_commonest_classes():
    labels = ["rare", *["b"] * 3, *["a"] * 2]
    assert features.classes_in_colour(labels, most=2) == ["a", "b"]
    figure = features.embedding(
        style.PAGE, [[i, -i] for i in range(6)], labels, ["a", "b"], [41.0, 13.0]
    )
    grey, first, second = figure.axes[0].collections
    assert [len(c.get_offsets()) for c in (grey, first, second)] == [1, 2, 3]
    assert "41% of the variance" in figure.axes[0].get_xlabel()


def test_reliability_and_class_dots_stand_where_their_figures_are():
    axes = features.reliability(style.PAGE, [[(20.0, 10.0, 5), (90.0, 80.0, 50)]]).axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[20.0, 10.0], [90.0, 80.0]]
    axes = classes.class_dots(style.PAGE, ["cat", "dog"], [{"dog": 30.0}]).axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[30.0, 1.0]]


def test_words_from_runs_are_no_formulas():
    svg = svg_of(accuracy.bars, ["$x_1$ & <b>"], [{"$x_1$ & <b>": Cell(1.0)}], {})
    assert "$x_1$ &amp; &lt;b&gt;" in svg
