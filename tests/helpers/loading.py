"""A small loader of views; its first epoch in another process."""

import torch

from fastneg.data import BetonReader
from fastneg.data.load.loaders import TrainLoader


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
