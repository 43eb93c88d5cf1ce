"""The .beton format (FFCV format version 2, little-endian).

    HEADER | DESCRIPTOR × num_fields | record × num_samples | … samples … | checksums |
    ALLOCATION × samples, up to the end of the file

A record holds the values of all fields, aligned as numpy aligns a struct, but the image in it is
packed. No sample straddles a page. The checksums are ours and FFCV does not see them
(checksum_block.py); files of earlier versions hold them as int fields. FFCV's stock Loader reads
what `BetonWriter` (writer.py) writes; `BetonReader` (reader.py) reads what FFCV's DatasetWriter
writes.
"""

from __future__ import annotations

import numpy as np

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ]
)
DESCRIPTOR = np.dtype([("type_id", "u1"), ("name", "S16"), ("arguments", "V1024")])
# packed: 13 bytes
IMAGE = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])

VERSION = 2
JPEG, RAW = 0, 1  # modes of an image
INT_TYPE, IMAGE_TYPE = 1, 2
# What a field of each type puts into the record: float, int, image, bytes, ndarray, JSON, tensor.
FIELD_TYPES = dict(
    enumerate(map(np.dtype, ("<f8", "<i8", IMAGE, "<u8,<u8", "<u8", "<u8,<u8", "<u8")))
)
KINDS = ("float", "int", "image", "bytes", "array", "JSON", "tensor")
# each sample has one entry in the allocation table for each field of these types
POINTER_TYPES = (2, 3, 4, 5, 6)
CHECKSUM_FIELD = "crc32"
TEXTURE_FIELD = "texture"
"""The image field that holds the texture image paired with each sample."""


def checksum_field(image_field, main):
    """The int field of earlier versions with the CRC32s of an image field: "crc32" for the main
    one, "texture_crc32" for "texture"."""
    return CHECKSUM_FIELD if image_field == main else f"{image_field}_{CHECKSUM_FIELD}"
