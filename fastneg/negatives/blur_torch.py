"""Negatives that keep low frequencies only: coarse colour and layout without texture.

The opposite of the other kinds, for ablations.

Legend: N images, M negatives per image, C channels, H W pixels.
"""

from __future__ import annotations

import torch

WIDTHS = (1 / 56, 1 / 14)
"""Smallest and largest standard deviation as a share of the shorter side."""


def generate(batch, config, generator):
    """Blurred query views, as `fastneg.negatives.Negative` says."""
    return blur_negatives(batch.query, config.negatives_per_query, generator=generator)


def captions(batch, config, generator):
    """The standard deviation of each blur, as `fastneg.negatives.Negative` says."""
    drawn = draw_sigma(batch.query, config.negatives_per_query, WIDTHS, generator)
    return [[f"sigma {sigma:.1f} px" for sigma in row] for row in drawn.tolist()]


def draw_sigma(images, count, widths, generator=None):
    """(N, M) float32: the standard deviation of each blur in pixels; arguments as of
    `blur_negatives`."""
    smallest, largest = widths
    share = smallest + (largest - smallest) * torch.rand(
        (len(images), count), device=images.device, generator=generator
    )
    return share * min(images.shape[-2:])


def blur_negatives(images, count=1, widths=WIDTHS, generator=None):
    """Each image under Gaussian blurs of random width, mirrored at the edges.

    Args:
        images: (N, C, H, W), floating point.
        count: M, blurs of each image.
        widths: smallest and largest standard deviation as a share of the shorter side (4 to 16
            pixels at 224), drawn uniformly.
        generator: torch.Generator on the device of the images, or None for the default one.
    Returns:
        (N, M, C, H, W), out.flatten(0, 1) is channels_last.
    Raises:
        ValueError: the dtype, or widths that are none.
    """
    if not images.is_floating_point():
        raise ValueError(f"images has dtype {images.dtype}: a floating-point dtype was expected.")
    if count < 1:
        raise ValueError(f"count is {count}: at least one negative per image was expected.")
    smallest, largest = widths
    if not 0 < smallest <= largest:
        raise ValueError(f"widths is {widths}: 0 < smallest ≤ largest was expected.")
    n, _, height, width = images.shape
    sigma = draw_sigma(images, count, widths, generator).flatten()
    down, across = (_band(side, sigma).unflatten(0, (n, count)) for side in (height, width))
    blurred = down[:, :, None] @ images.float()[:, None] @ across[:, :, None].mT
    return (
        blurred.to(images.dtype)
        .flatten(0, 1)
        .contiguous(memory_format=torch.channels_last)
        .unflatten(0, (n, count))
    )


def _band(side, sigma):
    """(len(sigma), side, side) matrices, each row the weights of the pixels that a blurred one is
    made of."""
    place = torch.arange(side, device=sigma.device, dtype=torch.float32)
    # Mirrored at the edges: pixel i also stands at -1 - i and at 2 side - 1 - i. Further mirror
    # images weigh nothing at these widths.
    places = torch.stack([place, -1 - place, 2 * side - 1 - place])
    weights = (
        (-0.5 * ((place[:, None, None] - places) / sigma[:, None, None, None]) ** 2).exp().sum(2)
    )
    return weights / weights.sum(-1, keepdim=True)
