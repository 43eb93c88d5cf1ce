"""The one exception for bad files."""

from __future__ import annotations

import contextlib
import errno

from fastneg.options import ConfigError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BetonError(Exception):
    """A file that is no whole .beton file, a sample that is not what was asked for, an image that
    cannot be used."""


class NoFileError(BetonError, ConfigError):
    """What was named as a .beton file is a folder, or images, or the list of files is malformed:
    the command line was wrong."""


@contextlib.contextmanager
def told_when_full(path):
    """Within it, a full disk is told as such: BetonError."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise BetonError(
            f"{path} cannot be written: {error.strerror}. Nothing was left of it: make room, or "
            "write elsewhere."
        ) from error
