"""The patch shuffle against its definition, pixel by pixel, on both backends."""

import sys

import pytest
import torch

import fastneg.kernels.backend
import fastneg.kernels.patch_shuffle_torch as module
import fastneg.kernels.patch_shuffle_triton
from fastneg.kernels.patch_shuffle import patch_shuffle

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BACKENDS = ["auto", "torch", "triton"]  # on a CPU "auto" is numba


def definition(images, offsets, patch_sizes):
    """out[n, m, :, y, x] = images[n, :, oy + y % p, ox + x % p], in plain Python."""
    (rows, copies), (height, width) = patch_sizes.shape, images.shape[2:]
    out = torch.empty((rows, copies, *images.shape[1:]), dtype=images.dtype)
    for n in range(rows):
        for m in range(copies):
            p = int(patch_sizes[n, m])
            for y in range(height):
                for x in range(width):
                    oy, ox = offsets[n, m, y // p, x // p].tolist()
                    out[n, m, :, y, x] = images[n, :, oy + y % p, ox + x % p]
    return out


def draw(rows, copies, channels, height, width, dtype=torch.float32, smallest=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (rows, channels, height, width), generator=g).to(dtype)
    sizes = torch.randint(
        smallest, min(height, width) + 1, (rows, copies), generator=g, dtype=torch.int32
    )
    sizes[0, 0] = smallest
    grid = -(-max(height, width) // smallest)
    room = torch.tensor([height, width]) - sizes[:, :, None, None, None]
    offsets = (torch.rand((rows, copies, grid, grid, 2), generator=g) * (room + 1)).int()
    return images, offsets, sizes


def on_device(*tensors):
    return [tensor.to(DEVICE) for tensor in tensors]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
def test_equals_the_definition(backend, memory_format, dtype):
    images, offsets, sizes = draw(2, 2, 3, 23, 31, dtype)
    truth = definition(images, offsets, sizes)
    images, offsets, sizes = on_device(
        images.contiguous(memory_format=memory_format), offsets, sizes
    )
    out = patch_shuffle(images, offsets, sizes, backend=backend)
    assert out.dtype == dtype and torch.equal(out.cpu(), truth)
    assert out.flatten(0, 1).is_contiguous(memory_format=memory_format)
    assert out.flatten(0, 1).data_ptr() == out.data_ptr()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.bool, torch.bfloat16, torch.float32, torch.int64, torch.complex64]
)
def test_the_runs_of_pixels_that_a_cpu_copies(monkeypatch, dtype, memory_format, threads):
    """They serve all rows without gaps, of either format, and give what the gathering of pixels
    gives."""
    images, offsets, sizes = draw(3, 2, 3, 37, 23, smallest=4)
    images = images.to(dtype).contiguous(memory_format=memory_format)
    gather = module.patch_shuffle
    monkeypatch.setattr(module, "patch_shuffle", lambda *_: pytest.fail("pixels were gathered"))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    out = patch_shuffle(images, offsets, sizes, backend="numba")
    torch.set_num_threads(before)
    gathered = torch.empty_like(out)
    gather(images, offsets, sizes, gathered)
    assert torch.equal(out, gathered)


