"""Folders of images → .beton. JPEG bytes pass through untouched; only what a decoder would not take as it is gets encoded again."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter, deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastneg.config import ConfigError, EncodeConfig, default_workers
from fastneg.data.beton import CHECKSUM_FIELD, LARGEST_PAGE, PAGE_SIZE, BetonError, BetonReader, BetonWriter, publish, temporary_name
from fastneg.data.subsets import IMAGENET100
from fastneg.version import __version__

SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))
SPLITS = frozenset(("train", "val", "validation", "test"))
CHUNK = 32  # images a task
PLAIN_LINE_S = 10.0  # seconds between progress lines where there is no terminal
STUCK_S = 60.0  # FFCV's writer without a living worker for this long will not end


# --- what to encode ---------------------------------------------------------------------------------------------------------------------


class Sources(NamedTuple):
    classes: list[str]
    """Sorted; the label of a class is its position."""
    names: list[str]
    """Paths relative to the source folder, sorted by class and path."""
    labels: list[int]
    ignored: int
    """Files that are no images by their suffix."""


def find_images(config):
    """The images that an EncodeConfig names, as `Sources`.

    Raises:
        ConfigError: a folder, class or list that does not exist. BetonError: no image there.
    """
    source = Path(config.src)
    root = source / (config.split or "")
    if not root.is_dir():
        raise ConfigError(f"There is no folder {root}: SRC/<class>/*.jpg was expected, or SRC/<split>/<class>/*.jpg with --split.")
    folders = {entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")}
    if folders and folders <= SPLITS and config.split is None:
        raise ConfigError(f"{root} holds {', '.join(sorted(folders))}: give --split to take one of them.")
    classes = sorted(folders if config.subset is None else _subset(config.subset, folders, root))
    names, labels, ignored = [], [], 0
    for label, name in enumerate(classes):
        for folder, below, files in os.walk(root / name):
            below.sort()
            for file in sorted(files):
                if file.startswith(".") or Path(file).suffix.lower() not in SUFFIXES:
                    ignored += 1
                    continue
                names.append((Path(folder) / file).relative_to(source).as_posix())
                labels.append(label)
    if not names:
        raise BetonError(f"{root} holds no images: {root}/<class>/* with {', '.join(sorted(SUFFIXES))} was looked for.")
    return Sources(classes, names, labels, ignored)


def _subset(subset, folders, root):
    if subset == "imagenet100":
        wanted = set(IMAGENET100)
    elif Path(subset).is_file():
        wanted = set(filter(None, map(str.strip, Path(subset).read_text(encoding="utf-8").splitlines())))
    else:
        raise ConfigError(f"--subset is {subset!r}: imagenet100, or a text file of class names, one a line, was expected.")
    if missing := sorted(wanted - folders):
        raise ConfigError(f"{root} lacks {len(missing)} of the {len(wanted)} classes of --subset {subset}: {', '.join(missing[:5])} …")
    return wanted


# --- one image --------------------------------------------------------------------------------------------------------------------------


class JpegHeader(NamedTuple):
    height: int
    width: int
    components: int
    precision: int
    """Bits a sample."""
    coding: int
    """The frame marker's second byte: 0xC0 to 0xC2 are the codings that every decoder knows."""
    orientation: int
    """EXIF orientation, 1 to 8."""


def jpeg_header(data):
    """What the markers before the first scan of a JPEG say; BetonError if they make no JPEG.

    Source: ITU-T T.81, annex B; Exif 2.3, section 4.5.
    """
    data, at, orientation = bytes(data), 2, 1
    if data[:2] != b"\xff\xd8":
        raise BetonError("no JPEG: it does not begin with the bytes FF D8")
    while True:
        at = data.find(b"\xff", at)
        while at >= 0 and data[at + 1 : at + 2] == b"\xff":
            at += 1
        if at < 0 or at + 4 > len(data):
            raise BetonError("no whole JPEG: it ends before the frame header")
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        at += 2
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD7:  # these stand alone
            continue
        body = data[at + 2 : at + length]
        if marker in (0xD8, 0xD9, 0xDA) or length < 2 or len(body) != length - 2:
            raise BetonError("no whole JPEG: its markers are damaged before the frame header")
        if marker == 0xE1 and body[:6] == b"Exif\0\0":
            orientation = _exif_orientation(body[6:])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            if len(body) < 6 or height == 0 or width == 0:
                raise BetonError(f"no usable JPEG: its frame header gives {width}×{height} pixels")
            return JpegHeader(height, width, body[5], body[0], marker, orientation)
        at += length


