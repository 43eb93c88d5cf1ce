"""Images tiled with patches of themselves: the contract, the checks and the choice of backend.

The implementations are patch_shuffle_triton.py, patch_shuffle_cpu.py (numba) and
patch_shuffle_torch.py. Shapes: N batch, M copies per image, C channels, H W pixels, G entries per
side of the offset grid.
"""

import torch

from . import patch_shuffle_torch
from .backend import NUMBA_BACKENDS, resolve_backend
from .checks import check_are_tensors, check_choice
from .operators import operator
from .patch_shuffle_torch import pixels_shown


def patch_shuffle(images, offsets, patch_sizes, *, backend="auto", out=None):
    """Tiles each image with patches of itself: out[n, m, :, y, x] = images[n, :, oy + y % p, ox + x
    % p].

    Here p = patch_sizes[n, m], and (oy, ox) = offsets[n, m, y // p, x // p] is the top-left corner
    of the patch for this tile. Tiles at the right and lower edges are cut off. Pixels are copied
    exactly, and one launch makes all M copies of all images. The caller draws offsets and sizes;
    there are no random numbers here. No gradient.

    The caller must ensure, because checking would wait for the device: 1 ≤ p, G ≥ ceil(max(H, W) /
    p) for the smallest p, and every source pixel that is shown is in the image (0 ≤ oy ≤ H - p and
    0 ≤ ox ≤ W - p is sufficient). The CPU backends check this and raise. On CUDA coordinates are
    clamped, so a wrong offset gives wrong pixels but never reads outside the image.

    Args:
        images: (N, C, H, W), any dtype, NCHW or channels_last.
        offsets: (N, M, G, G, 2) int32, or (N, G, G, 2): row and column of each source corner, in
            pixels.
        patch_sizes: (N, M) int32, or (N,): the side of the patches, in pixels.
        backend: "auto", "triton", "numba" or "torch". "auto" is Triton on CUDA. On the CPU it is
            numba if it is installed and the rows of `images` and `out` have no gaps, otherwise
            torch.
        out: the tensor to write, with the result's shape, dtype and device and any strides without
            overlap; not `images` itself.
    Returns:
        (N, M, C, H, W), or (N, C, H, W) for offsets without M. Each (C, H, W) slab has the memory
            format of `images`, so that out.flatten(0, 1) is channels_last if `images` is.
    Raises:
        ValueError: shapes, dtypes or devices disagree; on the CPU also offsets that lead outside
            the image.
        RuntimeError: the requested backend cannot run here.
    Source: Ge et al. 2021, arXiv:2110.14189, patch-based negatives.
    """
    _check(images, offsets, patch_sizes)
    check_choice("backend", backend, NUMBA_BACKENDS)
    rows, (channels, height, width) = images.shape[0], images.shape[1:]
    single = offsets.dim() == 4
    copies = 1 if single else offsets.shape[1]
    shape = (rows, channels, height, width) if single else (rows, copies, channels, height, width)
    if out is None:
        out = _empty_like(images, copies)
        out = out[:, 0] if single else out
    else:
        _check_out(out, shape, images)
    if out.numel():
        with_copies = (lambda tensor: tensor[:, None]) if single else (lambda tensor: tensor)
        torch.ops.fastneg.patch_shuffle(
            images.detach(),
            with_copies(offsets),
            with_copies(patch_sizes),
            backend,
            with_copies(out),
        )
    return out


def _empty_like(images, copies):
    """(N, M, C, H, W), each slab in the memory format of the images."""
    nhwc = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    flat = torch.empty(
        (len(images) * copies, *images.shape[1:]),
        dtype=images.dtype,
        device=images.device,
        memory_format=torch.channels_last if nhwc else torch.contiguous_format,
    )
    return flat.unflatten(0, (len(images), copies))


