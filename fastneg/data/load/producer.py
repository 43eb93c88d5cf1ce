"""A generator that runs in its own thread, some items ahead of its consumer."""

from __future__ import annotations

import queue
import threading


class Producer:
    """Runs a generator in a thread, a bounded number of items ahead. Its exception is raised where
    the items are taken.

    Args:
        generator: what runs in the thread; it is closed there.
        wait_s: seconds after which a wait ends with TimeoutError.
        what: names the items in that error.
        ahead: items made and not yet taken, at most.
    """

    def __init__(self, generator, wait_s, what, ahead):
        self._items, self._stop = queue.Queue(ahead), threading.Event()
        self._wait_s, self._what = wait_s, what
        self._thread = threading.Thread(
            target=self._work, args=(generator,), daemon=True, name="fastneg-loader"
        )
        self._thread.start()

    def _work(self, generator):
        try:
            for item in generator:
                self._put(item, None)
                if self._stop.is_set():
                    break
            generator.close()
            self._put(None, StopIteration())
        except BaseException as error:
            self._put(None, error)

    def _put(self, item, error):
        while not self._stop.is_set():
            try:
                self._items.put((item, error), timeout=0.1)
                return
            except queue.Full:
                continue

    def __iter__(self):
        try:
            while True:
                try:
                    item, error = self._items.get(timeout=self._wait_s)
                except queue.Empty:
                    raise TimeoutError(f"Waited {self._wait_s:.0f} s for {self._what}.") from None
                if isinstance(error, StopIteration):
                    return
                if error is not None:
                    raise error
                yield item
        finally:
            self.close()

    def close(self):
        """Stop the thread and wait for it."""
        self._stop.set()
        self._thread.join(self._wait_s)
        if self._thread.is_alive():
            raise TimeoutError(
                f"Waited {self._wait_s:.0f} s for the thread that makes {self._what} to stop."
            )
