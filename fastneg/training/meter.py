"""Figures of steps: means of what the device computed over some of them, wall time, histograms of
similarities.

Legend: P processes, S kinds of similarity, B bins.
"""

from __future__ import annotations

import contextlib
import time

import torch

from fastneg.training.profile import part, timed_event

ACCURACIES = ("acc1", "acc5")
BINS = 40
"""Equal bins over -1 … 1: each 0.05 wide."""


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
            gather: (steps, names) of each process → (P steps, names).
        Returns:
            {"names", "rows": (P, steps, names) of P processes, "shares": accuracies are shares in
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
    """Wall time of a stretch of steps: what of it the host waited for data and took to start the
    steps, and what the device took for them.

    Args:
        device: torch device of the steps; on CUDA their time there is measured by events, which
            nothing waits for.
    """

    def __init__(self, device=None):
        self._cuda = device is not None and device.type == "cuda"
        self.start()

    def start(self):
        self._begin, self._waited, self._images = time.perf_counter(), 0.0, 0
        self._host, self._steps, self._events = 0.0, 0, []

    def wait(self, batches):
        """Yield from an iterator, counting the time until each item is there."""
        batches = iter(batches)
        while True:
            began = time.perf_counter()
            try:
                with part("data wait"):
                    batch = next(batches)
            except StopIteration:
                return
            self._waited += time.perf_counter() - began
            yield batch

    @contextlib.contextmanager
    def step(self):
        """What is done inside is one step."""
        began, begin = time.perf_counter(), timed_event(self._cuda)
        yield
        if begin is not None:
            self._events.append((begin, timed_event(self._cuda)))
        self._host += time.perf_counter() - began
        self._steps += 1

    def count(self, images):
        self._images += images

    @contextlib.contextmanager
    def paused(self):
        """What is done inside takes no time."""
        began = time.perf_counter()
        yield
        self._begin += time.perf_counter() - began

    def read(self, steps_left=0):
        """Figures since the last reading; on CUDA, call it after the host has waited for the steps.

        Args:
            steps_left: of the run, for which the time is told.
        Returns:
            {"images_per_s", "data_wait_share" of the wall time} and, if there were steps, means of
            a step: "step_ms" of wall time, of which "data_wait_ms" went by before its batch was
            there and "host_ms" in starting it; on CUDA "device_ms", from its first kernel to its
            last; "eta_s", seconds until the end at this pace.
        """
        elapsed = time.perf_counter() - self._begin
        rates = {"images_per_s": self._images / elapsed, "data_wait_share": self._waited / elapsed}
        if self._steps:
            each = 1000 / self._steps
            rates |= {"step_ms": each * elapsed, "data_wait_ms": each * self._waited}
            rates["host_ms"] = each * self._host
            if self._events:
                self._events[-1][1].synchronize()
                spent = sum(begin.elapsed_time(end) for begin, end in self._events)
                rates["device_ms"] = spent / self._steps
            rates["eta_s"] = steps_left * elapsed / self._steps
        self.start()
        return rates


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
