"""Class folders: which folders of a tree are classes, on which level, and what is said in ambiguous
cases."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fastneg.config import ConfigError, UnfitError
from fastneg.counts import counted
from fastneg.data.encode.folders import (
    SUFFIXES,
    Listing,
    Tree,
    is_image,
    list_folder,
    walk,
    why_unreadable,
)
from fastneg.data.encode.list_rows import LIST_SUFFIXES
from fastneg.data.errors import BetonError

SPLIT = re.compile(
    r"(train|training|trainval|val|valid|validation|dev|test|testing|eval|evaluation|holdout)"
    r"([-_ .]?(set|split|data|images?|imgs?|\d+))*",
    re.IGNORECASE,
)
"""Folders of a part of a set, not a class of it: train, VAL, test-dev, val2017, test_images."""
GENERIC = frozenset(
    (
        "image", "images", "img", "imgs", "picture", "pictures", "pic", "pics", "photo", "photos",
        "jpg", "jpgs", "jpeg", "jpegs", "png", "pngs", "jpegimages", "data", "dataset", "datasets",
        "file", "files", "frame", "frames", "raw", "input", "inputs", "all",
    )
)  # fmt: skip
"""Words of a folder's name that say what lies in it, and not of which class that is."""
LIST_WORDS = re.compile(r"annot|label|list|truth|target|class|meta|index|gt", re.IGNORECASE)
SHOWN = 5


@dataclass
class ClassFolders:
    """What a folder of class folders holds. Names are relative to it."""

    root: Path
    top: Listing
    images: dict[str, list[str]] = field(default_factory=dict)
    """The images of each folder that has any, in the order of a walk."""
    places: dict[str, set[str]] = field(default_factory=dict)
    """Where they lie: folders relative to the class folder, "" itself."""
    without: list[str] = field(default_factory=list)
    """Folders in which there is no image."""
    unread: list[str] = field(default_factory=list)
    """Names of which no image was found because something there cannot be read."""
    ignored: int = 0
    """Files that are no images by their suffix."""
    tree: Tree = field(default_factory=Tree)


def list_top(root):
    """The `Listing` of a folder; BetonError if it cannot be read."""
    try:
        return list_folder(root)
    except OSError as error:
        raise BetonError(f"{root} cannot be read: {why_unreadable(root, error)}.") from error


def list_whole(root):
    """The `Listing` of a folder all of whose entries can be told; BetonError for any other."""
    top = list_top(root)
    for name, reason in top.failed.items():
        raise BetonError(
            f"{os.path.join(root, name)} cannot be read: {reason}. Make it readable, or remove it."
        )
    return top


def scan(root, top, wanted=None):
    """Look through the folders in `root`.

    Args:
        top: `Listing` of `root`. wanted: names of the folders to look into; None: all.
    Returns:
        `ClassFolders`.
    Raises:
        BetonError: a folder is reached twice, by a link.
    """
    found = ClassFolders(Path(root), top)
    tree = found.tree
    tree.seen[os.path.realpath(root)] = ""
    tree.passed_over += top.passed_over
    tree.odd.update(top.odd)
    # A link that leads nowhere is an image beside the folders by its name, or else may be a folder.
    lost = {name: why for name, why in top.failed.items() if not is_image(name)}
    if wanted is not None:
        lost = {name: why for name, why in lost.items() if name in wanted}
    tree.failed.update(lost)
    for name in top.folders if wanted is None else filter(wanted.__contains__, top.folders):
        _look_through(found, name)
    failed = {name.split("/", 1)[0] for name in tree.failed}
    found.unread = sorted(failed - found.images.keys())
    found.without = [name for name in found.without if name not in failed]
    return found


def _look_through(found, name):
    images, places = [], set()
    for folder, files in walk(found.root, found.tree, name):
        here = [f"{folder}/{file}" for file in files if is_image(file)]
        found.ignored += len(files) - len(here)
        images += here
        if here:
            places.add(folder[len(name) + 1 :])
    if images:
        found.images[name], found.places[name] = images, places
    else:
        found.without.append(name)


def holds_image(folder):
    """Whether an image lies in or below a folder; BetonError if something there cannot be read."""
    tree = Tree()
    found = any(is_image(file) for _, files in walk(folder, tree) for file in files)
    if tree.failed and not found:
        name, reason = next(iter(tree.failed.items()))
        raise BetonError(f"{os.path.join(folder, name)} cannot be read: {reason}.")
    return found


def splits_among(folders):
    """Those of some names that are of parts of a set: train, VAL, test and the like."""
    return [name for name in folders if SPLIT.fullmatch(name)]


def split_words(splits):
    """{train, val} of train-000, train-001 and VAL2017: shards are called so."""
    return {re.sub(r"[-_ .]?\d+$", "", name.casefold()) for name in splits}


