"""Allows one training per run folder: a second one is refused."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path

from fastneg.errors import BusyError
from fastneg.runs.paths import LOCK

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems say that keep no locks (some of clusters, as they are mounted)."""


class RunLock:
    """Holds RUN/.lock until it is closed or the process ends, however it ends.

    It is a lock of the operating system, which network file systems pass on to other machines:
    nothing is left behind to be removed. Where the file system keeps none, this is told and the
    folder stays unguarded.

    Args:
        run: the run folder; it is made.
    Raises:
        BusyError: another training holds it.
        OSError: the folder cannot be written to.
    """

    def __init__(self, run):
        path = Path(run) / LOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            # Of the kind that children of this process do not inherit: a loader's process that
            # outlives it would go on holding it.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 200, 0).decode(errors="replace").strip()
            os.close(self._file)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise BusyError(
                    f"Another training runs in {run} ({holder}): wait for its end, or choose "
                    "another --out."
                ) from error
            if error.errno not in NO_LOCKS:
                raise
            self._file = None
            print(
                f"The file system of {run} keeps no locks ({error.strerror}): run one training at "
                "a time there.",
                flush=True,
            )
            return
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def close(self):
        if self._file is not None:
            os.close(self._file)
