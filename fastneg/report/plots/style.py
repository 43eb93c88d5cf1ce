"""How the plots look: one figure serves the page's light and dark dress, by colours that are CSS variables, and files, by fixed ones."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Told apart with every common form of colour blindness, and 2.9:1 or more against the card.
LIGHT = ("#1558b0", "#d96b00", "#2a9d7c", "#b34a8f", "#5c4a1e", "#4598dd")
DARK = ("#5793f0", "#ff9440", "#35c08f", "#d97fc0", "#f0e08a", "#a5e3ff")
SERIES = len(LIGHT)
"""Colours; further entries take the same colours with other markers and dashes."""
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Style:
    ink: str
    muted: str
    line: str
    colours: tuple
    entries: tuple = ()
    """Names for a legend inside the figure; empty: the page explains the colours."""

    def colour(self, number):
        """The colour of entry `number`; None: the one of what belongs to none."""
        return self.muted if number is None else self.colours[number % SERIES]

    def settings(self):
        """Matplotlib's settings."""
        return {
            "svg.fonttype": "none",
            "text.parse_math": False,
            "font.size": 9.5,
            "text.color": self.ink,
            "axes.edgecolor": self.line,
            "axes.labelcolor": self.muted,
            "axes.titlecolor": self.ink,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": self.line,
            "grid.linewidth": 0.6,
            "xtick.color": self.line,
            "ytick.color": self.line,
            "xtick.labelcolor": self.muted,
            "ytick.labelcolor": self.muted,
            "xtick.major.size": 3,
            "ytick.major.size": 0,
            "lines.linewidth": 1.6,
            "lines.solid_capstyle": "round",
            "legend.frameon": False,
            "legend.fontsize": 8.5,
        }


# Matplotlib needs colours; these stand for the page's variables and are replaced in the finished SVG.
PAGE = Style("#01fe01", "#01fe02", "#01fe03", tuple(f"#01fe1{n}" for n in range(SERIES)))
_VARIABLES = {PAGE.ink: "--ink", PAGE.muted: "--muted", PAGE.line: "--line"} | {f"#01fe1{n}": f"--series-{n}" for n in range(SERIES)}


def paper(entries=()):
    """The style of files: the page's light colours, with a legend of the entries where there are several."""
    return Style("#1b1d22", "#5d626c", "#dfe0dc", LIGHT, tuple(entries) if len(entries) > 1 else ())


def marker(number):
    """The marker of entry `number`."""
    return MARKERS[(number + number // SERIES) % len(MARKERS)]


def dash(number):
    """The dashes of entry `number`."""
    return DASHES[number // SERIES % len(DASHES)]


def new_figure(style, width, height, columns=1, **layout):
    """A figure and its axes; width and height in inches, 72 units each in the SVG. A legend of the entries adds to the height."""
    height += 0.22 * len(style.entries)
    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, **layout)
    if style.entries:
        handles = [
            matplotlib.lines.Line2D([], [], color=style.colour(n), marker=marker(n), linestyle=dash(n), markersize=5, label=name)
            for n, name in enumerate(style.entries)
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=1, handlelength=2.2, labelspacing=0.25)
    return figure, axes


def percent_axis(axis, most=5):
    """Label an axis with per cent signs."""
    axis.set_major_locator(matplotlib.ticker.MaxNLocator(most))
    axis.set_major_formatter("{x:g}%")


def drawn(plot, style):
    """The figure of a `blocks.Plot` in a style; its title stands beside a vertical axis that has figures and no name."""
    with matplotlib.rc_context(style.settings()):
        figure = plot.draw(style)
    axes = figure.axes[0]
    named = isinstance(axes.yaxis.get_major_formatter(), matplotlib.ticker.FixedFormatter)
    if not axes.get_ylabel() and not named:
        axes.set_ylabel(plot.title)
    return figure


def inline_svg(plot):
    """A plot as an <svg> element to be put into the page: no ids that could collide, no metadata, no fixed size."""
    buffer, identity = io.StringIO(), plot.name
    with matplotlib.rc_context({**PAGE.settings(), "svg.hashsalt": identity}):
        figure = plot.draw(PAGE)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"(-?\d+\.\d{2})\d+", r"\1", text)  # a hundredth of a point is finer than any screen
    referred = set(re.findall(r"#([\w-]+)[\")]", text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: f' id="{identity}-{found[1]}"' if found[1] in referred else "", text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{identity}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"(font: [\d.]+px) [^;\"]+", r"\1 system-ui, sans-serif", text)
    box = re.search(r'viewBox="[^"]+"', text)[0]
    width = float(box.split()[2])
    head = f'<svg class="plot" role="img" aria-label="{_escaped(plot.label or plot.title)}" {box} style="max-width:{width * 1.75:.0f}px">'
    return re.sub(r"<svg[^>]*>", lambda _: head, text, count=1).strip()


def _escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
