"""Figures of a stretch of steps: means of what the device computed, and wall time."""

from __future__ import annotations

import contextlib
import time

import torch

ACCURACIES = ("acc1", "acc5")


class Meter:
    """Collects 0-d device tensors. Only reading them waits for the device."""

    def __init__(self):
        self._rows = []

    def add(self, stats):
        self._rows.append(stats)

    def read(self, reduce):
        """Means since the last reading, as floats; `reduce` averages a tensor over processes."""
        names = list(self._rows[0])
        means = torch.stack(
            [torch.stack([row[name].float() for row in self._rows]).mean() for name in names]
        )
        self._rows.clear()
        return dict(zip(names, reduce(means).tolist(), strict=True))

    def state(self, gather):
        """What was added since the last reading, for a checkpoint.

        Args:
            gather: (steps, names) of each process → (S steps, names).
        Returns:
            {"names", "rows": (S, steps, names) of S processes, "shares": accuracies are shares in
            [0, 1]}; None if nothing was added.
        """
        if not self._rows:
            return None
        names = list(self._rows[0])
        rows = gather(
            torch.stack([torch.stack([row[name].float() for name in names]) for row in self._rows])
        )
        return {"names": names, "rows": rows.unflatten(0, (-1, len(self._rows))), "shares": True}

    def load(self, state, world):
        """Take up what a checkpoint holds. Another number of processes goes on from the means over
        those that wrote it."""
        self._rows.clear()
        if state is not None:
            rows = state["rows"].to(world.device)
            rows = rows[world.rank] if len(rows) == world.size else rows.mean(0)
            if "shares" not in state:  # earlier versions counted accuracies in percent
                percent = torch.tensor([name in ACCURACIES for name in state["names"]])
                rows = torch.where(percent.to(rows.device), rows / 100, rows)
            self._rows += [dict(zip(state["names"], row.unbind(), strict=True)) for row in rows]


class Clock:
    """Wall time of a stretch of steps, and the host's share of it spent waiting for data."""

    def __init__(self):
        self.start()

    def start(self):
        self._begin, self._waited, self._images = time.perf_counter(), 0.0, 0

    def wait(self, batches):
        """Yield from an iterator, counting the time until each item is there."""
        batches = iter(batches)
        while True:
            began = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._waited += time.perf_counter() - began
            yield batch

    def count(self, images):
        self._images += images

    @contextlib.contextmanager
    def paused(self):
        """What is done inside takes no time."""
        began = time.perf_counter()
        yield
        self._begin += time.perf_counter() - began

    def read(self):
        elapsed = time.perf_counter() - self._begin
        rates = {"images_per_s": self._images / elapsed, "data_wait_share": self._waited / elapsed}
        self.start()
        return rates
