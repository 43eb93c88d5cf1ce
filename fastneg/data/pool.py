"""Work spread over processes, its results in order, its progress shown."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from fastneg.config import default_workers
from fastneg.data.beton import BetonError

CHUNK = 32  # images a task
PLAIN_LINE_S = 10.0  # seconds between progress lines where there is no terminal


def in_order(function, tasks, workers=0, context=None):
    """Yield function(task) for each task in turn, computed by worker processes (0: one a core); with one, in this process.

    The workers are started by `context`, a multiprocessing context, or else by a fork server that has loaded what decoding needs; then
    a script that calls this needs its `if __name__ == "__main__":`. What a worker raises is raised here.
    """
    tasks = list(tasks)
    workers = min(workers or default_workers(), len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    pool = ProcessPoolExecutor(workers, mp_context=context or process_context(), initializer=_leave_interrupts_to_the_parent)
    try:
        tasks, pending = iter(tasks), deque()
        while True:
            while len(pending) < 2 * workers and (task := next(tasks, None)) is not None:
                pending.append(pool.submit(function, task))
            if not pending:
                return
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise BetonError("A worker process died, perhaps for want of memory: try fewer --workers.") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def process_context():
    # A fork of a process with threads may deadlock. A fork server has none, and imports what the workers need once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fastneg.data.image_files", "PIL.Image"])
    return context


def _leave_interrupts_to_the_parent():
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def chunks(items, size):
    """Slices of at most `size` items."""
    return [items[first : first + size] for first in range(0, len(items), size)]


class Progress:
    """Samples and bytes done: a bar on a terminal, else a plain line now and then, on stderr."""

    def __init__(self, what, total=None):
        self._what, self._total, self._done, self._bytes = what, total, 0, 0
        self._began = self._said = time.perf_counter()
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=what, unit="image", leave=False)

    def advance(self, samples, size):
        self._done, self._bytes = self._done + samples, self._bytes + size
        now = time.perf_counter()
        mb_per_s = self._bytes / 1e6 / max(now - self._began, 1e-9)
        if self._bar is not None:
            self._bar.set_postfix_str(f"{mb_per_s:.1f} MB/s", refresh=False)
            self._bar.update(samples)
        elif now - self._said >= PLAIN_LINE_S:
            self._said, of = now, f"/{self._total}" if self._total else ""
            rate = self._done / (now - self._began)
            print(f"{self._what}: {self._done}{of} images, {rate:.0f} images/s, {mb_per_s:.1f} MB/s", file=sys.stderr, flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._bar is not None:
            self._bar.close()
