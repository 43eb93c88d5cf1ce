"""SimCLR with non-semantic negatives against the published definition written out in float64,
gradients to every side included."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from fastneg.losses import nt_xent
from fastneg.methods.simclr_torch import SimCLR
from fastneg.recipes.presets import tiny_cpu


def plain_nt_xent(first, second, temperature, extra=None, alpha=1.0):
    """Rows 1 … 2N of the two views, one by one: every other row is compared, the partner is the
    positive."""
    views = torch.cat([first, second])
    n, losses, ranks = len(first), [], []
    for i, view in enumerate(views):
        logits = [view @ views[(i + n) % (2 * n)] / temperature]
        logits += [view @ views[k] / temperature for k in range(2 * n) if k % n != i % n]
        logits += [] if extra is None else [alpha * view @ t / temperature for t in extra[i % n]]
        losses.append(-torch.log_softmax(torch.stack(logits), 0)[0])
        ranks.append(sum(logit > logits[0] for logit in logits[1:]))
    return torch.stack(losses).mean(), torch.tensor([float(rank) for rank in ranks])


def rows(*shape, dtype=torch.float64):
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1).to(dtype).requires_grad_()


@pytest.mark.parametrize(("n", "m"), [(2, 0), (5, 1), (9, 3), (1, 2)])
@pytest.mark.parametrize("temperature", [0.05, 0.5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_loss_and_gradients_are_the_published_ones(n, m, temperature, dtype):
    torch.manual_seed(n)
    inputs = [rows(n, 7, dtype=dtype), rows(n, 7, dtype=dtype)] + (
        [rows(n, m, 7, dtype=dtype)] if m else []
    )
    private = {"extra_negatives": inputs[2], "extra_scale": 1.5} if m else {}
    result = nt_xent(*inputs[:2], temperature=temperature, return_stats=True, **private)
    truth_inputs = [tensor.detach().double().requires_grad_() for tensor in inputs]
    loss, ranks = plain_nt_xent(
        *truth_inputs[:2], temperature, *([truth_inputs[2], 1.5] if m else [])
    )
    allowed = 1e-10 if dtype == torch.float64 else 2e-5
    assert (result.loss.double() - loss).abs() <= allowed * (1 + loss)
    for ours, truth in zip(
        torch.autograd.grad(result.loss, inputs),
        torch.autograd.grad(loss, truth_inputs, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        assert (ours.double() - truth).norm() <= allowed * (0.1 + truth.norm())
    assert torch.equal(result.rank.double(), ranks.double())
    assert result.acc1.item() == pytest.approx((ranks == 0).double().mean().item())


def test_a_pair_that_nothing_disturbs_costs_nothing_and_gives_finite_gradients():
    """Losses far below float32's smallest step from 1: what is joined from two passes must not
    cancel."""
    first = torch.eye(4, requires_grad=True)
    result = nt_xent(first, torch.eye(4), temperature=0.01, return_stats=True)
    result.loss.backward()
    assert (
        0 <= result.loss.item() < 1e-40 + math.exp(-90)
        and first.grad.isfinite().all()
        and result.acc1 == 1
    )


def build(**changes):
    torch.manual_seed(0)
    return SimCLR(
        tiny_cpu().replace(
            method="simclr", **{"feature_dim": 16, "temperature": 0.2, "alpha": 1.5, **changes}
        )
    )


def test_the_method_is_the_definition_on_its_features(float64):
    method = build()
    reference = copy.deepcopy(method)
    query_view, key_view, negatives = (
        torch.randn(6, 3, 32, 32),
        torch.randn(6, 3, 32, 32),
        torch.randn(6, 2, 3, 32, 32),
    )
    output = method(query_view, key_view, negatives)
    output.loss.backward()
    features = reference.query_encoder(torch.cat([query_view, key_view]))
    extra = torch.stack([reference.query_encoder(negatives[:, m]) for m in range(2)], 1)
    loss, _ = plain_nt_xent(features[:6], features[6:], 0.2, extra, 1.5)
    loss.backward()
    torch.testing.assert_close(output.loss, loss)
    for ours, theirs in zip(method.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
    similarity = features[:6] @ features[6:].T
    torch.testing.assert_close(output.stats["positive_similarity"], similarity.diagonal().mean())
    torch.testing.assert_close(
        output.stats["batch_similarity"], similarity[~torch.eye(6, dtype=bool)].mean()
    )
    torch.testing.assert_close(
        output.stats["negative_similarity"], torch.einsum("nd,nmd->nm", features[:6], extra).mean()
    )
    weighted = 1.5 * torch.einsum("nd,nmd->nm", features, torch.cat([extra, extra]))
    others = (features @ features.T).masked_fill(torch.eye(12, dtype=torch.bool), -torch.inf)
    share = (torch.cat([others, weighted], 1) / 0.2).softmax(1)[:, 12:].sum(1).mean()
    torch.testing.assert_close(output.stats["negative_share"], share)
    assert output.keys is None


def test_without_negatives_it_is_plain_simclr():
    method = build(negatives="none")
    query_view, key_view = torch.randn(2, 5, 3, 32, 32)
    features = method.query_encoder(torch.cat([query_view, key_view]))
    output = method(query_view, key_view)
    torch.testing.assert_close(output.loss, plain_nt_xent(features[:5], features[5:], 0.2)[0])
    assert "negative_similarity" not in output.stats
