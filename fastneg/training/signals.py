"""SIGTERM and SIGINT end a training after the current step, with a checkpoint."""

from __future__ import annotations

import contextlib
import os
import signal
import time

SAME_WITHIN_S = 1.0
"""Signals so close to the first are the same wish: launchers pass on what the terminal sent
already, a dying parent tells it twice."""


class Signals:
    """Notes SIGTERM and SIGINT while the block runs. A second one, some time after the first, does
    what it does elsewhere."""

    def __init__(self):
        self.received, self._at = None, None
        self._before = {}

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            # not in the main thread: then the caller's handlers stay
            with contextlib.suppress(ValueError):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame):
        if self.received is None:
            self.received, self._at = number, time.monotonic()
        elif time.monotonic() - self._at > SAME_WITHIN_S:
            signal.signal(number, self._before[number])
            os.kill(os.getpid(), number)

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler)
