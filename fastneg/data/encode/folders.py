"""Lists folders. Unreadable entries are reported, never ignored. Only regular files are opened as
images."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fastneg.data.errors import BetonError
from fastneg.files import kind_of

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
)
SYSTEM_FOLDERS = frozenset(
    (
        "__macosx", "network trash folder", "temporary items",  # macOS
        "$recycle.bin", "recycler", "system volume information", "found.000",  # Windows
        "lost+found", "__pycache__",  # Unix
        "@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "~snapshot",
    )
)  # fmt: skip
"""Folders that systems, archives and network disks make, in lower case. Hidden ones (.git) are not
among them: every name that begins with a dot is skipped."""


def is_image(name):
    """Whether a file's name is that of an image."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def is_passed_over(name):
    """Whether a folder of this name is hidden, or made by a system and not by a person."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


def why_no_file(path):
    """Why a path cannot be opened as a file ("it is a FIFO, no file"); None for a regular file.

    The path is not opened: opening a FIFO waits for ever, opening a device may change something.
    Links are followed.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return why_unreadable(path, error)
    return None if stat.S_ISREG(mode) else f"it is {kind_of(mode)}, no file"


def why_unreadable(path, error):
    """An OSError in words, without the path; a link that leads nowhere is called that."""
    if error.errno == errno.ELOOP:
        return "its links lead round in a circle"
    if error.errno == errno.ENOENT and os.path.islink(path):
        return f"it is a link to {os.readlink(path)}, which does not exist"
    return error.strerror or str(error)


def read_file(path):
    """The bytes of a regular file.

    Raises:
        BetonError: it is no regular file. OSError: it cannot be read.
    """
    if (reason := why_no_file(path)) is not None:
        raise BetonError(reason)
    with open(path, "rb", buffering=0) as file:
        return file.readall()


class Listing(NamedTuple):
    """What one folder holds, by name; each part sorted. Links stand with what they lead to."""

    folders: list[str]
    files: list[str]
    """Regular files, hidden ones among them."""
    odd: dict[str, str]
    """FIFOs, sockets and devices: what each is."""
    failed: dict[str, str]
    """What cannot be told or followed (dangling links, say): why."""
    passed_over: list[str]
    """Hidden folders and those of `SYSTEM_FOLDERS`; whatever is hidden and no regular file."""


def list_folder(path):
    """The `Listing` of a folder; OSError if it cannot be read to its end."""
    found = Listing([], [], {}, {}, [])
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            _sort_in(entry, found)
    return found


def _sort_in(entry, found):
    """Put an entry of a folder where it belongs. The system asks the disk about links alone."""
    try:
        is_folder, is_file = entry.is_dir(), entry.is_file()
        mode = 0 if is_folder or is_file else entry.stat().st_mode
    except OSError as error:
        if is_passed_over(entry.name):
            found.passed_over.append(entry.name)
        else:
            found.failed[entry.name] = why_unreadable(entry.path, error)
        return
    if is_file:
        found.files.append(entry.name)
    elif is_passed_over(entry.name):
        found.passed_over.append(entry.name)
    elif is_folder:
        found.folders.append(entry.name)
    else:
        found.odd[entry.name] = kind_of(mode)


@dataclass
class Tree:
    """What was met on a walk; names are relative to its root, / between their parts."""

    odd: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Folders that could not be read among them."""
    passed_over: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    """{real path: the name by which it was reached}."""


def walk(root, tree, start="") -> Iterator[tuple[str, list[str]]]:
    """Yield (name of a folder, its regular files sorted) for `root`/`start` and all folders below.

    Folders come before those in them, in sorted order; linked ones are followed. What is met beside
    regular files, and what cannot be read, is entered into `tree`.

    Raises:
        BetonError: a folder is reached twice, by a link.
    """
    path = os.path.join(root, start)
    real = os.path.realpath(path)
    if real in tree.seen:  # links could lead round in a circle
        other = os.path.join(root, tree.seen[real])
        raise BetonError(
            f"{path} is the same folder as {other}, by a link: its images would come twice. "
            "Remove the link."
        )
    tree.seen[real] = start
    try:
        listing = list_folder(path)
    except OSError as error:
        tree.failed[start] = why_unreadable(path, error)
        return
    within = f"{start}/" if start else ""
    tree.odd.update({within + name: kind for name, kind in listing.odd.items()})
    tree.failed.update({within + name: reason for name, reason in listing.failed.items()})
    tree.passed_over += [within + name for name in listing.passed_over]
    yield start, listing.files
    for name in listing.folders:
        yield from walk(root, tree, within + name)
