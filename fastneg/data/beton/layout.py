"""Reads the positions of all parts of a .beton file, and checks every pointer and size. No sample
is read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastneg.counts import counted
from fastneg.data.beton.checksum_block import read_block
from fastneg.data.beton.format import (
    ALLOCATION,
    DESCRIPTOR,
    FIELD_TYPES,
    HEADER,
    IMAGE_TYPE,
    INT_TYPE,
    KINDS,
    POINTER_TYPES,
    RAW,
    VERSION,
    checksum_field,
)
from fastneg.data.errors import BetonError


class Images(NamedTuple):
    """One image field of all samples."""

    sizes: np.ndarray
    """(len, 2) int64, height and width in pixels."""
    raw: np.ndarray
    """(len,) bool, those that are raw pixels and no JPEG."""
    start: memoryview
    """int64, the first byte of each, and `stop` the byte behind its last."""
    stop: memoryview
    is_raw: memoryview
    """As `raw`."""
    checksums: np.ndarray | None


class Layout(NamedTuple):
    """What a file says of its samples."""

    kinds: dict[str, str]
    """{field: one of KINDS} in the order of the file."""
    image_fields: list[str]
    """The main one first."""
    ints: dict[str, np.ndarray]
    """{int field: (len,) int64}"""
    images: dict[str, Images]
    """{image field: where its images lie}"""
    page_size: int
    data_start: int
    """The first byte behind the records."""


def read_layout(path, data):
    """The `Layout` of a file.

    Args:
        path: of the file, for messages.
        data: its bytes, mapped.
    Raises:
        BetonError: the file is unfinished, cut, damaged, or not a .beton file.
    """
    header = _read_header(path, data)
    table = int(header["alloc_table_ptr"])
    types, arguments = _read_fields(path, data, int(header["num_fields"]))
    image_fields = _image_fields(path, types)
    records, data_start = _read_records(path, data, header, types)
    ints = {
        name: records[name].astype(np.int64)
        for name, type_id in types.items()
        if type_id == INT_TYPE
    }
    checksums = {}
    for name in image_fields:
        room = data_start, table
        found = read_block(path, np.frombuffer(data, np.uint8), arguments[name], len(records), room)
        # else of an earlier version, in a field
        checksums[name] = (
            ints.get(checksum_field(name, image_fields[0])) if found is None else found
        )
    expected = len(records) * sum(type_id in POINTER_TYPES for type_id in types.values())
    entries = _read_allocations(path, data, table, expected)
    images = {}
    for name in image_fields:
        what = f"'s {name}" if len(image_fields) > 1 else ""
        images[name] = _place_images(
            path, what, records[name], entries, (data_start, table), checksums[name]
        )
    _refuse_overlaps(path, images)
    kinds = {name: KINDS[type_id] for name, type_id in types.items()}
    return Layout(kinds, image_fields, ints, images, int(header["page_size"]), data_start)


def _read_header(path, data):
    header = np.frombuffer(data, HEADER, 1)[0]
    page, table = int(header["page_size"]), int(header["alloc_table_ptr"])
    if header["version"] != VERSION:
        raise BetonError(
            f"{path} has format version {header['version']}, {VERSION} was expected: "
            "damaged or no .beton file (fastneg encode makes one of images)."
        )
    if table == 0:
        raise BetonError(
            f"{path} is unfinished: its writer stopped before the end. Encode it again."
        )
    if table > len(data):
        raise BetonError(
            f"{path} has {counted(len(data), 'byte')}, more than {table} were expected: it was "
            "cut. Encode it again."
        )
    if page == 0 or page & (page - 1):
        raise BetonError(
            f"{path} has a page size of {counted(page, 'byte')}, a power of two was expected: its "
            "header is damaged."
        )
    return header


def _read_fields(path, data, count):
    """({name: type}, {name: the descriptor's arguments as bytes}) of all fields."""
    if HEADER.itemsize + count * DESCRIPTOR.itemsize > len(data) or count == 0:
        raise BetonError(
            f"{path} cannot hold the {count} fields that its header names: it is damaged or no "
            ".beton file."
        )
    types, arguments = {}, {}
    for descriptor in np.frombuffer(data, DESCRIPTOR, count, HEADER.itemsize):
        name = descriptor["name"].split(b"\0")[0].decode("ascii", "replace")
        type_id = int(descriptor["type_id"])
        if not name.isprintable() or not name or name in types or "\ufffd" in name:
            raise BetonError(
                f"{path} has a field named {name!r} after {list(types)}: its field table is "
                "damaged."
            )
        if type_id not in FIELD_TYPES:
            kind = (
                "a custom type, whose records cannot be read"
                if type_id == 255
                else f"type {type_id}, which does not exist"
            )
            raise BetonError(f"{path} has a field {name!r} of {kind}; types 0 to 6 were expected.")
        types[name], arguments[name] = type_id, descriptor["arguments"].tobytes()
    return types, arguments


def _image_fields(path, types):
    """The names of the image fields, the main one first."""
    found = [name for name, type_id in types.items() if type_id == IMAGE_TYPE]
    found.sort(key=lambda name: name != "image")
    if not found or (len(found) > 1 and found[0] != "image"):
        raise BetonError(
            f"{path} has {counted(len(found), 'image field')}, one was expected, or one named "
            f"'image'; its fields: {', '.join(types)}."
        )
    return found


def _read_records(path, data, header, types):
    """(the records of all samples, the first byte behind them)."""
    record = np.dtype([(name, FIELD_TYPES[type_id]) for name, type_id in types.items()], align=True)
    count, table = int(header["num_samples"]), int(header["alloc_table_ptr"])
    start = HEADER.itemsize + len(types) * DESCRIPTOR.itemsize
    stop = start + count * record.itemsize
    if count == 0:
        raise BetonError(f"{path} holds no samples.")
    if stop > table:
        raise BetonError(
            f"{path} cannot hold the {counted(count, 'sample')} that its header names: it is "
            "damaged. Copy or encode it again."
        )
    return np.frombuffer(data, record, count, start), stop


def _read_allocations(path, data, table, expected):
    """The entries of the allocation table that hold something, sorted by where it lies."""
    found, rest = divmod(len(data) - table, ALLOCATION.itemsize)
    if found != expected or rest:
        raise BetonError(
            f"{path} has {counted(found, 'entry')}{' and a part of one' if rest else ''} "
            f"in its allocation table, {expected} were expected: "
            "it was cut or is damaged. Copy or encode it again."
        )
    entries = np.frombuffer(data, ALLOCATION, found, table)
    # an empty bytes field shares its address with what comes after it
    entries = entries[entries["size"] > 0]
    entries = entries[np.argsort(entries["ptr"], kind="stable")]
    # which of the sizes would be meant?
    if (twice := entries["ptr"][1:] == entries["ptr"][:-1]).any():
        at = int(entries["ptr"][int(twice.argmax())])
        raise BetonError(
            f"{path} has two entries in its allocation table for byte {at} "
            f"({int(twice.sum())} such places): it is damaged. Copy or encode it again."
        )
    return entries


def _place_images(path, what, image, entries, room, checksums):
    """The `Images` of a field: its records say where they begin, the allocation table how many
    bytes they are.

    Args:
        what: what to call an image of the field in messages, behind "sample 7".
        image: (len,) IMAGE.
        entries: as of `_read_allocations`.
        room: (first, last) byte of what lies between the records and the allocation table.
    """
    _refuse(path, image["mode"] > RAW, f"{what} is neither a JPEG nor raw pixels")
    raw = image["mode"] == RAW
    sizes = np.stack([image["height"], image["width"]], axis=1).astype(np.int64)
    _refuse(path, (sizes == 0).any(axis=1), f"{what} has no height or no width")
    pointers = image["data_ptr"]
    at = np.searchsorted(entries["ptr"], pointers)
    _refuse(path, at == len(entries), f"{what} is not in the allocation table")
    entries = entries[at]
    known = (entries["ptr"] == pointers) & (
        entries["sample_id"] == np.arange(len(pointers), dtype=np.uint64)
    )
    _refuse(path, ~known, f"{what} is not in the allocation table")
    first, end = map(np.uint64, room)
    # the last place to begin; no sum that could overflow
    last = end - np.minimum(entries["size"], end)
    _refuse(path, (pointers < first) | (pointers > last), f"{what} lies outside of the file's data")
    start, size = pointers.astype(np.int64), entries["size"].astype(np.int64)
    _refuse(path, raw & (size != sizes.prod(axis=1) * 3), f"{what} has not the size of its pixels")
    # A memoryview gives up an int several times faster than an array does.
    return Images(
        sizes, raw, memoryview(start), memoryview(start + size), memoryview(raw), checksums
    )


def _refuse_overlaps(path, images):
    starts = np.concatenate([each.start for each in images.values()])
    stops = np.concatenate([each.stop for each in images.values()])
    order = np.argsort(starts, kind="stable")
    overlaps = np.zeros(len(order), bool)
    overlaps[order[1:]] = stops[order[:-1]] > starts[order[1:]]
    _refuse(path, overlaps.reshape(len(images), -1).any(axis=0), " overlaps another")


def _refuse(path, bad, what):
    """BetonError that names the first sample for which `bad`, (len,) bool, is true."""
    if bad.any():
        raise BetonError(
            f"{path}: sample {int(bad.argmax())}{what} ({int(bad.sum())} of "
            f"{counted(len(bad), 'sample')} so): the file is damaged. Copy or encode it again."
        )
