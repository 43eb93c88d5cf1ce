"""Writes .beton files, which are complete or absent. The format is in format.py."""

from __future__ import annotations

import contextlib
import operator
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastneg.counts import counted
from fastneg.data.beton.checksum_block import CHECKSUM, block_of
from fastneg.data.beton.format import (
    ALLOCATION,
    DESCRIPTOR,
    HEADER,
    IMAGE,
    IMAGE_TYPE,
    INT_TYPE,
    JPEG,
    RAW,
    VERSION,
    checksum_field,
)
from fastneg.data.beton.publish import Together, publish
from fastneg.data.errors import BetonError, told_when_full
from fastneg.data.file_names import readable
from fastneg.files import temporary_file

PAGE_SIZE = 8 << 20
# a power of two (FFCV turns addresses into pages by shifting) that fits the header's u4
SMALLEST_PAGE, LARGEST_PAGE = 4096, 1 << 31
LARGEST_SIDE = 65535
Bytes: TypeAlias = bytes | bytearray | memoryview | NDArray[np.uint8]
Pair: TypeAlias = tuple[Bytes, int, int] | NDArray[np.uint8]
"""(JPEG bytes, height, width), or raw pixels (H, W, 3)."""


class BetonWriter:
    """Writes a .beton file; a file with the final name is always complete.

    It is a context manager. It writes a temporary file beside `path`. At the end of the block it
    reads the file back, syncs it and renames it together with PATH.json. If an exception leaves the
    block, nothing remains.

    Args:
        path: the file to write; missing folders are made.
        int_fields: names of the int fields (at most 16 ASCII characters each).
        paired_fields: names of further image fields, such as "texture".
        page_size: bytes, a power of two from 4096 to 2^31; it is doubled until the largest sample
            fits.
        classes: names of the labels, for PATH.json.
        checksums: store the CRC32 of each image, where FFCV does not read it (checksum_block.py).
        together: a `Together` that renames the file later, together with others; None: the end of
            the block does.
    Attributes:
        info: dict, also written into PATH.json; its values must be JSON.
    Raises:
        ValueError: invalid settings or arguments. BetonError: no sample was added, one is too
            large, or the disk is full.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        int_fields: Iterable[str] = ("label",),
        page_size: int = PAGE_SIZE,
        classes: Iterable[str] | None = None,
        paired_fields: Iterable[str] = (),
        checksums: bool = True,
        together: Together | None = None,
    ) -> None:
        self.path, self.info = Path(path), {}
        self.int_fields, self.image_fields = tuple(int_fields), ("image", *paired_fields)
        # As FFCV's users unpack a batch: image, label, then what else there is.
        self._fields = ("image", *self.int_fields, *self.image_fields[1:])
        _check_fields(self.int_fields, self.image_fields, checksums)
        if page_size & (page_size - 1) or not SMALLEST_PAGE <= page_size <= LARGEST_PAGE:
            raise ValueError(
                f"page_size is {page_size}: a power of two from {SMALLEST_PAGE} to {LARGEST_PAGE} "
                "was expected."
            )
        self.page_size, self._names = page_size, []
        self._classes = None if classes is None else list(classes)
        record = np.dtype(
            [(name, IMAGE if name in self.image_fields else "<i8") for name in self._fields],
            align=True,
        )
        images = (1024, len(self.image_fields))
        self._count, self._records = 0, np.zeros(1024, record)
        self._sizes = np.zeros(images, np.int64)
        self._checksums = np.zeros(images, CHECKSUM) if checksums else None
        self._stack, self._together = contextlib.ExitStack(), together
        self._temporary = self._file = None
        # Records lie before the samples, but their number is known at the end only: they get the
        # first page, and what turns out to be in their way is moved then.
        self._end = -(-self._records_start() // page_size) * page_size

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> BetonWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary, self._file = self._stack.enter_context(temporary_file(self.path))
        return self

    def add(
        self,
        jpeg: Bytes,
        height: int,
        width: int,
        *,
        name: str | None = None,
        paired: Mapping[str, Pair] | None = None,
        **ints: int,
    ) -> None:
        """Append a JPEG, byte for byte.

        Args:
            jpeg: bytes-like.
            height, width: in pixels, 1 to 65535; as the JPEG's own header says.
            name: source file of the sample, for PATH.json.
            paired: {field: (JPEG bytes, height, width), or raw pixels as in `add_raw`} for each of
                the paired fields.
            ints: a value for each int field.
        """
        self._add((JPEG, jpeg, height, width), name, paired, ints)

    def add_raw(
        self,
        pixels: NDArray[np.uint8],
        *,
        name: str | None = None,
        paired: Mapping[str, Pair] | None = None,
        **ints: int,
    ) -> None:
        """Append raw pixels, (H, W, 3) uint8; the other arguments as in `add`."""
        self._add(_raw(pixels), name, paired, ints)

    def _add(self, image, name, paired, ints):
        if self._file is None:
            raise ValueError(f"The writer of {self.path} is not open: use it as a context manager.")
        paired = paired or {}
        for what, given, expected in (
            ("int", ints, self.int_fields),
            ("paired", paired, self.image_fields[1:]),
        ):
            if sorted(given) != sorted(expected):
                raise ValueError(
                    f"values came for the {what} fields {sorted(given)}, {sorted(expected)} were "
                    "expected."
                )
        values = {key: operator.index(value) for key, value in ints.items()}
        if wrong := [
            f"{key} {value}" for key, value in values.items() if not -(2**63) <= value < 2**63
        ]:
            raise ValueError(f"{wrong[0]} does not fit 64 bits.")
        pairs = (paired[field] for field in self.image_fields[1:])
        pairs = (_raw(pair) if isinstance(pair, np.ndarray) else (JPEG, *pair) for pair in pairs)
        images = dict(zip(self.image_fields, (image, *pairs), strict=True))
        blocks = [_bytes_of(*image) for image in images.values()]
        if self._count == len(self._records):
            twice = lambda column: np.concatenate([column, np.zeros_like(column)])
            self._records, self._sizes = twice(self._records), twice(self._sizes)
            self._checksums = None if self._checksums is None else twice(self._checksums)
        at = self._write(blocks)
        for (field, (mode, _, height, width)), block in zip(images.items(), blocks, strict=True):
            values[field] = (mode, width, height, at)
            at += len(block)
        self._records[self._count] = tuple(values[field] for field in self._fields)
        self._sizes[self._count] = [len(block) for block in blocks]
        if self._checksums is not None:
            self._checksums[self._count] = [zlib.crc32(block) for block in blocks]
        self._names.append(None if name is None else readable(str(name)))
        self._count += 1

    def _write(self, blocks):
        """Append a sample's blocks where they do not straddle a page; returns where the first
        begins."""
        size = sum(map(len, blocks))
        # pages may double at any time: a small page never straddles a larger one
        while self.page_size < size:
            self.page_size *= 2
            if self.page_size > LARGEST_PAGE:
                raise BetonError(
                    f"a sample of {counted(size, 'byte')} came for {self.path}: at most "
                    f"{LARGEST_PAGE} fit."
                )
        start = self._end
        if start // self.page_size != (start + size - 1) // self.page_size:
            start = -(-start // self.page_size) * self.page_size
        with told_when_full(self.path):
            self._file.seek(start)
            for block in blocks:
                self._file.write(block)
        self._end = start + size
        return start

    def _records_start(self):
        return HEADER.itemsize + DESCRIPTOR.itemsize * len(self._fields)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._stack, told_when_full(self.path):
            if kind is None:
                self._finish()
                names = self._names if any(name is not None for name in self._names) else None
                names = names and [name or "" for name in names]
                finished = (
                    self._temporary,
                    self.path,
                    {"classes": self._classes, "names": names, **self.info},
                )
                if self._together is None:
                    publish(finished)
                else:
                    self._together.add(self._stack.pop_all(), finished)
        self._file = None

    def _finish(self):
        if self._count == 0:
            raise BetonError(f"no sample was added to {self.path}: at least one was expected.")
        records = self._records[: self._count]
        head = self._records_start() + records.nbytes
        self._end = max(self._end, head)
        sizes = self._sizes[: self._count]
        for index in np.flatnonzero(records["image"]["data_ptr"] < head):
            first = int(records["image"]["data_ptr"][index])
            self._file.seek(first)
            moved = self._write([self._file.read(sizes[index].sum())]) - first
            for name in self.image_fields:
                records[name]["data_ptr"][index] = int(records[name]["data_ptr"][index]) + moved
        arguments = self._write_checksums()
        table = -(-self._end // 8) * 8
        header = np.array((VERSION, len(self._fields), self.page_size, self._count, table), HEADER)
        types = {
            name: IMAGE_TYPE if name in self.image_fields else INT_TYPE for name in self._fields
        }
        fields = [
            (type_id, name.encode(), arguments.get(name, b"")) for name, type_id in types.items()
        ]
        allocations = np.zeros(sizes.shape, ALLOCATION)
        allocations["sample_id"] = np.arange(self._count)[:, None]
        allocations["ptr"] = np.stack(
            [records[name]["data_ptr"] for name in self.image_fields], axis=1
        )
        allocations["size"] = sizes
        self._file.seek(0)
        for part in (header, np.array(fields, DESCRIPTOR), records):
            self._file.write(part.tobytes())
        self._file.seek(table)
        self._file.write(allocations.tobytes())
        self._file.flush()

    def _write_checksums(self):
        """Append the checksums; {image field: the arguments of its descriptor}.

        They may straddle pages, since FFCV reads none of them.
        """
        arguments = {}
        for number, name in enumerate(self.image_fields if self._checksums is not None else ()):
            start = -(-self._end // 8) * 8
            block, arguments[name] = block_of(self._checksums[: self._count, number], start)
            self._file.seek(start)
            self._file.write(block)
            self._end = start + len(block)
        return arguments


def _check_fields(int_fields, image_fields, checksums):
    """ValueError if a field may not be called so, or two are called alike."""
    reserved = {checksum_field(name, "image") for name in image_fields}
    if checksums and (taken := [name for name in int_fields if name in reserved]):
        raise ValueError(
            f"int field {taken[0]!r}: the writer keeps the checksums itself, in no field. "
            "Leave it out."
        )
    for name in (*image_fields[1:], *int_fields):
        fits = (
            isinstance(name, str) and name.isascii() and name.isprintable() and 0 < len(name) <= 16
        )
        if not fits or name in ("image", "name", "paired"):
            raise ValueError(
                f"field {name!r}: 1 to 16 ASCII characters were expected, and none of "
                "'image', 'name', 'paired'."
            )
    fields = ("image", *int_fields, *image_fields[1:])
    if len(set(fields)) != len(fields):
        raise ValueError(f"fields are {fields}: each name may occur once.")


def _raw(pixels):
    """(mode, data, height, width) of raw pixels."""
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"pixels are {pixels.shape} {pixels.dtype}: (H, W, 3) uint8 was expected.")
    return RAW, np.ascontiguousarray(pixels), *pixels.shape[:2]


def _bytes_of(mode, data, height, width):
    """The bytes of an image of a sample, after a check of what came for it."""
    for side, value in (("height", height), ("width", width)):
        if not 1 <= operator.index(value) <= LARGEST_SIDE:
            raise ValueError(f"{side} is {value}: 1 to {LARGEST_SIDE} was expected.")
    data = memoryview(data).cast("B")
    if len(data) == 0:
        raise ValueError("a sample without bytes came: at least one was expected.")
    return data