def test_pixels_are_gathered_where_runs_do_not_serve(monkeypatch):
    """Without numba, of two memory formats, and of elements that are too wide."""
    images, offsets, sizes = draw(2, 2, 3, 20, 24)
    truth = definition(images, offsets, sizes)
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(patch_shuffle(last, offsets, sizes, out=torch.empty_like(truth)), truth)
    with pytest.raises(ValueError, match="takes rows without gaps"):
        patch_shuffle(last, offsets, sizes, backend="numba", out=torch.empty_like(truth))
    assert torch.equal(
        patch_shuffle(images.to(torch.complex128), offsets, sizes).real.float(), truth
    )
    monkeypatch.setattr(fastneg.kernels.backend.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "fastneg.kernels.patch_shuffle_cpu", None)
    assert torch.equal(patch_shuffle(images, offsets, sizes), truth)
    with pytest.raises(ModuleNotFoundError, match="numba is not installed"):
        patch_shuffle(images, offsets, sizes, backend="numba")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("channels", "height", "width", "smallest"),
    [(1, 16, 16, 4), (3, 17, 8, 1), (4, 8, 40, 8), (5, 7, 7, 7)],
)
def test_other_shapes_and_a_single_copy(backend, channels, height, width, smallest):
    images, offsets, sizes = draw(3, 1, channels, height, width, smallest=smallest)
    truth = definition(images, offsets, sizes)[:, 0]
    images, offsets, sizes = on_device(images, offsets[:, 0], sizes[:, 0])
    assert torch.equal(patch_shuffle(images, offsets, sizes, backend=backend).cpu(), truth)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_patch_size_divides_exactly(backend):
    """A product with a rounded 1/p would put some pixels at tile borders (p = 41, 47, 55 …) into
    the tile before."""
    sizes = torch.arange(16, 225, dtype=torch.int32)[:, None]
    images = torch.arange(224.0).expand(len(sizes), 1, 1, 224).contiguous()
    left = (torch.arange(14) * 31 % (225 - sizes)).int()[:, None, None, :].expand(-1, 1, 14, -1)
    offsets = torch.stack([torch.zeros_like(left), left], -1)
    tile = torch.arange(224) // sizes
    truth = left[:, 0, 0].gather(1, tile) + torch.arange(224) % sizes
    out = patch_shuffle(*on_device(images, offsets, sizes), backend=backend)
    assert torch.equal(out[:, 0, 0, 0].cpu(), truth.float())


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_images_and_a_given_buffer(backend):
    images, offsets, sizes = draw(2, 3, 3, 20, 24)
    truth = definition(images, offsets, sizes)
    wide = torch.zeros(2, 3, 20, 48)
    wide[..., ::2] = images
    wide, offsets, sizes = on_device(wide, offsets, sizes)
    buffer = torch.zeros(2, 4, 3, 20, 24, device=DEVICE)
    out = patch_shuffle(wide[..., ::2], offsets, sizes, backend=backend, out=buffer[:, 1:])
    assert out.data_ptr() == buffer[:, 1:].data_ptr()
    assert torch.equal(buffer[:, 1:].cpu(), truth) and not buffer[:, 0].any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_straight_into_the_batch_of_the_key_encoder(backend, memory_format):
    """One buffer for a key view and M negatives of each image: the negatives are written behind the
    views, in its memory format."""
    images, offsets, sizes = draw(2, 3, 3, 20, 24, torch.bfloat16)
    truth = definition(images, offsets, sizes)
    batch = torch.zeros(2 + 2 * 3, 3, 20, 24, dtype=torch.bfloat16, device=DEVICE).contiguous(
        memory_format=memory_format
    )
    images, offsets, sizes = on_device(
        images.contiguous(memory_format=memory_format), offsets, sizes
    )
    patch_shuffle(images, offsets, sizes, backend=backend, out=batch[2:].unflatten(0, (2, 3)))
    assert torch.equal(batch[2:].cpu(), truth.flatten(0, 1)) and not batch[:2].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_offsets_in_any_layout(backend):
    images, offsets, sizes = draw(2, 2, 3, 20, 24)
    truth = definition(images, offsets, sizes)
    strange = offsets.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    images, strange, sizes = on_device(images, strange, sizes.t().contiguous().t())
    assert torch.equal(patch_shuffle(images, strange, sizes, backend=backend).cpu(), truth)


def test_offsets_that_begin_at_an_odd_place_and_images_that_reach_far(monkeypatch):
    """Two corners' numbers are loaded as one, and large images' distances take 64 bits."""
    monkeypatch.setattr(fastneg.kernels.patch_shuffle_triton, "REACH", 0)
    images, offsets, sizes = draw(2, 1, 3, 11, 13)
    truth = definition(images, offsets, sizes)
    images, offsets, sizes = on_device(images, offsets, sizes)
    odd = torch.cat([offsets.new_zeros(1), offsets.flatten()])[1:].view(offsets.shape)
    assert odd.storage_offset() == 1
    assert torch.equal(patch_shuffle(images, odd, sizes, backend="triton").cpu(), truth)


def test_the_identity():
    images, _, _ = draw(2, 1, 3, 16, 16)
    corner = torch.arange(0, 16, 4, dtype=torch.int32)
    offsets = torch.stack(torch.meshgrid(corner, corner, indexing="ij"), -1).expand(2, 4, 4, 2)
    assert torch.equal(
        patch_shuffle(images, offsets, torch.full((2,), 4, dtype=torch.int32)), images
    )


def test_an_empty_batch():
    assert patch_shuffle(
        *draw(2, 1, 3, 8, 8)[:1], torch.zeros(2, 0, 2, 2, 2).int(), torch.zeros(2, 0).int()
    ).shape == (2, 0, 3, 8, 8)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_that_require_a_gradient_pass_and_get_none(backend):
    images, offsets, sizes = on_device(*draw(1, 1, 3, 8, 8, smallest=4))
    assert not patch_shuffle(images.requires_grad_(), offsets, sizes, backend=backend).requires_grad


