"""Which process encodes which images as keys, and in which order, so that a query and its key share
no batch statistics.

Legend: n batch of each process, S processes, N = S n, D feature dimension.
"""

from __future__ import annotations

import torch
import torch.distributed as dist

from fastneg.kernels.host_copy import to_device
from fastneg.models.batch_norm import statistics_kept


class Same:
    """Every image stays where it is."""

    def there(self, images):
        return images

    def back(self, features):
        return features


class Permuted:
    """Another order within this process: consecutive groups of it are other groups of images.

    Args:
        order: (n,) int64 on the CPU, a permutation.
        device: of the images.
    """

    def __init__(self, order, device):
        self.order = to_device(order, device)

    def there(self, images):
        return images[self.order]

    def back(self, features):
        return torch.empty_like(features).index_copy_(0, self.order, features)


class Shuffled:
    """Another process: each encodes the images of its slice of a permutation of the global batch,
    and the features return.

    As published (He et al. 2020, arXiv:1911.05722, section 3.3), where every process gathers all
    images and keeps its slice; here it is sent the images of the slice alone, n of them in place of
    N. Within a slice they stand in the order of the processes they come from, which batch
    statistics do not depend on.

    Args:
        order: (N,) int64 on the CPU, a permutation, the same in all processes.
        device: of the images.
    """

    def __init__(self, order, device):
        size, rank = dist.get_world_size(), dist.get_rank()
        n = len(order) // size
        owners, encoders = order // n, torch.arange(len(order)) // n
        own = owners == rank
        # What is sent is ordered by receiver, and what comes by sender; between two processes by
        # the place in the permutation.
        self.rows = to_device(order[own] - rank * n, device)
        self.sent = torch.bincount(encoders[own], minlength=size).numpy()
        self.received = torch.bincount(owners[encoders == rank], minlength=size).numpy()

    def there(self, images):
        """(n, 3, H, W) → as many, of this process's slice; channels_last both."""
        rows = images.permute(0, 2, 3, 1)[self.rows]
        return _exchange(rows, self.sent, self.received).permute(0, 3, 1, 2)

    def back(self, features):
        """(n, D) of this process's slice → those of its own images, in their order."""
        return torch.empty_like(features).index_copy_(
            0, self.rows, _exchange(features, self.received, self.sent)
        )


def _exchange(rows, sent, received):
    rows = rows.contiguous()
    out = torch.empty_like(rows)
    dist.all_to_all_single(out, rows, [*map(int, received)], [*map(int, sent)])
    return out


def in_one_batch(encode, views, groups=1):
    """Features of several batches that pass as one, so that they share batch statistics.

    Args:
        encode: a network, which may normalise each of `groups` equal parts of a batch by itself.
        views: V batches (n, 3, H, W); a part holds as many images of each.
        groups: divides n.
    Returns:
        V tensors (n, D).
    """
    parts = [images.chunk(groups) for images in views]
    features = encode(torch.cat([part for parted in zip(*parts, strict=True) for part in parted]))
    per_part = features.unflatten(0, (groups, len(views), -1))
    return [each.flatten(0, 1) for each in per_part.unbind(1)]


def views_and_negatives(encode, views, negatives, joint):
    """Features of views that pass as one batch, and of their negatives.

    The network is the one that is evaluated, on images. So negatives that pass by themselves leave
    no trace in its running statistics.

    Args:
        encode: a network.
        views: V batches (n, 3, H, W).
        negatives: (n, M, 3, H, W), or None.
        joint: whether the negatives are in that batch too; else they pass by themselves.
    Returns:
        V tensors (n, D); (n, M, D), or None where there are no negatives.
    """
    others = [] if negatives is None else negatives.unbind(1)
    found = in_one_batch(encode, [*views, *(others if joint else [])])
    extra = found[len(views) :]
    if others and not joint:
        with statistics_kept(encode):
            extra = [encode(images) for images in others]
    return found[: len(views)], torch.stack(extra, 1) if extra else None
