"""The augmentation on a CPU: loops that numba compiles, an image at a time, spread over torch's
number of threads.

The definition is in augment.py, the same in plain torch in augment_torch.py. Shapes: N images, H W
pixels. Inside, an image is (3, H, W) float32 in 0..1, and its rows are what the compiler
vectorises.
"""

import math

import numpy as np
import torch
from numba import njit

from .cpu_threads import spread

LUMA = (np.float32(0.2989), np.float32(0.587), np.float32(0.114))  # torchvision's
REORDER = {"contract", "reassoc", "nsz"}
"""What the compiler may do with sums; NaN and infinity stay what they are."""


def augment(images, params, mean, std, taps, out):
    """As `augment_torch.augment`, on the CPU."""
    if images.dtype not in (torch.uint8, torch.float32):
        images = images.float()
    if out.dtype != torch.float32:  # numba knows no half precision
        made = torch.empty_like(out, dtype=torch.float32)
        augment(images, params, mean, std, taps, made)
        out.copy_(made)
        return
    unit = np.float32(1 / 255 if images.dtype == torch.uint8 else 1)
    offset = np.array([-m / s for m, s in zip(mean, std, strict=True)], np.float32)
    scale = np.array([1 / s for s in std], np.float32)
    images, out = images.permute(0, 2, 3, 1).numpy(), out.permute(0, 2, 3, 1).numpy()
    order, factors, gray, sigma, flip = (np.ascontiguousarray(tensor.numpy()) for tensor in params)
    height, width = images.shape[1:3]

    def work(numbers):
        planes, spare = np.empty((2, 3, height, width), np.float32)
        for n in numbers:
            _augment_one(
                images[n],
                unit,
                order[n],
                factors[n],
                gray[n],
                sigma[n],
                flip[n],
                taps,
                offset,
                scale,
                planes,
                spare,
                out[n],
            )

    spread(work, len(images))


@njit(cache=True, nogil=True, fastmath=REORDER)
def _augment_one(
    image, unit, order, factors, gray, sigma, flip, most, offset, scale, planes, spare, out
):
    """image (H, W, 3) → out (H, W, 3); `most` taps on each side of the blur; planes and spare (3,
    H, W) are room to work in."""
    _take_apart(image, unit, planes)
    _jitter(planes, order, factors)
    if gray:
        _towards(planes, True, np.float32(0), np.float32(0))
    if sigma > 0:
        _blur(planes, sigma, most, spare)
    _normalise(planes, flip, scale, offset, out)


@njit(cache=True, nogil=True, fastmath=REORDER)
def _take_apart(image, unit, planes):
    height, width, _ = image.shape
    for y in range(height):
        for c in range(3):
            for x in range(width):
                planes[c, y, x] = image[y, x, c] * unit


@njit(cache=True, nogil=True, fastmath=REORDER)
def _jitter(planes, order, factors):
    """The operations in their order; factors that change nothing are left out."""
    for number in order:
        factor = factors[number]
        if number == 0 and factor != 1:
            _towards(planes, False, np.float32(0), factor)
        elif number == 1 and factor != 1:
            _towards(planes, False, _mean_luma(planes), factor)
        elif number == 2 and factor != 1:
            _towards(planes, True, np.float32(0), factor)
        elif number == 3 and factor != 0:
            _turn_hue(planes, factor)


@njit(cache=True, nogil=True, fastmath=REORDER)
def _normalise(planes, flip, scale, offset, out):
    height, width, _ = out.shape
    for y in range(height):
        for c in range(3):
            # Two loops, for a test within one would keep the compiler from vectorising it.
            if flip:
                for x in range(width):
                    out[y, x, c] = planes[c, y, width - 1 - x] * scale[c] + offset[c]
            else:
                for x in range(width):
                    out[y, x, c] = planes[c, y, x] * scale[c] + offset[c]


