"""Tables of a study's page that are text for the most part."""

from fastneg.report.study_tables import runs_table, verdict_table
from fastneg.study.plan import arms_of
from fastneg.study.verdict import judge
from helpers.study_folders import EFFECTS, row_of

ARMS = arms_of("main", 12.5)
ROWS = [row_of("main", arm, seed, EFFECTS.get(arm.name, 0.0)) for arm in ARMS for seed in range(4)]


def test_the_verdict_has_a_row_for_each_comparison_that_it_is_computed_from():
    table, found = verdict_table(ROWS), judge(ROWS)
    assert len(table.rows) == len(found.comparisons) > 0
    for row, each in zip(table.rows, found.comparisons, strict=True):
        difference, p, _, seeds = row.cells
        assert (difference.value, difference.interval) == (
            each.paired.mean,
            (each.paired.low, each.paired.high),
        )
        assert seeds.text == "4"
        assert p.text == "< 0.0001" if each.paired.p < 0.0001 else f"{each.paired.p:.4f}"


def test_runs_are_told_by_stage_with_each_machine_once():
    rows = [
        {**row, "cores": 2, "device": device, "versions": {"torch": "2.6"}}
        for row, device in zip(ROWS, ["cpu", "H200", "cpu"], strict=False)
    ]
    (row,) = runs_table([*rows, rows[0]]).rows
    said = dict(
        zip(("runs", "device", "cores"), [cell.text for cell in row.cells[:3]], strict=True)
    )
    assert (row.head, said) == ("main", {"runs": "4", "device": "H200, cpu", "cores": "2"})
    assert row.cells[-1].text == "torch 2.6"
