"""Weather: snow, frost, fog, spatter."""

from __future__ import annotations

import math

import torch

from fastneg.evaluation.corruptions.filters import gaussian, motion, zoomed
from fastneg.evaluation.corruptions.frost import frost_textures
from fastneg.evaluation.corruptions.levels import cut_to_8bit
from fastneg.evaluation.corruptions.registry import corruption, nearest_size
from fastneg.evaluation.corruptions.spatter import MUD, WATER, mud_mask, water_mask
from fastneg.evaluation.corruptions.tables import numbers


@corruption(
    (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
    ),
    (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    random=True,
)
def snow(images, constant, draws):
    """Flakes on a whitened image.

    Normal noise (mean, deviation) is enlarged by a zoom, and what is above a threshold is smeared
    along a steep line.

    The flakes are cut to 8 bits before they are smeared, since ImageMagick gets them as a PNG.
    """
    mean, deviation, zoom, threshold, radius, sigma, kept = constant
    height, width = images.shape[-2:]
    flakes = zoomed(draws.normal(1, height, width).mul_(deviation).add_(mean), zoom)
    flakes = cut_to_8bit(torch.where(flakes < threshold, 0, flakes))
    flakes = motion(flakes, radius, sigma, draws.host_uniform(-135, -45).tolist())
    whitened = torch.maximum(images, gray(images) * 1.5 + 0.5)
    return kept * images + (1 - kept) * whitened + flakes + flakes.rot90(2, (-2, -1))


@corruption(
    ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
    ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    random=True,
)
def frost(images, constant, draws):
    """(share of the image, share of a crop of a frost texture) added up.

    The textures are procedural, not ImageNet-C's photographs.
    """
    image_share, frost_share = constant
    height, width = images.shape[-2:]
    textures = frost_textures(nearest_size(height, width), images.device)
    side = textures.shape[-1]
    out = image_share * images
    for image, (which, down, right) in zip(
        out, draws.host_integers(0, len(textures) * side, 3).tolist(), strict=True
    ):
        # The textures tile, so that a crop may begin anywhere and be of any size.
        rows, columns = (
            (torch.arange(n, device=images.device) + start) % side
            for n, start in ((height, down), (width, right))
        )
        image.add_(
            textures[which % len(textures)].index_select(1, rows).index_select(2, columns),
            alpha=frost_share,
        )
    return out


@corruption(
    ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
    ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
    ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    random=True,
)
def fog(images, constant, draws):
    """(amount, decay): a plasma fractal added, the brightest value kept."""
    amount, decay = constant
    height, width = images.shape[-2:]
    side = 2 ** math.ceil(math.log2(max(height, width)))
    haze = plasma(draws.uniform(-1, 1, side * side - 1), side, decay)[:, None, :height, :width]
    brightest = images.amax((1, 2, 3), keepdim=True)
    return (images + amount * haze) * (brightest / (brightest + amount))


def plasma(draw, side, decay):
    """The diamond-square fractal on a torus, scaled to 0 … 1.

    Args:
        draw: (N, side² - 1) in -1 … 1, used from the left: for each halving of the step first the
            middles of the squares, then the points between level neighbours, then between upright
            ones.
        side: a power of two.
        decay: the random part falls with its square each halving.
    Returns:
        (N, side, side) float32.
    Source: Fournier, Fussell and Carpenter 1982; constants of ImageNet-C.
    """
    field, used, step, wobble = draw.new_zeros(len(draw), side, side), 0, side, 100.0
    while step > 1:
        half, count = step // 2, side // step
        corners = field[:, ::step, ::step]

        def points(total, used=used, count=count, wobble=wobble):
            random = draw[:, used : used + count * count].view(-1, count, count)
            return total / 4 + wobble * wobble * random

        square = corners + corners.roll(-1, 1)
        middles = points(square + square.roll(-1, 2))
        used += count * count
        # Each further point lies between two corners and two middles.
        beside = points(middles + middles.roll(1, 1) + corners + corners.roll(-1, 2), used)
        used += count * count
        below = points(middles + middles.roll(1, 2) + corners + corners.roll(-1, 1), used)
        used += count * count
        (
            field[:, half::step, half::step],
            field[:, half::step, ::step],
            field[:, ::step, half::step],
        ) = middles, below, beside
        step, wobble = half, wobble / decay
    field -= field.amin((1, 2), keepdim=True)
    return field / field.amax((1, 2), keepdim=True)


@corruption(
    (
        (0.65, 0.3, 4, 0.69, 0.6, "water"),
        (0.65, 0.3, 3, 0.68, 0.6, "water"),
        (0.65, 0.3, 2, 0.68, 0.5, "water"),
        (0.65, 0.3, 1, 0.65, 1.5, "mud"),
        (0.67, 0.4, 1, 0.65, 1.5, "mud"),
    ),
    (
        (0.62, 0.1, 0.7, 0.7, 0.6, "water"),
        (0.65, 0.1, 0.8, 0.7, 0.6, "water"),
        (0.65, 0.3, 1, 0.69, 0.6, "water"),
        (0.65, 0.1, 0.7, 0.68, 0.6, "mud"),
        (0.65, 0.1, 0.5, 0.67, 0.6, "mud"),
    ),
    (
        (0.62, 0.1, 0.7, 0.7, 0.5, "water"),
        (0.65, 0.1, 0.8, 0.7, 0.5, "water"),
        (0.65, 0.3, 1, 0.69, 0.5, "water"),
        (0.65, 0.1, 0.7, 0.69, 0.6, "mud"),
        (0.65, 0.1, 0.5, 0.68, 0.6, "mud"),
    ),
    random=True,
)
def spatter(images, constant, draws):
    """Liquid where smoothed normal noise (mean, deviation, sigma) is above a threshold.

    It is pale water with lit edges, or opaque mud.
    """
    mean, deviation, sigma, threshold, strength, liquid = constant
    height, width = images.shape[-2:]
    layer = gaussian(draws.normal(1, height, width).mul_(deviation).add_(mean), sigma)
    if liquid == "water":
        water = numbers(WATER, images.device)[:, None, None]
        return images + water_mask(torch.where(layer < threshold, 0, layer), strength) * water
    mud = numbers(MUD, images.device)[:, None, None]
    return torch.lerp(images, mud, mud_mask(layer > threshold, strength))


def gray(images):
    """(N, 1, H, W): luma of RGB images."""
    shares = numbers((0.299, 0.587, 0.114), images.device)
    return (images * shares[:, None, None]).sum(1, keepdim=True)
