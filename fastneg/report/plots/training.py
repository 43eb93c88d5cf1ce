"""Figures of training against the step."""

from __future__ import annotations

import math

import matplotlib

from fastneg.report.plots.style import DASHES, dash, legend_above, marker, new_figure, percent_axis

POINTS = 400  # a curve with more is averaged in stretches: the file stays small


def thinned(xs, ys, limit=POINTS):
    """Points of a curve, means of equal stretches where there are more than `limit`.

    What is not finite is left out.
    """
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    size = max(1, math.ceil(len(pairs) / limit))
    groups = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    return [group[-1][0] for group in groups], [
        sum(y for _, y in group) / len(group) for group in groups
    ]


def across(runs, field):
    """Curves of several runs as one: (steps, means, lowest, highest).

    They are over the steps that all of the runs have.

    Args:
        runs: for each run its rows, dicts with `step` and figures; runs without the field are left
            out.
    """
    curves = [
        {row["step"]: row[field] for row in rows if field in row and math.isfinite(row[field])}
        for rows in runs
    ]
    curves = [curve for curve in curves if curve]
    steps = sorted(set.intersection(*map(set, curves))) if curves else []
    values = [[curve[step] for curve in curves] for step in steps]
    return (
        steps,
        [sum(v) / len(v) for v in values],
        [min(v) for v in values],
        [max(v) for v in values],
    )


def curves(style, series, quantities, *, percent=False, lowest=None):
    """Curves of one or several quantities.

    Args:
        series: for each entry a list of runs, each a list of rows. Several runs: their mean, and a
            band from lowest to highest.
        quantities: {field: its name in the legend}; the first is drawn solid, the next ones dashed
            and dotted.
        percent: give the vertical axis per cent signs.
        lowest: lower end of the vertical axis, or None for the data's.
    """
    figure, axes = new_figure(style, 4.6, 2.7)
    present = set()
    for number, runs in enumerate(series):
        for rank, field in enumerate(quantities):
            steps, means, low, high = across(runs, field)
            if not steps:
                continue
            present.add(field)
            xs, ys = thinned(steps, means)
            look = DASHES[rank % len(DASHES)] if len(quantities) > 1 else dash(number)
            alone = {"marker": marker(number), "markersize": 4} if len(xs) == 1 else {}
            axes.plot(xs, ys, color=style.colour(number), linestyle=look, **alone)
            if len(runs) > 1:
                axes.fill_between(
                    xs,
                    thinned(steps, low)[1],
                    thinned(steps, high)[1],
                    color=style.colour(number),
                    alpha=0.18,
                    linewidth=0,
                )
    if len(quantities) > 1:
        for rank, (field, name) in enumerate(quantities.items()):
            if field in present:
                axes.plot(
                    [], [], color=style.muted, linestyle=DASHES[rank % len(DASHES)], label=name
                )
        legend_above(axes, handles=1.6)
    axes.set_xlabel("step")
    axes.set_xlim(left=0)
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, integer=True))
    if percent:
        percent_axis(axes.yaxis)
    if lowest is not None:
        axes.set_ylim(bottom=lowest)
    return figure
