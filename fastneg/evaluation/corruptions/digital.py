"""Digital: brightness, contrast, elastic transform, pixelation, JPEG, saturation."""

from __future__ import annotations

import io
import math
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch

from fastneg.evaluation.corruptions.filters import gaussian, sampled
from fastneg.evaluation.corruptions.registry import corruption

ELASTIC_SMALL = {
    64: ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
    32: ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
}


@corruption((0.1, 0.2, 0.3, 0.4, 0.5), None, (0.05, 0.1, 0.15, 0.2, 0.3))
def brightness(images, added):
    """Something added to the value channel of HSV, hue and saturation kept."""
    value = images.amax(1, keepdim=True)
    brighter = (value + added).clamp(max=1)
    # With hue and saturation kept, RGB is proportional to the value; black has no hue and becomes gray.
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
    # With hue and value kept, each channel's distance below the value grows like the saturation. Gray has no hue, which stands as red.
    red = torch.tensor([0.0, 1.0, 1.0], device=images.device)[:, None, None]
    below = torch.where(spread > 0, (value - images) / spread.clamp_min(1e-12), red)
    return value * (1 - wanted * below)


@corruption((250 * 0.05, 250 * 0.065, 250 * 0.085, 250 * 0.1, 250 * 0.12), ELASTIC_SMALL[64], ELASTIC_SMALL[32], random=True)
def elastic_transform(images, constant, draws):
    """Pixels displaced by smoothed noise.

    At 224 px the constant is alpha: noise of ± H / 200 is smoothed by H / 100 and multiplied by it. For small images it is (alpha, sigma,
    affine) as shares of the side: a random affine map that moves three points by up to `affine`, then smoothed noise of ± alpha.
    """
    height, width = images.shape[-2:]
    if isinstance(constant, tuple):
        alpha, sigma, shift = (side_share * height for side_share in constant)
        images = _affine(images, draws.uniform(-shift, shift, 3, 2))
        reach, sigmas = 1.0, (sigma, sigma)
    else:
        alpha, reach, sigmas = constant, height * 0.005, (height * 0.01, width * 0.01)
    if alpha == 0:
        return images
    steps = gaussian(draws.uniform(-reach, reach, 2, height, width), sigmas, "symmetric", truncate=3.0) * alpha
    rows, columns = _grid(images)
    return sampled(images, rows + steps[:, 1], columns + steps[:, 0], "symmetric")


def _grid(images):
    height, width = images.shape[-2:]
    line = torch.arange(max(height, width), device=images.device, dtype=torch.float32)
    return line[:height, None].expand(height, width), line[:width].expand(height, width)


def _affine(images, moves):
    """Images under the affine map that moves three points around the centre by (N, 3, 2) pixels (x, y), mirrored at the border."""
    height, width = images.shape[-2:]
    middle, arm = (height // 2, width // 2), min(height, width) // 3
    corners = [(middle[0] + arm, middle[1] + arm), (middle[0] + arm, middle[1] - arm), (middle[0] - arm, middle[1] - arm)]
    before = torch.tensor(corners, dtype=torch.float64, device=images.device)
    ones = torch.ones(len(images), 3, 1, dtype=torch.float64, device=images.device)
    # The map back, from a place in the result to its source: before = [after 1] @ back.
    back = torch.linalg.solve(torch.cat([before + moves, ones], 2), before.expand(len(images), 3, 2)).float()
    rows, columns = _grid(images)
    x, y = (columns * back[:, 0, i, None, None] + rows * back[:, 1, i, None, None] + back[:, 2, i, None, None] for i in range(2))
    return sampled(images, y, x, "mirror")


@corruption((0.6, 0.5, 0.4, 0.3, 0.25), (0.9, 0.8, 0.7, 0.6, 0.5), (0.95, 0.9, 0.85, 0.75, 0.65))
def pixelate(images, factor):
    """Scaled to this share of the side with a box filter and back, with Pillow's weights and its rounding after each pass."""
    height, width = images.shape[-2:]
    small = int(height * factor), int(width * factor)
    pixels = to_8bit(images)
    for (rows, columns), (new_rows, new_columns) in (((height, width), small), (small, (height, width))):
        pixels = torch.floor(_resized(pixels, columns, new_columns) + 0.5)
        pixels = torch.floor(_resized(pixels.mT, rows, new_rows).mT + 0.5)
    return pixels / 255


def _resized(pixels, before, after):
    """(…, before) → (…, after): each new pixel is the weighted mean of a short run of old ones."""
    index, weights = (torch.from_numpy(table).to(pixels.device) for table in _box(before, after))
    out = 0
    for column, weight in zip(index, weights, strict=True):
        out = out + pixels.index_select(-1, column) * weight
    return out


@lru_cache(maxsize=64)
def _box(before, after):
    """(taps, after) int64 positions and float32 weights with which Pillow's box filter resizes a row of pixels."""
    scale = before / after
    support = 0.5 * max(scale, 1.0)
    taps = math.ceil(2 * support) + 1
    index, weights = np.zeros((taps, after), np.int64), np.zeros((taps, after), np.float32)
    for i in range(after):
        center = (i + 0.5) * scale
        first, last = max(int(center - support + 0.5), 0), min(int(center + support + 0.5), before)
        place = (np.arange(first, last) - center + 0.5) / max(scale, 1.0)
        row = ((place > -0.5) & (place <= 0.5)).astype(np.float64)
        index[: last - first, i], weights[: last - first, i] = np.arange(first, last), row / row.sum()
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


def to_8bit(images):
    """Values 0 … 255 of images in 0 … 1, whole numbers as floats."""
    return torch.floor(images.clamp(0, 1) * 255 + 0.5)
