"""The section on features: distributions of similarities, and an embedding in two dimensions."""

from __future__ import annotations

from functools import partial

from fastneg.counts import counted
from fastneg.report.blocks import Fold, Plot, Row, Section, Table, file_stem, folds_last, pretty
from fastneg.report.entries import entry_columns, mean_of, sets_of
from fastneg.report.plots.features import classes_in_colour, embedding, similarity
from fastneg.runs.results import is_number, similarity_histograms

PICTURES = {
    "pca": "by the two principal components of their features",
    "umap": "as UMAP lays them out by their neighbours among the features",
}
OPEN = 4
"""Entries of which the plots are shown at once; those of further ones are folded."""
SETS = 3
"""Sets whose embeddings are shown, the first one at once.

Each is a plot of hundreds of points for each entry.
"""


def section(entries):
    """Histograms and embeddings, a plot for each entry; None where no run has any.

    A plot is of the entry's first run that has one.
    """
    blocks = [
        block
        for test_set in sets_of(entries, "similarity")
        for block in _similarities(entries, test_set)
    ]
    first, *others = [
        _embeddings(entries, test_set) for test_set in sets_of(entries, "embedding")[:SETS]
    ] or [[]]
    blocks += [
        *_folded(first, "Embeddings"),
        *(Fold(plots[0].title.split(":")[0], tuple(plots)) for plots in others),
    ]
    caption = (
        "The similarity of a query to its positive, to the queue and to its non-semantic "
        "negatives, and a map of the classes."
    )
    if any(len(entry.runs) > 1 for entry in entries):
        caption += " Plots show the first seed."
    left = len(sets_of(entries, "embedding")) - SETS
    caption += f" Embeddings of {left} further sets are not shown." if left > 0 else ""
    return Section("features", "Features", folds_last(blocks), caption) if blocks else None


def _folded(plots, what):
    return [
        *plots[:OPEN],
        *(
            [Fold(f"{what} of {len(plots) - OPEN} more", tuple(plots[OPEN:]))]
            if len(plots) > OPEN
            else []
        ),
    ]


def _title(entries, entry, words):
    return f"{words}: {entry.name}" if len(entries) > 1 else words


def _similarities(entries, test_set):
    stem, plots = file_stem("similarity", test_set), []
    for number, entry in enumerate(entries):
        for row in entry.rows("similarity", test_set)[:1]:
            draw = partial(
                similarity, number=number, edges=row["edges"], histograms=similarity_histograms(row)
            )
            title = _title(entries, entry, f"Similarities, {pretty(test_set)}")
            label = f"{title}: histograms of the cosine with the query"
            plots.append(
                Plot(file_stem(stem, number, entry.name), title, draw, label=label, legend=False)
            )
    return [*_folded(plots, "Similarities"), *_mean_table(entries, test_set, stem)]


def _flat(means):
    """{name: number} of a line's means, those of the kinds of negatives beside the others."""
    found = {}
    for name, value in means.items() if isinstance(means, dict) else ():
        found |= (
            {f"{name}: {kind}": number for kind, number in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return {pretty(str(name)): value for name, value in found.items() if is_number(value)}


def _mean_table(entries, test_set, stem):
    means = [
        [_flat(row.get("means")) for row in entry.rows("similarity", test_set)] for entry in entries
    ]
    names = dict.fromkeys(name for runs in means for found in runs for name in found)
    rows = tuple(
        Row(
            name,
            tuple(
                mean_of(e, [found[name] for found in runs if name in found])
                for e, runs in zip(entries, means, strict=True)
            ),
        )
        for name in names
    )
    return (
        [
            Table(
                stem,
                f"Mean similarities, {pretty(test_set)}",
                "cosine",
                entry_columns(entries),
                rows,
                digits=3,
            )
        ]
        if rows
        else []
    )


def _embeddings(entries, test_set):
    plots = []
    for number, entry in enumerate(entries):
        for row in entry.rows("embedding", test_set)[:1]:
            labels = [str(label) for label in row["labels"]]
            names = classes_in_colour(labels)
            explained = row.get("explained")
            shares = (
                explained
                if isinstance(explained, list)
                and len(explained) == 2
                and all(map(is_number, explained))
                else None
            )
            by = "umap" if row.get("by") == "umap" else "pca"
            drawn = {"points": row["points"], "labels": labels, "names": names}
            draw = partial(embedding, **drawn, explained=shares, by=by)
            title = _title(entries, entry, f"Embedding, {pretty(test_set)}")
            known = len(set(labels))
            caption = f"{counted(len(labels), 'image')} {PICTURES[by]}."
            caption += (
                f" The {len(names)} commonest of {counted(known, 'class')} in colour."
                if known > len(names)
                else ""
            )
            plots.append(
                Plot(
                    file_stem("embedding", test_set, number, entry.name),
                    title,
                    draw,
                    caption,
                    legend=False,
                )
            )
    return plots
