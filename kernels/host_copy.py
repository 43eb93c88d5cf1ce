"""Copies between host and device in the stream's order: neither waits for the other."""

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


class LateCopies:
    """Collects rows from the device on the host, some copies behind.

    The host waits for a copy when `LATE` younger ones stand behind it, so the device always has
    work. What comes from the CPU is kept as it is.
    """

    LATE = 2

    def __init__(self):
        self._done, self._pending = [], deque()

    def add(self, rows):
        """Take rows (n, …), which the current stream may still be computing."""
        if rows.device.type != "cuda":
            self._done.append(rows)
            return
        pinned = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
        pinned.copy_(rows, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        self._pending.append((pinned, copied))
        if len(self._pending) > self.LATE:
            self._settle()

    def joined(self):
        """All rows in their order, on the CPU; waits for the last. None if there are none."""
        while self._pending:
            self._settle()
        return torch.cat(self._done) if self._done else None

    def _settle(self):
        pinned, copied = self._pending.popleft()
        copied.synchronize()
        # Pinned memory is scarce, and torch uses it again.
        self._done.append(pinned.clone())
