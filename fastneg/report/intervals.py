"""Whether figures differ, judged by the intervals of their cells.

The best cell of a row is marked only where that is beyond doubt.
"""

from __future__ import annotations

from fastneg.study.statistics import LEVEL, t_quantile

RULE = (
    "★ marks the best of a row if its 95% interval does not overlap any other. For 1 seed the "
    "interval is over images, for several it is over seeds (Student's t). A row without a ★ has "
    "overlapping intervals, so its order may be chance, or a figure without an interval."
)
"""What a reader must know of the mark."""


def half_width(std, count):
    """Half of the 95% interval of a mean of two or more values, by their standard deviation."""
    return t_quantile((1 + LEVEL) / 2, count - 1) * std / count**0.5


def bounds(cell):
    """(low, high) of a `blocks.Cell`, 95%; None where nothing is known of its spread.

    Runs that agree exactly tell of no spread: an interval without width would claim too much.
    """
    if cell.value is None:
        return None
    if cell.runs > 1:
        half = half_width(cell.std, cell.runs) if cell.std else None
        return None if half is None else (cell.value - half, cell.value + half)
    return cell.interval


def clear_best(cells, highest=True):
    """The position of the cell that is best beyond its and all others' intervals, or None.

    Cells without a value do not count; two with one are needed.
    """
    known = [(number, cell) for number, cell in enumerate(cells) if cell.value is not None]
    limits = {number: bounds(cell) for number, cell in known}
    if len(known) < 2 or None in limits.values():
        return None
    sign = 1 if highest else -1
    best = max(known, key=lambda pair: sign * pair[1].value)[0]
    ends = {number: sorted((sign * low, sign * high)) for number, (low, high) in limits.items()}
    others = [high for number, (_, high) in ends.items() if number != best]
    return best if ends[best][0] > max(others) else None
