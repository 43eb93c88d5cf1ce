"""Batch normalisation with residual and ReLU against torch's layers in float64."""

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
    """In the interpreter tiles of a few rows, so that small images have several, and ragged
    ones."""
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


@pytest.mark.parametrize("backend", ["torch", "auto", "triton"])
def test_a_far_mean_costs_no_digits(small_tiles, backend):
    """A difference of large squares would leave no digit of the variance."""
    images, *_ = draw((4, 3, 4, 4), torch.float64, LAST)
    images = (images - 5 + 3e4).float()
    mean, var = torch.zeros(3, device=DEVICE), torch.zeros(3, device=DEVICE)
    batch_norm(images, None, None, mean, var, momentum=1.0, backend=backend)
    expected = images.double().transpose(0, 1).flatten(1)
    assert apart(mean, expected.mean(1)) < 1e-6 and apart(var, expected.var(1)) < 1e-3


@pytest.mark.filterwarnings("ignore:invalid value")  # of numpy, in the interpreter
@pytest.mark.parametrize("backend", ["torch", "auto", "triton"])
def test_what_is_not_finite_stays_in_its_channel_and_group(small_tiles, backend):
    images, weight, bias, mean, var, *_ = draw((4, 3, 2, 3), torch.float32, LAST)
    images[0, 1, 0, 0], images[3, 2, 1, 1] = float("nan"), float("inf")
    asked = images.clone().requires_grad_()
    out = batch_norm(asked, weight, bias, mean, var, relu=True, groups=2, backend=backend)
    out.sum().backward()
    for bad in (~out.isfinite(), ~asked.grad.isfinite()):
        assert bad[:2, 1].all() and bad[2:, 2].any()
        assert not bad[:2, [0, 2]].any() and not bad[2:, :2].any()
    assert [value.isfinite().item() for value in mean] == [True, False, False]


def saved(run):
    """The shapes of what autograd keeps of a call."""
    kept = []

    def pack(tensor):
        kept.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return kept


def test_nothing_is_kept_that_is_not_needed():
    images, weight, bias, mean, var, residual, _ = draw((4, 3, 2, 3), torch.float32, LAST, True)
    inputs = asking(images, weight, bias, residual)
    run = lambda residual=None, **options: batch_norm(
        *inputs[:3], mean, var, residual=residual, **options
    )
    with torch.no_grad():
        assert saved(lambda: run(inputs[3], relu=True)) == []
    images_kept = lambda *args, **options: saved(lambda: run(*args, **options)).count((4, 3, 2, 3))
    assert images_kept(relu=True) == images_kept(inputs[3]) == 1
    assert images_kept(inputs[3], relu=True) == 2  # the output too, which the next layer keeps


def test_second_derivatives_and_forward_mode_are_refused():
    images = draw((4, 3, 2, 3), torch.float32, LAST)[0].requires_grad_()
    (first,) = torch.autograd.grad(batch_norm(images, relu=True).sum(), images, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated twice"):
        first.sum().backward()
    with (
        torch.autograd.forward_ad.dual_level(),
        pytest.raises((RuntimeError, NotImplementedError), match=r"jvp|forward AD"),
    ):
        batch_norm(torch.autograd.forward_ad.make_dual(images, images.detach()))


def test_the_number_of_threads_changes_nothing(monkeypatch):
    from fastneg.kernels import batch_norm_cpu

    monkeypatch.setattr(batch_norm_cpu, "BLOCK", 64)
    images, weight, bias, _, _, residual, gradient = (
        tensor.cpu() for tensor in draw((8, 6, 5, 5), torch.float32, LAST, True)
    )
    found, before = [], torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        inputs = asking(images, weight, bias, residual)
        out = batch_norm(*inputs[:3], residual=inputs[3], relu=True, groups=2, backend="numba")
        found.append((out, *torch.autograd.grad(out, inputs, gradient)))
    torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_statistics_of_processes_are_joined(small_tiles, backend):
    """As of one process with all images."""
    images, _, _, mean, var, *_ = draw((6, 5, 2, 3), torch.float32, LAST)
    wide, count = images.double(), torch.tensor(0, device=DEVICE)
    parts = torch.stack(
        [
            torch.stack(torch.ops.fastneg.batch_norm_statistics(part, *(None,) * 3, 1, 0.1, "auto"))
            for part in images.chunk(3)
        ]
    )
    expected = mean.double(), var.double()
    F.batch_norm(wide, *expected, training=True)
    joined = torch.ops.fastneg.batch_norm_merge(parts, mean, var, count, 12, 0.1, backend)
    assert apart(joined[0][0], wide.mean((0, 2, 3))) < 1e-6
    assert apart(joined[1][0], wide.var((0, 2, 3), correction=0)) < 1e-6
    assert apart(mean, expected[0]) < 1e-6 and apart(var, expected[1]) < 1e-6 and count == 1


def test_other_strides_and_half_precision_weights():
    images, weight, bias, mean, var, residual, gradient = draw(
        (4, 6, 3, 5), torch.float32, PLAIN, True
    )
    wide = images.repeat_interleave(2, 3)
    run = lambda images, residual, weight: batch_norm(
        images, weight, bias, mean.clone(), var.clone(), residual=residual, relu=True
    )
    expected = run(images, residual, weight)
    last = residual.contiguous(memory_format=LAST)
    assert torch.equal(run(wide[..., ::2], last, weight), expected)
    half = weight.half().requires_grad_()
    out = run(images, None, half)
    out.backward(gradient.contiguous(memory_format=LAST))
    assert out.dtype == torch.float32 and half.grad.dtype == torch.float16


def test_it_is_one_node_of_a_compiled_graph():
    images, weight, bias, mean, var, residual, gradient = draw(
        (4, 6, 3, 5), torch.float32, LAST, True
    )
    run = lambda *inputs: batch_norm(
        *inputs[:3], mean, var, residual=inputs[3], relu=True, groups=2
    )
    inputs = asking(images, weight, bias, residual)
    expected = torch.autograd.grad(run(*inputs), inputs, gradient)
    before = mean.clone()
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(*inputs), inputs, gradient)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert not torch.equal(mean, before)


@pytest.mark.gpu
def test_a_cuda_graph_replays_it():
    images, weight, bias, mean, var, residual, _ = draw((64, 64, 9, 9), torch.bfloat16, LAST, True)
    run = lambda: batch_norm(
        images, weight, bias, mean, var, residual=residual, relu=True, groups=4
    )
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = run()
    images.copy_(images.flip(0))
    moved = mean.clone()
    graph.replay()
    assert torch.equal(out, run()) and not torch.equal(mean, moved)
