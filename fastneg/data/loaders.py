"""The loaders: training views, probe crops and evaluation windows.

A loader is a function of (seed, epoch, iteration): it can start anywhere.
"""

from __future__ import annotations

import numpy as np
import torch

from fastneg.data.augmentation import AUGMENTATIONS, batch_generator, draw_view, eval_window
from fastneg.data.batch import EvalBatch, ViewBatch
from fastneg.data.feeding import FeedingLoader
from fastneg.data.order import EpochOrder


class TrainLoader(FeedingLoader):
    """Two augmented views of each image, in an order drawn from (seed, epoch).

    Args:
        reader: `BetonReader`.
        batch_size: images a step over all processes.
        image_size: side of the views in pixels.
        augmentation: a name of `AUGMENTATIONS`.
        crop_area: (smallest, largest) share of the image's area in a crop.
        device: "cpu", or "cuda" for decoding and augmenting there (float16 views).
        seed, rank, world_size: the same seed gives the same global batches for any number of processes.
        threads: decoding threads; 0 takes all cores.
        check_crc: compare each sample with its checksum; BetonError on a difference.
    """

    def __init__(
        self,
        reader,
        batch_size,
        image_size,
        *,
        augmentation,
        crop_area=(0.2, 1.0),
        device="cpu",
        seed=0,
        rank=0,
        world_size=1,
        threads=0,
        check_crc=False,
    ):
        self.order = EpochOrder(len(reader), batch_size, seed=seed, rank=rank, world_size=world_size)
        self._recipe, self._crop_area, self._seed = AUGMENTATIONS[augmentation], crop_area, seed
        super().__init__(
            reader, self.order.local_batch_size, image_size, views=2, augment=True, device=device, threads=threads, check_crc=check_crc
        )

    def __len__(self):
        return self.order.iterations

    def epoch(self, epoch, start=0):
        """Iterate over the `ViewBatch`es of an epoch, from iteration `start` on."""
        for index, (query, key) in self._run(self._requests(epoch, start)):
            yield ViewBatch(query, key, torch.from_numpy(index), self._label(index))

    def _requests(self, epoch, start):
        for iteration in range(start, len(self)):
            index, rows = self.order.global_batch(epoch, iteration), self.order.rows
            sizes, generator = self.reader.sizes[index], batch_generator(self._seed, epoch, iteration)
            views = [draw_view(self._recipe, sizes, self._crop_area, generator) for _ in range(2)]
            local = [{name: values[rows] for name, values in view.items()} for view in views]
            yield index[rows], local


class CropLoader(FeedingLoader):
    """One random crop and flip of each image: what a linear probe trains on. Every sample once an epoch; the last batch is shorter."""

    def __init__(self, reader, batch_size, image_size, *, crop_area=(0.08, 1.0), device="cpu", seed=0, threads=0):
        self._order, self._crop_area, self._seed = EpochOrder(len(reader), batch_size, seed=seed, last="pad"), crop_area, seed
        super().__init__(reader, batch_size, image_size, views=1, augment=True, device=device, threads=threads)

    def __len__(self):
        return self._order.iterations

    def epoch(self, epoch):
        """Iterate over the `EvalBatch`es of an epoch."""
        for index, (images,) in self._run(self._requests(epoch)):
            yield EvalBatch(images, torch.from_numpy(index), self._label(index))

    def _requests(self, epoch):
        for iteration in range(len(self)):
            index = self._order.batch(epoch, iteration)[: self._order.valid(iteration)]
            generator = batch_generator(self._seed, epoch, iteration)
            yield index, [draw_view(AUGMENTATIONS["crop_flip"], self.reader.sizes[index], self._crop_area, generator)]


class EvalLoader(FeedingLoader):
    """The central window of each image, every sample exactly once, in the order of the file; the last batch is shorter.

    Args:
        resize: side to which the shorter side is resized before the central crop, default image_size × 256/224.
        (the others as in `TrainLoader`)
    """

    def __init__(self, reader, batch_size, image_size, *, resize=None, device="cpu", threads=0):
        self._resize, self._batch_size = resize or round(image_size * 256 / 224), batch_size
        if self._resize < image_size:
            raise ValueError(f"resize is {self._resize}, below image_size {image_size}: the central crop would not fit.")
        super().__init__(reader, batch_size, image_size, views=1, augment=False, device=device, threads=threads)

    def __len__(self):
        return -(-len(self.reader) // self._batch_size)

    def __iter__(self):
        for index, (images,) in self._run(self._requests()):
            yield EvalBatch(images, torch.from_numpy(index), self._label(index))

    def _requests(self):
        for first in range(0, len(self.reader), self._batch_size):
            index = np.arange(first, min(first + self._batch_size, len(self.reader)))
            start, end = eval_window(self.reader.sizes[index], self.image_size, self._resize)
            yield index, [{"roi_start": start, "roi_end": end}]
