"""fastneg pretrain."""

from __future__ import annotations

import time

from fastneg.counts import counted
from fastneg.training.trainer import pretrain


def run_pretrain(config):
    """Train as the config says; 0 when finished, 128 + signal when a signal stopped it."""
    began = time.perf_counter()
    result = pretrain(config)
    if not result.finished:
        return 128 + result.signal if result.signal else 1
    if result.first:
        print(
            f"{result.run}: {counted(result.step, 'step')}, this call "
            f"{time.perf_counter() - began:.0f} s.",
            flush=True,
        )
    return 0
