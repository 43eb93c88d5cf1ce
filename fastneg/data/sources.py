"""What to encode: the images that a command names, and what becomes of those that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fastneg.config import ConfigError
from fastneg.data.archives import archive_paths, list_archives, read_place
from fastneg.data.beton import BetonError
from fastneg.data.folders import SUFFIXES, read_file
from fastneg.data.listing import list_csv
from fastneg.data.subsets import IMAGENET100

SPLITS = frozenset(("train", "val", "validation", "test"))
LOOSE = "beside the class folders"
LARGEST_NUMBERED = 1 << 20  # numbers above it are names, not labels


class Sources(NamedTuple):
    classes: list[str] | None
    """The label of a class is its position; None where the images have no classes."""
    names: list[str]
    """What each image is called: its path relative to the source folder, its place in an archive."""
    labels: list[int] | None
    ignored: int
    """Files that are no images by their suffix."""
    left_out: dict[str, int]
    """Images that are not taken, counted by the reason."""
    places: Sequence
    """Where each image is; what `read` takes."""
    read: Callable[[object], bytes]
    """The file's bytes by its place; picklable, and small: it goes to every worker."""
    labels_from: str = "none"
    """Where the labels came from, in a word or two for the summary: folders, shards, list; none."""
    skipped: Sequence[str] = ()
    """What could not be read while the images were looked for, "NAME: reason" (--on_error skip)."""
    notes: Sequence[str] = ()
    """Sentences about what was found that a person should read before the work starts."""


class FolderFiles:
    """Reads files below a folder by name. Picklable."""

    def __init__(self, folder):
        self._folder = os.fspath(folder)

    def __call__(self, name):
        return read_file(os.path.join(self._folder, name))


def find_sources(config):
    """What an EncodeConfig names, as `Sources`: class folders, a flat folder, tar archives, or a CSV file.

    Raises:
        ConfigError: something that does not exist, or an option that has no effect on such a source. BetonError: no image there, or an
        archive or list that cannot be read.
    """
    archives = None if Path(config.src).is_dir() else archive_paths(config.src)
    if archives is None and (Path(config.src).is_dir() or Path(config.src).suffix.lower() != ".csv"):
        sources = find_images(config)
        if config.writer == "ffcv" and sources.labels is None:
            raise ConfigError(f"--writer ffcv takes class folders, {config.src} holds none: leave --writer out.")
        return sources
    what = "tar archives" if archives else "a CSV file"
    if config.split is not None:
        raise ConfigError(f"--split is {config.split}, which has no effect on {what}: name those of the split.")
    if config.writer == "ffcv":
        raise ConfigError(f"--writer ffcv takes class folders, SRC is {what}: leave --writer out.")
    if archives:
        names, told, places, ignored, left_out = list_archives(archives, SUFFIXES)
        read = read_place
    else:
        names, told = list_csv(config.src)
        places, ignored, left_out, read = names, 0, {}, FolderFiles(Path(config.src).parent)
    if not names:
        raise BetonError(f"{config.src} holds no images: files with {', '.join(sorted(SUFFIXES))} were looked for.")
    if told is None:
        if config.subset is not None:
            raise ConfigError(f"--subset has no effect: the images of {config.src} have no classes.")
        return Sources(None, names, None, ignored, left_out, places, read)
    classes = _class_names(set(told))
    if config.subset is not None:
        wanted = _subset(config.subset, set(classes), config.src)
        chosen = [i for i, name in enumerate(told) if name in wanted]
        places = places.taken(chosen) if archives else [places[i] for i in chosen]
        names, told, classes = [names[i] for i in chosen], [told[i] for i in chosen], [name for name in classes if name in wanted]
    position = {name: number for number, name in enumerate(classes)}
    return Sources(classes, names, [position[name] for name in told], ignored, left_out, places, read)


def _class_names(found):
    """The classes in the order of their labels: numbers keep their value, 0 to the largest; names are sorted."""
    if all(name.isascii() and name.isdigit() and str(int(name)) == name for name in found):
        largest = max(map(int, found))
        if largest < LARGEST_NUMBERED:
            return [str(number) for number in range(largest + 1)]
    return sorted(found)


