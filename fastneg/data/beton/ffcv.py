"""FFCV's own DatasetWriter, run so that it ends: images are decoded before, its processes are
watched."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import zlib
from functools import partial
from multiprocessing import reduction
from pathlib import Path

import numpy as np

from fastneg.config import default_workers
from fastneg.counts import counted
from fastneg.data.beton.checksum_block import block_of
from fastneg.data.beton.reader import DESCRIPTOR, HEADER, BetonError, BetonReader
from fastneg.data.beton.writer import LARGEST_PAGE, PAGE_SIZE, publish
from fastneg.data.encode.folders import read_file
from fastneg.data.encode.holdout import held_out_path, key_of, notes_of
from fastneg.data.encode.images import decoded_size, guarded, load_rgb
from fastneg.data.encode.pool import CHUNK, chunks, in_order, process_context
from fastneg.data.encode.sources import refuse_or_skip
from fastneg.data.errors import told_when_full
from fastneg.files import temporary_file

LARGEST_LOG = 1 << 20
STUCK_S = 60.0  # FFCV's writer without a living worker for this long will not end


def _measure_files(names, folder):
    """For each file ((height, width), (CRC32, size)), or a text that says why it cannot be used."""
    measure = lambda data: (decoded_size(data), key_of(data))
    return [guarded(lambda path: measure(read_file(path)), Path(folder) / name) for name in names]


def write_with_ffcv(config, out, sources, order, done, progress, origin, holdout):
    """Run FFCV's DatasetWriter, for a holdout twice.

    It waits for ever for a worker that died: images are decoded first, its processes watched.

    Returns:
        (images, bytes of them).
    """
    names, kept, largest = [sources.names[i] for i in order], ([], []), 0
    work = partial(_measure_files, folder=config.src)
    measured = (
        found for chunk in in_order(work, chunks(names, CHUNK), config.workers) for found in chunk
    )
    for name, i, found in zip(names, order, measured, strict=True):
        if isinstance(found, str):
            refuse_or_skip(config, name, found, done["skipped"])
            continue
        size, key = found
        scale = 1 if config.max_side is None else min(1, config.max_side / max(size))
        label = sources.labels[i]
        kept[holdout is not None and holdout.takes(label, key)].append((name, label))
        largest = max(largest, int(size[0] * scale) * int(size[1] * scale) * 3)
    if not kept[0]:
        raise BetonError(
            f"none of the {counted(len(names), 'image')} in {config.src} can be used; the first: "
            f"{done['skipped'][0]}."
        )
    page_size = PAGE_SIZE
    while page_size < largest:
        page_size *= 2
    if page_size > LARGEST_PAGE:
        raise BetonError(
            f"the largest image has {counted(largest, 'byte')} of pixels, at most {LARGEST_PAGE} "
            "fit a page: give --max_side."
        )
    if holdout is not None:
        done["holdout"] = holdout.summary(held_out_path(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    with told_when_full(out), contextlib.ExitStack() as stack:
        finished, written = [], 0
        parts = {"train": out} if holdout is None else {"train": out, "holdout": held_out_path(out)}
        for (part, path), samples in zip(parts.items(), kept, strict=False):
            temporary, _ = stack.enter_context(temporary_file(path))
            chosen, labels = map(list, zip(*samples, strict=True))
            run_ffcv(
                config,
                temporary,
                [str(Path(config.src) / name) for name in chosen],
                labels,
                page_size,
                progress,
            )
            with BetonReader(temporary) as reader:
                done["re_encoded"].update(
                    {"raw by ffcv": int(reader.raw.sum()), "jpg by ffcv": int((~reader.raw).sum())}
                )
                written += int(reader.stored_bytes.sum())
            add_checksums(temporary)
            notes = {} if holdout is None else {"holdout": notes_of(config, out, part)}
            finished.append(
                (temporary, path, {"classes": sources.classes, "names": chosen, **origin, **notes})
            )
        publish(*((temporary, path, {**done, **sidecar}) for temporary, path, sidecar in finished))
    return sum(map(len, kept)), written


def add_checksums(path):
    """Put the CRC32s of its images into a file that FFCV wrote: a block before the allocation
    table, as `BetonWriter` has it.

    The file must not be of a final name yet: it is damaged while it is changed.
    """
    with BetonReader(path) as reader:
        fields = reader.fields
        checksums = {
            name: [zlib.crc32(reader.stored(i, name)) for i in range(len(reader))]
            for name in reader.image_fields
        }
    with open(path, "r+b") as file:
        header = np.frombuffer(file.read(HEADER.itemsize), HEADER).copy()
        descriptors = np.frombuffer(file.read(len(fields) * DESCRIPTOR.itemsize), DESCRIPTOR).copy()
        end = int(header["alloc_table_ptr"][0])
        file.seek(end)
        table = file.read()
        for number, name in enumerate(fields):
            if name in checksums:
                start = -(-end // 8) * 8
                block, descriptors["arguments"][number] = block_of(checksums[name], start)
                file.seek(start)
                file.write(block)
                end = start + len(block)
        header["alloc_table_ptr"] = -(-end // 8) * 8
        file.seek(int(header["alloc_table_ptr"][0]))
        file.write(table)
        file.seek(0)
        file.write(header.tobytes() + descriptors.tobytes())


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
