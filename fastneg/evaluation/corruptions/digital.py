"""Digital: brightness, contrast, elastic transform, pixelation, JPEG, saturation."""

from __future__ import annotations

import io
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F

from fastneg.evaluation.corruptions.filters import wide_gaussian
from fastneg.evaluation.corruptions.levels import to_8bit
from fastneg.evaluation.corruptions.registry import corruption
from fastneg.evaluation.corruptions.tables import numbers, table

WIDER = 244 / 224  # ImageNet-C gives shares of 244 px, though its images have 224
ELASTIC = {
    224: tuple(
        (WIDER * alpha, WIDER * sigma, WIDER * affine)
        for alpha, sigma, affine in (
            (2, 0.7, 0.1),
            (2, 0.08, 0.2),
            (0.05, 0.01, 0.02),
            (0.07, 0.01, 0.02),
            (0.12, 0.01, 0.02),
        )
    ),
    64: ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
    32: ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
}
"""(alpha, sigma, affine) as shares of the shorter side."""


@corruption((0.1, 0.2, 0.3, 0.4, 0.5), None, (0.05, 0.1, 0.15, 0.2, 0.3))
def brightness(images, added):
    """Something added to the value channel of HSV, hue and saturation kept."""
    value = images.amax(1, keepdim=True)
    brighter = (value + added).clamp(max=1)
    # With hue and saturation kept, RGB is proportional to the value; black has no hue and becomes
    # gray.
    return torch.where(value > 0, images * (brighter / value.clamp_min(1e-12)), brighter)


@corruption((0.4, 0.3, 0.2, 0.1, 0.05), None, (0.75, 0.5, 0.4, 0.3, 0.15))
def contrast(images, factor):
    """Differences to each channel's mean shrunk to this factor."""
    return torch.lerp(images.mean((2, 3), keepdim=True), images, factor)


@corruption(
    ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
    ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
)
def saturate(images, constant):
    """The saturation channel of HSV becomes saturation × factor + offset, hue and value kept."""
    factor, offset = constant
    value, least = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    spread = value - least
    saturation = spread / value.clamp_min(1e-12)
    wanted = (saturation * factor + offset).clamp(max=1)
    # With hue and value kept, each channel's distance below the value grows like the saturation.
    # Gray has no hue, which stands as red.
    red = numbers((0.0, 1.0, 1.0), images.device)[:, None, None]
    below = torch.where(spread > 0, (value - images) / spread.clamp_min(1e-12), red)
    return value * (1 - wanted * below)


@corruption(ELASTIC[224], ELASTIC[64], ELASTIC[32], random=True)
def elastic_transform(images, constant, draws):
    """A random affine map, then pixels displaced by smoothed noise.

    Constants are shares of the shorter side.

    The map moves three points by up to `affine` in x and in y; the noise of ±1 is smoothed by
    `sigma` and multiplied by `alpha`.
    """
    height, width = images.shape[-2:]
    alpha, sigma, shift = (share * min(height, width) for share in constant)
    images = _affine(images, draws.uniform(-shift, shift, 3, 2))
    if alpha == 0:
        return images
    # dx, dy
    steps = wide_gaussian(draws.uniform(-1, 1, 2, height, width), sigma, "symmetric", truncate=3.0)
    # From pixels to the units of grid_sample, where the image reaches from -1 to 1, its outermost
    # pixels half a pixel less.
    units = numbers((2 / width, 2 / height), images.device)
    grid = steps.permute(0, 2, 3, 1) * (alpha * units)
    grid += torch.stack(
        [(line + 0.5) * unit - 1 for line, unit in zip(_lines(images), units, strict=True)], -1
    )
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _lines(images):
    """x and y of each pixel, (H, W) float32 each."""
    y, x = (
        torch.arange(side, device=images.device, dtype=torch.float32) for side in images.shape[-2:]
    )
    return torch.broadcast_tensors(x, y[:, None])


