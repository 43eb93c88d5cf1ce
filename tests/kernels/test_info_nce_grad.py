"""The gradients of InfoNCE: by finite differences, weighted by row, and only those asked for."""

import pytest
import torch

from fastneg.kernels.info_nce import info_nce
from helpers.info_nce_definition import (
    BACKENDS,
    DEVICE,
    definition,
    draw,
    loss_and_grads,
)


def test_gradcheck_in_float64():
    query, positive, negatives, extras = (
        tensor.double().requires_grad_() for tensor in draw(7, 9, 5, 3)
    )
    heat = torch.tensor(0.5, dtype=torch.float64, device=DEVICE, requires_grad=True)
    full = lambda q, k, n, e, t: info_nce(
        q, k, n, temperature=t, extra_negatives=e, extra_scale=2.0, reduction="none"
    )
    assert torch.autograd.gradcheck(full, (query, positive, negatives, extras, heat))
    assert torch.autograd.gradcheck(
        lambda q, k, t: info_nce(q, k, temperature=t, reduction="sum"), (query, positive, heat)
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_weighted_sum_of_rows(backend):
    """Upstream gradients differ by row, one is zero; float16 shares would underflow or overflow if
    they carried them."""
    tensors = draw(20, 70, 32, 2, torch.float16)
    weights = (1000 * torch.linspace(0, 1, 20, device=DEVICE)).square()
    exact = loss_and_grads(
        lambda *a: (definition(*a, 1.0)[0] * weights).sum(),
        [t.double() for t in tensors],
        torch.tensor(0.2, device=DEVICE).double(),
    )
    heat = torch.tensor(0.2, device=DEVICE)
    rows = lambda q, k, n, e, t: info_nce(
        q, k, n, temperature=t, extra_negatives=e, reduction="none", backend=backend
    )
    mine = loss_and_grads(lambda *a: (rows(*a) * weights).sum() * 2.0**-20, tensors, heat)
    for truth, got in zip(exact, mine, strict=True):
        assert (truth - got.double() * 2.0**20).norm() <= 4e-3 * truth.norm()


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_gradients_asked_for(backend):
    query, positive, negatives, extras = draw(9, 40, 16, 2)
    heat = torch.tensor(0.07, device=DEVICE)
    function = lambda q, k, n, e, t: info_nce(
        q, k, n, temperature=t, extra_negatives=e, backend=backend
    )
    everything = loss_and_grads(function, (query, positive, negatives, extras), heat)[1:]
    for index, wanted in enumerate(everything):
        leaves = [query, positive, negatives, extras, heat]
        leaves[index] = leaves[index].detach().clone().requires_grad_()
        info_nce(
            *leaves[:3], temperature=leaves[4], extra_negatives=leaves[3], backend=backend
        ).backward()
        torch.testing.assert_close(leaves[index].grad, wanted)
        assert all(leaf.grad is None for i, leaf in enumerate(leaves) if i != index)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("which", ["lse", "positive_logit", "all"])
def test_what_else_has_a_gradient(backend, which):
    """The log-sum-exp and the positive logit, alone and beside the loss."""
    heat = torch.tensor(0.2, device=DEVICE)

    def ours(q, k, n, e, t):
        out = info_nce(
            q, k, n, temperature=t, extra_negatives=e, extra_scale=2.0,
            return_stats=True, reduction="none", backend=backend,
        )  # fmt: skip
        weighted = out.loss + 3 * out.lse.square() - out.positive_logit
        return (weighted if which == "all" else getattr(out, which)).sum()

    def exact(q, k, n, e, t):
        loss, logits = definition(q, k, n, e, t, 2.0)
        lse = logits.logsumexp(1)
        weighted = loss + 3 * lse.square() - logits[:, 0]
        return {"lse": lse, "positive_logit": logits[:, 0], "all": weighted}[which].sum()

    tensors = draw(20, 70, 32, 2)
    if which == "positive_logit":  # it knows no negatives, whose gradient is None
        query, positive = (tensor.requires_grad_() for tensor in tensors[:2])
        found = torch.autograd.grad(ours(*tensors, heat), (query, positive))
        truth = torch.autograd.grad(exact(*tensors, heat), (query, positive))
    else:
        found = loss_and_grads(ours, tensors, heat)
        truth = loss_and_grads(exact, [tensor.double() for tensor in tensors], heat.double())
    for mine, right in zip(found, truth, strict=True):
        assert (mine.double() - right).norm() <= 1e-5 * right.norm()


def test_gradcheck_of_the_log_sum_exp():
    leaves = [tensor.double().requires_grad_() for tensor in draw(7, 9, 5, 3)]
    heat = torch.tensor(0.5, dtype=torch.float64, device=DEVICE, requires_grad=True)

    def call(q, k, n, e, t):
        out = info_nce(q, k, n, temperature=t, extra_negatives=e, return_stats=True)
        return out.lse, out.positive_logit, out.loss

    assert torch.autograd.gradcheck(call, (*leaves, heat))
