"""BYOL with non-semantic negatives against its definition written out."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from fastneg.methods.byol_torch import BYOL
from fastneg.models.encoders import scheduled_momentum
from fastneg.recipes.presets import tiny_cpu


def build(**changes):
    torch.manual_seed(0)
    settings = {"feature_dim": 16, "hidden_dim": 24, "alpha": 0.3, "key_momentum": 0.9}
    return BYOL(tiny_cpu().replace(method="byol", **{**settings, **changes}))


def views(n=6, m=2):
    return torch.randn(n, 3, 32, 32), torch.randn(n, 3, 32, 32), torch.randn(n, m, 3, 32, 32)


def plain_loss(method, query_view, key_view, negatives, alpha):
    """|p - z'|² of unit vectors in both directions, and alpha times twice the cosine of prediction
    and negative."""
    p1, p2 = (method.predictor(method.query_encoder(view)) for view in (query_view, key_view))
    with torch.no_grad():
        z1, z2 = method.key_encoder(query_view), method.key_encoder(key_view)
        t = [method.key_encoder(negatives[:, m]) for m in range(negatives.shape[1])]
    unit = lambda x: x / x.norm(dim=1, keepdim=True)
    loss = (unit(p1) - unit(z2)).square().sum(1).mean() + (unit(p2) - unit(z1)).square().sum(
        1
    ).mean()
    for p in (p1, p2):
        for each in t:
            loss = loss + alpha * 2 * F.cosine_similarity(p, each).mean() / len(t)
    return loss


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_loss_and_gradient_are_the_definition(float64, alpha):
    method = build(alpha=alpha)
    reference = copy.deepcopy(method)
    batch = views()
    output = method(*batch)
    output.loss.backward()
    loss = plain_loss(reference, *batch, alpha)
    loss.backward()
    torch.testing.assert_close(output.loss, loss)
    for part in ("query_encoder", "predictor"):
        for ours, theirs in zip(
            getattr(method, part).parameters(), getattr(reference, part).parameters(), strict=True
        ):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
    assert all(parameter.grad is None for parameter in method.key_encoder.parameters())
    assert output.keys is None


def test_without_negatives_it_is_plain_byol():
    method = build(negatives="none")
    query_view, key_view, negatives = views()
    output = method(query_view, key_view)
    torch.testing.assert_close(
        output.loss, plain_loss(method, query_view, key_view, negatives, 0.0)
    )
    assert "negative_similarity" not in output.stats


def test_the_statistics():
    method = build()
    query_view, key_view, negatives = views()
    stats = method(query_view, key_view, negatives).stats
    with torch.no_grad():
        p = F.normalize(method.predictor(method.query_encoder(query_view)), dim=1)
        z, t = (
            F.normalize(method.key_encoder(images), dim=1) for images in (key_view, negatives[:, 0])
        )
        other = F.normalize(method.key_encoder(negatives[:, 1]), dim=1)
    torch.testing.assert_close(stats["positive_similarity"], (p * z).sum(1).mean())
    torch.testing.assert_close(
        stats["negative_similarity"], ((p * t).sum(1).mean() + (p * other).sum(1).mean()) / 2
    )
    torch.testing.assert_close(
        stats["acc1"], ((p @ z.T).argmax(1) == torch.arange(6)).float().mean()
    )


def test_the_target_follows_on_its_schedule():
    method = build()
    with torch.no_grad():
        for parameter in method.query_encoder.parameters():
            parameter.add_(torch.randn_like(parameter))
    for progress in (0.0, 0.25, 0.9):
        momentum = 1 - 0.1 * (math.cos(math.pi * progress) + 1) / 2
        before, query = (
            next(part.parameters()).clone() for part in (method.key_encoder, method.query_encoder)
        )
        method.after_step(None, progress)
        torch.testing.assert_close(
            next(method.key_encoder.parameters()), momentum * before + (1 - momentum) * query
        )


def test_schedules_of_the_momentum():
    assert scheduled_momentum(0.99, "constant", 0.7) == 0.99
    assert scheduled_momentum(0.99, "cosine", 0.0) == pytest.approx(0.99)
    assert scheduled_momentum(0.99, "cosine", 0.5) == pytest.approx(0.995)
    assert scheduled_momentum(0.99, "cosine", 1.0) == 1.0
