"""The figures: tiles at the top, the table of accuracies, bars for test sets."""

from __future__ import annotations

import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path

from fastneg.counts import counted
from fastneg.evaluation.sets.registry import Figure, figures
from fastneg.report import likeness
from fastneg.report.blocks import Cell, Column, Plot, Row, Section, Table, pretty, whiskers
from fastneg.report.entries import alpha_families, entry_columns, sets_of
from fastneg.report.intervals import RULE
from fastneg.report.plots.accuracy import bars, trade_off
from fastneg.report.plots.style import SERIES
from fastneg.report.remarks import untrained_verdict
from fastneg.report.sections import paired
from fastneg.report.sections.corruptions import origin
from fastneg.report.sections.shape_or_texture import told_of_chance
from fastneg.runs.results import is_number

PROBES = {"linear": "linear probe", "knn": "kNN"}
TRAINED = (
    Figure("Linear probe", "linear", "top1"),
    Figure("Linear probe of an untrained encoder", "untrained", "top1", None),
    Figure("kNN", "knn", "top1"),
    Figure("Few-shot", "few_shot", "top1"),
    Figure("Fine-tuning", "finetune", "top1"),
    Figure("Fine-tuning", "few_shot_finetune", "top1"),
)
"""Figures of the commands that train on labels, or vote by them; few-shot ones at any share."""


def all_figures(entries):
    """The rows of the table: those of TRAINED, then those of the known kinds of test sets."""
    found = {kind for entry in entries for run in entry.runs for kind, _ in run.results}
    trained = []
    for figure in TRAINED:
        shares = [kind.rpartition(" ")[2] for kind in found if kind.startswith(f"{figure.kind} ")]
        for share in sorted(shares, key=float):
            title = f"{figure.title}, {share}% of the labels"
            trained.append(figure._replace(title=title, kind=f"{figure.kind} {share}"))
        trained += [] if figure.kind.startswith("few_shot") else [figure]
    return (*trained, *figures())


def headline(entries):
    """The few figures at the top: {"label", "note", "unit", "digits", "cells"}."""
    tiles = []

    def tile(label, unit, cells, note="", digits=1, of=None):
        if any(cell.value is not None for cell in cells):
            shown = likeness.marked(entries, *of, cells) if of else tuple(cells)
            warning = "not comparable: see below" if of and likeness.unlike(entries, *of) else ""
            warning = "; ".join(
                filter(None, (warning, likeness.shared(entries, *of) if of else ""))
            )
            if of and of[0] in ("linear", "knn") and any(map(untrained_verdict, entries)):
                untrained = "at or below an untrained encoder: see below"
                warning = "; ".join(filter(None, [warning, untrained]))
            tiles.append(
                {
                    "label": label,
                    "unit": unit,
                    "cells": shown,
                    "note": note,
                    "digits": digits,
                    "warning": warning,
                }
            )

    def cells(kind, test_set, field):
        return [entry.cell(kind, test_set, field) for entry in entries]

    for kind, name in PROBES.items():
        for test_set in sets_of(entries, kind)[:1]:
            lines = [line for entry in entries for line in entry.rows(kind, test_set)]
            files = dict.fromkeys(Path(str(line.get("path") or test_set)).stem for line in lines)
            tile(
                f"{name}, top-1",
                "%",
                cells(kind, test_set, "top1"),
                pretty(" / ".join(files)),
                of=(kind, test_set),
            )
    for test_set in sets_of(entries, "shape_bias")[:1]:
        biases = cells("shape_bias", test_set, "shape_bias")
        pairs = zip(biases, cells("shape_bias", test_set, "coverage"), strict=True)
        shown = [
            bias if coverage.value is None else replace(bias, note=f"({coverage.value:.0f}%)")
            for bias, coverage in pairs
        ]
        chance = told_of_chance(entries, test_set)
        tile(
            "shape bias (coverage)", "%", shown, ", ".join(filter(None, [pretty(test_set), chance]))
        )
    for test_set in sets_of(entries, "corruptions")[:1]:
        of = ("corruptions", test_set)
        tile("under corruption, top-1", "%", cells(*of, "mean_top1"), pretty(test_set), of=of)
    tile("training", "images/s", [_speed(entry) for entry in entries], "median", digits=0)
    return tiles


