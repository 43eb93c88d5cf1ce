"""The category matrix and the boxes of shape bias."""

import math

from fastneg.report.blocks import Plot
from fastneg.report.plots import bias, style
from helpers.plots import elements, ends, parsed, svg_of


def test_a_name_of_any_length_leaves_room_for_the_plot():
    names = ["an-endless-name-" * 12, "b"]
    figure = style.drawn(
        Plot("p", "t", lambda look: bias.category_boxes(look, names, [[0.1, 0.5, 0.9]] * 2)),
        style.paper(names),
    )
    assert figure.axes[0].get_position().width > 0.4
    assert min(label.get_window_extent().x0 for label in figure.axes[0].get_yticklabels()) >= 0
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1


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
