"""Batches: what a loader asks its pipeline to make, and what it hands over.

Legend: N batch, C channels, H W pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from fastneg.kernels.augment import AugmentParams
from fastneg.kernels.host_copy import to_device


class Request(NamedTuple):
    """What one batch is made of: a loader asks its pipeline for it."""

    index: np.ndarray
    """(N,) int64, its samples."""
    views: list
    """What the pipeline is fed for each view: {name: array}."""
    size: int
    """Side of the views in pixels."""
    replaced: dict
    """{index: reason} of the bad samples in whose places others stand."""
    params: list | None = None
    """`AugmentParams` for each view, where the views are augmented after the pipeline."""
    max_sigma: float = 0.0
    """The largest blur that they may hold."""
    patches: dict | None = None
    """What the pipeline is fed for the source patches of textures: {name: array}."""
    sources: object = None
    """What goes with the patches: the rest of a `TextureSources`; on the CPU until the batch is
    made."""
    kept: np.ndarray | None = None
    """(N,) bool: False for the bad samples that shall be left out, in whose places others stand
    until then; None: all are kept."""


class TextureSources(NamedTuple):
    """What textures are made from, and what the query view is to its image: a texture is treated
    likewise."""

    patches: torch.Tensor
    """(N, 2, 3, P, P) uint8, two squares of each image, one centred and one at a random place."""
    window: torch.Tensor
    """(N, 4) float32, top, left, bottom and right of the query's crop, as shares of height and
    width."""
    params: AugmentParams
    """The colour changes, blur and flip of the query view."""
    max_sigma: float
    """The largest blur among them."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def to(self, device):
        """The same on another device, without waiting for it; patches may be None."""
        patches = None if self.patches is None else to_device(self.patches, device)
        return self._replace(
            patches=patches,
            window=to_device(self.window, device),
            params=self.params.to(device),
        )

    def record_stream(self, stream):
        """Keep the memory until the stream has used it; patches may be None."""
        for tensor in (self.patches, self.window, *self.params):
            if tensor is not None:
                tensor.record_stream(stream)


class ViewBatch(NamedTuple):
    """Augmented views of each image, two or more.

    The tensors own their memory: nothing overwrites them later.
    """

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
    texture: torch.Tensor | None = None
    """(N, 3, H, W), the view of the texture paired with each image, like the query in all its
    random numbers; or None if not asked for."""
    texture_sources: TextureSources | None = None
    """What textures can be made from, where the loader was asked for it."""
    negatives: torch.Tensor | None = None
    """(N, M, 3, H, W), non-semantic negatives of each image in the space of the views, those of one
    kind after those of another; where the loader was asked for them."""


class EvalBatch(NamedTuple):
    """One view of each image, for features and classifiers."""

    images: torch.Tensor
    """(N, 3, H, W) channels_last, normalised; float16 on CUDA, float32 on the CPU."""
    index: torch.Tensor
    """(N,) int64 on the CPU, positions in the data set."""
    label: torch.Tensor | None
    """(N,) int64 on the CPU, or None where the data set has no labels."""
