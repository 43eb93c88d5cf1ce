"""Filters that several corruptions share: borders, separable Gaussians, a line of shifted copies, zoom, bilinear sampling.

Sums of shifted slices instead of convolutions: on one channel at a time they are several times faster on a CPU, and on a GPU bound by
memory alike. Legend: N images, C channels, H W pixels.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F


def padded(images, pad, border, dims=(-2, -1)):
    """(…, H, W) with `pad` more pixels on each side along some dimensions.

    border: "edge" repeats the outermost pixel, "mirror" reflects about its centre, "symmetric" about its outer edge. The reflection goes on
    if the padding is wider than the image.
    """
    for dim in dims:
        size = images.shape[dim]
        index = np.pad(np.arange(size), pad, mode={"edge": "edge", "mirror": "reflect", "symmetric": "symmetric"}[border])
        images = images.index_select(dim, torch.from_numpy(index).to(images.device))
    return images


def gaussian_taps(sigma, truncate):
    """(2r + 1,) float64 weights of a Gaussian cut at `truncate` deviations, that sum to 1."""
    radius = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-12)) ** 2)
    return weights / weights.sum()


def gaussian(images, sigma, border="edge", truncate=4.0):
    """(…, H, W) smoothed by a Gaussian; sigma in pixels, one for both dimensions or (rows, columns)."""
    sigmas = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    for dim, width in zip((-2, -1), sigmas, strict=True):
        taps = gaussian_taps(width, truncate)
        if len(taps) > 1:
            images = _correlate(padded(images, len(taps) // 2, border, (dim,)), taps, dim)
    return images


def _correlate(images, taps, dim):
    """Valid correlation with symmetric taps along one dimension."""
    size, last = images.shape[dim] - len(taps) + 1, len(taps) - 1
    out = images.narrow(dim, last // 2, size) * taps[last // 2]
    for i in range(last // 2):
        out.add_(images.narrow(dim, i, size), alpha=taps[i]).add_(images.narrow(dim, last - i, size), alpha=taps[i])
    return out


def correlate(images, kernel):
    """(N, C, H, W) correlated with a (K, K) float64 array, K odd, through the Fourier transform; mirrored at the border."""
    reach, (height, width) = len(kernel) // 2, images.shape[-2:]
    sides = [2 ** math.ceil(math.log2(side + 2 * reach)) for side in (height, width)]
    flipped = torch.from_numpy(np.ascontiguousarray(kernel[::-1, ::-1])).to(images)
    spectrum = torch.fft.rfft2(padded(images, reach, "mirror"), s=sides) * torch.fft.rfft2(flipped, s=sides)
    return torch.fft.irfft2(spectrum, s=sides)[..., 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]


def motion(images, radius, sigma, degrees):
    """Each of (N, C, H, W) images smeared along a line from a point, with weights that fall like one half of a Gaussian.

    Tap i of 0 … 2 radius shifts by i pixels in direction `degrees` (N floats, 0 to the left, 90 upwards), rounded to whole pixels, with
    the edge repeated; taps that would shift the image out of its frame are left out.
    """
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    height, width = images.shape[-2:]
    out, wide = torch.zeros_like(images), padded(images, 2 * radius + 1, "edge")
    for image, source, angle in zip(out, wide, degrees, strict=True):
        down, right = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        for i, weight in enumerate(weights):
            row, column = math.ceil(i * down - 0.5), math.ceil(i * right - 0.5)
            if abs(row) >= height or abs(column) >= width:
                break
            top, left = 2 * radius + 1 + row, 2 * radius + 1 + column
            image.add_(source[:, top : top + height, left : left + width], alpha=weight)
    return out


def zoomed(images, factor):
    """The centre of (N, C, H, W), enlarged by `factor` (1 or more) bilinearly, corner pixels on corner pixels, to at least H × W."""
    sides = [math.ceil(side / factor) for side in images.shape[-2:]]
    top, left = ((side - part) // 2 for side, part in zip(images.shape[-2:], sides, strict=True))
    centre = images[..., top : top + sides[0], left : left + sides[1]]
    return F.interpolate(centre, [round(part * factor) for part in sides], mode="bilinear", align_corners=True)


def sampled(images, rows, columns, border):
    """(N, C, H, W) read bilinearly at (N, H, W) positions in pixels, with the border "mirror" or "symmetric"."""
    height, width = images.shape[-2:]
    aligned = border == "mirror"
    places = []
    for position, size in ((columns, width), (rows, height)):
        places.append(2 * position / (size - 1) - 1 if aligned else (2 * position + 1) / size - 1)
    return F.grid_sample(images, torch.stack(places, -1), padding_mode="reflection", align_corners=aligned)
