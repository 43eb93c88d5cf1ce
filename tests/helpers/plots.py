"""Plots as a page shows them, and their elements read back from the SVG."""

import re
import xml.etree.ElementTree as ElementTree

from fastneg.report.blocks import Plot
from fastneg.report.plots import svg


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