def _affine(images, moves):
    """Images under the affine map that moves three points around the centre.

    They move by (N, 3, 2) pixels (x, y). The image is mirrored at its border.
    """
    height, width = images.shape[-2:]
    centre, arm = (height // 2, width // 2), min(height, width) // 3
    corners = (
        (centre[0] + arm, centre[1] + arm),
        (centre[0] + arm, centre[1] - arm),
        (centre[0] - arm, centre[1] - arm),
    )
    before = numbers(corners, images.device, torch.float64)
    ones = torch.ones(len(images), 3, 1, dtype=torch.float64, device=images.device)
    # The map back, from a place in the result to its source: before = [after 1] @ back.
    # Unchecked, for to ask whether three points lie on a line is to wait; they nearly never do.
    back, _ = torch.linalg.solve_ex(
        torch.cat([before + moves, ones], 2), before.expand(len(images), 3, 2)
    )
    # In the units of grid_sample, where the centres of the outermost pixels lie at -1 and 1.
    back *= numbers((2 / (width - 1), 2 / (height - 1)), images.device, torch.float64)
    x, y = (
        torch.arange(side, dtype=torch.float64, device=images.device)[:, None]
        for side in (width, height)
    )
    by_x, by_y = x * back[:, None, 0] - 1, y * back[:, None, 1] + back[:, None, 2]
    grid = by_x.float()[:, None] + by_y.float()[:, :, None]
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=True)


@corruption((0.6, 0.5, 0.4, 0.3, 0.25), (0.9, 0.8, 0.7, 0.6, 0.5), (0.95, 0.9, 0.85, 0.75, 0.65))
def pixelate(images, factor):
    """Scaled to this share of the side with a box filter, and back.

    With Pillow's weights, and its rounding after each pass.
    """
    height, width = images.shape[-2:]
    small = int(height * factor), int(width * factor)
    pixels = to_8bit(images)
    for (rows, columns), (new_rows, new_columns) in (
        ((height, width), small),
        (small, (height, width)),
    ):
        pixels = torch.floor(_resized(pixels, columns, new_columns) + 0.5)
        pixels = torch.floor(_resized(pixels.mT, rows, new_rows).mT + 0.5)
    return pixels / 255


def _resized(pixels, before, after):
    """(…, before) → (…, after): each new pixel is the weighted mean of a short run of old ones."""
    index, weights = table(_box, pixels.device, before, after)
    out = 0
    for column, weight in zip(index, weights, strict=True):
        out = out + pixels.index_select(-1, column) * weight
    return out


def _box(before, after):
    """Pillow's box filter for a row of pixels: (taps, after) int64 positions, float32 weights."""
    scale = before / after
    support = 0.5 * max(scale, 1.0)
    taps = math.ceil(2 * support) + 1
    index, weights = np.zeros((taps, after), np.int64), np.zeros((taps, after), np.float32)
    for i in range(after):
        center = (i + 0.5) * scale
        first, last = max(int(center - support + 0.5), 0), min(int(center + support + 0.5), before)
        place = (np.arange(first, last) - center + 0.5) / max(scale, 1.0)
        row = ((place > -0.5) & (place <= 0.5)).astype(np.float64)
        index[: last - first, i], weights[: last - first, i] = (
            np.arange(first, last),
            row / row.sum(),
        )
    used = weights.any(1)
    return index[used], weights[used]


@corruption((25, 18, 15, 10, 7), (65, 58, 50, 40, 25), (80, 65, 58, 50, 40))
def jpeg_compression(images, quality):
    """Through Pillow's JPEG with this quality, on the CPU."""
    pixels = to_8bit(images).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    with ThreadPoolExecutor() as pool:
        decoded = np.stack(list(pool.map(lambda image: _jpeg_round(image, quality), pixels)))
    return torch.from_numpy(decoded).to(images.device).permute(0, 3, 1, 2).to(images.dtype) / 255


def _jpeg_round(pixels, quality):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
