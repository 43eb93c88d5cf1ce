"""Checks of the arguments of batch_norm. Shapes: N batch, G groups, C channels."""

import math

import torch

from .checks import check_are_tensors, check_range, check_whole

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
MOST_GROUPS = 65535
"""What the second dimension of a CUDA grid holds."""


def check(images, residual, weight, bias, running_mean, running_var, training, groups, processes):
    """Raises ValueError, which says what came, what was expected and what to do."""
    check_are_tensors(images=images, **({} if residual is None else {"residual": residual}))
    if images.dim() < 2 or images.dtype not in DTYPES:
        raise ValueError(
            f"images are {tuple(images.shape)} {images.dtype}: (N, C, …) of float32, float16, "
            "bfloat16 or float64 was expected."
        )
    _check_channels(images, weight, bias, running_mean, running_var)
    if residual is not None and (residual.shape, residual.dtype, residual.device) != (
        images.shape,
        images.dtype,
        images.device,
    ):
        raise ValueError(
            f"residual is {tuple(residual.shape)} {residual.dtype} on {residual.device} but images "
            f"are {tuple(images.shape)} {images.dtype} on {images.device}: both must agree."
        )
    if (running_mean is None) != (running_var is None):
        raise ValueError("One of running_mean and running_var is None: pass both, or neither.")
    if training:
        _check_groups(images, groups, processes)
    elif running_mean is None:
        raise ValueError(
            "training is False but running_mean is None: pass the statistics to normalise by, or "
            "training=True."
        )


def _check_channels(images, *rows):
    channels = images.shape[1]
    names = ("weight", "bias", "running_mean", "running_var")
    for name, row in zip(names, rows, strict=True):
        if row is None:
            continue
        check_are_tensors(**{name: row})
        if row.shape != (channels,) or row.device != images.device:
            raise ValueError(
                f"{name} is {tuple(row.shape)} on {row.device} but images are "
                f"{tuple(images.shape)} on {images.device}: ({channels},) there was expected."
            )
        if not row.is_floating_point():
            raise ValueError(f"{name} is {row.dtype}: a float dtype was expected.")


def _check_groups(images, groups, processes):
    batch, channels = images.shape[:2]
    check_whole("groups", groups, 1)
    if not 1 <= groups <= MOST_GROUPS:
        raise ValueError(f"groups is {groups}: 1 to {MOST_GROUPS} were expected.")
    if batch % groups:
        raise ValueError(
            f"A batch of {batch} does not divide into {groups} groups: change groups, or the batch."
        )
    if not images.numel():
        raise ValueError(f"images are {tuple(images.shape)}: there are no statistics of nothing.")
    if processes is not None and groups > 1:
        raise ValueError(
            f"groups is {groups} but the statistics are joined over processes: one group was "
            "expected."
        )
    values = images.numel() // channels // groups
    if values * (1 if processes is None else processes.size) < 2:
        raise ValueError(
            f"images are {tuple(images.shape)} in {groups} groups, one value of each channel in a "
            "group: it has no variance. At least two were expected."
        )


def check_numbers(images, momentum, eps, tracked):
    """Raises ValueError as `check` does."""
    check_range("momentum", momentum, 0.0, 1.0)
    check_range("eps", eps, 0.0, math.inf)
    if tracked is None:
        return
    check_are_tensors(tracked=tracked)
    if tracked.shape or tracked.dtype != torch.int64 or tracked.device != images.device:
        raise ValueError(
            f"tracked is {tuple(tracked.shape)} {tracked.dtype} on {tracked.device}: () "
            f"torch.int64 on {images.device} was expected."
        )


def is_channels_last(images):
    """Whether the channels of a pixel lie side by side and pixels have no gaps: (N, C), or (N, C,
    H, W) in channels_last."""
    if images.dim() == 2:
        return images.is_contiguous()
    return images.dim() == 4 and images.is_contiguous(memory_format=torch.channels_last)
