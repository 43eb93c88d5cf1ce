"""Check every sample of a .beton file: its CRC32, and that it decodes fully to the size that the file says."""

from __future__ import annotations

from functools import partial

from fastneg.config import VerifyConfig, default_workers
from fastneg.data.beton import BetonError, BetonReader
from fastneg.data.image_files import decoded_size, pillow
from fastneg.data.pool import Progress, chunks, in_order

LARGEST_CHUNK = 2048  # samples a task; a worker opens the file once for each


def verify(config: VerifyConfig):
    """Check every sample of a file.

    Returns:
        dict: samples (count), bad [{"index", "name", "reason"}], checked_crc (False if the file holds no checksums).
    Raises:
        BetonError: the file itself is no whole .beton file; what is checked when it is opened (raw samples' sizes too) raises here.
    """
    pillow()
    with BetonReader(config.file) as reader:
        count, names, checked_crc = len(reader), reader.names, reader.checksums is not None
    share = -(-count // (4 * (config.workers or default_workers())))
    tasks = chunks(range(count), max(64, min(LARGEST_CHUNK, share)))
    bad = []
    with Progress("verify", count) as progress:
        for task, (found, size) in zip(tasks, in_order(partial(_check, path=config.file), tasks, config.workers), strict=True):
            bad += [{"index": index, "name": names[index] if names else None, "reason": reason} for index, reason in found]
            progress.advance(len(task), size)
    return {"samples": count, "bad": bad, "checked_crc": checked_crc}


def _check(indices, path):
    """[(index, what is wrong)] of the bad samples among `indices`, and the bytes that were read."""
    with BetonReader(path) as reader:
        found = [(index, reason) for index in indices if (reason := _what_is_wrong(reader, index))]
        return found, sum(len(reader.stored(index, field)) for field in reader.image_fields for index in indices)


def _what_is_wrong(reader, index):
    main, *paired = reader.image_fields
    reasons = _what_is_wrong_with(reader, index, main)
    return "; ".join(reasons + [f"its {field}: {reason}" for field in paired for reason in _what_is_wrong_with(reader, index, field)])


def _what_is_wrong_with(reader, index, field):
    reasons, said = [], reader.sizes_of(field)[index].tolist()
    if reader.checksums_of(field) is not None and not reader.matches_checksum(index, field):
        reasons.append("its bytes do not have the CRC32 that was written with them")
    if reader.is_raw(index, field):  # nothing to decode, and its size was checked with all others when the file was opened
        return reasons
    try:
        height, width = decoded_size(reader.jpeg(index, field).tobytes())
    except BetonError as error:
        reasons.append(f"it cannot be decoded ({error})")
    else:
        if [height, width] != said:
            reasons.append(f"it decodes to {width}×{height} pixels, the file says {said[1]}×{said[0]}")
    return reasons
