"""Writes .beton files that are whole or absent; the format is described in beton.py."""

from __future__ import annotations

import contextlib
import json
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
from fastneg.data.beton.reader import (
    ALLOCATION,
    DESCRIPTOR,
    HEADER,
    IMAGE,
    IMAGE_TYPE,
    INT_TYPE,
    JPEG,
    RAW,
    VERSION,
    BetonError,
    BetonReader,
    checksum_field,
)
from fastneg.data.beton.sidecar import sidecar_path
from fastneg.data.errors import told_when_full
from fastneg.data.file_names import readable
from fastneg.files import sync_to_disk, temporary_file

PAGE_SIZE = 8 << 20
# a power of two (FFCV turns addresses into pages by shifting) that fits the header's u4
SMALLEST_PAGE, LARGEST_PAGE = 4096, 1 << 31
LARGEST_SIDE = 65535
Bytes: TypeAlias = bytes | bytearray | memoryview | NDArray[np.uint8]
Pair: TypeAlias = tuple[Bytes, int, int] | NDArray[np.uint8]
"""(JPEG bytes, height, width), or raw pixels (H, W, 3)."""


class BetonWriter:
    """Writes a .beton file; a file with the final name is whole.

    Used as a context manager. The file grows under a temporary name beside `path`; at the end of
    the block it is read back, synced and renamed together with PATH.json. If the block is left by
    an exception, nothing remains of it.

    Args:
        path: the file to write; missing folders are made.
        int_fields: names of the int fields (at most 16 ASCII characters each).
        paired_fields: names of further image fields, such as "texture".
        page_size: bytes, a power of two from 4096 to 2^31; it doubles until the largest sample
            fits.
        classes: names of the labels, for PATH.json.
        checksums: keep the CRC32 of each image, where FFCV does not see it (checksum_block.py).
        together: a `Together` that gives the file its name, later and along with others; None: the
            end of the block does.
    Attributes:
        info: dict, written into PATH.json too; values as JSON takes them.
    Raises:
        ValueError: settings or arguments that cannot be. BetonError: no sample was added, or one is
            too large, or the disk is full.
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
        self.path, self.int_fields, self.image_fields, self.info = (
            Path(path),
            tuple(int_fields),
            ("image", *paired_fields),
            {},
        )
        # As FFCV's users unpack a batch: image, label, then what else there is.
        self._fields = ("image", *self.int_fields, *self.image_fields[1:])
        reserved = {checksum_field(name, "image") for name in self.image_fields}
        if checksums and (taken := [name for name in self.int_fields if name in reserved]):
            raise ValueError(
                f"int field {taken[0]!r}: the writer keeps the checksums itself, in no field. "
                "Leave it out."
            )
        for name in (*self.image_fields[1:], *self.int_fields):
            fits = (
                isinstance(name, str)
                and name.isascii()
                and name.isprintable()
                and 0 < len(name) <= 16
            )
            if not fits or name in ("image", "name", "paired"):
                raise ValueError(
                    f"field {name!r}: 1 to 16 ASCII characters were expected, and none of "
                    "'image', 'name', 'paired'."
                )
        if len(set(self._fields)) != len(self._fields):
            raise ValueError(f"fields are {self._fields}: each name may occur once.")
        if page_size & (page_size - 1) or not SMALLEST_PAGE <= page_size <= LARGEST_PAGE:
            raise ValueError(
                f"page_size is {page_size}: a power of two from {SMALLEST_PAGE} to {LARGEST_PAGE} "
                "was expected."
            )
        self.page_size, self._classes, self._names = (
            page_size,
            None if classes is None else list(classes),
            [],
        )
        record = np.dtype(
            [(name, IMAGE if name in self.image_fields else "<i8") for name in self._fields],
            align=True,
        )
        images = (1024, len(self.image_fields))
        self._records, self._sizes, self._count = (
            np.zeros(1024, record),
            np.zeros(images, np.int64),
            0,
        )
        self._checksums = np.zeros(images, CHECKSUM) if checksums else None
        self._stack, self._temporary, self._file, self._together = (
            contextlib.ExitStack(),
            None,
            None,
            together,
        )
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


class Together:
    """Files that get their names at the end of a block, all of them or, where it is left by an
    exception, none.

    The writers' blocks lie within it and end inside out; the outermost writer's file gets its name
    first (see `publish`).
    """

    def __init__(self):
        self._stack, self._finished = contextlib.ExitStack(), []

    def add(self, stack, finished):
        """Take over a finished file.

        Args:
            stack: ExitStack that removes its temporary file.
            finished: as of `publish`.
        """
        self._stack.push(stack)
        self._finished.append(finished)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        with self._stack:
            if kind is None:
                with told_when_full(self._finished[-1][1]):
                    publish(*reversed(self._finished))


def publish(*finished):
    """Give finished .beton files their names: they are opened and checked, all are on the disk
    before the first is renamed.

    Of several files, old ones of the names of the second and the later ones go first, and new ones
    come last: where a crash comes between the renames, they are missing, and none of before stands
    beside a new one.

    Args:
        finished: (temporary, path, sidecar) each: two Paths in the same folder, and the dict for
            PATH.json.
    Raises:
        BetonError: a file is not whole; or all are, but one cannot be given its name, or a sidecar
        cannot be written: then what is finished stays in the folder, as the error tells.
    """
    sidecars = []
    for temporary, _, sidecar in finished:
        with BetonReader(temporary) as reader:
            sidecar = {"samples": len(reader), "fingerprint": reader.fingerprint, **sidecar}
        sidecars.append(json.dumps(_readable(sidecar), ensure_ascii=False).encode())
        sync_to_disk(temporary)
    try:
        _rename(finished, sidecars)
    except OSError as error:
        raise BetonError(_kept(finished, error)) from error
    sync_to_disk(finished[0][1].parent)


def _rename(finished, sidecars):
    with contextlib.ExitStack() as stack:
        renames = []
        for (temporary, path, _), sidecar in zip(finished, sidecars, strict=True):
            notes, file = stack.enter_context(temporary_file(sidecar_path(path)))
            file.write(sidecar)
            file.flush()
            sync_to_disk(notes)
            pair = [(temporary, path), (notes, sidecar_path(path))]
            renames += pair if not renames else pair[::-1]
        for _, path in renames[2:]:
            path.unlink(missing_ok=True)
        if len(finished) > 1:
            sync_to_disk(finished[0][1].parent)
        for written, path in renames:
            os.replace(written, path)


def _kept(finished, error):
    """Keep finished files that could not be published; returns what to say of them."""
    kept = []
    for temporary, path, _ in finished:
        place = path
        if temporary.exists():
            place = path.with_name(f"{path.stem}.kept{temporary.suffixes[-2]}{path.suffix}")
            os.replace(temporary, place)
        kept.append(str(place))
    path = finished[0][1]
    return (
        f"{path} is finished, but it or {sidecar_path(path).name} cannot be written: "
        f"{error.strerror or error}. Samples and labels are kept in {', '.join(kept)}, without the "
        "names of classes and samples: encode again where these are needed."
    )


def _readable(value):
    """A value for JSON with every text in it as `readable` has it."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {_readable(key): _readable(each) for key, each in value.items()}
    return [_readable(each) for each in value] if isinstance(value, (list, tuple)) else value
