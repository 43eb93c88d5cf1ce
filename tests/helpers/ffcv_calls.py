"""What tests ask of FFCV in a process of its own (the fixture `ffcv`), which imports it by name."""

import multiprocessing

import numpy as np


def load_with_ffcv(path, os_cache, crop):
    """(images, labels, textures) of all samples, by FFCV's Loader."""
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.decoders import CenterCropRGBImageDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption

    decoder = (
        SimpleRGBImageDecoder() if crop is None else CenterCropRGBImageDecoder((crop, crop), 1.0)
    )
    pipelines = {"image": [decoder], "label": [IntDecoder()], "texture": [IntDecoder()]}
    loader = Loader(
        str(path),
        4,
        num_workers=1,
        order=OrderOption.SEQUENTIAL,
        os_cache=os_cache,
        pipelines=pipelines,
    )
    batches = [[np.array(part) for part in batch] for batch in loader]
    return [np.concatenate(column) for column in zip(*batches, strict=True)]


def read_with_ffcv(path):
    """(field names, [(height, width, data_ptr)], {sample: (ptr, size)}) by FFCV's Reader."""
    from ffcv.reader import Reader

    reader = Reader(str(path))
    records = [
        tuple(int(record["f0"][name]) for name in ("height", "width", "data_ptr"))
        for record in reader.metadata
    ]
    return (
        reader.field_names,
        records,
        {int(sample): (int(ptr), int(size)) for sample, ptr, size in reader.alloc_table},
    )


def ffcvs_layout():
    """[(itemsize, offsets)] of FFCV's header, descriptor and allocation."""
    from ffcv import types

    dtypes = (types.HeaderType, types.FieldDescType, types.ALLOC_TABLE_TYPE)
    return [(dtype.itemsize, [dtype.fields[name][1] for name in dtype.names]) for dtype in dtypes]


def write_with_ffcv(path, mode, images):
    """A file with one field of each kind, by FFCV's DatasetWriter; returns the names of the
    fields."""
    from ffcv.fields import BytesField, FloatField, IntField, JSONField, NDArrayField, RGBImageField
    from ffcv.writer import DatasetWriter

    fields = {
        "id": IntField(), "photo": RGBImageField(mode, jpeg_quality=95), "weight": FloatField(),
        "bytes": BytesField(), "label": IntField(), "json": JSONField(),
        "array": NDArrayField(np.dtype("<f4"), (3,)),
    }  # fmt: skip
    rows = [  # the first bytes field is empty: it shares an address with what follows
        (100 + i, image, i / 2, np.zeros(i, np.uint8), i % 5, {"i": i}, np.full(3, i, "<f4"))
        for i, image in enumerate(images)
    ]
    multiprocessing.set_start_method("fork", force=True)
    DatasetWriter(str(path), fields, page_size=1 << 21, num_workers=2).from_indexed_dataset(
        rows, chunksize=5
    )
    return list(fields)


def pair_with_ffcv(path, write):
    """Two image fields a sample: written by FFCV, or read by FFCV's Loader as (images, labels,
    textures)."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.decoders import SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.writer import DatasetWriter

    if write is not None:
        multiprocessing.set_start_method("fork", force=True)
        fields = {
            "texture": RGBImageField("jpg"),
            "label": IntField(),
            "image": RGBImageField("raw"),
        }
        return DatasetWriter(
            str(path), fields, page_size=1 << 21, num_workers=1
        ).from_indexed_dataset(write, chunksize=5)
    decoders = {
        "image": [SimpleRGBImageDecoder()],
        "texture": [SimpleRGBImageDecoder()],
        "label": [IntDecoder()],
    }
    loader = Loader(
        str(path),
        4,
        num_workers=1,
        order=OrderOption.QUASI_RANDOM,
        os_cache=False,
        pipelines=decoders,
    )
    batches = [[np.array(part) for part in batch] for batch in loader]
    return [np.concatenate(column) for column in zip(*batches, strict=True)]


def standard_loop(path, side):
    """What FFCV's documentation shows: a pipeline for image and label, two values a batch."""
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.decoders import CenterCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import Squeeze, ToTensor

    pipelines = {
        "image": [CenterCropRGBImageDecoder((side, side), 1.0), ToTensor()],
        "label": [IntDecoder(), ToTensor(), Squeeze()],
    }
    order = OrderOption.SEQUENTIAL
    loader = Loader(str(path), batch_size=4, num_workers=1, order=order, pipelines=pipelines)
    found = []
    for images, labels in loader:
        found += zip(images.numpy().copy(), labels.tolist(), strict=True)
    return found


def default_loop(path, disabled=()):
    """No pipelines at all: every field of the file comes with FFCV's own."""
    from ffcv.loader import Loader

    loader = Loader(str(path), batch_size=4, num_workers=1, pipelines=dict.fromkeys(disabled))
    batches = [[np.array(part) for part in batch] for batch in loader]
    return [np.concatenate(column) for column in zip(*batches, strict=True)]
