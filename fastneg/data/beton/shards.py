"""Several .beton files as one data set, with the interface of `BetonReader`."""

from __future__ import annotations

import bisect
import os
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastneg.counts import counted
from fastneg.data.beton.format import TEXTURE_FIELD, checksum_field
from fastneg.data.beton.local_copy import local_copy
from fastneg.data.beton.reader import Attributes, BetonReader
from fastneg.data.errors import BetonError, NoFileError
from fastneg.data.file_names import split_names, twice
from fastneg.data.remote import is_remote


def open_data(
    spec: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    verify: bool = False,
    cache_dir: str = "",
) -> BetonReader | BetonSet:
    """Open a data set: a `BetonReader` for one file, a `BetonSet` for several.

    Args:
        spec: a path, a list of paths, or a comma list of paths, globs ("in1k-*.beton") and ranges
            ("in1k-{00..15}.beton"); the files of a glob are sorted by name. URLs (s3://, gs://,
            hf://, https://) are copied first, see `fastneg.data.beton.local_copy`.
        verify: compare every sample with its checksum, as in `BetonReader`.
        cache_dir: the folder for these copies, as in `fastneg.data.beton.local_copy.cache_folder`.
    Raises:
        BetonError: a glob finds nothing, a file is named twice or cannot be read, or the files do
            not belong together.
    """
    spec = text_of(spec)
    files = local_files(spec, cache_dir)
    return BetonReader(files[0], verify) if len(files) == 1 else BetonSet(files, verify, spec)


