"""Crop and resize on the GPU: each output pixel gathers its taps along both axes, all views in one
launch.

Shapes: K images, R views, H W pixels of an image, S the side of a view.
"""

import torch
import triton
import triton.language as tl

from .launch import Recorder, cdiv
from .launch import launch as launch_now
from .registry import Shipped

BLOCK = 256
NUM_WARPS = 4


def crop_resize(images, index, windows, out, launch=launch_now):
    """Fills out (R, 3, S, S) from images (K, 3, H, W), index (R,) and windows (R, 4)."""
    (rows, _, size, _), (height, width) = out.shape, images.shape[2:]
    blocks = cdiv(size * size, BLOCK)
    launch(
        crop_resize_kernel,
        (rows * blocks,),
        (images, index, windows.contiguous(), out, len(images), height, width, size, blocks),
        {"BLOCK": BLOCK},
        num_warps=NUM_WARPS,
    )


@triton.jit
def _axis(start, end, place, size):
    """Centre of an output pixel among the source pixels, radius of its filter, first tap."""
    step = (end - start) / size
    radius = tl.maximum(step, 1.0)
    centre = start + (place.to(tl.float32) + 0.5) * step - 0.5
    return centre, radius, tl.ceil(centre - radius)


@triton.jit
def crop_resize_kernel(
    images, index, windows, out, count, height, width, size, blocks,
    BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    view = (program // blocks).to(tl.int64)
    pixel = program % blocks * BLOCK + tl.arange(0, BLOCK)
    valid = pixel < size * size
    # Neither is checked on a GPU: whatever they are, no pixel outside the images is read.
    image = tl.minimum(tl.maximum(tl.load(index + view), 0), count - 1)
    top, left = tl.load(windows + view * 4), tl.load(windows + view * 4 + 1)
    bottom, right = tl.load(windows + view * 4 + 2), tl.load(windows + view * 4 + 3)
    centre_y, radius_y, first_y = _axis(top, bottom, pixel // size, size)
    centre_x, radius_x, first_x = _axis(left, right, pixel % size, size)
    source = images + image * height * width * 3
    red = tl.zeros([BLOCK], tl.float32)
    green = tl.zeros([BLOCK], tl.float32)
    blue = tl.zeros([BLOCK], tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    for down in range(tl.ceil(2 * radius_y).to(tl.int32)):
        y = first_y + down
        weight_y = tl.maximum(1.0 - tl.abs(y - centre_y) / radius_y, 0.0)
        row = tl.minimum(tl.maximum(y.to(tl.int32), 0), height - 1)
        for across in range(tl.ceil(2 * radius_x).to(tl.int32)):
            x = first_x + across
            weight = weight_y * tl.maximum(1.0 - tl.abs(x - centre_x) / radius_x, 0.0)
            column = tl.minimum(tl.maximum(x.to(tl.int32), 0), width - 1)
            at = source + (row * width + column) * 3
            red += weight * tl.load(at, mask=valid, other=0).to(tl.float32)
            green += weight * tl.load(at + 1, mask=valid, other=0).to(tl.float32)
            blue += weight * tl.load(at + 2, mask=valid, other=0).to(tl.float32)
            total += weight
    to = out + view * size * size * 3 + pixel * 3
    tl.store(to, _level(red / total), mask=valid)
    tl.store(to + 1, _level(green / total), mask=valid)
    tl.store(to + 2, _level(blue / total), mask=valid)


@triton.jit
def _level(value):
    whole = tl.floor(value + 0.5)
    odd = whole - 2.0 * tl.floor(whole * 0.5)
    whole -= tl.where(whole - value == 0.5, odd, 0.0)  # halves round to even
    return tl.minimum(tl.maximum(whole, 0.0), 255.0).to(tl.uint8)


def shipped():
    """Views of a few sides from images of one size."""
    images = torch.empty(
        (8, 3, 64, 64), dtype=torch.uint8, device="meta", memory_format=torch.channels_last
    )
    index = torch.empty(8, dtype=torch.int64, device="meta")
    windows = torch.empty((8, 4), dtype=torch.float32, device="meta")
    for size in (32, 224):
        out = torch.empty(
            (8, 3, size, size),
            dtype=torch.uint8,
            device="meta",
            memory_format=torch.channels_last,
        )
        recorder = Recorder()
        crop_resize(images, index, windows, out, launch=recorder)
        for launch in recorder.launches:
            yield Shipped(f"uint8 to {size} px", launch)
