"""fastneg bench order: how fast samples come from a disk, by the order in which they are asked for, the file not in memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from fastneg.data.beton import BetonReader
from fastneg.data.beton_writer import BetonWriter
from fastneg.data.order import ORDERS, EpochOrder

SAMPLE_BYTES = (17_000, 60_000)
"""JPEGs of about 235×213 and 458×416 pixels."""
CONTENDERS = {"random_without_read_ahead": ("random", False), **{name: (name, True) for name in ORDERS}}


def bench_order(rounds=3, gigabytes=1.0, batch_size=256, folder="."):
    """Yield one row per size of the samples and order: images/s and MB/s of reading every byte of an epoch, and the ratio to random order.

    The file lies in `folder`, so that a disk of one's choice is measured, holds random bytes, and is dropped from the page cache before
    each epoch; `resident_share` is what stayed nevertheless. No image is decoded.
    """
    for sample_bytes in SAMPLE_BYTES:
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            path = Path(temporary) / "order.beton"
            count = max(batch_size, int(gigabytes * 1e9 / sample_bytes))
            _write(path, count, sample_bytes)
            seconds, resident = {name: [] for name in CONTENDERS}, {name: [] for name in CONTENDERS}
            for number in range(rounds):
                for name, (order, read_ahead) in CONTENDERS.items():
                    resident[name].append(_drop_from_cache(path))
                    seconds[name].append(_read(path, order, read_ahead, batch_size, number))
        images = count // batch_size * batch_size
        for name in CONTENDERS:
            median = statistics.median(seconds[name])
            yield {
                "bench": "order",
                "contender": name,
                "samples": count,
                "sample_bytes": sample_bytes,
                "batch_size": batch_size,
                "images_per_s": images / median,
                "images_per_s_slowest": images / max(seconds[name]),
                "images_per_s_fastest": images / min(seconds[name]),
                "mb_per_s": images * sample_bytes / 1e6 / median,
                "resident_share": max(resident[name]),
                "ratio_to_random": statistics.median(seconds["random"]) / median,
            }


def _write(path, count, sample_bytes):
    rng = np.random.default_rng(0)
    with BetonWriter(path) as writer:
        for i in range(count):
            writer.add(rng.bytes(sample_bytes), 1, 1, label=i)  # nobody decodes it


def _read(path, order, read_ahead, batch_size, epoch):
    """Seconds to read an epoch, opening the file included, as the loaders do it: announced ahead, then touched."""
    began = time.perf_counter()
    with BetonReader(path) as reader:
        drawn = EpochOrder(len(reader), batch_size, order=order, pages=reader.pages if order == "page" else None, seed=1)
        touched = 0
        for iteration in range(drawn.iterations):
            if read_ahead:
                reader.will_need(drawn.ahead(epoch, iteration, first=iteration == 0))
            for index in drawn.batch(epoch, iteration).tolist():
                touched += int(reader.stored(index)[:: mmap.PAGESIZE].sum(dtype=np.int64))
    if not touched:
        raise AssertionError("Nothing was read.")
    return time.perf_counter() - began


def _drop_from_cache(path):
    """Drop a file that nobody maps from the page cache; returns the share of it that stayed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        size = os.fstat(descriptor).st_size
        writable = mmap.PROT_READ | mmap.PROT_WRITE  # ctypes asks for that; nothing is written
        with mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=writable) as mapped:
            pages = np.zeros(-(-size // mmap.PAGESIZE), np.uint8)
            address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_void_p(pages.ctypes.data)):
                raise OSError(ctypes.get_errno(), "mincore cannot say what is in memory")
    finally:
        os.close(descriptor)
    return float((pages & 1).mean())
