"""Figures of many classes: a row for each class, a marker for each entry."""

from __future__ import annotations

from fastneg.report.plots.style import marker, name_rows, new_figure


def class_dots(style, classes, series):
    """Top-1 accuracy of each class.

    Args:
        classes: from top to bottom.
        series: for each entry {class: percent}.
    """
    figure, axes = new_figure(style, 4.6, 0.6 + len(classes) * max(0.21, 0.1 + 0.045 * len(series)))
    for number, values in enumerate(series):
        offset = (number - (len(series) - 1) / 2) * min(0.16, 0.6 / len(series))
        points = [
            (values[name], row + offset) for row, name in enumerate(classes) if name in values
        ]
        if points:
            axes.scatter(
                *zip(*points, strict=True),
                s=24,
                color=style.colour(number),
                marker=marker(number),
                linewidth=0,
                zorder=3,
            )
    axes.set_xlim(-2, 102)
    axes.set_xticks(range(0, 101, 20))
    axes.xaxis.set_major_formatter("{x:g}%")
    name_rows(axes, classes)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.tick_params(axis="y", labelcolor=style.ink)
    axes.spines["left"].set_visible(False)
    return figure
