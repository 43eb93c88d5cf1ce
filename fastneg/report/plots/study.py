"""The figures of a study: seeds as points, means and 95% intervals over seeds.

An arm is (number of its colour, name, {seed: row of results}).
"""

from __future__ import annotations

import statistics

import matplotlib

from fastneg.report.blocks import pretty
from fastneg.report.plots.style import dash, marker, name_rows, new_figure, percent_axis
from fastneg.study.statistics import paired


def per_seed(style, arms, outcomes):
    """One axes for each outcome: the arms side by side, the runs of a seed joined by a line.

    Args:
        arms: the plain one first.
        outcomes: names of fields, in percent.
    """
    figure, _ = new_figure(style, 5.2, 3.0, len(outcomes))
    for place, outcome in zip(figure.axes, outcomes, strict=True):
        seeds = set().union(*(rows for _, _, rows in arms))
        for seed in sorted(seeds):
            line = [
                (x, rows[seed][outcome])
                for x, (_, _, rows) in enumerate(arms)
                if rows.get(seed, {}).get(outcome) is not None
            ]
            if line:
                place.plot(*zip(*line, strict=True), color=style.muted, linewidth=0.7, alpha=0.55)
        for x, (number, _, rows) in enumerate(arms):
            values = _values(rows, outcome)
            look = {"color": style.colour(number), "marker": marker(number), "linewidth": 0}
            place.scatter([x] * len(values), values, s=22, zorder=3, **look)
            if values:
                mean = statistics.fmean(values)
                place.plot([x - 0.28, x + 0.28], [mean, mean], color=style.ink, linewidth=2)
        place.set_xticks(range(len(arms)), [pretty(name) for _, name, _ in arms], rotation=25)
        for label in place.get_xticklabels():
            label.set_horizontalalignment("right")
        place.set_xlim(-0.5, len(arms) - 0.5)
        place.set_title(pretty(outcome), fontsize=9.5)
        place.grid(axis="x", visible=False)
        percent_axis(place.yaxis)
    return figure


def trade(style, arms, across, upward):
    """Two figures of each run against each other: seeds as small marks, the mean of an arm as a
    large one with its 95% interval in both directions."""
    figure, axes = new_figure(style, 4.6, 3.3)
    for number, _, rows in arms:
        pairs = [
            (row[across], row[upward])
            for row in rows.values()
            if row.get(across) is not None and row.get(upward) is not None
        ]
        if not pairs:
            continue
        look = {"color": style.colour(number), "marker": marker(number), "linewidth": 0}
        xs, ys = zip(*pairs, strict=True)
        axes.scatter(xs, ys, s=16, alpha=0.5, **look)
        axes.scatter(statistics.fmean(xs), statistics.fmean(ys), s=70, zorder=3, **look)
        if len(pairs) > 1:
            axes.errorbar(
                statistics.fmean(xs),
                statistics.fmean(ys),
                xerr=_half(xs),
                yerr=_half(ys),
                color=style.colour(number),
                linewidth=1.2,
            )
    axes.set_xlabel(pretty(across))
    axes.set_ylabel(pretty(upward))
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    return figure


def differences(style, outcomes, series, meaningful):
    """Mean paired differences with their 95% intervals, an outcome a row.

    Args:
        outcomes: names, from top to bottom.
        series: for each comparison (number of its colour, {outcome: `Paired`}).
        meaningful: points on each side of zero that are shaded: smaller than what matters.
    """
    figure, axes = new_figure(style, 4.9, 0.9 + 0.42 * len(outcomes))
    axes.axvspan(-meaningful, meaningful, color=style.line, alpha=0.5, linewidth=0)
    axes.axvline(0, color=style.muted, linewidth=1)
    for rank, (number, found) in enumerate(series):
        offset = (rank - (len(series) - 1) / 2) * 0.28
        for row, outcome in enumerate(outcomes):
            if outcome not in found:
                continue
            each, colour = found[outcome], style.colour(number)
            axes.plot([each.low, each.high], [row + offset] * 2, color=colour, linewidth=1.6)
            axes.scatter(each.mean, row + offset, s=26, color=colour, marker=marker(number))
    name_rows(axes, [pretty(outcome) for outcome in outcomes])
    axes.set_ylim(len(outcomes) - 0.5, -0.5)
    axes.set_xlabel("percentage points")
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter("{x:+g}")
    return figure


def over_training(style, arms, fields):
    """One axes for each figure of training: the mean of an arm's seeds against the step, and a band
    from the lowest to the highest.

    Args:
        arms: their rows have `curve`: {"step": […], field: […]}.
        fields: {field: its title}.
    """
    figure, _ = new_figure(style, 5.2, 2.9, len(fields))
    for axes, (field, title) in zip(figure.axes, fields.items(), strict=True):
        for number, _, rows in arms:
            curves = [row["curve"] for row in rows.values() if row.get("curve", {}).get(field)]
            steps, low, mean, high = across_seeds(curves, field)
            if not steps:
                continue
            look = {"color": style.colour(number), "linestyle": dash(number)}
            axes.plot(steps, mean, marker=marker(number), markersize=2.5, **look)
            if len(curves) > 1:
                axes.fill_between(
                    steps, low, high, color=style.colour(number), alpha=0.18, linewidth=0
                )
        axes.set_title(title, fontsize=9.5)
        axes.set_xlabel("step")
        axes.set_xlim(left=0)
        axes.grid(axis="x", visible=False)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3, integer=True))
    return figure


def across_seeds(curves, field):
    """(steps that all curves have, lowest, mean, highest value there)."""
    found = [dict(zip(curve["step"], curve[field], strict=True)) for curve in curves]
    steps = sorted(set.intersection(*map(set, found))) if found else []
    values = [[curve[step] for curve in found] for step in steps]
    return (
        steps,
        [min(each) for each in values],
        [statistics.fmean(each) for each in values],
        [max(each) for each in values],
    )


def _values(rows, outcome):
    return [row[outcome] for row in rows.values() if row.get(outcome) is not None]


def _half(values):
    """Half the width of the 95% interval of the mean of values over seeds."""
    found = paired(values)
    return (found.high - found.low) / 2
