"""A plot as an element of the page, in as few bytes as it takes.

Its colours follow the page's dress, and its font is the page's.
"""

from __future__ import annotations

import html
import io
import re
import warnings
import zlib

import matplotlib

from fastneg.report.plots.style import PAGE, SERIES, drawn

_VARIABLES = {PAGE.ink: "--ink", PAGE.muted: "--muted", PAGE.line: "--line"} | {
    PAGE.colours[n]: f"--series-{n}" for n in range(SERIES)
}
_MARK = re.compile(
    r'<use xlink:href="(#[\w-]+)" x="(-?[\d.]+)" y="(-?[\d.]+)" style="([^"]*)"/>\n?'
)
_MARKS = re.compile(
    r'(?:<use xlink:href="#[\w-]+" x="-?[\d.]+" y="-?[\d.]+" style="[^"]*"/>\n?){2,}'
)


def natural_size(plot):
    """(width, height) in inches that a plot asks for."""
    with matplotlib.rc_context(PAGE.settings()):
        return tuple(plot.draw(PAGE).get_size_inches())


def inline_svg(plot, size=None):
    """A plot as an <svg> element to be put into the page.

    It has no ids that could collide, no metadata and no fixed size.

    Args:
        size: width and height in inches, where it is not to have those that it asks for.
    """
    buffer, nothing = io.StringIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure = drawn(plot, PAGE, size=size)
    with (
        matplotlib.rc_context({**PAGE.settings(), "svg.hashsalt": plot.name}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = _compact(text[text.index("<svg") :])
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = _own_ids(text, f"p{zlib.crc32(f'{plot.name} {size}'.encode()):x}")
    box = re.search(r'viewBox="[^"]+"', text)[0]
    label, width = html.escape(plot.label or plot.title), float(box.split()[2])
    head = (
        f'<svg class="plot" role="img" aria-label="{label}" {box} '
        f'style="max-width:{width * 1.75:.0f}px">'
    )
    return re.sub(r"<svg[^>]*>", lambda _: head, text, count=1).strip()


def _compact(text):
    """An SVG of matplotlib's without what the page does not need."""
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # style.css says it once
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", _short_tag, text)  # tags alone: a text such as lr0.125 stays as it is
    text = re.sub(r" *\n *", "\n", text)
    # backgrounds, which are transparent
    text = re.sub(r'<path d="[^"]*" style="fill: none"/>\n', "", text)
    return _MARKS.sub(_shared_style, text)


def _short_tag(found):
    tag = re.sub(r' font-family: [^;"]+;?', "", found[0])  # the page's own font
    # a hundredth of a point is finer than any screen
    tag = re.sub(r"(-?\d+\.\d{2})\d+", r"\1", tag)
    return re.sub(r"\.(\d*?)0+(?!\d)", lambda digits: f".{digits[1]}" if digits[1] else "", tag)


def _shared_style(found):
    """Neighbouring markers that look alike, with their style said once."""
    alike = []
    for reference, x, y, style in _MARK.findall(found[0]):
        if not alike or alike[-1][0] != style:
            alike.append((style, []))
        alike[-1][1].append(f'<use xlink:href="{reference}" x="{x}" y="{y}"/>')
    return "".join(f'<g style="{style}">{"".join(marks)}</g>\n' for style, marks in alike)


def _own_ids(text, identity):
    """Short ids that no other plot of the page has, and none for what nothing refers to."""
    names = dict.fromkeys(re.findall(r'(?:url\(|href=")#([\w-]+)', text))
    short = {name: f"{identity}-{number}" for number, name in enumerate(names)}
    text = re.sub(
        r' id="([\w.-]+)"',
        lambda found: f' id="{short[found[1]]}"' if found[1] in short else "",
        text,
    )
    return re.sub(
        r'(url\(|(?:xlink:)?href=")#([\w-]+)',
        lambda found: f"{found[1].removeprefix('xlink:')}#{short[found[2]]}",
        text,
    )
