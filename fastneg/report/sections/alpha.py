"""The section on alpha, the scale of the non-semantic negatives.

It compares runs that differ in alpha alone.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from fastneg.config import PretrainConfig
from fastneg.report.blocks import Column, Plot, Row, Section, Table, file_stem, pretty, whiskers
from fastneg.report.entries import COMPARED, alpha_families, same_but, sets_of
from fastneg.report.likeness import warning
from fastneg.report.plots.accuracy import against_alpha
from fastneg.report.sections.shape_or_texture import told_of_chance

OF_NEGATIVES = ("alpha", "negative", "patch", "texture")
"""How the settings begin that mean nothing without non-semantic negatives."""


def baselines(entries, members):
    """Numbers of the entries without non-semantic negatives that fit a family.

    Their other settings are those of the family.
    """
    key = _without_negatives(entries[members[0]].config)
    return [
        n
        for n, e in enumerate(entries)
        if e.config.get("negatives") == "none" and _without_negatives(e.config) == key
    ]


def _without_negatives(config):
    names = {field.name for field in dataclasses.fields(PretrainConfig)} | set(config)
    return same_but(config, *(name for name in names if name.startswith(OF_NEGATIVES)))


def section(entries):
    """A small plot for each figure, and the table; None where no runs differ in alpha alone."""
    found = alpha_families(entries)
    if not found:
        return None
    without = list(
        dict.fromkeys(number for members in found for number in baselines(entries, members))
    )
    plots, rows = [], []
    order = [*without, *(number for members in found for number in members)]
    for kind, field, wording in COMPARED:
        for test_set in sets_of(entries, kind):
            cells = [entry.cell(kind, test_set, field) for entry in entries]
            points = [
                [
                    (n, entries[n].config["alpha"], cells[n])
                    for n in members
                    if cells[n].value is not None
                ]
                for members in found
            ]
            if max(map(len, points)) < 2:
                continue
            title = wording.format(set=pretty(test_set))
            chance = told_of_chance(entries, test_set) if field == "coverage" else ""
            title += f" ({chance})" if chance else ""
            lines = [(n, cells[n]) for n in without if cells[n].value is not None]
            draw = partial(against_alpha, families=points, baselines=lines)
            told = warning([entries[n] for n in order], kind, test_set)
            plots.append(
                Plot(
                    file_stem("alpha", kind, field, test_set),
                    title,
                    draw,
                    told,
                    f"{title} against alpha",
                    small=True,
                )
            )
            rows.append(Row(title, tuple(cells[n] for n in order), warning=told))
    if not plots:
        return None
    columns = tuple(Column(f"{_alpha(entries[n])} · {entries[n].name}", series=n) for n in order)
    table = Table("alpha", "The same as a table", "%", columns, tuple(rows))
    caption = "Percent against alpha, the scale of the non-semantic negatives."
    caption += " Dashed: the same settings without them." if without else ""
    caption += " " + whiskers([cell for row in rows for cell in row.cells])
    return Section("alpha", "The trade-off in alpha", (*plots, table), caption.strip())


def _alpha(entry):
    return "none" if entry.config.get("negatives") == "none" else f"α {entry.config['alpha']:g}"
