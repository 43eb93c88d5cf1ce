"""DALI alone: as a pipeline, and by its functions in torchvision's form."""

from __future__ import annotations

import torch

from fastneg.data.load.augmentation import IMAGENET_MEAN, IMAGENET_STD
from fastneg.recipes.bench.loader_contenders.common import wait


def dali_file_reader(data):
    """DALI alone: its file reader, its random operators, the same changes, as its user would write
    them."""
    pipe = _two_views(data)(
        batch_size=data.batch_size,
        num_threads=data.threads,
        device_id=0 if data.device == "cuda" else None,
        prefetch_queue_depth=2,
        seed=0,
    )
    pipe.build()
    batches = pipe.epoch_size("reader") // data.batch_size

    def epoch(number):
        # two batches in flight, none beyond the epoch: it would be made on another contender's time
        for batch in range(batches + 1):
            if batch < batches:
                pipe.schedule_run()
            if batch:
                for output in pipe.outputs():
                    torch.from_dlpack(output.as_tensor())
        wait(data.device)
        return batches * data.batch_size

    return epoch


def dali_torchvision(data):
    """DALI's `nvidia.dali.experimental.torchvision` on PIL images: torchvision's classes by its
    operators, an image at a time. (Its colour jitter takes no batches of tensors.)"""
    from nvidia.dali.experimental import torchvision as dali
    from torchvision.datasets import ImageFolder

    where = {"device": "gpu" if data.device == "cuda" else "cpu"}
    jitter = dali.ColorJitter(0.4, 0.4, 0.4, 0.1, **where)
    view = dali.Compose(
        [
            dali.RandomResizedCrop(data.view_size, (0.2, 1.0), **where),
            dali.RandomApply([jitter], 0.8, **where),
            dali.RandomGrayscale(0.2, **where),
            dali.RandomApply([dali.GaussianBlur(13, (0.1, 2.0), **where)], 0.5, **where),
            dali.RandomHorizontalFlip(**where),
            dali.ToPureTensor(),
        ],
        batch_size=1,
        num_threads=data.threads,
    )
    images = ImageFolder(data.folder)
    mean, std = (torch.tensor(values) for values in (IMAGENET_MEAN, IMAGENET_STD))
    mean, std = (255 * value.view(3, 1, 1).to(data.device) for value in (mean, std))

    def epoch(number):
        order = torch.randperm(len(images)).tolist()
        count = len(order) // data.batch_size * data.batch_size
        for first in range(0, count, data.batch_size):
            batch = [images[i][0] for i in order[first : first + data.batch_size]]
            for _ in range(2):
                (torch.stack([view(image) for image in batch]).float() - mean) / std
        wait(data.device)
        return count

    return epoch


def _two_views(data):
    """The function that makes a pipeline of two views of each image."""
    from nvidia.dali import fn, pipeline_def, types

    cuda = data.device == "cuda"

    @pipeline_def(enable_conditionals=True, exec_dynamic=True)
    def two_views():
        encoded, _ = fn.readers.file(file_root=str(data.folder), random_shuffle=True, name="reader")
        image = fn.decoders.image(encoded, device="mixed" if cuda else "cpu", output_type=types.RGB)
        views = []
        for _ in range(2):
            view = fn.random_resized_crop(
                image, size=data.view_size, random_area=(0.2, 1.0), antialias=True
            )
            jitter, gray = (
                fn.random.coin_flip(probability=0.8, dtype=types.BOOL),
                fn.random.coin_flip(probability=0.2, dtype=types.BOOL),
            )
            if jitter:
                view = fn.color_twist(
                    view,
                    brightness=fn.random.uniform(range=(0.6, 1.4)),
                    contrast=fn.random.uniform(range=(0.6, 1.4)),
                    saturation=fn.random.uniform(range=(0.6, 1.4)),
                    hue=fn.random.uniform(range=(-36.0, 36.0)),
                )
            if gray:
                view = fn.saturation(view, saturation=0.0)
            if fn.random.coin_flip(probability=0.5, dtype=types.BOOL):
                view = fn.gaussian_blur(view, sigma=fn.random.uniform(range=(0.1, 2.0)))
            views.append(
                fn.crop_mirror_normalize(
                    view,
                    dtype=types.FLOAT16 if cuda else types.FLOAT,
                    output_layout="HWC",
                    mirror=fn.random.coin_flip(),
                    mean=[255 * value for value in IMAGENET_MEAN],
                    std=[255 * value for value in IMAGENET_STD],
                )
            )
        return tuple(views)

    return two_views
