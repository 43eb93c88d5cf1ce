"""Batch normalisation with residual and ReLU against torch's layers in float64, on every backend."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from fastneg.kernels import batch_norm_triton
from fastneg.kernels.batch_norm import batch_norm

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
INTERPRETED = DEVICE == "cpu"
SHAPES = [  # with groups
    ((6, 5, 4, 3), 3),
    ((4, 37, 3, 5), 2),  # more channels than a tile takes
    ((2, 16, 1, 3), 2),  # one image a group
    ((8, 7, 1, 1), 2),  # one pixel an image
    ((8, 7), 2),
    ((4, 3, 7), 1),
    ((23, 4, 3, 3), 1),
]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of a few rows, so that small images have several, and ragged ones. A GPU has its own."""
    if INTERPRETED:
        monkeypatch.setattr(batch_norm_triton, "TILE", 128)
        monkeypatch.setattr(batch_norm_triton, "MOST_CHANNELS", {True: 16, False: 4})
        monkeypatch.setattr(batch_norm_triton, "PROGRAMS", 2)
        monkeypatch.setattr(batch_norm_triton, "MERGED", 64)
    batch_norm_triton._divided.cache_clear()
    yield
    batch_norm_triton._divided.cache_clear()


def draw(shape, dtype, memory_format, with_residual=False, seed=0):
    """images, weight, bias, running mean and variance, residual or None, gradient of the result."""
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(shape, generator=g, dtype=torch.float64)
    last = len(shape) == 4 and memory_format == torch.channels_last
    placed = lambda tensor: tensor.to(DEVICE, dtype).contiguous(
        memory_format=torch.channels_last if last else torch.contiguous_format
    )
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    row = lambda: normal(shape[1]).to(DEVICE, wide)
    images, residual, gradient = (placed(normal(*shape) * 2 + 5), normal(*shape), normal(*shape))
    residual = placed(residual) if with_residual else None
    rows = row(), row(), row(), row().abs() + 0.5
    return images, *rows, residual, placed(gradient)


def definition(images, weight, bias, mean, var, residual, relu, training, groups):
    """The result and the running statistics after it, of torch's layers part by part."""
    parts, means, variances = [], [], []
    for part in images.chunk(groups if training else 1):
        own = mean.clone(), var.clone()
        parts.append(F.batch_norm(part, *own, weight, bias, training, 0.1, 1e-5))
        means.append(own[0])
        variances.append(own[1])
    out = torch.cat(parts)
    out = out if residual is None else out + residual
    out = out.relu() if relu else out
    return out, torch.stack(means).mean(0), torch.stack(variances).mean(0)


def asking(*tensors):
    return [None if tensor is None else tensor.clone().requires_grad_() for tensor in tensors]


def apart(value, truth):
    value, truth = value.double().cpu(), truth.double().cpu()
    return ((value - truth).norm() / truth.norm().clamp_min(1e-30)).item()


def compare(backend, shape, groups, dtype, memory_format, relu, with_residual, training):
    images, weight, bias, mean, var, residual, gradient = draw(
        shape, dtype, memory_format, with_residual
    )
    inputs = asking(images, weight, bias, residual)
    wide = asking(*(None if each is None else each.detach().double() for each in inputs))
    expected, *moved = definition(
        *wide[:3], mean.double(), var.double(), wide[3], relu, training, groups
    )
    truth = torch.autograd.grad(
        expected, [each for each in wide if each is not None], gradient.double()
    )
    tracked = torch.tensor(3, device=DEVICE)
    out = batch_norm(
        *inputs[:3],
        mean,
        var,
        residual=inputs[3],
        relu=relu,
        training=training,
        groups=groups if training else 1,
        tracked=tracked,
        backend=backend,
    )
    grads = torch.autograd.grad(out, [each for each in inputs if each is not None], gradient)
    assert out.dtype == dtype and out.stride() == images.stride()
    assert tracked.item() == 3 + training
    values = zip((out, mean, var, *grads), (expected, *moved, *truth), strict=True)
    assert max(apart(*each) for each in values) < TOLERANCE[dtype]


@pytest.mark.parametrize(("shape", "groups"), SHAPES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_equals_the_layers_of_torch(backend, shape, groups, memory_format):
    """On a CPU "auto" is numba where it serves."""
    dtypes = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    flags = itertools.product((False, True), repeat=3)
    for dtype, (relu, residual, training) in itertools.product(dtypes, flags):
        compare(backend, shape, groups, dtype, memory_format, relu, residual, training)


LAST, PLAIN = torch.channels_last, torch.contiguous_format


@pytest.mark.parametrize(
    ("shape", "groups", "memory_format", "dtype", "flags"),  # flags: relu, residual, training
    [
        ((6, 5, 4, 3), 3, LAST, torch.float32, (True, True, True)),
        ((6, 5, 4, 3), 3, PLAIN, torch.bfloat16, (True, False, True)),
        ((2, 37, 3, 5), 2, LAST, torch.bfloat16, (True, True, True)),  # one image a group
        ((2, 6, 3, 5), 1, PLAIN, torch.float32, (True, True, True)),
        ((8, 7, 1, 1), 2, LAST, torch.float16, (False, True, True)),  # one pixel an image
        ((8, 7), 2, PLAIN, torch.float32, (True, False, True)),
        ((4, 3, 7), 1, PLAIN, torch.float32, (False, False, True)),
        ((23, 4, 3, 3), 1, LAST, torch.float32, (True, False, True)),
        ((3, 5, 2, 3), 1, LAST, torch.bfloat16, (True, True, False)),
        ((3, 5, 2, 3), 1, LAST, torch.float32, (False, False, False)),
    ],
)
def test_the_kernels_equal_them_too(small_tiles, shape, groups, memory_format, dtype, flags):
    compare("triton", shape, groups, dtype, memory_format, *flags)
