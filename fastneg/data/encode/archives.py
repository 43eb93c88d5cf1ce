"""Images in tar archives, such as WebDataset shards: finds the offset of each, so that it can be
read in place."""

from __future__ import annotations

import itertools
import os
import sys
import tarfile
from array import array
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from fastneg.config import ConfigError, UnfitError
from fastneg.data.encode.companions import COMPANIONS, Companions
from fastneg.data.errors import BetonError
from fastneg.data.file_names import split_names, twice
from fastneg.data.remote import open_source

BY_FOLDER = "the folders in the archives"
OTHER_IMAGES = "other images of a sample"


class TarPlaces:
    """Where images lie, as a sequence of (path of the archive, offset, bytes).

    Kept in arrays: there may be millions.
    """

    def __init__(self, paths):
        self._paths, self._columns = (
            [str(path) for path in paths],
            (array("q"), array("q"), array("q")),
        )

    def append(self, archive, offset, size):
        """Add the place of an image in the archive of that number."""
        for column, value in zip(self._columns, (archive, offset, size), strict=True):
            column.append(value)

    def __len__(self):
        return len(self._columns[0])

    def __getitem__(self, index):
        archive, offset, size = (column[index] for column in self._columns)
        return self._paths[archive], offset, size

    def taken(self, indices):
        """Those at some indices only."""
        chosen = TarPlaces(self._paths)
        chosen._columns = tuple(
            array("q", np.asarray(column)[indices].tolist()) for column in self._columns
        )
        return chosen


def read_place(place):
    """The bytes of a `TarPlaces` place in a local archive."""
    path, offset, size = place
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        data = file.read(size)
        while len(data) < size and (more := file.read(size - len(data))):
            data += more
    return data


def archive_paths(text):
    """The archives that SRC names, one, a comma list, a glob or a range; None where it names none.

    Raises:
        ConfigError: a compressed archive, which cannot be read in place; a pattern that fits
            nothing; an archive named twice.
    """
    parts = [(part, paths) for part, paths in split_names(text) if part]
    if not any(
        Path(part).suffix == ".tar" or ".tar." in Path(part).name or Path(part).suffix == ".tgz"
        for part, _ in parts
    ):
        return None
    found = []
    for part, paths in parts:
        if Path(part).suffix != ".tar":
            raise ConfigError(
                f"{part} is no plain .tar: a compressed archive cannot be read in place. Unpack "
                "it first (gunzip)."
            )
        if not paths:
            raise UnfitError(f"No file fits {part}: tar archives were expected there.")
        found += paths
    if (doubled := twice(found)) is not None:
        raise ConfigError(f"SRC names {doubled} twice.")
    return found


class Archived(NamedTuple):
    names: list[str]
    """In the order of the archives."""
    classes: list[str] | None
    """The class of each as text; None where no image has one."""
    places: TarPlaces
    ignored: int
    """Other files."""
    left_out: dict[str, int]
    """Why images were left out: how many."""
    labels_from: str = "none"
    notes: Sequence[str] = ()
    """Sentences for a person."""


