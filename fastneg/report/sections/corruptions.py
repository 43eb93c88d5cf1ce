"""The section on corruptions: severity curves, and a table of corruptions."""

from __future__ import annotations

import statistics
from functools import partial

from fastneg.report.blocks import (
    Cell,
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
from fastneg.report.plots.accuracy import severity


def section(entries):
    """Blocks for each corrupted set, or None where there is none."""
    blocks = [
        block
        for test_set in sets_of(entries, "corruptions")
        for block in _blocks(entries, test_set)
    ]
    blocks += [
        table
        for test_set in sets_of(entries, "corruption_parts")
        for table in _parts(entries, test_set)
    ]
    blocks += [_tree(entries, test_set) for test_set in sets_of(entries, "corruption_tree")]
    caption = "Top-1 accuracy on corrupted images, five severities each."
    return Section("corruptions", "Corruptions", folds_last(blocks), caption) if blocks else None


def origin(lines):
    """How corrupted images came about, and how many of the published corruptions they cover."""
    known = dict.fromkeys(str(line["source"]) for line in lines if line.get("source"))
    published = [line["of_the_15"] for line in lines if isinstance(line.get("of_the_15"), list)]
    counts = dict.fromkeys(
        f"{len(names)} of the 15 corruptions of ImageNet-C" for names in published
    )
    return [" / ".join(values) for values in (known, counts) if values]


def _blocks(entries, test_set):
    found = [
        [row["by_corruption"] for row in entry.rows("corruptions", test_set)] for entry in entries
    ]
    names = list(dict.fromkeys(name for runs in found for run in runs for name in run))
    stem = file_stem("corruptions", test_set)
    lines = [line for entry in entries for line in entry.rows("corruptions", test_set)]
    means = [_mean_line(entry.rows("corruptions", test_set)) for entry in entries]
    curves = [
        _with_clean(entry, test_set, line) for entry, line in zip(entries, means, strict=True)
    ]
    draw = partial(severity, series=curves)
    banded = any(line and line[1] for line in curves)
    caption = " ".join([_caption(lines), *["Bands: from the lowest to the highest seed."] * banded])
    mean = Plot(
        f"{stem}-mean",
        f"{pretty(test_set)}, mean over corruptions",
        draw,
        caption,
        "Accuracy by severity",
    )
    each = []
    for name in names:
        series = [_line([run[name] for run in runs if name in run]) for runs in found]
        each.append(
            Plot(
                file_stem(stem, name),
                pretty(name),
                partial(severity, series=series, small=True),
                small=True,
            )
        )
    table = _table(entries, stem, test_set, names, found)
    return [*[mean] * any(curves), table, Fold("Each corruption by severity", tuple(each))]


def _parts(entries, test_set):
    """A table of single severities of corruptions that lack others, in a list.

    It is empty where all of a run's have become whole since.
    """
    found = [[_single(run, test_set) for run in entry.runs] for entry in entries]
    places = dict.fromkeys(place for runs in found for run in runs for place in run)
    rows = []
    for name, level in places:
        values = [[run[name, level] for run in runs if (name, level) in run] for runs in found]
        cells = [mean_of(entry, each) for entry, each in zip(entries, values, strict=True)]
        rows.append(
            Row(
                f"{pretty(name)}, severity {level}",
                marked(entries, "corruption_parts", test_set, cells),
            )
        )
    title = f"Severities without the others, in no mean: {pretty(test_set)}"
    return (
        [
            Table(
                file_stem("corruption-parts", test_set),
                title,
                "corruption",
                entry_columns(entries),
                tuple(rows),
            )
        ]
        if rows
        else []
    )


def _tree(entries, test_set):
    """A table of corruptions that are not ImageNet-C's.

    It gives the mean of each over the severities that are there.
    """
    found = [
        [row["by_corruption"] for row in entry.rows("corruption_tree", test_set)]
        for entry in entries
    ]
    rows = []
    for name in dict.fromkeys(name for runs in found for run in runs for name in run):
        values = [
            [statistics.mean(run[name].values()) for run in runs if run.get(name)] for runs in found
        ]
        levels = dict.fromkeys(
            ", ".join(run[name]) for runs in found for run in runs if run.get(name)
        )
        cells = [mean_of(entry, each) for entry, each in zip(entries, values, strict=True)]
        rows.append(
            Row(
                pretty(name),
                marked(entries, "corruption_tree", test_set, cells),
                f"severities {' / '.join(levels)}",
            )
        )
    title = f"Mean over the severities that are there: {pretty(test_set)}"
    return Table(
        file_stem("corruption-tree", test_set),
        title,
        "corruption",
        entry_columns(entries),
        tuple(rows),
    )


def _single(run, test_set):
    """{(corruption, severity): percent} of a run.

    Corruptions that a line of whole ones has are left out.
    """
    parts, whole = (
        run.results.get((kind, test_set), {}).get("by_corruption", {})
        for kind in ("corruption_parts", "corruptions")
    )
    return {
        (name, level): top1
        for name, severities in parts.items()
        if name not in whole
        for level, top1 in severities.items()
    }


def _mean_line(rows):
    """The mean curve of several runs; None where their means are over different corruptions."""
    alike = len({frozenset(_published(row) or row["by_corruption"]) for row in rows}) == 1
    return _line([averaged(row) for row in rows]) if alike else None


def averaged(row):
    """Five percents: the mean over a line's corruptions at each severity.

    It is over those of the published 15; over all where the line does not say which they are.
    """
    published = [five for name, five in row["by_corruption"].items() if name in _published(row)]
    return [
        statistics.mean(column)
        for column in zip(*(published or row["by_corruption"].values()), strict=True)
    ]


def _published(row):
    return row["of_the_15"] if isinstance(row.get("of_the_15"), list) else ()


def _caption(lines):
    notes = dict.fromkeys(
        str(line[name]) for name in ("mean_note", "mce_note") for line in lines if line.get(name)
    )
    return " ".join([*(f"{words[0].upper()}{words[1:]}." for words in origin(lines)), *notes])


def _line(runs):
    """(mean, (low, high) bands or None) of the same percents of several runs; None without runs."""
    if not runs:
        return None
    columns = list(zip(*runs, strict=True))
    bands = [(min(column), max(column)) for column in columns] if len(runs) > 1 else None
    return [statistics.mean(column) for column in columns], bands


def _with_clean(entry, test_set, line):
    """A line of percents with the accuracy on the clean set put in front.

    It stays as it is where a run that has the line lacks that accuracy.
    """
    clean = [
        run.results.get(("accuracy", test_set), {}).get("top1")
        for run in entry.runs
        if ("corruptions", test_set) in run.results
    ]
    if line is None or None in clean:
        return line
    first, first_bands = _line([[top1] for top1 in clean])
    return first + line[0], first_bands + line[1] if line[1] else None


def _table(entries, stem, test_set, names, found):
    published = {
        name
        for entry in entries
        for row in entry.rows("corruptions", test_set)
        for name in _published(row)
    }
    notes = {
        name: "not one of the 15: not in the mean"
        for name in names
        if published and name not in published
    }
    if len(entries) == 1 and len(entries[0].runs) == 1:
        head, columns = "severity", (*(Column(str(level)) for level in range(1, 6)), Column("mean"))
        cells = {
            name: (*(Cell(value, heat=value) for value in five), Cell(statistics.mean(five)))
            for name, five in found[0][0].items()
        }
    else:
        head, columns, cells = "mean over severities", entry_columns(entries), {}
        for name in names:
            means = [[statistics.mean(run[name]) for run in runs if name in run] for runs in found]
            shown = [mean_of(entry, values) for entry, values in zip(entries, means, strict=True)]
            cells[name] = marked(entries, "corruptions", test_set, shown)
    rows = tuple(Row(pretty(name), cells[name], notes.get(name, "")) for name in names)
    return Table(stem, f"By corruption: {pretty(test_set)}", head, columns, rows)
