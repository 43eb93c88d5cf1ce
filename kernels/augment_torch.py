"""The augmentation in plain torch: each operation on all images of a block that have it next, in a
layout that suits the blur.

Shapes: N images, B images of a block, H W pixels. Inside, images are (B, H, 3, W) float32 in 0..1:
every row of a channel is contiguous, so the colour operations take channels as slices, and the
blur's two passes are plain matrix products.
"""

import torch

from .augment import BRIGHTNESS, CONTRAST, HUE, SATURATION

LUMA = (0.2989, 0.587, 0.114)  # torchvision's
# Pixels taken at a time on a CPU: their intermediate values stay in cache.
CPU_BLOCK_PIXELS = 1 << 16
# Outputs of one blurring matrix: a product of (BLUR_TILE, BLUR_TILE + 2 taps) does (1 + 2 taps /
# BLUR_TILE) times the work needed.
BLUR_TILE = 20


def augment(images, params, mean, std, taps, out):
    """Fills out (N, 3, H, W) from images (N, 3, H, W); `taps` is the most that any image's blur
    reads on each side."""
    count, area = images.shape[0], images.shape[2] * images.shape[3]
    block = count if images.is_cuda else max(1, CPU_BLOCK_PIXELS // area)
    unit = 1 / 255 if images.dtype == torch.uint8 else 1.0
    offset, scale = (
        torch.tensor(values, device=images.device)
        for values in ([-m / s for m, s in zip(mean, std, strict=True)], [1 / s for s in std])
    )
    for start in range(0, count, block):
        some = slice(start, start + block)
        pixels = torch.mul(
            images[some].permute(0, 2, 1, 3), unit, out=_rows_of_channels(images[some])
        )
        pixels = _change(pixels, params.rows(some), taps)
        result = torch.addcmul(offset[:, None], pixels, scale[:, None]).permute(0, 2, 1, 3)
        out[some].copy_(result)


def _rows_of_channels(images):
    count, _, height, width = images.shape
    return torch.empty((count, height, 3, width), device=images.device)


def _change(pixels, params, taps):
    for step in range(4):
        for number, operation in OPERATIONS.items():
            factors = params.factors[:, number]
            due = (params.order[:, step] == number) & (factors != UNCHANGED[number])
            _apply_where(due, pixels, operation, factors)
    _apply_where(
        params.gray, pixels, lambda some, _: some.copy_(_luma(some).expand_as(some)), params.sigma
    )
    if taps:
        _apply_where(
            params.sigma > 0, pixels, lambda some, sigma: _blur(some, sigma, taps), params.sigma
        )
    _apply_where(params.flip, pixels, lambda some, _: some.copy_(some.flip(-1)), params.sigma)
    return pixels


def _apply_where(due, pixels, operation, values):
    """operation(pixels of some images, their values) changes these in place; it sees only the
    images that are due."""
    chosen = due.nonzero().squeeze(1)
    if len(chosen) == 0:
        return
    if len(chosen) == len(due):
        operation(pixels, values)
    else:
        some = pixels[chosen]
        operation(some, values[chosen])
        pixels[chosen] = some


# --- colours --------------------------------------------------------------------------------------


def _luma(pixels):
    red, green, blue = pixels.unbind(2)
    return torch.mul(red, LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2]).unsqueeze(2)


def _brightness(pixels, factors):
    pixels.mul_(_wide(factors)).clamp_(0, 1)


def _contrast(pixels, factors):
    pivot = _luma(pixels).mean((1, 2, 3), keepdim=True)
    torch.lerp(pivot, pixels, _wide(factors), out=pixels).clamp_(0, 1)


def _saturation(pixels, factors):
    torch.lerp(_luma(pixels), pixels, _wide(factors), out=pixels).clamp_(0, 1)


def _hue(pixels, turns):
    # In HSV, with the hue h in sixths of a turn, channel n is top - chroma · clamp(min(k, 4 - k),
    # 0, 1) with k = (n + h) mod 6.
    red, green, blue = pixels.unbind(2)
    top = torch.maximum(torch.maximum(red, green), blue)
    chroma = top - torch.minimum(torch.minimum(red, green), blue)
    inverse = chroma.clamp_min(1e-12).reciprocal_()  # no chroma: hue 0, times a chroma of 0
    sixth = torch.where(
        top == green, (blue - red).mul_(inverse).add_(2), (red - green).mul_(inverse).add_(4)
    )
    sixth = torch.where(top == red, (green - blue).mul_(inverse), sixth).add_(
        6 * turns[:, None, None]
    )
    for channel, n in zip((red, green, blue), (5.0, 3.0, 1.0), strict=True):
        k = sixth + n
        k.sub_((k / 6).floor_(), alpha=6)
        torch.minimum(k, 4 - k, out=k).clamp_(0, 1)
        torch.addcmul(top, k, chroma, value=-1, out=channel)


def _wide(factors):
    return factors[:, None, None, None]


OPERATIONS = {BRIGHTNESS: _brightness, CONTRAST: _contrast, SATURATION: _saturation, HUE: _hue}
UNCHANGED = {BRIGHTNESS: 1.0, CONTRAST: 1.0, SATURATION: 1.0, HUE: 0.0}


# --- blur -----------------------------------------------------------------------------------------


def _blur(pixels, sigma, taps):
    """Both passes as products with a band matrix, a tile of outputs at a time: y[i] = sum_j band[i,
    j] x[i0 + j]."""
    count, height, _, width = pixels.shape
    band = _bands(sigma, taps)
    tall = _padded(pixels, 1, taps).flatten(2)
    for start in range(0, height, BLUR_TILE):
        size = min(BLUR_TILE, height - start)
        pixels[:, start : start + size].flatten(2).copy_(
            torch.bmm(band[:, :size, : size + 2 * taps], tall[:, start : start + size + 2 * taps])
        )
    wide = _padded(pixels, 3, taps).flatten(1, 2)
    lines = pixels.view(count, 3 * height, width)
    for start in range(0, width, BLUR_TILE):
        size = min(BLUR_TILE, width - start)
        lines[..., start : start + size] = torch.bmm(
            wide[..., start : start + size + 2 * taps], band[:, :size, : size + 2 * taps].mT
        )


def _bands(sigma, taps):
    """(B, BLUR_TILE, BLUR_TILE + 2 taps): row i holds the weights of the Gaussian around i +
    taps."""
    offset = (
        torch.arange(BLUR_TILE + 2 * taps, device=sigma.device)
        - torch.arange(BLUR_TILE, device=sigma.device)[:, None]
        - taps
    )
    sigma = sigma[:, None, None]
    weights = torch.exp(-0.5 * (offset / sigma).square()) * (offset.abs() <= (3 * sigma).ceil())
    total = weights[:, :1].sum(2, keepdim=True)
    return weights / total


def _padded(pixels, dim, taps):
    """`taps` more on each side of a dimension, reflected about the edge pixels."""
    size = pixels.shape[dim]
    before, after = (
        pixels.narrow(dim, 1, taps).flip(dim),
        pixels.narrow(dim, size - 1 - taps, taps).flip(dim),
    )
    return torch.cat([before, pixels, after], dim)
