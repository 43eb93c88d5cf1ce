"""Curves of training stand on the page where a run has lines of it."""

from pathlib import Path

from fastneg.recipes.presets import tiny_cpu
from fastneg.report.entries import group_runs
from fastneg.report.sections.training import gallery, section
from fastneg.runs.folder import read_run
from helpers.report_runs import make_run


def test_curves_and_views_of_a_run(tmp_path):
    entries, _ = read(make_run(tmp_path / "run", tiny_cpu()))
    assert section(entries) is not None and gallery(entries) is not None


def test_a_run_without_lines_has_no_curves(tmp_path):
    folder = make_run(tmp_path / "run", tiny_cpu())
    (Path(folder) / "metrics.jsonl").unlink()
    entries, _ = read(folder)
    assert section(entries) is None


def read(folder):
    run = read_run(folder, "run")
    return group_runs([run]), run
