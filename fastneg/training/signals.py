"""SIGTERM and SIGINT end a training after the current step, with a checkpoint."""

from __future__ import annotations

import contextlib
import signal


class Signals:
    """Notes SIGTERM and SIGINT while the block runs; a second one does what it does elsewhere."""

    def __init__(self):
        self.received = None
        self._before = {}

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):  # not in the main thread: then the caller's handlers stay
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame):
        self.received = number
        signal.signal(number, self._before[number])

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler)
