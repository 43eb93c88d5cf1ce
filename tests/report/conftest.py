"""Shared by the tests of the report."""

import pytest

from fastneg.recipes.presets import tiny_cpu
from helpers.report_runs import add_new_kinds, make_run


@pytest.fixture
def two(tmp_path, beton):
    """Two runs with lines of every kind and predictions of the 40 photos."""
    runs = [
        make_run(tmp_path / name, tiny_cpu().replace(lr=lr))
        for name, lr in (("one", 0.1), ("two", 0.2))
    ]
    for seed, name in enumerate(("one", "two")):
        add_new_kinds(tmp_path / name, beton, seed)
    return runs