@njit(cache=True, nogil=True, fastmath=REORDER)
def _towards(planes, luma, pivot, factor):
    """clamp(pivot + factor · (value - pivot)), the pivot being each pixel's luma, or one number."""
    for y in range(planes.shape[1]):
        red, green, blue = planes[0, y], planes[1, y], planes[2, y]
        for x in range(planes.shape[2]):
            point = LUMA[0] * red[x] + LUMA[1] * green[x] + LUMA[2] * blue[x] if luma else pivot
            red[x] = min(max(point + factor * (red[x] - point), np.float32(0)), np.float32(1))
            green[x] = min(max(point + factor * (green[x] - point), np.float32(0)), np.float32(1))
            blue[x] = min(max(point + factor * (blue[x] - point), np.float32(0)), np.float32(1))


@njit(cache=True, nogil=True, fastmath=REORDER)
def _mean_luma(planes):
    total = 0.0
    for y in range(planes.shape[1]):
        line = np.float32(0)
        for x in range(planes.shape[2]):
            line += (
                LUMA[0] * planes[0, y, x] + LUMA[1] * planes[1, y, x] + LUMA[2] * planes[2, y, x]
            )
        total += line
    return np.float32(total / (planes.shape[1] * planes.shape[2]))


@njit(cache=True, nogil=True, fastmath=REORDER)
def _turn_hue(planes, turn):
    """In HSV, with the hue h in sixths of a turn, channel n is top - chroma · clamp(min(k, 4 - k),
    0, 1) with k = (n + h) mod 6."""
    zero, one, four, six = np.float32(0), np.float32(1), np.float32(4), np.float32(6)
    sixth, shift = np.float32(1 / 6), six * turn
    for y in range(planes.shape[1]):
        reds, greens, blues = planes[0, y], planes[1, y], planes[2, y]
        for x in range(planes.shape[2]):
            red, green, blue = reds[x], greens[x], blues[x]
            top = max(max(red, green), blue)
            chroma = top - min(min(red, green), blue)
            inverse = one / max(chroma, np.float32(1e-12))  # no chroma: hue 0, times a chroma of 0
            hue = (
                (blue - red) * inverse + np.float32(2)
                if top == green
                else (red - green) * inverse + four
            )
            hue = ((green - blue) * inverse if top == red else hue) + shift
            k = hue + np.float32(5)
            k -= six * math.floor(k * sixth)
            reds[x] = top - chroma * min(max(min(k, four - k), zero), one)
            k = hue + np.float32(3)
            k -= six * math.floor(k * sixth)
            greens[x] = top - chroma * min(max(min(k, four - k), zero), one)
            k = hue + one
            k -= six * math.floor(k * sixth)
            blues[x] = top - chroma * min(max(min(k, four - k), zero), one)


@njit(cache=True, nogil=True, fastmath=REORDER)
def _blur(planes, sigma, most, spare):
    """Down, into spare, and across, back; ceil(3 sigma) taps on each side, reflected about the edge
    pixels."""
    _, height, width = planes.shape
    taps = min(most, math.ceil(np.float32(3) * sigma))
    weights = np.empty(2 * taps + 1, np.float32)
    for k in range(2 * taps + 1):
        weights[k] = math.exp(-0.5 * ((k - taps) / sigma) ** 2)
    weights /= weights.sum()
    line = np.empty(width + 2 * taps, np.float32)
    for c in range(3):
        for y in range(height):
            target = spare[c, y]
            target[:] = 0
            for k in range(2 * taps + 1):
                row = abs(y + k - taps)
                source, weight = (
                    planes[c, row if row < height else 2 * height - 2 - row],
                    weights[k],
                )
                for x in range(width):
                    target[x] += weight * source[x]
        for y in range(height):
            line[taps : taps + width] = spare[c, y]
            for k in range(taps):
                line[k] = line[2 * taps - k]
                line[taps + width + k] = line[taps + width - 2 - k]
            target = planes[c, y]
            target[:] = 0
            for k in range(2 * taps + 1):
                weight = weights[k]
                for x in range(width):
                    target[x] += weight * line[x + k]