def list_archives(paths, suffixes):
    """What some archives hold, as `Archived`.

    The class of an image is what its WebDataset companion says: KEY.cls, or a field of KEY.json
    that is called label, cls, class, target or the like. KEY is the image's name up to the first
    dot. Without companions the class is the folder that the image lies in. Unless folders tell the
    class, a key is one sample: of several images the one with a single suffix is taken.

    Args:
        suffixes: those of images.
    Raises:
        BetonError: an archive cannot be read, a name comes twice, a key has several images of which
            none or several have a single suffix, or some images have a class and others none.
    """
    names, folders, places, companions, ignored = [], [], TarPlaces(paths), Companions(), 0
    for number, (path, prefix) in enumerate(zip(paths, _prefixes(paths), strict=True)):
        for member, name, suffix, data in _members(path):
            where = prefix + name
            if suffix in suffixes:
                places.append(number, member.offset_data, member.size)
                names.append(where)
                folders.append(sys.intern(name.rpartition("/")[0].rpartition("/")[2]))
            elif data is None:
                ignored += 1
                companions.unread(suffix)
            else:
                companions.add(_key(where), suffix, data, f"{path}: {name}")
    # the names of a key, which share what stands before a dot, are neighbours
    order = sorted(range(len(names)), key=names.__getitem__)
    for one, other in itertools.pairwise(order):
        if names[one] == names[other]:
            raise BetonError(
                f"{places[other][0]} holds {names[other]} twice: each sample needs a name of its "
                "own."
            )
    told = companions.labels(map(_key, names))
    keys = (key for key, _ in itertools.groupby(order, key=lambda i: _key(names[i])))
    ignored += len(companions) - sum(key in companions for key in keys)
    by_folder = not any(told) and any(folders)
    classes, left_out = folders if by_folder else told, {}
    if not by_folder:
        taken = _one_of_each_key(names, order)
        if len(taken) < len(names):
            left_out[OTHER_IMAGES] = len(names) - len(taken)
            names, places = [names[i] for i in taken], places.taken(taken)
            classes = [classes[i] for i in taken] if classes else []
    if any(classes) and not all(classes):
        odd = names[next(i for i, name in enumerate(classes) if not name)]
        raise BetonError(
            f"{odd} has no class, but {sum(map(bool, classes))} other images have one: a "
            "companion .cls or .json, or a class folder, was expected for each image."
        )
    classes = classes if any(classes) else None
    source = BY_FOLDER if by_folder else companions.source() or "none"
    return Archived(names, classes, places, ignored, left_out, source, companions.notes(by_folder))


def _one_of_each_key(names, order):
    """Indices, ascending, of the image that stands for each key; `order` sorts the names."""
    taken, single = [], lambda i: names[i].rpartition("/")[2].count(".") == 1
    for key, group in itertools.groupby(order, key=lambda i: _key(names[i])):
        group = list(group)
        if len(chosen := group if len(group) == 1 else list(filter(single, group))) != 1:
            raise BetonError(
                f"{names[group[0]]} and {names[group[1]]} are images of one sample, {key} (the "
                "name up to its first dot, as in WebDataset): exactly one with a single suffix, "
                "KEY.jpg, was expected. Rename them, or unpack the archive."
            )
        taken += chosen
    if len(taken) < len(names) and (odd := [i for i in taken if not single(i)]):
        raise BetonError(
            f"{names[odd[0]]} is the only image of its sample, while other samples also have an "
            "image with a single suffix (KEY.jpg): it is not clear whether it is the right image. "
            "Rename it, or take it out of the archive."
        )
    return sorted(taken)


def _prefixes(paths):
    """What the names in each archive begin with, so that they differ: nothing, its name, or as much
    of its path as they do not share."""
    if len(paths) == 1:
        return [""]
    stems = [Path(path).stem for path in paths]
    if len(set(stems)) < len(stems):
        whole = [os.path.abspath(path) for path in paths]
        shared = os.path.commonpath([os.path.dirname(path) for path in whole])
        stems = [Path(os.path.relpath(path, shared)).with_suffix("").as_posix() for path in whole]
    return [f"{stem}/" for stem in stems]


def _members(path):
    try:
        with open_source(path) as source, tarfile.open(fileobj=source, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # it would keep all of them, a kilobyte each
                name = PurePosixPath(member.name).as_posix().removeprefix("./")
                if member.islnk() or member.issym() or member.issparse():
                    raise BetonError(
                        f"{path} holds {name} as a link or a sparse file, which cannot be read in "
                        "place: pack plain files."
                    )
                if member.isreg() and not PurePosixPath(name).name.startswith("."):
                    suffix = PurePosixPath(name).suffix.lower()
                    yield (
                        member,
                        name,
                        suffix,
                        archive.extractfile(member).read() if suffix in COMPANIONS else None,
                    )
            # tarfile takes a damaged header, and an archive cut between two members, for the end of
            # the archive.
            source.seek(archive.offset)
            rest = source.read(tarfile.BLOCKSIZE)
            whole = len(rest) == tarfile.BLOCKSIZE and not any(rest)
            while whole and (rest := source.read(1 << 20)):
                whole = not any(rest)
        if not whole:
            raise BetonError(
                f"{path} is damaged or cut at byte {archive.offset}: a member or the zeros that "
                "end an archive were expected."
            )
    except (OSError, tarfile.TarError, EOFError, ValueError) as error:
        raise BetonError(
            f"{path} cannot be read as a tar archive: {error or type(error).__name__}."
        ) from error


def _key(name):
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.split(".", 1)[0]
