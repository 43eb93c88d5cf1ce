"""The table of results holds each figure that is one number for a set."""

from pathlib import Path

from fastneg.recipes.presets import tiny_cpu
from fastneg.report.entries import group_runs
from fastneg.report.sections.results import headline, result_table, section
from fastneg.runs.folder import read_run
from helpers.report_runs import add_rows, make_run


def test_figures_stand_in_the_table_and_at_the_top(tmp_path):
    entries = group_runs([read_run(make_run(tmp_path / "run", tiny_cpu(), top1=61.25), "run")])
    values = [cell.value for row in result_table(entries).rows for cell in row.cells]
    assert 61.25 in values and section(entries) is not None
    assert 61.25 in [cell.value for tile in headline(entries) for cell in tile["cells"]]


def test_few_shot_figures_of_any_share_and_chance_over_all_classes_of_the_classifier(tmp_path):
    folder = tmp_path / "run"
    make_run(folder, tiny_cpu())
    few = {"set": "val", "images": 40, "classes": 3, "classifier_classes": 10}
    for kind, share in (("few_shot", 5), ("few_shot", 0.5), ("few_shot_finetune", 50)):
        add_rows(folder, {"kind": kind, "share": share, "top1": 30.0 + share, **few})
    rows = {row.group: row for row in result_table(group_runs([read_run(folder, "run")])).rows}
    found = [name for name in rows if "of the labels" in name]
    assert found == [f"Few-shot, {share}% of the labels" for share in ("0.5", "5")] + [
        "Fine-tuning, 50% of the labels"
    ]
    assert [cell.value for cell in rows[found[1]].cells] == [35.0, 10.0], "chance is one in ten"


def test_a_run_that_was_not_evaluated_has_no_table(tmp_path):
    folder = make_run(tmp_path / "run", tiny_cpu())
    for name in ("evaluation.jsonl", "results.jsonl"):
        (Path(folder) / name).unlink(missing_ok=True)
    assert result_table(group_runs([read_run(folder, "run")])) is None
