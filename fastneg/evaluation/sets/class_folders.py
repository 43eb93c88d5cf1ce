"""Test sets as folders of classes: PATH/<class>/*.jpg.

A folder is encoded into RUN/sets/ when it is first seen, and again when a file of it changed.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

from fastneg.config import UnfitError
from fastneg.counts import counted
from fastneg.data.beton.shards import open_data
from fastneg.data.encode.class_folders import holds_image, list_top, list_whole, some, splits_among
from fastneg.data.encode.folders import is_image
from fastneg.data.known_classes import numbered_names
from fastneg.evaluation.sets.encoded import encoded
from fastneg.evaluation.sets.labelled import LabelledKind

PREFERRED = ("val", "test")


class ClassFolders(LabelledKind):
    """PATH/<class>/*.jpg.

    JPEGs pass through untouched. Other formats are kept as raw pixels, or above 1 GiB of them as
    JPEGs of quality 100 and 4:4:4. A folder that holds splits gives its val (or validation, or
    test), and one that holds nothing but another folder of classes gives that.
    """

    def holds(self, path):
        return Path(path).is_dir()

    @contextlib.contextmanager
    def open(self, path, run, *, workers=0, report=print, known=None, classes=None):
        root = class_root(path, known or ())
        refuse_foreign(root, set(list_top(root).folders), known, classes)
        with open_data(encoded(root, run, workers, report)) as reader:
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
        raise UnfitError(f"{path} holds no folders: {path}/<class>/*.jpg was expected.")
    splits = [name for name in splits_among(folders) if name not in known]
    if splits:
        others = [name for name in folders if name not in splits and holds_image(path / name)]
        found = _preferred(splits)
        if others or found is None:
            beside = f" beside {some(others)}" if others else ""
            raise UnfitError(
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
    """The one of some splits that is for validation, or else for tests.

    None where there is no such one, or more.
    """
    for kind in PREFERRED:
        fitting = [name for name in splits if name.casefold().startswith(kind)]
        for names in ([name for name in fitting if name.casefold() == kind], fitting):
            if len(names) == 1:
                return names[0]
        if fitting:
            return None
    return None


def refuse_foreign(root, found, known, classes):
    """ConfigError where a set holds no class that the classifier, or --categories, names.

    Args:
        root: of the set.
        found: names of its classes.
        known, classes: as of `SetKind.open`.
    """
    if (
        known is not None
        and not found & set(known)
        and numbered_names(sorted(found), classes) is None
    ):
        found = sorted(found)
        expected = ", ".join(sorted(known)[:3])
        raise UnfitError(
            f"{root} holds {counted(len(found), 'folder')} "
            f"({', '.join(found[:3])}{', …' if len(found) > 3 else ''}), none of which the "
            f"classifier or --categories names: {root}/<class>/ was expected, such as {expected}, "
            "…"
        )
