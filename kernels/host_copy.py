"""Asynchronous copies between host and device, in stream order."""

from __future__ import annotations

from collections import deque

import torch


def to_device(tensor, device):
    """A tensor of the host on a device, without waiting for it.

    A copy from pageable memory may wait for all that the stream holds. So the tensor goes through
    pinned memory, which torch keeps until the copy is done.

    Args:
        tensor: on the CPU, or on the device already.
        device: torch.device, or its name.
    """
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class LateCopy:
    """A copy of rows (n, …) to the host, which the current stream may still be computing. What
    comes from the CPU is kept as it is."""

    def __init__(self, rows):
        self._rows, self._copied = rows, None
        if rows.device.type == "cuda":
            self._rows = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
            self._rows.copy_(rows, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def rows(self):
        """The rows on the CPU; waits for them."""
        if self._copied is None:
            return self._rows
        self._copied.synchronize()
        # Pinned memory is scarce, and torch uses it again.
        return self._rows.clone()


def some_later(rows_and_more, late=2):
    """Yield (rows, …) with the rows on the CPU, each when `late` younger ones stand behind it: the
    host waits for a copy only then, so the device always has work.

    Args:
        rows_and_more: (rows (n, …), …) each.
    """
    waiting = deque()
    for rows, *others in rows_and_more:
        waiting.append((LateCopy(rows), others))
        if len(waiting) > late:
            copy, others = waiting.popleft()
            yield copy.rows(), *others
    for copy, others in waiting:
        yield copy.rows(), *others


def joined_later(parts):
    """All rows of some (n, …) parts in their order, on the CPU, copied as by `some_later`; None of
    no parts."""
    rows = [rows for (rows,) in some_later((part,) for part in parts)]
    return torch.cat(rows) if rows else None
