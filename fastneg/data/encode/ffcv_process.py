"""FFCV's own DatasetWriter in a separate, watched process, so that it cannot hang.

By itself it would wait for ever for a worker that died.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from multiprocessing import reduction

import numpy as np

from fastneg.config import default_workers
from fastneg.data.encode.folders import read_file
from fastneg.data.errors import BetonError
from fastneg.data.images import load_rgb
from fastneg.data.pool import process_context

LARGEST_LOG = 1 << 20
STUCK_S = 60.0  # FFCV's writer without a living worker for this long will not end


def run_ffcv(config, temporary, paths, labels, page_size, progress):
    context = process_context()
    workers = min(config.workers or default_workers(), len(paths))
    receiver, sender = context.Pipe(duplex=False)
    counter, shown = context.Array("q", 2), [0, 0]
    # it has no name: nothing is left of it when this process is killed
    with tempfile.TemporaryFile() as log:
        settings = {
            "mode": config.ffcv_mode or "proportion",
            "max_side": config.max_side,
            "quality": config.quality,
            "seed": config.seed,
        }
        job = context.Process(
            target=_ffcv_job,
            args=(
                sender,
                _Inherited(log.fileno()),
                str(temporary),
                _Images(paths, labels, counter, sender),
                settings,
                page_size,
                workers,
            ),
        )
        job.start()
        sender.close()
        try:
            while not receiver.poll(0.2) and job.is_alive():
                now = counter[:]
                progress.advance(now[0] - shown[0], now[1] - shown[1])
                shown = now
            failure = (
                receiver.recv() if receiver.poll(0) else f"it ended with exit code {job.exitcode}"
            )
        except EOFError:  # the child closed its end, which it does only by dying
            failure = "it died"
        finally:
            _end(job)
        if failure is not None:
            lines = os.pread(log.fileno(), LARGEST_LOG, 0).decode("utf-8", "replace").splitlines()
            # without FFCV's progress bar
            said = [line for line in lines if line.strip() and "it/s" not in line]
            raise BetonError(
                f"FFCV's writer failed: {failure}." + (f" It said: {said[-1]}" if said else "")
            )


def _end(job):
    """End the process and those that it started; one that has finished its work ends by itself."""
    job.join(2)
    if job.is_alive():
        job.terminate()
        job.join(5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGKILL)
    job.join()


class _Inherited:
    """An open file that a child process gets too."""

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def __reduce__(self):  # while the child is started
        return _inherited, (reduction.DupFd(self.descriptor),)


def _inherited(descriptor):
    return _Inherited(descriptor.detach())


class _Images:
    """The data set that FFCV's workers index.

    It reports what fails, since the writer would wait for ever.
    """

    def __init__(self, paths, labels, counter, failures):
        self._paths, self._labels, self._counter, self._failures = paths, labels, counter, failures

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, index):
        path = self._paths[index]
        try:
            data = read_file(path)
            image, _ = load_rgb(data)
        except (BetonError, OSError) as error:
            self._failures.send(f"{path} cannot be used: {error}"[:2000])
            raise
        with self._counter.get_lock():
            self._counter[0] += 1
            self._counter[1] += len(data)
        return np.asarray(image), self._labels[index]


def _ffcv_job(messages, log, temporary, images, settings, page_size, workers):
    os.setsid()  # so that all its processes can be ended together
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    os.dup2(log.descriptor, 2)
    # as FFCV's writer is made for; each worker would import everything anew otherwise
    multiprocessing.set_start_method("fork", force=True)
    writer, watcher = None, _Watcher()
    try:
        import numba.typed

        # Importing FFCV fills a dictionary that Numba compiles, for six seconds. Compiled code
        # alone needs it, and the writer has none.
        numba.typed.Dict = dict
        from ffcv.fields import IntField, RGBImageField
        from ffcv.writer import DatasetWriter

        # FFCV draws from NumPy's global generator which images of "proportion" become JPEGs
        np.random.seed(settings["seed"])
        image = RGBImageField(
            settings["mode"], max_resolution=settings["max_side"], jpeg_quality=settings["quality"]
        )
        writer = DatasetWriter(
            temporary,
            {"image": image, "label": IntField()},
            page_size=page_size,
            num_workers=workers,
        )
        watcher.start()
        writer.from_indexed_dataset(images, chunksize=max(1, min(100, len(images) // workers)))
        messages.send(None)
    except ImportError as error:
        messages.send(
            f"it cannot be imported ({error}); install the extra: pip install 'fastneg[ffcv]'"
        )
    except Exception as error:
        messages.send(f"{type(error).__name__}: {error}"[:2000])
    finally:
        if watcher.reason is not None:
            messages.send(watcher.reason)
        shared = getattr(writer, "metadata_sm", None)
        if hasattr(shared, "unlink"):
            with contextlib.suppress(FileNotFoundError):  # the writer that ended well has done it
                shared.unlink()


class _Watcher(threading.Thread):
    """Ends FFCV's writer when one of its workers died, when none is left, or when the parent is
    gone."""

    def __init__(self):
        super().__init__(daemon=True)
        self.reason = None

    def run(self):
        seen, last_alive = set(), time.monotonic()
        while self.reason is None:
            alive = multiprocessing.active_children()  # forgets the dead ones, hence the set
            seen.update(alive)
            last_alive = time.monotonic() if alive else last_alive
            codes = [worker.exitcode for worker in seen if worker.exitcode]
            if codes:
                self.reason = f"one of its workers died with exit code {codes[0]}"
            elif time.monotonic() - last_alive > STUCK_S:
                self.reason = "it goes on waiting though no worker is left"
            elif not multiprocessing.parent_process().is_alive():
                self.reason = "its parent is gone"
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
