"""The .beton format (FFCV format version 2, little-endian): its layout, and a reader without copies.

    HEADER | DESCRIPTOR × num_fields | record × num_samples | … samples … | ALLOCATION × samples, up to the end of the file

A record holds the values of all fields, aligned as numpy aligns a struct, but the image in it is packed. No sample straddles a page.
FFCV's stock Loader reads what `BetonWriter` (beton_writer.py) writes; `BetonReader` reads what FFCV's DatasetWriter writes.
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from pathlib import Path

import numpy as np

HEADER = np.dtype([("version", "<u2"), ("num_fields", "<u2"), ("page_size", "<u4"), ("num_samples", "<u8"), ("alloc_table_ptr", "<u8")])
DESCRIPTOR = np.dtype([("type_id", "u1"), ("name", "S16"), ("arguments", "V1024")])
IMAGE = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])  # packed: 13 bytes
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])

VERSION = 2
JPEG, RAW = 0, 1  # modes of an image
INT_TYPE, IMAGE_TYPE = 1, 2
# What a field of each type puts into the record: float, int, image, bytes, ndarray, JSON, tensor.
FIELD_TYPES = dict(enumerate(map(np.dtype, ("<f8", "<i8", IMAGE, "<u8,<u8", "<u8", "<u8,<u8", "<u8"))))
POINTER_TYPES = (2, 3, 4, 5, 6)  # each sample has one entry in the allocation table for each field of these types
CHECKSUM_FIELD = "crc32"


class BetonError(Exception):
    """A file that is no whole .beton file, a sample that is not what was asked for, an image that cannot be used."""


class BetonReader:
    """Maps a .beton file and hands out its samples without copying them.

    All that can be checked without reading the samples is checked here: the layout, every pointer, every size. The file must not be
    shortened while it is mapped: the operating system would end the process (SIGBUS).

    Args:
        path: the file; written by `fastneg encode` or by FFCV.
        verify: also compare every sample with its checksum, which reads the whole file.
    Attributes:
        path: str.
        fields: list of str, the names of all fields, in the order of the file.
        sizes: (len, 2) int64, height and width in pixels.
        raw: (len,) bool, the samples that are raw pixels and not a JPEG.
        ints: {name: (len,) int64} of all int fields.
        labels: (len,) int64: the field "label", or the only int field beside the checksums; None if there is neither.
        checksums: (len,) int64, the CRC32 of each sample's bytes as stored, or None.
        classes, names: list of str or None: the name of each label, and the source file of each sample, from PATH.json.
        info: dict, whatever else PATH.json says.
    Raises:
        BetonError: the file is missing, unfinished, cut, damaged, or not a .beton file; with `verify`, a sample fails its checksum or
            there are no checksums.
    """

    def __init__(self, path, verify=False):
        self.path = os.fspath(path)
        self._absolute = os.path.abspath(self.path)
        self._map = self._open()
        self._bytes = np.frombuffer(self._map, np.uint8)
        header = self._read_header()
        types = self._read_fields(int(header["num_fields"]))
        records, data_start = self._read_records(header, types)
        self._read_sizes(records[self._image_field(types)])
        self._place_samples(records, types, data_start, int(header["alloc_table_ptr"]))
        self.ints = {name: records[name].astype(np.int64) for name, type_id in types.items() if type_id == INT_TYPE}
        self.checksums = self.ints.get(CHECKSUM_FIELD)
        self.labels = self._find_labels()
        # The records, not the samples: enough to tell whose sidecar a sidecar is.
        self.fingerprint = f"{zlib.crc32(self._bytes[HEADER.itemsize : data_start]):08x}"
        self.classes, self.names, self.info = self._read_sidecar()
        if verify:
            self._verify()

    def __len__(self):
        return len(self._start)

    def stored(self, index):
        """The bytes of a sample as they lie in the file, JPEG or raw pixels: a read-only (size,) uint8 view, no copy."""
        return self._bytes[self._start[index] : self._stop[index]]

    def jpeg(self, index):
        """The JPEG bytes of a sample: a read-only (size,) uint8 view, no copy. BetonError if the sample is raw pixels."""
        if self._is_raw[index]:
            raise BetonError(f"{self.describe(index)} is raw pixels, not a JPEG: encoded({index}) gives what a decoder takes.")
        return self.stored(index)

    def encoded(self, index):
        """What a decoder takes, (size,) uint8: the JPEG bytes without a copy, or a copy of raw pixels behind a PNM header."""
        if not self._is_raw[index]:
            return self.stored(index)
        height, width = self.sizes[index]
        return np.concatenate([np.frombuffer(f"P6 {width} {height} 255\n".encode(), np.uint8), self.stored(index)])

    def matches_checksum(self, index):
        """Whether a sample's bytes have the CRC32 that was written with them."""
        return zlib.crc32(self.stored(index)) == self.checksums[index]

    def describe(self, index):
        """How to name a sample in a message: its position, its source file where that is known, and the file."""
        return f"sample {index}{f' ({self.names[index]})' if self.names else ''} of {self.path}"

    def will_need(self, indices):
        """Tell the operating system that these samples are wanted soon, so that it reads them in the background."""
        for index in indices:
            first = self._start[index] // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, first, self._stop[index] - first)

    def close(self):
        """Let go of the file. Views that were handed out stay valid; the mapping ends with the last of them."""
        self._bytes = self._map = _Closed(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __reduce__(self):
        return type(self), (self._absolute,)

    def _open(self):
        try:
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < HEADER.itemsize:
                    raise BetonError(f"{self.path} has {size} bytes, a .beton file least {HEADER.itemsize}: it is empty or no such file.")
                return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise BetonError(f"{self.path} cannot be read as a .beton file: {error.strerror}.") from error

    def _read_header(self):
        header = np.frombuffer(self._map, HEADER, 1)[0]
        page, table = int(header["page_size"]), int(header["alloc_table_ptr"])
        if header["version"] != VERSION:
            raise BetonError(f"{self.path} has format version {header['version']}, {VERSION} was expected: damaged or no .beton file.")
        if table == 0:
            raise BetonError(f"{self.path} is unfinished: its writer stopped before the end. Encode it again.")
        if table > len(self._map):
            raise BetonError(f"{self.path} has {len(self._map)} bytes, more than {table} were expected: it was cut. Encode it again.")
        if page == 0 or page & (page - 1):
            raise BetonError(f"{self.path} has a page size of {page} bytes, a power of two was expected: its header is damaged.")
        return header

    def _read_fields(self, count):
        if HEADER.itemsize + count * DESCRIPTOR.itemsize > len(self._map) or count == 0:
            raise BetonError(f"{self.path} cannot hold the {count} fields that its header names: it is damaged or no .beton file.")
        types = {}
        for descriptor in np.frombuffer(self._map, DESCRIPTOR, count, HEADER.itemsize):
            name, type_id = descriptor["name"].split(b"\0")[0].decode("ascii", "replace"), int(descriptor["type_id"])
            if not name.isprintable() or not name or name in types or "\ufffd" in name:
                raise BetonError(f"{self.path} has a field named {name!r} after {list(types)}: its field table is damaged.")
            if type_id not in FIELD_TYPES:
                kind = "a custom type, whose records cannot be read" if type_id == 255 else f"type {type_id}, which does not exist"
                raise BetonError(f"{self.path} has a field {name!r} of {kind}; types 0 to 6 were expected.")
            types[name] = type_id
        self.fields = list(types)
        return types

    def _image_field(self, types):
        images = [name for name, type_id in types.items() if type_id == IMAGE_TYPE]
        if len(images) != 1:
            raise BetonError(f"{self.path} has {len(images)} image fields, one was expected; its fields: {', '.join(types)}.")
        return images[0]

    def _read_records(self, header, types):
        record = np.dtype([(name, FIELD_TYPES[type_id]) for name, type_id in types.items()], align=True)
        count, table = int(header["num_samples"]), int(header["alloc_table_ptr"])
        start = HEADER.itemsize + len(types) * DESCRIPTOR.itemsize
        stop = start + count * record.itemsize
        if count == 0:
            raise BetonError(f"{self.path} holds no samples.")
        if stop > table:
            raise BetonError(f"{self.path} cannot hold the {count} samples that its header names: it is damaged. Copy or encode it again.")
        return np.frombuffer(self._map, record, count, start), stop

    def _read_sizes(self, image):
        self._refuse(image["mode"] > RAW, "is neither a JPEG nor raw pixels")
        self.raw = image["mode"] == RAW
        self.sizes = np.stack([image["height"], image["width"]], axis=1).astype(np.int64)
        self._refuse((self.sizes == 0).any(axis=1), "has no height or no width")

    def _place_samples(self, records, types, data_start, table):
        """Find each sample's bytes: the records say where they begin, the allocation table how many they are."""
        expected = len(records) * sum(type_id in POINTER_TYPES for type_id in types.values())
        found, rest = divmod(len(self._map) - table, ALLOCATION.itemsize)
        if found != expected or rest:
            raise BetonError(
                f"{self.path} has {found} entries{' and a part of one' if rest else ''} in its allocation table, {expected} were expected: "
                "it was cut or is damaged. Copy or encode it again."
            )
        entries = np.frombuffer(self._map, ALLOCATION, found, table)
        entries = entries[entries["size"] > 0]  # an empty bytes field shares its address with what comes after it
        entries = entries[np.argsort(entries["ptr"], kind="stable")]
        pointers = records[self._image_field(types)]["data_ptr"]
        at = np.searchsorted(entries["ptr"], pointers)
        self._refuse(at == len(entries), "is not in the allocation table")
        entries = entries[at]
        known = (entries["ptr"] == pointers) & (entries["sample_id"] == np.arange(len(records), dtype=np.uint64))
        self._refuse(~known, "is not in the allocation table")
        room = np.uint64(table) - np.minimum(entries["size"], np.uint64(table))  # the last place to begin; no sum that could overflow
        self._refuse((pointers < np.uint64(data_start)) | (pointers > room), "lies outside of the file's data")
        start, size = pointers.astype(np.int64), entries["size"].astype(np.int64)
        order = np.argsort(start, kind="stable")
        overlaps = np.zeros(len(order), bool)
        overlaps[order[1:]] = (start + size)[order[:-1]] > start[order[1:]]
        self._refuse(overlaps, "overlaps another")
        self._refuse(self.raw & (size != self.sizes.prod(axis=1) * 3), "has not the size of its pixels")
        # A memoryview gives up an int several times faster than an array does.
        self._start, self._stop, self._is_raw = memoryview(start), memoryview(start + size), memoryview(self.raw)

    def _refuse(self, bad, what):
        if bad.any():
            raise BetonError(
                f"{self.path}: sample {int(bad.argmax())} {what} ({int(bad.sum())} of {len(bad)} samples so): the file is damaged. "
                "Copy or encode it again."
            )

    def _find_labels(self):
        others = [name for name in self.ints if name != CHECKSUM_FIELD]
        name = "label" if "label" in self.ints else others[0] if len(others) == 1 else None
        return None if name is None else self.ints[name]

    def _read_sidecar(self):
        path = sidecar_path(self.path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None, None, {}
        except (OSError, UnicodeDecodeError) as error:
            raise BetonError(f"{path} cannot be read: {error}. It belongs to {self.path}: restore or remove it.") from error
        try:
            info = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BetonError(f"{path} is not JSON: {error}. It belongs to {self.path}: restore or remove it.") from error
        if not isinstance(info, dict):
            raise BetonError(f"{path} holds a {type(info).__name__}, an object was expected: restore or remove it.")
        if info.pop("fingerprint", self.fingerprint) != self.fingerprint:
            raise BetonError(f"{path} was written with another file than {self.path}, or one of them is damaged: restore or remove it.")
        classes, names = info.pop("classes", None), info.pop("names", None)
        for key, value in (("classes", classes), ("names", names)):
            if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
                raise BetonError(f"{path}: {key} is not a list of texts. It belongs to {self.path}: restore or remove it.")
        if names is not None and len(names) != len(self):
            raise BetonError(f"{path} names {len(names)} samples, {self.path} holds {len(self)}: restore or remove it.")
        return classes, names, info

    def _verify(self):
        if self.checksums is None:
            raise BetonError(f"{self.path} holds no checksums (no {CHECKSUM_FIELD} field): open it without verify, or encode it again.")
        bad = [index for index in range(len(self)) if not self.matches_checksum(index)]
        if bad:
            raise BetonError(f"{len(bad)} of {len(self)} samples fail their checksum; the first is {self.describe(bad[0])}. It is damaged.")


class _Closed:
    """Stands in for the bytes of a closed reader."""

    def __init__(self, path):
        self._path = path

    def __getitem__(self, item):
        raise ValueError(f"The reader of {self._path} is closed: open the file again.")

    def madvise(self, *arguments):
        self[0]


def sidecar_path(path):
    """Where the classes and names of a .beton file are: PATH.json."""
    return Path(f"{os.fspath(path)}.json")
