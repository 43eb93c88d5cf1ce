"""The tables of a study's page that are mostly text: the basis of the verdict, and what ran
where."""

from __future__ import annotations

from fastneg.report.blocks import Cell, Column, Row, Table, pretty
from fastneg.study.verdict import judge


def verdict_table(rows):
    """The comparisons that the verdict is computed from."""
    columns = ("difference", "p", "p, Holm", "seeds")
    found = judge(rows)
    lines = tuple(
        Row(
            f"{pretty(each.treatment)} − {pretty(each.against)}, {pretty(each.outcome)}",
            (
                Cell(each.paired.mean, interval=(each.paired.low, each.paired.high)),
                Cell(text=_chance(each.paired.p)),
                Cell(text="" if each.adjusted_p is None else _chance(each.adjusted_p)),
                Cell(text=str(each.paired.count)),
            ),
        )
        for each in found.comparisons
    )
    caption = "Points, with 95% intervals (Student's t over seeds)."
    return Table(
        "verdict",
        "What the verdict is computed from",
        "comparison",
        tuple(Column(name, figures=name == columns[0]) for name in columns),
        lines,
        caption,
        signed=True,
    )


def _chance(p):
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def runs_table(rows):
    """What the figures depend on beside the settings, by stage."""
    fields = ("device", "cores", "commit", "cache", "jobs")
    lines = []
    for stage in dict.fromkeys(row["stage"] for row in rows):
        own = [row for row in rows if row["stage"] == stage]
        cells = [Cell(text=str(len(own)))]
        cells += [Cell(text=", ".join(_distinct(own, name))) for name in fields]
        versions = {
            f"{name} {number}" for row in own for name, number in row.get("versions", {}).items()
        }
        cells.append(Cell(text=", ".join(sorted(versions))))
        lines.append(Row(stage, tuple(cells)))
    columns = tuple(Column(name, figures=False) for name in ("runs", *fields, "versions"))
    return Table("runs", "", "stage", columns, tuple(lines))


def _distinct(rows, name):
    return sorted({str(row[name]) for row in rows if row.get(name) is not None})
