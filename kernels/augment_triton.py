"""The augmentation on the GPU: one launch for the mean grays of contrast, one for everything else.

Shapes: N images, H W pixels. `gray_sums_kernel` takes the operations before the contrast and sums
the gray of a run of pixels; `augment_kernel` takes a square tile through all operations. Colours
come first and pixel by pixel; the blur is then B · tile · Bᵀ with the band matrix B of the
Gaussian, two small products on the tensor cores; the tile overlaps its neighbours by the taps of
the blur.
"""

import torch
import triton
import triton.language as tl

from .augment import draw_augment_params
from .augment import taps as taps_of
from .launch import Recorder, cdiv, next_power_of_2
from .launch import launch as launch_now
from .registry import Shipped

TILE = 64
PIXELS = 2048
NUM_WARPS = {"sums": 4, "tile": 8}


def augment(images, params, mean, std, taps, out, launch=launch_now):
    """Fills out (N, 3, H, W) from images (N, 3, H, W); `taps` is the most that any image's blur
    reads on each side."""
    count, _, height, width = images.shape
    blocks, inside = cdiv(height * width, PIXELS), TILE - 2 * taps
    tiles_x, tiles_y = cdiv(width, inside), cdiv(height, inside)
    sums = torch.empty(count, blocks, dtype=torch.float32, device=images.device)
    order, factors, gray, sigma, flip = (tensor.contiguous() for tensor in params)
    constants = {"UNIT": 1 / 255 if images.dtype == torch.uint8 else 1.0}
    launch(
        gray_sums_kernel,
        (count * blocks,),
        (images, order, factors, sums, height, width, blocks, *images.stride()),
        {**constants, "PIXELS": PIXELS},
        num_warps=NUM_WARPS["sums"],
    )
    affine = [number for m, s in zip(mean, std, strict=True) for number in (1 / s, -m / s)]
    launch(
        augment_kernel,
        (count * tiles_x * tiles_y,),
        (
            *(
                images,
                order,
                factors,
                gray.view(torch.uint8),
                sigma,
                flip.view(torch.uint8),
                sums,
                out,
            ),
            *(
                height,
                width,
                blocks,
                tiles_x,
                tiles_x * tiles_y,
                *images.stride(),
                *out.stride(),
                *affine,
            ),
        ),
        {
            **constants,
            "TAPS": taps,
            "TILE": TILE,
            "BLOCKS_PAD": next_power_of_2(blocks),
        },
        num_warps=NUM_WARPS["tile"],
    )


@triton.jit
def _luma(red, green, blue):
    return 0.2989 * red + 0.587 * green + 0.114 * blue


@triton.jit
def _unit(value):
    return tl.minimum(tl.maximum(value, 0.0), 1.0)


@triton.jit
def _turned(sixth, top, chroma, n: tl.constexpr):
    k = sixth + n
    k = k - 6.0 * tl.floor(k * (1.0 / 6.0))
    return top - chroma * _unit(tl.minimum(k, 4.0 - k))


@triton.jit
def _change(red, green, blue, operation, factor, pivot):
    """One operation of the jitter, 0 brightness, 1 contrast, 2 saturation, 3 hue; the factors that
    change nothing are left out."""
    if operation == 3:
        if factor != 0.0:
            top = tl.maximum(tl.maximum(red, green), blue)
            chroma = top - tl.minimum(tl.minimum(red, green), blue)
            inverse = 1.0 / tl.maximum(chroma, 1e-12)  # no chroma: hue 0, times a chroma of 0
            sixth = tl.where(
                top == green, (blue - red) * inverse + 2.0, (red - green) * inverse + 4.0
            )
            sixth = tl.where(top == red, (green - blue) * inverse, sixth) + 6.0 * factor
            red, green, blue = (
                _turned(sixth, top, chroma, 5.0),
                _turned(sixth, top, chroma, 3.0),
                _turned(sixth, top, chroma, 1.0),
            )
    else:
        if factor != 1.0:
            # Brightness blends with black, contrast with the image's mean gray, saturation with the
            # pixel's own gray.
            anchor = tl.where(
                operation == 2, _luma(red, green, blue), tl.where(operation == 1, pivot, 0.0)
            )
            red = _unit(anchor + factor * (red - anchor))
            green = _unit(anchor + factor * (green - anchor))
            blue = _unit(anchor + factor * (blue - anchor))
    return red, green, blue


@triton.jit
def _load_pixels(at, in_c, mask, UNIT: tl.constexpr):
    red = tl.load(at, mask=mask).to(tl.float32) * UNIT
    green = tl.load(at + in_c, mask=mask).to(tl.float32) * UNIT
    blue = tl.load(at + 2 * in_c, mask=mask).to(tl.float32) * UNIT
    return red, green, blue


