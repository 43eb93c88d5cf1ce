"""Filters that several corruptions share.

Borders, separable Gaussians, a line of shifted copies, zoom, bilinear sampling.

Sums of shifted slices instead of convolutions: on one channel at a time they are several times
faster on a CPU, and on a GPU bound by memory alike. Wide Gaussians are products with a matrix.
Legend: N images, C channels, H W pixels.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from fastneg.evaluation.corruptions.levels import cut_to_8bit
from fastneg.evaluation.corruptions.tables import table
from fastneg.kernels.host_copy import to_device


def padded(images, pad, border, dims=(-2, -1)):
    """(…, H, W) with `pad` more pixels on each side along some dimensions.

    border: "edge" repeats the outermost pixel, "mirror" reflects about its centre, "symmetric"
    about its outer edge. The reflection goes on if the padding is wider than the image.
    """
    for dim in dims:
        size = images.shape[dim]
        images = images.index_select(dim, table(_sources, images.device, size, pad, border))
    return images


def _sources(size, pad, border):
    """(size + 2 pad,) int64: which pixel stands at each place of a padded line."""
    modes = {"edge": "edge", "mirror": "reflect", "symmetric": "symmetric"}
    return np.pad(np.arange(size), pad, mode=modes[border])


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
        table(_smoothing, images.device, side, sigma, border, truncate, images.dtype)
        for side in images.shape[-2:]
    )
    return by_rows @ (images @ by_columns.mT)


def _smoothing(size, sigma, border, truncate, dtype):
    """(size, size): the matrix that smooths a line of pixels."""
    taps = gaussian_taps(sigma, truncate)
    sources = torch.from_numpy(_sources(size, len(taps) // 2, border)).unfold(0, size, 1)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    rows = torch.arange(size)
    for tap, columns in zip(taps.tolist(), sources, strict=True):
        matrix[rows, columns] += tap  # one column for each row: no place comes twice
    return matrix.to(dtype)


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
    """(N, C, H, W) correlated with a (K, K) kernel, K odd, through the Fourier transform.

    The image is mirrored at its border.
    """
    reach, (height, width) = len(kernel) // 2, images.shape[-2:]
    sides = [2 ** math.ceil(math.log2(side + 2 * reach)) for side in (height, width)]
    spectrum = torch.fft.rfft2(padded(images, reach, "mirror"), s=sides) * torch.fft.rfft2(
        kernel.to(images.dtype).flip(0, 1), s=sides
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
    reach = 2 * radius + 1
    wide, corners = padded(images, reach, "edge"), _corners(len(weights), degrees) + reach
    smear = _smeared if images.device.type == "cpu" else _smeared_together
    return cut_to_8bit(smear(wide, corners, weights, images.shape[-2:]))


def _corners(taps, degrees):
    """(N, taps, 2) int64: rows down and columns to the right by which each tap shifts an image."""
    angles = [math.radians(angle) for angle in degrees]
    steps = np.array([(math.sin(angle), math.cos(angle)) for angle in angles])[:, None]
    return np.ceil(np.arange(taps)[:, None] * steps - 0.5).astype(np.int64)


def _smeared(wide, corners, weights, size):
    """The weighted sum of windows of images (N, C, H', W'), slice by slice: fast on a CPU."""
    height, width = size
    out = wide.new_zeros(*wide.shape[:2], height, width)
    for image, source, places in zip(out, wide, corners.tolist(), strict=True):
        for (top, left), weight in zip(places, weights, strict=True):
            image.add_(source[:, top : top + height, left : left + width], alpha=weight)
    return out


def _smeared_together(wide, corners, weights, size):
    """The same, all images of a tap at once: some launches a tap, where a GPU would wait for the
    host to start one for each image and tap."""
    height, width = size
    rows, columns = (torch.arange(side, device=wide.device) for side in size)
    window = (rows[:, None] * wide.shape[-1] + columns).flatten()
    begin = to_device(torch.from_numpy(corners @ [wide.shape[-1], 1]), wide.device)
    flat, out = wide.flatten(2), wide.new_zeros(*wide.shape[:2], height * width)
    for tap, weight in enumerate(weights):
        place = (begin[:, tap, None] + window)[:, None].expand(-1, wide.shape[1], -1)
        out.add_(flat.gather(2, place), alpha=weight)
    return out.view(*wide.shape[:2], height, width)


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
