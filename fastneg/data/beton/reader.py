"""The .beton format (FFCV format version 2, little-endian): its layout, and a reader without
copies.

    HEADER | DESCRIPTOR × num_fields | record × num_samples | … samples … | checksums | ALLOCATION ×
    samples, up to the end of the file

Checksums are ours and FFCV does not see them (checksum_block.py); files of earlier versions hold
them as int fields. A record holds the values of all fields, aligned as numpy aligns a struct, but
the image in it is packed. No sample straddles a page. FFCV's stock Loader reads what `BetonWriter`
(beton_writer.py) writes; `BetonReader` reads what FFCV's DatasetWriter writes.
"""

from __future__ import annotations

import mmap
import os
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastneg.counts import counted
from fastneg.data.beton.attributes import Attributes
from fastneg.data.beton.checksum_block import read_block
from fastneg.data.beton.label_field import label_field
from fastneg.data.beton.sidecar import read_sidecar
from fastneg.data.errors import BetonError

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
WILL_NEED_BYTES = 1 << 17
"""Linux reads no more of one request than the device's read-ahead or largest transfer, which are
seldom below this."""


def checksum_field(image_field, main):
    """The int field of earlier versions with the CRC32s of an image field:

    "crc32" for the main one, "texture_crc32" for "texture".
    """
    return CHECKSUM_FIELD if image_field == main else f"{image_field}_{CHECKSUM_FIELD}"


class _Images(NamedTuple):
    """One image field of all samples."""

    sizes: np.ndarray
    raw: np.ndarray
    start: memoryview
    stop: memoryview
    is_raw: memoryview
    checksums: np.ndarray | None


