"""Control: a key of the queue as the extra negative, which passes through no network.

It tells the weight of an extra negative from what it shows: the same key stands in the queue's sum
too, with the weight of any other.

Legend: N queries, M negatives of a query, K queue, D feature dimension.
"""

from __future__ import annotations

from itertools import islice

import torch

from fastneg.kernels.host_copy import to_device


def queue_entries(queue, rows, count, generator=None):
    """Keys at uniform places of the queue, drawn anew for each query, with replacement.

    Args:
        queue: (K, D).
        rows: N.
        count: M.
        generator: CPU torch.Generator, or None for the default one.
    Returns:
        (N, M, D), memory of its own.
    """
    places = torch.randint(len(queue), (rows, count), generator=generator)
    return queue[to_device(places, queue.device)]


def with_entries(from_queue, features, draw, count):
    """The negatives of all kinds, in the order of the kinds.

    Args:
        from_queue: for each kind whether it comes from the queue.
        features: a list of (N, D), of the negatives that are images, M for each such kind in turn;
            further ones come last.
        draw: gives those of a kind that comes from the queue, (N, M, D).
        count: M.
    Returns:
        (N, kinds · M, D); None where there are none.
    """
    images, found = iter(features), []
    for queued in from_queue:
        found += draw().unbind(1) if queued else islice(images, count)
    found += images
    return torch.stack(found, 1) if found else None
