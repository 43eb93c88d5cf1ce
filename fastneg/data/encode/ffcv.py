"""`encode --writer ffcv`: FFCV writes the file, and fastneg adds checksums and the sidecar."""

from __future__ import annotations

import contextlib
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from fastneg.counts import counted
from fastneg.data.beton.checksum_block import block_of
from fastneg.data.beton.format import DESCRIPTOR, HEADER
from fastneg.data.beton.publish import publish
from fastneg.data.beton.reader import BetonReader
from fastneg.data.beton.writer import LARGEST_PAGE, PAGE_SIZE
from fastneg.data.encode.ffcv_process import run_ffcv
from fastneg.data.encode.folders import read_file
from fastneg.data.encode.holdout import key_of
from fastneg.data.encode.sources import refuse_or_skip
from fastneg.data.errors import BetonError, told_when_full
from fastneg.data.images import decoded_size, guarded
from fastneg.data.pool import CHUNK, chunks, in_order
from fastneg.files import temporary_file


def _measure_files(names, folder):
    """For each file ((height, width), (CRC32, size)), or a text that says why it cannot be used."""
    measure = lambda data: (decoded_size(data), key_of(data))
    return [guarded(lambda path: measure(read_file(path)), Path(folder) / name) for name in names]


def write_with_ffcv(job):
    """Run FFCV's DatasetWriter, for a holdout twice.

    Every image is decoded before: the writer would wait for ever for a worker that died of one.

    Args:
        job: `Job`.
    Returns:
        (images, bytes of them).
    """
    kept, largest = _usable(job)
    page_size = _page_size(largest)
    if job.holdout is not None:
        job.done["holdout"] = job.holdout.summary(job.outs[1])
    for out in job.outs:
        out.parent.mkdir(parents=True, exist_ok=True)
    with told_when_full(job.outs[0]), contextlib.ExitStack() as stack:
        finished, written = [], 0
        for (path, notes), samples in zip(job.parts, kept, strict=False):
            temporary, _ = stack.enter_context(temporary_file(path))
            names, labels = map(list, zip(*samples, strict=True))
            paths = [str(Path(job.config.src) / name) for name in names]
            run_ffcv(job.config, temporary, paths, labels, page_size, job.progress)
            with BetonReader(temporary) as reader:
                raw = int(reader.raw.sum())
                job.done["re_encoded"].update(
                    {"raw by ffcv": raw, "jpg by ffcv": len(reader) - raw}
                )
                written += int(reader.stored_bytes.sum())
            add_checksums(temporary)
            sidecar = {"classes": job.sources.classes, "names": names, **job.origin, **notes}
            finished.append((temporary, path, sidecar))
        publish(
            *((temporary, path, {**job.done, **sidecar}) for temporary, path, sidecar in finished)
        )
    return sum(map(len, kept)), written


def _usable(job):
    """([(name, label)] of the images that can be used, likewise of those held out), and the bytes
    that the pixels of the largest take."""
    config, sources = job.config, job.sources
    kept, largest, names = ([], []), 0, [sources.names[i] for i in job.order]
    work = partial(_measure_files, folder=config.src)
    measured = (
        found for chunk in in_order(work, chunks(names, CHUNK), config.workers) for found in chunk
    )
    for name, i, found in zip(names, job.order, measured, strict=True):
        if isinstance(found, str):
            refuse_or_skip(config, name, found, job.done["skipped"])
            continue
        size, key = found
        scale = 1 if config.max_side is None else min(1, config.max_side / max(size))
        label = sources.labels[i]
        kept[job.side(label, key)].append((name, label))
        largest = max(largest, int(size[0] * scale) * int(size[1] * scale) * 3)
    if not kept[0]:
        raise BetonError(
            f"none of the {counted(len(names), 'image')} in {config.src} can be used; the first: "
            f"{job.done['skipped'][0]}."
        )
    return kept, largest


def _page_size(largest):
    """Bytes of a page that holds a sample of `largest` bytes: FFCV's writer does not enlarge it."""
    page_size = PAGE_SIZE
    while page_size < largest:
        page_size *= 2
    if page_size > LARGEST_PAGE:
        raise BetonError(
            f"the largest image has {counted(largest, 'byte')} of pixels, at most {LARGEST_PAGE} "
            "fit a page: give --max_side."
        )
    return page_size


def add_checksums(path):
    """Put the CRC32s of its images into a file that FFCV wrote: a block before the allocation
    table, as `BetonWriter` has it.

    The file must not be of a final name yet: it is damaged while it is changed.
    """
    with BetonReader(path) as reader:
        fields = reader.fields
        checksums = {
            name: [zlib.crc32(reader.stored(i, name)) for i in range(len(reader))]
            for name in reader.image_fields
        }
    with open(path, "r+b") as file:
        header = np.frombuffer(file.read(HEADER.itemsize), HEADER).copy()
        descriptors = np.frombuffer(file.read(len(fields) * DESCRIPTOR.itemsize), DESCRIPTOR).copy()
        end = int(header["alloc_table_ptr"][0])
        file.seek(end)
        table = file.read()
        for number, name in enumerate(fields):
            if name in checksums:
                start = -(-end // 8) * 8
                block, descriptors["arguments"][number] = block_of(checksums[name], start)
                file.seek(start)
                file.write(block)
                end = start + len(block)
        header["alloc_table_ptr"] = -(-end // 8) * 8
        file.seek(int(header["alloc_table_ptr"][0]))
        file.write(table)
        file.seek(0)
        file.write(header.tobytes() + descriptors.tobytes())
