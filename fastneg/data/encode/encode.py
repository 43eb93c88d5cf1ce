"""Folders of images → .beton.

JPEG bytes pass through untouched; only what a decoder would not take as it is gets encoded again.
"""

from __future__ import annotations

import contextlib
import pickle
import platform
import time
from collections import Counter
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np

from fastneg.config import EncodeConfig
from fastneg.data.beton.ffcv import write_with_ffcv
from fastneg.data.beton.reader import TEXTURE_FIELD, BetonError, BetonReader
from fastneg.data.beton.writer import BetonWriter, Together
from fastneg.data.encode.holdout import Holdout, held_out_path, notes_of, refuse_other_pair
from fastneg.data.encode.images import guarded, jpeg_header, pillow, prepare, why_change
from fastneg.data.encode.outputs import encode_output, refuse_listed
from fastneg.data.encode.paired import MirroredTextures
from fastneg.data.encode.pool import CHUNK, Progress, in_order
from fastneg.data.encode.preflight import check_place, check_room
from fastneg.data.encode.sources import FolderFiles, find_sources, read_class_names, refuse_or_skip
from fastneg.data.encode.textures import SynthesisedTextures
from fastneg.files import remove_stale
from fastneg.version import __version__


def encode(config: EncodeConfig, textures=None, sources=None, report=None):
    """Encode a folder of images into one .beton file and its PATH.json, or with `config.holdout`
    into two.

    Args:
        textures: what makes the texture image paired with each sample, in the worker processes: a
            picklable object that is called with a list of names and a list of the image files'
            bytes, and returns for each an image file's bytes, or a text that says why there is
            none. None: what `config.textures` says.
        sources: the `Sources` to encode, which lie below config.src; None: those that
            `find_sources` finds there.
        report: called before the first image with each sentence about what was found; None: none is
            said.
    Returns:
        dict: images, bytes (of the samples, with their textures), seconds, passed_through,
            re_encoded {reason: count; an image may have
        several}, textures_re_encoded (the same), skipped [str], ignored (files that are no images
        by their suffix), left_out {reason: count of images}, labels_from (folders, shards, list,
        none), notes [str] (what `report` got), classes (their number), smallest_class and
        largest_class (name, images), all three None without labels, removed [str] (temporary files
        of the same name, left by calls that were killed); with `config.holdout` holdout, the dict
        of `Holdout.summary`, whose images are among `images`.
    Raises:
        ConfigError: src, split or subset name what does not exist, or a held-out set cannot be;
            OutputError, one of them: out is an
        input. BetonError: no images, an unreadable one with on_error "stop", a full disk. Nothing
            is left under the final name then,
        nor a temporary file.
    """
    pillow()
    began = time.perf_counter()
    out = encode_output(config)
    if config.holdout is not None:
        encode_output(config, held_out_path(out), "the held-out file")
    if textures is None and config.textures is not None:
        textures = (
            SynthesisedTextures(seed=config.seed)
            if config.textures == "synth"
            else MirroredTextures(config.textures)
        )
    refuse_other_pair(out, config.holdout)
    sources = find_sources(config) if sources is None else sources
    refuse_listed(config, out, sources)
    holdout = None
    if config.holdout is not None:
        holdout = Holdout(sources.labels, config.holdout, len(sources.names), sources.classes)
    names_of_classes = (
        None
        if config.class_names is None
        else read_class_names(config.class_names, sources.classes)
    )
    outs = [out] if holdout is None else [out, held_out_path(out)]
    _check_before(config, sources, textures, outs)
    for note in sources.notes if report is not None else ():
        report(note)
    order = np.random.Generator(np.random.PCG64(config.seed)).permutation(len(sources.names))
    done = {
        "passed_through": 0,
        "re_encoded": Counter(),
        "textures_re_encoded": Counter(),
        "skipped": list(sources.skipped),
    }
    done |= {"ignored": sources.ignored, "left_out": sources.left_out}
    done |= {"labels_from": sources.labels_from, "notes": list(sources.notes)}
    removed = [name for path in outs for name in remove_stale(path)]
    write = (
        partial(_pass_through, textures=textures)
        if config.writer == "passthrough"
        else write_with_ffcv
    )
    origin = (
        _origin(config)
        if names_of_classes is None
        else {**_origin(config), "class_names": names_of_classes}
    )
    with Progress("encode", len(order)) as progress:
        images, size = write(config, out, sources, order, done, progress, origin, holdout)
    done["re_encoded"], done["textures_re_encoded"] = (
        dict(done["re_encoded"]),
        dict(done["textures_re_encoded"]),
    )
    done |= _class_sizes(outs)
    return {
        "images": images,
        "bytes": size,
        "seconds": time.perf_counter() - began,
        "removed": removed,
        **done,
    }


