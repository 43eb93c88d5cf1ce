"""What the contenders share: the images, and how an epoch is measured."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class BenchData:
    """The same images twice: class folders of JPEG files, and a .beton file."""

    folder: Path
    reader: object
    batch_size: int
    view_size: int
    threads: int
    device: str


def measure(epoch, number):
    """(images, seconds, CPU seconds of this process and its finished children) of an epoch."""
    if hasattr(epoch, "measure"):
        return epoch.measure(number)
    before, began = _cpu_seconds(), time.perf_counter()
    images = epoch(number)
    return images, time.perf_counter() - began, _cpu_seconds() - before


def _cpu_seconds():
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()