def _exif_orientation(tiff):
    """The orientation tag of a TIFF block; 1 where there is none or it makes no sense, as decoders take it."""
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(tiff[:4])
    if order is None:
        return 1
    start = int.from_bytes(tiff[4:8], order)
    for number in range(int.from_bytes(tiff[start : start + 2], order)):
        entry = tiff[start + 2 + 12 * number :][:12]
        if len(entry) < 12:
            return 1
        if int.from_bytes(entry[:2], order) == 0x0112:
            value = int.from_bytes(entry[8:10], order)
            return value if int.from_bytes(entry[2:4], order) == 3 and 1 <= value <= 8 else 1
    return 1


def why_change(header, max_side=None):
    """Why a JPEG cannot pass through untouched, in a word or two; None if it can. Gray JPEGs can: decoders make them RGB."""
    if header.components not in (1, 3):
        return "cmyk" if header.components == 4 else f"{header.components} components"
    if header.coding not in (0xC0, 0xC1, 0xC2) or header.precision != 8:
        return "rare coding"
    if header.orientation != 1:
        return "exif rotation"
    if max_side is not None and max(header.height, header.width) > max_side:
        return "over max_side"
    return None


def prepare(data, max_side=None, quality=90):
    """An image file's bytes → (JPEG bytes, height, width, reason): untouched with reason None, or encoded again for that reason.

    Raises:
        BetonError: the image cannot be decoded fully.
    """
    reason = None
    if bytes(data[:2]) == b"\xff\xd8":
        header = jpeg_header(data)
        reason = why_change(header, max_side)
        if reason is None:
            if decoded_size(data) != (header.height, header.width):
                raise BetonError("two decoders disagree on its size")
            return data, header.height, header.width, None
    image, kind = load_rgb(data)
    if max_side is not None and max(image.size) > max_side:
        scale = max_side / max(image.size)
        image = image.resize([max(1, round(side * scale)) for side in image.size], pillow().Resampling.LANCZOS)
    file = io.BytesIO()
    with readable():
        image.save(file, "JPEG", quality=quality)
    return file.getvalue(), image.height, image.width, reason or kind.lower()


