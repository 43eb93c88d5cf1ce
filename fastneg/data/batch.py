"""What the loaders hand over. Legend: N batch, C channels, H W pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch


class ViewBatch(NamedTuple):
    """Augmented views of each image, two or more. The tensors own their memory: nothing overwrites them later."""

    query: torch.Tensor
    """(N, 3, H, W) channels_last, normalised; float16 on CUDA, float32 on the CPU."""
    key: torch.Tensor
    """(N, 3, H, W), the second view, likewise."""
    index: torch.Tensor
    """(N,) int64 on the CPU, positions in the data set."""
    label: torch.Tensor | None
    """(N,) int64 on the CPU, or None where the data set has no labels."""
    more: tuple[torch.Tensor, ...] = ()
    """The third and further views, where the loader was asked for them."""


class EvalBatch(NamedTuple):
    """One view of each image, for features and classifiers."""

    images: torch.Tensor
    """(N, 3, H, W) channels_last, normalised; float16 on CUDA, float32 on the CPU."""
    index: torch.Tensor
    """(N,) int64 on the CPU, positions in the data set."""
    label: torch.Tensor | None
    """(N,) int64 on the CPU, or None where the data set has no labels."""
