"""Textures quilted from patches of an image: the contract, the checks and the choice of backend.

Shapes: N images, S source patches of an image, M textures of it, C channels, P side of a source
patch, H W pixels of a texture, B blocks of a texture (B = rows × columns of blocks), K candidates
for each block.
"""

import torch

from .backend import resolve_backend
from .checks import check_are_tensors, check_choice, check_few, check_flags, check_whole
from .operators import operator

BACKENDS = ("auto", "triton", "numba")
MAX_CHANNELS = 4  # the channels of a pixel travel in one 32-bit word


def quilt(sources, corners, size, *, block=32, overlap=8, seam=True, backend="auto"):
    """Quilts textures from patches of each image: block by block, it places the best of K
    candidates and joins it along the cut of least difference.

    The blocks form a grid, and neighbours share `overlap` pixels. In raster order, each block takes
    the candidate that differs least from what is already there: the least sum of squared
    differences over the shared strips at its top and left, and of equal ones the first. Within each
    strip a cut of least cost separates old pixels from new ones: a path that moves by at most one
    pixel per row, with the least total squared difference, and of equal paths the leftmost (in the
    strip at the top the uppermost). A pixel on the cut is new.

    So every pixel of a texture is an exact copy of a source pixel. There are no random numbers
    here: the caller draws `corners` (`fastneg.negatives.texture_torch.draw_corners`). Differences
    are between whole numbers, so all backends and devices give the same texture for the same
    corners. uint8 is used as it is. Other dtypes are scaled, from the lowest … highest value of an
    image's sources to 0 … 255; the float32 arithmetic of this scaling is elementwise and correctly
    rounded. No gradient.

    The caller must ensure, because checking would wait for the device: each candidate is within one
    source patch. On the CPU this is checked. On CUDA corners are clamped, so a wrong one gives
    wrong pixels but never reads outside the sources.

    Args:
        sources: (N, S, C, P, P), uint8 or floating point, C ≤ 4, any strides.
        corners: (N, M, B, K) int32, the top-left corner of each candidate as (s·P + y)·P + x; B =
            `block_grid` rows × columns.
        size: (H, W) of the textures in pixels.
        block: side of the blocks in pixels, at most P.
        overlap: pixels that neighbouring blocks share, 1 … block // 2.
        seam: False places each block completely, without a cut.
        backend: "auto" (Triton on CUDA, otherwise numba), "triton" or "numba". There is no torch
            backend.
    Returns:
        (N, M, C, H, W) of the dtype of the sources; out.flatten(0, 1) is channels_last.
    Raises:
        ValueError: shapes, dtypes, devices or options disagree; on the CPU also corners that lead
            outside a patch.
        RuntimeError: the requested backend cannot run here. ModuleNotFoundError: on the CPU without
            numba.
    Source: Efros and Freeman 2001, "Image quilting for texture synthesis and transfer"; random
    candidates instead of its full search.
    """
    check_choice("backend", backend, BACKENDS)
    check_flags(seam=seam)
    _check(sources, corners, size, block, overlap)
    images, count, channels, patch = sources.shape[:4]
    height, width = size
    pixels = sources.detach().permute(0, 1, 3, 4, 2).contiguous()
    shown = torch.ops.fastneg.quilt(
        _levels(pixels), corners, height, width, block, overlap, seam, backend
    )
    step = count * patch * patch
    first = torch.arange(0, images * step, step, dtype=torch.int32, device=sources.device)
    picked = pixels.view(-1, channels).index_select(
        0, (shown + first[:, None, None, None]).flatten()
    )
    return picked.view(images, corners.shape[1], height, width, channels).permute(0, 1, 4, 2, 3)


