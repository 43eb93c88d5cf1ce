"""fastneg bench order: how fast samples are read from a disk in different orders, for a set larger
than memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fastneg.data.beton.reader import BetonReader
from fastneg.data.beton.writer import BetonWriter
from fastneg.data.load.order import EpochOrder

SAMPLE_BYTES = (17_000, 60_000)
"""JPEGs of about 235×213 and 458×416 pixels."""
MOST_S = 4.0
"""Seconds after which a contender's epoch is left: its rate is that of the batches it read."""
BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class _Reading:
    """How the samples of an epoch are read through the mapping of the file."""

    order: str
    announced: bool = True
    """Whether they are announced ahead (WILLNEED), as the loaders do it; else each page fault waits
    for the disk."""
    advice: int | None = None
    """What the kernel is told of the mapping: without a word, a page fault reads as much around as
    the device's read-ahead says."""


READINGS = {
    "random_on_demand": _Reading("random", announced=False),
    "random_on_demand_4k": _Reading("random", announced=False, advice=mmap.MADV_RANDOM),
    "random": _Reading("random"),
    "page": _Reading("page"),
    "sequential": _Reading("sequential"),
}


def bench_order(rounds=3, gigabytes=1.0, batch_size=256, folder="."):
    """Yield a row for each size of the samples and contender.

    It holds images/s and MB/s of reading every byte, and the ratio to random order. No image is
    decoded. The file holds random bytes and lies in `folder`, so that a disk of one's choice is
    measured. It is dropped from the page cache before each epoch; `resident_share` is what stayed.

    A set larger than memory is imitated: after each batch, outside of the time, all that was read
    is dropped, except what is announced and not used yet.

    Contenders:
        random_on_demand: a reader that maps the file and announces nothing.
        pread_sequential, pread_random_1, pread_random_16: the limits of the disk. Blocks of 8 MiB
            in sequence, and blocks of a sample's size at random by one and by 16 threads.
    """
    for sample_bytes in SAMPLE_BYTES:
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            path = Path(temporary) / "order.beton"
            count = max(batch_size, int(gigabytes * 1e9 / sample_bytes))
            _write(path, count, sample_bytes)
            contenders = {
                name: partial(_read, path, reading, batch_size)
                for name, reading in READINGS.items()
            }
            contenders["pread_sequential"] = partial(_pread, path, sample_bytes, 1, True)
            contenders |= {
                f"pread_random_{threads}": partial(_pread, path, sample_bytes, threads, False)
                for threads in (1, 16)
            }
            rates, resident = {name: [] for name in contenders}, {name: [] for name in contenders}
            for number in range(rounds):
                for name, contender in contenders.items():
                    resident[name].append(_drop_from_cache(path))
                    size, seconds = contender(number)
                    rates[name].append(size / seconds)
            read_ahead = _read_ahead_kb(path)
        for name in contenders:
            median = statistics.median(rates[name])
            yield {
                "bench": "order",
                "contender": name,
                "samples": count,
                "sample_bytes": sample_bytes,
                "batch_size": batch_size,
                "images_per_s": median / sample_bytes,
                "images_per_s_slowest": min(rates[name]) / sample_bytes,
                "images_per_s_fastest": max(rates[name]) / sample_bytes,
                "mb_per_s": median / 1e6,
                "resident_share": max(resident[name]),
                "read_ahead_kb": read_ahead,
                "ratio_to_random": median / statistics.median(rates["random"]),
                "ratio_to_on_demand": median / statistics.median(rates["random_on_demand"]),
            }


def _write(path, count, sample_bytes):
    rng = np.random.default_rng(0)
    with BetonWriter(path) as writer:
        for i in range(count):
            writer.add(rng.bytes(sample_bytes), 1, 1, label=i)  # nobody decodes it


def _read(path, reading, batch_size, epoch):
    """(bytes, seconds) of the batches of an epoch, opening the file included, as the loaders do it:
    announced ahead, then touched."""
    began = time.perf_counter()
    with BetonReader(path) as reader:
        pages = reader.pages if reading.order == "page" else None
        drawn = EpochOrder(len(reader), batch_size, order=reading.order, pages=pages, seed=1)
        if reading.advice is not None:
            reader._map.madvise(reading.advice)
        seconds, pending, size, touched = (
            time.perf_counter() - began,
            np.zeros(len(reader), bool),
            0,
            0,
        )
        for iteration in range(drawn.iterations):
            began = time.perf_counter()
            if reading.announced:
                ahead = drawn.ahead(epoch, iteration, first=iteration == 0)
                reader.will_need(ahead)
                pending[ahead] = True
            batch = drawn.batch(epoch, iteration)
            for index in batch.tolist():
                sample = reader.stored(index)
                touched += int(sample[:: mmap.PAGESIZE].sum(dtype=np.int64))
                size += len(sample)
            seconds += time.perf_counter() - began
            if seconds > MOST_S:
                break
            pending[batch] = False
            sample = None
            _forget(path, reader, np.flatnonzero(pending))
    if not touched:
        raise AssertionError("Nothing was read.")
    return size, seconds


def _forget(path, reader, pending):
    """Drop the file from the page cache, but for these samples: those of a set larger than memory
    do not stay."""
    reader._map.madvise(mmap.MADV_DONTNEED)  # what is mapped is not dropped
    start, stop = (
        np.sort(np.asarray(places)[pending]) for places in (reader._main.start, reader._main.stop)
    )
    gaps = np.stack([np.append(0, stop), np.append(start, os.path.getsize(path))], 1)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # pages that a gap covers in part are kept
        for first, last in gaps[gaps[:, 1] - gaps[:, 0] >= mmap.PAGESIZE].tolist():
            os.posix_fadvise(descriptor, first, last - first, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _pread(path, sample_bytes, threads, in_sequence, epoch):
    """(bytes, seconds) of reading blocks of the file without mapping it."""
    size = os.path.getsize(path)
    block = BLOCK_BYTES if in_sequence else sample_bytes
    places = np.arange(0, size - block, block)
    if not in_sequence:
        places = np.random.default_rng(epoch).permutation(places)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(
            descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL if in_sequence else os.POSIX_FADV_RANDOM
        )
        began, done = time.perf_counter(), 0
        with ThreadPoolExecutor(threads) as pool:
            for part in np.array_split(places, max(1, len(places) // 1024)):
                done += sum(
                    pool.map(lambda place: len(os.pread(descriptor, block, place)), part.tolist())
                )
                if time.perf_counter() - began > MOST_S:
                    break
        return done, time.perf_counter() - began
    finally:
        os.close(descriptor)


def _read_ahead_kb(path):
    """How far the kernel reads around a page fault on the file's disk, or None where it does not
    say."""
    device = os.stat(path).st_dev
    disk = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    for folder in (disk, disk.parent):  # a partition has none of its own
        if (file := folder / "queue" / "read_ahead_kb").exists():
            return int(file.read_text())
    return None


def _drop_from_cache(path):
    """Drop a file that nobody maps from the page cache; returns the share of it that stayed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return resident_share(path)


def resident_share(path):
    """The share of a file that is in the page cache."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        writable = mmap.PROT_READ | mmap.PROT_WRITE  # ctypes asks for that; nothing is written
        with mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE, prot=writable) as mapped:
            pages = np.zeros(-(-size // mmap.PAGESIZE), np.uint8)
            address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.mincore(
                ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_void_p(pages.ctypes.data)
            ):
                raise OSError(ctypes.get_errno(), "mincore cannot say what is in memory")
    return float((pages & 1).mean())
