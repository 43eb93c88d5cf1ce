"""Checks every sample of .beton files: its CRC32, and that it decodes fully to the stored size."""

from __future__ import annotations

from fastneg.config import VerifyConfig, default_workers
from fastneg.data.beton.reader import BetonReader
from fastneg.data.beton.shards import local_files
from fastneg.data.errors import BetonError
from fastneg.data.images import decoded_size, pillow
from fastneg.data.pool import chunks, in_order
from fastneg.progress import Progress

LARGEST_CHUNK = 2048  # samples a task; a worker opens the file once for each


def verify(config: VerifyConfig):
    """Check every sample of a file, or of several.

    Returns:
        dict: files, samples (counts), bad [{"file", "index", "name", "reason"}], checked_crc (False
        if a file holds no checksums). Of several files, one that is no whole .beton file is listed
        with the index None.
    Raises:
        BetonError: a single file is no whole .beton file. What is checked when a file is opened
            (the sizes of raw samples, say) raises here.
    """
    pillow()
    files = local_files(config.file, config.cache_dir, checked=False)
    tasks, names, bad, checked_crc, count = [], {}, [], True, 0
    workers = config.workers or default_workers()
    for file in files:
        try:
            with BetonReader(file) as reader:
                size, names[file] = len(reader), reader.names
                checked_crc = checked_crc and all(
                    reader.checksums_of(field) is not None for field in reader.image_fields
                )
        except BetonError as error:
            if len(files) == 1:
                raise
            bad.append({"file": file, "index": None, "name": None, "reason": str(error)})
            continue
        count += size
        tasks += [
            (file, task)
            for task in chunks(range(size), max(64, min(LARGEST_CHUNK, -(-size // (4 * workers)))))
        ]
    with Progress("verify", count) as progress:
        for (file, task), (found, size) in zip(
            tasks, in_order(_check, tasks, workers), strict=True
        ):
            bad += [
                {
                    "file": file,
                    "index": index,
                    "name": names[file][index] if names[file] else None,
                    "reason": reason,
                }
                for index, reason in found
            ]
            progress.advance(len(task), size)
    return {"files": len(files), "samples": count, "bad": bad, "checked_crc": checked_crc}


def _check(task):
    """[(index, what is wrong)] of the bad samples among those of a task, (path, indices), and the
    bytes that were read."""
    path, indices = task
    with BetonReader(path) as reader:
        found = [(index, reason) for index in indices if (reason := _what_is_wrong(reader, index))]
        return found, sum(
            len(reader.stored(index, field)) for field in reader.image_fields for index in indices
        )


def _what_is_wrong(reader, index):
    main, *paired = reader.image_fields
    reasons = _what_is_wrong_with(reader, index, main)
    return "; ".join(
        reasons
        + [
            f"its {field}: {reason}"
            for field in paired
            for reason in _what_is_wrong_with(reader, index, field)
        ]
    )


def _what_is_wrong_with(reader, index, field):
    reasons, said = [], reader.sizes_of(field)[index].tolist()
    if reader.checksums_of(field) is not None and not reader.matches_checksum(index, field):
        reasons.append("its bytes do not have the CRC32 that was written with them")
    # nothing to decode, and its size was checked with all others when the file was opened
    if reader.is_raw(index, field):
        return reasons
    try:
        height, width = decoded_size(reader.jpeg(index, field).tobytes())
    except BetonError as error:
        reasons.append(f"it cannot be decoded ({error})")
    else:
        if [height, width] != said:
            reasons.append(
                f"it decodes to {width}×{height} pixels, the file says {said[1]}×{said[0]}"
            )
    return reasons
