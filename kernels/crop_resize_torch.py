"""Crop and resize in plain torch: a tap at a time along each axis, rows first.

Shapes: R views, H W pixels of an image, S the side of a view, T taps of an output pixel.
"""

import math

import torch


def crop_resize(images, index, windows, out):
    """Fills out (R, 3, S, S) from images (K, 3, H, W), index (R,) and windows (R, 4)."""
    size, (height, width) = out.shape[2], images.shape[2:]
    pixels = images.permute(0, 2, 3, 1)[index]
    line = torch.arange(len(index), device=images.device)[:, None]
    tall, total = 0.0, 0.0
    for rows, weights in _taps(windows[:, 0], windows[:, 2], size, height):
        tall = tall + weights[..., None, None] * pixels[line, rows].float()
        total = total + weights
    tall = tall / total[..., None, None]  # (R, S, W, 3)
    views, total = 0.0, 0.0
    for columns, weights in _taps(windows[:, 1], windows[:, 3], size, width):
        picked = tall.transpose(1, 2)[line, columns].transpose(1, 2)
        views = views + weights[:, None, :, None] * picked
        total = total + weights
    views = (views / total[:, None, :, None]).round_().clamp_(0, 255)
    out.copy_(views.permute(0, 3, 1, 2))


def _taps(start, end, size, length):
    """Yield (R, S) int64 places along an axis of `length` pixels, and their weights, for each tap.

    As many taps as the widest window that fits has: those beyond a filter weigh nothing.
    """
    step = ((end - start) / size)[:, None]
    radius = step.clamp_min(1.0)
    centre = start[:, None] + (torch.arange(size, device=start.device) + 0.5) * step - 0.5
    first = (centre - radius).ceil()
    for tap in range(math.ceil(2 * max(1.0, length / size))):
        place = first + tap
        weights = (1 - (place - centre).abs() / radius).clamp_min_(0)
        yield place.long().clamp_(0, length - 1), weights
