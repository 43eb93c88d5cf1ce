"""Blur: defocus, glass, motion, zoom, Gaussian."""

from __future__ import annotations

import numpy as np
import torch

from fastneg.evaluation.corruptions.filters import correlate, gaussian, motion, zoomed
from fastneg.evaluation.corruptions.levels import cut_to_8bit
from fastneg.evaluation.corruptions.registry import corruption
from fastneg.evaluation.corruptions.tables import table


@corruption(
    ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
    ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
)
def defocus_blur(images, disk):
    """Convolution with a disk; the image is mirrored at its border.

    Constants are (radius, smoothing of its edge) in pixels.
    """
    return correlate(images, table(_disk, images.device, *disk))


@corruption(
    ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
    ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    random=True,
)
def glass_blur(images, constant, draws):
    """Smoothed by sigma, shuffled among neighbours, smoothed again.

    Constants are (sigma, how far pixels move, rounds).
    """
    sigma, reach, rounds = constant
    (height, width), pixels = images.shape[-2:], cut_to_8bit(gaussian(images, sigma))
    source = None
    for _ in range(rounds):
        taken = shuffle_sources(*draws.integers(-reach, reach, 2, height, width).unbind(1), reach)
        source = taken if source is None else source.gather(1, taken)
    source = source[:, None].expand(-1, 3, -1)
    return gaussian(pixels.flatten(2).gather(2, source).view_as(images), sigma)


def shuffle_sources(down, right, reach):
    """Where each pixel comes from after one round of glass blur.

    As published, a round goes from the last pixel backwards, and each pixel at least `reach` from
    the border takes the value that the one `down` and `right` of it has at that time (the swap of
    ImageNet-C's code is this, because numpy's views alias). A pixel before it holds its old value;
    one after it has been overwritten and hands on what it took: chains, that are followed here by
    doubling. A chain goes on to later pixels, so the doublings that the longest one could need are
    known; a CPU stops when all chains are at their ends, which a GPU would have to be asked.

    Args:
        down, right: (N, H, W) int64 in -reach … reach - 1.
    Returns:
        (N, H W) int64 positions, row by row.
    """
    height, width = down.shape[1:]
    here = torch.arange(height * width, device=down.device).view(height, width)
    inside = torch.zeros(height, width, dtype=torch.bool, device=down.device)
    inside[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1] = True
    there = torch.where(inside, here + down * width + right, here).flatten(1)
    here, inside = here.flatten(), inside.flatten()
    # The pixel that takes in this one's stead: one that is inside and comes after it.
    taker = torch.where(inside[there] & (there > here), there, here)
    for _ in range((height * width).bit_length()):
        beyond = taker.gather(1, taker)
        if taker.device.type == "cpu" and torch.equal(beyond, taker):
            break
        taker = beyond
    return there.gather(1, taker)


@corruption(
    ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
    ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    random=True,
)
def motion_blur(images, constant, draws):
    """Smeared along a line of (radius, sigma), at most 45 degrees from the horizontal."""
    return motion(images, *constant, draws.host_uniform(-45, 45).tolist())


@corruption(
    ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
)
def zoom_blur(images, constant):
    """The mean of the image and its enlargements by 1, 1 + step, … below the end.

    Constants are (end, step).
    """
    end, step = constant
    factors = np.arange(1, end, step)
    # torch enlarges this layout twice as fast on a CPU
    interleaved = images.contiguous(memory_format=torch.channels_last)
    total = interleaved.clone(memory_format=torch.preserve_format)
    for factor in factors.tolist():
        total += zoomed(interleaved, factor)
    return (total / (len(factors) + 1)).contiguous()


@corruption((1, 2, 3, 4, 6), (0.5, 0.75, 1, 1.25, 1.5), (0.4, 0.6, 0.7, 0.8, 1))
def gaussian_blur(images, sigma):
    """Smoothed by a Gaussian, the outermost pixels repeated."""
    return gaussian(images, sigma)


def _disk(radius, alias):
    """ImageNet-C's disk kernel, (K, K) float64 that sums to 1.

    It holds the pixels within the radius, smoothed by a small Gaussian.
    """
    reach, taps = (8, 1) if radius <= 8 else (radius, 2)
    line = np.arange(-reach, reach + 1)
    disk = (line[:, None] ** 2 + line[None] ** 2 <= radius**2).astype(np.float64)
    disk /= disk.sum()
    bell = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * alias**2))
    bell /= bell.sum()
    wide = np.pad(disk, taps, mode="reflect")
    rows = sum(weight * wide[i : i + len(line)] for i, weight in enumerate(bell))
    return sum(weight * rows[:, i : i + len(line)] for i, weight in enumerate(bell))
