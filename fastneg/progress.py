"""Progress and remaining time of a job: a bar on a terminal, otherwise plain lines on stderr."""

from __future__ import annotations

import sys
import time
from operator import length_hint

from fastneg.counts import PLURALS

PLAIN_LINE_S = 10.0  # seconds between progress lines where there is no terminal


class Progress:
    """Things done, of a number that may be known.

    Args:
        what: is done, in words.
        total: how many there are; None: that is not known, and no time left either.
        unit: one of them: "image", "batch", "byte".
    """

    def __init__(self, what, total=None, unit="image"):
        self._what, self._total, self._unit = what, total, unit
        self._units = PLURALS.get(unit, f"{unit}s")
        self._done = self._bytes = 0
        self._began = self._said = time.perf_counter()
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            scale = {"unit": "B", "unit_scale": True} if unit == "byte" else {"unit": unit}
            self._bar = tqdm(total=total, desc=what, leave=False, **scale)

    def advance(self, count=1, size=0):
        """Count more of them as done, with `size` bytes."""
        self._done, self._bytes = self._done + count, self._bytes + size
        now = time.perf_counter()
        if self._bar is not None:
            if self._bytes and self._unit != "byte":
                self._bar.set_postfix_str(self._mb_per_s(now), refresh=False)
            self._bar.update(count)
        elif now - self._said >= PLAIN_LINE_S:
            self._said = now
            print(self._line(now), file=sys.stderr, flush=True)

    def _line(self, now):
        told = [f"{self._what}: {self._so_far()}"]
        rate = self._done / max(now - self._began, 1e-9)
        if self._unit != "byte":
            told.append(f"{rate:.{0 if rate >= 10 else 1}f} {self._units}/s")
        told += [self._mb_per_s(now)] if self._bytes else []
        if self._total and self._done:
            told.append(f"{time_left((self._total - self._done) / rate)} left")
        return ", ".join(told)

    def _so_far(self):
        counts = [self._done, *([self._total] if self._total else [])]
        if self._unit == "byte":
            return "/".join(f"{count / 1e6:.1f}" for count in counts) + " MB"
        return f"{'/'.join(map(str, counts))} {self._units}"

    def _mb_per_s(self, now):
        return f"{self._bytes / 1e6 / max(now - self._began, 1e-9):.1f} MB/s"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._bar is not None:
            self._bar.close()


def shown(items, what, unit="batch", total=None):
    """Yield items, and show how many of them have been taken.

    Args:
        total: how many there are; default their length, if they have one.
    """
    total = (length_hint(items) or None) if total is None else total
    with Progress(what, total, unit) as progress:
        for item in items:
            yield item
            progress.advance()


def time_left(seconds):
    """Seconds in the two largest units, such as 2 h 05 min."""
    minutes, seconds = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
