"""Files that get their final name when they are whole, and what is left of those whose writer was killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import re
import secrets

from fastneg.data.errors import BetonError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def temporary_file(path):
    """Within it, a new file beside `path` that nobody else has; it is removed at the end unless it was renamed.

    Yields:
        (Path, open binary file). The file is locked, which tells a file that is being written from one whose writer was killed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    file = open(temporary, "x+b")  # noqa: SIM115 it is closed below, where a failure to write its last bytes must not hide another
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary, file
    finally:
        temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            file.close()


def remove_stale(path):
    """Remove the temporary files that killed writers of `path` left; returns their names. Those of living writers stay."""
    name, removed = re.compile(rf"\.{re.escape(path.name)}(\.json)?\.[0-9a-f]{{8}}\.tmp"), []
    for entry in sorted(path.parent.glob(".*.tmp")):
        if name.fullmatch(entry.name):
            try:
                with open(entry, "r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    entry.unlink()
            except OSError:  # it is being written, or whether it is cannot be told
                continue
            removed.append(entry.name)
    return removed


@contextlib.contextmanager
def told_when_full(path):
    """Within it, a full disk is told as such: BetonError."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise BetonError(f"{path} cannot be written: {error.strerror}. Nothing was left of it: make room, or write elsewhere.") from error
