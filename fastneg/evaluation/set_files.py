"""Test sets as they lie on disk: .beton files, or folders of classes, which are encoded first."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from fastneg.config import ConfigError, EncodeConfig
from fastneg.data.encode import encode
from fastneg.data.errors import BetonError
from fastneg.data.shards import open_data
from fastneg.data.sources import SPLITS, SUFFIXES

QUALITY = 100
"""JPEG quality of images that must be encoded again, such as PNGs."""
PREFERRED = ("val", "validation", "test")


@contextlib.contextmanager
def open_set(path, run, workers=0, report=print, known=None):
    """A reader of what a path names: .beton files (see `open_data`), or a folder PATH/<class>/*.jpg.

    A folder is encoded into RUN/sets/ when it is first seen, and again when a file of it changed; JPEGs pass through untouched, other
    formats become JPEGs of quality 100. A folder that holds splits gives its val (or validation, or test), and one that holds nothing but
    another folder of classes gives that.

    Args:
        known: class names of which a folder must hold some, so that a wrong one is not encoded first; None: any will do.
    Raises:
        ConfigError, BetonError: the path does not exist, or holds something else.
    """
    if Path(path).is_dir():
        root = class_root(path)
        _refuse_foreign(root, known)
        path = encoded(root, run, workers, report)
    elif not any(mark in str(path) for mark in "*?[") and not Path(path).exists():
        raise ConfigError(
            f"{path} does not exist: a .beton file, a folder {path}/<class>/*.jpg, or ImageNet-C's {path}/<corruption>/<1-5>/<class>/ "
            "was expected."
        )
    with open_data(path) as reader:
        yield reader


def class_root(path):
    """The folder below a path whose sub-folders are classes."""
    folders = _folders(path)
    if not folders:
        raise ConfigError(f"{path} holds no folders: {path}/<class>/*.jpg was expected.")
    if folders <= SPLITS:
        found = next((split for split in PREFERRED if split in folders), None)
        if found is None:
            raise ConfigError(f"{path} holds {', '.join(sorted(folders))}: name the folder whose sub-folders are the classes.")
        return Path(path) / found
    if len(folders) == 1:  # as archives are unpacked: imagenet-sketch/sketch/<class>/
        only = Path(path) / folders.pop()
        if _folders(only) and not any(file.suffix.lower() in SUFFIXES for file in only.iterdir()):
            return class_root(only)
    return Path(path)


def _folders(path):
    return {entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith(".")}


def _refuse_foreign(root, known):
    found = sorted(_folders(root))
    if known is not None and not set(found) & set(known):
        some = ", ".join(sorted(known)[:3])
        raise ConfigError(
            f"{root} holds {len(found)} folders ({', '.join(found[:3])}{', …' if len(found) > 3 else ''}), none of which the classifier or "
            f"--categories names: {root}/<class>/ was expected, such as {some}, …"
        )


def encoded(root, run, workers=0, report=print, out=None, subset=None):
    """The .beton file of a class folder in RUN/sets/, made if it is not there.

    Args:
        out: another place for it; subset: a file of class names, as in `EncodeConfig`.
    """
    out = out or Path(run) / "sets" / f"{root.name}-{_fingerprint(root)}.beton"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            done = encode(EncodeConfig(str(root), str(out), subset=subset, quality=QUALITY, workers=workers))
        except BetonError as error:
            raise BetonError(f"{error} (As in fastneg encode {root} X.beton --on_error skip; then name X.beton in its place.)") from error
        report(f"{root}: {done['images']} images encoded into {out} in {done['seconds']:.1f} s.")
    return out


def _fingerprint(root):
    """A hash of the names, sizes and times of all files of a folder."""
    digest = hashlib.sha256(str(Path(root).resolve()).encode())
    for folder, below, files in os.walk(root):
        below.sort()
        for file in sorted(files):
            stat = os.stat(os.path.join(folder, file))
            digest.update(f"{os.path.relpath(os.path.join(folder, file), root)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
