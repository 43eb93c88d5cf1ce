"""The section on answers: whether two runs make the same errors, and whether their confidence is
calibrated."""

from __future__ import annotations

import itertools
from functools import partial

from fastneg.evaluation.consistency import error_consistency
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
    with_best,
)
from fastneg.report.entries import entry_columns, mean_cell, sets_of
from fastneg.report.plots.features import reliability
from fastneg.runs.predictions import reliability_bins


def predicted_sets(runs):
    """Sets with predictions of any run, in the order in which they were evaluated first."""
    evaluated = [
        test_set
        for run in runs
        for kind, test_set in run.results
        if kind == "accuracy" and test_set in run.predictions
    ]
    return list(
        dict.fromkeys([*evaluated, *(test_set for run in runs for test_set in run.predictions)])
    )


def section(entries):
    """Kappa between and within entries for each set, then reliability.

    None where no run has predictions.
    """
    runs = [run for entry in entries for run in entry.runs]
    consistency = [
        block for test_set in predicted_sets(runs) for block in _consistency(entries, test_set)
    ]
    confidence = [_reliability(entries, test_set) for test_set in predicted_sets(runs)]
    blocks = [
        *_first_open(consistency, "Error consistency on other sets"),
        *_calibration(entries),
        *_first_open(confidence, "Reliability on other sets"),
    ]
    words = []
    if consistency:
        words.append(
            "Error consistency (kappa) says whether two runs err on the same images more often "
            "than their accuracies alone explain. It is 1 if they err on the same images, and 0 "
            "if they err independently. Within a group of seeds it is the mean over the pairs."
        )
    if confidence:
        words.append(
            "Reliability is the accuracy of answers of about the same confidence. On the dashed "
            "line the accuracy equals the confidence."
        )
    return (
        Section("answers", "Errors and confidence", folds_last(blocks), " ".join(words))
        if blocks
        else None
    )


def _calibration(entries):
    """The table of calibration errors, where any run has one."""
    rows = []
    for test_set in sets_of(entries, "accuracy"):
        cells = [entry.cell("accuracy", test_set, "ece") for entry in entries]
        if any(cell.value is not None for cell in cells):
            rows.append(Row(pretty(test_set), with_best(cells, highest=False)))
    caption = (
        "Expected calibration error in percent. The lower it is, the better the confidence says "
        "how often the answer is right."
    )
    if any(cell.interval for row in rows for cell in row.cells):
        caption += " [low, high] is the 95% interval over resampled images."
    return (
        [
            Table(
                "calibration",
                "Calibration",
                "set",
                entry_columns(entries, "ECE %"),
                tuple(rows),
                caption,
            )
        ]
        if rows
        else []
    )


def _first_open(blocks, summary):
    return [*blocks[:1], *([Fold(summary, tuple(blocks[1:]))] if len(blocks) > 1 else [])]


def kappas(first, second, test_set):
    """(kappas of the pairs of runs of two entries, pairs that answered other images).

    Only runs that answered the same images have a kappa.
    """
    pairs = (
        itertools.combinations(first.runs, 2)
        if first is second
        else itertools.product(first.runs, second.runs)
    )
    found, other = [], 0
    for one, two in pairs:
        if test_set not in one.predictions or test_set not in two.predictions:
            continue
        if not one.answered_as(two, test_set):
            other += 1
            continue
        kappa = error_consistency(one.predictions[test_set].right, two.predictions[test_set].right)
        found += [] if kappa is None else [kappa]
    return found, other


def _consistency(entries, test_set):
    rows, unlike = [], 0
    shown = [entry for entry in entries if any(test_set in run.predictions for run in entry.runs)]
    for first in shown:
        cells = []
        for second in shown:
            found, other = kappas(first, second, test_set)
            unlike += other
            cell = mean_cell(found, len(found))
            cells.append(
                Cell(
                    cell.value,
                    cell.std,
                    heat=None if cell.value is None else 100 * max(0.0, cell.value),
                )
            )
        rows.append(Row(first.name, tuple(cells)))
    if all(cell.value is None for row in rows for cell in row.cells):
        return []
    columns = tuple(Column(entry.name, series=entries.index(entry)) for entry in shown)
    caption = "Pairs of runs that answered different images are left out." if unlike else ""
    return [
        Table(
            file_stem("kappa", test_set),
            f"Error consistency: {pretty(test_set)}",
            "kappa",
            columns,
            tuple(rows),
            caption,
            digits=2,
        )
    ]


def _reliability(entries, test_set):
    series = []
    for entry in entries:
        found = [
            reliability_bins(run.predictions[test_set])
            for run in entry.runs
            if test_set in run.predictions
        ]
        series.append(found[0] if found else [])
    caption = "The larger a marker, the more images."
    caption += " The first seed of each." if any(len(entry.runs) > 1 for entry in entries) else ""
    return Plot(
        file_stem("reliability", test_set),
        f"Reliability: {pretty(test_set)}",
        partial(reliability, series=series),
        caption,
    )
