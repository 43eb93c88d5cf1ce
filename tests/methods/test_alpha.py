"""One alpha for each negative: fastneg.methods.alpha, and what the methods make of it."""

import pytest
import torch
import torch.nn.functional as F

from fastneg.kernels.info_nce import info_nce
from fastneg.methods import METHODS
from fastneg.methods.alpha import Alphas
from fastneg.recipes.presets import tiny_cpu


def vectors(*shape, seed=0):
    return F.normalize(
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64),
        dim=-1,
    )


def truth(query, positive, queue, negatives, alphas, temperature):
    logits = [
        (query * positive).sum(1, keepdim=True),
        query @ queue.T,
        torch.einsum("nd,nmd->nm", query, negatives) * alphas,
    ]
    return F.cross_entropy(
        torch.cat(logits, 1) / temperature, torch.zeros(len(query), dtype=torch.long)
    )


@pytest.mark.parametrize("values", [(2.0, 2.0, 2.0), (2.0, 0.5, 0.0), (3.0, 0.7, 1.3)])
def test_loss_and_gradient_are_those_of_the_definition(values):
    query, positive, queue, negatives = (
        vectors(5, 8),
        vectors(5, 8, seed=1),
        vectors(9, 8, seed=2),
        vectors(5, 3, 8, seed=3),
    )
    grads = []
    for loss in (
        lambda q: info_nce(q, positive, queue, temperature=0.2, **Alphas(values).extra(negatives)),
        lambda q: truth(
            q, positive, queue, negatives, torch.tensor(values, dtype=torch.float64), 0.2
        ),
    ):
        leaf = query.clone().requires_grad_()
        value = loss(leaf)
        grads.append((value.detach(), *torch.autograd.grad(value, leaf)))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounded_to_half_precision_it_is_as_exact_as_a_scalar_alpha(dtype):
    """alpha t is rounded in place of t: for a power of two the same bits, else an error within the
    bound of the dtype."""
    negatives = vectors(64, 1, 128, seed=3).float()
    assert torch.equal((2 * negatives).to(dtype).float(), 2 * negatives.to(dtype).float())
    scaled = (
        Alphas((3.0, 2.0)).extra(negatives.expand(-1, 2, -1))["extra_negatives"].to(dtype).float()
    )
    assert (
        (scaled[:, 0] - 3 * negatives[:, 0]).abs()
        <= torch.finfo(dtype).eps / 2 * (3 * negatives[:, 0]).abs() + 1e-7
    ).all()


def test_equal_alphas_leave_the_negatives_alone():
    negatives = vectors(4, 2, 8)
    extra = Alphas((2.0, 2.0)).extra(negatives)
    assert extra["extra_negatives"] is negatives and extra["extra_scale"] == 2.0


@pytest.mark.parametrize("method", ["moco", "byol", "simclr"])
def test_each_method_takes_an_alpha_for_each_kind(method):
    """With two kinds that hold the same images and alphas a and b, order does not matter, and equal
    alphas are one alpha."""
    changes = {
        "method": method,
        "negatives": "patch,texture",
        "feature_dim": 16,
        "bn": "none",
        "bn_splits": None,
    }
    changes |= {
        "queue_size": 24 if method == "moco" else None,
        "temperature": None,
        "key_momentum": None,
    }
    g = torch.Generator().manual_seed(0)
    query, key = (torch.randn(8, 3, 32, 32, generator=g) for _ in range(2))
    negatives = torch.randn(8, 2, 3, 32, 32, generator=g)

    def loss(alpha, images=negatives):
        torch.manual_seed(0)
        return METHODS[method](tiny_cpu().replace(**changes, alpha=alpha))(
            query, key, images, torch.Generator().manual_seed(1)
        ).loss

    torch.testing.assert_close(
        loss("patch=1.5,texture=0.25"), loss("patch=0.25,texture=1.5", negatives.flip(1))
    )
    torch.testing.assert_close(loss("patch=1.5,texture=1.5"), loss(1.5))
    assert not torch.isclose(loss("patch=1.5,texture=0.25"), loss("patch=0.25,texture=1.5"))
