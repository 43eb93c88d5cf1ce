"""Quilting against its definition in plain Python, on both backends: fastneg.kernels.texture and
fastneg.kernels.texture_cpu, the latter spread over threads by fastneg.kernels.cpu_threads."""

import subprocess

import numpy as np
import pytest
import torch

from fastneg.kernels.texture import block_grid, quilt
from fastneg.negatives.texture_torch import draw_corners
from helpers.ready import ready_python

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BACKENDS = ["auto", "triton"]  # on a CPU "auto" is numba


def definition(levels, corners, size, block, overlap, seam):
    """The source pixel that each pixel shows: every path through the strips is tried where that is
    feasible, else found by recursion."""
    rows, columns = block_grid(size, block, overlap)
    step, patch = block - overlap, levels.shape[-1]
    lines = levels.transpose(0, 2, 3, 1).reshape(-1, levels.shape[1]).astype(np.int64)
    shown = np.full((rows * step + overlap, columns * step + overlap), -1)
    inner = np.arange(block)[:, None] * patch + np.arange(block)
    for b in range(rows * columns):
        top, left = b // columns * step, b % columns * step
        old = shown[top : top + block, left : left + block]
        costs = []
        for corner in corners[b]:
            shared = old >= 0
            costs.append(((lines[old[shared]] - lines[(corner + inner)[shared]]) ** 2).sum())
        new = corners[b][int(np.argmin(costs))] + inner
        keep = np.zeros((block, block), bool)
        if seam:
            if left:
                cost = ((lines[old[:, :overlap]] - lines[new[:, :overlap]]) ** 2).sum(-1)
                keep |= np.arange(block)[None, :] < leftmost_cut(cost)[:, None]
            if top:
                cost = ((lines[old[:overlap].T] - lines[new[:overlap].T]) ** 2).sum(-1)
                keep |= np.arange(block)[:, None] < leftmost_cut(cost)[None, :]
        old[~keep] = new[~keep]
    return shown[: size[0], : size[1]]


def leftmost_cut(cost):
    """Of all paths that move by at most one place a row, the cheapest; of equal ones, the first
    place in each row."""
    paths = [[x] for x in range(cost.shape[1])]
    for _ in range(1, len(cost)):
        paths = [
            [*path, x]
            for path in paths
            for x in range(max(0, path[-1] - 1), min(cost.shape[1], path[-1] + 2))
        ]
    totals = [cost[np.arange(len(cost)), path].sum() for path in paths]
    return np.min(
        [path for path, total in zip(paths, totals, strict=True) if total == min(totals)], axis=0
    )


def draw(
    n,
    m,
    size,
    *,
    patch=11,
    block=6,
    overlap=2,
    candidates=5,
    channels=3,
    sources=2,
    dtype=torch.uint8,
    top=256,
    seed=0,
):
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(0, top, (n, sources, channels, patch, patch), generator=g)
    options = {"block": block, "overlap": overlap}
    corners = draw_corners(
        (n, m), size, sources=sources, patch=patch, candidates=candidates, generator=g, **options
    )
    return images.to(dtype), corners, options


def expected(images, corners, size, block, overlap, seam=True):
    out = torch.empty((*corners.shape[:2], images.shape[2], *size), dtype=images.dtype)
    for n in range(corners.shape[0]):
        pixels = images[n].permute(0, 2, 3, 1).reshape(-1, images.shape[2])
        for m in range(corners.shape[1]):
            shown = definition(images[n].numpy(), corners[n, m].numpy(), size, block, overlap, seam)
            out[n, m] = pixels[torch.from_numpy(shown)].permute(2, 0, 1)
    return out


def run(images, corners, size, **options):
    return quilt(images.to(DEVICE), corners.to(DEVICE), size, **options).cpu()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("top", [2, 256])  # with two levels many candidates and paths are equal
@pytest.mark.parametrize("seam", [True, False])
def test_equals_the_definition(backend, top, seam):
    images, corners, options = draw(2, 2, (13, 17), top=top)
    out = run(images, corners, (13, 17), seam=seam, backend=backend, **options)
    assert torch.equal(out, expected(images, corners, (13, 17), seam=seam, **options))
    assert out.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


