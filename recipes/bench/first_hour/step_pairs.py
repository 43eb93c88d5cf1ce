"""Two contenders of a training step in turn, on one ready batch. If the batch does not fit into the
GPU's memory, it is halved for both.

Legend: N batch, M negatives per query, K queue.
"""

from __future__ import annotations

import contextlib
import gc
import tempfile
import time
from pathlib import Path

import torch

from fastneg.recipes.bench.first_hour.steps import COMPILED
from fastneg.recipes.bench.measuring import figures_of, flops_per_ms, take_turns, times_of
from fastneg.recipes.bench.step import flops_of, modelled_config, peak_mib, plain_step
from fastneg.recipes.bench.step_contenders import Variant, ready_contender, synchronize, variants
from fastneg.recipes.presets import tiny_cpu

SMALLEST = 32
"""A batch that is not halved any more."""


class Pairs:
    """fastneg's own step, which is kept, and whatever takes turns with it."""

    def __init__(self, device):
        self.device, self.rounds = device, 10 if device == "cuda" else 2
        self.config, self.stack, self.ours = _config(device), contextlib.ExitStack(), None

    def row(self, name):
        """Yield the row of a contender; where memory was short, rows that say at which batch."""
        count = self.config.batch_size
        while True:
            try:
                row = self._measured(name, count)
            except torch.OutOfMemoryError:
                row = None  # what the error holds is freed before the next try
            if row is not None:
                yield row
                if name == "fastneg":
                    yield self._more(row)
                return
            self.close()
            yield {"contender": name, "N": count, "skipped": f"out of memory at a batch of {count}"}
            if count <= SMALLEST:
                return
            count //= 2

    def close(self):
        self.ours = None
        self.stack.close()
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def _measured(self, name, count):
        if self.ours is None or self.ours.config.batch_size != count:
            self.close()
            self.ours = self._contender(Variant(), count, self.stack)
        ours = self.ours
        with contextlib.ExitStack() as stack:
            warm_up(ours)
            held, began = _held_mib(self.device), time.perf_counter()
            if name == "fastneg":
                held = 0.0
            other = ours if name == "fastneg" else self._other(name, ours, stack)
            other()
            synchronize()
            first_s = time.perf_counter() - began
            warm_up(other)
            times = take_turns({"fastneg": ours, name: other}, self.rounds, self.device)
            row = self._row(name, ours.config, times) | {"first_step_s": first_s}
            if self.device == "cuda":
                row["peak_mib"] = peak_mib(other, self.device) - held
        return row

    def _more(self, row):
        """What is known of fastneg's step beside its time."""
        flops, rate = flops_of(self.ours), flops_per_ms(self.device)
        return {
            "contender": "fastneg",
            "measured": "operations",
            "N": row["N"],
            "flops": flops,
            "flops_utilisation": flops / row["ms_median"] / rate,
            "host_ms": _host_ms(self.ours),
        }

    def _other(self, name, ours, stack):
        if name == "plain":
            return plain_step(ours)
        return self._contender(variants_of(self.device)[name], ours.config.batch_size, stack)

    def _contender(self, variant, count, stack):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        return ready_contender(self.config.replace(batch_size=count), variant, folder, stack)

    def _row(self, name, config, times):
        found = figures_of(times[name])
        return {
            "contender": name,
            "backbone": config.backbone,
            "image_size": config.image_size,
            "N": config.batch_size,
            "M": config.negatives_per_query,
            "K": config.queue_size,
            **found,
            "samples_per_s": 1000 * config.batch_size / found["ms_median"],
            "times_of_fastneg": times_of(times[name], times["fastneg"]),
        }


def variants_of(device):
    """{contender: Variant}, those of a stage of their own on every device."""
    return {name: Variant(changes) for name, changes in COMPILED.items()} | variants(device)


def warm_up(step, times=2):
    for _ in range(times):
        step()
    synchronize()


def _held_mib(device):
    """What tensors hold now."""
    return torch.cuda.memory_allocated() / 2**20 if device == "cuda" else 0.0


def _host_ms(step, rounds=5):
    """Milliseconds in which the host starts a step, without waiting for the GPU: above those of the
    step, the host is what the GPU waits for."""
    synchronize()
    began = time.perf_counter()
    for _ in range(rounds):
        step()
    spent = 1000 * (time.perf_counter() - began) / rounds
    synchronize()
    return spent


def _config(device):
    """ResNet-50 at 224 px on a GPU, the demo's network on a CPU."""
    if device == "cuda":
        return modelled_config()
    return tiny_cpu().replace(batch_size=16, queue_size=64, threads=1)