def split_folder(source, split):
    """The folder that --split names below the source; in another case, if only one is called so.

    Raises:
        ConfigError: there is none, several differ in case alone, or it leads out of the source.
    """
    parts = Path(split or "").parts
    if Path(split or "").is_absolute() or ".." in parts:
        raise ConfigError(f"--split is {split!r}: a folder below SRC was expected.")
    root = Path(source)
    for part in parts if root.is_dir() else ():
        if not (root / part).is_dir():
            same = [name for name in list_top(root).folders if name.casefold() == part.casefold()]
            if len(same) != 1:
                break
            part = same[0]
        root = root / part
    else:
        if root.is_dir():
            return root
    if Path(source).is_file():
        kind = "a .beton file already" if Path(source).suffix.lower() == ".beton" else "one file"
        raise ConfigError(
            f"SRC is {source}, {kind}: a folder of images, tar archives (.tar), or a list of "
            "images (.csv, .tsv, .txt, .jsonl) was expected."
        )
    beside = sorted(list_top(root).folders) if root.is_dir() else []
    # The source is not there, or a folder that --split names is none of its folders.
    kind = ConfigError if Path(source).is_dir() else UnfitError
    raise kind(
        f"There is no folder {Path(source) / (split or '')}: SRC/<class>/*.jpg was expected, or "
        "SRC/<split>/<class>/*.jpg with --split."
        + (f" {root} holds {some(beside)}." if beside else "")
    )


def takes_as_is(split):
    """Whether --split says, by a last part ".", that the folder's own folders are the classes."""
    return split is not None and split.rstrip("/").rpartition("/")[2] == "."


def as_it_is(split):
    """The option for which `takes_as_is` holds."""
    return f"--split {split.rstrip('/')}/." if split else "--split ."


def refuse_splits(root, top, split):
    """ConfigError if a folder holds parts of a set, whatever lies beside them."""
    if not (splits := splits_among(top.folders)):
        return
    others = len(top.folders) - len(splits)
    within = as_it_is(split).removeprefix("--split ")[:-1]
    raise ConfigError(
        f"{root} holds {some(splits)}"
        + (f" beside {counted(others, 'other folder')}" if others else "")
        + f": give --split to take one of them (--split {within}{splits[0]}), "
        f"or {as_it_is(split)} where they are classes."
    )


def refuse_wrong_level(found, split):
    """What is to be said of the level on which classes were taken to lie: a list of sentences.

    Raises:
        ConfigError: it is very likely another one; the message says what to type instead.
    """
    if len(found.images) == 1:
        return _one_class(found, as_it_is(split))
    if any("" in places for places in found.places.values()):
        return []
    below = {name: _firsts(places) for name, places in found.places.items()}
    several = {name: firsts for name, firsts in below.items() if len(firsts) > 1}
    if not several:  # train/<wnid>/images/*.JPEG, of Tiny-ImageNet
        return []
    shared, times = Counter(name for names in several.values() for name in names).most_common(1)[0]
    shown = [f"{name}/{min(firsts)}" for name, firsts in several.items()]
    told = (
        f"The {counted(len(found.images), 'folder')} of {found.root} contain no images directly, "
        f"only further folders with images ({some(shown)})"
    )
    if 2 * times >= len(below) and times > 1:
        first = found.root / next(name for name, names in several.items() if shared in names)
        raise ConfigError(
            f"{told}, many of which have the same name: which level holds the classes? If it is "
            f"the lower one, encode {first} and the others separately, or a list of paths and "
            f"labels. If it is the upper one, give {as_it_is(split)}."
        )
    return [
        f"{told}: the upper folders are taken as the classes. For other labels, encode a list of "
        "paths and labels."
    ]


def _firsts(places):
    return {place.split("/", 1)[0] for place in places}


def _one_class(found, as_is):
    [(name, places)] = found.places.items()
    common = os.path.commonpath(places) if len(places) > 1 else min(places)
    inner = found.root / name / common if common else found.root / name
    if len(places) > 1 and common not in places:
        below = sorted(_firsts(os.path.relpath(place, common or ".") for place in places))
        splits = splits_among(below)
        raise ConfigError(
            f"All images of {found.root} would be of one class, {name}, but are in "
            f"{counted(len(below), 'folder')} below it ({some(below)}): give {inner} as SRC"
            + (f", with --split {splits[0]}." if splits else ", whose folders are the classes.")
            + f" ({as_is} encodes them as one class.)"
        )
    lists = [file for file in found.top.files if _is_list(file)]
    words = set(re.split(r"[^a-z]+", name.casefold()))
    images = counted(len(found.images[name]), "image")
    told = f"{found.root} holds {images}, all of one class, {name}"
    bare = f"Without labels: fastneg encode {inner} X.beton."
    if lists or words & GENERIC:
        where = (
            f"Their labels seem to be in {some(lists)}: encode that list, "
            f"fastneg encode {found.root / lists[0]} X.beton."
            if lists
            else "With labels: encode a list of paths and labels (a .csv)."
        )
        raise ConfigError(
            f"{told}, which is not a class name. {where} {bare} ({as_is} encodes it as a class.)"
        )
    return [f"{told}. {bare}"]


def _is_list(file):
    stem, suffix = os.path.splitext(file)
    return suffix.lower() in LIST_SUFFIXES and LIST_WORDS.search(stem) is not None


def some(names):
    """The first few of some names, in words."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def no_images(root):
    """The error of a folder in which no image was found."""
    wanted = ", ".join(sorted(SUFFIXES))
    return BetonError(f"{root} holds no images: {root}/<class>/* with {wanted} was expected.")
