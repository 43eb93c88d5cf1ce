"""What to encode: the images that a command names, and what becomes of those that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from fastneg.config import ConfigError
from fastneg.data.beton import BetonError
from fastneg.data.subsets import IMAGENET100

SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))
SPLITS = frozenset(("train", "val", "validation", "test"))


class Sources(NamedTuple):
    classes: list[str]
    """Sorted; the label of a class is its position."""
    names: list[str]
    """Paths relative to the source folder, sorted by class and path."""
    labels: list[int]
    ignored: int
    """Files that are no images by their suffix."""


def find_images(config):
    """The images that an EncodeConfig names, as `Sources`.

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
    classes = sorted(folders if config.subset is None else _subset(config.subset, folders, root))
    names, labels, ignored = [], [], 0
    for label, name in enumerate(classes):
        for folder, below, files in os.walk(root / name):
            below.sort()
            for file in sorted(files):
                if file.startswith(".") or Path(file).suffix.lower() not in SUFFIXES:
                    ignored += 1
                    continue
                names.append((Path(folder) / file).relative_to(source).as_posix())
                labels.append(label)
    if not names:
        raise BetonError(f"{root} holds no images: {root}/<class>/* with {', '.join(sorted(SUFFIXES))} was looked for.")
    return Sources(classes, names, labels, ignored)


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
        raise BetonError(f"{Path(config.src) / name} cannot be used: {reason}. Repair or remove it, or give --on_error skip.")
    skipped.append(f"{name}: {reason}")
