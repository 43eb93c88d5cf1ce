"""The layout of blocks on the page: side by side if they fill it, otherwise one below the other.

No part of the page is left blank: two columns stand beside each other where they are about equally
high, which plots are stretched for; a plot that stands alone is drawn as wide as the page.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastneg.report.blocks import Plot, Table

INCH = 108.0
"""Pixels of the page for an inch of a plot."""
HALF, WHOLE = 4.6, 9.6
"""Inches that a plot has in half of the page, and in all of it."""
STRETCH = 1.7
"""How much higher than it asks for a plot may be drawn."""
UNEVEN = 70
"""Pixels by which two columns may differ; their last cards grow by that."""
GAP = 14
MOST = 6
"""Blocks that are tried in all ways."""


class Placed(NamedTuple):
    """A block at its place."""

    block: object
    size: tuple[float, float] | None = None
    """Of a plot: width and height in inches; None: as it asks for."""
    alone: bool = False
    """Whether it is a plot as wide as the page, of which a phone shows a narrow one."""


@dataclass(frozen=True)
class Band:
    """A part of the page from its left to its right."""

    layout: str
    """"halves" (two beside each other), "thirds" (three) or "whole"."""
    columns: tuple[tuple[Placed, ...], ...]
    """From left to right, and in further rows where there are more than fit into one."""


def arranged(blocks: Sequence, size_of: Callable[[Plot], tuple[float, float]]) -> Iterator[Band]:
    """Blocks, in about their order, as bands.

    Args:
        size_of: the width and height in inches that a plot asks for.
    """
    for layout, members in itertools.groupby(blocks, _layout):
        members = list(members)
        if layout == "thirds":
            yield from _thirds(members, size_of)
        elif layout == "halves":
            yield from _halves(members, size_of)
        else:
            yield from (_whole(block, size_of) for block in members)


def _layout(block):
    if getattr(block, "small", False):
        return "thirds"
    narrow = isinstance(block, Plot) or (isinstance(block, Table) and not block.wide)
    return "halves" if narrow else "whole"


def _whole(block, size_of):
    if not isinstance(block, Plot):
        return Band("whole", ((Placed(block),),))
    height = size_of(block)[1]
    return Band("whole", ((Placed(block, (WHOLE, height), True),),))


def _thirds(plots, size_of):
    """Rows of three, and of two where three would leave a place empty."""
    pairs = {0: 0, 1: 2, 2: 1}[len(plots) % 3] if len(plots) > 1 else 0
    threes = len(plots) - 2 * pairs if len(plots) > 1 else 0
    if threes:
        yield Band("thirds", tuple((Placed(plot),) for plot in plots[:threes]))
    rest = plots[threes:]
    if len(rest) == 1:
        yield _whole(rest[0], size_of)
    elif rest:
        wide = (Placed(plot, (HALF, size_of(plot)[1])) for plot in rest)
        yield Band("halves", tuple((placed,) for placed in wide))


def _halves(blocks, size_of):
    """Two columns of as many of the blocks as can be even, the others as wide as the page."""
    for first in range(0, len(blocks), MOST):
        some = blocks[first : first + MOST]
        for out in _outside(len(some)):
            inside = [number for number in range(len(some)) if number not in out]
            columns = _even([some[number] for number in inside], size_of)
            if columns is not None or not inside:
                break
        before = [number for number in out if inside and number < inside[0]]
        yield from (_whole(some[number], size_of) for number in before)
        if inside:
            yield Band("halves", columns)
        yield from (_whole(some[number], size_of) for number in out if number not in before)


def _outside(count):
    """Which of so many blocks may stand outside, few first."""
    for some in range(count + 1):
        if count - some != 1:
            yield from itertools.combinations(range(count), some)


def _even(blocks, size_of):
    """Two columns of about equal height, or None where there are none."""
    if not blocks:
        return None
    best, least = None, UNEVEN
    for side in itertools.product((0, 1), repeat=len(blocks) - 1):
        sides = (0, *side)
        columns = [[b for b, s in zip(blocks, sides, strict=True) if s == n] for n in (0, 1)]
        if not all(columns):
            continue
        placed, uneven = _stretched(columns, size_of)
        if uneven < least:
            best, least = placed, uneven
    return best


def _stretched(columns, size_of):
    """(the columns with the plots of the lower one higher, the pixels by which they differ)"""
    heights = [
        sum(height(block, size_of) for block in column) + GAP * (len(column) - 1)
        for column in columns
    ]
    lower = heights.index(min(heights))
    room = max(heights) - min(heights)
    plots = [block for block in columns[lower] if isinstance(block, Plot)]
    drawn = sum(_drawn(plot, size_of) for plot in plots)
    share = 1.0 if not drawn else min(STRETCH, 1 + room / drawn)
    placed = []
    for number, column in enumerate(columns):
        factor = share if number == lower else 1.0
        placed.append(tuple(_at(block, factor, size_of) for block in column))
    return tuple(placed), room - (share - 1) * drawn


def _at(block, factor, size_of):
    if not isinstance(block, Plot) or factor == 1:
        return Placed(block)
    width, high = size_of(block)
    return Placed(block, (width, high * factor))


def _drawn(plot, size_of):
    """The height in pixels of a plot in half of the page."""
    width, high = size_of(plot)
    return high * INCH * min(HALF / width, 1.0)


def height(block, size_of) -> float:
    """About how many pixels high a card is in half of the page."""
    lines = -(-len(block.caption) // 74) if block.caption else 0
    head = 30 + 22 * bool(block.title) + 20 * lines + 8 * bool(lines)
    if isinstance(block, Plot):
        return head + _drawn(block, size_of)
    groups = len({row.group for row in block.rows} - {""})
    return head + 32 + 40 * groups + sum(map(_row_height, block.rows))


def _row_height(row):
    notes = -(-len(row.note) // 34) + -(-len(row.warning) // 34)
    spread = any(cell.std is not None or cell.interval or cell.note for cell in row.cells)
    return 32 + max(18 * notes, 17 * spread)
