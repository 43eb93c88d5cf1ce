"""Test sets as they lie on disk: .beton files, or folders of classes, which are encoded first."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from pathlib import Path

from fastneg.config import ConfigError, EncodeConfig
from fastneg.counts import counted
from fastneg.data.beton.shards import open_data
from fastneg.data.encode.class_folders import holds_image, list_top, list_whole, some, splits_among
from fastneg.data.encode.encode import encode
from fastneg.data.encode.folders import Tree, is_image, walk
from fastneg.data.errors import BetonError
from fastneg.data.known_classes import numbered_names
from fastneg.evaluation.sets.sessions import find_sessions, session_sources
from fastneg.runs.paths import set_path

QUALITY = 100
"""JPEG quality of images that must be encoded again where they are too many for raw pixels."""
LARGEST_LOSSLESS = 1 << 30
"""Bytes of PNGs and the like up to which a set keeps their pixels as they are: they take some two
to three times as many."""
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe")
STORAGE = "pixels kept"
"""Part of a file's fingerprint: files made before, in which other formats than JPEG lost half of
their chroma, are made anew."""
PREFERRED = ("val", "test")


@contextlib.contextmanager
def open_set(path, run, workers=0, report=print, known=None, classes=None):
    """A reader of what a path names: .beton files (see `open_data`), or a folder
    PATH/<class>/*.jpg.

    A folder is encoded into RUN/sets/ when it is first seen, and again when a file of it changed;
    JPEGs pass through untouched, other formats are kept as raw pixels, or above 1 GiB of them as
    JPEGs of quality 100 and 4:4:4. A folder with model-vs-human's sessions gets the categories in
    its files' names as classes. A folder that holds splits gives its val (or validation, or test),
    and one that holds nothing but another folder of classes gives that.

    Args:
        known: class names of which a folder must hold some, so that a wrong one is not encoded
            first; None: any will do.
        classes: the classifier's class names, by which folders that are numbers are understood.
    Raises:
        ConfigError, BetonError: the path does not exist, or holds something else.
    """
    if Path(path).is_dir():
        if found := find_sessions(path):
            sources = session_sources(*found)
            _refuse_foreign(found[0], set(sources.classes), known, classes)
            path = encoded(found[0], run, workers, report, sources=sources)
        else:
            root = class_root(path, known or ())
            _refuse_foreign(root, set(list_top(root).folders), known, classes)
            path = encoded(root, run, workers, report)
    elif not any(mark in str(path) for mark in "*?[") and not Path(path).exists():
        raise ConfigError(
            f"{path} does not exist: a .beton file, a folder {path}/<class>/*.jpg, ImageNet-C's "
            f"{path}/<corruption>/<1-5>/<class>/, "
            "or CIFAR-10-C's .npy files were expected."
        )
    with open_data(path) as reader:
        yield reader


def class_root(path, known=()):
    """The folder below a path whose sub-folders are classes.

    Args:
        known: names of classes, which are none of splits: there is a class "train", of vehicles.
    Raises:
        ConfigError: which folder is meant cannot be told. BetonError: a folder cannot be read.
    """
    path = Path(path)
    folders = list_whole(path).folders
    if not folders:
        raise ConfigError(f"{path} holds no folders: {path}/<class>/*.jpg was expected.")
    splits = [name for name in splits_among(folders) if name not in known]
    if splits:
        others = [name for name in folders if name not in splits and holds_image(path / name)]
        found = _preferred(splits)
        if others or found is None:
            beside = f" beside {some(others)}" if others else ""
            raise ConfigError(
                f"{path} holds {some(splits)}{beside}: name the folder whose sub-folders are the "
                "classes."
            )
        return path / found
    # As archives are unpacked: imagenet-sketch/sketch/<class>/. Two are enough to know that it is
    # not so.
    full = list(itertools.islice((name for name in folders if holds_image(path / name)), 2))
    if len(full) == 1 and full[0] not in known:
        inner = list_top(path / full[0])
        if inner.folders and not any(map(is_image, inner.files)):
            return class_root(path / full[0], known)
    return path


def _preferred(splits):
    """The one of some splits that is for validation, or else for tests; None where that is not
    one."""
    for kind in PREFERRED:
        fitting = [name for name in splits if name.casefold().startswith(kind)]
        for names in ([name for name in fitting if name.casefold() == kind], fitting):
            if len(names) == 1:
                return names[0]
        if fitting:
            return None
    return None


def _refuse_foreign(root, found, known, classes):
    if (
        known is not None
        and not found & set(known)
        and numbered_names(sorted(found), classes) is None
    ):
        found = sorted(found)
        expected = ", ".join(sorted(known)[:3])
        raise ConfigError(
            f"{root} holds {counted(len(found), 'folder')} "
            f"({', '.join(found[:3])}{', …' if len(found) > 3 else ''}), none of which the "
            f"classifier or --categories names: {root}/<class>/ was expected, such as {expected}, "
            "…"
        )


def encoded(root, run, workers=0, report=print, out=None, subset=None, sources=None):
    """The .beton file of a class folder in RUN/sets/, made if it is not there.

    Args:
        out: another place for it; subset: a file of class names, as in `EncodeConfig`; sources: as
            of `encode`.
    """
    digest, lossless = _survey(root)
    out = out or set_path(run, f"{root.name}-{digest}")
    small = lossless <= LARGEST_LOSSLESS
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            storage = {"lossless": True} if small else {"quality": QUALITY}
            done = encode(
                EncodeConfig(str(root), str(out), ".", subset=subset, workers=workers, **storage),
                sources=sources,
            )
        except BetonError as error:
            raise BetonError(
                f"{error} (As in fastneg encode {root} X.beton --on_error skip; then name X.beton "
                "in its place.)"
            ) from error
        changed = done["images"] - done["passed_through"]
        how = (
            f", {changed} of them "
            f"{'as raw pixels' if small else f'as JPEGs of quality {QUALITY}, 4:4:4'}"
            if changed
            else ""
        )
        report(
            f"{root}: {counted(done['images'], 'image')} encoded into {out} in "
            f"{done['seconds']:.1f} s{how}."
        )
    return out


def _survey(root):
    """(hash of the names, sizes and times of all files of a folder, bytes of those images that are
    no JPEGs); BetonError if something there cannot be read."""
    digest, tree, lossless = hashlib.sha256(f"{STORAGE} ".encode()), Tree(), 0
    digest.update(os.fsencode(Path(root).resolve()))
    for folder, files in walk(root, tree):
        for file in files:
            name = f"{folder}/{file}" if folder else file
            stat = os.stat(os.path.join(root, name))
            digest.update(os.fsencode(f"{name} {stat.st_size} {stat.st_mtime_ns}\n"))
            if is_image(file) and not file.lower().endswith(JPEG_SUFFIXES):
                lossless += stat.st_size
    for name, reason in tree.failed.items():
        where = os.path.join(root, name)
        raise BetonError(f"{where} cannot be read: {reason}. Make it readable, or remove it.")
    return digest.hexdigest()[:16], lossless