def test_compiles_without_a_graph_break():
    images, offsets, sizes = draw(2, 2, 3, 12, 12)
    compiled = torch.compile(
        lambda *args: patch_shuffle(*args) + 1, fullgraph=True, backend="aot_eager"
    )
    assert torch.equal(compiled(images, offsets, sizes), definition(images, offsets, sizes) + 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backward_pass_that_needs_what_out_held_is_refused(backend):
    images, offsets, sizes = on_device(*draw(2, 2, 3, 12, 12))
    out = torch.empty(2, 2, 3, 12, 12, device=DEVICE)
    weight = torch.ones_like(out, requires_grad=True)
    loss = (weight * out).sum()
    patch_shuffle(images, offsets, sizes, backend=backend, out=out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_buffer_of_inference_mode_is_written():
    images, offsets, sizes = draw(2, 2, 3, 12, 12)
    with torch.inference_mode():
        out = torch.empty(2, 2, 3, 12, 12)
        patch_shuffle(images, offsets, sizes, out=out)
    assert torch.equal(out, patch_shuffle(images, offsets, sizes))


def test_the_operator_is_registered_well():
    images, offsets, sizes = draw(2, 2, 3, 12, 12)
    torch.library.opcheck(
        torch.ops.fastneg.patch_shuffle,
        (images, offsets, sizes, "torch", torch.empty(2, 2, 3, 12, 12)),
    )


def wrong_shapes():
    images, offsets, sizes = draw(2, 2, 3, 12, 12)
    yield (images[0], offsets, sizes), {}, "images are .3, 12, 12.: .N, C, H, W. was expected"
    yield (images, offsets[..., :1], sizes), {}, "offsets are"
    yield (images, offsets[:, :, :2], sizes), {}, "offsets are"
    yield (images, offsets[:1], sizes), {}, "was expected"
    yield (images, offsets, sizes[:, :1]), {}, "was expected"
    yield (images, offsets.long(), sizes), {}, "offsets have dtype torch.int64: int32"
    yield (images, offsets, sizes.float()), {}, "patch_sizes have dtype torch.float32: int32"
    yield (images, offsets.to("meta"), sizes), {}, "offsets are on meta but images on cpu"
    yield (
        (images, offsets, sizes),
        {"out": torch.empty(2, 2, 3, 12, 13)},
        "out is .2, 2, 3, 12, 13.",
    )
    yield (images, offsets, sizes), {"out": torch.empty(2, 2, 3, 12, 12).half()}, "torch.float16"
    yield (images, offsets[:, 0], sizes[:, 0]), {"out": images}, "out is the images themselves"
    yield (images, offsets, sizes), {"backend": "gpu"}, "backend is 'gpu'"
    yield (images.numpy(), offsets, sizes), {}, "images is a ndarray: a tensor"
    yield (images, offsets, 4), {}, "patch_sizes is a int"
    yield (images, offsets, sizes), {"out": images.numpy()}, "out is a ndarray"
    one = torch.empty(1, 2, 3, 12, 12).expand(2, -1, -1, -1, -1)
    yield (images, offsets, sizes), {"out": one}, "some of its elements are one"


@pytest.mark.parametrize(("args", "options", "message"), list(wrong_shapes()))
def test_a_callers_mistake_is_named(args, options, message):
    with pytest.raises(ValueError, match=message):
        patch_shuffle(*args, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda offsets, sizes: offsets.add_(20), "source rows"),
        (lambda offsets, sizes: offsets[..., 1].sub_(20), "source columns"),
        (
            lambda offsets, sizes: sizes.fill_(2),
            "offsets have 3 entries a side but patches of 2 pixels need 6",
        ),
        (lambda offsets, sizes: sizes.zero_(), "patch_sizes hold 0"),
    ],
)
def test_on_the_cpu_offsets_that_lead_outside_are_refused(change, message):
    images, offsets, sizes = draw(2, 2, 3, 12, 12)
    change(offsets, sizes)
    with pytest.raises(ValueError, match=message):
        patch_shuffle(images, offsets, sizes, backend="torch")


def test_the_kernel_never_reads_outside_the_image():
    images, offsets, sizes = on_device(*draw(2, 2, 3, 12, 12))
    out = patch_shuffle(images, offsets + 1_000_000, sizes, backend="triton")
    assert torch.equal(out[0, 0, :, 0, 0], images[0, :, -1, -1])
    out = patch_shuffle(images, offsets, torch.zeros_like(sizes), backend="triton")
    assert out.shape == (2, 2, 3, 12, 12)


@pytest.mark.gpu
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_large_batch_on_the_gpu(memory_format):
    images, offsets, sizes = draw(64, 4, 3, 224, 224, torch.bfloat16, smallest=16)
    truth = patch_shuffle(images, offsets, sizes)
    images, offsets, sizes = on_device(
        images.contiguous(memory_format=memory_format), offsets, sizes
    )
    assert torch.equal(patch_shuffle(images, offsets, sizes).cpu(), truth)


@pytest.mark.gpu
def test_in_a_cuda_graph():
    images, offsets, sizes = on_device(*draw(4, 2, 3, 32, 32))
    eager = patch_shuffle(images, offsets, sizes)
    buffer = torch.empty_like(eager)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        patch_shuffle(images, offsets, sizes, out=buffer)
    buffer.zero_()
    graph.replay()
    assert torch.equal(buffer, eager)


def test_the_grid_turns_where_the_second_dimension_ends(monkeypatch):
    monkeypatch.setattr(fastneg.kernels.patch_shuffle_triton, "MAX_GRID_Y", 2)
    images, offsets, sizes = draw(3, 2, 3, 20, 24)
    truth = definition(images, offsets, sizes)
    images, offsets, sizes = on_device(images, offsets, sizes)
    assert torch.equal(patch_shuffle(images, offsets, sizes, backend="triton").cpu(), truth)
