"""Checks before the first image is encoded, so that hours of work do not fail at the end."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from fastneg.data.beton.sidecar import sidecar_path
from fastneg.data.encode.folders import why_no_file, why_unreadable
from fastneg.data.errors import BetonError
from fastneg.data.jpeg import BEGINNING
from fastneg.files import temporary_file

SAMPLED = 256  # images of which the size is looked up, for an estimate of the whole
SLACK = 1.25  # the estimate may be off by some per cent: only what is far too much is refused


def check_place(out):
    """Try what the end of the work needs: a folder to write into, and names that can be given.

    Args:
        out: Path of the .beton file, as `encode_outputs` returned it. Missing folders are made.
    Raises:
        BetonError: nothing can be written there.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with temporary_file(sidecar_path(out)):  # the longest of the names
            pass
    except OSError as error:
        raise BetonError(
            f"{out} cannot be written: {why_unreadable(out.parent, error)}."
        ) from error
    folder = os.stat(out.parent)
    for path in filter(os.path.lexists, (out, sidecar_path(out))):
        owners = (os.lstat(path).st_uid, folder.st_uid, 0)  # of whom root may do all
        if folder.st_mode & stat.S_ISVTX and os.geteuid() not in owners:
            raise BetonError(
                f"{path} belongs to another user, and {out.parent} lets only the owner replace "
                "it: choose another name."
            )


def check_room(sources, out):
    """Refuse JPEGs that will not fit the disk, by the sizes of some of them.

    Args:
        sources: `Sources`, whose images pass through untouched. out: Path; its folder is there.
    Raises:
        BetonError: the file would be far larger than what is free.
    """
    step = -(-len(sources.names) // SAMPLED)
    sizes = [size for place in sources.places[::step] if (size := _size(sources, place))]
    if not sizes:
        return
    expected = sum(sizes) / len(sizes) * len(sources.names)
    free = shutil.disk_usage(out.parent).free
    if expected > SLACK * free:
        raise BetonError(
            f"{out} would take about {expected / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free: "
            "make room, write elsewhere, or give --max_side."
        )


def _size(sources, place):
    """Bytes of a JPEG file; None of anything else, which will be encoded again."""
    path = Path(getattr(sources.read, "folder", "")) / place
    if why_no_file(path) is not None:
        return None
    try:
        with open(path, "rb", buffering=0) as file:
            return os.fstat(file.fileno()).st_size if file.read(2) == BEGINNING else None
    except OSError:  # it will be told when its turn comes
        return None
