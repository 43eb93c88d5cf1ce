"""The losses of two views against their definitions in float64; nt_xent's are in test_simclr.py."""

import pytest
import torch
import torch.nn.functional as F

from fastneg.losses.two_views import clip_loss, nt_xent


def views(count, dim=24, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    rows = torch.randn(2, count, dim, generator=g, dtype=torch.float64)
    return [view.to(dtype) for view in F.normalize(rows, dim=2)]


def definition(first, second, temperature):
    logits, classes = first @ second.T / temperature, torch.arange(len(first))
    return (F.cross_entropy(logits, classes) + F.cross_entropy(logits.T, classes)) / 2


@pytest.mark.parametrize("count", [2, 7, 33])
@pytest.mark.parametrize("temperature", [0.005, 0.07, 1.0])
def test_clip_loss_and_every_gradient(count, temperature):
    results = []
    for loss_of in (definition, lambda a, b, t: clip_loss(a, b, temperature=t)):
        first, second = (view.requires_grad_() for view in views(count))
        heat = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
        loss = loss_of(first, second, heat)
        loss.backward()
        results.append((loss.detach(), first.grad, second.grad, heat.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_clip_loss_of_other_dtypes(dtype):
    first, second = views(16, dtype=dtype)
    found = clip_loss(first, second)
    assert found.dtype == torch.float32
    expected = definition(first.double(), second.double(), 0.07)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_they_are_lightlys_of_rows_that_are_normalised_first():
    from lightly.loss import NTXentLoss

    first, second = (3 * view for view in views(7))
    expected = NTXentLoss(temperature=0.5)(first, second)
    ours = nt_xent(*(F.normalize(view, dim=1) for view in (first, second)), temperature=0.5)
    torch.testing.assert_close(ours, expected)


def test_a_process_compares_its_rows_with_those_of_all():
    """Two processes' losses, each with its own rows first, average to the loss of one."""
    first, second = views(10)
    whole = definition(first, second, 0.1)
    parts = []
    for own in (slice(0, 5), slice(5, 10)):
        start = own.start
        everyone = tuple(view.roll(-start, 0) for view in (first, second))
        parts.append(clip_loss(first[own], second[own], everyone, temperature=0.1))
    torch.testing.assert_close(sum(parts) / 2, whole, rtol=1e-12, atol=0)


def test_others_are_given_or_go_round():
    first, second = views(4)
    with pytest.raises(ValueError, match="everyone is given and ring is True"):
        clip_loss(first, second, (first, second), ring=True)


@pytest.mark.parametrize("loss", [clip_loss, nt_xent])
def test_one_pair_and_unlike_views_are_refused(loss):
    with pytest.raises(ValueError, match="one row"):
        loss(torch.ones(1, 4), torch.ones(1, 4))
    with pytest.raises(ValueError, match="two views of the same images"):
        loss(torch.ones(3, 4), torch.ones(2, 4))
    with pytest.raises(ValueError, match="temperature"):
        loss(torch.ones(3, 4), torch.ones(3, 4), temperature=-1.0)
