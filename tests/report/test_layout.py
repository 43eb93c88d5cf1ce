"""How blocks share the page: fastneg.report.layout."""

import pytest

from fastneg.report.blocks import Cell, Column, Fold, Plot, Row, Table
from fastneg.report.layout import GAP, HALF, STRETCH, UNEVEN, WHOLE, arranged, height


def plot(name, high=2.7, small=False):
    block = Plot(name, "title", draw=lambda style: None, small=small)
    return block, (2.9 if small else 4.6, high)


def table(name, rows):
    made = tuple(Row("row", (Cell(1.0),)) for _ in range(rows))
    return Table(name, "title", "head", (Column("value"),), made), None


def bands(*blocks):
    sizes = {block.name: size for block, size in blocks}
    size_of = lambda block: sizes[block.name]
    return list(arranged([block for block, _ in blocks], size_of)), size_of


def pixels(column, size_of):
    """The height of a column at the sizes that were given to its plots."""
    given = lambda placed: lambda block: placed.size or size_of(block)
    return sum(height(placed.block, given(placed)) for placed in column) + GAP * (len(column) - 1)


PAGES = {
    "two plots": [plot("a"), plot("b", 3.3)],
    "a table beside a plot": [table("a", 6), plot("b", 1.9)],
    "a long table and a low plot": [table("a", 30), plot("b", 0.8)],
    "a short table and a high plot": [table("a", 1), plot("b", 4.0)],
    "a table and two plots": [table("a", 12), plot("b", 1.5), plot("c", 3.0)],
    "four": [plot("a"), plot("b"), plot("c", 2.0), plot("d", 3.1)],
    "five": [plot("a"), plot("b"), plot("c"), plot("d"), table("e", 2)],
    "one": [plot("a")],
    "many": [plot(name, 1.5 + 0.3 * number) for number, name in enumerate("abcdefgh")],
}


@pytest.mark.parametrize("blocks", PAGES.values(), ids=PAGES)
def test_no_column_is_half_empty(blocks):
    found, size_of = bands(*blocks)
    shown = [placed.block.name for band in found for column in band.columns for placed in column]
    assert sorted(shown) == sorted(block.name for block, _ in blocks)
    for band in found:
        if band.layout == "halves":
            left, right = (pixels(column, size_of) for column in band.columns)
            assert abs(left - right) < UNEVEN
            for placed in (placed for column in band.columns for placed in column):
                if placed.size:
                    assert 1 < placed.size[1] / size_of(placed.block)[1] <= STRETCH
        else:
            ((placed,),) = band.columns
            assert placed.size is None or (placed.size[0] == WHOLE and placed.alone)


@pytest.mark.parametrize("count", range(1, 12))
def test_rows_of_small_plots_are_full(count):
    names = [chr(ord("a") + number) for number in range(count)]
    found, _ = bands(*(plot(name, 2.1, small=True) for name in names))
    in_a_row = {"thirds": 3, "halves": 2, "whole": 1}
    shown = []
    for band in found:
        assert len(band.columns) % in_a_row[band.layout] == 0
        placed = [placed for column in band.columns for placed in column]
        shown += [one.block.name for one in placed]
        width = {"thirds": None, "halves": HALF, "whole": WHOLE}[band.layout]
        assert {one.size and one.size[0] for one in placed} == {width}
    assert shown == names, "in their order"


def test_what_is_wide_or_folded_has_the_page_for_itself():
    fold = Fold("more", ())
    (one,) = arranged([fold], None)
    assert one.layout == "whole" and one.columns[0][0].block is fold
