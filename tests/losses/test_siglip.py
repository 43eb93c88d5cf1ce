"""The sigmoid loss against its definition in float64; over several processes see test_ring.py."""

import math

import pytest
import torch
import torch.nn.functional as F

from fastneg.kernels import info_nce_torch
from fastneg.losses import siglip
from fastneg.losses.siglip import siglip_loss
from helpers.info_nce_definition import BACKENDS, DEVICE


def views(count, dim=12, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(2, count, dim, generator=g, dtype=torch.float64)
    return [view.to(dtype) for view in F.normalize(rows, dim=2)]


def definition(first, second, scale, bias):
    logits = scale * first @ second.T + bias
    signs = 2 * torch.eye(len(first), dtype=first.dtype) - 1
    return -F.logsigmoid(signs * logits).sum() / len(first)


@pytest.mark.parametrize("count", [1, 2, 7, 33])
@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (100.0, 3.0), (0.5, 0.0)])
def test_loss_and_every_gradient(monkeypatch, count, scale, bias):
    monkeypatch.setattr(info_nce_torch, "SMALLEST_CHUNK", 5)
    monkeypatch.setattr(info_nce_torch, "CPU_CHUNK_ELEMENTS", 1)
    results = []
    for loss_of in (definition, lambda a, b, s, t: siglip_loss(a, b, scale=s, bias=t)):
        leaves = [view.requires_grad_() for view in views(count)]
        leaves += [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (scale, bias)]
        loss = loss_of(*leaves)
        (3 * loss).backward()
        results.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype):
    first, second = (view.requires_grad_() for view in views(16, dtype=dtype))
    loss = siglip_loss(first, second)
    loss.backward()
    assert loss.dtype == torch.float32 and first.grad.dtype == second.grad.dtype == dtype
    exact = definition(first.detach().double(), second.detach().double(), 10.0, -10.0)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-6)


def test_without_gradient_the_loss_is_the_same():
    first, second = views(9)
    scale = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
    assert torch.equal(siglip_loss(first, second, scale=scale), siglip_loss(first, second))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(siglip_loss(first, second), siglip_loss(first, second))
        wide = [view.float() for view in (first, second)]
        inside = siglip_loss(*wide, precision="ieee")
        rounded = siglip_loss(*wide)
    assert torch.equal(inside, siglip_loss(*wide))
    assert torch.equal(rounded, siglip_loss(*(view.bfloat16() for view in wide)))


@pytest.mark.parametrize("value", [-3.0, 0, torch.tensor(2), torch.tensor(0.5).half()])
def test_a_scale_of_any_sign_and_dtype(value):
    first, second = views(9)
    expected = definition(first, second, float(value), -1.0)
    torch.testing.assert_close(siglip_loss(first, second, scale=value, bias=-1), expected)


def test_evaluation_makes_no_gradients(monkeypatch):
    """Parameters ask for one, but nothing is differentiated."""
    asked, real = [], siglip.sigmoid_pairs
    spy = lambda *args, with_grad, **more: (
        asked.append(with_grad) or real(*args, with_grad=with_grad, **more)
    )
    monkeypatch.setattr(siglip, "sigmoid_pairs", spy)
    first, second = views(5)
    bias = torch.nn.Parameter(torch.tensor(-1.0))
    with torch.no_grad():
        siglip_loss(first, second, bias=bias)
    siglip_loss(first, second, bias=bias)
    assert asked == [False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_kernels_give_the_same(dtype):
    """Backward through both backends, of a loss as a gradient scaler makes it."""
    results = []
    for backend in BACKENDS:
        pair = [side.to(DEVICE).requires_grad_() for side in views(37, 30, dtype)]
        factors = [torch.tensor(v, device=DEVICE, requires_grad=True) for v in (8.0, -4.0)]
        loss = siglip_loss(*pair, scale=factors[0], bias=factors[1], backend=backend)
        (loss * 256).backward()
        results.append([loss.detach(), *(leaf.grad for leaf in (*pair, *factors))])
    for plain, ours in zip(*results, strict=True):
        assert ours.dtype == plain.dtype
        error = (ours.double() - plain.double()).norm()
        assert error <= max(1e-6, 2 * torch.finfo(dtype).eps) * plain.double().norm()


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        (torch.ones(3, 4), torch.ones(3, 4), {"scale": "a"}, "scale is 'a'"),
        (torch.ones(3, 4), torch.ones(3, 4), {"scale": math.nan}, "scale is nan: a finite"),
        (torch.ones(3, 4), torch.ones(3, 4), {"bias": -math.inf}, "bias is -inf: a finite"),
        (torch.ones(3, 4), torch.ones(3, 4), {"scale": torch.tensor(True)}, "a real number"),
        (torch.ones(3, 4), torch.ones(3, 4), {"bias": torch.ones(2)}, r"bias is \(2,\)"),
        (torch.ones(3, 4), torch.ones(3, 4), {"precision": "fp8"}, "precision is 'fp8'"),
        (
            torch.ones(3, 4).half(),
            torch.ones(3, 4).half(),
            {"precision": "bf16"},
            "are torch.float16",
        ),
        (torch.ones(3, 4), torch.ones(3, 4), {"backend": "cuda"}, "backend is 'cuda'"),
        (torch.ones(3, 4).long(), torch.ones(3, 4).long(), {}, "dtype torch.int64"),
    ],
)
def test_a_callers_mistake_is_named(first, second, options, message):
    with pytest.raises(ValueError, match=message):
        siglip_loss(first, second, **options)