def find_images(config):
    """The images of a folder of classes, or of a folder without any, as `Sources`.

    Raises:
        ConfigError: a folder, class or list that does not exist. BetonError: no image there.
    """
    source = Path(config.src)
    root = source / (config.split or "")
    if not root.is_dir():
        raise ConfigError(f"There is no folder {root}: SRC/<class>/*.jpg was expected, or SRC/<split>/<class>/*.jpg with --split.")
    folders = {entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")}
    if folders and folders <= SPLITS and config.split is None:
        raise ConfigError(f"{root} holds {', '.join(sorted(folders))}: give --split to take one of them.")
    if not folders:
        return _flat(config, source, root)
    classes = sorted(folders if config.subset is None else _subset(config.subset, folders, root))
    names, labels, seen = [], [], {}
    beside = [entry.name for entry in os.scandir(root) if not entry.is_dir()]
    loose = sum(map(_is_image, beside))
    ignored = len(beside) - loose
    for label, name in enumerate(classes):
        for folder, below, files in os.walk(root / name, followlinks=True):
            below.sort()
            real = os.path.realpath(folder)
            if real in seen:  # links could lead round in a circle
                raise BetonError(f"{folder} is the same folder as {seen[real]}, by a link: its images would come twice. Remove the link.")
            seen[real] = folder
            prefix = os.path.relpath(folder, source)
            images = [f"{prefix}/{file}" for file in sorted(files) if _is_image(file)]
            ignored += len(files) - len(images)
            names += images
            labels += [label] * len(images)
    if not names:
        raise BetonError(f"{root} holds no images: {root}/<class>/* with {', '.join(sorted(SUFFIXES))} was looked for.")
    return Sources(classes, names, labels, ignored, {LOOSE: loose} if loose else {}, names, FolderFiles(source))


def _is_image(file):
    return not file.startswith(".") and os.path.splitext(file)[1].lower() in SUFFIXES


def _flat(config, source, root):
    if config.subset is not None:
        raise ConfigError(f"--subset has no effect: {root} holds no folders, so its images have no classes.")
    files = sorted(entry.name for entry in os.scandir(root) if entry.is_file())
    names = list(filter(_is_image, files))
    if not names:
        raise BetonError(f"{root} holds no images: {root}/<class>/* with {', '.join(sorted(SUFFIXES))} was looked for.")
    ignored, names = len(files) - len(names), [(root / name).relative_to(source).as_posix() for name in names]
    return Sources(None, names, None, ignored, {}, names, FolderFiles(source))


def _subset(subset, folders, root):
    if subset == "imagenet100":
        wanted = set(IMAGENET100)
    elif Path(subset).is_file():
        wanted = set(filter(None, map(str.strip, Path(subset).read_text(encoding="utf-8").splitlines())))
    else:
        raise ConfigError(f"--subset is {subset!r}: imagenet100, or a text file of class names, one a line, was expected.")
    if missing := sorted(wanted - folders):
        raise ConfigError(f"{root} lacks {len(missing)} of the {len(wanted)} classes of --subset {subset}: {', '.join(missing[:5])} …")
    return wanted


def refuse_or_skip(config, name, reason, skipped):
    if config.on_error == "stop":
        where = Path(config.src) / name if Path(config.src).is_dir() else f"{name} of {config.src}"
        raise BetonError(f"{where} cannot be used: {reason}. Repair or remove it, or give --on_error skip.")
    skipped.append(f"{name}: {reason}")


def read_class_names(path, classes):
    """{class: what people call it} of a text file with a line "CLASS name" for each class, as ImageNet's LOC_synset_mapping.txt.

    Raises:
        ConfigError: the file cannot be read, or lacks a class.
    """
    if classes is None:
        raise ConfigError("--class_names has no effect: the images have no classes.")
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--class_names {path} cannot be read ({error}): a text file of lines 'CLASS name' was expected.") from None
    names = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in lines if len(line.split(maxsplit=1)) == 2}
    if missing := [name for name in classes if name not in names]:
        raise ConfigError(f"--class_names {path} lacks {len(missing)} of {len(classes)} classes: {', '.join(missing[:5])} …")
    return {name: names[name] for name in classes}
