"""How the plots look.

One figure serves the page's light and dark dress, by colours that are CSS variables, and files, by
fixed ones.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass

import matplotlib
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fastneg.report.blocks import common_start

# Told apart with every common form of colour blindness, and 2.9:1 or more against the card.
LIGHT = ("#1558b0", "#d96b00", "#2a9d7c", "#b34a8f", "#5c4a1e", "#4598dd")
DARK = ("#5793f0", "#ff9440", "#35c08f", "#d97fc0", "#f0e08a", "#a5e3ff")
SERIES = len(LIGHT)
"""Colours; further entries take the same colours with other markers and dashes."""
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", ":", "-.")
LONGEST = 28
"""Letters of a name in a figure; longer ones lose their middle."""
# Matplotlib's own font knows no Chinese, Japanese or Korean; it takes missing letters from the
# first of these that has them.
FALLBACK_FONTS = (
    *(
        "Noto Sans CJK SC",
        "Noto Sans CJK JP",
        "Noto Sans SC",
        "Source Han Sans SC",
        "WenQuanYi Zen Hei",
        "Droid Sans Fallback",
    ),
    *(
        "PingFang SC",
        "Hiragino Sans",
        "Apple SD Gothic Neo",
        "Microsoft YaHei",
        "Yu Gothic",
        "Malgun Gothic",
        "Arial Unicode MS",
    ),
)


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
            "font.family": fonts(),
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


@functools.cache
def fonts():
    """Families that are installed, in the order in which a letter is looked for."""
    known = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in known)]


# Matplotlib needs colours; these stand for the page's variables and are replaced in the finished
# SVG.
PAGE = Style("#01fe01", "#01fe02", "#01fe03", tuple(f"#01fe1{n}" for n in range(SERIES)))


def paper(entries=()):
    """The style of files: the page's light colours, with a legend of several entries."""
    return Style("#1b1d22", "#5d626c", "#dfe0dc", LIGHT, tuple(entries) if len(entries) > 1 else ())


def marker(number):
    """The marker of entry `number`."""
    return MARKERS[(number + number // SERIES) % len(MARKERS)]


def dash(number):
    """The dashes of entry `number`."""
    return DASHES[number // SERIES % len(DASHES)]


def fill(style, number):
    """How the bars of entry `number` are filled.

    Those that share their colour with an earlier one are pale, within a line of it.
    """
    colour, again = style.colour(number), number // SERIES
    return {
        "facecolor": (colour, (1.0, 0.4, 0.12)[min(again, 2)]),
        "edgecolor": colour,
        "linewidth": 0.8 if again else 0,
    }


def new_figure(style, width, height, columns=1, **layout):
    """A figure and its axes; width and height in inches, 72 units each in the SVG.

    A legend of the entries adds to the height.
    """
    height += 0.22 * len(style.entries)
    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, **layout)
    if style.entries:
        handles = [
            matplotlib.lines.Line2D(
                [],
                [],
                color=style.colour(n),
                marker=marker(n),
                linestyle=dash(n),
                markersize=5,
                label=name,
            )
            for n, name in enumerate(short_names(style.entries, most=int(9 * width)))
        ]
        figure.legend(
            handles=handles, loc="outside upper left", ncols=1, handlelength=2.2, labelspacing=0.25
        )
    return figure, axes


def legend_above(axes, handles=1.4):
    """A legend above the axes, three names a line; handles: their length in letters."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        borderaxespad=0,
        handlelength=handles,
        columnspacing=1.0,
    )


def percent_axis(axis, most=5):
    """Label an axis with per cent signs."""
    axis.set_major_locator(matplotlib.ticker.MaxNLocator(most))
    axis.set_major_formatter("{x:g}%")


def name_rows(axes, names):
    """Label the rows of a vertical axis, from 0 on, with names."""
    axes.set_yticks(range(len(names)), short_names(names))


def short_names(names, most=LONGEST):
    """Names of at most so many letters.

    The middle of longer ones is left out, or their start where the middle is what differs.
    """
    names = list(map(str, names))
    found = [_shortened(name, most) for name in names]
    alike = {
        short: {name for name, other in zip(names, found, strict=True) if other == short}
        for short in found
    }
    pairs = zip(names, found, strict=True)
    return [
        _around_difference(name, sorted(alike[short]), most) if len(alike[short]) > 1 else short
        for name, short in pairs
    ]


def _shortened(name, most):
    return name if len(name) <= most else f"{name[: (most - 1) // 2]}…{name[-(most // 2) :]}"


def _around_difference(name, names, most):
    place = max(0, len(common_start(names)) - 6)
    piece = name[place : place + most - 2]
    return "…" * (place > 0) + piece + "…" * (place + len(piece) < len(name))


def drawn(plot, style, named=False, size=None):
    """The figure of a `blocks.Plot` in a style, laid out.

    Args:
        named: whether its title stands beside a vertical axis that has figures and no name, where
            no heading is above it nor above the axes.
        size: width and height in inches; None: as the plot asks for.
    """
    with matplotlib.rc_context(style.settings()), warnings.catch_warnings():
        # the page has fonts of its own; exports tell of it once
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = plot.draw(style)
        if size is not None:
            figure.set_size_inches(size)
        axes = figure.axes[0]
        if (
            named
            and not axes.get_ylabel()
            and not axes.get_title()
            and not isinstance(axes.yaxis.get_major_locator(), matplotlib.ticker.FixedLocator)
        ):
            axes.set_ylabel(plot.title)
        # Saving would lay it out, and draw it for that, once more for each format.
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine(None)
    return figure
