"""Whether two data sets hold the same images in the same order, in whatever files."""

from __future__ import annotations

import zlib

import numpy as np

from fastneg.data.beton.format import TEXTURE_FIELD


def used_fields(reader, textures):
    """The image fields that a loader takes: the main one, with textures theirs too."""
    return [reader.image_fields[0], *([TEXTURE_FIELD] if textures else [])]


def images_fingerprint(reader, fields):
    """What tells a data set from others of as many samples; a dict of texts, for a checkpoint.

    The same images in the same order are the same data, in one file or several and whatever their
    labels, page size or version: compared are the sizes and the checksums of the samples. Where a
    file has no checksums (FFCV's), its records stand for them, and it must be that very file.

    Args:
        reader: `BetonReader` or `BetonSet`.
        fields: the image fields that count.
    """
    sums = [reader.checksums_of(field) for field in fields]
    known = not any(each is None for each in sums)
    return {
        "sizes": _crc32(reader.sizes_of(field) for field in fields),
        "checksums": _crc32(sums) if known else "",
        "records": reader.fingerprint,
    }


def same_images(one, other):
    """Whether two fingerprints of `images_fingerprint` are of the same images."""
    by = "checksums" if one["checksums"] and other["checksums"] else "records"
    return one["sizes"] == other["sizes"] and one[by] == other[by]


def _crc32(columns):
    value = 0
    for column in columns:
        value = zlib.crc32(np.ascontiguousarray(column, "<i8").tobytes(), value)
    return f"{value:08x}"