def text_of(spec: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> str:
    """A path, or several as one text with commas between them."""
    several = isinstance(spec, (list, tuple))
    return ",".join(map(os.fspath, spec)) if several else os.fspath(spec)


def local_files(spec, cache_dir="", checked=True):
    """As `named_files`; of what is a URL the path of its local copy, as of `local_copy`."""
    return [
        local_copy(file, cache_dir, checked) if is_remote(file) else file
        for file in named_files(spec)
    ]


def named_files(spec):
    """The paths in a comma list of paths, globs and ranges (see `split_names`); a text that is the
    path of a file is taken as it is."""
    spec = os.fspath(spec)
    if os.path.exists(spec):
        return [spec]
    files = []
    for part, found in split_names(spec):
        # no sidecars
        found = [
            file
            for file in found
            if file.removesuffix(".json") == file or file.removesuffix(".json") not in found
        ]
        if not part:
            raise NoFileError(f"{spec!r} names files, but a part of it is empty.")
        if not found:
            raise BetonError(f"{spec!r} names files, but {part} matches none.")
        files += found
    if (doubled := twice(files)) is not None:
        raise NoFileError(f"{spec!r} names {doubled} twice: each file may occur once.")
    return files


class BetonSet(Attributes):
    """Several .beton files, one after the other, as one data set; samples are handed out without
    copying them.

    Where the files name different classes, their labels are joined by name: `classes` is the sorted
    union, and a sample's label its place there. Files that all name the same classes in the same
    order keep their labels.

    Args:
        files: paths, two or more; the samples keep this order.
        verify: compare every sample with its checksum.
        path: how to call the whole in messages; default the paths, joined by commas.
    Attributes:
        readers: list of the `BetonReader`s of the files.
        The others as of `BetonReader`, over all samples; `checksums` are None where one of the
        files holds none, `names` holds "" for samples of a file that names none, `pages` counts on
        from file to file, `ints` are as stored, `info` is {path: the file's info}.
    Raises:
        BetonError: a file cannot be read, or the files do not belong together: other fields, class
            names in only some of them.
    """

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]],
        verify: bool = False,
        path: str | None = None,
    ) -> None:
        self.files = [os.fspath(file) for file in files]
        self.path = path or ",".join(self.files)
        self.readers = [BetonReader(file, verify) for file in self.files]
        first = self.readers[0]
        for reader in self.readers[1:]:
            self._refuse_other_fields(first, reader)
        # Files of earlier versions hold their checksums as fields: not one of the data set where
        # another file has none of it.
        self.fields = [
            name for name in first.fields if all(name in reader.fields for reader in self.readers)
        ]
        self.kinds = {name: first.kinds[name] for name in self.fields}
        self.image_fields = first.image_fields
        self._first = np.cumsum([0, *map(len, self.readers)]).tolist()
        readers = self.readers
        self._sizes = {
            field: np.concatenate([reader.sizes_of(field) for reader in readers])
            for field in self.image_fields
        }
        self._checksums = {}
        for field in self.image_fields:
            found = [reader.checksums_of(field) for reader in readers]
            self._checksums[field] = (
                None if any(each is None for each in found) else np.concatenate(found)
            )
        self.sizes, self.checksums = (
            self._sizes[self.image_fields[0]],
            self._checksums[self.image_fields[0]],
        )
        self.stored_bytes = np.concatenate([reader.stored_bytes for reader in readers])
        self.raw = np.concatenate([reader.raw for reader in readers])
        self.ints = {
            name: np.concatenate([reader.ints[name] for reader in readers])
            for name in first.ints
            if name in self.fields
        }
        pages_before = np.cumsum([0, *(reader.pages.max() + 1 for reader in readers)])
        self.pages = np.concatenate(
            [reader.pages + before for reader, before in zip(readers, pages_before, strict=False)]
        )
        self.classes, self.labels = self._join_classes()
        named = any(reader.names for reader in readers)
        self.names = (
            [name for reader in readers for name in reader.names or [""] * len(reader)]
            if named
            else None
        )
        self.info = {reader.path: reader.info for reader in readers}
        self.fingerprint = (
            f"{zlib.crc32(' '.join(reader.fingerprint for reader in readers).encode()):08x}"
        )

    def __len__(self) -> int:
        return self._first[-1]

    def place(self, index: int) -> tuple[BetonReader, int]:
        """(`BetonReader`, position in its file) of a sample."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index}: {self.path} holds {len(self)}, counted from 0.")
        number = bisect.bisect_right(self._first, index) - 1
        return self.readers[number], index - self._first[number]

    def stored(self, index: int, field: str | None = None) -> NDArray[np.uint8]:
        """As `BetonReader.stored`."""
        reader, index = self.place(index)
        return reader.stored(index, field)

    def jpeg(self, index: int, field: str | None = None) -> NDArray[np.uint8]:
        """As `BetonReader.jpeg`."""
        reader, index = self.place(index)
        return reader.jpeg(index, field)

    def encoded(self, index: int, field: str | None = None) -> NDArray[np.uint8]:
        """As `BetonReader.encoded`."""
        reader, index = self.place(index)
        return reader.encoded(index, field)

    def is_raw(self, index: int, field: str | None = None) -> bool:
        """As `BetonReader.is_raw`."""
        reader, index = self.place(index)
        return reader.is_raw(index, field)

    def sizes_of(self, field: str) -> NDArray[np.int64]:
        """As `BetonReader.sizes_of`."""
        return self._column(self._sizes, field)

    def checksums_of(self, field: str) -> NDArray[np.int64] | None:
        """As `BetonReader.checksums_of`."""
        return self._column(self._checksums, field)

    def matches_checksum(self, index: int, field: str | None = None) -> bool:
        """As `BetonReader.matches_checksum`."""
        reader, index = self.place(index)
        return reader.matches_checksum(index, field)

    def describe(self, index: int) -> str:
        """How to name a sample in a message: its position, and its position, source file and name
        of its file."""
        reader, local = self.place(index)
        return f"sample {index}, {reader.describe(local)}"

    def will_need(self, indices: NDArray[np.int64], field: str | None = None) -> None:
        """As `BetonReader.will_need`."""
        indices = np.asarray(indices)
        numbers = np.searchsorted(self._first, indices, side="right") - 1
        for number in np.unique(numbers):
            self.readers[number].will_need(indices[numbers == number] - self._first[number], field)

    def close(self) -> None:
        """Let go of the files; views that were handed out stay valid."""
        for reader in self.readers:
            reader.close()

    def __enter__(self) -> BetonSet:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self):
        return type(self), ([os.path.abspath(file) for file in self.files], False, self.path)

    def _column(self, columns, field):
        if field not in columns:
            raise BetonError(
                f"{self.path} has no image field {field!r}; its image fields: "
                f"{', '.join(self.image_fields)}."
            )
        return columns[field]

    def _refuse_other_fields(self, one, other):
        fields = [_kinds(reader) for reader in (one, other)]
        if fields[0] != fields[1]:
            told = [
                ", ".join(f"{name} ({kind})" for name, kind in sorted(each.items()))
                for each in fields
            ]
            raise BetonError(
                f"{one.path} holds the fields {told[0]}; {other.path} holds {told[1]}: files of "
                "one data set hold the same fields. Encode them in the same way."
            )

    def _join_classes(self):
        """(classes, labels) of all files."""
        lists, labels = (
            [reader.classes for reader in self.readers],
            [reader.labels for reader in self.readers],
        )
        same = all(each == lists[0] for each in lists)
        if labels[0] is None:
            return (lists[0] if same else None), None
        if same:
            return lists[0], np.concatenate(labels)
        if TEXTURE_FIELD in self.ints:
            raise BetonError(
                f"{self.path}: the files name different classes and have an int field "
                f"{TEXTURE_FIELD}, which numbers classes too: they cannot be joined by name. "
                "Encode them with one list of classes."
            )
        for reader, each, own in zip(self.readers, lists, labels, strict=True):
            if each is None:
                named = next(other.path for other in self.readers if other.classes is not None)
                raise BetonError(
                    f"{named}.json names classes, {reader.path} has none: their labels cannot be "
                    "joined. Restore its .json."
                )
            if len(set(each)) < len(each) or own.min() < 0 or own.max() >= len(each):
                raise BetonError(
                    f"{reader.path} has labels from {own.min()} to {own.max()}, {len(set(each))} "
                    f"different names in {counted(len(each), 'class')}: "
                    "they cannot be joined by name with the classes of the other files."
                )
        classes = sorted(set().union(*lists))
        place = {name: label for label, name in enumerate(classes)}
        joined = [
            np.array([place[name] for name in each], np.int64)[own]
            for each, own in zip(lists, labels, strict=True)
        ]
        return classes, np.concatenate(joined)


def _kinds(reader):
    """{field: what it holds} of a file, without the int fields in which earlier versions kept
    checksums."""
    checksums = {checksum_field(name, reader.image_fields[0]) for name in reader.image_fields}
    return {name: kind for name, kind in reader.kinds.items() if name not in checksums}
