"""What is read of a study's folder: which rows count, at which dose."""

import json

import pytest

from fastneg.config import UnfitError
from fastneg.study.folder import conditions, dose_of, facts_of, is_study, results_of, rows_of
from fastneg.study.plan import HIGHER, arms_of
from helpers.study_folders import row_of, study_folder


def test_the_rows_of_a_stage_stand_in_the_order_of_its_arms(tmp_path):
    folder = study_folder(tmp_path / "study", seeds=(1, 0))
    rows = results_of(folder)
    assert is_study(folder) and not is_study(tmp_path)
    for stage in ("main", "explore"):
        arms = [arm.name for arm in arms_of(stage, 12.5)]
        found = rows_of(rows, stage)
        assert dose_of(rows, stage) == pytest.approx(12.5)
        assert [(row["arm"], row["seed"]) for row in found] == [
            (a, s) for a in arms for s in (0, 1)
        ]
    assert len(rows_of(rows, "dose")) == 2 * len(arms_of("dose"))


def test_runs_of_another_dose_do_not_count_and_a_later_one_of_a_seed_does():
    arms = {dose: {arm.name: arm for arm in arms_of("main", dose)} for dose in (10.0, 12.5)}
    rows = [
        row_of("main", arms[10.0]["patch"], 0),
        row_of("main", arms[10.0]["none"], 0, steps=1),
        row_of("main", arms[12.5]["patch_higher"], 0),
        row_of("main", arms[12.5]["none"], 0, steps=2),
    ]
    assert dose_of(rows, "main") == pytest.approx(12.5)
    found = rows_of(rows, "main")
    assert [(row["arm"], row["steps"]) for row in found] == [("none", 2), ("patch_higher", 2400)]
    assert [row["dose"] for row in rows_of(rows, "main", 10.0)] == [0.0, 10.0]
    assert arms[12.5]["patch_higher"].dose == HIGHER * 12.5


def test_a_study_without_doses_has_none():
    rows = [row_of("main", arms_of("main", 1.0)[0], 0)]
    assert dose_of(rows, "main") is None and dose_of([], "explore") is None
    assert [row["arm"] for row in rows_of(rows, "main")] == ["none"]


def test_what_was_measured_at_another_dose_is_left_out():
    plain = arms_of("main", 10.0)[0]
    for at, shown in ((None, True), (10.0, True), (12.5, False)):
        (row,) = rows_of([row_of("main", plain, 0, measured_dose=at)], "main", 10.0)
        assert bool(row["curve"]) == shown


def with_line(folder, **changes):
    with open(folder / "results.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(row_of("main", arms_of("main", 12.5)[1], 9, **changes)) + "\n")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "moco"}, "of method moco, and the study is of simclr"),
        ({"size": "tiny"}, "of size tiny, and the study is of cpu"),
        ({"dose": None}, "without dose"),
        ({"swapped": float("nan")}, "without swapped"),
    ],
)
def test_lines_of_another_study_are_no_part_of_it(tmp_path, changes, said):
    folder = study_folder(tmp_path / "study", seeds=(0,), stages=("main",))
    with_line(folder, size="cpu", shape_bias=float("nan"))
    assert len(results_of(folder)) == 5 and results_of(folder)[-1]["shape_bias"] is None
    with_line(folder, **changes)
    with pytest.raises(UnfitError, match=said):
        results_of(folder)


def test_its_conditions_in_words(tmp_path):
    folder = study_folder(tmp_path / "study", seeds=(0,))
    facts, rows = facts_of(folder), results_of(folder)
    assert conditions(facts, rows) == "simclr, built-in set, cpu, 2,400 steps a run"
    assert conditions(facts, rows, 10.0).endswith("steps a run, dose 10")
