"""What the features are like: similarities, an embedding, reliability of the confidence."""

from __future__ import annotations

from fastneg.report.plots.style import (
    DASHES,
    SERIES,
    legend_above,
    marker,
    new_figure,
    percent_axis,
    short_names,
)


def similarity(style, number, edges, histograms):
    """Distributions of the cosine of the query with each kind of key.

    Args:
        number: of the entry, whose colour the negatives get.
        edges: of the bins, rising.
        histograms: {"positive" | "queue" | "batch" | "negative: KIND": (bins,) counts}; batch:
            other images, of methods without a queue.
    """
    figure, axes = new_figure(style, 4.6, 2.4)
    negatives = [name for name in histograms if name not in ("positive", "queue", "batch")]
    for name, counts in histograms.items():
        total = sum(counts)
        if not total:
            continue
        # Shares of a width of 0.01, so that bins of any width make curves of the same height.
        heights = [count / total / (edges[i + 1] - edges[i]) for i, count in enumerate(counts)]
        colour = {"positive": style.ink, "queue": style.muted, "batch": style.muted}.get(
            name, style.colour(number)
        )
        look = DASHES[negatives.index(name) % len(DASHES)] if name in negatives else "-"
        axes.stairs(heights, edges, color=colour, linestyle=look, linewidth=1.4, label=name)
        axes.stairs(heights, edges, color=colour, fill=True, alpha=0.16)
    legend_above(axes)
    filled = [i for counts in histograms.values() for i, count in enumerate(counts) if count]
    if filled:
        axes.set_xlim(edges[min(filled)], edges[max(filled) + 1])
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.set_ylabel("density")
    axes.set_xlabel("cosine with the query")
    axes.grid(axis="y", visible=False)
    return figure


def embedding(style, points, labels, names, explained=None, by="pca"):
    """Features in the plane of their two principal components, or as UMAP lays them out.

    Args:
        points: (x, y) pairs.
        labels: the class of each.
        names: classes that get a colour and marker, in order; points of the others are grey.
        explained: percent of the variance along x and y, or None.
        by: "pca" or "umap".
    """
    shown = short_names(names, 22)
    across = 4 if max(map(len, shown), default=0) <= 12 else 2
    figure, axes = new_figure(style, 4.6, 4.0 + 0.17 * -(-len(names) // across))
    rest = [point for point, label in zip(points, labels, strict=True) if label not in names]
    if rest:
        axes.scatter(*zip(*rest, strict=True), s=7, color=style.muted, alpha=0.35, linewidth=0)
    for number, (name, label) in enumerate(zip(names, shown, strict=True)):
        own = [point for point, label in zip(points, labels, strict=True) if label == name]
        look = {
            "color": style.colour(number),
            "marker": marker(number),
            "linewidth": 0,
            "alpha": 0.85,
        }
        axes.scatter(*zip(*own, strict=True), s=13, label=label, **look)
    share = [f" ({percent:.0f}% of the variance)" for percent in explained or ()] or ["", ""]
    if by == "pca":
        axes.set_xlabel("first component" + share[0])
        axes.set_ylabel("second component" + share[1])
    else:
        axes.set_xlabel("UMAP: who is near whom; distances and axes mean nothing")
    axes.set_xticks([])
    axes.set_yticks([])
    figure.legend(
        loc="outside lower left", ncols=across, handletextpad=0.1, columnspacing=0.8, fontsize=7.5
    )
    return figure


def classes_in_colour(labels, most=2 * SERIES):
    """The classes that an embedding can colour, sorted by name.

    These are all of them, or the commonest where there are more than `most`.
    """
    common = sorted(set(labels), key=lambda name: (-labels.count(name), str(name)))
    return sorted(common[:most], key=str)


def reliability(style, series):
    """Accuracy against confidence, in bins of equal width.

    Args:
        series: for each entry [(mean confidence, accuracy, images), …] of its bins that hold
            images, both in percent.
    """
    figure, axes = new_figure(style, 4.6, 3.1)
    axes.plot([0, 100], [0, 100], color=style.muted, linewidth=1.0, linestyle="--")
    for number, bins in enumerate(series):
        if bins:
            most = max(images for *_, images in bins)
            xs, ys = [x for x, *_ in bins], [y for _, y, _ in bins]
            axes.plot(xs, ys, color=style.colour(number), linewidth=1.2)
            sizes = [8 + 40 * images / most for *_, images in bins]
            axes.scatter(
                xs,
                ys,
                s=sizes,
                color=style.colour(number),
                marker=marker(number),
                linewidth=0,
                zorder=3,
                clip_on=False,
            )
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    return figure
