"""The queue of past keys: how rows enter it, and its copy in half precision.

Legend: K queue, B keys of a step, D feature dimension.
"""

from __future__ import annotations

import torch


def enqueue(queue, keys, pointer):
    """Write keys (B, D) into the queue (K, D) from row `pointer` on, wrapping around; returns the
    next pointer.

    Of more than K keys the last K stay, where they would have landed one by one.
    """
    size = len(queue)
    surplus = max(0, len(keys) - size)
    keys, pointer = keys[surplus:], (pointer + surplus) % size
    room = min(len(keys), size - pointer)
    queue[pointer : pointer + room] = keys[:room]
    queue[: len(keys) - room] = keys[room:]
    return (pointer + len(keys)) % size


class HalfQueue:
    """A copy of a queue in the dtype that the loss multiplies in, kept up to date row by row.

    Rounded there or in the loss, the numbers are the same. But the loss reads half of the
    bytes, and its kernel has twice the programs on a GPU, for it rounds nothing. The float32
    queue stays the truth, and the one in checkpoints: where anything else than `enqueue` wrote
    to it (a checkpoint, imported weights) or moved it, the next `of` makes the copy anew.
    """

    def __init__(self):
        self.rows = self.source = self.version = None

    def of(self, queue, dtype):
        """(K, D) of `dtype`, equal to queue.to(dtype)."""
        if not self._fresh(queue) or self.rows.dtype != dtype:
            self.rows = queue.detach().to(dtype)
            self._remember(queue)
        return self.rows

    def enqueue(self, queue, keys, pointer):
        """`enqueue` into the queue, and into the copy if there is one; returns the next pointer."""
        fresh = self._fresh(queue)
        after = enqueue(queue, keys, pointer)
        if fresh:
            enqueue(self.rows, keys, pointer)
            self._remember(queue)
        return after

    def _fresh(self, queue):
        return self.source is queue and self.version == queue._version

    def _remember(self, queue):
        # The version counts what is written to a tensor in place, by whomever.
        self.source, self.version = queue, queue._version


def half_of_autocast(device):
    """The dtype of matrix products on a CUDA device under autocast; None elsewhere, where a copy of
    the queue saves nothing."""
    if device.type == "cuda" and torch.is_autocast_enabled("cuda"):
        return torch.get_autocast_dtype("cuda")
    return None
