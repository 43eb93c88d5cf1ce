"""Shared by the tests of test sets."""

import json

import pytest

CATEGORIES = {"airplane": ["a", "b"], "bear": ["c"], "bicycle": ["d"], "bird": ["zebra"]}


@pytest.fixture
def categories(tmp_path):
    (tmp_path / "categories.json").write_text(json.dumps(CATEGORIES))
    return str(tmp_path / "categories.json")