@triton.jit
def gray_sums_kernel(
    images, order, factors, sums, height, width, blocks, in_n, in_c, in_h, in_w,
    UNIT: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    image = (program // blocks).to(tl.int64)
    if tl.load(factors + image * 4 + 1) != 1.0:
        pixel = program % blocks * PIXELS + tl.arange(0, PIXELS)
        valid = pixel < height * width
        at = (
            images
            + image * in_n
            + (pixel // width).to(tl.int64) * in_h
            + (pixel % width).to(tl.int64) * in_w
        )
        red, green, blue = _load_pixels(at, in_c, valid, UNIT)
        before = 0
        for step in range(4):
            before += tl.where(tl.load(order + image * 4 + step) == 1, step, 0)
        for step in range(before):
            operation = tl.load(order + image * 4 + step)
            red, green, blue = _change(
                red, green, blue, operation, tl.load(factors + image * 4 + operation), 0.0
            )
        tl.store(sums + program, tl.sum(tl.where(valid, _luma(red, green, blue), 0.0), 0))


@triton.jit
def _reflected(place, size):
    """Places beyond an edge, mirrored about the edge pixel; those too far out to matter stay
    inside."""
    place = tl.abs(place)
    place = tl.where(place >= size, 2 * (size - 1) - place, place)
    return tl.minimum(tl.maximum(place, 0), size - 1)


@triton.jit
def _blurred(plane, band, totals):
    # Values in 0..1 lose at most 2^-12 in float16, a sixteenth of a step of 255; products of
    # float32 would spill registers.
    tall = tl.dot(band, plane.to(tl.float16)) / totals[:, None]
    return tl.dot(tall.to(tl.float16), tl.trans(band)) / totals[None, :]


@triton.jit
def _gaussian(deviation, TAPS: tl.constexpr, TILE: tl.constexpr):
    """(TILE, TILE) float16 band matrix of the blur, and the (TILE,) sums of its rows.

    The blur is divided by what the rounded weights sum to: rounding them must not make the image
    darker or brighter.
    """
    place = tl.arange(0, TILE)
    offset = (place[None, :] - place[:, None]).to(tl.float32)
    weights = tl.exp(-0.5 * (offset / deviation) * (offset / deviation))
    reach = tl.minimum(tl.ceil(3.0 * deviation), TAPS)
    band = tl.where(tl.abs(offset) <= reach, weights, 0.0).to(tl.float16)
    return band, tl.sum(band.to(tl.float32), 1)


@triton.jit
def augment_kernel(
    images, order, factors, gray, sigma, flip, sums, out,
    height, width, blocks, tiles_x, tiles,
    in_n, in_c, in_h, in_w, out_n, out_c, out_h, out_w,
    scale_red, shift_red, scale_green, shift_green, scale_blue, shift_blue,
    UNIT: tl.constexpr, TAPS: tl.constexpr, TILE: tl.constexpr, BLOCKS_PAD: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    image, tile = (program // tiles).to(tl.int64), program % tiles
    inside = tl.arange(0, TILE) - TAPS
    y = tile // tiles_x * (TILE - 2 * TAPS) + inside
    x = tile % tiles_x * (TILE - 2 * TAPS) + inside
    from_y, from_x = _reflected(y, height).to(tl.int64), _reflected(x, width).to(tl.int64)
    red, green, blue = _load_pixels(
        images + image * in_n + from_y[:, None] * in_h + from_x[None, :] * in_w, in_c, None, UNIT
    )

    pivot = 0.0
    if tl.load(factors + image * 4 + 1) != 1.0:
        block = tl.arange(0, BLOCKS_PAD)
        pivot = tl.sum(
            tl.load(sums + image * blocks + block, mask=block < blocks, other=0.0), 0
        ) / (height * width)
    for step in range(4):
        operation = tl.load(order + image * 4 + step)
        red, green, blue = _change(
            red, green, blue, operation, tl.load(factors + image * 4 + operation), pivot
        )
    if tl.load(gray + image) != 0:
        luma = _luma(red, green, blue)
        red, green, blue = luma, luma, luma

    if TAPS > 0:
        deviation = tl.load(sigma + image)
        if deviation > 0.0:
            band, totals = _gaussian(deviation, TAPS, TILE)
            red, green, blue = (
                _blurred(red, band, totals),
                _blurred(green, band, totals),
                _blurred(blue, band, totals),
            )

    # The tile reaches TAPS pixels beyond what it is to fill; its neighbours fill those.
    mine = (inside >= 0) & (inside < TILE - 2 * TAPS)
    mask = (mine & (y < height))[:, None] & (mine & (x < width))[None, :]
    shown = x
    if tl.load(flip + image) != 0:
        shown = width - 1 - x
    at = out + image * out_n + y.to(tl.int64)[:, None] * out_h + shown.to(tl.int64)[None, :] * out_w
    tl.store(at, red * scale_red + shift_red, mask=mask)
    tl.store(at + out_c, green * scale_green + shift_green, mask=mask)
    tl.store(at + 2 * out_c, blue * scale_blue + shift_blue, mask=mask)


def shipped():
    """uint8 photographs to every dtype, without a blur, with the usual and with the widest; float
    ones to bfloat16."""
    params = draw_augment_params(8, device="meta")
    sources = [
        *((torch.uint8, view) for view in (torch.float16, torch.bfloat16, torch.float32)),
        *((source, torch.bfloat16) for source in (torch.bfloat16, torch.float32)),
    ]
    for source, view in sources:
        images, out = (
            torch.empty(
                (8, 3, 224, 224), dtype=dtype, device="meta", memory_format=torch.channels_last
            )
            for dtype in (source, view)
        )
        for sigma in (0.0, 2.0, 5.0) if source == torch.uint8 else (2.0,):
            recorder = Recorder()
            augment(images, params, (0.5,) * 3, (0.2,) * 3, taps_of(sigma), out, launch=recorder)
            config = f"{source} to {view} sigma<={sigma:g}".replace("torch.", "")
            yield from (Shipped(config, launch) for launch in recorder.launches)
