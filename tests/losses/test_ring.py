"""Losses whose rows go round four gloo processes against one process with all rows, in float64."""

import pytest
import torch

from fastneg.losses import clip_loss, siglip_loss
from fastneg.losses.ring import Ring
from helpers.processes import train

SCRIPT = """
    import sys
    import torch, torch.distributed as dist
    from fastneg.losses import clip_loss, siglip_loss
    from fastneg.losses.ring import Ring

    dist.init_process_group("gloo")
    rank, size, n = dist.get_rank(), dist.get_world_size(), 3
    g = torch.Generator().manual_seed(0)
    everyone = torch.nn.functional.normalize(
        torch.randn(2, size * n, 6, generator=g, dtype=torch.float64), dim=2
    )
    found = {}
    for name in ("clip", "siglip"):
        first, second = (
            view[rank * n : (rank + 1) * n].clone().requires_grad_() for view in everyone
        )
        factors = [
            torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.3, -2.0)
        ]
        if name == "clip":
            loss = clip_loss(first, second, temperature=factors[0], ring=True)
            factors = factors[:1]
        else:
            loss = siglip_loss(first, second, scale=factors[0], bias=factors[1], ring=True)
        # what a process's loss is worth differs: each gradient must be the right mixture
        ((rank + 1) * loss).backward()
        gathered = [torch.empty_like(first).repeat(size, 1) for _ in range(2)]
        for out, view in zip(gathered, (first, second)):
            dist.all_gather_into_tensor(out, view.grad)
        losses = torch.empty(size, dtype=torch.float64)
        dist.all_gather_into_tensor(losses, loss.detach()[None])
        for factor in factors:
            dist.all_reduce(factor.grad)
        found[name] = [losses, *gathered, *(factor.grad for factor in factors)]
    if rank == 0:
        torch.save({"everyone": everyone, **found}, sys.argv[1])
    dist.barrier()
    dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return train(tmp_path_factory.mktemp("ring"), 4, SCRIPT)


def truth(name, everyone):
    """Losses of the four parts, and gradients of their weighted sum, from the whole matrix."""
    first, second = (view.clone().requires_grad_() for view in everyone)
    factors = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.3, -2.0)]
    if name == "clip":
        factors = factors[:1]
        logits = first @ second.T / factors[0]
        own = logits.diagonal()
        rows = (logits.logsumexp(1) + logits.logsumexp(0)) / 2 - own
    else:
        signs = 2 * torch.eye(len(first), dtype=torch.float64) - 1
        logits = factors[0] * first @ second.T + factors[1]
        rows = -torch.nn.functional.logsigmoid(signs * logits).sum(1)
    losses = rows.view(4, 3).mean(1)
    (losses * torch.arange(1, 5)).sum().backward()
    return [losses.detach(), *(leaf.grad for leaf in (first, second, *factors))]


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_four_processes_are_as_one(found, name):
    for ours, expected in zip(found[name], truth(name, found["everyone"]), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("loss", [clip_loss, siglip_loss])
def test_a_process_alone_is_a_ring(loss):
    first, second = torch.nn.functional.normalize(torch.randn(2, 5, 8), dim=2)
    assert torch.equal(loss(first, second, ring=True), loss(first, second))
    assert Ring(True).size == 1
