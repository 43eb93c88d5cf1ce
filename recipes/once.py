"""Prints what several processes of one job have to say only once.

All that fail alike would tell it alike. So the first process of a machine speaks at once, and
leaves a mark of what it said; another waits for that mark, says nothing where it is the same, and
else speaks with its rank: an error of one process alone is seen. It works before the processes have
found each other, for a wrong flag is told before that.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

PATIENCE_S = 15.0
"""How long an error waits for the first process to come to its own: processes start seconds
apart."""
KEPT_S = 86400.0
"""Marks of jobs that ended so long ago are swept."""


class Voice:
    """Speaks on stderr for one process of a job.

    Args:
        env: as `os.environ`: what torchrun or srun says of the process.
        folder: where marks lie; default: that of temporary files.
    """

    def __init__(self, env=None, folder=None):
        self.rank, self.size, self.local = _place(os.environ if env is None else env)
        self._marks = Path(folder or tempfile.gettempdir()) / _name(
            os.environ if env is None else env
        )
        self._warned = []

    def error(self, text):
        """Print an error, unless the first process of this machine says the same."""
        if self.size == 1:
            print(text, file=sys.stderr)
        elif self.local == 0:
            print(self._named(text) if self.rank else text, file=sys.stderr, flush=True)
            self._mark(text)
        elif not self._wait_for(text):
            print(self._named(text), file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def warnings(self):
        """Python's warnings within: of the first process at once, of another at the end, and only
        those that are its own."""
        if self.size == 1:
            yield
            return
        plain = warnings.showwarning

        def show(message, category, *where, **more):
            if self.local:
                self._warned.append((message, category, where, more))
                return
            plain(message, category, *where, **more)
            self._mark(f"{category.__name__}: {message}")

        warnings.showwarning = show
        try:
            yield
        finally:
            warnings.showwarning = plain
            for message, category, where, more in self._warned:
                if not self._is_said(f"{category.__name__}: {message}"):
                    plain(
                        f"process {self.rank} of {self.size}: {message}", category, *where, **more
                    )

    def _named(self, text):
        return f"process {self.rank} (of {self.size}, from 0): {text}"

    def _mark(self, text):
        _sweep(self._marks.parent)
        with open(self._marks, "a", encoding="ascii", opener=_private) as file:
            file.write(_digest(text) + "\n")

    def _is_said(self, text):
        with contextlib.suppress(OSError):
            return _digest(text) in self._marks.read_text(encoding="ascii").split()
        return False

    def _wait_for(self, text):
        """Whether the first process says the same; a SIGTERM, by which torchrun ends those that are
        left, ends the waiting."""
        ended = threading.Event()
        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGTERM, lambda *_: ended.set()) if main else None
        until = time.monotonic() + PATIENCE_S
        try:
            while not self._is_said(text):
                if ended.is_set() or time.monotonic() > until:
                    return self._is_said(text)
                time.sleep(0.05)
            return True
        finally:
            if main:
                signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _place(env):
    """(rank, number of processes, rank on this machine); whether that makes sense is looked at
    where they join."""
    try:
        if "WORLD_SIZE" in env:
            return int(env["RANK"]), int(env["WORLD_SIZE"]), int(env.get("LOCAL_RANK", env["RANK"]))
        if "SLURM_PROCID" in env and int(env.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
            return (
                int(env["SLURM_PROCID"]),
                int(env["SLURM_STEP_NUM_TASKS"]),
                int(env["SLURM_LOCALID"]),
            )
    except (KeyError, ValueError):
        pass
    return 0, 1, 0


def _name(env):
    """Of the file of marks: the same for the processes that one parent started at one time, and for
    no others."""
    parent = os.getppid()
    # when the parent began: numbers of processes come again
    with contextlib.suppress(OSError, IndexError):
        parent = (
            f"{parent}-{Path(f'/proc/{parent}/stat').read_text().rpartition(')')[2].split()[19]}"
        )
    told = [
        env.get(name, "")
        for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID", "SLURM_STEP_ID")
    ]
    return f"fastneg-said-{os.getuid()}-{parent}-{'-'.join(told)}"


def _private(path, flags):
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _sweep(folder):
    for old in folder.glob(f"fastneg-said-{os.getuid()}-*"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > KEPT_S:
                old.unlink()
