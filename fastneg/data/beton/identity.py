"""Whether two data sets hold the same images, in whatever files."""

from __future__ import annotations

import zlib

import numpy as np

from fastneg.data.beton.format import TEXTURE_FIELD
from fastneg.data.beton.overlap import checksum_keys


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


def content_key(reader):
    """8 hex digits that are the same for sets of the same images in the same classes, whatever
    their order, their numbers of the classes and their files; None where a set has no checksums.

    Args:
        reader: `BetonReader` or `BetonSet`, with labels or without.
    """
    keys = checksum_keys(reader)
    if keys is None:
        return None
    places, used = np.zeros(len(keys), np.int64), []
    if reader.labels is not None:
        numbers, own = np.unique(reader.labels, return_inverse=True)
        names = [_class_name(reader, number) for number in numbers.tolist()]
        used = sorted(names)
        places = np.array([used.index(name) for name in names], np.int64)[own]
    order = np.lexsort((places, keys))
    value = zlib.crc32("\n".join(used).encode())
    for column in (keys[order], places[order]):
        value = zlib.crc32(np.ascontiguousarray(column, f"<{column.dtype.kind}8").tobytes(), value)
    return f"{value:08x}"


def _class_name(reader, number):
    known = reader.classes is not None and 0 <= number < len(reader.classes)
    return reader.classes[number] if known else str(number)


def _crc32(columns):
    value = 0
    for column in columns:
        value = zlib.crc32(np.ascontiguousarray(column, "<i8").tobytes(), value)
    return f"{value:08x}"
