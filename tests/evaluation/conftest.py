"""Shared by the tests of evaluation."""

import json

import pytest

from helpers.encoder_runs import make_probed

CATEGORIES = {"airplane": ["a", "b"], "bear": ["c"], "bicycle": ["d"], "bird": ["zebra"]}


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """A run with a classifier of four classes."""
    return make_probed(tmp_path_factory.mktemp("probed"), count=48)


@pytest.fixture
def lines(probed):
    """The lines that a test adds to evaluation.jsonl."""
    path = probed / "evaluation.jsonl"
    before = len(path.read_text().splitlines())
    return lambda: [json.loads(line) for line in path.read_text().splitlines()[before:]]


@pytest.fixture
def categories(tmp_path):
    (tmp_path / "categories.json").write_text(json.dumps(CATEGORIES))
    return str(tmp_path / "categories.json")
