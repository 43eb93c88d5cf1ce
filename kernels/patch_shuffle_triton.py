"""The patch shuffle on the GPU: every output element is read from where its tile's source corner
says, all copies in one launch.

Shapes: N batch, M copies per image, C channels, H W pixels, G entries per side of the offset grid.
"""

import torch
import triton
import triton.language as tl

from .launch import Recorder, cdiv
from .launch import launch as launch_now
from .registry import Shipped

BLOCK = 1024
NUM_WARPS = 4
MAX_GRID_Y = 65535
REACH = 2**31
"""Distances within an image below this are 32-bit numbers."""
ELEMENTS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def patch_shuffle(images, offsets, patch_sizes, out, launch=launch_now):
    """Fills out (N, M, C, H, W), any strides, from images (N, C, H, W), offsets (N, M, G, G, 2) and
    patch_sizes (N, M)."""
    rows, copies, channels, height, width = out.shape
    # A copy needs no dtype: elements move as integers of their size.
    bits = ELEMENTS[images.element_size()]
    items, blocks = rows * copies, cdiv(channels * height * width, BLOCK)
    # Only the first dimension of a grid may be large. Blocks first is the better order: programs
    # that run side by side then share an image.
    item_first = items > MAX_GRID_Y
    nhwc = channels > 1 and out.stride(2) == 1
    dense = (1, width * channels, channels) if nhwc else (height * width, width, 1)
    reach = sum(
        (size - 1) * stride
        for size, stride in zip(images.shape[1:], images.stride()[1:], strict=True)
    )
    launch(
        patch_shuffle_kernel,
        (items, blocks) if item_first else (blocks, items),
        (
            *(images.view(bits), _pairs(offsets), patch_sizes.contiguous(), out.view(bits)),
            *(copies, offsets.shape[2], *images.stride(), *out.stride()),
        ),
        {
            "CHANNELS": channels,
            "HEIGHT": height,
            "WIDTH": width,
            "NHWC": nhwc,
            "DENSE": out.stride()[2:] == dense,
            "NARROW": reach < REACH,
            "ITEM_FIRST": item_first,
            "BLOCK": BLOCK,
        },
        num_warps=NUM_WARPS,
    )


def _pairs(offsets):
    """(N, M, G, G) int64, row and column of a corner in one number: one load for both."""
    offsets = offsets.contiguous()
    if offsets.storage_offset() % 2:
        offsets = offsets.clone()
    return offsets.view(torch.int64)


@triton.jit
def patch_shuffle_kernel(
    images, offsets, patch_sizes, out, copies, grid_side,
    in_n, in_c, in_h, in_w, out_n, out_m, out_c, out_h, out_w,
    CHANNELS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    NHWC: tl.constexpr, DENSE: tl.constexpr, NARROW: tl.constexpr,
    ITEM_FIRST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # CHANNELS, HEIGHT and WIDTH are compile-time constants: division by them is a multiplication.
    # The elements are numbered in the order in which the output lies in memory, so that stores are
    # contiguous and loads are contiguous within a patch.
    item = tl.program_id(0 if ITEM_FIRST else 1).to(tl.int64)
    block = tl.program_id(1 if ITEM_FIRST else 0)
    element = block * BLOCK + tl.arange(0, BLOCK)
    valid = element < CHANNELS * HEIGHT * WIDTH
    if NHWC:
        channel = element % CHANNELS
        x = element // CHANNELS % WIDTH
        y = element // (CHANNELS * WIDTH)
    else:
        channel = element // (HEIGHT * WIDTH)
        x = element % WIDTH
        y = element // WIDTH % HEIGHT
    side = tl.maximum(tl.load(patch_sizes + item), 1)
    # Exact for pictures below 2^15 pixels a side: half a pixel is far more than the rounding of a
    # float32 product.
    inverse = 1.0 / side.to(tl.float32)
    tile_y = ((y.to(tl.float32) + 0.5) * inverse).to(tl.int32)
    tile_x = ((x.to(tl.float32) + 0.5) * inverse).to(tl.int32)
    tile = tl.minimum(tile_y, grid_side - 1) * grid_side + tl.minimum(tile_x, grid_side - 1)
    # The large parts of distances are scalars of 64 bits.
    corner = tl.load(offsets + item * grid_side * grid_side + tile, mask=valid, other=0)
    source_y = corner.to(tl.int32) + y - tile_y * side  # its low half, on every GPU and CPU
    source_x = (corner >> 32).to(tl.int32) + x - tile_x * side
    # Offsets are not checked on a GPU: whatever they are, no pixel outside the image is read.
    source_y = tl.minimum(tl.maximum(source_y, 0), HEIGHT - 1)
    source_x = tl.minimum(tl.maximum(source_x, 0), WIDTH - 1)
    image, copy = item // copies, item % copies
    source, target = images + image * in_n, out + image * out_n + copy * out_m
    if NARROW:
        source += channel * in_c + source_y * in_h + source_x * in_w
    else:
        source += (
            channel.to(tl.int64) * in_c
            + source_y.to(tl.int64) * in_h
            + source_x.to(tl.int64) * in_w
        )
    if DENSE:  # elements lie side by side, so stores are whole vectors
        target += element
    else:
        target += channel.to(tl.int64) * out_c + y.to(tl.int64) * out_h + x.to(tl.int64) * out_w
    tl.store(target, tl.load(source, mask=valid), mask=valid)


def shipped():
    """Elements of one, two and four bytes, in both memory formats."""
    empty = lambda *shape: torch.empty(shape, dtype=torch.int32, device="meta")
    offsets, sides = empty(8, 1, 14, 14, 2), empty(8, 1)
    for dtype in (torch.uint8, torch.bfloat16, torch.float32):
        for layout, memory_format in (
            ("nchw", torch.contiguous_format),
            ("channels_last", torch.channels_last),
        ):
            images = empty(8, 3, 224, 224).to(dtype).contiguous(memory_format=memory_format)
            recorder = Recorder()
            patch_shuffle(images, offsets, sides, images[:, None], launch=recorder)
            for launch in recorder.launches:
                yield Shipped(f"{dtype} {layout}".removeprefix("torch."), launch)