@operator(
    "patch_shuffle",
    "(Tensor images, Tensor offsets, Tensor patch_sizes, str backend, Tensor(a!) out) -> ()",
    lambda *_: None,
)
def _patch_shuffle(images, offsets, patch_sizes, backend, out):
    chosen = resolve_backend(images, backend, NUMBA_BACKENDS)
    if not out.is_inference():
        # Autograd must refuse a backward pass that reads what lay here before.
        torch.autograd.graph.increment_version(out)
    if chosen == "triton":
        # Not at the top: importing fastneg must not import Triton.
        from . import patch_shuffle_triton

        patch_shuffle_triton.patch_shuffle(images, offsets, patch_sizes, out)
        return
    if images.device.type == "cpu":
        for copy in range(offsets.shape[1]):
            _check_values(offsets[:, copy], patch_sizes[:, copy, None].long(), *images.shape[2:])
    if chosen == "numba":
        from . import patch_shuffle_cpu  # numba takes time to import

        if patch_shuffle_cpu.patch_shuffle(images, offsets, patch_sizes, out):
            return
        if backend == "numba":
            raise ValueError(
                f"images are {images.dtype} with strides {images.stride()}, out has strides "
                f"{out.stride()}: the numba backend takes rows without gaps, of elements up to 8 "
                'bytes, in one memory format; pass backend="auto" or "torch".'
            )
    patch_shuffle_torch.patch_shuffle(images, offsets, patch_sizes, out)


def _check_values(offsets, sides, height, width):
    grid = offsets.shape[1]
    if sides.min() < 1:
        raise ValueError(
            f"patch_sizes hold {sides.min()}: a patch side of at least 1 pixel was expected."
        )
    needed = -(-max(height, width) // int(sides.min()))
    if needed > grid:
        raise ValueError(
            f"offsets have {grid} entries a side but patches of {sides.min()} pixels need "
            f"{needed}: the grid must cover the image at the smallest patch size."
        )
    start = torch.arange(grid) * sides
    # larger patches leave the end of the grid unused
    used = (start < height)[:, :, None] & (start < width)[:, None, :]
    shown_y, shown_x = (
        pixels_shown(sides, grid, height)[:, :, None],
        pixels_shown(sides, grid, width)[:, None, :],
    )
    for name, corner, shown, size in (
        ("row", offsets[..., 0], shown_y, height),
        ("column", offsets[..., 1], shown_x, width),
    ):
        if (((corner < 0) | (corner + shown > size)) & used).any():
            low, high = corner[used].min(), (corner + shown - 1)[used].max()
            raise ValueError(
                f"offsets lead to source {name}s {low} to {high}: the image has {name}s 0 to "
                f"{size - 1}."
            )


def _check(images, offsets, patch_sizes):
    check_are_tensors(images=images, offsets=offsets, patch_sizes=patch_sizes)
    if images.dim() != 4:
        raise ValueError(f"images are {tuple(images.shape)}: (N, C, H, W) was expected.")
    if (
        offsets.dim() not in (4, 5)
        or offsets.shape[-1] != 2
        or offsets.shape[-2] != offsets.shape[-3]
        or offsets.shape[-2] == 0
    ):
        raise ValueError(
            f"offsets are {tuple(offsets.shape)}: (N, G, G, 2) or (N, M, G, G, 2) was expected."
        )
    if offsets.shape[0] != images.shape[0] or patch_sizes.shape != offsets.shape[:-3]:
        raise ValueError(
            f"images are {tuple(images.shape)}, offsets {tuple(offsets.shape)} and patch_sizes "
            f"{tuple(patch_sizes.shape)}: (N, C, H, W) with (N, G, G, 2) and (N,), or with (N, M, "
            "G, G, 2) and (N, M), was expected."
        )
    for name, tensor in (("offsets", offsets), ("patch_sizes", patch_sizes)):
        if tensor.dtype != torch.int32:
            raise ValueError(
                f"{name} have dtype {tensor.dtype}: int32 was expected; convert with {name}.int()."
            )
        if tensor.device != images.device:
            raise ValueError(
                f"{name} are on {tensor.device} but images on {images.device}: both must be on "
                "one device."
            )


def _check_out(out, shape, images):
    check_are_tensors(out=out)
    if tuple(out.shape) != shape or out.dtype != images.dtype or out.device != images.device:
        raise ValueError(
            f"out is {tuple(out.shape)} {out.dtype} on {out.device}: {shape} {images.dtype} on "
            f"{images.device} was expected."
        )
    if out.requires_grad or out is images:
        raise ValueError(
            "out is the images themselves or requires a gradient: pass a buffer of its own."
        )
    if any(size > 1 and not step for size, step in zip(shape, out.stride(), strict=True)):
        raise ValueError(
            f"out has the strides {out.stride()}, by which some of its elements are one: pass a "
            "buffer of its own."
        )
