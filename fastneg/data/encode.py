"""Folders of images → .beton. JPEG bytes pass through untouched; only what a decoder would not take as it is gets encoded again."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from fastneg.config import ConfigError, EncodeConfig
from fastneg.data.beton import CHECKSUM_FIELD, BetonError, BetonReader
from fastneg.data.beton_writer import BetonWriter
from fastneg.data.ffcv_writer import write_with_ffcv
from fastneg.data.image_files import guarded, jpeg_header, pillow, prepare, why_change
from fastneg.data.pool import CHUNK, Progress, chunks, in_order
from fastneg.data.sources import find_images, refuse_or_skip
from fastneg.version import __version__


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
    write = _pass_through if config.writer == "passthrough" else write_with_ffcv
    with Progress("encode", len(names)) as progress:
        write(config, out, sources.classes, names, labels, done, progress, _origin(config))
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
    return [guarded(lambda path: prepare(path.read_bytes(), max_side, quality), Path(folder) / name) for name in names]


def _pass_through(config, out, classes, names, labels, done, progress, origin):
    work = partial(_prepare_files, folder=config.src, max_side=config.max_side, quality=config.quality)
    results = in_order(work, chunks(names, CHUNK), config.workers)
    with BetonWriter(out, classes=classes) as writer, contextlib.closing(results):
        for name, label, result in zip(names, labels, (result for chunk in results for result in chunk), strict=True):
            if isinstance(result, str):
                refuse_or_skip(config, name, result, done["skipped"])
                continue
            data, height, width, reason = result
            writer.add(data, height, width, name=name, label=label)
            if reason is None:
                done["passed_through"] += 1
            else:
                done["re_encoded"][reason] += 1
            progress.advance(1, len(data))
        writer.info.update(**origin, **done)