def _speed(entry):
    speeds = [
        [row["images_per_s"] for row in run.rows if "images_per_s" in row] for run in entry.runs
    ]
    medians = [statistics.median(found) for found in speeds if found]
    return Cell(statistics.mean(medians)) if medians else Cell()


def result_table(entries):
    """All figures that are one number for each set."""
    rows, columns = [], (*entry_columns(entries, "%"), Column("chance"))
    for title, kind, field, highest in all_figures(entries):
        for test_set in sets_of(entries, kind):
            cells = [entry.cell(kind, test_set, field) for entry in entries]
            lines = [line for entry in entries for line in entry.rows(kind, test_set)]
            if all(cell.value is None for cell in cells):
                continue
            chance = Cell(
                _chance(entries, kind, test_set)
                if field in ("top1", "mean_top1", "partial_mean_top1", "tree_mean_top1")
                else None
            )
            if highest is not None:
                cells = likeness.marked(entries, kind, test_set, cells, highest)
            shown = (*cells, chance)
            told = (
                likeness.shared(entries, kind, test_set),
                likeness.warning(entries, kind, test_set),
            )
            warning = "; ".join(filter(None, told))
            rows.append(Row(pretty(test_set), shown, _note(kind, test_set, lines), title, warning))
    return Table("results", "Figures", "set", columns, tuple(rows)) if rows else None


def _note(kind, test_set, lines):
    """What the lines of a row say beside the figure; several values where the runs disagree."""

    def said(name, wording, wanted=lambda value: True):
        values = dict.fromkeys(
            wording(line[name])
            for line in lines
            if line.get(name) is not None and wanted(line[name])
        )
        return [" / ".join(values)] if values else []

    parts = said(
        "path", lambda path: Path(str(path)).name, lambda path: Path(str(path)).stem != test_set
    )
    parts += said("images", lambda count: counted(count, "image", ","), is_number)
    parts += said("classes", lambda count: counted(count, "class", ","), is_number)
    if kind == "linear":
        parts += said("mode", str)
    if kind == "knn":
        parts += said("k", lambda k: f"k {k}", is_number) + said(
            "temperature", lambda t: f"T {t:g}", is_number
        )
    parts += (
        said("epochs", lambda count: counted(count, "epoch"), is_number)
        if "finetune" in kind
        else []
    )
    parts += said(
        "categories",
        lambda known: f"answered in {counted(len(known), 'category')}",
        lambda known: isinstance(known, dict),
    )
    parts += said(
        "resize",
        _shown,
        lambda _: any(line.get("resize_by") in ("published", "hand") for line in lines),
    )
    parts += said(
        "arg_max", lambda word: f"arg-max over {word} classes", lambda word: word != "all"
    )
    return ", ".join(parts + origin(lines))


def _shown(resize):
    """How a set was shown that was not resized and cropped as the run says."""
    return "not resized, not cropped" if resize == "none" else f"shorter side {resize} px"


def _chance(entries, kind, test_set):
    """Top-1 of guessing in percent, 100 / classes that can be answered.

    None where the runs differ or do not say.
    """
    answers = set()
    for run in (run for entry in entries for run in entry.runs):
        line = run.results.get((kind, test_set))
        if line is None:
            continue
        probes = [row for (found, _), row in run.results.items() if found in PROBES]
        if isinstance(line.get("categories"), dict) and line.get("arg_max") != "present":
            answers.add(len(line["categories"]))
            continue
        # A classifier over all its classes can answer those that do not occur in a set.
        if is_number(known := line.get("classifier_classes")) and line.get("arg_max") != "present":
            answers.add(known)
            continue
        # lines of earlier versions do not say of how many classes it is
        rows = [line] if kind in PROBES or line.get("arg_max") == "present" else [line, *probes]
        counts = [
            row["classes"] for row in rows if is_number(row.get("classes")) and row["classes"] > 0
        ]
        answers.add(max(counts, default=None))
    return 100 / answers.pop() if len(answers) == 1 and None not in answers else None