class BetonReader(Attributes):
    """Maps a .beton file and hands out its samples without copying them.

    A file has one main image field: "image", or the only one. Files with paired textures hold a
    second one, "texture"; the methods take its name as `field`.

    All that can be checked without reading the samples is checked here: the layout, every pointer,
    every size. The file must not be shortened while it is mapped: the operating system would end
    the process (SIGBUS).

    Args:
        path: the file; written by `fastneg encode` or by FFCV.
        verify: also compare every sample with its checksum, which reads the whole file.
    Attributes:
        path: str.
        files: list of str, the path of each file: one.
        fields: list of str, the names of all fields, in the order of the file.
        kinds: {name: float, int, image, bytes, array, JSON or tensor} of all fields.
        image_fields: list of str, the names of the image fields, the main one first.
        sizes: (len, 2) int64, height and width in pixels.
        raw: (len,) bool, the samples that are raw pixels and not a JPEG.
        ints: {name: (len,) int64} of all int fields.
        stored_bytes: (len,) int64, the size of each sample as stored.
        labels: (len,) int64: the field that `label_field` finds: "label", say, or the only int; or
            None.
        checksums: (len,) int64, the CRC32 of each sample's bytes as stored, or None where the file
            holds none. Files of earlier versions hold them as an int field "crc32", which `fields`
            and `ints` list too.
        classes, names: list of str or None: the name of each label, and the source file of each
            sample, from PATH.json.
        info: dict, whatever else PATH.json says.
        pages: (len,) int64, the page of the file in which each sample lies, counted from 0.
    Raises:
        BetonError: the file is missing, unfinished, cut, damaged, or not a .beton file; with
            `verify`, a sample fails its checksum or there are no checksums. The methods: no such
            `field`.
    """

    def __init__(self, path: str | os.PathLike[str], verify: bool = False) -> None:
        self.path = os.fspath(path)
        self.files = [self.path]
        self._absolute = os.path.abspath(self.path)
        self._map = self._open()
        self._bytes = np.frombuffer(self._map, np.uint8)
        header = self._read_header()
        types, arguments = self._read_fields(int(header["num_fields"]))
        records, data_start = self._read_records(header, types)
        self.ints = {
            name: records[name].astype(np.int64)
            for name, type_id in types.items()
            if type_id == INT_TYPE
        }
        table = int(header["alloc_table_ptr"])
        checksums = {}
        for name in self.image_fields:
            found = read_block(
                self.path, self._bytes, arguments[name], len(records), (data_start, table)
            )
            checksums[name] = (
                self.ints.get(checksum_field(name, self.image_fields[0]))
                if found is None
                else found
            )
        self._fields = self._place_samples(records, types, data_start, table, checksums)
        self._main = self._fields[self.image_fields[0]]
        self.sizes, self.raw, self.checksums = (
            self._main.sizes,
            self._main.raw,
            self._main.checksums,
        )
        self.stored_bytes = np.asarray(self._main.stop) - np.asarray(self._main.start)
        self.pages = np.asarray(self._main.start) // int(header["page_size"])
        self.labels = self._find_labels()
        # The records, not the samples: enough to tell whose sidecar a sidecar is.
        self.fingerprint = f"{zlib.crc32(self._bytes[HEADER.itemsize : data_start]):08x}"
        self.classes, self.names, self.info = read_sidecar(self.path, self.fingerprint, len(self))
        if verify:
            self._verify()

    def __len__(self) -> int:
        return len(self.sizes)

    def stored(self, index: int, field: str | None = None) -> NDArray[np.uint8]:
        """The bytes of a sample as they lie in the file, JPEG or raw pixels: a read-only (size,)
        uint8 view, no copy."""
        images = self._main if field is None else self._images(field)
        return self._bytes[images.start[index] : images.stop[index]]

    def jpeg(self, index: int, field: str | None = None) -> NDArray[np.uint8]:
        """The JPEG bytes of a sample: a read-only (size,) uint8 view, no copy.

        BetonError if the sample is raw pixels.
        """
        if self.is_raw(index, field):
            raise BetonError(
                f"{self.describe(index)} is raw pixels, not a JPEG: encoded({index}) gives what a "
                "decoder takes."
            )
        return self.stored(index, field)

    def encoded(self, index: int, field: str | None = None) -> NDArray[np.uint8]:
        """What a decoder takes, (size,) uint8: the JPEG bytes without a copy, or a copy of raw
        pixels behind a PNM header."""
        images = self._main if field is None else self._images(field)
        if not images.is_raw[index]:
            return self._bytes[images.start[index] : images.stop[index]]
        height, width = images.sizes[index]
        return np.concatenate(
            [
                np.frombuffer(f"P6 {width} {height} 255\n".encode(), np.uint8),
                self.stored(index, field),
            ]
        )

    def is_raw(self, index: int, field: str | None = None) -> bool:
        """Whether a sample is raw pixels and not a JPEG; `raw` says it of all samples of the main
        field."""
        return self._images(field).is_raw[index]

    def sizes_of(self, field: str) -> NDArray[np.int64]:
        """(len, 2) int64, height and width in pixels of the images of a field; `sizes` are those of
        the main one."""
        return self._images(field).sizes

    def checksums_of(self, field: str) -> NDArray[np.int64] | None:
        """(len,) int64, the CRC32s of a field's bytes as stored, or None; `checksums` are those of
        the main one."""
        return self._images(field).checksums

    def matches_checksum(self, index: int, field: str | None = None) -> bool:
        """Whether a sample's bytes have the CRC32 that was written with them."""
        return zlib.crc32(self.stored(index, field)) == self._images(field).checksums[index]

    def describe(self, index: int) -> str:
        """How to name a sample in a message: its position, its source file where that is known, and
        the file."""
        return f"sample {index}{f' ({self.names[index]})' if self.names else ''} of {self.path}"

    def will_need(self, indices: NDArray[np.int64], field: str | None = None) -> None:
        """Tell the operating system that these samples are wanted soon, so that it reads them in
        the background; neighbours in one go."""
        if not len(indices):
            return
        images = self._images(field)
        start, stop = np.asarray(images.start)[indices], np.asarray(images.stop)[indices]
        order = np.argsort(start, kind="stable")
        start, stop = start[order] // mmap.PAGESIZE * mmap.PAGESIZE, stop[order]
        apart = start[1:] > stop[:-1]
        for first, last in zip(
            start[np.append(True, apart)].tolist(),
            stop[np.append(apart, True)].tolist(),
            strict=True,
        ):
            for part in range(first, last, WILL_NEED_BYTES):
                self._map.madvise(mmap.MADV_WILLNEED, part, min(WILL_NEED_BYTES, last - part))

    def close(self) -> None:
        """Let go of the file. Views that were handed out stay valid; the mapping ends with the last
        of them."""
        self._bytes = self._map = _Closed(self.path)

    def __enter__(self) -> BetonReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self):
        return type(self), (self._absolute,)

    def _images(self, field):
        if field is None:
            return self._main
        if field not in self._fields:
            raise BetonError(
                f"{self.path} has no image field {field!r}; its image fields: "
                f"{', '.join(self.image_fields)}."
            )
        return self._fields[field]

    def _open(self):
        try:
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < HEADER.itemsize:
                    raise BetonError(
                        f"{self.path} has {counted(size, 'byte')}, a .beton file least "
                        f"{HEADER.itemsize}: it is empty or no such file."
                    )
                return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise BetonError(
                f"{self.path} cannot be read as a .beton file: {error.strerror}."
            ) from error

    def _read_header(self):
        header = np.frombuffer(self._map, HEADER, 1)[0]
        page, table = int(header["page_size"]), int(header["alloc_table_ptr"])
        if header["version"] != VERSION:
            raise BetonError(
                f"{self.path} has format version {header['version']}, {VERSION} was expected: "
                "damaged or no .beton file."
            )
        if table == 0:
            raise BetonError(
                f"{self.path} is unfinished: its writer stopped before the end. Encode it again."
            )
        if table > len(self._map):
            raise BetonError(
                f"{self.path} has {counted(len(self._map), 'byte')}, more than {table} were "
                "expected: it was cut. Encode it again."
            )
        if page == 0 or page & (page - 1):
            raise BetonError(
                f"{self.path} has a page size of {counted(page, 'byte')}, a power of two was "
                "expected: its header is damaged."
            )
        return header

    def _read_fields(self, count):
        if HEADER.itemsize + count * DESCRIPTOR.itemsize > len(self._map) or count == 0:
            raise BetonError(
                f"{self.path} cannot hold the {count} fields that its header names: it is damaged "
                "or no .beton file."
            )
        types, arguments = {}, {}
        for descriptor in np.frombuffer(self._map, DESCRIPTOR, count, HEADER.itemsize):
            name, type_id = (
                descriptor["name"].split(b"\0")[0].decode("ascii", "replace"),
                int(descriptor["type_id"]),
            )
            if not name.isprintable() or not name or name in types or "\ufffd" in name:
                raise BetonError(
                    f"{self.path} has a field named {name!r} after {list(types)}: its field table "
                    "is damaged."
                )
            if type_id not in FIELD_TYPES:
                kind = (
                    "a custom type, whose records cannot be read"
                    if type_id == 255
                    else f"type {type_id}, which does not exist"
                )
                raise BetonError(
                    f"{self.path} has a field {name!r} of {kind}; types 0 to 6 were expected."
                )
            types[name], arguments[name] = type_id, descriptor["arguments"].tobytes()
        self.fields, self.kinds = (
            list(types),
            {name: KINDS[type_id] for name, type_id in types.items()},
        )
        self.image_fields = sorted(
            (name for name, type_id in types.items() if type_id == IMAGE_TYPE),
            key=lambda name: name != "image",
        )
        if not self.image_fields or (
            len(self.image_fields) > 1 and self.image_fields[0] != "image"
        ):
            raise BetonError(
                f"{self.path} has {counted(len(self.image_fields), 'image field')}, one was "
                f"expected, or one named 'image'; its fields: {', '.join(types)}."
            )
        return types, arguments

    def _read_records(self, header, types):
        record = np.dtype(
            [(name, FIELD_TYPES[type_id]) for name, type_id in types.items()], align=True
        )
        count, table = int(header["num_samples"]), int(header["alloc_table_ptr"])
        start = HEADER.itemsize + len(types) * DESCRIPTOR.itemsize
        stop = start + count * record.itemsize
        if count == 0:
            raise BetonError(f"{self.path} holds no samples.")
        if stop > table:
            raise BetonError(
                f"{self.path} cannot hold the {counted(count, 'sample')} that its header names: it "
                "is damaged. Copy or encode it again."
            )
        return np.frombuffer(self._map, record, count, start), stop

    def _place_samples(self, records, types, data_start, table, checksums):
        """Find each sample's bytes: the records say where they begin, the allocation table how many
        they are.

        Returns:
            {image field: `_Images`}
        """
        entries = self._read_allocations(
            len(records) * sum(type_id in POINTER_TYPES for type_id in types.values()), table
        )
        found = {}
        for name in self.image_fields:
            image, what = records[name], f"'s {name}" if len(self.image_fields) > 1 else ""
            self._refuse(image["mode"] > RAW, f"{what} is neither a JPEG nor raw pixels")
            raw, sizes = (
                image["mode"] == RAW,
                np.stack([image["height"], image["width"]], axis=1).astype(np.int64),
            )
            self._refuse((sizes == 0).any(axis=1), f"{what} has no height or no width")
            start, size = self._locate(image["data_ptr"], entries, data_start, table, what)
            self._refuse(
                raw & (size != sizes.prod(axis=1) * 3), f"{what} has not the size of its pixels"
            )
            # A memoryview gives up an int several times faster than an array does.
            places = (memoryview(start), memoryview(start + size), memoryview(raw))
            found[name] = _Images(sizes, raw, *places, checksums[name])
        starts = np.concatenate([images.start for images in found.values()])
        stops = np.concatenate([images.stop for images in found.values()])
        order = np.argsort(starts, kind="stable")
        overlaps = np.zeros(len(order), bool)
        overlaps[order[1:]] = stops[order[:-1]] > starts[order[1:]]
        self._refuse(overlaps.reshape(len(found), -1).any(axis=0), " overlaps another")
        return found

    def _read_allocations(self, expected, table):
        """The entries of the allocation table that hold something, sorted by where it lies."""
        found, rest = divmod(len(self._map) - table, ALLOCATION.itemsize)
        if found != expected or rest:
            raise BetonError(
                f"{self.path} has {counted(found, 'entry')}{' and a part of one' if rest else ''} "
                f"in its allocation table, {expected} were expected: "
                "it was cut or is damaged. Copy or encode it again."
            )
        entries = np.frombuffer(self._map, ALLOCATION, found, table)
        # an empty bytes field shares its address with what comes after it
        entries = entries[entries["size"] > 0]
        entries = entries[np.argsort(entries["ptr"], kind="stable")]
        # which of the sizes would be meant?
        if (twice := entries["ptr"][1:] == entries["ptr"][:-1]).any():
            at = int(entries["ptr"][int(twice.argmax())])
            raise BetonError(
                f"{self.path} has two entries in its allocation table for byte {at} "
                f"({int(twice.sum())} such places): it is damaged. Copy or encode it again."
            )
        return entries

    def _locate(self, pointers, entries, data_start, table, what):
        """(start, size), (len,) int64 each, of the samples of a field."""
        at = np.searchsorted(entries["ptr"], pointers)
        self._refuse(at == len(entries), f"{what} is not in the allocation table")
        entries = entries[at]
        known = (entries["ptr"] == pointers) & (
            entries["sample_id"] == np.arange(len(pointers), dtype=np.uint64)
        )
        self._refuse(~known, f"{what} is not in the allocation table")
        # the last place to begin; no sum that could overflow
        room = np.uint64(table) - np.minimum(entries["size"], np.uint64(table))
        self._refuse(
            (pointers < np.uint64(data_start)) | (pointers > room),
            f"{what} lies outside of the file's data",
        )
        return pointers.astype(np.int64), entries["size"].astype(np.int64)

    def _refuse(self, bad, what):
        if bad.any():
            raise BetonError(
                f"{self.path}: sample {int(bad.argmax())}{what} ({int(bad.sum())} of "
                f"{counted(len(bad), 'sample')} so): the file is damaged. "
                "Copy or encode it again."
            )

    def _find_labels(self):
        beside = {
            *self.image_fields,
            *(checksum_field(name, self.image_fields[0]) for name in self.image_fields),
        }
        name = label_field({name: kind for name, kind in self.kinds.items() if name not in beside})
        return None if name is None else self.ints[name]

    def _verify(self):
        for field in self.image_fields:
            if self.checksums_of(field) is None:
                raise BetonError(
                    f"{self.path} holds no checksums of the field {field!r}: open it without "
                    "verify, or encode it again."
                )
        bad = [
            i
            for i in range(len(self))
            if not all(self.matches_checksum(i, field) for field in self.image_fields)
        ]
        if bad:
            raise BetonError(
                f"{len(bad)} of {counted(len(self), 'sample')} failed the checksum; the first is "
                f"{self.describe(bad[0])}. It is damaged."
            )


class _Closed:
    """Stands in for the bytes of a closed reader."""

    def __init__(self, path):
        self._path = path

    def __getitem__(self, item):
        raise ValueError(f"The reader of {self._path} is closed: open the file again.")

    def madvise(self, *arguments):
        self[0]
