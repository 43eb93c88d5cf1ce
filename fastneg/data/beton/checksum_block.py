"""The CRC32s of a .beton file's samples, stored in blocks that FFCV does not read.

FFCV's Loader yields every field of a file, so checksums are no field. Between the last sample and
the allocation table lies a block for each image field, (num_samples,) uint32 in the order of the
samples; FFCV reads only what the allocation table names. The block is found by the arguments in
the image field's descriptor, which FFCV leaves zero in its own files and does not read.
"""

from __future__ import annotations

import zlib

import numpy as np

from fastneg.data.errors import BetonError

CHECKSUM = np.dtype("<u4")
MAGIC = b"fn-crc32"
POINTER = np.dtype([("magic", "S8"), ("ptr", "<u8"), ("crc32", "<u4")])
"""How the arguments of an image field begin: where its block lies, and the CRC32 of the block."""


def block_of(checksums, start):
    """(bytes of the block, bytes for the arguments of its field) for CRC32s that begin at a place.

    Args:
        checksums: (num_samples,) integers, the CRC32 of each sample of one image field.
        start: the byte of the file at which the block will begin.
    """
    block = np.asarray(checksums).astype(CHECKSUM).tobytes()
    return block, np.array((MAGIC, start, zlib.crc32(block)), POINTER).tobytes()


def read_block(path, data, arguments, count, room):
    """The CRC32s of an image field, (count,) int64, or None where its arguments name no block.

    Args:
        path: of the file, for messages.
        data: (bytes of the file,) uint8.
        arguments: bytes of the field's descriptor.
        count: samples of the file.
        room: (first, last) byte of what lies between the records and the allocation table.
    Raises:
        BetonError: the block does not lie there, or is not what was written.
    """
    pointer = np.frombuffer(arguments, POINTER, 1)[0]
    if pointer["magic"] != MAGIC:
        return None
    start, stop = int(pointer["ptr"]), int(pointer["ptr"]) + count * CHECKSUM.itemsize
    inside = room[0] <= start and stop <= room[1]
    if not inside or zlib.crc32(data[start:stop]) != pointer["crc32"]:
        raise BetonError(
            f"{path}: the checksums of its samples are damaged (bytes {start} to {stop}). "
            "Copy or encode it again."
        )
    return np.frombuffer(data, CHECKSUM, count, start).astype(np.int64)
