"""Whether anything can be written at a place, asked before the work whose result would go there.

Nothing is written for it. Room is not looked at.
"""

from __future__ import annotations

import os
from pathlib import Path

from fastneg.options import UnfitError


def refuse_unwritable(path: str | os.PathLike[str], flag: str) -> None:
    """UnfitError if a file or folder cannot be written, or cannot be made where it is not there.

    Args:
        path: the file or folder; of a link, what it leads to.
        flag: how the command line calls it.
    """
    path = Path(path)
    # A file is replaced by renaming another one, or added to: that takes its folder, and itself.
    asked = [path] if os.path.lexists(path) else []
    if not os.path.isdir(path):
        above = Path(os.path.abspath(path)).parents
        asked.append(next(each for each in above if os.path.exists(each)))
    for place in asked:
        mode = os.W_OK | (os.X_OK if os.path.isdir(place) else 0)
        if not os.access(place, mode):
            where = "it" if place == path else place
            raise UnfitError(
                f"{flag} is {path}, which cannot be written: {where} {_why(place)}. Name another "
                "place, or make this one writable."
            )


def _why(place):
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return "lies on a file system that is mounted for reading alone"
    return "is not this user's to write"
