"""What a method returns for a step."""

from __future__ import annotations

from typing import NamedTuple

import torch


class MethodOutput(NamedTuple):
    loss: torch.Tensor
    """() float32, to call backward on."""
    keys: torch.Tensor | None
    """(N, D) features to hand to `after_step`, detached; None where the method keeps none."""
    stats: dict[str, torch.Tensor]
    """0-d tensors on the device: reading them is the only thing that waits for it.

    acc1 and acc5 are shares in [0, 1], as everywhere: how often the positive has the highest logit,
    or one of the five highest.
    """
    similarities: dict[str, torch.Tensor]
    """Cosine similarities of single pairs by kind, detached, of any shape: counted into histograms
    when these are logged. It may be empty."""


def of_two_views(first, second):
    """(similarities, statistics) of the two views of each image, (N, D) of unit length each.

    The statistic of different images is over all pairs; for the histogram, each row's pair with its
    neighbour stands for all.
    """
    positive, count = (first * second).sum(1), len(first)
    others = (first.sum(0) @ second.sum(0) - positive.sum()) / max(1, count * (count - 1))
    similarities = {"positive": positive, "batch": (first * second.roll(1, 0)).sum(1)}
    return similarities, {"positive_similarity": positive.mean(), "batch_similarity": others}


def of_negatives(views, negatives, alphas, temperature, lse):
    """(similarities (N, M) of the first view, statistics) of the images' non-semantic negatives.

    Args:
        views: one or several (N, D) of unit length, each compared with the negatives (N, M, D).
        alphas: `Alphas` of the negatives.
        lse: the log-sum-exp of all logits of a row, of all rows of all views in turn.
    """
    found = [torch.einsum("nd,nmd->nm", view, negatives) for view in views]
    share = alphas.share(torch.cat(found), temperature, lse)
    stats = {"negative_similarity": found[0].mean(), "negative_share": share}
    return found[0], stats


def sample_rows(rows, most=256):
    """Up to `most` rows, evenly spaced: enough to see how the similarities to a long queue are
    spread."""
    return rows[:: -(-len(rows) // most)]
