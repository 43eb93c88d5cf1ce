"""Shape or texture: the category matrix and box plots, as readers of model-vs-human know them.

Counts are {category: {"shape": n, "texture": n, "other": n}}.
"""

from __future__ import annotations

import matplotlib.cbook

from fastneg.report.plots.style import dash, fill, marker, name_rows, new_figure

TICKS = ([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
ACROSS = "← shape · texture decisions · texture →"


def texture_share(counts):
    """Texture decisions / (shape + texture decisions) of one category.

    None where neither was ever answered.
    """
    decided = counts["shape"] + counts["texture"]
    return counts["texture"] / decided if decided else None


def category_matrix(style, categories, series):
    """Shape or texture, category by category, and how often the answer was either.

    Args:
        categories: from top to bottom.
        series: for each entry (counts, share): the counts of its categories, and its fraction of
            texture decisions over all of them, or None: the line.
    """
    height = 0.85 + len(categories) * max(0.24, 0.12 + 0.06 * len(series))
    figure, (left, right) = new_figure(style, 4.8, height, 2, sharey=True, width_ratios=[3, 1.15])
    figure.get_layout_engine().set(wspace=0.06)
    for number, (counts, share) in enumerate(series):
        colour = style.colour(number)
        offset = (number - (len(series) - 1) / 2) * min(0.16, 0.6 / len(series))
        points = [
            (texture_share(counts[name]), row + offset)
            for row, name in enumerate(categories)
            if name in counts
        ]
        points = [point for point in points if point[0] is not None]
        if points:
            left.scatter(
                *zip(*points, strict=True),
                s=26,
                color=colour,
                marker=marker(number),
                linewidth=0,
                zorder=3,
            )
        if share is not None:
            left.axvline(share, color=colour, linestyle=dash(number), linewidth=1.3)
        thick = 0.7 / len(series)
        for row, name in enumerate(categories):
            images = sum(counts[name].values()) if name in counts else 0
            if images:
                covered = 100 * (counts[name]["shape"] + counts[name]["texture"]) / images
                right.barh(
                    row - 0.35 + thick * (number + 0.5), covered, thick * 0.9, **fill(style, number)
                )
    for axes, limit in ((left, 1), (right, 100)):
        axes.set_xlim(-0.02 * limit, 1.02 * limit)
        axes.set_ylim(len(categories) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
    left.set_xticks(*TICKS)
    name_rows(left, categories)
    left.tick_params(axis="y", labelcolor=style.ink)
    left.set_xlabel(ACROSS)
    right.set_xticks([0, 50, 100], ["0%", "50%", "100%"])
    right.tick_params(axis="y", labelleft=False)
    right.set_xlabel("coverage")
    right.grid(axis="y", visible=False)
    return figure


def category_boxes(style, names, series):
    """A box for each entry: the spread of its categories' fractions of texture decisions.

    It shows the median and quartiles, with whiskers at 1.5 of the box.

    Args:
        names: of the entries, from top to bottom.
        series: for each entry its categories' fractions.
    """
    figure, axes = new_figure(style, 4.8, 0.75 + 0.42 * len(names))
    for number, shares in enumerate(series):
        if not shares:
            continue
        colour = style.colour(number)
        found = matplotlib.cbook.boxplot_stats(shares)[0]
        axes.barh(
            number,
            found["q3"] - found["q1"],
            0.5,
            left=found["q1"],
            facecolor="none",
            edgecolor=colour,
            linewidth=1.3,
        )
        axes.plot(
            [found["med"]] * 2,
            [number - 0.25, number + 0.25],
            color=colour,
            linewidth=2.6,
            solid_capstyle="butt",
        )
        for quartile, end in ((found["q1"], found["whislo"]), (found["q3"], found["whishi"])):
            axes.plot(
                [quartile, end, end, end],
                [number, number, number - 0.13, number + 0.13],
                color=colour,
                linewidth=1.3,
            )
        axes.plot(
            found["fliers"],
            [number] * len(found["fliers"]),
            color=colour,
            marker=marker(number),
            markersize=4,
            linestyle="",
        )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xticks(*TICKS)
    name_rows(axes, names)
    axes.tick_params(axis="y", labelcolor=style.ink)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(ACROSS)
    return figure