def _check_before(config, sources, textures, outs):
    """Refuse before the first image what would fail at the last one."""
    for path in outs:
        check_place(path)
    if config.max_side is None and isinstance(sources.read, FolderFiles):
        check_room(sources, outs[0])
    if isinstance(textures, MirroredTextures) and config.on_error == "stop":
        for name, reason in textures.missing(sources.names):
            refuse_or_skip(config, name, f"its texture: {reason}", [])


def _class_sizes(paths):
    """How many classes some files of one set have, and the smallest and the largest with their
    images."""
    counts = 0
    for path in paths:
        with BetonReader(path) as reader:
            if reader.labels is None or reader.classes is None:
                return {"classes": None, "smallest_class": None, "largest_class": None}
            classes = reader.classes
            counts = counts + np.bincount(reader.labels, minlength=len(classes))
    ends = [(classes[i], int(counts[i])) for i in (counts.argmin(), counts.argmax())]
    return {"classes": len(classes), "smallest_class": ends[0], "largest_class": ends[1]}


def encode_samples(path, samples, classes=None, int_fields=("label",)):
    """Write JPEGs that a program makes into a .beton file, in the order in which they come.

    Args:
        path: the file to write.
        samples: iterable of (JPEG bytes, {int field: value}, name).
        classes: names of the labels.
        int_fields: names of the int fields.
    Returns:
        dict as of `encode`.
    Raises:
        BetonError: a sample that could not pass through untouched; nothing is left of the file
            then.
    """
    began, size, removed = time.perf_counter(), 0, remove_stale(Path(path))
    with (
        Progress(f"write {Path(path).name}") as progress,
        BetonWriter(path, int_fields, classes=classes) as writer,
    ):
        for number, (data, ints, name) in enumerate(samples):
            header = jpeg_header(data)
            if changes := why_change(header):
                raise BetonError(
                    f"sample {number} ({name}) cannot be stored as it is: {', '.join(changes)}."
                )
            writer.add(data, header.height, header.width, name=name, **ints)
            size += len(data)
            progress.advance(1, len(data))
        writer.info.update(_origin(None))
    seconds = time.perf_counter() - began
    nothing = {
        "re_encoded": {},
        "textures_re_encoded": {},
        "skipped": [],
        "ignored": 0,
        "left_out": {},
        "removed": removed,
    }
    return {
        "images": len(writer),
        "bytes": size,
        "seconds": seconds,
        "passed_through": len(writer),
        **nothing,
    }


def _origin(config):
    used = (
        "pillow",
        "numpy",
        *(["ffcv", "opencv-python"] if config is not None and config.writer == "ffcv" else []),
    )
    versions = {
        "python": platform.python_version(),
        "fastneg": __version__,
        **{name: _version(name) for name in used},
    }
    return {
        "writer": f"fastneg {__version__}",
        "versions": versions,
        "encode": None if config is None else config.as_dict(),
    }


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # imported from a place that no installer wrote, or of another package's name
        return None


