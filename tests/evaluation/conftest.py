"""Shared by the tests of evaluation."""

import json

import pytest

from fastneg.config import LinearConfig
from fastneg.recipes.linear import run_linear
from helpers.encoder_runs import make_run
from helpers.tinted import make_beton

CATEGORIES = {"airplane": ["a", "b"], "bear": ["c"], "bicycle": ["d"], "bird": ["zebra"]}


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """A run with a classifier of four classes."""
    folder = tmp_path_factory.mktemp("probed")
    run, train = make_run(folder / "run"), make_beton(folder / "train.beton", 48)
    run_linear(
        LinearConfig(
            str(run),
            str(train),
            str(train),
            mode="features",
            epochs=8,
            lr=1.0,
            batch_size=16,
            device="cpu",
            threads=1,
        )
    )
    return run


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
