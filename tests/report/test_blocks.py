"""The best figure of a row is marked where its interval lies clear."""

import pytest

from fastneg.report.blocks import Cell, with_best


def test_the_best_is_marked_where_its_interval_lies_clear():
    def best(*cells, **options):
        return [cell.best for cell in with_best([Cell(*cell) for cell in cells], **options)]

    clear, near = (50.0, None, (48.0, 52.0)), (46.0, None, (44.0, 47.9))
    assert best(clear, near, (None,)) == [True, False, False]
    assert best(clear, (46.0, None, (44.0, 48.1))) == [False, False], "the intervals overlap"
    assert best(clear, (46.0,)) == [False, False], "nothing is known of the other's spread"
    assert best(clear, near, highest=False) == [False, True]
    assert best(clear, (None,)) == [False, False] and best(clear) == [False]
    assert best(clear, clear) == [False, False]


def test_a_mean_over_seeds_has_the_interval_of_the_mean():
    low, high = Cell(50.0, std=2.0, runs=4).of_mean
    assert (low, high) == pytest.approx((50 - 3.182446, 50 + 3.182446))  # t of 3 degrees × 2 / √4
    assert Cell(50.0, interval=(48.0, 52.0)).of_mean is None, "of one run, over images"
    assert Cell(50.0, std=0.0, runs=2).of_mean is None and Cell(None).of_mean is None
