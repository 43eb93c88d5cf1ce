"""Filters that several corruptions share.

Borders, separable Gaussians, a line of shifted copies, zoom, bilinear sampling.

Sums of shifted slices instead of convolutions: on one channel at a time they are several times
faster on a CPU, and on a GPU bound by memory alike. Wide Gaussians are products with a matrix.
Legend: N images, C channels, H W pixels.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from fastneg.evaluation.corruptions.levels import cut_to_8bit


def padded(images, pad, border, dims=(-2, -1)):
    """(…, H, W) with `pad` more pixels on each side along some dimensions.

    border: "edge" repeats the outermost pixel, "mirror" reflects about its centre, "symmetric"
    about its outer edge. The reflection goes on if the padding is wider than the image.
    """
    for dim in dims:
        size = images.shape[dim]
        index = np.pad(
            np.arange(size),
            pad,
            mode={"edge": "edge", "mirror": "reflect", "symmetric": "symmetric"}[border],
        )
        images = images.index_select(dim, torch.from_numpy(index).to(images.device))
    return images


def gaussian_taps(sigma, truncate):
    """(2r + 1,) float64 weights of a Gaussian cut at `truncate` deviations, that sum to 1."""
    radius = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-12)) ** 2)
    return weights / weights.sum()


def gaussian(images, sigma, border="edge", truncate=4.0):
    """(…, H, W) smoothed by a Gaussian; sigma in pixels."""
    taps = gaussian_taps(sigma, truncate)
    if len(taps) > 1:
        for dim in (-2, -1):
            images = _correlate(padded(images, len(taps) // 2, border, (dim,)), taps, dim)
    return images


def wide_gaussian(images, sigma, border="edge", truncate=4.0):
    """`gaussian` by products with a matrix for each dimension, which holds taps and border.

    It is as fast for a sigma as wide as the image.
    """
    by_rows, by_columns = (
        _smoothing(side, sigma, border, truncate).to(images) for side in images.shape[-2:]
    )
    return by_rows @ (images @ by_columns.mT)


@lru_cache(maxsize=32)
def _smoothing(size, sigma, border, truncate):
    """(size, size) float64: the matrix that smooths a line of pixels."""
    taps = gaussian_taps(sigma, truncate)
    sources = padded(torch.arange(size)[None], len(taps) // 2, border, (-1,))[0].unfold(0, size, 1)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    rows = torch.arange(size)
    for tap, columns in zip(taps.tolist(), sources, strict=True):
        matrix[rows, columns] += tap  # one column for each row: no place comes twice
    return matrix


def _correlate(images, taps, dim):
    """Valid correlation with symmetric taps along one dimension."""
    size, last = images.shape[dim] - len(taps) + 1, len(taps) - 1
    out = images.narrow(dim, last // 2, size) * taps[last // 2]
    for i in range(last // 2):
        out.add_(images.narrow(dim, i, size), alpha=taps[i]).add_(
            images.narrow(dim, last - i, size), alpha=taps[i]
        )
    return out


def correlate(images, kernel):
    """(N, C, H, W) correlated with a (K, K) float64 array, K odd, through the Fourier transform.

    The image is mirrored at its border.
    """
    reach, (height, width) = len(kernel) // 2, images.shape[-2:]
    sides = [2 ** math.ceil(math.log2(side + 2 * reach)) for side in (height, width)]
    flipped = torch.from_numpy(np.ascontiguousarray(kernel[::-1, ::-1])).to(images)
    spectrum = torch.fft.rfft2(padded(images, reach, "mirror"), s=sides) * torch.fft.rfft2(
        flipped, s=sides
    )
    return torch.fft.irfft2(spectrum, s=sides)[
        ..., 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width
    ]


def motion(images, radius, sigma, degrees):
    """Each of (N, C, H, W) images smeared along a line from a point.

    The weights fall like one half of a Gaussian.

    Tap i of 0 … 2 radius shifts by i pixels in direction `degrees` (N floats, 0 to the left, 90
    upwards), rounded to whole pixels, with the edge repeated. Like ImageMagick 6, which makes
    ImageNet-C's, it cuts the result to 8 bits.
    """
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    height, width = images.shape[-2:]
    out, wide = torch.zeros_like(images), padded(images, 2 * radius + 1, "edge")
    for image, source, angle in zip(out, wide, degrees, strict=True):
        down, right = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        for i, weight in enumerate(weights):
            row, column = math.ceil(i * down - 0.5), math.ceil(i * right - 0.5)
            top, left = 2 * radius + 1 + row, 2 * radius + 1 + column
            image.add_(source[:, top : top + height, left : left + width], alpha=weight)
    return cut_to_8bit(out)


def zoomed(images, factor):
    """The centre of (N, C, H, W), enlarged by `factor` (1 or more) and cut to H × W again.

    Bilinear, corner pixels on corner pixels.
    """
    height, width = images.shape[-2:]
    sides = [math.ceil(side / factor) for side in (height, width)]
    centre = middle(images, *sides)
    return middle(
        F.interpolate(
            centre, [round(part * factor) for part in sides], mode="bilinear", align_corners=True
        ),
        height,
        width,
    )


def middle(images, height, width):
    """The middle (…, height, width) of (…, H, W).

    Of an odd rest the smaller half is cut off above and on the left.
    """
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    return images[..., top : top + height, left : left + width]
