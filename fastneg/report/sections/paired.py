"""Differences between groups of runs, paired by seed.

What the seeds share (initial weights, order, views) cancels.
"""

from __future__ import annotations

import statistics

from fastneg.report.blocks import Cell, Column, Row, Table, pretty
from fastneg.report.entries import COMPARED, sets_of
from fastneg.report.intervals import half_width
from fastneg.report.likeness import warning
from fastneg.runs.results import is_number


def difference(baseline, other, kind, test_set, field):
    """The mean difference, other − baseline, with its 95% t interval.

    It is over the seeds that both have; an empty Cell for fewer than two.
    """
    values = []
    for entry in (baseline, other):
        rows = (
            (run.config.get("seed"), run.results.get((kind, test_set), {}).get(field))
            for run in entry.runs
        )
        values.append({seed: value for seed, value in rows if is_number(value)})
    both = [values[1][seed] - values[0][seed] for seed in values[0] if seed in values[1]]
    if len(both) < 2:
        return Cell()
    mean = statistics.mean(both)
    # an interval of no width would claim more than a few coarse figures can know
    if max(both) == min(both):
        return Cell(mean, note=f"equal in {len(both)} pairs")
    half = half_width(statistics.stdev(both), len(both))
    missing = max(len(baseline.runs), len(other.runs)) - len(both)
    return Cell(
        mean, interval=(mean - half, mean + half), note=f"{len(both)} pairs" if missing else ""
    )


def _pairs(entries, baseline, others):
    seeds = {run.config.get("seed") for run in entries[baseline].runs}
    counts = sorted(
        {len(seeds & {run.config.get("seed") for run in entries[number].runs}) for number in others}
        - {0, 1}
    )
    return f"{' to '.join(dict.fromkeys(str(count) for count in (counts[0], counts[-1])))} pairs"


def block(entries):
    """The table of differences from the baseline; None where no two groups share two seeds.

    The baseline is the first group without non-semantic negatives, or else the first.
    """
    groups = [number for number, entry in enumerate(entries) if len(entry.runs) > 1]
    if len(groups) < 2:
        return None
    baseline = next(
        (number for number in groups if entries[number].config.get("negatives") == "none"),
        groups[0],
    )
    others = [number for number in groups if number != baseline]
    rows = []
    for kind, field, wording in COMPARED:
        for test_set in sets_of(entries, kind):
            cells = tuple(
                difference(entries[baseline], entries[number], kind, test_set, field)
                for number in others
            )
            if any(cell.value is not None for cell in cells):
                rows.append(
                    Row(
                        wording.format(set=pretty(test_set)),
                        cells,
                        warning=warning([entries[n] for n in groups], kind, test_set),
                    )
                )
    if not rows:
        return None
    name = entries[baseline].name
    caption = (
        f"Mean difference from {name} in points over runs of equal seed "
        f"({_pairs(entries, baseline, others)}), with its 95% interval (Student's t). An interval "
        "that holds 0 is compatible with no difference. Of many rows, one in twenty misses 0 by "
        "chance."
    )
    columns = tuple(Column(entries[number].name, series=number) for number in others)
    return Table(
        "paired",
        f"Differences from {name}, paired by seed",
        "points",
        columns,
        tuple(rows),
        caption,
        signed=True,
    )
