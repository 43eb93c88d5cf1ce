"""What to encode: the images that a command names, and those of them that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fastneg.counts import counted
from fastneg.data.encode.archives import BY_FOLDER, archive_paths, list_archives, read_place
from fastneg.data.encode.class_folders import (
    list_top,
    no_images,
    refuse_splits,
    refuse_wrong_level,
    scan,
    some,
    split_folder,
    split_words,
    splits_among,
    takes_as_is,
)
from fastneg.data.encode.folders import SUFFIXES, is_image, read_file
from fastneg.data.encode.label_texts import classes_of
from fastneg.data.encode.list_rows import LIST_SUFFIXES
from fastneg.data.encode.lists import read_list
from fastneg.data.errors import BetonError
from fastneg.data.file_names import readable
from fastneg.data.known_classes import IMAGENET100
from fastneg.data.remote import RemotePlaces, is_remote
from fastneg.options import ConfigError, UnfitError, nearest, reason_of

LOOSE = "beside the class folders"
IRREGULAR = "that are FIFOs, sockets or devices"


class Sources(NamedTuple):
    classes: list[str] | None
    """The label of a class is its position; None where the images have no classes."""
    names: list[str]
    """What each image is called: its path relative to the source folder, its place in an
    archive."""
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
        self.folder = os.fspath(folder)

    def __call__(self, name):
        return read_file(os.path.join(self.folder, name))


def find_sources(config):
    """What an EncodeConfig names, as `Sources`: class folders, a flat folder, tar archives, or a
    list.

    Raises:
        ConfigError: something does not exist, or an option has no effect on such a source.
        BetonError: there is no image, or an archive or list cannot be read.
    """
    archives = None if Path(config.src).is_dir() else archive_paths(config.src)
    if archives is None and (
        Path(config.src).is_dir() or Path(config.src).suffix.lower() not in LIST_SUFFIXES
    ):
        if config.label_column is not None:
            raise ConfigError(
                f"--label_column is {config.label_column}, which has an effect on lists only."
            )
        sources = find_images(config)
        if config.writer == "ffcv" and sources.labels is None:
            raise ConfigError(
                f"--writer ffcv takes class folders, {config.src} holds none: leave --writer out."
            )
        return sources
    return _told_sources(config, archives)


def _told_sources(config, archives):
    """`Sources` of tar archives, or of a list: their labels are texts."""
    _refuse_without_effect(config, archives)
    if archives:
        told = _of_split(list_archives(archives, SUFFIXES), config)
        names, texts, places = told.names, told.classes, told.places
        read = RemotePlaces() if any(map(is_remote, archives)) else read_place
        ignored, left_out, skipped, lost = told.ignored, told.left_out, (), []
    else:
        told = read_list(config.src, config.label_column, config.split)
        names, texts, places = told.names, told.texts, told.names
        read, ignored, left_out = FolderFiles(Path(config.src).parent), 0, {}
        skipped, lost = told.missing, told.lost
    if skipped and config.on_error == "stop":
        raise BetonError(
            f"Images of {config.src} that are not there: {len(skipped)}; the first is "
            f"{skipped[0]}. Repair the list, or give --on_error skip."
        )
    if not names:
        raise BetonError(
            f"{config.src} holds no images: files with {', '.join(sorted(SUFFIXES))} were expected."
        )
    notes = list(told.notes)
    if texts is None:
        if config.subset is not None:
            raise ConfigError(
                f"--subset has no effect: the images of {config.src} have no classes."
            )
        return Sources(None, names, None, ignored, left_out, places, read, "none", skipped, notes)
    classes, labels, more = classes_of(
        [*texts, *lost], [*names, *skipped], told.labels_from, folders=told.labels_from == BY_FOLDER
    )
    labels = labels[: len(names)]
    notes += more
    if config.subset is not None:
        wanted = _wanted(config.subset)
        _refuse_missing(wanted, classes, config.subset, config.src)
        chosen = [i for i, label in enumerate(labels) if classes[label] in wanted]
        places = places.taken(chosen) if archives else [places[i] for i in chosen]
        kept = [name for name in classes if name in wanted]
        place = {name: label for label, name in enumerate(kept)}
        names, labels = [names[i] for i in chosen], [place[classes[labels[i]]] for i in chosen]
        classes = kept
    if len(set(labels)) == 1 < len(labels):
        notes.append(f"All images are of one class, {classes[labels[0]]}, by {told.labels_from}.")
    return Sources(
        classes, names, labels, ignored, left_out, places, read, told.labels_from, skipped, notes
    )


def _of_split(told, config):
    """The part of what archives hold that --split names, by a folder on the way to each image.

    Raises:
        ConfigError: they hold several parts of a set and --split names none, or what is not there.
    """
    folders = [name.rpartition("/")[0] for name in told.names]
    ways = {folder: folder.casefold().split("/") for folder in set(folders)}
    splits = sorted(splits_among({part for way in ways.values() for part in way}))
    if config.split is None and len(split_words(splits)) > 1:
        raise ConfigError(
            f"{config.src} holds {', '.join(splits)}: give --split to take one of them, or "
            "--split . for all together."
        )
    if config.split is None or takes_as_is(config.split):
        return told
    chosen = [i for i, folder in enumerate(folders) if config.split.casefold() in ways[folder]]
    if not chosen:
        there = f"there are {', '.join(splits)}" if splits else "name those of the split"
        raise ConfigError(
            f"--split is {config.split}, which has no effect on tar archives without a folder of "
            f"that name: {there}."
        )
    classes = None if told.classes is None else [told.classes[i] for i in chosen]
    names = [told.names[i] for i in chosen]
    return told._replace(names=names, classes=classes, places=told.places.taken(chosen))


def _refuse_without_effect(config, archives):
    what = "tar archives" if archives else "a list"
    if archives and config.label_column is not None:
        raise ConfigError(
            f"--label_column is {config.label_column}, which has no effect on {what}: leave it out."
        )
    if config.writer == "ffcv":
        raise ConfigError(f"--writer ffcv takes class folders, SRC is {what}: leave --writer out.")


def find_images(config, labels_matter=True):
    """The images of a folder of classes, or of a folder without any, as `Sources`.

    Args:
        labels_matter: False: the images alone are wanted, whatever level holds the classes.
    Raises:
        ConfigError: a folder, class or list does not exist, or another folder of the tree is meant.
        BetonError: there is no image, or, with on_error "stop", something cannot be read.
    """
    source, root = Path(config.src), split_folder(config.src, config.split)
    top, as_is = list_top(root), takes_as_is(config.split)
    if not as_is:
        refuse_splits(root, top, config.split)
    wanted = None
    if config.subset is not None and top.folders:
        wanted = _subset(config.subset, {readable(name): name for name in top.folders}, top, root)
    elif config.subset is not None:
        raise ConfigError(
            f"--subset has no effect: {root} holds no folders, so its images have no classes."
        )
    found = scan(root, top, wanted)
    skipped = _unread(config, root, found.tree.failed)
    lacking = [] if wanted is None else sorted(wanted - found.images.keys() - {*found.unread})
    if lacking:
        raise UnfitError(
            f"{root} has no images for {len(lacking)} of the {counted(len(wanted), 'class')} of "
            f"--subset {config.subset}: {some(lacking)}. Remove them from the list, or restore "
            "them."
        )
    notes = _left_out_folders(found)
    if config.split is not None and Path(os.path.normpath(source / config.split)) != Path(
        os.path.normpath(root)
    ):
        notes.append(f"--split {config.split}: the folder {root.relative_to(source)} is taken.")
    if found.images and labels_matter and not as_is and wanted is None:
        notes += refuse_wrong_level(found, config.split)
    return _folder_images(config, source, root, found, skipped, notes)


def _folder_images(config, source, root, found, skipped, notes):
    prefix = "" if root == source else f"{root.relative_to(source).as_posix()}/"
    loose = [file for file in found.top.files if is_image(file)]
    ignored = found.ignored + len(found.top.files) - len(loose)
    odd = {name: kind for name, kind in found.tree.odd.items() if is_image(name.rpartition("/")[2])}
    ignored += len(found.tree.odd) - len(odd)
    notes += [f"{prefix}{name} is {kind}, no image: it is left out." for name, kind in odd.items()]
    left_out = {IRREGULAR: len(odd)} if odd else {}
    read = FolderFiles(source)
    lost = {name: why for name, why in found.top.failed.items() if is_image(name)}
    if not found.images:
        skipped += _unread(config, root, lost)
        names = [prefix + name for name in loose]
        if not names:
            raise no_images(root)
        skipped = [prefix + each for each in skipped]
        return Sources(None, names, None, ignored, left_out, names, read, "none", skipped, notes)
    if loose or lost:
        left_out = {LOOSE: len(loose) + len(lost), **left_out}
    # A class that could not be read keeps its place: the labels of the others stay what they are.
    classes = sorted([*found.images, *found.unread])
    names, labels = [], []
    for label, name in enumerate(classes):
        images = [prefix + image for image in found.images.get(name, ())]
        names += images
        labels += [label] * len(images)
    skipped = [prefix + each for each in skipped]
    classes = [readable(name) for name in classes]
    return Sources(
        classes, names, labels, ignored, left_out, names, read, "folders", skipped, notes
    )


def _unread(config, root, failed):
    """What cannot be read as "NAME: reason"; BetonError with on_error "stop"."""
    if failed and getattr(config, "on_error", "skip") == "stop":
        shown = [f"{root / name} cannot be read: {reason}" for name, reason in failed.items()]
        raise BetonError(
            f"{some(shown)}. Images would be missing and labels wrong: make it readable or remove "
            "it, or give --on_error skip."
        )
    return [f"{name}: {reason}" for name, reason in failed.items()]


def _left_out_folders(found):
    """Sentences about the folders that are no classes."""
    notes = []
    if found.without and found.images:
        notes.append(f"No classes, for there is no image in them: {some(found.without)}.")
    if found.tree.passed_over:
        notes.append(f"Not looked into, hidden or a system's: {some(found.tree.passed_over)}.")
    return notes


def _subset(subset, folders, top, root):
    """The names of the folders that --subset wants, of those of {what it is called: folder}."""
    wanted = _wanted(subset)
    known = {**folders, **{readable(name): name for name in top.failed}}
    _refuse_missing(wanted, known.keys(), subset, root)
    return {known[name] for name in wanted}


def _wanted(subset):
    """The names of the classes that --subset names."""
    if subset == "imagenet100":
        return set(IMAGENET100)
    if not Path(subset).is_file():
        raise ConfigError(
            f"--subset is {subset!r}: imagenet100, or a text file of class names, was expected"
            f"{nearest(subset, ['imagenet100'])}"
        )
    try:
        lines = Path(subset).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--subset {subset} cannot be read ({reason_of(error)}): a text file of class names "
            "was expected."
        ) from None
    if not (wanted := set(filter(None, map(str.strip, lines)))):
        raise ConfigError(f"--subset {subset} names no class: a class name a line was expected.")
    return wanted


def _refuse_missing(wanted, found, subset, where):
    if missing := sorted(wanted - set(found)):
        raise ConfigError(
            f"{where} lacks {len(missing)} of the {counted(len(wanted), 'class')} of --subset "
            f"{subset}: {', '.join(missing[:5])} …"
        )


def refuse_or_skip(config, name, reason, skipped):
    """BetonError with on_error "stop"; else the image is added to the list of those skipped."""
    if config.on_error == "stop":
        where = Path(config.src) / name if Path(config.src).is_dir() else f"{name} of {config.src}"
        raise BetonError(
            f"{where} cannot be used: {reason}. Repair or remove it, or give --on_error skip."
        )
    skipped.append(f"{name}: {reason}")


def read_class_names(path, classes):
    """{class: what people call it} of a text file with a line "CLASS name" for each class, as
    ImageNet's LOC_synset_mapping.txt.

    Raises:
        ConfigError: the file cannot be read, or lacks a class.
    """
    if classes is None:
        raise ConfigError("--class_names has no effect: the images have no classes.")
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--class_names {path} cannot be read ({reason_of(error)}): a text file of lines "
            "'CLASS name' was expected."
        ) from None
    names = {
        line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1]
        for line in lines
        if len(line.split(maxsplit=1)) == 2
    }
    if missing := [name for name in classes if name not in names]:
        raise ConfigError(
            f"--class_names {path} lacks {len(missing)} of {counted(len(classes), 'class')}: "
            f"{', '.join(missing[:5])} …"
        )
    return {name: names[name] for name in classes}
