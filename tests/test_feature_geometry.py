"""RankMe, alignment and uniformity against their plain definitions in float64."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from fastneg import feature_geometry
from fastneg.feature_geometry import alignment, rank_me, uniformity


def plain_rank(features):
    values = torch.linalg.svdvals(features.double())
    shares = values / values.norm(1) + 1e-7
    return math.exp(-sum(share * math.log(share) for share in shares.tolist()))


@pytest.mark.parametrize("shape", [(50, 12), (12, 50), (30, 30), (7, 1)])
def test_rank_me(shape):
    features = torch.randn(shape, generator=torch.manual_seed(0)) * torch.rand(shape[1])
    assert rank_me(features) == pytest.approx(plain_rank(features), rel=1e-6)
    assert 1 - 1e-6 < rank_me(features) < min(shape) + 1e-3


def test_rank_me_counts_directions():
    basis = torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64))[0]
    for rank in (1, 5, 64):
        rows = basis[:, :rank] @ basis[:rank]
        assert rank_me(rows) == pytest.approx(rank, rel=1e-3)
    assert rank_me(torch.zeros(4, 3)) < 1.01


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_alignment(power):
    first, second = torch.randn(2, 40, 9)
    one, two = normalize(first.double(), dim=1), normalize(second.double(), dim=1)
    plain = sum(math.dist(a, b) ** power for a, b in zip(one.tolist(), two.tolist(), strict=True))
    assert alignment(first, second, power) == pytest.approx(plain / 40, rel=1e-12)
    assert alignment(first, 3 * first) == pytest.approx(0, abs=1e-12)


def test_uniformity(monkeypatch):
    features = torch.randn(23, 5)
    rows = normalize(features.double(), dim=1).tolist()
    pairs = [math.exp(-2 * math.dist(a, b) ** 2) for i, a in enumerate(rows) for b in rows[i + 1 :]]
    plain = math.log(sum(pairs) / len(pairs))
    for held in (1024, 23, 7, 1):
        monkeypatch.setattr(feature_geometry, "ROWS", held)
        assert uniformity(features) == pytest.approx(plain, rel=1e-10)
    assert uniformity(torch.ones(4, 3)) == pytest.approx(0, abs=1e-12)