class _Samples:
    """The samples in the order of the file, a chunk at a time, as lists of (name, place): made when
    they are asked for."""

    def __init__(self, sources, order):
        self._sources, self._order = sources, order

    def __len__(self):
        return -(-len(self._order) // CHUNK)

    def __getitem__(self, number):
        if number >= len(self):
            raise IndexError(number)
        chunk = self._order[number * CHUNK : (number + 1) * CHUNK].tolist()
        return [(self._sources.names[i], self._sources.places[i]) for i in chunk]


def _prepare_files(samples, read, prepare, textures):
    """For each (name, place) the `Prepared` images of the sample, one or with its texture two, or a
    text that says why it cannot be used.

    The bytes of an image are a buffer, as they go through shared memory.
    """
    files = [guarded(read, place) for _, place in samples]
    prepared = [
        file if isinstance(file, str) else guarded(lambda file: [prepare(file)], file)
        for file in files
    ]
    if textures is not None:
        usable = [i for i, sample in enumerate(prepared) if not isinstance(sample, str)]
        made = textures([samples[i][0] for i in usable], [files[i] for i in usable])
        for i, texture in zip(usable, made, strict=True):
            pair = texture if isinstance(texture, str) else guarded(prepare, texture)
            prepared[i] = f"its texture: {pair}" if isinstance(pair, str) else [*prepared[i], pair]
    in_buffers = lambda sample: [
        part._replace(jpeg=pickle.PickleBuffer(part.jpeg)) for part in sample
    ]
    return [sample if isinstance(sample, str) else in_buffers(sample) for sample in prepared]


def _pixels(image):
    """(H, W, 3) uint8 of a raw `Prepared`."""
    return np.frombuffer(image.jpeg, np.uint8).reshape(image.height, image.width, 3)


def _pass_through(config, out, sources, order, done, progress, origin, holdout, textures):
    """Write the file, or the two of a holdout; returns (images, bytes of them with their
    textures)."""
    work = partial(
        _prepare_files,
        read=sources.read,
        prepare=partial(
            prepare,
            max_side=config.max_side,
            quality=config.quality,
            check=config.check,
            lossless=config.lossless,
        ),
        textures=textures,
    )
    results, written = in_order(work, _Samples(sources, order), config.workers), 0
    paired_fields = () if textures is None else (TEXTURE_FIELD,)
    int_fields = () if sources.labels is None else ("label",)
    open_writer = partial(
        BetonWriter, int_fields=int_fields, classes=sources.classes, paired_fields=paired_fields
    )
    with _writers(out, holdout, open_writer) as writers, contextlib.closing(results):
        for index, sample in zip(
            order, (sample for chunk in results for sample in chunk), strict=True
        ):
            name = sources.names[index]
            if isinstance(sample, str):
                refuse_or_skip(config, name, sample, done["skipped"])
                progress.advance(1, 0)
                continue
            image, *pair = sample
            ints = {} if sources.labels is None else {"label": sources.labels[index]}
            writer = writers[holdout is not None and holdout.takes(ints.get("label"), image.jpeg)]
            add, *main = (writer.add_raw, _pixels(image)) if image.raw else (writer.add, *image[:3])
            stored = (_pixels(part) if part.raw else part[:3] for part in pair)
            add(*main, name=name, **ints, paired=dict(zip(paired_fields, stored, strict=True)))
            done["passed_through"] += not image.changes
            done["re_encoded"].update(image.changes)
            for texture in pair:
                done["textures_re_encoded"].update(texture.changes)
            size = sum(memoryview(part.jpeg).nbytes for part in sample)
            written += size
            progress.advance(1, size)
        if holdout is not None and sum(map(len, writers)):
            done["holdout"] = holdout.summary(held_out_path(out))
        for part, writer in zip(("train", "holdout"), writers, strict=False):
            notes = {} if holdout is None else {"holdout": notes_of(config, out, part)}
            writer.info.update(**origin, **{**done, **notes})
    return sum(map(len, writers)), written


@contextlib.contextmanager
def _writers(out, holdout, open_writer):
    """[the writer of OUT], and with a holdout that of OUT-holdout, whose files get their names
    together."""
    if holdout is None:
        with open_writer(out) as writer:
            yield [writer]
    else:
        with (
            Together() as together,
            open_writer(out, together=together) as train,
            open_writer(held_out_path(out), together=together) as held,
        ):
            yield [train, held]
