"""The sections on training: curves, and what the network saw."""

from __future__ import annotations

from functools import partial

from fastneg.report.blocks import Fold, Picture, Pictures, Plot, Section
from fastneg.report.plots.training import curves

RANKS = {"acc1": "top-1", "acc5": "top-5"}
SIMILARITIES = {
    "positive_similarity": "positive",
    "negative_similarity": "non-semantic negative",
    "queue_similarity": "queue",
}
WANTED = (  # title, caption, quantities, options
    (
        "Loss",
        "The mean since the line before. Losses of different methods are not comparable.",
        {"loss": ""},
        {},
    ),
    (
        "Contrast accuracy",
        "How often the positive beats all other keys, negatives included.",
        RANKS,
        {"percent": True, "lowest": 0},
    ),
    ("Similarities", "Mean cosine of the query and each kind of key.", SIMILARITIES, {}),
    ("Throughput", "Images a second, all processes together.", {"images_per_s": ""}, {"lowest": 0}),
)
OPEN = 2
"""Entries of which the images are shown at once; those of further ones are folded."""


def section(entries):
    """Curves of training, or None where no run has a line of it."""
    series, blocks = (
        [[_in_percent(run.rows) for run in entry.runs if run.rows] for entry in entries],
        [],
    )
    for title, caption, quantities, options in WANTED:
        if any(
            field in row for runs in series for rows in runs for row in rows for field in quantities
        ):
            draw = partial(curves, series=series, quantities=quantities, **options)
            blocks.append(Plot("training-" + title.lower().replace(" ", "-"), title, draw, caption))
    caption = (
        "Lines: the mean over seeds; bands: from the lowest to the highest."
        if any(len(runs) > 1 for runs in series)
        else ""
    )
    return Section("training", "Training", tuple(blocks), caption) if blocks else None


def _in_percent(rows):
    """The rows with accuracies in percent, which are shares in the log."""
    return [
        {name: 100 * value if name in RANKS else value for name, value in row.items()}
        for row in rows
    ]


def gallery(entries):
    """Images of the first batch with their views and negatives; None where no run has some.

    They are of the first run of each entry that has some.
    """
    blocks = []
    for entry in entries:
        for run in [run for run in entry.runs if run.gallery][:1]:
            shown = run.gallery if len(entries) == 1 else run.gallery[:4]
            across = 3 + max(len(row["negatives"]) for row in shown)
            blocks.append(
                Pictures(
                    entry.name if len(entries) > 1 else "", tuple(map(_views, shown)), across=across
                )
            )
    if not blocks:
        return None
    folded = (
        [Fold(f"Images of {len(blocks) - OPEN} more", tuple(blocks[OPEN:]))]
        if len(blocks) > OPEN
        else []
    )
    caption = (
        "The first batch: each image, its two views, and its non-semantic negatives. These keep "
        "the query's texture and lose its shape."
    )
    return Section(
        "gallery", "What the network sees", (*blocks[:OPEN], *folded), caption, legend=False
    )


def _views(row):
    views = [
        Picture(row[name], label)
        for name, label in (("image", "image"), ("query", "query view"), ("key", "key view"))
    ]
    last = len(row["negatives"]) - 1
    more = f" (+{row['left_out']})" if row["left_out"] else ""
    return (
        *views,
        *(
            Picture(source, "negative" + more * (number == last))
            for number, source in enumerate(row["negatives"])
        ),
    )
