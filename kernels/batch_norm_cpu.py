"""Batch normalisation of groups on a CPU: loops over blocks of rows that stay in cache, which numba
compiles, the blocks spread over torch's number of threads.

The definition is in batch_norm.py, the path for other dtypes and formats in batch_norm_torch.py.
Blocks do not depend on the number of threads, and are joined in order: neither do the results.
Shapes: G groups, R rows (pixels) of a group, C channels, B blocks of a group. `affine` is (weight
(C,) or None, bias (C,) or None, mean (G, C), var (G, C), eps).
"""

import numpy as np
import torch
from numba import njit

from . import batch_norm_torch
from .batch_norm_checks import is_channels_last
from .cpu_threads import spread_evenly

BLOCK = 1 << 15
"""Elements of a block: 128 KiB, which the second look at them finds in the cache."""
REORDER = {"contract", "reassoc", "nsz"}
"""What the compiler may do with sums; NaN and infinity stay what they are."""
FAST = {"cache": True, "nogil": True, "fastmath": REORDER}
PLAIN, FROM_IMAGES, FROM_SHOWN = range(3)
"""Where the ReLU let pass: everywhere, where it would of the images, where `shown` is above 0."""

merge = batch_norm_torch.merge


def serves(images):
    """Whether the loops take these images: float32, the channels of a pixel side by side."""
    plain = images.dtype == torch.float32 and images.device.type == "cpu"
    return plain and is_channels_last(images)


def statistics(images, running, groups, momentum):
    """As batch_norm_torch.statistics."""
    rows, (size, blocks) = _rows(images, groups), _blocks(images, groups)
    count, channels = rows.shape[1:]
    parts = np.empty((2, groups, blocks, channels), np.float32)
    spread_evenly(lambda *which: _statistics(rows, size, *which, *parts), groups * blocks)
    mean, var = _joined(*parts, size, count)
    mean, var = torch.from_numpy(mean), torch.from_numpy(var)
    batch_norm_torch.move(running, mean, var, count, momentum)
    return mean, var


def normalise(images, residual, affine, relu):
    """As batch_norm_torch.normalise."""
    groups, out = len(affine[2]), torch.empty_like(images)
    rows, target = _rows(images, groups), _rows(out, groups)
    added = rows if residual is None else _rows(residual, groups)  # not read without one
    columns, (size, blocks) = _columns(affine), _blocks(images, groups)
    given = residual is not None
    spread_evenly(
        lambda *which: _normalise(rows, added, given, *columns, relu, size, *which, target),
        groups * blocks,
    )
    return out


def sums(gradient, shown, images, affine, relu):
    """As batch_norm_torch.sums."""
    groups = len(affine[2])
    masked = gradient.new_empty(0) if shown is None else torch.empty_like(gradient)
    rows, slopes = _rows(images, groups), _rows(gradient, groups)
    seen, passed = (rows, rows) if shown is None else (_rows(shown, groups), _rows(masked, groups))
    columns, (size, blocks) = _columns(affine), _blocks(images, groups)
    mode = FROM_SHOWN if shown is not None else FROM_IMAGES if relu else PLAIN
    parts = np.zeros((2, groups, blocks, rows.shape[2]), np.float32)
    spread_evenly(
        lambda *which: _sums(slopes, seen, rows, *columns, mode, size, *which, passed, *parts),
        groups * blocks,
    )
    return torch.from_numpy(_totals(parts, columns[0])), masked


def to_images(gradient, images, affine, sums, rows, relu):
    """As batch_norm_torch.to_images."""
    groups, out = len(affine[2]), torch.empty_like(images)
    values, slopes, target = (_rows(each, groups) for each in (images, gradient, out))
    if sums is None:
        sums, rows = torch.zeros(2, groups, values.shape[2]), 1
    columns, (size, blocks) = _columns(affine), _blocks(images, groups)
    spread_evenly(
        lambda *which: _to_images(
            slopes, values, *columns, *sums.numpy(), rows, relu, size, *which, target
        ),
        groups * blocks,
    )
    return out


def _rows(images, groups):
    """(G, R, C) in numpy, of the same memory."""
    last = images.detach()
    last = last.permute(0, 2, 3, 1) if last.dim() == 4 else last
    return last.reshape(groups, -1, images.shape[1]).numpy()


