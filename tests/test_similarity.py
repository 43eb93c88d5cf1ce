"""Similarities of a run's features to positives, queue and patch negatives, against a plain computation; runs without negatives too."""

import math

import numpy as np
import pytest
import torch
from test_features import make_beton

from fastneg.data.beton import BetonReader
from fastneg.evaluation.similarity import evaluate_similarity
from fastneg.methods import METHODS
from fastneg.recipes.presets import tiny_cpu
from fastneg.report.rows import misfit
from fastneg.training import checkpoint


def make_whole_run(folder, **changes):
    """A run folder with a whole untrained method, whose statistics fit random inputs."""
    config = tiny_cpu().replace(out=str(folder), queue_size=64, **changes)
    torch.manual_seed(0)
    method = METHODS[config.method](config)
    for encoder in (method.query_encoder, method.key_encoder):
        encoder.train()(torch.randn(64, 3, 32, 32))
    checkpoint.save(folder, 1, {"config": config.as_dict(), "method": method.state_dict()}, keep=1)
    return method.eval()


@pytest.mark.parametrize("changes", [{}, {"negatives": "none"}, {"negatives": "texture"}, {"negatives_per_query": 3}])
def test_distributions_over_a_set(tmp_path, changes):
    method = make_whole_run(tmp_path / "run", **changes)
    with BetonReader(make_beton(tmp_path / "set.beton", 24)) as reader:
        row = evaluate_similarity(tmp_path / "run", "val", reader, threads=1)
        again = evaluate_similarity(tmp_path / "run", "val", reader, threads=1)
    assert row == again and misfit(row) is None
    negatives = changes.get("negatives_per_query", 1)
    assert (sum(row["positive"]), sum(row["queue"]), sum(row["negative"]["patch"])) == (24, 24 * 64, 24 * negatives)
    assert row["edges"] == pytest.approx(np.linspace(-1, 1, 41).tolist()) and row["images"] == 24
    for counts, mean in ((row["positive"], row["means"]["positive"]), (row["queue"], row["means"]["queue"])):
        centres = np.linspace(-0.975, 0.975, 40)
        assert np.average(centres, weights=counts) == pytest.approx(mean, abs=0.03)
    assert row["means"]["positive"] > row["means"]["queue"], "two views of an image are closer than the random queue"
    assert abs(row["means"]["queue"]) < 1 / math.sqrt(method.queue.shape[1])


def test_a_method_that_is_the_identity_of_views_would_be_at_one(tmp_path, monkeypatch):
    """The key encoder sees the same view as the query encoder: every positive is 1."""
    make_whole_run(tmp_path / "run")
    real = METHODS["moco"].forward
    monkeypatch.setattr(METHODS["moco"], "forward", lambda self, query, key, *rest: real(self, query, query, *rest))
    monkeypatch.setattr("fastneg.methods.moco.momentum_update", None)
    with BetonReader(make_beton(tmp_path / "set.beton", 12)) as reader:
        row = evaluate_similarity(tmp_path / "run", "val", reader, threads=1)
    assert row["means"]["positive"] > 0.9999 > row["means"]["negative"]["patch"] and row["positive"][-1] == 12
