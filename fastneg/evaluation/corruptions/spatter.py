"""Drops of liquid for `spatter`: the masks of water and mud.

ImageNet-C makes water with OpenCV: Canny edges, distance to them, histogram equalisation, an
embossing filter. The same steps stand here in torch. OpenCV rounds to 8 bits between them, and so
does this; its distance is the shortest path of king's and knight's moves.
Legend: N images, H W pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from fastneg.evaluation.corruptions.filters import gaussian, padded
from fastneg.evaluation.corruptions.tables import numbers

WATER = tuple(level / 255 for level in (175, 238, 238))
MUD = tuple(level / 255 for level in (63, 42, 20))
ROUNDS = 32
"""Pixels by which a GPU lets edges grow before it is asked whether they still do."""
FARTHEST = 20
"""Distances to an edge are cut here, in pixels."""


def mud_mask(liquid, sigma):
    """(N, 1, H, W) opacity: the liquid (a bool mask) smoothed, thin parts left out."""
    soft = gaussian(liquid.float(), sigma)
    return torch.where(soft < 0.8, 0, soft)


def water_mask(layer, strength):
    """The liquid layer, (N, 1, H, W), of which the largest value is `strength`.

    It is made of values from 0, lit by their distance to the layer's edges.
    """
    layer = torch.floor(layer * 255).remainder(256)
    away = equalized(torch.floor(box3(edge_distance(canny(layer, 50, 150)))))
    embossed = correlate3(away, ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))).round().clamp(0, 255)
    lit = layer * box3(embossed).round()
    return lit / lit.amax((2, 3), keepdim=True).clamp_min(1e-12) * strength


def correlate3(images, kernel):
    """(N, 1, H, W) with a 3 × 3 kernel, mirrored at the border."""
    kernel = numbers(kernel, images.device, images.dtype)
    return F.conv2d(padded(images, 1, "mirror"), kernel[None, None])


def box3(images):
    """The mean of 3 × 3 pixels."""
    return correlate3(images, ((1,) * 3,) * 3) / 9  # whole numbers stay exact


def canny(layer, low, high):
    """The edges of an 8-bit layer by Canny's method, (N, 1, H, W) bool.

    The gradient is |dx| + |dy| of Sobel; the layer is repeated at its border.

    An edge is at least as steep as its neighbours across it, above `low`, and joined to a place
    above `high`.
    Source: Canny 1986; OpenCV's choices.
    """
    wide = padded(layer, 1, "edge")
    dx, dy = (
        F.conv2d(wide, numbers(k, layer.device, layer.dtype)[None, None])
        for k in (_SOBEL, _SOBEL_T)
    )
    steep = dx.abs() + dy.abs()
    around = F.pad(steep, (1,) * 4)
    at = lambda row, column: around[
        ..., 1 + row : 1 + row + steep.shape[-2], 1 + column : 1 + column + steep.shape[-1]
    ]
    tangent = math.tan(math.pi / 8)
    flat, upright = dy.abs() < tangent * dx.abs(), dy.abs() * tangent > dx.abs()
    rising = dx * dy < 0
    before = torch.where(
        flat, at(0, -1), torch.where(upright, at(-1, 0), torch.where(rising, at(-1, 1), at(-1, -1)))
    )
    after = torch.where(
        flat, at(0, 1), torch.where(upright, at(1, 0), torch.where(rising, at(1, -1), at(1, 1)))
    )
    # Of equal neighbours on a diagonal none stays, of others the one with the lower position.
    thin = (steep > before) & torch.where(flat | upright, steep >= after, steep > after)
    weak, edges = thin & (steep > low), thin & (steep > high)
    return joined(edges, weak, 1 if layer.device.type == "cpu" else ROUNDS)


def joined(edges, weak, rounds):
    """The weak places that a path of weak places joins to an edge.

    rounds: pixels that they grow by between questions whether they still do. A GPU is asked
    seldom, for that is to wait for it.
    """
    while True:
        grown = edges
        for _ in range(rounds):
            grown = weak & (F.max_pool2d(grown.float(), 3, 1, 1) > 0)
        if torch.equal(grown, edges):
            return edges
        edges = grown


_SOBEL = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
_SOBEL_T = ((-1, -2, -1), (0, 0, 0), (1, 2, 1))


def edge_distance(edges):
    """The distance to the nearest edge in pixels, at most FARTHEST, (N, 1, H, W) float32.

    It is the length of the shortest path that is made of STEPS.

    A shortest path may take its steps in any order, so each kind is followed by itself: after
    doublings, by up to 1, 3, 7, … of it.
    Source: Borgefors 1986, "Distance transformations in digital images"; OpenCV's lengths.
    """
    far = torch.where(edges, 0.0, float(FARTHEST))
    height, width = far.shape[-2:]
    for (down, right), length in STEPS:
        steps = 1
        while (
            steps * length < FARTHEST and steps * abs(down) < height and steps * abs(right) < width
        ):
            (to_rows, from_rows), (to_columns, from_columns) = (
                _ends(height, steps * down),
                _ends(width, steps * right),
            )
            reached = far[..., to_rows, to_columns]
            torch.minimum(reached, far[..., from_rows, from_columns] + steps * length, out=reached)
            steps *= 2
    return far


def _ends(size, shift):
    """Slices (to, from) of a line of pixels of which each one is `shift` places after the other."""
    return (
        (slice(shift, size), slice(0, size - shift))
        if shift >= 0
        else (slice(0, size + shift), slice(-shift, size))
    )


def _steps():
    """OpenCV's 16 steps of its 5 × 5 mask, ((down, right), length), lengths in 1 / 65536.

    They lead to a side, to a corner, and a knight's move away.
    """
    for down in range(-2, 3):
        for right in range(-2, 3):
            kind = tuple(sorted((abs(down), abs(right))))
            if kind in LENGTHS:
                yield (down, right), LENGTHS[kind]


LENGTHS = {(0, 1): 1.0, (1, 1): 91750 / 65536, (1, 2): 143976 / 65536}
STEPS = tuple(_steps())


def equalized(images):
    """8-bit (N, 1, H, W) images with their histograms made even, as OpenCV's equalizeHist does."""
    levels = images.flatten(1).long()
    counts = torch.zeros(len(images), 256, device=images.device).scatter_add_(
        1, levels, torch.ones_like(levels, dtype=torch.float32)
    )
    below = counts.cumsum(1)
    # pixels of the darkest level, which becomes 0
    first = counts.gather(1, levels.amin(1, keepdim=True))
    table = ((below - first) * (255 / (levels.shape[1] - first).clamp_min(1))).round().clamp(0, 255)
    return table.gather(1, levels).view_as(images)
