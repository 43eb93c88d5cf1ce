"""The section on cue conflict: category matrix and box plots."""

from __future__ import annotations

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
from fastneg.report.entries import entry_columns, sets_of
from fastneg.report.plots.bias import category_boxes, category_matrix, texture_share
from fastneg.report.remarks import default_answers
from fastneg.runs.results import ANSWERS, chance_coverage, is_number


def pooled(entry, test_set):
    """{category: counts of shape, texture and other answers}, added up over the entry's runs."""
    total = {}
    for row in entry.rows("shape_bias", test_set):
        for name, counts in row["by_category"].items():
            own = total.setdefault(name, dict.fromkeys(ANSWERS, 0))
            for answer in ANSWERS:
                own[answer] += counts[answer]
    return total


def chance_of(entry, test_set):
    """The coverage in percent of answers drawn evenly.

    None where an entry's runs do not say, or differ.
    """
    runs = [run for run in entry.runs if ("shape_bias", test_set) in run.results]
    found = {
        chance_coverage(run.results["shape_bias", test_set], run.results.get(("linear", "val")))
        for run in runs
    }
    return found.pop() if len(found) == 1 else None


def told_of_chance(entries, test_set):
    """The same of all entries in words; "" where nothing is known."""
    found = dict.fromkeys(
        f"{value:.1f}%" for entry in entries if (value := chance_of(entry, test_set)) is not None
    )
    return f"chance coverage {' / '.join(found)}" if found else ""


def section(entries):
    """Blocks for each cue-conflict set, or None where there is none."""
    blocks = [
        block for test_set in sets_of(entries, "shape_bias") for block in _blocks(entries, test_set)
    ]
    caption = (
        "Images with the shape of one class and the texture of another. Shape bias is the share "
        "of shape decisions among the answers that name either of the two. Coverage is the share "
        "of such answers, over the images whose cues conflict. A bias means little where the "
        "coverage is low, or near what chance gives."
    )
    if any(len(entry.runs) > 1 for entry in entries):
        caption += " The categories' counts are those of all seeds added up."
    return (
        Section("shape-bias", "Shape or texture?", folds_last(blocks), caption) if blocks else None
    )


def _blocks(entries, test_set):
    counts = [pooled(entry, test_set) for entry in entries]
    categories = list(dict.fromkeys(name for found in counts for name in found))
    stem, name = file_stem("shape-bias", test_set), pretty(test_set)
    biases = [entry.cell("shape_bias", test_set, "shape_bias") for entry in entries]
    rows = [
        Row("shape bias", tuple(biases)),
        Row("coverage", tuple(entry.cell("shape_bias", test_set, "coverage") for entry in entries)),
    ]
    chance = [chance_of(entry, test_set) for entry in entries]
    if any(value is not None for value in chance):
        rows.append(Row("chance coverage", tuple(map(Cell, chance)), "2 of all categories"))
    told = [(entry.name, said) for entry in entries if (said := default_answers(entry, test_set))]
    caption = " ".join(f"{who}: {said}." for who, said in told)
    blocks = [Table(stem, f"Shape bias: {name}", "%", entry_columns(entries), tuple(rows), caption)]
    if not categories:
        return blocks
    shares = [None if cell.value is None else 1 - cell.value / 100 for cell in biases]
    means = _mean_share(counts, categories)
    ordered = sorted(categories, key=lambda name: (means[name] is None, -(means[name] or 0)))
    series = list(zip(counts, shares, strict=True))
    matrix = partial(category_matrix, categories=ordered, series=series)
    caption = "The most texture-bound first. Markers: each category; lines: all together."
    blocks.append(
        Plot(
            f"{stem}-matrix",
            f"By category: {name}",
            matrix,
            caption,
            f"Shape or texture by category: {name}",
        )
    )
    spread = [
        [
            share
            for name in categories
            if name in found and (share := texture_share(found[name])) is not None
        ]
        for found in counts
    ]
    if any(len(shares) > 2 for shares in spread):
        boxes = partial(category_boxes, names=[entry.name for entry in entries], series=spread)
        caption = "Median, quartiles, and whiskers of at most 1.5 box lengths."
        blocks.append(
            Plot(f"{stem}-boxes", f"Spread over categories: {name}", boxes, caption, legend=False)
        )
    return [
        *blocks,
        Fold(
            f"Answers by category: {name}",
            (_category_table(stem, name, entries, ordered, counts, test_set),),
        ),
    ]


def _mean_share(counts, categories):
    """{category: mean over entries of the fraction of texture decisions, or None}."""
    means = {}
    for name in categories:
        shares = [
            share
            for found in counts
            if name in found and (share := texture_share(found[name])) is not None
        ]
        means[name] = sum(shares) / len(shares) if shares else None
    return means


def answered(entry, test_set):
    """{category: how often it is the answer, in percent}.

    It is the mean over the entry's runs that tell.
    """
    told = [
        row["answered"]
        for row in entry.rows("shape_bias", test_set)
        if isinstance(row.get("answered"), dict)
    ]
    names = dict.fromkeys(name for shares in told for name in shares)
    values = {name: [shares.get(name, 0.0) for shares in told] for name in names}
    return {name: sum(own) / len(own) for name, own in values.items() if all(map(is_number, own))}


def _category_table(stem, name, entries, categories, counts, test_set):
    several = len(entries) > 1
    shares = [answered(entry, test_set) for entry in entries]
    heads = (*ANSWERS, "answered %") if any(shares) else ANSWERS
    columns = tuple(
        Column(f"{entry.name}: {head}" if several else head, series=number if several else None)
        for number, entry in enumerate(entries)
        for head in heads
    )
    rows = []
    for category in categories:
        cells = []
        for found, share in zip(counts, shares, strict=True):
            own = found.get(category, {})
            cells += [own.get(answer) for answer in ANSWERS] + [share.get(category)] * (
                len(heads) - len(ANSWERS)
            )
        rows.append(Row(category, tuple(map(Cell, cells))))
    return Table(
        f"{stem}-counts", f"Answers by category: {name}", "category", columns, tuple(rows), digits=0
    )
