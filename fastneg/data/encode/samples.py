"""Samples from a program → .beton: the built-in set, benchmarks."""

from __future__ import annotations

import time
from pathlib import Path

from fastneg.data.beton.writer import BetonWriter
from fastneg.data.encode.job import origin_of
from fastneg.data.encode.prepare import why_change
from fastneg.data.errors import BetonError
from fastneg.data.jpeg import jpeg_header
from fastneg.files import remove_stale
from fastneg.progress import Progress


def encode_samples(path, samples, classes=None, int_fields=("label",), count=None):
    """Write JPEGs that a program makes into a .beton file, in the order in which they come.

    Args:
        path: the file to write.
        samples: iterable of (JPEG bytes, {int field: value}, name).
        classes: names of the labels.
        int_fields: names of the int fields.
        count: the number of samples, for the remaining time; None: unknown.
    Returns:
        dict as from `encode`.
    Raises:
        BetonError: a sample could not be copied unchanged; then nothing remains of the file.
    """
    began, size, removed = time.perf_counter(), 0, remove_stale(Path(path))
    with (
        Progress(f"write {Path(path).name}", count) as progress,
        BetonWriter(path, int_fields, classes=classes) as writer,
    ):
        for number, (data, ints, name) in enumerate(samples):
            header = jpeg_header(data)
            if changes := why_change(header):
                raise BetonError(
                    f"sample {number} ({name}) cannot be stored as it is: {', '.join(changes)}."
                )
            writer.add(data, header.height, header.width, name=name, **ints)
            size += len(data)
            progress.advance(1, len(data))
        writer.info.update(origin_of(None))
    seconds = time.perf_counter() - began
    nothing = {
        "re_encoded": {},
        "textures_re_encoded": {},
        "skipped": [],
        "ignored": 0,
        "left_out": {},
        "removed": removed,
    }
    return {
        "images": len(writer),
        "bytes": size,
        "seconds": seconds,
        "passed_through": len(writer),
        **nothing,
    }
