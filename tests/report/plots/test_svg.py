"""A plot in the page: short, its words kept, its ids its own."""

import re

from fastneg.report.blocks import Cell, Plot
from fastneg.report.plots import accuracy, features, svg
from helpers.plots import parsed, svg_of


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


def test_words_from_runs_are_no_formulas():
    svg = svg_of(accuracy.bars, ["$x_1$ & <b>"], [{"$x_1$ & <b>": Cell(1.0)}], {})
    assert "$x_1$ &amp; &lt;b&gt;" in svg
