"""The report's plots as inline SVG. Colours are CSS variables of the page, so that one plot serves its light and its dark dress.

Each function takes runs as (name, values) pairs in the order of their colours and returns SVG text without references to anything outside.
"""

from __future__ import annotations

import io
import math
import re

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

SERIES = 6  # colours in the page's style sheet; further runs take the same colours with other markers and dashes
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", ":", "-.")
POINTS = 400  # a curve with more is averaged in stretches: the file stays small

# Matplotlib needs colours; these stand for the page's variables and are replaced in the finished SVG.
INK, MUTED, LINE = "#01fe01", "#01fe02", "#01fe03"
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line"} | {f"#01fe1{n}": f"--series-{n}" for n in range(SERIES)}

_STYLE = {
    "svg.fonttype": "none",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def series_colour(number):
    """The colour that stands for run `number`."""
    return f"#01fe1{number % SERIES}"


def _marker(number):
    return MARKERS[(number + number // SERIES) % len(MARKERS)]


def _dash(number):
    return DASHES[number // SERIES % len(DASHES)]


def _figure(width, height, columns=1, **layout):
    """A figure and its axes; width and height in inches, 72 units each in the SVG."""
    figure = Figure((width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.subplots(1, columns, **layout)


def _svg(figure, identity, label):
    """The figure as an <svg> element to be put into a page: no ids that could collide, no metadata, no fixed size."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": identity}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    referred = set(re.findall(r"#([\w-]+)[\")]", text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: f' id="{identity}-{found[1]}"' if found[1] in referred else "", text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{identity}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"(font: [\d.]+px) [^;\"]+", r"\1 system-ui, sans-serif", text)
    box = re.search(r'viewBox="[^"]+"', text)[0]
    width = float(box.split()[2])
    head = f'<svg class="plot" role="img" aria-label="{_escaped(label)}" {box} style="max-width:{width * 1.75:.0f}px">'
    return re.sub(r"<svg[^>]*>", lambda _: head, text, count=1).strip()


def _escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def thinned(xs, ys, limit=POINTS):
    """Points of a curve, means of equal stretches where there are more than `limit`; what is not finite is left out."""
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    size = max(1, math.ceil(len(pairs) / limit))
    groups = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    return [group[-1][0] for group in groups], [sum(y for _, y in group) / len(group) for group in groups]


def curves(identity, label, runs, quantities, *, percent=False, lowest=None):
    """Figures of training against the step.

    Args:
        runs: (name, rows) pairs, rows being dicts with `step` and figures.
        quantities: {field: its name in the legend}; the first is drawn solid, the next ones dashed and dotted.
        percent: give the vertical axis per cent signs.
        lowest: lower end of the vertical axis, or None for the data's.
    Returns:
        SVG text, or None where no run has any of these figures.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(4.3, 2.6)
        drawn = set()
        for number, (_, rows) in enumerate(runs):
            for style, field in enumerate(quantities):
                points = [(row["step"], row[field]) for row in rows if field in row]
                xs, ys = thinned(*zip(*points, strict=True)) if points else ([], [])
                if xs:
                    drawn.add(field)
                    dash = DASHES[style % len(DASHES)] if len(quantities) > 1 else _dash(number)
                    alone = {"marker": _marker(number), "markersize": 4} if len(xs) == 1 else {}
                    axes.plot(xs, ys, color=series_colour(number), linestyle=dash, **alone)
        if not drawn:
            return None
        if len(quantities) > 1:
            for style, (field, name) in enumerate(quantities.items()):
                if field in drawn:
                    axes.plot([], [], color=MUTED, linestyle=DASHES[style % len(DASHES)], label=name)
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0, handlelength=1.6, columnspacing=1.0)
        axes.set_xlabel("step")
        axes.set_xlim(left=0)
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, integer=True))
        if percent:
            axes.yaxis.set_major_formatter("{x:g}%")
        if lowest is not None:
            axes.set_ylim(bottom=lowest)
        return _svg(figure, identity, label)


def bars(identity, label, names, runs, chances):
    """Accuracy on each test set: a bar for each run, a tick at chance.

    Args:
        names: test sets, from top to bottom.
        runs: (name, {set: percent}) pairs.
        chances: {set: percent}, sets without a known chance left out.
    """
    with matplotlib.rc_context(_STYLE):
        thick = 0.78 / len(runs)
        figure, axes = _figure(4.6, 0.55 + len(names) * max(0.25, 0.1 + 0.13 * len(runs)))
        for number, (_, values) in enumerate(runs):
            for row, name in enumerate(names):
                if name not in values:
                    continue
                at = row - 0.39 + thick * (number + 0.5)
                axes.barh(at, values[name], thick * 0.9, color=series_colour(number))
                if len(runs) <= 4:
                    axes.text(values[name] + 1, at, f"{values[name]:.1f}", va="center", fontsize=8 if len(runs) < 3 else 7)
        for row, name in enumerate(names):
            if name in chances:
                axes.plot([chances[name]] * 2, [row - 0.45, row + 0.45], color=INK, linewidth=1.1, linestyle=(0, (2, 1.5)))
        axes.set_xlim(0, 109)
        axes.set_xticks(range(0, 101, 20))
        axes.xaxis.set_major_formatter("{x:g}%")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.spines["left"].set_visible(False)
        return _svg(figure, identity, label)


def category_matrix(identity, label, categories, runs):
    """Shape or texture, category by category, and how often the answer was either.

    Args:
        categories: from top to bottom.
        runs: (name, {category: {"shape": n, "texture": n, "other": n}}) pairs.
    Returns:
        SVG text: on the left a marker for each run at the share of texture decisions and a line at its share over all categories; on the
        right the coverage.
    """
    with matplotlib.rc_context(_STYLE):
        height = 0.85 + len(categories) * max(0.24, 0.12 + 0.06 * len(runs))
        figure, (left, right) = _figure(5.0, height, 2, sharey=True, width_ratios=[3, 1.15])
        for number, (_, counts) in enumerate(runs):
            colour = series_colour(number)
            offset = (number - (len(runs) - 1) / 2) * min(0.16, 0.6 / len(runs))
            decided = {name: _decisions(counts[name]) for name in categories if name in counts}
            points = [(texture / (shape + texture), row + offset) for row, name in enumerate(categories)
                      if name in decided for shape, texture, _ in [decided[name]] if shape + texture]  # fmt: skip
            if points:
                xs, ys = zip(*points, strict=True)
                left.scatter(xs, ys, s=26, color=colour, marker=_marker(number), linewidth=0, zorder=3)
            shape, texture = (sum(counts[answer] for counts in decided.values()) for answer in (0, 1))
            if shape + texture:
                left.axvline(texture / (shape + texture), color=colour, linestyle=_dash(number), linewidth=1.3)
            thick = 0.7 / len(runs)
            for row, name in enumerate(categories):
                if name in decided and sum(decided[name]):
                    share = (decided[name][0] + decided[name][1]) / sum(decided[name])
                    right.barh(row - 0.35 + thick * (number + 0.5), 100 * share, thick * 0.9, color=colour)
        for axes, limit in ((left, 1), (right, 100)):
            axes.set_xlim(-0.02 * limit, 1.02 * limit)
            axes.set_ylim(len(categories) - 0.5, -0.5)
            axes.spines["left"].set_visible(False)
        left.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
        left.set_yticks(range(len(categories)), categories)
        left.tick_params(axis="y", labelcolor=INK)
        left.set_xlabel("← shape · fraction of texture decisions · texture →")
        right.set_xticks([0, 50, 100], ["0", "50", "100%"])
        right.tick_params(axis="y", labelleft=False)
        right.set_xlabel("coverage")
        right.grid(axis="y", visible=False)
        return _svg(figure, identity, label)


def _decisions(counts):
    return counts["shape"], counts["texture"], counts["other"]


def severity(identity, label, runs):
    """Mean accuracy over corruptions against severity.

    Args:
        runs: (name, percents) pairs, five percents or six with the clean accuracy first; None for a run without.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(4.3, 2.6)
        for number, (_, values) in enumerate(runs):
            if values:
                severities = range(6 - len(values), 6)
                axes.plot(severities, values, color=series_colour(number), linestyle=_dash(number), marker=_marker(number), markersize=4.5)
        first = min(6 - len(values) for _, values in runs if values)
        axes.set_xticks(range(first, 6), ["clean", "1", "2", "3", "4", "5"][first:])
        axes.set_xlabel("severity")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter("{x:g}%")
        axes.grid(axis="x", visible=False)
        return _svg(figure, identity, label)
