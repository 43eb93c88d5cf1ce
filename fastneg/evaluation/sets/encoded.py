"""Folders of test sets as .beton files in RUN/sets/.

So every set takes one road from bytes to tensors.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from fastneg.config import EncodeConfig
from fastneg.counts import counted
from fastneg.data.encode.encode import encode
from fastneg.data.encode.folders import Tree, is_image, walk
from fastneg.data.errors import BetonError
from fastneg.runs.paths import set_path

QUALITY = 100
"""JPEG quality of images that must be encoded again where they are too many for raw pixels."""
LARGEST_LOSSLESS = 1 << 30
"""Bytes of PNGs and the like up to which a set keeps their pixels as they are.

Raw pixels take some two to three times as many.
"""
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe")
STORAGE = "pixels kept"
"""Part of a file's fingerprint.

Files of earlier versions, in which other formats than JPEG lost half of their chroma, are made anew
by it.
"""


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
    """(hash of a folder's files, bytes of those images that are no JPEGs).

    The hash is of their names, sizes and times. One of these is that of the last change of any
    kind, which no copy and no unpacked archive sets back. A BetonError where something there cannot
    be read.
    """
    digest, tree, lossless = hashlib.sha256(f"{STORAGE} ".encode()), Tree(), 0
    digest.update(os.fsencode(Path(root).resolve()))
    for folder, files in walk(root, tree):
        for file in files:
            name = f"{folder}/{file}" if folder else file
            stat = os.stat(os.path.join(root, name))
            told = f"{name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}\n"
            digest.update(os.fsencode(told))
            if is_image(file) and not file.lower().endswith(JPEG_SUFFIXES):
                lossless += stat.st_size
    for name, reason in tree.failed.items():
        where = os.path.join(root, name)
        raise BetonError(f"{where} cannot be read: {reason}. Make it readable, or remove it.")
    return digest.hexdigest()[:16], lossless
