"""Checks of the arguments of the losses of views.

Legend: n rows of this process, N of all, D feature dimension.
"""

from __future__ import annotations

import torch

from fastneg.kernels.info_nce_checks import DTYPES, check_tensors


def _came(value):
    """What was given, in words: a tensor's shape, else the type."""
    return tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__


def check_pair(first, second):
    """ValueError unless they are two views (n, D) of the same n ≥ 1 images, alike but for the
    dtype."""
    for name, view in (("first", first), ("second", second)):
        if not isinstance(view, torch.Tensor) or view.ndim != 2:
            raise ValueError(
                f"{name} is {_came(view)}: a tensor (n, D), a view of each image, was expected."
            )
    if first.shape != second.shape:
        raise ValueError(
            f"first is {tuple(first.shape)} but second is {tuple(second.shape)}: they are two "
            "views of the same images."
        )
    check_tensors(first, second, second, None, 1.0, names=("first", "second", "second"))


def others_checked(everyone, first, second):
    """The rows that those of this process are compared with, of both sides.

    Args:
        everyone: (first, second) of all processes, (N, D) each, this process's rows before the
            others'; None where there is one process.
    Raises:
        ValueError: it is no such pair.
    """
    if everyone is None:
        return first, second
    _check_two(everyone, "(first, second) of all processes, (N, D) each,")
    for name, rows, own in zip(("first", "second"), everyone, (first, second), strict=True):
        fits = isinstance(rows, torch.Tensor) and rows.ndim == 2 and rows.shape[1:] == own.shape[1:]
        if not fits or len(rows) < len(own):
            raise ValueError(
                f"everyone's {name} is {_came(rows)} but {name} is {tuple(own.shape)}: (N, D) was "
                "expected, the rows of this process before those of the others."
            )
        _check_alike(name, rows, own)
    if len(everyone[0]) != len(everyone[1]):
        raise ValueError(
            f"everyone's first is {tuple(everyone[0].shape)} but its second is "
            f"{tuple(everyone[1].shape)}: they are two views of the same images."
        )
    return tuple(everyone)


def _check_alike(name, others, own):
    if others.device != own.device or others.dtype not in DTYPES:
        raise ValueError(
            f"everyone's {name} is {others.dtype} on {others.device} but {name} is {own.dtype} on "
            f"{own.device}: float32, bfloat16, float16 or float64 on {own.device} was expected."
        )


def _check_two(everyone, wanted):
    if not isinstance(everyone, (tuple, list)) or len(everyone) != 2:
        raise ValueError(f"everyone is a {type(everyone).__name__}: {wanted} was expected.")


def check_extra(extra_negatives):
    """ValueError unless it is None or a tensor (n, M, D); the rest is checked where it is used."""
    if extra_negatives is not None and getattr(extra_negatives, "ndim", None) != 3:
        came = _came(extra_negatives)
        raise ValueError(f"extra_negatives are {came}: a tensor (n, M, D) was expected.")


def check_features(features, labels, everyone):
    """ValueError unless the arguments of `supervised_contrastive` belong together."""
    if not isinstance(features, torch.Tensor) or features.ndim != 3:
        raise ValueError(f"features is {_came(features)}: a tensor (N, V, D) was expected.")
    if features.dtype not in DTYPES:
        raise ValueError(
            f"features has dtype {features.dtype}: float32, bfloat16, float16 or float64 was "
            "expected."
        )
    images, views, dim = features.shape
    if dim == 0:
        raise ValueError(f"features is {tuple(features.shape)}: at least one column was expected.")
    if images * views < 2:
        raise ValueError(f"features is {tuple(features.shape)}: N·V of two or more was expected.")
    if labels is None and views < 2:
        raise ValueError(
            "features has one view of each image and labels is None: no row has a positive. Give "
            "labels, or two views or more."
        )
    _check_labels("labels", labels, features)
    if everyone is None:
        return
    _check_two(everyone, "(features, labels) of all processes")
    others, numbers = everyone
    fits = isinstance(others, torch.Tensor) and others.shape[1:] == features.shape[1:]
    if not fits or len(others) < images:
        raise ValueError(
            f"everyone's features is {_came(others)} but features is {tuple(features.shape)}: "
            "(N', V, D) was expected, the images of this process before those of the others."
        )
    _check_alike("features", others, features)
    if (numbers is None) != (labels is None):
        raise ValueError(
            f"labels {'are' if labels is not None else 'are not'} given but those of everyone "
            f"{'are' if numbers is not None else 'are not'}: both or neither was expected."
        )
    _check_labels("everyone's labels", numbers, others)


def _check_labels(name, labels, features):
    if labels is None:
        return
    images = len(features)
    fits = isinstance(labels, torch.Tensor) and labels.shape == (images,)
    if not fits or labels.is_floating_point() or labels.is_complex():
        tensor = isinstance(labels, torch.Tensor)
        came = f"{labels.dtype} {tuple(labels.shape)}" if tensor else labels
        raise ValueError(f"{name} is {came}: whole numbers ({images},) were expected.")
    if labels.device != features.device:
        raise ValueError(f"{name} are on {labels.device}, features on {features.device}.")
