"""The section on classes: the most texture-bound ones, and accuracy by class."""

from __future__ import annotations

from functools import partial

from fastneg.counts import counted
from fastneg.report.blocks import (
    Column,
    Fold,
    Plot,
    Row,
    Section,
    Table,
    file_stem,
    folds_last,
    pretty,
)
from fastneg.report.entries import entry_columns, mean_of, sets_of
from fastneg.report.likeness import marked
from fastneg.report.plots.accuracy import class_dots
from fastneg.report.remarks import default_answers
from fastneg.runs.results import is_number

SHOWN = 20
"""Classes in a plot; tables hold all."""
ORDER = {
    True: "The order is by the harmonic mean of recall and precision. Recall alone would put the "
    "default answer first.",
    False: "The order is by recall, because these results give no precision. Recall rewards a "
    "default answer.",
}
"""What the order of texture classes is by, where the precision is known and where it is not."""
ANSWERS = {"answered": "answered %", "precision": "precision %"}
"""Figures of a class beside its recall: how often it is the answer, and how often that is right."""


def section(entries):
    """Texture classes first, then accuracy by class; None where no run has either."""
    blocks = [
        block
        for test_set in sets_of(entries, "texture_classes")
        for block in _texture(entries, test_set)
    ]
    first, *others = [
        _per_class(entries, test_set) for test_set in sets_of(entries, "per_class")
    ] or [()]
    blocks += [
        *first,
        *(
            [Fold("By class: other sets", tuple(block for found in others for block in found))]
            if others
            else []
        ),
    ]
    return (
        Section(
            "classes", "Classes", folds_last(blocks), "Top-1 accuracy in percent, class by class."
        )
        if blocks
        else None
    )


def class_cells(entries, kind, test_set, field="by_class", figure="top1"):
    """{class: a Cell for each entry} of one figure of the classes."""
    found = [[row.get(field) or {} for row in entry.rows(kind, test_set)] for entry in entries]
    names = dict.fromkeys(name for runs in found for classes in runs for name in classes)
    cells = {}
    for name in names:
        values = [
            [
                classes[name][figure]
                for classes in runs
                if is_number(classes.get(name, {}).get(figure))
            ]
            for runs in found
        ]
        cells[name] = [mean_of(entry, own) for entry, own in zip(entries, values, strict=True)]
    return cells


def told_apart(recall, precision):
    """How well answers tell a class from others, in percent.

    It is the harmonic mean of recall and precision (F1), the mean over entries.

    A class that is answered to everything has a recall of 100, and is not first by this. Entries
    that do not tell the precision count with their recall.
    """
    scores, pairs = (
        [],
        [(one.value, other.value) for one, other in zip(recall, precision, strict=True)],
    )
    for one, other in pairs:
        if one is not None:
            known = other is not None and one + other > 0
            scores.append(2 * one * other / (one + other) if known else one)
    return sum(scores) / len(scores) if scores else 0.0


def _mean(cells):
    known = [cell.value for cell in cells if cell.value is not None]
    return sum(known) / len(known)


def _texture(entries, test_set):
    cells = class_cells(entries, "texture_classes", test_set)
    precision = class_cells(entries, "texture_classes", test_set, figure="precision")
    order = sorted(cells, key=lambda name: (-told_apart(cells[name], precision[name]), name))
    bound = order[:SHOWN]
    stem, name = file_stem("texture-classes", test_set), pretty(test_set)
    known = any(cell.value is not None for own in precision.values() for cell in own)
    caption = "Accuracy on images of texture only. The higher it is, the more the class depends on "
    caption += "texture. "
    caption += ORDER[known]
    if len(order) > SHOWN:
        caption += f" The first {SHOWN} of {len(order)}."
    caption = " ".join([caption, *_defaults(entries, test_set)])
    blocks = [
        _dots(stem, f"The most texture-bound classes: {name}", bound, cells, caption),
    ]
    groups = class_cells(entries, "texture_classes", test_set, "groups")
    if groups:
        blocks.append(
            _table(
                f"{stem}-groups",
                f"By group: {name}",
                "group",
                entries,
                groups,
                list(groups),
                ("texture_classes", test_set),
            )
        )
    table = _table(
        stem,
        f"Texture accuracy of all classes: {name}",
        "class",
        entries,
        cells,
        order,
        ("texture_classes", test_set),
    )
    title = f"Texture accuracy of all {counted(len(order), 'class')}: {name}"
    return [*blocks, Fold(title, (table,))]


def _per_class(entries, test_set):
    cells = class_cells(entries, "per_class", test_set)
    order = sorted(cells, key=lambda name: (-_mean(cells[name]), name))
    stem, name = file_stem("per-class", test_set), pretty(test_set)
    shown, caption = order, "Sorted by the mean of the columns." if len(entries) > 1 else ""
    told = _defaults(entries, test_set)
    if len(order) > SHOWN:
        several = len(entries) > 1
        spread = (
            sorted(order, key=lambda name: -_spread(cells[name]))
            if several
            else order[: SHOWN // 2] + order[-(SHOWN // 2) :]
        )
        shown = [name for name in order if name in spread[:SHOWN]]
        which = "in which the columns differ most" if several else "with the highest and the lowest"
        caption = f"The {SHOWN} of {counted(len(order), 'class')} {which}."
    caption = " ".join(filter(None, [caption, *told]))
    table = _table(
        stem,
        f"Accuracy of all classes: {name}",
        "class",
        entries,
        cells,
        order,
        ("per_class", test_set),
    )
    return [
        _dots(stem, f"By class: {name}", shown, cells, caption),
        Fold(f"Accuracy of all {counted(len(order), 'class')}: {name}", (table,)),
    ]


def _spread(cells):
    known = [cell.value for cell in cells if cell.value is not None]
    return max(known) - min(known)


def _dots(stem, title, classes, cells, caption):
    columns = zip(*(cells[name] for name in classes), strict=True)
    series = [
        {
            name: cell.value
            for name, cell in zip(classes, column, strict=True)
            if cell.value is not None
        }
        for column in columns
    ]
    return Plot(f"{stem}-plot", title, partial(class_dots, classes=classes, series=series), caption)


def _defaults(entries, test_set):
    """Sentences on entries that answer much of a set with one class."""
    said = [(entry.name, default_answers(entry, test_set)) for entry in entries]
    return [f"{name}: {words}." for name, words in said if words]


def _table(stem, title, head, entries, cells, order, of):
    """A table of classes or groups; `of` is the kind and set of their lines.

    Beside the recall of each class stand, where the lines tell them, how often it is answered and
    with what precision.
    """
    columns, parts = list(entry_columns(entries, "top-1 %")), []
    for figure, words in ANSWERS.items():
        found = class_cells(entries, *of, figure=figure)
        known = any(cell.value is not None for own in found.values() for cell in own)
        if known and set(order) <= set(found):
            named = [f"{entry.name}: {words}" for entry in entries] if len(entries) > 1 else [words]
            series = [column.series for column in entry_columns(entries)]
            columns += [Column(*pair) for pair in zip(named, series, strict=True)]
            parts.append(found)
    rows = []
    for name in order:
        beside = [cell for found in parts for cell in found[name]]
        rows.append(Row(str(name), (*marked(entries, *of, cells[name]), *beside)))
    return Table(stem, title, head, tuple(columns), tuple(rows))
