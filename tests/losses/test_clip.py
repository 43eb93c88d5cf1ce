"""Both directions of CLIP's loss in one sweep: chunks, small losses, the kernels. Its
values and gradients are held to the definition in test_two_views.py."""

import pytest
import torch
import torch.nn.functional as F

from fastneg.kernels import info_nce_torch
from fastneg.kernels.info_nce import info_nce
from fastneg.losses.clip import symmetric_losses
from fastneg.losses.two_views import clip_loss
from helpers.info_nce_definition import BACKENDS, DEVICE


def views(count, dim=16, seed=0):
    g = torch.Generator().manual_seed(seed)
    rows = F.normalize(torch.randn(2, count, dim, generator=g, dtype=torch.float64), dim=2)
    return [view.clone().requires_grad_() for view in rows]


def both_directions(first, second, heat):
    """The loss of each row and of each column by the kernel of one direction."""
    options = {"temperature": heat, "exclude_diagonal": True, "reduction": "none"}
    return info_nce(first, second, second, **options), info_nce(second, first, first, **options)


@pytest.mark.parametrize("chunk", [3, 1000])
@pytest.mark.parametrize("temperature", [0.01, 0.3])
def test_each_pair_has_its_own_weight(monkeypatch, chunk, temperature):
    monkeypatch.setattr(info_nce_torch, "SMALLEST_CHUNK", chunk)
    monkeypatch.setattr(info_nce_torch, "CPU_CHUNK_ELEMENTS", 1)
    weights, results = torch.linspace(0, 2, 11, dtype=torch.float64), []
    for losses_of in (both_directions, symmetric_losses):
        first, second = views(11)
        heat = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
        rows, columns = losses_of(first, second, heat)
        (rows * weights + columns * weights.flip(0)).sum().backward()
        results.append([rows.detach(), columns.detach(), first.grad, second.grad, heat.grad])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-11)


def test_a_tiny_loss_keeps_its_gradient_in_float32():
    """Pairs far apart from each other: the softmax's share of the positive less 1 would be 0."""
    rows = torch.eye(6, 16, dtype=torch.float64)
    grads = []
    for dtype in (torch.float64, torch.float32):
        first = rows.to(dtype, copy=True).requires_grad_()
        loss = clip_loss(first, rows.to(dtype), temperature=0.04)
        loss.backward()
        grads.append(first.grad.double())
    assert 0 < grads[0].norm() < 1e-8
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-4, atol=0)


@pytest.mark.parametrize("finer", [0, 1])
def test_the_finer_of_two_dtypes_is_the_one_worked_in(finer):
    pair = views(7)
    with torch.no_grad():
        pair[1 - finer] = pair[1 - finer].float().requires_grad_()
    loss = clip_loss(*pair, temperature=0.2)
    loss.backward()
    wide = [side.detach().double().requires_grad_() for side in pair]
    expected = clip_loss(*wide, temperature=0.2)
    expected.backward()
    assert loss.dtype == torch.float64
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(pair[finer].grad, wide[finer].grad, rtol=1e-10, atol=1e-12)
    coarse = wide[1 - finer].grad.float()
    torch.testing.assert_close(pair[1 - finer].grad, coarse, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_kernels_give_the_same(dtype):
    """Backward through both backends, of a loss as a gradient scaler makes it."""
    results = []
    for backend in BACKENDS:
        pair = [side.detach().to(dtype).to(DEVICE).requires_grad_() for side in views(37, 30)]
        heat = torch.tensor(0.07, device=DEVICE, requires_grad=True)
        loss = clip_loss(*pair, temperature=heat, backend=backend)
        (loss * 256).backward()
        results.append([loss.detach(), *(side.grad for side in pair), heat.grad])
    for plain, ours in zip(*results, strict=True):
        assert ours.dtype == plain.dtype
        error = (ours.double() - plain.double()).norm()
        assert error <= max(1e-6, 2 * torch.finfo(dtype).eps) * plain.double().norm()


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), (None, torch.bfloat16)])
def test_float32_is_rounded_where_it_is_asked_for(precision, dtype):
    first, second = (side.detach().float() for side in views(9))
    expected = clip_loss(first.to(dtype), second.to(dtype))
    with torch.autocast("cpu", dtype, enabled=precision is None):
        found = clip_loss(first, second, precision=precision)
        exact = clip_loss(first, second, precision="ieee")
    assert torch.equal(found, expected) and torch.equal(exact, clip_loss(first, second))
    assert not torch.equal(exact, found)
