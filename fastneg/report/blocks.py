"""The parts of a page: sections with plots, tables and pictures.

The page and the exported files are made from the same blocks.

Every block has `kind`, by which the template picks its macro; plots and tables have a `name`, the
stem of their files.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from fastneg.report.intervals import bounds, clear_best

HALF, WHOLE = 390, 900
"""Pixels that the columns after the first have on half the page and on all of it."""
NAME = 22
"""Letters of a column's name in one line; longer ones are broken (.name in style.css)."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a figure with its spread, or a text."""

    value: float | None = None
    std: float | None = None
    """Sample standard deviation over runs that differ in their seed alone."""
    interval: tuple | None = None
    """95% interval (low, high) of a single run."""
    runs: int = 1
    """Runs that the figure is the mean of."""
    note: str = ""
    """What a reader must know of this figure alone, such as the runs that have it."""
    best: bool = False
    heat: float | None = None
    """0 to 100: how strongly the cell is tinted."""
    text: str | None = None
    code: bool = False
    marked: bool = False

    @property
    def of_mean(self):
        """The 95% interval (low, high) of a mean over seeds, by Student's t; None of other
        figures, and where the runs agree exactly."""
        return bounds(self) if self.runs > 1 else None


@dataclass(frozen=True)
class Row:
    head: str
    cells: tuple
    note: str = ""
    group: str = ""
    """The title under which the row stands."""
    warning: str = ""
    """Why its figures may not be compared."""


@dataclass(frozen=True)
class Column:
    name: str
    series: int | None = None
    """The number of the entry whose colour and marker stand beside the name."""
    figures: bool = True
    """Whether the cells are figures: right-aligned."""


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    head: str
    columns: tuple
    rows: tuple
    caption: str = ""
    digits: int = 1
    signed: bool = False
    """Whether figures above 0 carry a plus."""
    kind: str = "table"

    @property
    def wide(self):
        """Whether it takes the whole width of the page, since it would not fit into half of it."""
        return self.pixels > HALF

    @property
    def crowded(self):
        """Whether names of columns must be broken into lines."""
        return self.pixels > WHOLE

    @property
    def pixels(self):
        """About how wide the columns after the first are."""
        least = [
            90 if any(row.cells[n].interval or row.cells[n].of_mean for row in self.rows) else 50
            for n in range(len(self.columns))
        ]
        return sum(
            max(8 * min(len(column.name), NAME) + 18 * (column.series is not None), width) + 14
            for column, width in zip(self.columns, least, strict=True)
        )


@dataclass(frozen=True)
class Plot:
    name: str
    title: str
    draw: Callable
    """draw(style) → matplotlib Figure."""
    caption: str = ""
    label: str = ""
    """What a screen reader says; the title if empty."""
    small: bool = False
    legend: bool = True
    """Whether it shows the entries by their colours."""
    kind: str = "plot"


@dataclass(frozen=True)
class Picture:
    source: str | None
    """Data URI; None: missing."""
    caption: str
    answers: tuple = ()
    """For each entry (series, text, right: bool or None)."""


@dataclass(frozen=True)
class Pictures:
    title: str
    rows: tuple
    """Tuples of Picture."""
    caption: str = ""
    across: int = 4
    """Pictures in a row."""
    kind: str = "pictures"


@dataclass(frozen=True)
class Commands:
    title: str
    command: str | None
    recorded: str | None
    kind: str = "commands"


@dataclass(frozen=True)
class Fold:
    """Blocks that are shown on demand; open on paper."""

    summary: str
    blocks: tuple
    open: bool = False
    kind: str = "fold"


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    blocks: tuple
    caption: str = ""
    legend: bool = True
    """Whether the entries' colours are explained under the title."""


@dataclass
class Report:
    """All that a page shows."""

    entries: list
    sections: list
    tiles: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    """(run, sentence) pairs: what is missing or damaged."""
    unlike: list = field(default_factory=list)
    """Sentences: which figures may not be compared."""
    remarks: list = field(default_factory=list)
    """Sentences: what the figures alone would hide."""


def leaves(blocks):
    """Plots and tables among blocks, those in folds too, in the order of the page."""
    for block in blocks:
        if isinstance(block, Fold):
            yield from leaves(block.blocks)
        elif isinstance(block, (Plot, Table)):
            yield block


def folds_last(blocks):
    """Blocks with the folded ones at the end."""
    return tuple(sorted(blocks, key=lambda block: isinstance(block, Fold)))


def with_own_names(blocks, taken):
    """Blocks with names that no other plot, or table, has.

    Else the sets "a b" and "a-b" would share their files.

    Args:
        taken: set of (kind, name) pairs, to which those of the blocks are added.
    """
    found = []
    for block in blocks:
        if isinstance(block, Fold):
            block = dataclasses.replace(block, blocks=with_own_names(block.blocks, taken))
        elif isinstance(block, (Plot, Table)):
            name, number = block.name, 1
            while (block.kind, name) in taken:
                number += 1
                name = f"{block.name}-{number}"
            taken.add((block.kind, name))
            block = dataclasses.replace(block, name=name)
        found.append(block)
    return tuple(found)


def file_stem(*parts):
    """A name for the files of a plot or table.

    It holds small letters, digits, dots, hyphens and underscores.
    """
    return re.sub(r"[^a-z0-9._]+", "-", "-".join(map(str, parts)).lower()).strip("-.") or "unnamed"


def with_best(cells, highest=True):
    """Cells of one row with the best marked, where its interval lies clear of all others'."""
    best = clear_best(cells, highest)
    marks = (number == best for number in range(len(cells)))
    return tuple(
        dataclasses.replace(cell, best=mark) for cell, mark in zip(cells, marks, strict=True)
    )


def whiskers(cells, what="Whiskers"):
    """What the error bars of a plot stand for, as a sentence; "" where no cell has a spread."""
    seeds, images = (
        any(cell.std is not None for cell in cells),
        any(cell.std is None and cell.interval for cell in cells),
    )
    if seeds and images:
        return (
            f"{what}: standard deviation over seeds, or the 95% interval over images of a "
            "single run."
        )
    return (
        f"{what}: standard deviation over seeds."
        if seeds
        else f"{what}: 95% interval over images."
        if images
        else ""
    )


def figure_text(value, digits=1, signed=False):
    """A figure as tables write it.

    Its minus is as long as a plus, and it has no sign where it is rounded to 0.
    """
    rounded = round(value, digits)
    return f"{rounded or 0.0:{'+' if signed and rounded else ''}.{digits}f}".replace("-", "−")


def common_start(texts):
    """The letters that all texts begin with."""
    letters = zip(*texts, strict=False)
    differing = (place for place, found in enumerate(letters) if len(set(found)) > 1)
    return texts[0][: next(differing, min(map(len, texts)))]


def pretty(name):
    """A set's or field's name as words."""
    return name.replace("_", " ")
