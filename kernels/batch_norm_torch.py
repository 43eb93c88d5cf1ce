"""Batch normalisation of groups in plain torch, on any device and in any float dtype.

Shapes: N batch, G groups, C channels, A pixels of an image, R = N / G · A, P processes. `affine` is
(weight (C,) or None, bias (C,) or None, mean (G, C), var (G, C), eps).
"""

import torch


def statistics(images, running, groups, momentum):
    """(mean, biased variance) (G, C) of images (N, C, …); `running` moves: (mean, variance, calls),
    each None or moved in place."""
    grouped = _grouped(images, groups)
    var, mean = torch.var_mean(grouped, (1, 3), correction=0)
    move(running, mean, var, grouped.shape[1] * grouped.shape[3], momentum)
    return mean, var


def merge(statistics, running, rows, momentum):
    """(mean, biased variance) (1, C) of P processes with `rows` values a channel each, from theirs
    (P, 2, 1, C)."""
    means, variances = statistics.unbind(1)
    mean = means.mean(0)
    # The variance of all is the mean of the variances and the variance of the means: no difference
    # of large squares.
    var = (variances + (means - mean).square()).mean(0)
    move(running, mean, var, len(statistics) * rows, momentum)
    return mean, var


def normalise(images, residual, affine, relu):
    """(N, C, …), of the images' dtype and memory format."""
    weight, bias, mean, var, eps = affine
    out = _grouped(images, len(mean)) - _spread(mean)
    out *= _spread(_scale(weight, var, eps))
    if bias is not None:
        out += _spread(bias.to(out.dtype)[None])
    if residual is not None:
        out += _grouped(residual, len(mean))
    return _as(images, torch.relu_(out) if relu else out)


def sums(gradient, shown, images, affine, relu):
    """(Σ dy, Σ dy x^) (2, G, C) over each group, dy being the gradient where the ReLU let pass; and
    dy itself, where it is told from `shown` (empty where not)."""
    groups = len(affine[2])
    if shown is not None:
        masked = torch.where(shown <= 0, 0, gradient)
        passed = _grouped(masked, groups)
    else:
        masked = gradient.new_empty(0)
        passed = _passed(gradient, images, affine, relu)
    normalised = _normalised(images, affine)
    return torch.stack([passed.sum((1, 3)), (passed * normalised).sum((1, 3))]), masked


def to_images(gradient, images, affine, sums, rows, relu):
    """dx (N, C, …); sums (2, G, C) over `rows` values, or None where the statistics are no function
    of x."""
    weight, _, _, var, eps = affine
    passed = _passed(gradient, images, affine, relu)
    if sums is not None:
        shift, slope = sums / rows
        passed = passed - _spread(shift) - _normalised(images, affine) * _spread(slope)
    return _as(images, passed * _spread(_scale(weight, var, eps)))


def move(running, mean, var, rows, momentum):
    """Move running (mean, variance, calls) towards the mean over the groups of `rows` values."""
    running_mean, running_var, tracked = running
    if running_mean is not None:
        running_mean.lerp_(mean.mean(0).to(running_mean.dtype), momentum)
        unbiased = var.mean(0) * (rows / (rows - 1))
        running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    if tracked is not None:
        tracked.add_(1)


def _grouped(images, groups):
    """(G, N / G, C, A), wide."""
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    return (
        wide.unflatten(0, (groups, -1)).flatten(3)
        if images.dim() > 2
        else (wide.unflatten(0, (groups, -1)).unsqueeze(3))
    )


def _spread(rows):
    """(G, C) as it stands beside what `_grouped` gives."""
    return rows[:, None, :, None]


def _as(images, grouped):
    """What `_grouped` gives, as the images are."""
    return torch.empty_like(images).copy_(grouped.flatten(0, 1).view(images.shape))


def _scale(weight, var, eps):
    scale = (var + eps).rsqrt()
    return scale if weight is None else scale * weight


def _normalised(images, affine):
    _, _, mean, var, eps = affine
    return (_grouped(images, len(mean)) - _spread(mean)) * _spread((var + eps).rsqrt())


def _passed(gradient, images, affine, relu):
    """The gradient where the ReLU let pass, (G, N / G, C, A)."""
    weight, bias, mean, _, _ = affine
    passed = _grouped(gradient, len(mean))
    if not relu:
        return passed
    shown = _normalised(images, affine)
    shown = shown if weight is None else shown * _spread(weight.to(shown.dtype)[None])
    shown = shown if bias is None else shown + _spread(bias.to(shown.dtype)[None])
    return torch.where(shown <= 0, 0, passed)