def _blocks(images, groups):
    """(rows of a block, blocks of a group)."""
    channels = images.shape[1]
    rows = images.numel() // channels // groups
    size = max(1, BLOCK // channels)
    return size, -(-rows // size)


def _columns(affine):
    """(1 / deviation (G, C), mean (G, C), scale (G, C), start (C,)): (images - mean) · scale +
    start."""
    weight, bias, mean, var, eps = affine
    channels = mean.shape[1]
    weight = torch.ones(channels) if weight is None else weight.detach().float()
    bias = torch.zeros(channels) if bias is None else bias.detach().float()
    mean, var = mean.float().numpy(), var.float().numpy()
    inverse, scale = _inverse_and_scale(weight.numpy(), var, np.float32(eps))
    return inverse, mean, scale, bias.numpy()


@njit(**FAST)
def _inverse_and_scale(weight, var, eps):
    inverse = 1 / np.sqrt(var + eps)
    return inverse, inverse * weight


@njit(**FAST)
def _joined(means, deviations, size, rows):
    """(mean, biased variance) (G, C) of means and summed squared deviations (G, B, C) of blocks.

    The deviations of all are those within the blocks and those of the blocks' means: no difference
    of large squares.
    """
    groups, blocks, channels = means.shape
    mean, var = np.empty((groups, channels), np.float32), np.empty((groups, channels), np.float32)
    for g in range(groups):
        for c in range(channels):
            centre, deviation = 0.0, 0.0
            for b in range(blocks):
                centre += means[g, b, c] * min(size, rows - b * size)
            centre /= rows
            for b in range(blocks):
                apart = means[g, b, c] - centre
                deviation += deviations[g, b, c] + apart * apart * min(size, rows - b * size)
            mean[g, c], var[g, c] = centre, deviation / rows
    return mean, var


@njit(**FAST)
def _totals(parts, inverse):
    """(Σ dy, Σ dy x^) (2, G, C), from those of blocks, the second times the deviation."""
    _, groups, blocks, channels = parts.shape
    total = np.empty((2, groups, channels), np.float32)
    for g in range(groups):
        for c in range(channels):
            first, second = 0.0, 0.0
            for b in range(blocks):
                first += parts[0, g, b, c]
                second += parts[1, g, b, c]
            total[0, g, c], total[1, g, c] = first, second * inverse[g, c]
    return total


@njit(**FAST)
def _statistics(images, size, first, end, step, means, deviations):
    rows = images.shape[1]
    blocks = -(-rows // size)
    for number in range(first, end, step):
        group, block = number // blocks, number % blocks
        begin = block * size
        stop = min(begin + size, rows)
        _mean_and_deviation(
            images[group, begin:stop], means[group, block], deviations[group, block]
        )


@njit(**FAST)
def _mean_and_deviation(rows, mean, deviation):
    """Of rows (n, C), each (C,); four rows at a time, so that the sums are read a quarter as
    often."""
    count, channels = rows.shape
    mean[:] = 0
    deviation[:] = 0
    whole = count // 4 * 4
    for r in range(0, whole, 4):
        a, b, c, d = rows[r], rows[r + 1], rows[r + 2], rows[r + 3]
        for i in range(channels):
            mean[i] += (a[i] + b[i]) + (c[i] + d[i])
    for r in range(whole, count):
        for i in range(channels):
            mean[i] += rows[r, i]
    for i in range(channels):
        mean[i] /= count
    for r in range(0, whole, 4):
        a, b, c, d = rows[r], rows[r + 1], rows[r + 2], rows[r + 3]
        for i in range(channels):
            m = mean[i]
            deviation[i] += (a[i] - m) ** 2 + (b[i] - m) ** 2 + (c[i] - m) ** 2 + (d[i] - m) ** 2
    for r in range(whole, count):
        for i in range(channels):
            deviation[i] += (rows[r, i] - mean[i]) ** 2


@njit(**FAST)
def _normalise(
    images, residual, given, inverse, mean, scale, start, relu, size, first, end, step, out
):
    _, rows, channels = images.shape
    blocks = -(-rows // size)
    zero = np.float32(0)
    for number in range(first, end, step):
        group, begin = number // blocks, number % blocks * size
        for r in range(begin, min(begin + size, rows)):
            if given:
                for c in range(channels):
                    value = (images[group, r, c] - mean[group, c]) * scale[group, c] + start[c]
                    value += residual[group, r, c]
                    out[group, r, c] = zero if relu and value < zero else value
            else:
                for c in range(channels):
                    value = (images[group, r, c] - mean[group, c]) * scale[group, c] + start[c]
                    out[group, r, c] = zero if relu and value < zero else value


@njit(**FAST)
def _sums(
    gradient, shown, images, inverse, mean, scale, start, mode, size, first, end, step, masked,
    totals, products,
):  # fmt: skip
    _, rows, channels = images.shape
    blocks = -(-rows // size)
    zero = np.float32(0)
    for number in range(first, end, step):
        group, block = number // blocks, number % blocks
        for r in range(block * size, min(block * size + size, rows)):
            if mode == PLAIN:
                for c in range(channels):
                    slope = gradient[group, r, c]
                    totals[group, block, c] += slope
                    products[group, block, c] += slope * (images[group, r, c] - mean[group, c])
            elif mode == FROM_IMAGES:
                for c in range(channels):
                    distance = images[group, r, c] - mean[group, c]
                    value = distance * scale[group, c] + start[c]
                    slope = zero if value <= zero else gradient[group, r, c]
                    totals[group, block, c] += slope
                    products[group, block, c] += slope * distance
            else:
                for c in range(channels):
                    slope = zero if shown[group, r, c] <= zero else gradient[group, r, c]
                    masked[group, r, c] = slope
                    totals[group, block, c] += slope
                    products[group, block, c] += slope * (images[group, r, c] - mean[group, c])


@njit(**FAST)
def _to_images(
    gradient,
    images,
    inverse,
    mean,
    scale,
    start,
    sums,
    products,
    count,
    relu,
    size,
    first,
    end,
    step,
    out,
):
    _, rows, channels = images.shape
    blocks = -(-rows // size)
    zero, share = np.float32(0), np.float32(1 / count)
    shift, tilt = sums * share, products * inverse * share
    for number in range(first, end, step):
        group, begin = number // blocks, number % blocks * size
        for r in range(begin, min(begin + size, rows)):
            if relu:
                for c in range(channels):
                    distance = images[group, r, c] - mean[group, c]
                    value = distance * scale[group, c] + start[c]
                    slope = zero if value <= zero else gradient[group, r, c]
                    slope -= shift[group, c] + distance * tilt[group, c]
                    out[group, r, c] = slope * scale[group, c]
            else:
                for c in range(channels):
                    distance = images[group, r, c] - mean[group, c]
                    slope = gradient[group, r, c] - shift[group, c] - distance * tilt[group, c]
                    out[group, r, c] = slope * scale[group, c]
