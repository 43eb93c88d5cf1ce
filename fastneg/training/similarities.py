"""Histograms of similarities, counted on the device.

Legend: S kinds of similarity, B bins.
"""

from __future__ import annotations

import torch

BINS = 40
"""Equal bins over -1 … 1: each 0.05 wide."""


def histograms(similarities):
    """Count cosine similarities in equal bins over -1 … 1; nothing waits for the device.

    Args:
        similarities: {kind: tensor of any shape}. Rounding may put values beyond -1 or 1: they
            count in the outermost bins.
    Returns:
        (S, B) float32 counts on the device, in the order of the kinds.
    """
    return torch.stack(
        [
            torch.histc(values.detach().float().clamp(-1, 1), BINS, -1, 1)
            for values in similarities.values()
        ]
    )


def edges():
    """The B + 1 edges of the bins."""
    return [-1 + 2 * place / BINS for place in range(BINS + 1)]
