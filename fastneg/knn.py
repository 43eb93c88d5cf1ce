"""Classification by the weighted votes of the nearest features.

Source: Wu et al. 2018, arXiv:1805.01978, section 3.4, as the MoCo family evaluates it.
Legend: N queries, M voters, F features, C classes, k neighbours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from fastneg.counts import counted
from fastneg.kernels.host_copy import joined_later, to_device

QUERIES, VOTERS = 1024, 16384
"""Rows of one block of similarities: 64 MiB of float32."""


def knn_votes(
    queries,
    voters,
    voter_labels,
    classes,
    k=200,
    temperature=0.07,
    device="cpu",
    blocks=(QUERIES, VOTERS),
):
    """Each class's share of the votes; no (N, M) matrix is stored.

    A neighbour of cosine similarity s votes with weight exp(s / temperature) for its class.

    Args:
        queries: (N, F) features of any length; one of zeros is as similar to all.
        voters: (M, F).
        voter_labels: (M,) int64 in 0 … classes - 1.
        classes: C.
        k: neighbours that vote; at most M of them can.
        temperature: above 0.
        device: where to compute.
        blocks: rows of queries and of voters that are compared at once.
    Returns:
        (N, C) float32 on the CPU, rows that sum to 1.
    Raises:
        ValueError: shapes disagree, a feature is not finite, or a label names no class.
    """
    _check(queries, voters, voter_labels, classes, k, temperature)
    voters, voter_labels, k = (
        to_device(F.normalize(voters.float(), dim=1), device),
        to_device(voter_labels, device),
        min(k, len(voters)),
    )

    def votes(rows):
        block = to_device(F.normalize(rows.float(), dim=1), device)
        similarity, labels = _nearest(block, voters, voter_labels, k, blocks[1])
        weight = torch.softmax(similarity / temperature, dim=1)
        return block.new_zeros(len(block), classes).scatter_add_(1, labels, weight)

    if not len(queries):
        return torch.empty(0, classes)
    return joined_later(votes(rows) for rows in queries.split(blocks[0]))


def _nearest(block, voters, voter_labels, k, rows):
    """Similarities and labels, both (n, k), of the nearest voters, merged block by block."""
    best, labels = block.new_empty(len(block), 0), voter_labels.new_empty(len(block), 0)
    for first in range(0, len(voters), rows):
        similarity = block @ voters[first : first + rows].T
        best = torch.cat([best, similarity], dim=1)
        labels = torch.cat(
            [labels, voter_labels[first : first + rows].expand(len(block), -1)], dim=1
        )
        best, kept = best.topk(min(k, best.shape[1]), dim=1)
        labels = labels.gather(1, kept)
    return best, labels


def _check(queries, voters, voter_labels, classes, k, temperature):
    if (
        queries.dim() != 2
        or voters.dim() != 2
        or queries.shape[1] != voters.shape[1]
        or voter_labels.shape != (len(voters),)
    ):
        raise ValueError(
            f"queries are {tuple(queries.shape)}, voters {tuple(voters.shape)}, voter_labels "
            f"{tuple(voter_labels.shape)}: (N, F), (M, F) and (M,) were expected."
        )
    if not len(voters) or k < 1 or not temperature > 0:
        raise ValueError(
            f"{counted(len(voters), 'voter')}, k {k}, temperature {temperature}: all must be "
            "above 0."
        )
    if voter_labels.min() < 0 or voter_labels.max() >= classes:
        raise ValueError(
            f"voter_labels reach from {voter_labels.min()} to {voter_labels.max()}: 0 to "
            f"{classes - 1} were expected."
        )
    for name, rows in (("queries", queries), ("voters", voters)):
        bad = int((~rows.isfinite().all(1)).sum())
        if bad:
            raise ValueError(
                f"{bad} of {len(rows)} {name} are NaN or infinite: they have no direction to "
                "compare."
            )
