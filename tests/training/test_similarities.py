"""Histograms of similarities against numpy's, and in a run."""

import numpy as np
import torch

from fastneg.methods.output import sample_rows
from fastneg.training.similarities import BINS, edges, histograms
from fastneg.training.trainer import pretrain
from helpers.pretraining import rows, settings


def test_counts_are_numpys():
    # clear of the edges
    inside = lambda *shape: (
        (torch.randint(0, BINS, shape) + 0.1 + 0.8 * torch.rand(shape)) * 2 / BINS - 1
    )
    values = {"positive": inside(77), "queue": inside(6, 50)}
    counts = histograms(values)
    assert (
        counts.shape == (2, BINS)
        and len(edges()) == BINS + 1
        and edges()[0] == -1
        and edges()[-1] == 1
    )
    for row, kind in zip(counts, values, strict=True):
        assert np.array_equal(row, np.histogram(values[kind].double(), BINS, (-1, 1))[0])


def test_what_rounding_put_beyond_the_ends_is_counted():
    counts = histograms({"positive": torch.tensor([1.0000001, 1.0, -1.0000001, 0.0]).bfloat16()})[0]
    assert counts[0] == 1 and counts[-1] == 2 and counts.sum() == 4


def test_sampled_rows_are_spread_over_all():
    assert sample_rows(torch.arange(1000), 4).tolist() == [0, 250, 500, 750]
    assert sample_rows(torch.arange(3), 4).tolist() == [0, 1, 2]


def test_a_run_logs_them_once_an_epoch(beton, tmp_path):
    pretrain(settings(beton, tmp_path / "run", epochs=2, log_every=2))
    found = rows(tmp_path / "run", "similarities")
    assert [row["step"] for row in found] == [4, 10]
    for row in found:
        assert (row["low"], row["high"]) == (-1.0, 1.0)
        assert (
            sum(row["positive"]) == 8 and sum(row["queue"]) == 8 * 20 and sum(row["negative"]) == 8
        )
    ages = [row["queue_age_steps"] for row in rows(tmp_path / "run")]
    assert ages == [2, 2.5, 2.5, 2.5, 2.5]
