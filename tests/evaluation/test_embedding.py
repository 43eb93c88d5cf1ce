"""Features in two dimensions are scikit-learn's principal components."""

import sys
import types

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from fastneg.config import ConfigError
from fastneg.evaluation import embedding as module
from fastneg.evaluation.embedding import Picture, embedding
from fastneg.runs.embed import Part


def parts(features, labels, kept=None):
    kept = torch.arange(len(features)) if kept is None else kept
    for some in kept.split(7):
        yield Part(features[some], None if labels is None else labels[some], some)


@pytest.mark.parametrize("points", [600, 20])
def test_a_picture_of_batches_is_that_of_the_whole(monkeypatch, points):
    monkeypatch.setattr(module, "POINTS", points)
    features = torch.randn(50, 6) * torch.tensor([1, 5, 1, 3, 1, 1.0]) + 400
    labels = torch.arange(50) % 3
    picture = Picture("pca", 50, ["a", "b", "c"])
    for part in parts(features, labels):
        picture.add(part)
    found, whole = picture.figures(), embedding(features, labels, ["a", "b", "c"], points)
    assert found["labels"] == whole["labels"] and len(found["points"]) == min(50, points)
    assert np.allclose(found["points"], whole["points"], atol=1e-4)
    assert found["explained"] == pytest.approx(whole["explained"])
    assert (found["by"], found["images"]) == ("pca", 50)


def test_a_picture_leaves_out_what_could_not_be_used_and_needs_no_labels():
    features, kept = torch.randn(30, 4), torch.tensor([i for i in range(30) if i not in (0, 7)])
    picture = Picture("pca", 30, None)
    for part in parts(features, None, kept):
        picture.add(part)
    found = picture.figures()
    assert found["labels"] == ["images"] * 28 and found["images"] == len(found["points"]) == 28
    picture = Picture("pca", 30, ["a"])
    for part in parts(features, torch.arange(30) % 2 - 1, kept):
        picture.add(part)
    assert set(picture.figures()["labels"]) == {"a", "no class"}


def test_umap_sees_images_evenly_spread_and_is_asked_for_if_missing(monkeypatch):
    given = []

    class Umap:
        def __init__(self, random_state):
            assert random_state == 0

        def fit_transform(self, rows):
            given.append(rows)
            return rows[:, :2]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Umap))
    monkeypatch.setattr(module, "NEIGHBOURHOOD", 20)
    monkeypatch.setattr(module, "POINTS", 5)
    features, picture = torch.randn(50, 4), Picture("umap", 50, None)
    for part in parts(features, torch.arange(50)):
        picture.add(part)
    found, spread = picture.figures(), torch.linspace(0, 49, 20).round().long()
    assert np.allclose(given[0], features[spread]) and "explained" not in found
    assert found["labels"] == [str(spread[i].item()) for i in (0, 5, 10, 14, 19)]
    assert np.allclose(found["points"], given[0][[0, 5, 10, 14, 19], :2], atol=1e-5)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match=r"pip install 'fastneg\[umap\]'"):
        Picture("umap", 50, None)


def test_the_embedding_is_principal_components():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 6, generator=generator) * torch.tensor([1, 5, 1, 3, 1, 1.0]) + 4
    found = embedding(features, torch.arange(50) % 3, ["a", "b", "c"])
    truth = PCA(2).fit(features.numpy())
    for axis in range(2):
        ours, theirs = (
            np.asarray(found["points"])[:, axis],
            truth.transform(features.numpy())[:, axis],
        )
        assert abs(np.corrcoef(ours, theirs)[0, 1]) == pytest.approx(1, abs=1e-5)
    assert found["explained"] == pytest.approx(
        (100 * truth.explained_variance_ratio_).tolist(), abs=0.01
    )
    assert found["labels"][:4] == ["a", "b", "c", "a"]
    few = embedding(features, torch.arange(50), None, points=5)
    assert (
        few["labels"] == ["0", "12", "24", "37", "49"] and few["points"][1] == found["points"][12]
    )
