"""Features in two dimensions are scikit-learn's principal components."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from fastneg.evaluation.embedding import embedding


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
