"""`encode --writer passthrough`, the default: JPEG bytes are copied whenever possible."""

from __future__ import annotations

import contextlib
import pickle
from functools import partial

import numpy as np

from fastneg.data.beton.format import TEXTURE_FIELD
from fastneg.data.beton.publish import Together
from fastneg.data.beton.writer import BetonWriter
from fastneg.data.encode.prepare import prepare
from fastneg.data.encode.sources import refuse_or_skip
from fastneg.data.images import guarded
from fastneg.data.pool import CHUNK, in_order
from fastneg.data.remote import in_this_process_alone


def pass_through(job, textures):
    """Write the file, or the two of a holdout.

    Args:
        job: `Job`.
        textures: what makes the texture paired with each image, as of `encode`; or None.
    Returns:
        (images, bytes of them with their textures).
    """
    config, sources, done = job.config, job.sources, job.done
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
    workers = 1 if in_this_process_alone(str(config.src)) else config.workers
    results, written = in_order(work, _Samples(sources, job.order), workers), 0
    open_writer = partial(
        BetonWriter,
        int_fields=() if sources.labels is None else ("label",),
        classes=sources.classes,
        paired_fields=() if textures is None else (TEXTURE_FIELD,),
    )
    with _writers(job.outs, open_writer) as writers, contextlib.closing(results):
        samples = (sample for chunk in results for sample in chunk)
        for index, sample in zip(job.order, samples, strict=True):
            name = sources.names[index]
            if isinstance(sample, str):
                refuse_or_skip(config, name, sample, done["skipped"])
                job.progress.advance(1, 0)
                continue
            label = None if sources.labels is None else sources.labels[index]
            _add(writers[job.side(label, sample[0].jpeg)], name, label, *sample)
            done["passed_through"] += not sample[0].changes
            done["re_encoded"].update(sample[0].changes)
            for texture in sample[1:]:
                done["textures_re_encoded"].update(texture.changes)
            size = sum(memoryview(part.jpeg).nbytes for part in sample)
            written += size
            job.progress.advance(1, size)
        if job.holdout is not None and sum(map(len, writers)):
            done["holdout"] = job.holdout.summary(job.outs[1])
        for writer, (_, notes) in zip(writers, job.parts, strict=True):
            writer.info.update(**job.origin, **{**done, **notes})
    return sum(map(len, writers)), written


def _add(writer, name, label, image, texture=None):
    ints = {} if label is None else {"label": label}
    paired = {}
    if texture is not None:
        paired[TEXTURE_FIELD] = _pixels(texture) if texture.raw else texture[:3]
    if image.raw:
        writer.add_raw(_pixels(image), name=name, paired=paired, **ints)
    else:
        writer.add(*image[:3], name=name, paired=paired, **ints)


@contextlib.contextmanager
def _writers(outs, open_writer):
    """A writer for each of one or two files; two files get their names together."""
    with contextlib.ExitStack() as stack:
        together = stack.enter_context(Together()) if len(outs) > 1 else None
        yield [stack.enter_context(open_writer(out, together=together)) for out in outs]


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
    places = [place for _, place in samples]
    several = getattr(read, "many", None)
    files = several(places) if several else [guarded(read, place) for place in places]
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