def section(entries):
    """The table, the bars, and accuracy against shape bias.

    None where no run has been evaluated.
    """
    table = result_table(entries)
    if table is None:
        return None
    blocks, sets = [table], sets_of(entries, "accuracy")
    if sets:
        series = [
            {pretty(name): entry.cell("accuracy", name, "top1") for name in sets}
            for entry in entries
        ]
        chances = {pretty(name): _chance(entries, "accuracy", name) for name in sets}
        chances = {name: chance for name, chance in chances.items() if chance is not None}
        draw = partial(bars, names=[pretty(name) for name in sets], series=series, chances=chances)
        words = [
            "Top-1 accuracy; the dashed tick is chance.",
            whiskers([cell for values in series for cell in values.values()]),
        ]
        words += ["Bars in the order of the legend."] if len(entries) > SERIES else []
        blocks.append(
            Plot(
                "bars",
                "By test set",
                draw,
                " ".join(filter(None, words)),
                "Top-1 accuracy by test set",
            )
        )
    blocks += [block for block in (_against_accuracy(entries), paired.block(entries)) if block]
    return Section("results", "Results", tuple(blocks), _caption(entries, table))


def _against_accuracy(entries):
    """Accuracy against shape bias, where two entries or more have both."""
    probes, conflicts = sets_of(entries, "linear"), sets_of(entries, "shape_bias")
    if not probes or not conflicts:
        return None
    points, coverages = {}, {}
    for number, entry in enumerate(entries):
        pair = (
            entry.cell("linear", probes[0], "top1"),
            entry.cell("shape_bias", conflicts[0], "shape_bias"),
        )
        coverages[number] = entry.cell("shape_bias", conflicts[0], "coverage").value
        if None not in (pair[0].value, pair[1].value):
            points[number] = pair
    if len(points) < 2:
        return None
    joined = alpha_families(entries)
    across, up = (
        f"linear probe, top-1 ({pretty(probes[0])})",
        f"shape bias ({pretty(conflicts[0])})",
    )
    names = {"across": across, "up": up}
    draw = partial(trade_off, points=points, families=joined, coverages=coverages, **names)
    words = ["The percentage beside a marker is the coverage."]
    words += (
        ["A line joins settings that differ only in alpha, in the order of alpha."]
        if joined
        else []
    )
    if chance := told_of_chance(entries, conflicts[0]):
        words.append(f"{chance[0].upper()}{chance[1:]}. Near it a bias means little.")
    words.append(whiskers([cell for pair in points.values() for cell in pair]))
    return Plot("trade-off", "Accuracy against shape bias", draw, " ".join(filter(None, words)))


def _caption(entries, table):
    cells = [cell for row in table.rows for cell in row.cells]
    words = [
        "Figures are percentages. Accuracies are top-1 of the classifier on the frozen encoder. "
        "Chance is 100 / classes."
    ]
    if any(cell.std is not None for cell in cells):
        words.append(
            "± is the sample standard deviation over seeds. The 95% interval of their mean is "
            "below it (Student's t)."
        )
    if any(cell.interval for cell in cells):
        words.append(
            "[low, high] is the 95% interval over resampled images. It does not cover other seeds."
        )
    if len(entries) > 1:
        words.append(RULE)
    if any(entry.seeds == "1 seed" for entry in entries):
        words.append("A figure of 1 seed does not show how much seeds differ.")
    return " ".join(words)