SHAPES = [
    {"size": (9, 20), "block": 7, "overlap": 3, "candidates": 3},
    {"size": (12, 8), "block": 5, "overlap": 1, "channels": 1, "candidates": 4},
    {"size": (11, 11), "block": 4, "overlap": 2, "channels": 4, "sources": 1, "candidates": 1},
    # smaller than one block, and one place for it
    {"size": (3, 4), "block": 8, "overlap": 4, "channels": 2, "patch": 8},
    {"size": (1, 1), "block": 2, "overlap": 1, "patch": 2},
    {"size": (10, 20), "block": 6, "overlap": 3, "sources": 3, "candidates": 9, "top": 3},
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_other_shapes_and_options(backend, shape):
    shape = dict(shape)
    size = shape.pop("size")
    images, corners, options = draw(1, 1, size, **shape)
    assert torch.equal(
        run(images, corners, size, backend=backend, **options),
        expected(images, corners, size, **options),
    )


def test_the_backends_agree_where_paths_are_too_many_to_try():
    images, corners, options = draw(
        1, 1, (26, 36), patch=24, block=16, overlap=6, candidates=7, top=4, seed=3
    )
    one, other = (
        run(images, corners, (26, 36), backend=backend, **options) for backend in BACKENDS
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_floating_point_pixels_are_copied_and_chosen_as_levels(backend, dtype):
    images, corners, options = draw(2, 1, (13, 17), seed=1)
    # so that lowest … highest is 0 … 255
    images[:, 0, 0, 0, :2] = torch.tensor([0, 255], dtype=torch.uint8)
    values = (images.float() - 100).to(torch.float16).to(dtype)
    values = values if dtype != torch.bfloat16 else (images // 2 * 2 - 100.0).to(dtype)
    truth = run(images, corners, (13, 17), backend=backend, **options)
    out = run(values, corners, (13, 17), backend=backend, **options)
    assert out.dtype == dtype
    if dtype != torch.bfloat16:  # which holds no odd numbers above 256
        assert torch.equal(out.float() + 100, truth.float())


def test_values_that_are_constant_or_not_finite_give_a_result():
    images, corners, options = draw(2, 1, (13, 17), dtype=torch.float32)
    constant = run(torch.full_like(images, 0.25), corners, (13, 17), **options)
    assert (constant == 0.25).all()
    images[0, 0, 0, 0, 0] = float("nan")
    assert run(images, corners, (13, 17), **options)[1].isfinite().all()


def test_many_images_over_several_threads_equal_one_at_a_time():
    images, corners, options = draw(9, 2, (20, 20))
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together = quilt(images, corners, (20, 20), **options)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(
        together,
        torch.cat(
            [quilt(images[i : i + 1], corners[i : i + 1], (20, 20), **options) for i in range(9)]
        ),
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_sources(backend):
    images, corners, options = draw(2, 1, (13, 17))
    strange = images.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    assert torch.equal(
        run(strange, corners, (13, 17), backend=backend, **options),
        expected(images, corners, (13, 17), **options),
    )


def test_the_kernel_never_reads_outside_the_sources():
    images, corners, options = draw(1, 1, (8, 8))
    assert run(images, corners + 1_000_000, (8, 8), backend="triton", **options).shape == (
        1,
        1,
        3,
        8,
        8,
    )
    assert run(images, corners - 1_000_000, (8, 8), backend="triton", **options).shape == (
        1,
        1,
        3,
        8,
        8,
    )


@pytest.mark.parametrize("shape", [(0, 1), (2, 0)])
def test_an_empty_batch(shape):
    images, corners, options = draw(*shape, (13, 17))
    assert quilt(images, corners, (13, 17), **options).shape == (*shape, 3, 13, 17)


def wrong():
    images, corners, options = draw(2, 1, (13, 17))
    size = (13, 17)
    yield (images[0], corners, size), options, "sources are .2, 3, 11, 11.: .N, S, C, P, P."
    yield (images[..., :9], corners, size), options, "sources are"
    yield (images.repeat(1, 1, 2, 1, 1), corners, size), options, "C ≤ 4"
    yield (images.long(), corners, size), options, "sources have dtype torch.int64"
    yield (images, corners[:1], size), options, "corners are .1, 1"
    yield (images, corners, (13, 40)), options, "3 × 10 blocks"
    yield (images, corners.long(), size), options, "corners are torch.int64 on cpu"
    yield (images, corners, (0, 17)), options, "size is .0, 17."
    yield (images, corners, size), {"block": 12, "overlap": 2}, "block is 12: 2 to 11"
    yield (images, corners, size), {"block": 6, "overlap": 4}, "overlap is 4: 1 to 3"
    yield (images, corners, size), {"block": 6, "overlap": 0}, "overlap is 0"
    yield (images, corners, size), {**options, "backend": "gpu"}, "backend is 'gpu'"
    yield (
        (torch.zeros(1, 1, 3, 96, 96), corners, size),
        {"block": 96, "overlap": 48},
        "would leave 30 bits",
    )
    yield (images.numpy(), corners, size), options, "sources is a ndarray"
    yield (images, [1], size), options, "corners is a list"
    yield (images, corners.to("meta"), size), options, "corners are torch.int32 on meta"
    yield (images, corners, 13), options, "size is 13: 2 numbers"
    yield (images, corners, (13.0, 17.0)), options, "its height is 13.0: a whole number"
    yield (images, corners, size), {"block": 6.0, "overlap": 2}, "block is 6.0: a whole number"
    yield (images, corners, size), {**options, "seam": "no"}, "seam is 'no'"
    yield (images, corners - 10_000, size), options, "corners go from"
    yield (
        (images, corners * 0 + 9, size),
        options,
        "row 0 and column 9 of a source patch: a block of 6",
    )
    yield (images, corners * 0 + 11 * 9, size), options, "row 9 and column 0 of a source patch"


@pytest.mark.parametrize(("args", "options", "message"), list(wrong()))
def test_a_callers_mistake_is_named(args, options, message):
    with pytest.raises(ValueError, match=message):
        quilt(*args, **options)


def test_compiles_without_a_graph_break():
    images, corners, options = draw(2, 1, (13, 17))
    compiled = torch.compile(
        lambda *args: quilt(*args, (13, 17), **options) + 1, fullgraph=True, backend="aot_eager"
    )
    assert torch.equal(
        compiled(images, corners), expected(images, corners, (13, 17), **options) + 1
    )


def test_the_operator_is_registered_well():
    images, corners, _ = draw(2, 1, (13, 17))
    levels = images.permute(0, 1, 3, 4, 2).contiguous()
    torch.library.opcheck(torch.ops.fastneg.quilt, (levels, corners, 13, 17, 6, 2, True, "numba"))


def test_without_numba_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['numba'] = None; import torch; from fastneg.kernels.texture "
        "import quilt\nquilt(torch.zeros(1, 1, 3, 8, 8), torch.zeros(1, 1, 1, 1).int(), (4, 4), "
        "block=4, overlap=2)"
    )
    done = subprocess.run([ready_python(), "-c", code], capture_output=True, text=True, timeout=120)
    assert (
        done.returncode == 1
        and "ModuleNotFoundError: numba is not installed" in done.stderr
        and "fastneg[train]" in done.stderr
    )


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{}, {"seam": False}])
def test_a_large_batch_on_the_gpu_equals_the_cpu(options):
    images, corners, grid = draw(64, 2, (224, 224), patch=96, block=32, overlap=8, candidates=128)
    assert torch.equal(
        run(images, corners, (224, 224), **grid, **options),
        quilt(images, corners, (224, 224), **grid, **options),
    )


@pytest.mark.gpu
def test_float_levels_on_the_gpu_equal_the_cpu():
    images, corners, grid = draw(16, 1, (224, 224), patch=96, block=32, overlap=8, candidates=64)
    images = (images.float() / 97 - 1.3).half()
    assert torch.equal(
        run(images, corners, (224, 224), **grid), quilt(images, corners, (224, 224), **grid)
    )


@pytest.mark.gpu
def test_the_loops_of_numba_are_refused_on_cuda():
    images, corners, grid = draw(1, 1, (13, 17))
    with pytest.raises(RuntimeError, match="takes tensors on the CPU only"):
        quilt(images.cuda(), corners.cuda(), (13, 17), backend="numba", **grid)