def block_grid(size, block, overlap):
    """(rows, columns) of blocks that cover a texture of (H, W) pixels; the last ones may reach
    beyond it."""
    rows, columns = (max(1, -(-(side - overlap) // (block - overlap))) for side in size)
    return rows, columns


@operator(
    "quilt",
    "(Tensor levels, Tensor corners, int height, int width, int block, int overlap, bool seam, "
    "str backend) -> Tensor",
    lambda levels, corners, height, width, *_: corners.new_empty(
        (*corners.shape[:2], height, width)
    ),
)
def _quilt(levels, corners, height, width, block, overlap, seam, backend):
    """The source pixel (s·P + y)·P + x that each pixel shows, (N, M, H, W) int32, from levels (N,
    S, P, P, C) uint8."""
    rows, columns = block_grid((height, width), block, overlap)
    step = block - overlap
    canvas = (*corners.shape[:2], rows * step + overlap, columns * step + overlap)
    shown = torch.empty(canvas, dtype=torch.int32, device=levels.device)
    if shown.numel():
        corners = corners.contiguous()
        # Not at the top: importing fastneg must import neither Triton nor numba.
        if resolve_backend(levels, backend, BACKENDS) == "triton":
            from . import texture_triton as implementation
        else:
            _check_corners(levels, corners, block)
            from . import texture_cpu as implementation

        implementation.quilt(levels, corners, shown, rows, columns, block, overlap, seam)
    return shown[..., :height, :width].contiguous()


def _levels(pixels):
    """uint8 of the shape of `pixels` (N, …): what differences are taken between."""
    if pixels.dtype == torch.uint8:
        return pixels
    if not pixels.numel():
        return pixels.to(torch.uint8)
    values = pixels.float().flatten(1)
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    # A constant image is 0 / 0 here, and a NaN stays one: both become level 0.
    scaled = (values - low).div_(high - low).mul_(255).round_().nan_to_num_(0, 255, 0)
    return scaled.to(torch.uint8).view(pixels.shape)


def _check_corners(levels, corners, block):
    patch, last = levels.shape[2], levels.shape[1] * levels.shape[2] ** 2 - 1
    low, high = int(corners.min()), int(corners.max())
    if low < 0 or high > last:
        raise ValueError(
            f"corners go from {low} to {high}: positions (s·P + y)·P + x from 0 to {last} were "
            "expected."
        )
    room = patch - block
    outside = (corners % patch > room) | (corners // patch % patch > room)
    if outside.any():
        corner = int(corners[outside][0])
        raise ValueError(
            f"corners hold {corner}, row {corner // patch % patch} and column {corner % patch} of "
            f"a source patch: a block of {block} in a patch of {patch} begins at row and column 0 "
            f"to {room}."
        )


def _check(sources, corners, size, block, overlap):
    check_are_tensors(sources=sources, corners=corners)
    check_few("size", size, 2)
    for name, value in (("height", size[0]), ("width", size[1])):
        check_whole(f"size is {tuple(size)}: its {name}", value, 1)
    check_whole("block", block, 2)
    check_whole("overlap", overlap, 1)
    if (
        sources.dim() != 5
        or sources.shape[3] != sources.shape[4]
        or sources.shape[1] == 0
        or not 1 <= sources.shape[2] <= MAX_CHANNELS
    ):
        raise ValueError(
            f"sources are {tuple(sources.shape)}: (N, S, C, P, P) with S ≥ 1 and 1 ≤ C ≤ "
            f"{MAX_CHANNELS} was expected."
        )
    if sources.dtype != torch.uint8 and not sources.is_floating_point():
        raise ValueError(
            f"sources have dtype {sources.dtype}: uint8 or a floating-point dtype was expected."
        )
    patch = sources.shape[3]
    if not 2 <= block <= patch:
        raise ValueError(
            f"block is {block}: 2 to {patch}, the side of the source patches, was expected."
        )
    if not 1 <= overlap <= block // 2:
        raise ValueError(
            f"overlap is {overlap}: 1 to {block // 2}, half a block of {block}, was expected."
        )
    if sources.shape[2] * 255**2 * 2 * block * overlap >= 2**29:
        raise ValueError(
            f"block is {block} and overlap {overlap}: the sums of squared differences would leave "
            "30 bits; take smaller ones."
        )
    rows, columns = block_grid(size, block, overlap)
    if (
        corners.dim() != 4
        or corners.shape[0] != sources.shape[0]
        or corners.shape[2] != rows * columns
        or corners.shape[3] == 0
    ):
        raise ValueError(
            f"corners are {tuple(corners.shape)}: ({sources.shape[0]}, M, {rows * columns}, K), "
            f"one row of candidates for each of {rows} × {columns} blocks, was expected."
        )
    if corners.dtype != torch.int32 or corners.device != sources.device:
        raise ValueError(
            f"corners are {corners.dtype} on {corners.device}: torch.int32 on {sources.device} "
            "was expected."
        )
