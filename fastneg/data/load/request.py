"""What a loader asks its pipeline to make: one batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Request(NamedTuple):
    """What one batch is made of."""

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
