"""fastneg show."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from fastneg.counts import counted
from fastneg.data.beton.shards import open_data
from fastneg.data.encode.outputs import named_data
from fastneg.distributed import World, choose_device
from fastneg.files import json_rows, output_file, write_atomically
from fastneg.negatives import NEGATIVES
from fastneg.negatives.batch import BatchNegatives, make_negatives
from fastneg.runs.gallery import to_pixels
from fastneg.runs.outputs import refuse_among, run_inputs
from fastneg.runs.paths import METRICS
from fastneg.runs.sheet import Line, Tile, sheet_html, sheet_png
from fastneg.training.build import train_loader

PHOTO = 224
"""The longest side in pixels of an image as the file holds it, where it is shown."""


def show_output(config):
    """Where `fastneg show` writes, as a Path; OutputError if that is an input or of the run."""
    inputs = named_data(config.data)
    if config.run:
        refuse_among(config.out, config.run)
        inputs += run_inputs(config.run)
    return output_file(config.out, "OUT", inputs)


def run_show(config):
    """Draw the first images of the first batch as the network would see them."""
    out = show_output(config)
    device = choose_device(config.device)
    processes = _processes(config.run)
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(open_data(config.data, cache_dir=config.cache_dir))
        told = config.settings()
        if not config.run and told.batch_size > len(reader):
            told = told.replace(batch_size=len(reader))
            print(f"{config.data} holds {counted(len(reader), 'image')}: one batch of them all.")
        world = World(0, processes, device)
        shown = first_batch(told, reader, world, config.threads)
        lines = _lines(reader, *shown, told, config.images)
    title = _title(config, told, processes, device)
    draw = sheet_png if out.suffix.lower() == ".png" else sheet_html
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda file: draw(title, lines, file))
    print(f"{config.out}: {counted(len(lines), 'image')} of the first batch.")
    return 0


def first_batch(config, reader, world, threads=0):
    """What a run's first step gets.

    Args:
        config: `PretrainConfig`.
        reader: its open data.
        world: `World` of the run's first process.
        threads: decoding threads.
    Returns:
        (`ViewBatch`, its negatives (N, kinds·M, 3, H, W) or None, for each image a text for each
        of its negatives).
    """
    with contextlib.closing(train_loader(reader, config, world, threads)) as loader:
        batch = next(iter(loader.epoch(0)))
        draws = BatchNegatives(config, config.seed, loader.order)
    negatives = make_negatives(batch, config, draws.generator(0, 0, batch.query.device))
    # The texts are of the same draws: each kind takes up the generator where the one before it
    # left it.
    generator, texts = draws.generator(0, 0, batch.query.device), [[] for _ in batch.index]
    for kind in config.image_kinds():
        state = generator.get_state()
        captions = NEGATIVES[kind].captions(batch, config, generator)
        generator.set_state(state)
        NEGATIVES[kind](batch, config, generator)
        for row, own in zip(texts, captions, strict=True):
            row += [f"{kind}: {text}" if text else kind for text in own]
    return batch, negatives, texts


def _processes(run):
    """In how many processes a run began."""
    starts = [row for row in json_rows(Path(run) / METRICS) if row.get("kind") == "start"]
    return starts[0].get("processes", 1) if run and starts else 1


def _lines(reader, batch, negatives, texts, config, count):
    normalisation = config.normalisation()
    pixels = [to_pixels(view[:count], normalisation) for view in (batch.query, batch.key)]
    extra = []
    if negatives is not None:
        extra = [to_pixels(images, normalisation) for images in negatives[:count].unbind(0)]
    lines = []
    for i, index in enumerate(batch.index[:count].tolist()):
        photo = Image.open(io.BytesIO(reader.encoded(index).tobytes())).convert("RGB")
        size = f"image, {photo.width}×{photo.height}"
        photo.thumbnail((PHOTO, PHOTO))
        tiles = [Tile(np.asarray(photo), size)]
        tiles += [Tile(view[i], name) for view, name in zip(pixels, ("query", "key"), strict=True)]
        tiles += [Tile(*each) for each in zip(extra[i], texts[i], strict=True)] if extra else []
        lines.append(Line(_head(reader, index), tuple(tiles)))
    return lines


def _head(reader, index):
    """What is known of an image: its position, class and name."""
    words = [reader.describe(index)]
    if reader.labels is not None:
        label = int(reader.labels[index])
        known = reader.classes is not None and 0 <= label < len(reader.classes)
        words.append(str(reader.classes[label]) if known else f"class {label}")
    return " · ".join(words)


def _title(config, told, processes, device):
    views = told.views if isinstance(told.views, str) else "views of an own recipe"
    words = [
        str(config.source),
        views,
        f"{told.view_size(0)} px",
        f"negatives {told.negatives}",
        f"batch of {told.batch_size}, seed {told.seed}",
        f"drawn on {device.type}",
    ]
    if processes > 1:
        words.append(f"the first of {processes} processes")
    return " · ".join(words)
