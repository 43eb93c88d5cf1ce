"""Sets of stencils as JPEG bytes, class folders or a .beton file."""

from __future__ import annotations

import io
import itertools
import multiprocessing
from functools import partial
from pathlib import Path

from fastneg.data.pool import chunks, in_order
from fastneg.data.stencils.render import CLASSES, check_set, render
from fastneg.files import write_atomically

QUALITY = 92
CHUNK = 64  # images a task


def samples(spec, set_name, count, workers=0):
    """The first `count` images of a set, in order, with balanced labels.

    Args:
        spec: StencilsSpec.
        set_name: "train" or one of TEST_SETS.
        count: images, at least 1.
        workers: processes that render; with 0 or 1 it is done in this one.
    Returns:
        an iterator of (JPEG bytes, {"label": int, "texture": int}, name).
    Raises:
        ValueError: no such set, no count, or a negative number of workers. What a worker raises is
            raised here.
    """
    check_set(set_name)
    for name, value, least in (("count", count, 1), ("workers", workers, 0)):
        if value < least:
            raise ValueError(f"{name} is {value}: it must be at least {least}.")
    # The children only run numpy and Pillow, so that a fork is safe; a fresh interpreter would
    # import torch in each of them.
    context = multiprocessing.get_context("fork")
    done = in_order(
        partial(_chunk, spec, set_name), chunks(range(count), CHUNK), max(1, workers), context
    )
    return itertools.chain.from_iterable(done)


def _chunk(spec, set_name, indices):
    return [_sample(spec, set_name, index) for index in indices]


def _sample(spec, set_name, index):
    from PIL import Image

    pixels, label, texture = render(spec, set_name, index)
    jpeg = io.BytesIO()
    # Full-resolution chroma: fine textures live in the colours too.
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=QUALITY, subsampling=0)
    number = index // spec.shapes
    name = f"{CLASSES[label]}{number}" + (
        f"-{CLASSES[texture]}{number}" if set_name == "swapped" else ""
    )
    return jpeg.getvalue(), {"label": label, "texture": texture}, name


def write_folder(spec, set_name, count, folder, workers=0):
    """Write a set as FOLDER/<class>/<name>.jpg, and return the folder's Path.

    The files of the swapped set are named as in cue-conflict sets: shapeN-textureN.jpg, both by the
    class they speak for.
    """
    folder = Path(folder)
    images = samples(spec, set_name, count, workers)
    for label in range(spec.shapes):
        (folder / CLASSES[label]).mkdir(parents=True, exist_ok=True)
    for jpeg, fields, name in images:
        path = folder / CLASSES[fields["label"]] / f"{name}.jpg"
        write_atomically(path, lambda file, jpeg=jpeg: file.write(jpeg), sync=False)
    return folder


def write_beton(spec, set_name, count, path, workers=0):
    """Write a set as a .beton file with the int fields label and texture; returns what
    `encode_samples` returns."""
    from fastneg.data.encode.samples import encode_samples

    images = samples(spec, set_name, count, workers)
    fields = ("label", "texture")
    return encode_samples(path, images, CLASSES[: spec.shapes], int_fields=fields, count=count)
