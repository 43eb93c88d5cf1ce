"""Similarities and embeddings of an entry's first run that has one."""

from pathlib import Path

from fastneg.recipes.presets import tiny_cpu
from fastneg.report.entries import group_runs
from fastneg.report.sections.representation import section
from fastneg.runs.folder import read_run
from helpers.report_runs import add_new_kinds, make_run


def test_a_run_with_features_has_the_section_and_one_without_has_none(beton, tmp_path):
    folder = make_run(tmp_path / "run", tiny_cpu())
    assert section(group_runs([read_run(folder, "run")])) is None
    add_new_kinds(Path(folder), beton)
    assert section(group_runs([read_run(folder, "run")])) is not None