def decoded_size(data):
    """(height, width) of an image of which every byte was decoded; BetonError if that fails."""
    with readable(), pillow().open(io.BytesIO(data)) as image:
        width, height = image.size
        # All bytes are still parsed, but a JPEG's pixels are made at an eighth of the size, which is several times faster.
        image.draft("L", (max(1, width // 8), max(1, height // 8)))
        image.load()
        return height, width


def load_rgb(data):
    """(upright RGB image, format) of an image file's bytes, by Pillow; BetonError if they cannot be decoded."""
    with readable(), pillow().open(io.BytesIO(data)) as image:
        from PIL import ImageOps

        kind = image.format
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits: Pillow would clip at 255 instead of scaling
            wide = np.asarray(image).astype(np.int64)
            if wide.min() < 0 or wide.max() > 65535:
                raise BetonError(f"its values go from {wide.min()} to {wide.max()}: 16 bits were expected")
            image = pillow().fromarray((wide >> 8).astype(np.uint8))
        elif image.mode == "F":
            raise BetonError("it holds floating-point values, whose scale is unknown")
        return image.convert("RGB"), kind


@contextlib.contextmanager
def readable():
    """Within it, Pillow decodes strictly, and whatever a decoder raises becomes a BetonError that says why."""
    from PIL import ImageFile

    lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BetonError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, zlib.error, and more by version
        raise BetonError(f"{type(error).__name__}: {error}".splitlines()[0]) from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def pillow():
    try:
        from PIL import Image
    except ImportError as error:
        raise BetonError("Pillow is missing: images cannot be read. Install the extra: pip install 'fastneg[train]'.") from error
    return Image


# --- work in processes ------------------------------------------------------------------------------------------------------------------


def in_order(function, tasks, workers=0):
    """Yield function(task) for each task in turn, computed by worker processes (0: one a core); with one, in this process.

    What a worker raises is raised here. Called from a script, it needs the script's `if __name__ == "__main__":`.
    """
    tasks = list(tasks)
    workers = min(workers or default_workers(), len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    pool = ProcessPoolExecutor(workers, mp_context=_processes(), initializer=_leave_interrupts_to_the_parent)
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


def _processes():
    # A fork of a process with threads may deadlock. A fork server has none, and imports what the workers need once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fastneg.data.encode", "PIL.Image"])
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


# --- the two ways to write --------------------------------------------------------------------------------------------------------------


def encode(config: EncodeConfig):
    """Encode a folder of images into one .beton file and its PATH.json.

    Returns:
        dict: images, bytes (of the samples), seconds, passed_through, re_encoded {reason: count}, skipped [str], ignored (files that
        are no images by their suffix).
    Raises:
        ConfigError: src, split or subset name what does not exist. BetonError: no images, or an unreadable one with on_error "stop".
        Nothing is left under the final name then, nor a temporary file.
    """
    pillow()
    began = time.perf_counter()
    out = Path(config.out)
    if out.is_dir():
        raise ConfigError(f"--out is {out}, a folder: the name of a file was expected.")
    sources = find_images(config)
    order = np.random.Generator(np.random.PCG64(config.seed)).permutation(len(sources.names)).tolist()
    names, labels = [sources.names[i] for i in order], [sources.labels[i] for i in order]
    done = {"passed_through": 0, "re_encoded": Counter(), "skipped": [], "ignored": sources.ignored}
    write = _pass_through if config.writer == "passthrough" else _with_ffcv
    with Progress("encode", len(names)) as progress:
        write(config, out, sources.classes, names, labels, done, progress)
    with BetonReader(out) as reader:
        size = sum(len(reader.stored(index)) for index in range(len(reader)))
    done["re_encoded"] = dict(done["re_encoded"])
    return {"images": len(reader), "bytes": size, "seconds": time.perf_counter() - began, **done}


def encode_samples(path, samples, classes=None, int_fields=("label",)):
    """Write JPEGs that a program makes into a .beton file, in the order in which they come.

    Args:
        path: the file to write.
        samples: iterable of (JPEG bytes, {int field: value}, name).
        classes: names of the labels.
        int_fields: names of the int fields; a CRC32 is added.
    Returns:
        dict as of `encode`.
    Raises:
        BetonError: a sample that could not pass through untouched; nothing is left of the file then.
    """
    began, size = time.perf_counter(), 0
    with Progress(f"write {Path(path).name}") as progress, BetonWriter(path, (*int_fields, CHECKSUM_FIELD), classes=classes) as writer:
        for number, (data, ints, name) in enumerate(samples):
            header = jpeg_header(data)
            if reason := why_change(header):
                raise BetonError(f"sample {number} ({name}) cannot be stored as it is: {reason}.")
            writer.add(data, header.height, header.width, name=name, **ints)
            size += len(data)
            progress.advance(1, len(data))
        writer.info.update(_origin(None))
    seconds = time.perf_counter() - began
    nothing = {"re_encoded": {}, "skipped": [], "ignored": 0}
    return {"images": len(writer), "bytes": size, "seconds": seconds, "passed_through": len(writer), **nothing}


def _origin(config):
    return {"writer": f"fastneg {__version__}", "encode": None if config is None else config.as_dict()}


def _prepare_files(names, folder, max_side, quality):
    return [_guarded(lambda path: prepare(path.read_bytes(), max_side, quality), Path(folder) / name) for name in names]


def _guarded(work, path):
    """work(path), or a text that says why it cannot be."""
    try:
        return work(path)
    except (BetonError, OSError) as error:
        return str(error)


def _refuse_or_skip(config, name, reason, skipped):
    if config.on_error == "stop":
        raise BetonError(f"{Path(config.src) / name} cannot be used: {reason}. Repair or remove it, or give --on_error skip.")
    skipped.append(f"{name}: {reason}")


def _pass_through(config, out, classes, names, labels, done, progress):
    work = partial(_prepare_files, folder=config.src, max_side=config.max_side, quality=config.quality)
    results = in_order(work, chunks(names, CHUNK), config.workers)
    with BetonWriter(out, classes=classes) as writer, contextlib.closing(results):
        for name, label, result in zip(names, labels, (result for chunk in results for result in chunk), strict=True):
            if isinstance(result, str):
                _refuse_or_skip(config, name, result, done["skipped"])
                continue
            data, height, width, reason = result
            writer.add(data, height, width, name=name, label=label)
            if reason is None:
                done["passed_through"] += 1
            else:
                done["re_encoded"][reason] += 1
            progress.advance(1, len(data))
        writer.info.update(**_origin(config), **done)


def _measure_files(names, folder):
    return [_guarded(lambda path: decoded_size(path.read_bytes()), Path(folder) / name) for name in names]


def _with_ffcv(config, out, classes, names, labels, done, progress):
    """Run FFCV's DatasetWriter. It waits for ever for a worker that died: images are decoded first, its processes watched."""
    kept, largest = [], 0
    for i, size in enumerate(
        size for chunk in in_order(partial(_measure_files, folder=config.src), chunks(names, CHUNK), config.workers) for size in chunk
    ):
        if isinstance(size, str):
            _refuse_or_skip(config, names[i], size, done["skipped"])
            continue
        scale = 1 if config.max_side is None else min(1, config.max_side / max(size))
        kept.append(i)
        largest = max(largest, int(size[0] * scale) * int(size[1] * scale) * 3)
    if not kept:
        raise BetonError(f"none of the {len(names)} images in {config.src} can be used; the first: {done['skipped'][0]}.")
    names, labels = [names[i] for i in kept], [labels[i] for i in kept]
    page_size = PAGE_SIZE
    while page_size < largest:
        page_size *= 2
    if page_size > LARGEST_PAGE:
        raise BetonError(f"the largest image has {largest} bytes of pixels, at most {LARGEST_PAGE} fit a page: give --max_side.")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(out)
    try:
        _run_ffcv(config, temporary, [str(Path(config.src) / name) for name in names], labels, page_size, progress)
        with BetonReader(temporary) as reader:
            done["re_encoded"].update({"raw by ffcv": int(reader.raw.sum()), "jpg by ffcv": int((~reader.raw).sum())})
        publish(temporary, out, {"classes": classes, "names": names, **_origin(config), **done})
    finally:
        temporary.unlink(missing_ok=True)


def _run_ffcv(config, temporary, paths, labels, page_size, progress):
    context = _processes()
    workers = min(config.workers or default_workers(), len(paths))
    receiver, sender = context.Pipe(duplex=False)
    counter, counted = context.Value("q", 0), 0
    with tempfile.NamedTemporaryFile(prefix="fastneg-ffcv-", suffix=".log") as log:
        settings = {"mode": config.ffcv_mode, "max_side": config.max_side, "quality": config.quality, "seed": config.seed}
        job = context.Process(
            target=_ffcv_job, args=(sender, log.name, str(temporary), _Images(paths, labels, counter, sender), settings, page_size, workers)
        )
        job.start()
        sender.close()
        try:
            while not receiver.poll(0.2) and job.is_alive():
                progress.advance(counter.value - counted, 0)
                counted = counter.value
            failure = receiver.recv() if receiver.poll(0) else f"it ended with exit code {job.exitcode}"
        except EOFError:  # the child closed its end, which it does only by dying
            failure = "it died"
        finally:
            _end(job)
        if failure is not None:
            lines = Path(log.name).read_text(encoding="utf-8", errors="replace").splitlines()
            said = [line for line in lines if line.strip() and "it/s" not in line]  # without FFCV's progress bar
            raise BetonError(f"FFCV's writer failed: {failure}." + (f" It said: {said[-1]}" if said else ""))


def _end(job):
    """End the process and those that it started; one that has finished its work ends by itself."""
    job.join(2)
    if job.is_alive():
        job.terminate()
        job.join(5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGKILL)
    job.join()


class _Images:
    """The data set that FFCV's workers index. It reports what fails, since the writer would wait for ever."""

    def __init__(self, paths, labels, counter, failures):
        self._paths, self._labels, self._counter, self._failures = paths, labels, counter, failures

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, index):
        path = self._paths[index]
        try:
            image, _ = load_rgb(Path(path).read_bytes())
        except (BetonError, OSError) as error:
            self._failures.send(f"{path} cannot be used: {error}"[:2000])
            raise
        with self._counter.get_lock():
            self._counter.value += 1
        return np.asarray(image), self._labels[index]


def _ffcv_job(messages, log, temporary, images, settings, page_size, workers):
    os.setsid()  # so that all its processes can be ended together
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    with open(log, "w") as file:
        os.dup2(file.fileno(), 2)
    multiprocessing.set_start_method("fork", force=True)  # as FFCV's writer is made for; each worker would import everything anew otherwise
    writer, watcher = None, _Watcher()
    try:
        from ffcv.fields import IntField, RGBImageField
        from ffcv.writer import DatasetWriter

        np.random.seed(settings["seed"])  # FFCV draws from NumPy's global generator which images of "proportion" become JPEGs
        image = RGBImageField(settings["mode"], max_resolution=settings["max_side"], jpeg_quality=settings["quality"])
        writer = DatasetWriter(temporary, {"image": image, "label": IntField()}, page_size=page_size, num_workers=workers)
        watcher.start()
        writer.from_indexed_dataset(images, chunksize=max(1, min(100, len(images) // workers)))
        messages.send(None)
    except ImportError as error:
        messages.send(f"it cannot be imported ({error}); install the extra: pip install 'fastneg[ffcv]'")
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
    """Ends FFCV's writer when one of its workers died, when none is left, or when the parent is gone."""

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
