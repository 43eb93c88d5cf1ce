"""A .beton file as a sequence of samples, without copies; the format: format.py."""

from __future__ import annotations

import mmap
import os
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastneg.counts import counted
from fastneg.data.beton.format import HEADER, checksum_field
from fastneg.data.beton.layout import read_layout
from fastneg.data.beton.sidecar import read_sidecar
from fastneg.data.errors import BetonError, NoFileError
from fastneg.data.label_names import label_field

WILL_NEED_BYTES = 1 << 17
"""Linux reads no more of one request than the device's read-ahead or largest transfer, which are
seldom below this."""


class Attributes:
    """What a file and a set of files tell of their samples, with its types.

    Set by `BetonReader` and `BetonSet`, whose docstrings explain them.
    """

    path: str
    files: list[str]
    fields: list[str]
    kinds: dict[str, str]
    image_fields: list[str]
    sizes: NDArray[np.int64]
    raw: NDArray[np.bool_]
    ints: dict[str, NDArray[np.int64]]
    stored_bytes: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    checksums: NDArray[np.int64] | None
    classes: list[str] | None
    names: list[str] | None
    info: dict[str, Any]
    pages: NDArray[np.int64]


class BetonReader(Attributes):
    """Maps a .beton file and returns its samples without copying them.

    A file has one main image field: "image", or the only one. Files with paired textures have a
    second one, "texture"; the methods take its name as `field`.

    The constructor checks everything that can be checked without reading the samples: the layout,
    every pointer, every size. The file must not be shortened while it is mapped: the operating
    system would end the process (SIGBUS).

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
        raw: (len,) bool, True for samples that are raw pixels and not a JPEG.
        ints: {name: (len,) int64} of all int fields.
        stored_bytes: (len,) int64, the size of each sample as stored.
        labels: (len,) int64, the field that `label_field` finds, for example "label" or the only
            int field; or None.
        checksums: (len,) int64, the CRC32 of each sample's bytes as stored, or None if the file
            holds none. Files of earlier versions have them as an int field "crc32", which is then
            also in `fields` and `ints`.
        classes, names: list of str or None: the name of each label, and the source file of each
            sample, from PATH.json.
        info: dict, everything else in PATH.json.
        pages: (len,) int64, the page of the file that holds each sample, counted from 0.
    Raises:
        BetonError: the file is missing, unfinished, truncated, damaged, or not a .beton file; with
            `verify`, a sample fails its checksum or there are no checksums. The methods: no such
            `field`.
    """

    def __init__(self, path: str | os.PathLike[str], verify: bool = False) -> None:
        self.path = os.fspath(path)
        self.files = [self.path]
        self._absolute = os.path.abspath(self.path)
        self._map = self._open()
        self._bytes = np.frombuffer(self._map, np.uint8)
        layout = read_layout(self.path, self._map)
        self.fields, self.kinds = list(layout.kinds), layout.kinds
        self.image_fields, self.ints = layout.image_fields, layout.ints
        self._fields = layout.images
        self._main = self._fields[self.image_fields[0]]
        self.sizes, self.raw = self._main.sizes, self._main.raw
        self.checksums = self._main.checksums
        self.stored_bytes = np.asarray(self._main.stop) - np.asarray(self._main.start)
        self.pages = np.asarray(self._main.start) // layout.page_size
        self.labels = self._find_labels()
        # The records, not the samples: enough to tell whose sidecar a sidecar is.
        self.fingerprint = f"{zlib.crc32(self._bytes[HEADER.itemsize : layout.data_start]):08x}"
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
        """The input of a decoder, (size,) uint8: the JPEG bytes without a copy, or a copy of raw
        pixels after a PNM header."""
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
        """Whether a sample is raw pixels and not a JPEG. `raw` has this for all samples of the main
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
        """A sample's name for messages: its position, its source file if that is known, and the
        file."""
        return f"sample {index}{f' ({self.names[index]})' if self.names else ''} of {self.path}"

    def will_need(self, indices: NDArray[np.int64], field: str | None = None) -> None:
        """Tell the operating system that these samples are needed soon, so that it reads them in
        the background. Neighbouring samples are announced together."""
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
        """Close the file. Returned views stay valid; the mapping ends with the last of them."""
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
        if os.path.isdir(self.path):
            raise NoFileError(
                f"{self.path} is a folder: a .beton file was expected. fastneg encode {self.path} "
                "OUT.beton makes one of a folder of images."
            )
        try:
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < HEADER.itemsize:
                    raise BetonError(
                        f"{self.path} has {counted(size, 'byte')}, a .beton file has at "
                        f"least {HEADER.itemsize}: it is empty or no such file."
                    )
                return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise BetonError(
                f"{self.path} cannot be read as a .beton file: {error.strerror}."
            ) from error

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
