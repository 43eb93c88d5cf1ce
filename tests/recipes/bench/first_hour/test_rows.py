"""The rows of a first hour survive a kill at any moment, and the table is made of the last try."""

import csv
import json

from fastneg.recipes.bench.first_hour.rows import ROWS, Rows, write_table


def test_a_line_that_a_kill_cut_takes_no_other_with_it(tmp_path):
    rows = Rows(tmp_path, stage="step")
    rows.append("measured", ms=1.0)
    with open(tmp_path / ROWS, "a", encoding="utf-8") as file:
        file.write('{"bench": "first_hour", "sta')
    rows.append("measured", ms=2.0)
    rows.append("measured", ms=3.0)
    assert [row["ms"] for row in rows.all()] == [1.0, 2.0, 3.0]
    assert len((tmp_path / ROWS).read_text().splitlines()) == 4


def test_what_is_not_tried_again(tmp_path):
    rows = Rows(tmp_path, stage="step")
    for job, status in (("a", "ended"), ("b", "stopped"), ("c", None), ("d", "skipped")):
        rows.append("begun", job=job, goes_on=False)
        if status:
            rows.append(status, job=job, **({"missing": True} if status == "skipped" else {}))
    assert rows.ended_jobs("step") == {"a", "b"} and rows.ended_jobs("loader") == set()
    assert rows.running_job("step") is None  # d was begun after c, and is over
    rows.append("begun", job="e", goes_on=False)
    assert rows.running_job("step")["job"] == "e"
    assert rows.ended_stages() == set()
    rows.append("ended", missing=1)
    assert rows.ended_stages() == set(), "another call may bring what was missing"
    rows.append("ended", missing=0)
    assert rows.ended_stages() == {"step"}


def test_a_second_try_takes_the_place_of_the_first(tmp_path):
    rows = Rows(tmp_path, stage="step")
    rows.append("begun", device="cuda", device_name="A card", cores=4, commit="abc", versions={})
    for job, goes_on, figures in (
        ("whole", False, (1, 2)),
        ("whole", False, (3,)),
        ("piecewise", True, (4,)),
        ("piecewise", True, (5,)),
    ):
        rows.append("begun", job=job, goes_on=goes_on)
        for figure in figures:
            rows.append("measured", job=job, ms=float(figure))
    assert [row["ms"] for row in rows.latest()] == [3.0, 4.0, 5.0]


def test_the_table_holds_what_was_said_with_its_origin(tmp_path):
    rows = Rows(tmp_path, stage="kernel_tests")
    rows.append(
        "begun", device="cuda", device_name="A card", cores=4, commit="abc", versions={"t": "1"}
    )
    rows.append("measured", test="one", outcome="passed")
    rows.append("measured", test="two", outcome="failed", failure="1 is not 2, at all")
    rows.append("skipped", job="x", skipped="no DALI")
    rows.append("measured", ms_median=1 / 3)
    with open(write_table(tmp_path), encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["test"] for row in found] == ["two", "", ""], "those that passed are counted only"
    assert found[0]["failure"] == "1 is not 2, at all" and found[1]["skipped"] == "no DALI"
    assert found[2]["ms_median"] == "0.333333"
    assert {row["device_name"] for row in found} == {"A card"}
    assert json.loads(found[0]["versions"]) == {"t": "1"}
