"""Folders of images → .beton.

JPEG bytes pass through untouched; only what a decoder would not take as it is gets encoded again.
"""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from fastneg.config import EncodeConfig
from fastneg.data.beton.reader import BetonReader
from fastneg.data.encode.ffcv import write_with_ffcv
from fastneg.data.encode.holdout import Holdout, refuse_other_pair
from fastneg.data.encode.job import Job, origin_of
from fastneg.data.encode.outputs import encode_outputs, refuse_listed
from fastneg.data.encode.paired import MirroredTextures
from fastneg.data.encode.pass_through import pass_through
from fastneg.data.encode.preflight import check_place, check_room
from fastneg.data.encode.sources import FolderFiles, find_sources, read_class_names, refuse_or_skip
from fastneg.data.encode.textures import SynthesisedTextures
from fastneg.data.images import pillow
from fastneg.files import remove_stale
from fastneg.progress import Progress


def encode(config: EncodeConfig, textures=None, sources=None, report=None, told=None):
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
        told: the config that PATH.json keeps; None: this one.
    Returns:
        dict: images, bytes (of the samples, with their textures), seconds, passed_through,
        re_encoded {reason: count; an image may have several}, textures_re_encoded (the same),
        skipped [str], ignored (files that are no images by their suffix), left_out {reason: count
        of images}, labels_from (folders, shards, list, none), notes [str] (what `report` got),
        classes (their number), smallest_class and largest_class (name, images), all three None
        without labels, removed [str] (temporary files of the same name, left by calls that were
        killed). With `config.holdout` also holdout, the dict of `Holdout.summary`, whose images are
        among `images`.
    Raises:
        ConfigError: src, split or subset name what does not exist, or a held-out set cannot be.
            OutputError, one of them: out is an input.
        BetonError: no images, an unreadable one with on_error "stop", a full disk. Nothing is left
            under the final name then, nor a temporary file.
    """
    pillow()
    began = time.perf_counter()
    outs = encode_outputs(config)
    if textures is None:
        textures = _textures(config)
    refuse_other_pair(outs[0], config.holdout)
    sources = find_sources(config) if sources is None else sources
    refuse_listed(config, outs[0], sources)
    holdout = None
    if config.holdout is not None:
        holdout = Holdout(sources.labels, config.holdout, len(sources.names), sources.classes)
    origin = origin_of(told or config)
    if config.class_names is not None:
        origin["class_names"] = read_class_names(config.class_names, sources.classes)
    _check_before(config, sources, textures, outs)
    for note in sources.notes if report is not None else ():
        report(note)
    order = np.random.Generator(np.random.PCG64(config.seed)).permutation(len(sources.names))
    done = _nothing_done(sources)
    removed = [name for path in outs for name in remove_stale(path)]
    with Progress("encode", len(order)) as progress:
        job = Job(config, outs, sources, order, done, progress, origin, holdout)
        if config.writer == "passthrough":
            images, size = pass_through(job, textures)
        else:
            images, size = write_with_ffcv(job)
    for key in ("re_encoded", "textures_re_encoded"):
        done[key] = dict(done[key])
    seconds = time.perf_counter() - began
    counts = {"images": images, "bytes": size, "seconds": seconds, "removed": removed}
    return {**counts, **done, **_class_sizes(outs)}


def _nothing_done(sources):
    """What the writers count on in, and what is known of the sources before."""
    return {
        "passed_through": 0,
        "re_encoded": Counter(),
        "textures_re_encoded": Counter(),
        "skipped": list(sources.skipped),
        "ignored": sources.ignored,
        "left_out": sources.left_out,
        "labels_from": sources.labels_from,
        "notes": list(sources.notes),
    }


def _textures(config):
    """What makes the texture image paired with each sample, by --textures; None without it."""
    if config.textures is None:
        return None
    if config.textures == "synth":
        return SynthesisedTextures(seed=config.seed)
    return MirroredTextures(config.textures)


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
