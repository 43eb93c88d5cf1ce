"""The section on classes: which live by texture, and accuracy class by class."""

from __future__ import annotations

from functools import partial

from fastneg.counts import counted
from fastneg.report.blocks import Fold, Plot, Row, Section, Table, file_stem, folds_last, pretty
from fastneg.report.entries import entry_columns, mean_of, sets_of
from fastneg.report.likeness import marked
from fastneg.report.plots.classes import class_dots

SHOWN = 20
"""Classes in a plot; tables hold all."""


def section(entries):
    """Texture classes first, then accuracy by class; None where no run has either."""
    blocks = [block for test_set in sets_of(entries, "texture_classes") for block in _texture(entries, test_set)]
    first, *others = [_per_class(entries, test_set) for test_set in sets_of(entries, "per_class")] or [()]
    blocks += [*first, *([Fold("By class: other sets", tuple(block for found in others for block in found))] if others else [])]
    return Section("classes", "Classes", folds_last(blocks), "Top-1 accuracy in percent, class by class.") if blocks else None


def class_cells(entries, kind, test_set, field="by_class"):
    """{class: a Cell for each entry}."""
    found = [[row.get(field) or {} for row in entry.rows(kind, test_set)] for entry in entries]
    names = dict.fromkeys(name for runs in found for classes in runs for name in classes)
    return {
        name: [
            mean_of(entry, [classes[name]["top1"] for classes in runs if name in classes])
            for entry, runs in zip(entries, found, strict=True)
        ]
        for name in names
    }  # fmt: skip


def _mean(cells):
    known = [cell.value for cell in cells if cell.value is not None]
    return sum(known) / len(known)


def _texture(entries, test_set):
    cells = class_cells(entries, "texture_classes", test_set)
    order = sorted(cells, key=lambda name: (-_mean(cells[name]), name))
    bound = order[:SHOWN]
    stem, name = file_stem("texture-classes", test_set), pretty(test_set)
    caption = "Accuracy on texture alone: the higher, the more the class lives by its texture."
    if len(order) > SHOWN:
        caption += f" The {SHOWN} highest of {len(order)}, by the mean of the columns."
    blocks = [
        _dots(stem, f"The most texture-bound classes: {name}", bound, cells, caption),
    ]
    groups = class_cells(entries, "texture_classes", test_set, "groups")
    if groups:
        blocks.append(_table(f"{stem}-groups", f"By group: {name}", "group", entries, groups, list(groups), ("texture_classes", test_set)))
    table = _table(stem, f"Texture accuracy of all classes: {name}", "class", entries, cells, order, ("texture_classes", test_set))
    return [*blocks, Fold(f"All {counted(len(order), 'class')}: {name}", (table,))]


def _per_class(entries, test_set):
    cells = class_cells(entries, "per_class", test_set)
    order = sorted(cells, key=lambda name: (-_mean(cells[name]), name))
    stem, name = file_stem("per-class", test_set), pretty(test_set)
    shown, caption = order, "Sorted by the mean of the columns." if len(entries) > 1 else ""
    if len(order) > SHOWN:
        several = len(entries) > 1
        spread = sorted(order, key=lambda name: -_spread(cells[name])) if several else order[: SHOWN // 2] + order[-(SHOWN // 2) :]
        shown = [name for name in order if name in spread[:SHOWN]]
        which = "in which the columns differ most" if several else "with the highest and the lowest"
        caption = f"The {SHOWN} of {counted(len(order), 'class')} {which}."
    table = _table(stem, f"Accuracy of all classes: {name}", "class", entries, cells, order, ("per_class", test_set))
    return [_dots(stem, f"By class: {name}", shown, cells, caption), Fold(f"All {counted(len(order), 'class')}: {name}", (table,))]


def _spread(cells):
    known = [cell.value for cell in cells if cell.value is not None]
    return max(known) - min(known)


def _dots(stem, title, classes, cells, caption):
    columns = zip(*(cells[name] for name in classes), strict=True)
    series = [{name: cell.value for name, cell in zip(classes, column, strict=True) if cell.value is not None} for column in columns]
    return Plot(f"{stem}-plot", title, partial(class_dots, classes=classes, series=series), caption)


def _table(stem, title, head, entries, cells, order, of):
    """A table of classes or groups; `of` is the kind and set of their lines."""
    rows = tuple(Row(str(name), marked(entries, *of, cells[name])) for name in order)
    return Table(stem, title, head, entry_columns(entries, "top-1 %"), rows)
