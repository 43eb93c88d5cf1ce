"""Splits of a labelled set by class: a held-out part, a fraction of the labels.

Legend: N images.
"""

from __future__ import annotations

import math

import torch


def hold_out(labels, share, seed):
    """(rows to fit on, rows held out), drawn class by class.

    Of each class `share` of the images is held out, and at least one where it has two.

    Args:
        labels: (N,) int64 on the CPU.
    """
    fit, held = [], []
    for rows in _shuffled(labels, seed):
        out = max(1, int(share * len(rows))) if len(rows) > 1 else 0
        held.append(rows[:out])
        fit.append(rows[out:])
    return torch.cat(fit).sort().values, torch.cat(held).sort().values


def few_shot(labels, share, seed):
    """(n,) rows of `share` percent of the images of each class, rounded up.

    A few-shot classifier is trained on them.

    Args:
        labels: (N,) int64 on the CPU.
        share: percent, above 0, at most 100.
    """
    # 64.4 · 250 / 100 is above 161
    kept = [rows[: math.ceil(share * len(rows) / 100 - 1e-9)] for rows in _shuffled(labels, seed)]
    return torch.cat(kept).sort().values


def _shuffled(labels, seed):
    """The rows of each class in turn, in a random order."""
    generator = torch.Generator().manual_seed(seed)
    for number in labels.unique().tolist():
        rows = (labels == number).nonzero().flatten()
        yield rows[torch.randperm(len(rows), generator=generator)]
