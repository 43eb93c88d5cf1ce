"""A small loader of views, its first epoch in another process, and its images in grey levels."""

import io

import torch
from PIL import Image

from fastneg.data import BetonReader
from fastneg.data.load.augmentation import IMAGENET_MEAN, IMAGENET_STD
from fastneg.data.load.train_loader import TrainLoader

MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))


def pixels(images):
    """Normalised → 0..255."""
    return (images.float().cpu() * STD + MEAN) * 255


def picture(reader, index):
    return Image.open(io.BytesIO(reader.encoded(index).tobytes())).convert("RGB")


def train_loader(reader, **changes):
    return TrainLoader(
        reader,
        **{
            "batch_size": 8,
            "image_size": 32,
            "augmentation": "moco_v2",
            "seed": 3,
            "threads": 1,
            **changes,
        },
    )


def first_views(path, answers):
    torch.set_num_threads(1)
    with BetonReader(path) as reader:
        loader = train_loader(reader)
        answers.put([float(batch.query.double().sum()) for batch in loader.epoch(0)])
        loader.close()
