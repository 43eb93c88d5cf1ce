"""Accuracies: bars for test sets, dots for classes, severity curves, figures against alpha or each
other."""

from __future__ import annotations

import matplotlib

from fastneg.report.plots.style import dash, fill, marker, name_rows, new_figure, percent_axis

ERROR = {"elinewidth": 1.0, "capsize": 2.0, "capthick": 1.0}


def spread(cell):
    """(low, high) of a `blocks.Cell`; None where it has no spread.

    It is mean ± standard deviation, or the 95% interval.
    """
    return (cell.value - cell.std, cell.value + cell.std) if cell.std is not None else cell.interval


def _error(cell):
    """The lengths that matplotlib wants for one error bar, or None."""
    limits = spread(cell)
    return (
        None
        if limits is None
        else [[max(0.0, cell.value - limits[0])], [max(0.0, limits[1] - cell.value)]]
    )


def _at_least(axis, span=4.0):
    """Widen an axis of percents that spans less: a tenth of a point shall not look like a gulf."""
    low, high = axis.get_view_interval()
    if high - low < span:
        axis.set_view_interval((low + high - span) / 2, (low + high + span) / 2, ignore=True)


def bars(style, names, series, chances):
    """Accuracy on each test set: a bar for each entry, a tick at chance.

    Args:
        names: test sets, from top to bottom.
        series: for each entry {set: Cell}.
        chances: {set: percent}, sets without a known chance left out.
    """
    thick = 0.78 / len(series)
    figure, axes = new_figure(style, 4.6, 0.55 + len(names) * max(0.25, 0.1 + 0.13 * len(series)))
    for number, values in enumerate(series):
        for row, name in enumerate(names):
            cell = values.get(name)
            if cell is None or cell.value is None:
                continue
            at = row - 0.39 + thick * (number + 0.5)
            axes.barh(at, cell.value, thick * 0.9, **fill(style, number))
            end, error = cell.value, _error(cell)
            if error is not None:
                axes.errorbar(
                    cell.value, at, xerr=error, color=style.ink, fmt="none", elinewidth=0.8
                )
                end += error[1][0]
            if len(series) <= 4:
                axes.text(
                    end + 1,
                    at,
                    f"{cell.value:.1f}",
                    va="center",
                    fontsize=8 if len(series) < 3 else 7,
                )
    for row, name in enumerate(names):
        if name in chances:
            axes.plot(
                [chances[name]] * 2,
                [row - 0.45, row + 0.45],
                color=style.ink,
                linewidth=1.1,
                linestyle=(0, (2, 1.5)),
            )
    axes.set_xlim(0, 109)
    axes.set_xticks(range(0, 101, 20))
    axes.xaxis.set_major_formatter("{x:g}%")
    name_rows(axes, names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", labelcolor=style.ink)
    axes.spines["left"].set_visible(False)
    return figure


def severity(style, series, small=False):
    """Accuracy against severity.

    Args:
        series: for each entry (percents, bands): five percents, or six with the clean accuracy
            first, and (low, high) for each or None; None for an entry without.
    """
    figure, axes = new_figure(style, *((2.3, 1.75) if small else (4.6, 2.7)))
    first = min(6 - len(line[0]) for line in series if line)
    for number, line in enumerate(series):
        if not line:
            continue
        values, bands = line
        places = range(6 - len(values), 6)
        axes.plot(
            places,
            values,
            color=style.colour(number),
            linestyle=dash(number),
            marker=marker(number),
            markersize=3 if small else 4.5,
        )
        if bands:
            axes.fill_between(
                places,
                *zip(*bands, strict=True),
                color=style.colour(number),
                alpha=0.18,
                linewidth=0,
            )
    axes.set_xticks(range(first, 6), ["clean", "1", "2", "3", "4", "5"][first:])
    axes.set_xlabel("severity")
    axes.set_ylim(bottom=0)
    percent_axis(axes.yaxis, 4 if small else 5)
    axes.grid(axis="x", visible=False)
    return figure


def against_alpha(style, families, baselines):
    """One figure against alpha.

    Args:
        families: lists of (series, alpha, Cell), in the order of alpha: points of a list are
            joined.
        baselines: (series, Cell) of entries without non-semantic negatives, drawn as horizontal
            lines.
    """
    figure, axes = new_figure(style, 2.9, 2.1)
    for points in families:
        axes.plot(
            [alpha for _, alpha, _ in points],
            [cell.value for *_, cell in points],
            color=style.muted,
            linewidth=1.0,
            zorder=1,
        )
        for number, alpha, cell in points:
            look = {"color": style.colour(number), "marker": marker(number), "markersize": 6}
            axes.errorbar(alpha, cell.value, yerr=_error(cell), **look, **ERROR)
    for number, cell in baselines:
        axes.axhline(cell.value, color=style.colour(number), linestyle="--", linewidth=1.3)
        limits = spread(cell)
        if limits:
            axes.axhspan(*limits, color=style.colour(number), alpha=0.12, linewidth=0)
    alphas = sorted({alpha for points in families for _, alpha, _ in points})
    axes.set_xlabel("alpha")
    axes.xaxis.set_major_locator(
        matplotlib.ticker.FixedLocator(alphas)
        if len(alphas) <= 6
        else matplotlib.ticker.MaxNLocator(6)
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.12, y=0.18)
    _at_least(axes.yaxis)
    percent_axis(axes.yaxis)
    axes.grid(axis="x", visible=False)
    return figure


def _rises(joined):
    """Whether a line through (Cell across, Cell up) goes upwards to the right."""
    (x, y), (other_x, other_y) = joined[0], joined[-1]
    return (other_x.value - x.value) * (other_y.value - y.value) > 0


def trade_off(style, points, families, across, up, coverages=None):
    """One figure against another: a marker with error bars for each entry.

    Args:
        points: {series: (Cell across, Cell up)}.
        families: lists of series, in the order of alpha: their points are joined.
        across, up: names of the axes.
        coverages: {series: percent of the answers that the second figure is of, or None}: stands
            beside the marker.
    """
    figure, axes = new_figure(style, 4.6, 3.0)
    rising = set()
    for members in families:
        joined = [points[number] for number in members if number in points]
        if joined and _rises(joined):
            rising.update(members)
        axes.plot(
            [x.value for x, _ in joined],
            [y.value for _, y in joined],
            color=style.muted,
            linewidth=1.0,
            zorder=1,
        )
    for number, (x, y) in points.items():
        look = {"color": style.colour(number), "marker": marker(number), "markersize": 7}
        covered = (coverages or {}).get(number)
        axes.errorbar(x.value, y.value, xerr=_error(x), yerr=_error(y), **look, **ERROR)
        if covered is not None:
            # beside the line, not on it
            place = (7, -11) if number in rising else (7, 5)
            beside = {"xytext": place, "textcoords": "offset points", "fontsize": 7.5}
            axes.annotate(f"{covered:.0f}%", (x.value, y.value), color=style.muted, **beside)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.margins(0.1)
    _at_least(axes.xaxis)
    _at_least(axes.yaxis)
    percent_axis(axes.xaxis, 6)
    percent_axis(axes.yaxis, 6)
    return figure


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
