"""Drops of liquid for `spatter`: the masks of water and mud.

ImageNet-C makes water with OpenCV: Canny edges, distance to them, histogram equalisation, an embossing filter. The same steps stand here in
torch. OpenCV rounds to 8 bits between them, and so does this; its distance is a chamfer sum, here it is the Euclidean one.
Legend: N images, H W pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from fastneg.evaluation.corruptions.filters import gaussian, padded

WATER = torch.tensor([175, 238, 238]) / 255
MUD = torch.tensor([63, 42, 20]) / 255
FARTHEST = 20
"""Distances to an edge are cut here, in pixels."""


def mud_mask(liquid, sigma):
    """(N, 1, H, W) opacity: the liquid (a bool mask) smoothed, thin parts left out."""
    soft = gaussian(liquid.float(), sigma)
    return torch.where(soft < 0.8, 0, soft)


def water_mask(layer, strength):
    """(N, 1, H, W) of which the largest value is `strength`: the liquid layer (values from 0), lit by its distance to its edges."""
    layer = torch.floor(layer * 255).remainder(256)
    away = equalized(torch.floor(box3(edge_distance(canny(layer, 50, 150)))))
    embossed = correlate3(away, ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))).round().clamp(0, 255)
    lit = layer * box3(embossed)
    return lit / lit.amax((2, 3), keepdim=True).clamp_min(1e-12) * strength


def correlate3(images, kernel):
    """(N, 1, H, W) with a 3 × 3 kernel, mirrored at the border."""
    kernel = torch.tensor(kernel, dtype=images.dtype, device=images.device)
    return F.conv2d(padded(images, 1, "mirror"), kernel[None, None])


def box3(images):
    """The mean of 3 × 3 pixels."""
    return correlate3(images, [[1 / 9] * 3] * 3)


def canny(layer, low, high):
    """(N, 1, H, W) bool: the edges of an 8-bit layer, by Canny's method with the gradient |dx| + |dy| of Sobel, repeated at the border.

    An edge is at least as steep as its neighbours across it, above `low`, and joined to a place above `high`.
    Source: Canny 1986; OpenCV's choices.
    """
    wide = padded(layer, 1, "edge")
    dx, dy = (F.conv2d(wide, torch.tensor(k, dtype=layer.dtype, device=layer.device)[None, None]) for k in (_SOBEL, _SOBEL_T))
    steep = dx.abs() + dy.abs()
    around = F.pad(steep, (1,) * 4)
    at = lambda row, column: around[..., 1 + row : 1 + row + steep.shape[-2], 1 + column : 1 + column + steep.shape[-1]]
    tangent = math.tan(math.pi / 8)
    flat, upright = dy.abs() < tangent * dx.abs(), dy.abs() * tangent > dx.abs()
    rising = dx * dy < 0
    before = torch.where(flat, at(0, -1), torch.where(upright, at(-1, 0), torch.where(rising, at(-1, 1), at(-1, -1))))
    after = torch.where(flat, at(0, 1), torch.where(upright, at(1, 0), torch.where(rising, at(1, -1), at(1, 1))))
    # Of equal neighbours on a diagonal none stays, of others the one with the lower position.
    thin = (steep > before) & torch.where(flat | upright, steep >= after, steep > after)
    weak, edges = thin & (steep > low), thin & (steep > high)
    while True:
        grown = weak & (F.max_pool2d(edges.float(), 3, 1, 1) > 0)
        if torch.equal(grown, edges):
            return edges
        edges = grown


_SOBEL = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
_SOBEL_T = ((-1, -2, -1), (0, 0, 0), (1, 2, 1))


def edge_distance(edges):
    """(N, 1, H, W) float32: the Euclidean distance to the nearest edge in pixels, at most FARTHEST."""
    far = torch.where(edges, 0.0, float(FARTHEST**2))
    for dim in (-2, -1):  # the square of the distance is the least, over the other axis, of step² + the square along the first
        wide = F.pad(far, (0, 0, FARTHEST, FARTHEST) if dim == -2 else (FARTHEST, FARTHEST, 0, 0), value=float(FARTHEST**2))
        for step in range(-FARTHEST + 1, FARTHEST):
            torch.minimum(far, wide.narrow(dim, FARTHEST + step, far.shape[dim]) + step * step, out=far)
    return far.sqrt()


def equalized(images):
    """8-bit (N, 1, H, W) images with their histograms made even, as OpenCV's equalizeHist does."""
    levels = images.flatten(1).long()
    counts = torch.zeros(len(images), 256, device=images.device).scatter_add_(1, levels, torch.ones_like(levels, dtype=torch.float32))
    below = counts.cumsum(1)
    first = counts.gather(1, levels.amin(1, keepdim=True))  # pixels of the darkest level, which becomes 0
    table = ((below - first) * (255 / (levels.shape[1] - first).clamp_min(1))).round().clamp(0, 255)
    return table.gather(1, levels).view_as(images)
